//! A forked copy of this process that runs one operation, single-stepped by `ptrace` up to a chosen instruction.

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

fn wait(pid: i32) -> i32 {
    let mut status = 0;
    // SAFETY: waits for our own child; `status` outlives the call.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    status
}
