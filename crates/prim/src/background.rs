//! Threads of our own, in the background of a program.

use std::io;
use std::mem::MaybeUninit;

/// What they do needs no deep stack.
const STACK: usize = 256 << 10;

/// Starts a thread that no signal interrupts: signals are for the program's own threads.
///
/// # Errors
///
/// The system has no threads left.
pub fn background(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = std::thread::Builder::new().name(name.into()).stack_size(STACK);
    // A new thread inherits the mask of the thread that starts it.
    with_signals_blocked(|| thread.spawn(work)).map(drop)
}

/// Runs `call` with all signals blocked in this thread. A thread that `call` starts is never interrupted by one.
pub fn with_signals_blocked<R>(call: impl FnOnce() -> R) -> R {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: both sets are ours; the first is filled by the first call, and the second by the second one.
    let blocked = unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) == 0
    };
    let result = call();
    if blocked {
        // SAFETY: the call that succeeded has written the set.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    }
    result
}
