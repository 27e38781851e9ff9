//! Futexes that work between processes (never `FUTEX_PRIVATE_FLAG`).

use super::atomic::AtomicU32;
use rustix::io::Errno;
use rustix::thread::futex::{self, Flags};
use std::time::Duration;

/// Sleeps while `word` holds `expected`, for at most `limit` (`None`: no limit).
///
/// Returns when it is woken, when the value already differs, when the time is over, or for a signal. It does not say which, because the
/// caller must look at its condition again in every case.
pub fn wait(word: &AtomicU32, expected: u32, limit: Option<Duration>) {
    let limit = limit.map(|limit| limit.try_into().unwrap_or(LONGEST));
    match futex::wait(word, Flags::empty(), expected, limit.as_ref()) {
        Ok(()) | Err(Errno::AGAIN | Errno::INTR | Errno::TIMEDOUT) => {}
        // Where a sandbox refuses futexes, the caller still makes progress: it polls once a millisecond instead of spinning.
        Err(_) => std::thread::sleep(Duration::from_millis(1)),
    }
}

/// Wakes up to `count` sleepers of `word`, in any process. Returns how many were woken.
pub fn wake(word: &AtomicU32, count: u32) -> usize {
    futex::wake(word, Flags::empty(), count.min(i32::MAX as u32)).unwrap_or(0)
}

const LONGEST: futex::Timespec = futex::Timespec { tv_sec: 1 << 40, tv_nsec: 0 };
