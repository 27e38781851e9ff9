//! What a forked copy of a process finds.

#![cfg(not(loom))]

use multiproc_prim::stamp;

#[test]
fn threads_that_ask_for_the_first_stamp_at_once_get_the_same_one() {
    // In a forked copy, which has no stamp yet.
    for _ in 0..50 {
        // SAFETY: only this thread runs in the copy, which makes threads of its own and ends without unwinding.
        match unsafe { libc::fork() } {
            0 => {
                let start = std::sync::Barrier::new(4);
                let ask = || {
                    start.wait();
                    stamp()
                };
                let stamps =
                    std::thread::scope(|scope| [(); 4].map(|()| scope.spawn(ask)).map(|thread| thread.join().unwrap_or(0)));
                let same = stamps[0] != 0 && stamps.iter().all(|&other| other == stamps[0]);
                // SAFETY: ends the copy at once.
                unsafe { libc::_exit(i32::from(!same)) }
            }
            pid => {
                let mut status = 0;
                // SAFETY: waits for our own child; `status` outlives the call.
                assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
                assert_eq!(status, 0, "the threads of one process disagree");
            }
        }
    }
}
