//! Scatter and gather: parts of a job go to three workers, and partial results come back.
//!
//! Nothing counts the results, and no message says that it is the last one. The workers end when the last sender of parts is gone. The
//! results end when the last process that could send one is gone, and one of these is killed.

use multiproc::prelude::*;
use std::ops::Range;

type Failure = Box<dyn std::error::Error>;
type Partial = (Range<u64>, usize);

fn is_prime(n: u64) -> bool {
    n > 1 && (2..).take_while(|d| d * d <= n).all(|d| n % d != 0)
}

fn work((parts, results): (queue::Receiver<Range<u64>>, queue::Sender<Partial>)) -> Result<(), Failure> {
    for part in &parts {
        let primes = part.clone().filter(|&n| is_prime(n)).count();
        results.send((part, primes))?;
    }
    Ok(())
}

/// Could send results as each worker can, and never ends by itself.
fn hang(_results: queue::Sender<Partial>) {
    loop {
        std::thread::park();
    }
}

fn main() -> Result<(), Failure> {
    let _main = init();
    let (scatter, parts) = Queue::bounded(8)?.split()?;
    let (results, gather) = Queue::bounded(8)?.split()?;
    let hanging = Process::builder().daemon(true).spawn(hang, results.clone())?;
    for _ in 0..3 {
        Process::builder().daemon(true).spawn(work, (parts.clone(), results.clone()))?;
    }
    // From here on the workers alone receive parts and send results.
    drop((parts, results));

    let scattering = std::thread::spawn(move || {
        let parts = (0..100_000).step_by(5_000).map(|from| from..from + 5_000);
        parts.into_iter().try_for_each(|part| scatter.send(part))
    });
    // A sender ends by death as by drop.
    hanging.kill()?;
    let mut values = gather.iter();
    let counts: Vec<Partial> = values.by_ref().collect();
    assert_eq!(values.end(), Some(&queue::RecvError::Disconnected));
    scattering.join().map_err(|_| "the scattering thread panicked")??;

    let primes: usize = counts.iter().map(|(_, primes)| primes).sum();
    println!("{primes} primes below 100,000, from {} parts", counts.len());
    hanging.join()?;
    Ok(())
}
