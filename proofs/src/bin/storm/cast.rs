//! The processes of a round: producers and workers, and the random numbers that end some of them.

use multiproc::{JoinableQueue, PutError, Queue};
use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::BuildHasher;
use std::os::unix::fs::FileExt;

/// A job: its producer's number in the high half, the producer's count in the low half.
pub(crate) type Jobs = JoinableQueue<u64>;
pub(crate) type Results = Queue<(u64, u16)>;

/// Random numbers that need not be good.
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

/// Prints an error that the storm did not cause, and ends the process.
fn fail(what: impl std::fmt::Display) -> ! {
    eprintln!("{}: {what}", multiproc::current_process().name());
    std::process::exit(3)
}

/// Panics without a word, since the panic is expected.
fn panic_silently() -> ! {
    std::panic::set_hook(Box::new(|_| {}));
    // The library prints a line about a panic, too.
    if let Ok(null) = File::options().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stderr(&null);
    }
    panic!("by chance")
}

/// Puts jobs until the queue is shut down or a random number ends the producer. A file, which no queue touches, counts the puts
/// that returned Ok.
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

/// Does jobs until there are no more, or a random number ends the worker with a job in hand.
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
