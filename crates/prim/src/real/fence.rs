//! A fence of two halves, for an action that happens a million times for every time that a thread waits for it.
//!
//! An actor writes its news, then looks whether a waiter is there. A waiter announces itself, then looks for news. Both need a full
//! fence between writing and looking, and a full fence waits until everything written has reached the other processors.
//!
//! Here the actor uses [`light_fence`], which keeps only the compiler from moving accesses. The waiter uses [`heavy_fence`]: it has the
//! kernel run a full fence on every processor that runs a registered process (`membarrier(2)`), as if each light fence had been full.

use core::sync::atomic::{AtomicU32, Ordering, compiler_fence, fence};
use rustix::thread::{MembarrierCommand, membarrier};
use std::time::Duration;

const UNKNOWN: u32 = 0;
const REGISTERED: u32 = 1;
/// The kernel can't run fences, or a sandbox forbids it. Light fences are full ones.
const REFUSED: u32 = 2;

/// Whether the kernel runs fences in this process. A forked child inherits the registration.
static STATE: AtomicU32 = AtomicU32::new(UNKNOWN);

/// The actor's half. The first call of a process registers it with the kernel, which takes some ten milliseconds if the process has
/// several threads.
#[inline(always)]
pub fn light_fence() {
    // Relaxed: a thread that reads an old value runs a full fence, which is never wrong.
    if STATE.load(Ordering::Relaxed) == REGISTERED { compiler_fence(Ordering::SeqCst) } else { full_fence() }
}

#[cold]
fn full_fence() {
    if STATE.load(Ordering::Relaxed) == UNKNOWN {
        let registered = membarrier(MembarrierCommand::RegisterGlobalExpedited).is_ok();
        STATE.store(if registered { REGISTERED } else { REFUSED }, Ordering::Relaxed);
    }
    fence(Ordering::SeqCst);
}

/// The waiter's half. It takes some microseconds, in which the other processors are interrupted for a moment.
#[cold]
pub fn heavy_fence() {
    fence(Ordering::SeqCst);
    if membarrier(MembarrierCommand::GlobalExpedited).is_err() {
        // A sandbox may forbid the call to this process alone, while others use light fences. Then time has to do: no processor keeps
        // a write to itself for a millisecond.
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicU32, Ordering};
    use std::sync::Barrier;

    /// The litmus test for delayed stores. If either fence is left out, it fails within moments on a machine with two processors.
    #[test]
    fn of_two_who_tell_and_then_look_one_sees_the_other() {
        const ROUNDS: usize = 20_000;
        let words: Vec<[AtomicU32; 4]> = (0..ROUNDS).map(|_| Default::default()).collect();
        let start = Barrier::new(2);
        let meet = |word: &AtomicU32| {
            word.fetch_add(1, Ordering::Relaxed);
            for spin in 1u32.. {
                if word.load(Ordering::Relaxed) == 2 {
                    break;
                }
                if spin % 1000 == 0 { std::thread::yield_now() } else { std::hint::spin_loop() }
            }
        };
        std::thread::scope(|scope| {
            let often = scope.spawn(|| {
                start.wait();
                words
                    .iter()
                    .map(|[gate, mine, yours, _]| {
                        meet(gate);
                        mine.store(1, Ordering::Relaxed);
                        light_fence();
                        yours.load(Ordering::Relaxed)
                    })
                    .collect::<Vec<_>>()
            });
            start.wait();
            let seldom: Vec<_> = words
                .iter()
                .map(|[gate, yours, mine, _]| {
                    meet(gate);
                    mine.store(1, Ordering::Relaxed);
                    heavy_fence();
                    yours.load(Ordering::Relaxed)
                })
                .collect();
            let often = often.join().unwrap();
            assert_eq!(often.iter().zip(&seldom).filter(|seen| *seen == (&0, &0)).count(), 0);
        });
    }
}
