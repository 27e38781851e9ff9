//! A fence of two halves, for those who do something a million times for every time that somebody waits for it.
//!
//! The classic agreement (I tell, then look whether you wait; you say that you wait, then look whether I told) needs a full fence
//! between telling and looking on both sides, and a full fence waits until everything written has reached the other processors.
//! Here the side that acts often writes [`light_fence`], which keeps only the compiler from moving accesses, and the side that
//! waits writes [`heavy_fence`], which makes the kernel run a full fence on every processor that runs one of us
//! (`membarrier(2)`): as if each light fence had been full.

use core::sync::atomic::{AtomicU32, Ordering, compiler_fence, fence};
use rustix::thread::{MembarrierCommand, membarrier};
use std::time::Duration;

const UNKNOWN: u32 = 0;
const REGISTERED: u32 = 1;
/// The kernel can't, or a sandbox forbids it: light fences are full ones.
const REFUSED: u32 = 2;

/// Whether the kernel runs fences in this process. A forked child is registered as its parent was.
static STATE: AtomicU32 = AtomicU32::new(UNKNOWN);

/// The half of the side that acts often. The first one of a process registers it with the kernel, which takes some ten
/// milliseconds once it has several threads.
#[inline(always)]
pub fn light_fence() {
    // Relaxed: whoever reads it late runs a full fence, which is never wrong.
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

/// The half of the side that waits: some microseconds, in which the other processors are interrupted for a moment.
#[cold]
pub fn heavy_fence() {
    fence(Ordering::SeqCst);
    if membarrier(MembarrierCommand::GlobalExpedited).is_err() {
        // A sandbox forbids the call to this process, and perhaps not to others. What the kernel does not enforce, time does: no
        // processor keeps what it wrote to itself for as long.
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicU32, Ordering};
    use std::sync::Barrier;

    /// The litmus test of stores that are kept back: without either fence it fails within moments on a machine of two processors.
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
