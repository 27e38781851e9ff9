//! A pair of sockets that carries bytes with descriptors, and whose hang-up tells of a death at once.

use multiproc_prim::descriptor::{Apart, apart, is_ready, occupy_standard_streams, timespec};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// One end of a socket pair that carries bytes with descriptors. It hangs up when no process has the other end any more.
///
/// ```
/// use multiproc_travel::Link;
///
/// let (ours, theirs) = Link::pair()?;
/// ours.send(b"a file", &[std::fs::File::open("/dev/null")?.into()])?;
/// let (bytes, descriptors) = theirs.receive(1024, 8, true)?;
/// assert_eq!((&bytes[..], descriptors.len()), (&b"a file"[..], 1));
/// drop(ours);
/// assert!(theirs.is_hung_up());
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "the other end hangs up when this one is dropped"]
#[derive(Debug)]
pub struct Link(OwnedFd);

/// Descriptors in one packet. The system takes 253.
const PER_PACKET: usize = 200;
/// Bytes in one packet.
const PACKET: usize = 16 << 10;

impl Link {
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
    pub fn from_descriptor(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }

    /// Sends bytes and descriptors. Waits while the socket is full, that is until the other end reads.
    ///
    /// # Errors
    ///
    /// The other end is closed (`BrokenPipe`, `ConnectionReset`), or too many descriptors are on their way.
    pub fn send(&self, bytes: &[u8], descriptors: &[OwnedFd]) -> io::Result<()> {
        // Each packet says whether it is the last.
        let mut bytes = bytes;
        let mut descriptors = descriptors;
        loop {
            let (now, later) = bytes.split_at(bytes.len().min(PACKET));
            let (fds_now, fds_later) = descriptors.split_at(descriptors.len().min(PER_PACKET));
            let last = later.is_empty() && fds_later.is_empty();
            self.send_packet(last, now, fds_now)?;
            if last {
                return Ok(());
            }
            (bytes, descriptors) = (later, fds_later);
        }
    }

    fn send_packet(&self, last: bool, bytes: &[u8], descriptors: &[OwnedFd]) -> io::Result<()> {
        let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PER_PACKET))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !borrowed.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(&borrowed)) {
            return Err(Errno::TOOMANYREFS.into());
        }
        let mark = [u8::from(last)];
        let parts = [IoSlice::new(&mark), IoSlice::new(bytes)];
        loop {
            match sendmsg(&self.0, &parts, &mut ancillary, SendFlags::NOSIGNAL) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Receives the bytes and descriptors of one [`send`](Self::send), at most `limit` bytes and `descriptor_limit` descriptors. Waits
    /// for them, unless `wait` is false.
    ///
    /// # Errors
    ///
    /// The other end is closed (`UnexpectedEof`), nothing is there and `wait` is false (`WouldBlock`), more came than the limits
    /// allow (`InvalidData`), or this process has no descriptors left.
    pub fn receive(&self, limit: usize, descriptor_limit: usize, wait: bool) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
        let mut bytes = Vec::new();
        let mut descriptors = Vec::new();
        loop {
            let last = self.receive_packet(wait, &mut bytes, &mut descriptors)?;
            if bytes.len() > limit || descriptors.len() > descriptor_limit {
                let text = format!("the other end sent more than {limit} bytes and {descriptor_limit} descriptors");
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            if last {
                return Ok((bytes, descriptors));
            }
        }
    }

    fn receive_packet(&self, wait: bool, bytes: &mut Vec<u8>, descriptors: &mut Vec<OwnedFd>) -> io::Result<bool> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PER_PACKET))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut last = [0];
        let mut buffer = vec![0; PACKET];
        // Descriptors that arrive get the lowest free numbers.
        occupy_standard_streams()?;
        let flags = if wait { RecvFlags::CMSG_CLOEXEC } else { RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT };
        let message = loop {
            let mut parts = [IoSliceMut::new(&mut last), IoSliceMut::new(&mut buffer)];
            match recvmsg(&self.0, &mut parts, &mut ancillary, flags) {
                Ok(message) => break message,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        };
        for part in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(arrived) = part {
                descriptors.extend(arrived.collect::<Vec<_>>().moved_apart()?);
            }
        }
        if message.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if message.flags.contains(rustix::net::ReturnFlags::CTRUNC) {
            return Err(io::Error::other(
                "this process has no descriptors left for those that came: raise its limit (ulimit -n)",
            ));
        }
        bytes.extend_from_slice(buffer.get(..message.bytes - 1).unwrap_or_default());
        Ok(last[0] == 1)
    }

    /// Whether every copy of the other end is closed: by a call, or by the death of the processes that had it.
    pub fn is_hung_up(&self) -> bool {
        is_ready(&self.0, PollFlags::RDHUP)
    }

    /// Waits until there is something to receive or the other end is closed, for at most `limit`. False: the limit has passed, or a signal
    /// came.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn wait_readable(&self, limit: Duration) -> io::Result<bool> {
        let limit = timespec(limit);
        let mut entry = [PollFd::new(&self.0, PollFlags::IN | PollFlags::RDHUP)];
        match poll(&mut entry, Some(&limit)) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl From<Link> for OwnedFd {
    fn from(link: Link) -> Self {
        link.0
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_descriptors_of_any_number_arrive_together() {
        let (a, b) = Link::pair().unwrap();
        let bytes: Vec<u8> = (0..100_000u32).map(|i| i as u8).collect();
        let descriptors: Vec<OwnedFd> = (0..450).map(|_| a.as_fd().try_clone_to_owned().unwrap()).collect();
        let sender = std::thread::spawn(move || a.send(&bytes, &descriptors).map(|()| (a, bytes)));
        let (got, fds) = b.receive(200_000, 500, true).unwrap();
        let (a, bytes) = sender.join().unwrap().unwrap();
        assert!(got == bytes && fds.len() == 450);
        assert_eq!(b.receive(1, 1, false).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(!b.is_hung_up());
        drop((a, fds));
        assert!(b.is_hung_up() && b.wait_readable(Duration::ZERO).unwrap());
        assert_eq!(b.receive(1, 1, true).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn more_than_the_limits_is_refused_even_in_one_packet() {
        let (a, b) = Link::pair().unwrap();
        let descriptor = || a.as_fd().try_clone_to_owned().unwrap();
        for (bytes, descriptors, fits) in [(8, 1, true), (9, 0, false), (0, 2, false)] {
            let descriptors: Vec<OwnedFd> = (0..descriptors).map(|_| descriptor()).collect();
            a.send(&vec![7; bytes], &descriptors).unwrap();
            let kind = b.receive(8, 1, true).map(drop).map_err(|error| error.kind());
            assert_eq!(kind, if fits { Ok(()) } else { Err(io::ErrorKind::InvalidData) });
        }
    }
}
