//! A segment: made sealed, attached only after every check.

use crate::error::{AttachError, CreateError, Flaw};
use crate::header::{HEADER_LEN, Header, Kind, MAX_PARTICIPANTS, content_at};
use crate::map::{Map, check_file_limit};
use crate::named::{self, SegmentName};
use crate::participant::Participants;
use multiproc_prim::Region;
use multiproc_prim::descriptor::apart;
use rustix::fs::{FileType, MemfdFlags, Mode, SealFlags};
use rustix::io::retry_on_intr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// What a new segment is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// What lies in it.
    pub kind: Kind,
    /// Bytes for that, behind header and participant table. The memory behind them can be had too, by [`Region::stretch`].
    pub len: usize,
    /// Processes that can be attached at once, up to [`MAX_PARTICIPANTS`].
    pub participants: u32,
    /// Numbers that those who attach need to know.
    pub geometry: [u64; 8],
}

/// Memory that several processes share, mapped here.
///
/// ```
/// use multiproc_prim::{AtomicU64, Ordering};
/// use multiproc_shm::{Kind, Segment, Spec};
/// use std::os::fd::AsFd;
///
/// let spec = Spec { kind: Kind(*b"DEMO"), len: 4096, participants: 8, geometry: [0; 8] };
/// let ours = Segment::create(&spec)?;
/// // Another process would get the descriptor; here the same segment is mapped a second time.
/// let theirs = Segment::attach(ours.as_fd().try_clone_to_owned()?, Kind(*b"DEMO"))?;
/// ours.region().place::<AtomicU64>(ours.content_at())?.store(7, Ordering::Relaxed);
/// assert_eq!(theirs.region().place::<AtomicU64>(theirs.content_at())?.load(Ordering::Relaxed), 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Segment {
    region: Region,
    name: String,
    geometry: [u64; 8],
    participants: u32,
}

/// A file that can't become shorter, nor be sealed further, as against writing. It may grow.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::SEAL);

impl Segment {
    /// A new segment without a name: it lives as long as someone has it open, and can grow but not shrink.
    ///
    /// # Errors
    ///
    /// It is too large, or the system refuses.
    pub fn create(spec: &Spec) -> Result<Self, CreateError> {
        let system = |what| move |error: rustix::io::Errno| CreateError::System { what, source: error.into() };
        let name = format!("multiproc-{:?}", spec.kind);
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = apart(|| rustix::fs::memfd_create(&name, flags))
            .map_err(|source| CreateError::System { what: "create shared memory (memfd_create)", source })?;
        rustix::fs::fchmod(&file, Mode::RUSR | Mode::WUSR).map_err(system("protect shared memory"))?;
        let segment = Self::format(file, name, spec)?;
        rustix::fs::fcntl_add_seals(segment.as_fd(), SEALS).map_err(system("seal shared memory"))?;
        Ok(segment)
    }

    /// A new segment that can be [named](Self::give_name) once its content is whole.
    ///
    /// # Errors
    ///
    /// It is too large, or the system refuses.
    pub fn create_to_be_named(name: &SegmentName, spec: &Spec) -> Result<Self, CreateError> {
        Self::format(named::create_unnamed()?, name.to_string(), spec)
    }

    /// Lets other programs of the same user [`open`](Self::open) a segment that was made for it. Nobody sees it before.
    ///
    /// # Errors
    ///
    /// The name is taken, or the system refuses.
    pub fn give_name(&self, name: &SegmentName) -> Result<(), CreateError> {
        named::link(self.as_fd(), name)
    }

    fn format(file: OwnedFd, name: String, spec: &Spec) -> Result<Self, CreateError> {
        let system = |what| move |source: std::io::Error| CreateError::System { what, source };
        if spec.participants > MAX_PARTICIPANTS {
            return Err(CreateError::TooManyParticipants(spec.participants));
        }
        let start = content_at(spec.participants);
        let len = start.checked_add(spec.len).filter(|&len| len <= isize::MAX as usize);
        let len = len.ok_or(CreateError::TooLarge(spec.len as u64))?;
        check_file_limit(len).map_err(|error| system("size shared memory")(error.into()))?;
        let sized = retry_on_intr(|| rustix::fs::ftruncate(&file, len as u64));
        sized.map_err(|error| system("size shared memory")(error.into()))?;
        let map = Map::new(Arc::new(file), 0..len).map_err(system("map shared memory"))?;
        let region = Region::new(map);
        region.commit(0..start).map_err(system("get memory for the segment's header"))?;
        let header = Header::new(spec.kind, len as u64, spec.participants, spec.geometry);
        let written = region.bytes(0, size_of::<Header>()).is_ok_and(|to| to.write(bytemuck::bytes_of(&header)));
        debug_assert!(written, "the header is shorter than its page");
        let segment = Self { region, name, geometry: spec.geometry, participants: spec.participants };
        if let Some(table) = segment.participants() {
            table.make_fresh();
        }
        Ok(segment)
    }

