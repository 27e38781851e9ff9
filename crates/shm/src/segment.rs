//! A segment: created sealed, attached only after every check.

use crate::error::{AttachError, CreateError, Flaw};
use crate::header::{HEADER_LEN, Header, Kind, Label, MAX_PARTICIPANTS, content_at};
use crate::map::{Map, check_file_limit};
use crate::named::{self, SegmentName};
use crate::participant::Participants;
use multiproc_prim::Region;
use multiproc_prim::descriptor::apart;
use rustix::fs::{FileType, MemfdFlags, Mode, SealFlags};
use rustix::io::retry_on_intr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// What a new segment is for.
///
/// [`Spec::new`] fills in all but the kind and the length:
///
/// ```
/// use multiproc_shm::{Kind, Spec};
///
/// let spec = Spec { participants: 8, ..Spec::new(Kind(*b"DEMO"), 4096) };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The structure in it.
    pub kind: Kind,
    /// Bytes for that structure, behind header and participant table. [`Region::stretch`] can have the memory behind them, too.
    pub len: usize,
    /// Participants that there can be at once, up to [`MAX_PARTICIPANTS`]. 0: the segment has no table.
    pub participants: u32,
    /// Numbers that each process needs to know which attaches.
    pub geometry: [u64; 8],
    /// What it tells people about itself.
    pub label: Label,
}

impl Spec {
    /// A segment without participants and label, whose geometry is zeros.
    #[must_use]
    pub const fn new(kind: Kind, len: usize) -> Self {
        Self { kind, len, participants: 0, geometry: [0; 8], label: Label::NONE }
    }
}

/// Memory that several processes share, mapped here. A clone is another handle on the same map.
///
/// ```
/// use multiproc_shm::{AtomicU64, Kind, Ordering, Segment, Spec};
/// use std::os::fd::AsFd;
///
/// let ours = Segment::create(&Spec::new(Kind(*b"DEMO"), 4096))?;
/// // Another process would get the descriptor. Here the same segment is mapped a second time.
/// let theirs = Segment::attach(ours.as_fd().try_clone_to_owned()?, Kind(*b"DEMO"))?;
/// ours.region().place::<AtomicU64>(ours.content_at())?.store(7, Ordering::Relaxed);
/// assert_eq!(theirs.region().place::<AtomicU64>(theirs.content_at())?.load(Ordering::Relaxed), 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Segment {
    region: Region,
    name: String,
    kind: Kind,
    geometry: [u64; 8],
    participants: u32,
    label: Label,
}

/// A file that can't become shorter, nor be sealed further, as against writing. It may grow.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::SEAL);

/// Times that a name may come and go between opening and creating before we give up.
const TRIES: u32 = 100;

impl Segment {
    /// Creates a segment without a name. It lives as long as a process has it open or mapped, and can grow but not shrink.
    ///
    /// # Errors
    ///
    /// The segment is too large, or the system refuses.
    pub fn create(spec: &Spec) -> Result<Self, CreateError> {
        let name = format!("multiproc-{:?}", spec.kind);
        let segment = &name;
        let system = |what| move |source: std::io::Error| CreateError::System { segment: segment.clone(), what, source };
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = apart(|| rustix::fs::memfd_create(&name, flags)).map_err(system("create shared memory (memfd_create)"))?;
        let protected = rustix::fs::fchmod(&file, Mode::RUSR | Mode::WUSR);
        protected.map_err(|error| system("protect its memory")(error.into()))?;
        let segment = Self::format(file, name.clone(), spec)?;
        let sealed = rustix::fs::fcntl_add_seals(segment.as_fd(), SEALS);
        sealed.map_err(|error| system("seal its memory")(error.into()))?;
        Ok(segment)
    }

