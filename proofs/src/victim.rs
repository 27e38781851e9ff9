//! A forked copy of this process that runs one operation, or a child of it, single-stepped by `ptrace` up to a chosen instruction.

use std::time::{Duration, Instant};

/// A child that stays in one instruction for that long sleeps in a system call.
const SLEEPS: Duration = Duration::from_millis(200);
/// Instructions between two looks whether an operation of a child is over.
const LOOKS: u64 = 200;
/// Instructions of a child that count after its operation is over.
const AFTERWARDS: u64 = 1500;

/// Processes to have places for in a queue of such a child. A look for the dead goes over them all, so with few places it has few
/// instructions to try.
pub const PLACES: u32 = 4;

/// The copy that is stepped, and how far.
pub struct Victim {
    steps: u64,
    /// Whether the operation ended before the chosen instruction.
    pub ended: bool,
    /// Instructions that the copy ran.
    pub taken: u64,
}

impl Victim {
    /// A victim that runs this many instructions of its operation.
    pub fn after(steps: u64) -> Self {
        Self { steps, ended: false, taken: 0 }
    }

    /// Kills the copy after the chosen instruction of `operation`. The copy does `before` before the counting starts.
    pub fn kill(&mut self, before: impl FnOnce(), operation: impl FnOnce()) {
        let (pid, stopped) = self.step(before, operation, || ());
        if stopped {
            // SAFETY: our own child, not waited for yet.
            unsafe { libc::kill(pid, libc::SIGKILL) };
            wait(pid);
        }
    }

    /// Stops the copy after the chosen instruction, does `meanwhile` here, and lets the copy go on. The copy does `after` at its
    /// end.
    pub fn stop(&mut self, before: impl FnOnce(), operation: impl FnOnce(), after: impl FnOnce(), meanwhile: impl FnOnce()) {
        let (pid, stopped) = self.step(before, operation, after);
        meanwhile();
        if stopped {
            // SAFETY: the copy is ours, traced and stopped. From here on it runs until the stop that marks its end.
            unsafe { libc::ptrace(libc::PTRACE_DETACH, pid, 0, 0) };
            loop {
                // SAFETY: our own child, not waited for yet.
                unsafe { libc::kill(pid, libc::SIGCONT) };
                let mut status = 0;
                // SAFETY: asks about our own child; `status` outlives the call.
                if unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) } == pid {
                    break;
                }
                std::thread::yield_now();
            }
        }
    }

    /// Kills a child that sleeps after the chosen one of the instructions that its first thread runs when `wake` has woken it. The
    /// operation ends some instructions after `is_over` says so, or when the child sleeps again. The code that started the child hears of
    /// its death and waits for it.
    pub fn kill_child<W>(&mut self, pid: i32, wake: impl FnOnce() -> W, mut is_over: impl FnMut(&W) -> bool) -> W {
        // SAFETY: the child is ours. From here on this thread traces it.
        let is_ours =
            unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, 0, 0) == 0 && libc::ptrace(libc::PTRACE_INTERRUPT, pid, 0, 0) == 0 };
        assert!(is_ours, "the child can't be traced: {}", std::io::Error::last_os_error());
        assert!(libc::WIFSTOPPED(wait(pid)), "the child ended before it was woken");
        let stops = block_stops();
        let woken = wake();
        self.ended = false;
        let mut last = self.steps;
        for step in 1..=self.steps {
            if step.is_multiple_of(LOOKS) && last == self.steps && is_over(&woken) {
                last = last.min(step + AFTERWARDS);
            }
            if step > last {
                self.ended = true;
                break;
            }
            self.taken = step;
            // SAFETY: the child is traced and stopped.
            unsafe { libc::ptrace(libc::PTRACE_SINGLESTEP, pid, 0, 0) };
            if !stops_soon(pid, &stops) {
                self.ended = true;
                break;
            }
        }
        // SAFETY: our own child, not waited for yet: it was stopped or asleep.
        unsafe { libc::kill(pid, libc::SIGKILL) };
        woken
    }

    /// Returns the copy, and whether it is stopped. If not, it is gone.
    fn step(&mut self, before: impl FnOnce(), operation: impl FnOnce(), after: impl FnOnce()) -> (i32, bool) {
        // SAFETY: this process has one thread, so the copy may do anything. The copy ends without unwinding into code that it
        // copied.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            before();
            // SAFETY: the copy asks to be traced, and stops until its parent lets it go on.
            unsafe {
                libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
                libc::raise(libc::SIGSTOP);
            }
            operation();
            // SAFETY: the copy stops, to mark the end of its operation.
            unsafe { libc::raise(libc::SIGSTOP) };
            after();
            // SAFETY: ends the process at once, without running code that only the parent may run.
            unsafe { libc::_exit(0) }
        }
        let mut status = wait(pid);
        assert!(libc::WIFSTOPPED(status), "the copy did not come to the mark: {status:#x}");
        self.ended = false;
        for step in 1..=self.steps {
            self.taken = step;
            // SAFETY: the copy is ours, traced and stopped.
            unsafe { libc::ptrace(libc::PTRACE_SINGLESTEP, pid, 0, 0) };
            status = wait(pid);
            if !libc::WIFSTOPPED(status) || libc::WSTOPSIG(status) == libc::SIGSTOP {
                self.ended = true;
                break;
            }
        }
        (pid, libc::WIFSTOPPED(status))
    }
}

/// Waits until a traced child has run its instruction; false if it sleeps in it. `stops`: SIGCHLD, which is blocked.
fn stops_soon(pid: i32, stops: &libc::sigset_t) -> bool {
    let since = Instant::now();
    loop {
        let is_late = since.elapsed() > SLEEPS;
        let mut status = 0;
        // SAFETY: asks about our own child; `status` outlives the call.
        if unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) } == pid {
            assert!(libc::WIFSTOPPED(status), "the child ended by itself: {status:#x}");
            return true;
        }
        if is_late {
            return false;
        }
        let limit = libc::timespec { tv_sec: 0, tv_nsec: SLEEPS.subsec_nanos().into() };
        // SAFETY: waits for a signal that says that a child stopped; all that is pointed to outlives the call.
        unsafe { libc::sigtimedwait(stops, std::ptr::null_mut(), &raw const limit) };
    }
}

/// Blocks SIGCHLD in this thread, so that it can be waited for.
fn block_stops() -> libc::sigset_t {
    // SAFETY: makes a set of signals, and changes this thread's mask by it. An empty set is all zeros.
    unsafe {
        let mut stops: libc::sigset_t = std::mem::zeroed();
        libc::sigaddset(&raw mut stops, libc::SIGCHLD);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const stops, std::ptr::null_mut());
        stops
    }
}

fn wait(pid: i32) -> i32 {
    let mut status = 0;
    // SAFETY: waits for our own child; `status` outlives the call.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    status
}
