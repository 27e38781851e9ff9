//! Which orders a process carries out: only those of its own parent, and only if the parent has all the rights that it has itself.
//!
//! `spawn` marks a new process twice: by an environment variable, and by the socket that the variable names, as standard input. A
//! program that a new process runs inherits the variable but has another standard input, so it is not marked. A
//! process that is marked never runs its `main` as if it were not, even if it must refuse its orders.

use rustix::fs::{FileType, fstat};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, recv};
use rustix::process::{getgid, getppid, getuid};
use rustix::thread::{CapabilitiesSecureBits, capabilities, capabilities_secure_bits, capability_is_in_ambient_set};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;
use thiserror::Error;

use multiproc_travel::Link;

/// Marks a new process: the parent's process id and the inode number of the socket.
pub(crate) const CHILD_VARIABLE: &str = "MULTIPROC_PARENT";

/// Why a new process ends instead of carrying out orders.
#[derive(Debug, Error)]
pub(crate) enum Refusal {
    #[error(
        "it has other rights than its parent process (its user ids or group ids differ, or its file is set-uid, set-gid or has \
         capabilities)"
    )]
    OtherRights,
    #[error("its socket does not come from its parent process (peer {peer}, parent {parent})")]
    Stranger { peer: Credentials, parent: Credentials },
    #[error("its socket held something before it asked for its orders")]
    Early,
    #[error("its parent process has ended")]
    Orphan,
    #[error("its parent process is in another pid namespace, so it can't tell whether its parent has its capabilities too")]
    Unknowable,
    #[error("can't {what}: {why}")]
    System { what: &'static str, why: io::Error },
}

pub(crate) fn system<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Refusal {
    move |error| Refusal::System { what, why: error.into() }
}

/// The value of [`CHILD_VARIABLE`] for a new process whose standard input is `socket`.
pub(crate) fn mark(socket: BorrowedFd<'_>) -> io::Result<String> {
    Ok(format!("{}:{}", std::process::id(), fstat(socket)?.st_ino))
}

/// Whether `spawn` started this program.
///
/// # Errors
///
/// The system won't say what standard input is.
pub(crate) fn is_marked() -> Result<bool, Refusal> {
    let Some(inode) = std::env::var(CHILD_VARIABLE).ok().and_then(|value| inode_of(&value)) else { return Ok(false) };
    // SAFETY: descriptor 0 is only borrowed, for a call that fails if it is closed.
    match fstat(unsafe { BorrowedFd::borrow_raw(0) }) {
        Ok(stat) => Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Socket && stat.st_ino == inode),
        Err(Errno::BADF) => Ok(false),
        Err(error) => Err(system("look at standard input")(error)),
    }
}

fn inode_of(value: &str) -> Option<u64> {
    let (parent, inode) = value.split_once(':')?;
    parent.parse::<u32>().ok()?;
    inode.parse().ok()
}

/// Who made a socket, or sent through it. A process outside our pid namespace has the number 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Credentials {
    pid: i32,
    uid: u32,
    gid: u32,
}

impl std::fmt::Display for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {} of user {} and group {}", self.pid, self.uid, self.gid)
    }
}

impl From<libc::ucred> for Credentials {
    fn from(credentials: libc::ucred) -> Self {
        Self { pid: credentials.pid, uid: credentials.uid, gid: credentials.gid }
    }
}

/// The real parent, if it has the rights that this process has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parent(Credentials);

impl Parent {
    /// The parent, after a look at our own rights.
    ///
    /// # Errors
    ///
    /// The program's file or the way it was started gave this process rights that its parent may not have.
    pub(crate) fn of_equal_rights() -> Result<Self, Refusal> {
        // SAFETY: reads a number that the kernel gave to this process.
        let is_secure = unsafe { libc::getauxval(libc::AT_SECURE) } != 0;
        if is_secure || !has_one_identity() {
            return Err(Refusal::OtherRights);
        }
        // The kernel does not set AT_SECURE for root, who gets all capabilities from any program. Under SECBIT_NOROOT root does not: its
        // capabilities come from the file, as those of other users do. So we ask what the kernel asks for other users.
        if getuid().is_root() && has_capabilities_of_its_file().map_err(system("read the capabilities"))? {
            return Err(Refusal::OtherRights);
        }
        let pid = parent_number();
        // The parent is in another pid namespace. Equal user and group ids are enough there, if this process has no capabilities.
        if pid == 0 && !getuid().is_root() && !capabilities(None).map_err(system("read the capabilities"))?.permitted.is_empty() {
            return Err(Refusal::Unknowable);
        }
        Ok(Self(Credentials { pid, uid: getuid().as_raw(), gid: getgid().as_raw() }))
    }

    /// Checks that the parent made the socket, and that nobody has sent anything yet. So everything that arrives was sent after
    /// this process began.
    pub(crate) fn check_socket(&self, link: &Link) -> Result<(), Refusal> {
        // If the parent died before we asked for its number, we got another parent's. That is the parent's end, and no attack.
        if link.is_hung_up() {
            return Err(Refusal::Orphan);
        }
        self.check(peer(link.as_fd()).map_err(system("ask who made its socket"))?)?;
        match retry_on_intr(|| recv(link, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT)) {
            Err(Errno::AGAIN) => Ok(()),
            // Zero bytes are a hang-up, and no packet of ours is empty.
            Ok((_, 0)) | Err(Errno::CONNRESET) => Err(Refusal::Orphan),
            Ok(_) => Err(Refusal::Early),
            Err(error) => Err(system("look into its socket")(error)),
        }
    }

