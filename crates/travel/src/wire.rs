//! The socket between the two ends of a pipe. It carries descriptors, wakes a receiver that sleeps, and its hang-up tells of a death at
//! once. Each end needs one descriptor for all three.
//!
//! A packet is a *ring*, which carries nothing and wakes the reader, or it carries descriptors under a number. The reader looks at a
//! packet before it takes it out: descriptors that its process has no room for stay in the socket.

use multiproc_prim::descriptor::{Apart, apart, is_ready, occupy_standard_streams};
use multiproc_prim::{Deadline, Signal};
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{socket_domain, socket_type};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recv, recvmsg, send, sendmsg, socketpair,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// One end of a socket pair that wakes the other side, and carries descriptors for messages which travel elsewhere.
///
/// `multiproc-pipe` is built on it: messages are in shared memory, and each says under which number its descriptors come.
///
/// ```
/// use multiproc_travel::{Deadline, Wire};
/// use std::os::fd::AsFd;
///
/// let (ours, theirs) = Wire::pair()?;
/// ours.ring();
/// theirs.wait(None);
/// // The ring is taken out, and nothing comes behind it.
/// assert!(!theirs.hush());
///
/// ours.send(1, &[std::io::stdin().as_fd()], Deadline::NEVER, &mut || true)?;
/// let mut descriptors = Vec::new();
/// theirs.fetch(1, &mut descriptors)?;
/// // Until here a failure, or a death of the receiver, loses nothing.
/// theirs.finish(1);
/// assert_eq!(descriptors.len(), 1);
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "the other end hangs up when this one is dropped"]
#[derive(Debug)]
pub struct Wire(OwnedFd);

/// Packets that one call takes out of the socket: many more than a socket holds. A peer that floods it must not hold this process up.
const MOST_PACKETS: u32 = 10_000;

/// How long a sender that waits for room sleeps before it looks around.
const SLICE: Duration = Duration::from_millis(50);

const RING: u8 = 0;
const DESCRIPTORS: u8 = 1;
/// `RING` or `DESCRIPTORS`, whether it is the last packet of its number, and the number.
type Header = [u8; 10];

/// The packet at the head of a socket.
enum Head {
    Nothing,
    Ring,
    Descriptors { last: bool, number: u64 },
}

impl Wire {
    /// Descriptors that go in one packet. (The system takes 253.)
    pub const MOST_IN_A_PACKET: usize = 200;

