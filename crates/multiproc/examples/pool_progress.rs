//! A pool counts primes, and the program says how far it is.

use multiproc::prelude::*;
use std::io::Write;

fn is_prime(n: u32) -> bool {
    n > 1 && (2..).take_while(|d| d * d <= n).all(|d| n % d != 0)
}

fn count_primes((from, to): (u32, u32)) -> usize {
    (from..to).filter(|&n| is_prime(n)).count()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    const PARTS: u32 = 100;
    const PART: u32 = 2_000;
    let _main = init();
    let pool = Pool::new(0)?;
    let parts = (0..PARTS).map(|part| (part * PART, (part + 1) * PART));
    let mut primes = 0;
    for (done, count) in (1..).zip(pool.imap_unordered(count_primes, parts)) {
        primes += count?;
        print!("\r{done} of {PARTS} parts");
        std::io::stdout().flush()?;
    }
    println!("\n{primes} primes below {}", PARTS * PART);
    assert_eq!(primes, 17_984);
    Ok(())
}