    /// Waits for the parent's first packet, and checks that the parent itself sent it. Another process could have the other end too, but it
    /// can't send in the parent's name.
    ///
    /// Call [`expect_credentials`] before the question that this packet answers.
    pub(crate) fn await_welcome(&self, link: &Link) -> Result<(), Refusal> {
        self.await_packet(link)?;
        let sender = receive_sender(link.as_fd()).map_err(system("receive the parent's first word"))?;
        self.check(sender.ok_or(Refusal::Orphan)?)?;
        rustix::net::sockopt::set_socket_passcred(link, false).map_err(system("set up its socket"))
    }

    /// Waits until there is something to receive, for as long as the parent lives.
    pub(crate) fn await_packet(&self, link: &Link) -> Result<(), Refusal> {
        // A forked copy of the parent may hold the other end too. Then the parent can end without a hang-up.
        while !link.wait_readable(Duration::from_secs(1)).map_err(system("wait for its orders"))? {
            if self.has_gone() {
                return Err(Refusal::Orphan);
            }
        }
        Ok(())
    }

    /// Whether this process has another parent by now. A parent in another pid namespace has the number 0, and so has a
    /// successor there.
    pub(crate) fn has_gone(&self) -> bool {
        parent_number() != self.0.pid
    }

    fn check(&self, peer: Credentials) -> Result<(), Refusal> {
        if peer == self.0 { Ok(()) } else { Err(Refusal::Stranger { peer, parent: self.0 }) }
    }
}

fn parent_number() -> i32 {
    getppid().map_or(0, |parent| parent.as_raw_nonzero().get())
}

/// Has the kernel tell who sent each packet from now on.
pub(crate) fn expect_credentials(link: &Link) -> Result<(), Refusal> {
    rustix::net::sockopt::set_socket_passcred(link, true).map_err(system("set up its socket"))
}

/// Whether all user ids of this process are the same, and all its group ids.
fn has_one_identity() -> bool {
    let mut ids = [[u32::MAX; 3]; 2];
    let [[real, effective, saved], [real_group, effective_group, saved_group]] = &mut ids;
    // SAFETY: each call fills in three numbers, which outlive it.
    let failed =
        unsafe { libc::getresuid(real, effective, saved) != 0 || libc::getresgid(real_group, effective_group, saved_group) != 0 };
    !failed && ids.iter().all(|[real, effective, saved]| real == effective && real == saved)
}

/// Whether root has capabilities from the program's file, which SECBIT_NOROOT allows: those that are not ambient. Ambient ones were the
/// parent's.
fn has_capabilities_of_its_file() -> Result<bool, Errno> {
    // A kernel that does not know the bits has no such root.
    if !capabilities_secure_bits().is_ok_and(|bits| bits.contains(CapabilitiesSecureBits::NO_ROOT)) {
        return Ok(false);
    }
    let permitted = capabilities(None)?.permitted;
    Ok(!permitted.iter().all(|capability| capability_is_in_ambient_set(capability).unwrap_or(false)))
}

/// The process that made a socket pair. rustix has no type for process 0.
fn peer(socket: BorrowedFd<'_>) -> io::Result<Credentials> {
    let mut peer = libc::ucred { pid: -1, uid: 0, gid: 0 };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the option fills in at most `len` bytes of this very structure, plain integers; both outlive the call.
    let done = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED, (&raw mut peer).cast(), &raw mut len)
    };
    if done == 0 { Ok(peer.into()) } else { Err(io::Error::last_os_error()) }
}

/// Receives one packet, and returns who sent it; `None` if the other end is closed.
fn receive_sender(socket: BorrowedFd<'_>) -> io::Result<Option<Credentials>> {
    /// Room for one control message with credentials, aligned as its header is. Descriptors find no room.
    #[repr(C, align(8))]
    struct Control([u8; 64]);
    let mut control = Control([0; 64]);
    let mut byte = [0u8; 1];
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: byte.len() };
    // SAFETY: all zeroes are a valid header: null pointers and lengths of zero.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    (header.msg_iov, header.msg_iovlen) = (&raw mut part, 1);
    // SAFETY: computes a length from a length.
    let room = unsafe { libc::CMSG_SPACE(size_of::<libc::ucred>() as u32) } as usize;
    (header.msg_control, header.msg_controllen) = (control.0.as_mut_ptr().cast(), room.min(control.0.len()) as _);
    let received = loop {
        // SAFETY: the header points to one byte and to the control buffer, with their lengths; all of them outlive the call.
        let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_CMSG_CLOEXEC) };
        match io::Error::last_os_error() {
            error if received < 0 && error.kind() == io::ErrorKind::Interrupted => {}
            error if received < 0 => return Err(error),
            _ => break received,
        }
    };
    if received == 0 {
        return Ok(None);
    }
    // SAFETY: the system filled in the control buffer, and its length in the header; the buffer is aligned for `cmsghdr`.
    let first = unsafe { libc::CMSG_FIRSTHDR(&raw const header).as_ref() };
    // SAFETY: computes a length from a length.
    let whole = unsafe { libc::CMSG_LEN(size_of::<libc::ucred>() as u32) };
    let is_whole = |first: &&libc::cmsghdr| {
        first.cmsg_level == libc::SOL_SOCKET && first.cmsg_type == libc::SCM_CREDENTIALS && first.cmsg_len >= whole as _
    };
    let first = first.filter(is_whole).ok_or_else(|| io::Error::other("the system did not say who sent it"))?;
    // SAFETY: a control message of this type and length holds this structure; it may lie anywhere.
    Ok(Some(unsafe { libc::CMSG_DATA(first).cast::<libc::ucred>().read_unaligned() }.into()))
}

#[cfg(test)]
mod tests;
