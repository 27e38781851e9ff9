//! Functions on their way to another process that runs the same executable file: as offsets in its image.

use crate::say::say;
use multiproc_travel::pass;
use serde::de::DeserializeOwned;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};

/// What a process's function may return.
pub trait Outcome {
    /// The exit code that stands for it.
    fn report(self) -> i32;
}

impl Outcome for () {
    fn report(self) -> i32 {
        0
    }
}

/// `Err` is printed with the process's name and makes exit code 1.
impl<E: std::fmt::Display> Outcome for Result<(), E> {
    fn report(self) -> i32 {
        match self {
            Ok(()) => 0,
            Err(error) => {
                say(&format!("process {} failed: {error}", crate::current_process().name()));
                1
            }
        }
    }
}

/// A call that is ready to be made.
pub(crate) type Call = Box<dyn FnOnce() -> i32>;

/// Decodes the arguments of one function type. One instance of it per type is in the image, at an offset of its own.
type Enter = fn(usize, &[u8], Vec<OwnedFd>) -> Result<Call, String>;

fn enter<A: DeserializeOwned + 'static, R: Outcome + 'static>(
    target: usize,
    bytes: &[u8],
    descriptors: Vec<OwnedFd>,
) -> Result<Call, String> {
    let args: A = pass::decode(bytes, descriptors).map_err(|error| error.to_string())?;
    // SAFETY: `target` is the address of a `fn(A) -> R`: the parent, which runs the same executable file (`Image::current` was
    // compared), took both offsets together in `Target::new`, and both lie in executable memory of the image (`Image::address`).
    let function: fn(A) -> R = unsafe { std::mem::transmute::<usize, fn(A) -> R>(target) };
    Ok(Box::new(move || function(args).report()))
}

/// A function and the means to call it, as offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) image: Image,
    pub(crate) enter: u64,
    pub(crate) function: u64,
}

impl Target {
    /// `None`: the function is not in the executable file.
    pub(crate) fn new<A: DeserializeOwned + 'static, R: Outcome + 'static>(function: fn(A) -> R) -> io::Result<Option<Self>> {
        let image = Image::current()?;
        let enter: Enter = enter::<A, R>;
        let offsets = (image.offset(enter as usize), image.offset(function as usize));
        let (Some(enter), Some(function)) = offsets else { return Ok(None) };
        Ok(Some(Self { image, enter, function }))
    }

    /// Decodes the arguments for the function, here.
    pub(crate) fn prepare(&self, bytes: &[u8], descriptors: Vec<OwnedFd>) -> Result<Call, String> {
        let here = Image::current().map_err(|error| format!("this process can't look at its executable file: {error}"))?;
        if here.identity != self.image.identity {
            return Err("this process runs another executable file than the one that started it".into());
        }
        let (Some(enter), Some(function)) = (here.address(self.enter), here.address(self.function)) else {
            return Err("the function is outside the executable file".into());
        };
        // SAFETY: the address is that of an `Enter` in this very executable file, at another load address maybe: the parent
        // took the offset from one, and the files are the same.
        let enter: Enter = unsafe { std::mem::transmute::<usize, Enter>(enter) };
        enter(function, bytes, descriptors)
    }
}

/// The executable file of this process: which one, and where its code is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    /// Device, inode, length and time of last change, hashed by the file system: equal for the same file only.
    pub(crate) identity: [u64; 4],
    base: usize,
    code: (usize, usize),
}

impl Image {
    pub(crate) fn current() -> io::Result<Self> {
        let mut found = None;
        // SAFETY: the callback has the signature asked for and keeps nothing beyond the call; `found` outlives it.
        unsafe { libc::dl_iterate_phdr(Some(first_image), (&raw mut found).cast()) };
        let Found { base, code, headers } = found.ok_or(io::ErrorKind::Unsupported)?;
        let file = Self::own_file(headers)?;
        Ok(Self { identity: Self::identity_of(&file), base, code })
    }

    pub(crate) fn identity_of(file: &Metadata) -> [u64; 4] {
        [file.dev(), file.ino(), file.len(), file.mtime_nsec().unsigned_abs() ^ file.mtime().unsigned_abs() << 30]
    }

    /// The file that would be run again, checked: it has the program headers of the program in memory. A loader that was started with
    /// the program as its argument has others.
    ///
    /// # Errors
    ///
    /// `InvalidData`: it is another program. Otherwise, the system refuses.
    fn own_file(headers: &[libc::Elf64_Phdr]) -> io::Result<Metadata> {
        let other = || io::Error::new(io::ErrorKind::InvalidData, "/proc/self/exe is another program");
        let file = match File::open(EXECUTABLE) {
            Ok(file) => file,
            // A file that may be run need not be readable.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                // SAFETY: reads a number that the kernel gave to this process.
                let has_loader = unsafe { libc::getauxval(libc::AT_BASE) } != 0;
                let wants_loader = headers.iter().any(|header| header.p_type == libc::PT_INTERP);
                return if wants_loader && !has_loader { Err(other()) } else { std::fs::metadata(EXECUTABLE) };
            }
            Err(error) => return Err(error),
        };
        let mut start = [0; size_of::<libc::Elf64_Ehdr>()];
        file.read_exact_at(&mut start, 0).map_err(|_| other())?;
        let field = |at| u64::from_ne_bytes(std::array::from_fn(|i| start[at + i]));
        let mut found = vec![0; size_of_val(headers)];
        file.read_exact_at(&mut found, field(std::mem::offset_of!(libc::Elf64_Ehdr, e_phoff))).map_err(|_| other())?;
        // SAFETY: the headers are plain integers without padding, readable for as long as the program runs.
        let loaded = unsafe { std::slice::from_raw_parts(headers.as_ptr().cast::<u8>(), size_of_val(headers)) };
        if found == loaded { file.metadata() } else { Err(other()) }
    }

    /// An image that another process told us of: only its identity counts here.
    pub(crate) fn told(identity: [u64; 4]) -> Self {
        Self { identity, base: 0, code: (0, 0) }
    }

    fn offset(&self, address: usize) -> Option<u64> {
        (self.code.0..self.code.1).contains(&address).then(|| (address - self.base) as u64)
    }

    fn address(&self, offset: u64) -> Option<usize> {
        let address = self.base.checked_add(usize::try_from(offset).ok()?)?;
        (self.code.0..self.code.1).contains(&address).then_some(address)
    }
}

/// This program's own file, even if another one has its name by now.
pub(crate) const EXECUTABLE: &str = "/proc/self/exe";

/// What is known of the main program in memory.
struct Found {
    base: usize,
    /// Bounds of the executable code.
    code: (usize, usize),
    headers: &'static [libc::Elf64_Phdr],
}

/// The main program comes first; its code lies in its executable segments.
unsafe extern "C" fn first_image(info: *mut libc::dl_phdr_info, _: libc::size_t, found: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `dl_iterate_phdr` passes a valid description, and our own pointer to an `Option<Found>`.
    let (info, found) = unsafe { (&*info, &mut *found.cast::<Option<Found>>()) };
    let base = info.dlpi_addr as usize;
    // SAFETY: the description has this many program headers; those of the main program stay where they are.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let code = headers.iter().filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_X != 0);
    let bounds = code.map(|header| {
        let start = base + header.p_vaddr as usize;
        (start, start + header.p_memsz as usize)
    });
    *found = bounds.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))).map(|code| Found { base, code, headers });
    // Not zero: no other image is wanted.
    1
}