    /// The named segment of this user.
    ///
    /// # Errors
    ///
    /// There is none, it fails a check, or the system refuses.
    pub fn open(name: &SegmentName, kind: Kind) -> Result<Self, AttachError> {
        let file = named::open(name)?;
        Self::check(file, name.to_string(), kind)
    }

    /// Takes a segment's name away. Processes that have it open keep it.
    ///
    /// # Errors
    ///
    /// There is no such name, or the system refuses.
    pub fn remove(name: &SegmentName) -> Result<(), AttachError> {
        named::remove(name)
    }

    /// The segment behind a descriptor that another process gave.
    ///
    /// # Errors
    ///
    /// It fails a check, or the system refuses.
    pub fn attach(file: OwnedFd, kind: Kind) -> Result<Self, AttachError> {
        Self::check(file, format!("multiproc-{kind:?}"), kind)
    }

    /// Everything that could make a segment dangerous or useless, cheapest first, each with a name of its own.
    fn check(file: OwnedFd, name: String, kind: Kind) -> Result<Self, AttachError> {
        let refused = |flaw| AttachError::Refused { segment: name.clone(), flaw };
        let system = |what| move |source: std::io::Error| AttachError::System { what, source };
        let stat = rustix::fs::fstat(&file).map_err(|error| system("look at the segment")(error.into()))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(refused(Flaw::NotAFile));
        }
        let sealed = rustix::fs::fcntl_get_seals(&file).is_ok_and(|seals| seals.contains(SEALS));
        if !sealed {
            // A named file can't be sealed: the trust is in its directory, its owner and its mode. One without a name may be an
            // unsealed memory file, whose maker could cut it short; if its name was removed, it lies where named segments do.
            if stat.st_nlink == 0 && !named::is_at_home(stat.st_dev) {
                return Err(refused(Flaw::Unsealed));
            }
            let uid = rustix::process::geteuid().as_raw();
            if stat.st_uid != uid {
                return Err(refused(Flaw::Owner { owner: stat.st_uid, expected: uid }));
            }
            if stat.st_mode & 0o177 != 0 {
                return Err(refused(Flaw::Mode { mode: stat.st_mode & 0o777 }));
            }
        }
        let file_len = u64::try_from(stat.st_size).unwrap_or(0);
        let len = usize::try_from(file_len).ok().filter(|&len| len >= HEADER_LEN && len <= isize::MAX as usize);
        let len_of_file = len.ok_or_else(|| refused(Flaw::Length { len: file_len, expected: HEADER_LEN as u64 }))?;
        let file = Arc::new(file);
        let map = Map::new(Arc::clone(&file), 0..HEADER_LEN).map_err(system("map the segment"))?;
        let region = Region::new(map);
        region.commit(0..HEADER_LEN).map_err(system("get memory for the segment's header"))?;
        let mut header: Header = bytemuck::Zeroable::zeroed();
        let window = region.bytes(0, size_of::<Header>()).map_err(|error| refused(error.into()))?;
        let fits = window.read(bytemuck::bytes_of_mut(&mut header));
        debug_assert!(fits);
        header.check(kind, file_len).map_err(refused)?;
        // What lies behind, the kind maps as it comes to need it.
        let len = usize::try_from(header.len).ok().filter(|&len| len <= len_of_file);
        let len = len.ok_or_else(|| refused(Flaw::Length { len: file_len, expected: header.len }))?;
        let region = Region::new(Map::new(file, 0..len).map_err(system("map the segment"))?);
        region.commit(0..content_at(header.participants)).map_err(system("get memory for the segment's table"))?;
        Ok(Self { region, name, geometry: header.geometry, participants: header.participants })
    }

    /// The whole segment, header included.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// Offset of the content: a multiple of 4096.
    pub fn content_at(&self) -> usize {
        content_at(self.participants)
    }

    /// Length of the content in bytes.
    pub fn content_len(&self) -> usize {
        self.region.len() - self.content_at()
    }

    /// The numbers that its creator left, on a private copy.
    pub fn geometry(&self) -> [u64; 8] {
        self.geometry
    }

    /// What to call it in an error.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Rows of its participant table.
    pub fn participant_count(&self) -> u32 {
        self.participants
    }

    /// Its participant table, if it has one.
    pub fn participants(&self) -> Option<Participants> {
        (self.participants > 0).then(|| Participants::new(self, self.participants)).flatten()
    }

    /// For those who build on segments: what to answer when the geometry makes no sense to them.
    pub fn refuse(&self, flaw: Flaw) -> AttachError {
        AttachError::Refused { segment: self.name.clone(), flaw }
    }
}

/// What tells one file from another: its device and its number there. Equal for all descriptors of one file while it exists.
pub type FileId = (u64, u64);

/// The file behind a descriptor.
///
/// # Errors
///
/// The system refuses.
pub fn file_id(file: BorrowedFd<'_>) -> std::io::Result<FileId> {
    let stat = rustix::fs::fstat(file)?;
    Ok((stat.st_dev, stat.st_ino))
}

impl AsFd for Segment {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self.region.owner().as_any().downcast_ref::<Map>() {
            Some(map) => map.file(),
            // Every segment is made with a map in `format` or `check`.
            None => rustix::fs::CWD,
        }
    }
}
