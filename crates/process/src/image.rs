//! The executable file of this process, which a new process runs again.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

/// Which file this process runs, and where its code is in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Image {
    /// Device, inode, length and time of last change: equal for the same file only.
    pub(crate) identity: [u64; 4],
    base: usize,
    code: (usize, usize),
}

impl Image {
    /// Looks at this process.
    ///
    /// # Errors
    ///
    /// `InvalidData`: `/proc/self/exe` is another program. Otherwise, the system refuses.
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

    /// The file that would be run again. Its program headers must be those of the program in memory: a loader that was started with
    /// the program as its argument has others.
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

    /// The offset of code in the executable file; `None` if it is elsewhere.
    pub(crate) fn offset(&self, address: usize) -> Option<u64> {
        (self.code.0..self.code.1).contains(&address).then(|| (address - self.base) as u64)
    }

    /// The address of code, which has this offset in the executable file.
    pub(crate) fn address(&self, offset: u64) -> Option<usize> {
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