    /// Makes a pair, and returns its two ends.
    ///
    /// # Errors
    ///
    /// The process or the system has no descriptors left.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (a, b) = apart(|| socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None))?;
        Ok((Self(a), Self(b)))
    }

    /// An end whose descriptor came from another process.
    ///
    /// # Errors
    ///
    /// It is another sort of file, on which a call could block, or never wait.
    pub fn from_descriptor(descriptor: OwnedFd) -> io::Result<Self> {
        let fits = socket_domain(&descriptor)? == AddressFamily::UNIX && socket_type(&descriptor)? == SocketType::SEQPACKET;
        if fits {
            Ok(Self(descriptor))
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "the descriptor is not the socket of a pipe"))
        }
    }

    /// Makes the other end's [`wait`](Self::wait) return.
    pub fn ring(&self) {
        // The reader of a full socket is awake already.
        let _ = send(&self.0, &[RING], SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    }

    /// Takes out the rings that came. Returns whether descriptors are next. Only [`fetch`](Self::fetch) and [`finish`](Self::finish) take
    /// these out.
    pub fn hush(&self) -> bool {
        for _ in 0..MOST_PACKETS {
            match self.head() {
                Ok(Head::Ring) => self.drop_head(),
                Ok(Head::Descriptors { .. }) => return true,
                Ok(Head::Nothing) | Err(_) => return false,
            }
        }
        // The peer floods the socket: let the caller sleep elsewhere.
        true
    }

    /// Waits until a packet is there or the other end is closed, for at most `limit` (`None`: no limit). A signal ends the wait, too.
    pub fn wait(&self, limit: Option<Duration>) {
        let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
        let mut entry = [PollFd::new(&self.0, PollFlags::IN | PollFlags::RDHUP)];
        match poll(&mut entry, limit.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            // The system refuses: the caller looks again, and must not spin.
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }

    /// Whether every copy of the other end is closed: by a call, or by the death of the processes that had it.
    pub fn is_hung_up(&self) -> bool {
        is_ready(&self.0, PollFlags::RDHUP)
    }

    /// Sends descriptors under a number, which is larger than any before it. Waits for room in the socket, until the deadline.
    ///
    /// While it waits it calls `still_there` every 50 ms, and gives up once that is false: nobody reads any more. The socket can't tell
    /// where a process keeps a copy of the other end and another one is its reader.
    ///
    /// # Errors
    ///
    /// The other end is closed or nobody reads any more (`BrokenPipe`), too many descriptors are on their way, or there was no room by
    /// the deadline (`TimedOut`). Some of the descriptors may have been sent: the reader drops them when it fetches a larger number.
    pub fn send(
        &self,
        number: u64,
        descriptors: &[BorrowedFd<'_>],
        deadline: Deadline,
        still_there: &mut dyn FnMut() -> bool,
    ) -> io::Result<()> {
        let packets = descriptors.len().div_ceil(Wire::MOST_IN_A_PACKET);
        for (i, packet) in descriptors.chunks(Wire::MOST_IN_A_PACKET).enumerate() {
            self.send_packet(number, i + 1 == packets, packet, deadline, still_there)?;
        }
        Ok(())
    }

    fn send_packet(
        &self,
        number: u64,
        last: bool,
        descriptors: &[BorrowedFd<'_>],
        deadline: Deadline,
        still_there: &mut dyn FnMut() -> bool,
    ) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(Wire::MOST_IN_A_PACKET))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(Errno::TOOMANYREFS.into());
        }
        let header = header(last, number);
        loop {
            match sendmsg(&self.0, &[IoSlice::new(&header)], &mut ancillary, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if deadline.is_over() => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "the socket of the pipe had no room by the deadline"));
                }
                Err(Errno::AGAIN) if !still_there() => {
                    return Err(io::Error::new(io::ErrorKind::BrokenPipe, "nobody reads the socket of the pipe any more"));
                }
                Err(Errno::AGAIN) => {
                    let limit = Timespec::try_from(deadline.within(SLICE)).ok();
                    let mut entry = [PollFd::new(&self.0, PollFlags::OUT | PollFlags::RDHUP)];
                    match poll(&mut entry, limit.as_ref()) {
                        Ok(_) | Err(Errno::INTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Copies the descriptors that came under `number` out of the socket, behind those in `so_far`. Drops older numbers.
    ///
    /// The last packet stays in the socket until [`finish`](Self::finish). So after a failure or a death in between, the next reader
    /// finds it again.
    ///
    /// # Errors
    ///
    /// The descriptors are not there (`NotFound`), or this process has no room for them. Then nothing is lost: the next call with the
    /// same `so_far` goes on.
    pub fn fetch(&self, number: u64, so_far: &mut Vec<OwnedFd>) -> io::Result<()> {
        for _ in 0..MOST_PACKETS {
            match self.head()? {
                Head::Ring => self.drop_head(),
                Head::Descriptors { number: found, .. } if found < number => self.drop_head(),
                Head::Descriptors { number: found, last } if found == number => {
                    self.copy_head(so_far)?;
                    if last {
                        return Ok(());
                    }
                    self.drop_head();
                }
                Head::Nothing | Head::Descriptors { .. } => break,
            }
        }
        Err(io::Error::new(io::ErrorKind::NotFound, format!("no descriptors came under number {number}")))
    }

    /// Takes everything up to `number` out of the socket. The system closes the descriptors in it.
    pub fn finish(&self, number: u64) {
        for _ in 0..MOST_PACKETS {
            match self.head() {
                Ok(Head::Ring) => self.drop_head(),
                Ok(Head::Descriptors { number: found, .. }) if found <= number => self.drop_head(),
                _ => return,
            }
        }
    }

    fn head(&self) -> io::Result<Head> {
        let mut bytes = Header::default();
        loop {
            return match recv(&self.0, &mut bytes, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
                Ok((len, _)) if len == bytes.len() && bytes[0] == DESCRIPTORS => {
                    let number = bytes.last_chunk().copied().map_or(0, u64::from_ne_bytes);
                    Ok(Head::Descriptors { last: bytes[1] != 0, number })
                }
                Err(Errno::AGAIN) => Ok(Head::Nothing),
                // No bytes are the end, or an empty packet of a hostile peer, which says no more than a ring.
                Ok((0, _)) if self.is_hung_up() => Ok(Head::Nothing),
                Ok(_) => Ok(Head::Ring),
                Err(Errno::INTR) => continue,
                Err(error) => Err(error.into()),
            };
        }
    }

    fn drop_head(&self) {
        // This call has no room for descriptors, so the system closes those in the packet.
        let _ = recv(&self.0, &mut Header::default(), RecvFlags::DONTWAIT);
    }

    fn copy_head(&self, so_far: &mut Vec<OwnedFd>) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(Wire::MOST_IN_A_PACKET))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut bytes = Header::default();
        // Descriptors that arrive get the lowest free numbers.
        occupy_standard_streams()?;
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let message = loop {
            match recvmsg(&self.0, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, flags) {
                Err(Errno::INTR) => {}
                other => break other?,
            }
        };
        let rights = ancillary.drain().filter_map(|part| match part {
            RecvAncillaryMessage::ScmRights(came) => Some(came),
            _ => None,
        });
        let came: Vec<OwnedFd> = rights.flatten().collect();
        if message.flags.contains(ReturnFlags::CTRUNC) {
            // The system stopped where this process had no descriptors left.
            return Err(Errno::MFILE.into());
        }
        so_far.extend(came.moved_apart()?);
        Ok(())
    }
}

fn header(last: bool, number: u64) -> Header {
    let mut header = [DESCRIPTORS, u8::from(last), 0, 0, 0, 0, 0, 0, 0, 0];
    header[2..].copy_from_slice(&number.to_ne_bytes());
    header
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A descriptor for `epoll`, `poll` and `select`. It is readable while something new is on a [`Wire`], and while [`set`](Self::set) says
/// so.
///
/// ```
/// use multiproc_travel::{Readiness, Wire};
///
/// let (ours, theirs) = Wire::pair()?;
/// let readiness = Readiness::new()?;
/// readiness.watch(&theirs)?;
/// ours.ring(); // From here on `readiness.as_fd()` is readable.
/// readiness.clear();
/// theirs.hush();
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Readiness {
    set: OwnedFd,
    flag: Signal,
}

impl Readiness {
    /// Makes a descriptor that watches nothing.
    ///
    /// # Errors
    ///
    /// The process or the system has no descriptors left.
    pub fn new() -> io::Result<Self> {
        let set = apart(|| epoll::create(epoll::CreateFlags::CLOEXEC))?;
        let flag = Signal::new()?;
        epoll::add(&set, &flag, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
        Ok(Self { set, flag })
    }

    /// Watches a wire from now on, for packets that come, not for those that are there.
    ///
    /// # Errors
    ///
    /// The system has no memory for it.
    pub fn watch(&self, wire: &Wire) -> io::Result<()> {
        // Each packet counts once: descriptors that wait in the socket for their message are nothing to receive.
        let events = epoll::EventFlags::IN | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        Ok(epoll::add(&self.set, wire, epoll::EventData::new_u64(1), events)?)
    }

    /// Stops watching a wire.
    pub fn forget(&self, wire: &Wire) {
        let _ = epoll::delete(&self.set, wire);
    }

    /// Forgets the packets that came so far. Call it before you look for the messages that they tell of, not after.
    pub fn clear(&self) {
        let none = Timespec::default();
        let _ = epoll::wait(&self.set, &mut [MaybeUninit::<epoll::Event>::uninit(); 2][..], Some(&none));
    }

    /// Makes it readable whatever the wire does, or ends that.
    pub fn set(&self, ready: bool) {
        if ready { self.flag.set() } else { self.flag.clear() }
    }
}

impl AsFd for Readiness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.set.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(count: usize) -> Vec<BorrowedFd<'static>> {
        vec![rustix::stdio::stderr(); count]
    }

    #[test]
    fn descriptors_are_found_by_their_number_and_older_ones_dropped() {
        let (a, b) = Wire::pair().unwrap();
        a.ring();
        a.send(1, &some(3), Deadline::NEVER, &mut || true).unwrap();
        a.ring();
        a.send(2, &some(450), Deadline::NEVER, &mut || true).unwrap();
        a.send(4, &some(1), Deadline::NEVER, &mut || true).unwrap();
        assert!(b.hush());
        let mut got = Vec::new();
        b.fetch(2, &mut got).unwrap();
        assert_eq!(got.len(), 450);
        b.finish(2);
        got.clear();
        assert_eq!(b.fetch(3, &mut got).unwrap_err().kind(), io::ErrorKind::NotFound);
        b.fetch(4, &mut got).unwrap();
        b.finish(4);
        assert!(!b.hush() && got.len() == 1);
    }

    #[test]
    fn rings_and_a_hang_up_end_a_wait() {
        let (a, b) = Wire::pair().unwrap();
        a.ring();
        b.wait(None);
        assert!(!b.hush() && !b.is_hung_up());
        drop(a);
        b.wait(None);
        assert!(b.is_hung_up() && !b.hush());
    }

    #[test]
    fn a_full_socket_is_an_error_at_the_deadline_and_never_blocks_a_ring() {
        let (a, b) = Wire::pair().unwrap();
        let one = some(1);
        let error = (1..100_000).find_map(|number| a.send(number, &one, Deadline::NOW, &mut || true).err()).unwrap();
        assert!(matches!(error.kind(), io::ErrorKind::TimedOut) || error.raw_os_error() == Some(libc::ETOOMANYREFS));
        // It waits for as long as the other end has a reader.
        let mut looks = 0;
        let mut still_there = || {
            looks += 1;
            looks < 3
        };
        let error = a.send(100_000, &one, Deadline::NEVER, &mut still_there).unwrap_err();
        assert!(matches!(error.kind(), io::ErrorKind::BrokenPipe) || error.raw_os_error() == Some(libc::ETOOMANYREFS));
        (0..10_000).for_each(|_| a.ring());
        b.finish(u64::MAX);
        assert!(!b.hush());
    }

    #[test]
    fn another_file_is_refused_and_empty_packets_are_dropped() {
        assert!(Wire::from_descriptor(std::fs::File::open("/dev/null").unwrap().into()).is_err());
        let (a, b) = Wire::pair().unwrap();
        send(&a, &[], SendFlags::empty()).unwrap();
        assert!(!b.hush());
        assert_eq!(recv(&b, &mut [0], RecvFlags::DONTWAIT).unwrap_err(), Errno::AGAIN);
    }
}
