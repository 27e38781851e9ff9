//! A pair of sockets between two ends: it carries descriptors, and its hang-up tells of a death at once.

use multiproc_prim::descriptor::{Apart, apart, is_ready, occupy_standard_streams};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// One end of a socket pair that carries packets with descriptors.
#[derive(Debug)]
pub struct Link(OwnedFd);

/// Descriptors in one packet: the system takes 253.
const PER_PACKET: usize = 200;
/// Bytes in one packet.
const PACKET: usize = 16 << 10;

impl Link {
    /// Two ends of a new pair.
    ///
    /// # Errors
    ///
    /// The process or the system has no descriptors left.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (a, b) = apart(|| socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None))?;
        Ok((Self(a), Self(b)))
    }

    /// An end that came from another process.
    pub fn from_descriptor(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }

    /// Sends bytes and descriptors; waits while the other end does not read.
    ///
    /// # Errors
    ///
    /// The other end is closed.
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

    /// Receives what one [`send`](Self::send) sent; at most `limit` bytes and `descriptor_limit` descriptors. Waits for it, unless
    /// `wait` is false.
    ///
    /// # Errors
    ///
    /// The other end is closed (`UnexpectedEof`), nothing is there and `wait` is false (`WouldBlock`), or it is more than
    /// the limits.
    pub fn receive(&self, limit: usize, descriptor_limit: usize, wait: bool) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
        let mut bytes = Vec::new();
        let mut descriptors = Vec::new();
        while !self.receive_packet(wait, &mut bytes, &mut descriptors)? {
            if bytes.len() > limit || descriptors.len() > descriptor_limit {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "more came than was announced"));
            }
        }
        Ok((bytes, descriptors))
    }

    fn receive_packet(&self, wait: bool, bytes: &mut Vec<u8>, descriptors: &mut Vec<OwnedFd>) -> io::Result<bool> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PER_PACKET))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut last = [0];
        let mut buffer = vec![0; PACKET];
        // What arrives gets the lowest free numbers.
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
            return Err(io::Error::other("no descriptors left for those that came"));
        }
        bytes.extend_from_slice(buffer.get(..message.bytes - 1).unwrap_or_default());
        Ok(last[0] == 1)
    }

    /// Whether every copy of the other end is closed: by hand, or by the death of those who had it.
    pub fn is_hung_up(&self) -> bool {
        is_ready(&self.0, PollFlags::RDHUP)
    }

    /// Waits until there is something to receive or the other end is closed, for at most `limit`. False: the limit passed.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn wait_readable(&self, limit: Duration) -> io::Result<bool> {
        let limit = Timespec::try_from(limit).unwrap_or(Timespec { tv_sec: i64::MAX / 2, tv_nsec: 0 });
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
}
