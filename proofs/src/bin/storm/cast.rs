//! Who takes part: producers, workers, and chance.

use multiproc::{JoinableQueue, PutError, Queue};
use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::BuildHasher;
use std::os::unix::fs::FileExt;

/// A job is its producer's number and, in the low half, the producer's count.
pub(crate) type Jobs = JoinableQueue<u64>;
pub(crate) type Results = Queue<(u64, u16)>;

/// Chance that needs no care.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new() -> Self {
        Self(RandomState::new().hash_one(0) | 1)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 8) % bound
    }
}

/// Something that the storm does not deal out.
fn fail(what: impl std::fmt::Display) -> ! {
    eprintln!("{}: {what}", multiproc::current_process().name());
    std::process::exit(3)
}

/// Panics without a word: it is expected.
fn panic_silently() -> ! {
    std::panic::set_hook(Box::new(|_| {}));
    // What the library says of a panic is of no interest either.
    if let Ok(null) = File::options().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stderr(&null);
    }
    panic!("by chance")
}

/// Puts jobs until the queue is shut down, or chance ends it. Its count of puts that returned Ok is in a file, which no queue touches.
pub(crate) fn produce((jobs, log, number): (Jobs, String, u64)) {
    let log = File::options().write(true).open(log).unwrap_or_else(|error| fail(error));
    let mut random = Random::new();
    for count in 0_u64..1 << 32 {
        match jobs.put(number << 32 | count) {
            Ok(()) => {}
            Err(PutError::ShutDown(_)) => return,
            Err(error) => fail(error),
        }
        log.write_all_at(&(count + 1).to_le_bytes(), number * 8).unwrap_or_else(|error| fail(error));
        match random.below(100_000) {
            0 => std::process::exit(0),
            1 => panic_silently(),
            2 => return,
            _ => {}
        }
    }
}

/// Does jobs until there are no more, or chance ends it with one in hand.
pub(crate) fn work((jobs, results): (Jobs, Results)) {
    let mut random = Random::new();
    loop {
        let job = match jobs.get_delivery() {
            Ok(job) => job,
            Err(error) if error.to_string().contains("shut down") => return,
            Err(error) => fail(error),
        };
        if let Err(error) = results.put((*job, job.count())) {
            fail(error);
        }
        match random.below(20_000) {
            0 => std::process::exit(0),
            1 => panic_silently(),
            2 => {
                job.done();
                return;
            }
            3 => job.give_back(),
            _ => drop(job.done()),
        }
    }
}
