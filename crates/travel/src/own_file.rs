//! Bytes in a memory file of their own, for a message that does not fit where it should go.

use multiproc_prim::descriptor::apart;
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;

const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::WRITE).union(SealFlags::SEAL);

/// Writes `bytes` to a new memory file, which can't be changed any more. Its descriptor travels in place of the bytes.
///
/// ```
/// use multiproc_travel::{read_own_file, write_own_file};
///
/// let file = write_own_file(b"a long message")?;
/// assert_eq!(read_own_file(&file, 14)?, b"a long message");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// The process or the system has no descriptors or no memory left, or may not have files of that length.
pub fn write_own_file(bytes: &[u8]) -> io::Result<OwnedFd> {
    // Beyond its limit the system would answer with a signal.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Fsize).current;
    if limit.is_some_and(|limit| limit < bytes.len() as u64) {
        return Err(Errno::FBIG.into());
    }
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = apart(|| rustix::fs::memfd_create("multiproc-message", flags))?;
    let mut rest = bytes;
    while !rest.is_empty() {
        match rustix::io::write(&file, rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    rustix::fs::fcntl_add_seals(&file, SEALS)?;
    Ok(file)
}

/// Reads the bytes that another process wrote with [`write_own_file`], if they are at most so many.
///
/// # Errors
///
/// The file is none of those, so that reading could block, or it is longer (`InvalidData`).
pub fn read_own_file(file: &OwnedFd, most: usize) -> io::Result<Vec<u8>> {
    let sealed = rustix::fs::fcntl_get_seals(file).is_ok_and(|seals| seals.contains(SEALS));
    let len = if sealed { usize::try_from(rustix::fs::fstat(file)?.st_size).ok().filter(|&len| len <= most) } else { None };
    let Some(len) = len else {
        let what = format!("the descriptor is no sealed memory file of at most {most} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    };
    let mut bytes = vec![0; len];
    let mut at = 0;
    while let Some(rest) = bytes.get_mut(at..).filter(|rest| !rest.is_empty()) {
        match rustix::io::pread(file, rest, at as u64) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => at += read,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_apart_are_the_same_and_other_files_are_refused() {
        let bytes: Vec<u8> = (0..100_000u32).map(|i| i as u8).collect();
        let file = write_own_file(&bytes).unwrap();
        assert!(read_own_file(&file, bytes.len()).unwrap() == bytes);
        assert!(read_own_file(&file, bytes.len() - 1).is_err());
        let (reader, _writer) = rustix::pipe::pipe().unwrap();
        assert!(read_own_file(&reader, 0).is_err());
    }
}
