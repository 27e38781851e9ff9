//! Signal masks and dispositions, which rustix leaves to the C library.

use std::mem::MaybeUninit;

/// Keeps signals pending for the calling thread until it is dropped.
pub(crate) struct Blocked {
    before: libc::sigset_t,
    /// A mask belongs to its thread.
    _not_send: std::marker::PhantomData<*const ()>,
}

impl Blocked {
    /// Blocks one more signal.
    pub(crate) fn also(signal: libc::c_int) -> Self {
        let (mut set, mut before) = (empty(), empty());
        // SAFETY: both sets are initialised and this function's own; the second call changes the calling thread's mask alone.
        unsafe {
            libc::sigaddset(&raw mut set, signal);
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, &raw mut before);
        }
        Self { before, _not_send: std::marker::PhantomData }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: the set is the one that the system gave; the call changes the calling thread's mask alone.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, std::ptr::null_mut()) };
    }
}

/// Unblocks every signal in the calling thread. Pending ones arrive now.
pub(crate) fn unblock_all() {
    let none = empty();
    // SAFETY: the set is initialised; the call changes the calling thread's mask alone.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()) };
}

/// Ignores a signal, also one that is pending because it is blocked. Programs that this process runs inherit that.
pub(crate) fn ignore(signal: libc::c_int) {
    // SAFETY: ignoring a signal runs no code and touches no memory of ours.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

fn empty() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the call initialises the whole set.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        set.assume_init()
    }
}