    /// Creates a segment, has `fill` fill it, and then gives it its name. Returns what `fill` returns, the segment itself as a rule.
    ///
    /// Until `fill` has returned, no other process can [`open`](Self::open) the segment: nobody finds it half made. If it fails,
    /// the segment is gone.
    ///
    /// ```
    /// use multiproc_shm::{AtomicU64, CreateError, Kind, Ordering, Segment, SegmentName, Spec};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let name = SegmentName::new(&format!("demo-{}", std::process::id()))?;
    /// let segment = Segment::create_named(&name, &Spec::new(Kind(*b"DEMO"), 4096), |segment| {
    ///     segment.region().place::<AtomicU64>(segment.content_at())?.store(7, Ordering::Relaxed);
    ///     Ok::<_, Box<dyn std::error::Error>>(segment)
    /// })?;
    /// assert_eq!(Segment::open(&name, Kind(*b"DEMO"))?.content_len(), 4096);
    /// Segment::remove(&name)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The name is taken, the segment is too large, the system refuses, or `fill` fails.
    pub fn create_named<T, E: From<CreateError>>(
        name: &SegmentName,
        spec: &Spec,
        fill: impl FnOnce(Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let segment = Self::create_unnamed(name, spec)?;
        let filled = fill(segment.clone())?;
        named::link(segment.as_fd(), name)?;
        Ok(filled)
    }

    /// Opens the segment of this name, or creates it as [`create_named`](Self::create_named) does. Several processes may do so at
    /// once: all get the same segment, whose name one of them gave.
    ///
    /// `fill` may run and its segment be dropped, where another process gives the name first. A segment that was found is of the
    /// right kind; its length, participants and geometry may differ from `spec`.
    ///
    /// ```
    /// use multiproc_shm::{AtomicU64, Kind, Ordering, Segment, SegmentName, Spec};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let name = SegmentName::new(&format!("shared-{}", std::process::id()))?;
    /// let segment = Segment::open_or_create(&name, &Spec::new(Kind(*b"DEMO"), 4096), |new| {
    ///     new.region().place::<AtomicU64>(new.content_at())?.store(7, Ordering::Relaxed);
    ///     Ok::<_, Box<dyn std::error::Error>>(())
    /// })?;
    /// assert_eq!(segment.region().place::<AtomicU64>(segment.content_at())?.load(Ordering::Relaxed), 7);
    /// Segment::remove(&name)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The segment that was found fails a check, the new one is too large, the system refuses, or `fill` fails.
    pub fn open_or_create<E: From<CreateError> + From<AttachError>>(
        name: &SegmentName,
        spec: &Spec,
        mut fill: impl FnMut(&Self) -> Result<(), E>,
    ) -> Result<Self, E> {
        let open = || match Self::open(name, spec.kind) {
            Err(AttachError::NotFound(_)) => Ok(None),
            found => Ok(Some(found?)),
        };
        let create = || {
            let segment = Self::create_unnamed(name, spec)?;
            fill(&segment)?;
            match named::link(segment.as_fd(), name) {
                Err(CreateError::Exists(_)) => Ok(None),
                named => Ok(Some(named.map(|()| segment)?)),
            }
        };
        Self::find_or_make(name, open, create)
    }

    /// Opens or creates what has a name, in turns, until one of them succeeds: other processes may create and remove it meanwhile.
    /// For crates that open and create by functions of their own, as `multiproc-queue` does.
    ///
    /// `open` returns `None` where nothing has the name, and `create` where something has.
    ///
    /// # Errors
    ///
    /// One of the two fails, or the name came and went a hundred times: [`CreateError::Exists`].
    pub fn find_or_make<T, E: From<CreateError>>(
        name: &SegmentName,
        mut open: impl FnMut() -> Result<Option<T>, E>,
        mut create: impl FnMut() -> Result<Option<T>, E>,
    ) -> Result<T, E> {
        for _ in 0..TRIES {
            if let Some(found) = open()? {
                return Ok(found);
            }
            if let Some(made) = create()? {
                return Ok(made);
            }
        }
        Err(CreateError::Exists(name.to_string()).into())
    }

    fn create_unnamed(name: &SegmentName, spec: &Spec) -> Result<Self, CreateError> {
        Self::format(named::create_unnamed(name)?, name.to_string(), spec)
    }

    fn format(file: OwnedFd, name: String, spec: &Spec) -> Result<Self, CreateError> {
        let segment = &name;
        let system = |what| move |source: std::io::Error| CreateError::System { segment: segment.clone(), what, source };
        if spec.participants > MAX_PARTICIPANTS {
            return Err(CreateError::TooManyParticipants(spec.participants));
        }
        let start = content_at(spec.participants);
        let len = start.checked_add(spec.len).filter(|&len| len <= isize::MAX as usize);
        let len = len.ok_or(CreateError::TooLarge(spec.len as u64))?;
        let sized = check_file_limit(len).and_then(|()| retry_on_intr(|| rustix::fs::ftruncate(&file, len as u64)));
        sized.map_err(|error| system("size its memory")(error.into()))?;
        let map = Map::new(Arc::new(file), 0..len).map_err(system("map its memory"))?;
        let region = Region::new(map);
        region.commit(0..start).map_err(system("get memory for its header"))?;
        let header = Header::new(spec, len as u64);
        let written = region.bytes(0, size_of::<Header>()).is_ok_and(|to| to.write(bytemuck::bytes_of(&header)));
        debug_assert!(written, "the header is shorter than its page");
        let &Spec { kind, geometry, participants, label, .. } = spec;
        let segment = Self { region, name, kind, geometry, participants, label };
        if let Some(table) = segment.participants() {
            table.make_fresh();
        }
        Ok(segment)
    }

    /// Opens this user's segment of a name.
    ///
    /// # Errors
    ///
    /// The user has no such segment, it fails a check, or the system refuses.
    pub fn open(name: &SegmentName, kind: Kind) -> Result<Self, AttachError> {
        Self::check(named::open(name)?, name.to_string(), Some(kind))
    }

    /// Opens this user's segment of a name, whatever its [`kind`](Self::kind).
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), but for the kind.
    pub fn open_any(name: &SegmentName) -> Result<Self, AttachError> {
        Self::check(named::open(name)?, name.to_string(), None)
    }

    /// The names that this user's segments have, in order. What has such a name may be no segment.
    ///
    /// # Errors
    ///
    /// The directory of named segments is not this user's own, or the system refuses.
    pub fn names() -> Result<Vec<SegmentName>, AttachError> {
        named::list()
    }

