//! A pool over machines. On each of them: `pool serve nats://server:4222/primes`. Then: `pool nats://server:4222/primes`.

use multiproc_nats::{RemotePool, RemoteQueue, Tasks};
use multiproc_pool::Pool;
use std::error::Error;
use std::ops::Range;

/// Enough work that a call over the network is worth its while.
fn primes(numbers: Range<u64>) -> usize {
    let is_prime = |&n: &u64| n > 1 && (2..).take_while(|d| d * d <= n).all(|d| n % d != 0);
    numbers.filter(is_prime).count()
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [serve, address] if serve == "serve" => {
            let pool = Pool::builder().retries(1).build()?;
            Tasks::new().with(primes).serve(&RemoteQueue::connect(address)?, &pool)?;
        }
        [address] => {
            let pool = RemotePool::connect(address)?;
            let counts = pool.imap_unordered(primes, (0..100).map(|n| n * 10_000..(n + 1) * 10_000))?;
            println!("{} primes below a million", counts.sum::<Result<usize, _>>()?);
        }
        _ => println!("pool serve nats://server:4222/primes, or pool nats://server:4222/primes"),
    }
    Ok(())
}
