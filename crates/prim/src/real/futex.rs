//! Futexes that work between processes (never `FUTEX_PRIVATE_FLAG`).

use super::atomic::AtomicU32;
use rustix::io::Errno;
use rustix::thread::futex::{self, Flags, WaitFlags, WaitPtr, WaitvFlags};
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// The most words that [`wait_any`] takes.
pub const MOST_WORDS: usize = 128;

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

/// Sleeps while each word holds what is expected of it, for at most `limit` (`None`: no limit). It takes up to [`MOST_WORDS`] words.
///
/// It returns as [`wait`] does. Before Linux 5.16, and where a sandbox refuses the call, it polls once a millisecond.
pub fn wait_any(words: &[(&AtomicU32, u32)], limit: Option<Duration>) {
    debug_assert!(words.len() <= MOST_WORDS);
    if let [(word, expected)] = *words {
        return wait(word, expected, limit);
    }
    let waiters: Vec<futex::Wait> = words
        .iter()
        .map(|(word, expected)| {
            let mut waiter = futex::Wait::new();
            waiter.val = u64::from(*expected);
            waiter.uaddr = WaitPtr::new(std::ptr::from_ref::<AtomicU32>(word).cast_mut().cast());
            waiter.flags = WaitFlags::SIZE_U32;
            waiter
        })
        .collect();
    // This call takes the moment, not the time left.
    let moment = limit.and_then(|limit| clock_gettime(ClockId::Monotonic).checked_add(limit.try_into().unwrap_or(LONGEST)));
    match futex::waitv(&waiters, WaitvFlags::empty(), moment.as_ref(), ClockId::Monotonic) {
        Ok(_) | Err(Errno::AGAIN | Errno::INTR | Errno::TIMEDOUT) => {}
        Err(_) => {
            let most = Duration::from_millis(1);
            std::thread::sleep(limit.map_or(most, |limit| limit.min(most)));
        }
    }
}

/// Wakes up to `count` sleepers of `word`, in any process. Returns how many were woken.
pub fn wake(word: &AtomicU32, count: u32) -> usize {
    futex::wake(word, Flags::empty(), count.min(i32::MAX as u32)).unwrap_or(0)
}

const LONGEST: futex::Timespec = futex::Timespec { tv_sec: 1 << 40, tv_nsec: 0 };