    /// Takes the name of a segment away. Processes that have the segment keep it.
    ///
    /// # Errors
    ///
    /// The user has no such segment, or the system refuses.
    pub fn remove(name: &SegmentName) -> Result<(), AttachError> {
        named::remove(name)
    }

    /// Attaches the segment behind a descriptor that another process gave.
    ///
    /// # Errors
    ///
    /// The segment fails a check, or the system refuses.
    pub fn attach(file: OwnedFd, kind: Kind) -> Result<Self, AttachError> {
        Self::check(file, format!("multiproc-{kind:?}"), Some(kind))
    }

    /// Checks everything that could make a segment dangerous or useless, cheapest first. Each [`Flaw`] has a name of its own.
    fn check(file: OwnedFd, name: String, kind: Option<Kind>) -> Result<Self, AttachError> {
        let refused = |flaw| AttachError::Refused { segment: name.clone(), flaw };
        let segment = &name;
        let system = |what| move |source: std::io::Error| AttachError::System { segment: segment.clone(), what, source };
        let stat = rustix::fs::fstat(&file).map_err(|error| system("look at it")(error.into()))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(refused(Flaw::NotAFile));
        }
        let sealed = rustix::fs::fcntl_get_seals(&file).is_ok_and(|seals| seals.contains(SEALS));
        if !sealed {
            // A named file can't be sealed: the trust is in its directory, its owner and its mode. A file without a name may be an
            // unsealed memory file, whose creator could cut it short. A segment whose name was removed lies where named ones do.
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
        let map = Map::new(Arc::clone(&file), 0..HEADER_LEN).map_err(system("map it"))?;
        let region = Region::new(map);
        region.commit(0..HEADER_LEN).map_err(system("get memory for its header"))?;
        let mut header: Header = bytemuck::Zeroable::zeroed();
        let window = region.bytes(0, size_of::<Header>()).map_err(|error| refused(error.into()))?;
        let fits = window.read(bytemuck::bytes_of_mut(&mut header));
        debug_assert!(fits);
        header.check(kind, file_len).map_err(refused)?;
        // The structure maps what lies behind as it comes to need it.
        let len = usize::try_from(header.len).ok().filter(|&len| len <= len_of_file);
        let len = len.ok_or_else(|| refused(Flaw::Length { len: file_len, expected: header.len }))?;
        let region = Region::new(Map::new(file, 0..len).map_err(system("map it"))?);
        region.commit(0..content_at(header.participants)).map_err(system("get memory for its table"))?;
        let Header { kind, geometry, participants, label, .. } = header;
        Ok(Self { region, name, kind, geometry, participants, label })
    }

    /// The memory of the whole segment, header included.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// The offset of the content in [`region`](Self::region): a multiple of 4096.
    pub fn content_at(&self) -> usize {
        content_at(self.participants)
    }

    /// The length of the content in bytes, as the segment was created.
    pub fn content_len(&self) -> usize {
        self.region.len() - self.content_at()
    }

    /// The structure in it.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What it tells people about itself, on a private copy.
    pub fn label(&self) -> Label {
        self.label
    }

    /// How much memory it has now, in bytes.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn resident(&self) -> std::io::Result<u64> {
        // The kernel counts in units of 512 bytes.
        Ok(u64::try_from(rustix::fs::fstat(self)?.st_blocks).unwrap_or(0) * 512)
    }

    /// The numbers of [`Spec::geometry`], on a private copy.
    pub fn geometry(&self) -> [u64; 8] {
        self.geometry
    }

    /// The segment's name in error texts: the name it was opened by, or `multiproc-` and its kind.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many participants it can have at once.
    pub fn participant_count(&self) -> u32 {
        self.participants
    }

    /// Its participant table. `None`: it was created without one.
    pub fn participants(&self) -> Option<Participants> {
        (self.participants > 0).then(|| Participants::new(self, self.participants)).flatten()
    }

    /// The error that refuses this segment. For crates that check more of a segment than this one does, as its geometry.
    #[must_use]
    pub fn refuse(&self, flaw: Flaw) -> AttachError {
        AttachError::Refused { segment: self.name.clone(), flaw }
    }
}

/// The device of a file and the file's number there: equal for all descriptors of one file while it exists.
///
/// For crates that attach a segment once however often its descriptor arrives, as `multiproc-queue` does.
pub type FileId = (u64, u64);

/// Which file is behind a descriptor.
///
/// # Errors
///
/// The system refuses.
pub fn file_id(file: BorrowedFd<'_>) -> Result<FileId, AttachError> {
    let stat = rustix::fs::fstat(file);
    let stat = stat.map_err(|error| AttachError::System {
        segment: format!("descriptor {}", file.as_raw_fd()),
        what: "look at its file",
        source: error.into(),
    })?;
    Ok((stat.st_dev, stat.st_ino))
}

impl AsFd for Segment {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self.region.owner().as_any().downcast_ref::<Map>() {
            Some(map) => map.file(),
            // Every segment has a map, from `format` or `check`.
            None => rustix::fs::CWD,
        }
    }
}
