//! Workers and producers are killed, stopped, exit, panic and return at random under load, up to ten at once, while queues shut
//! down and grow. Every value whose put returned Ok is delivered, and delivered again only with a raised count.
//!
//! `cargo run --release -p multiproc-proofs --bin storm -- 10000` deals 10,000 blows.

mod account;
mod cast;
mod round;

use round::{Kind, Round};
use std::time::Instant;

/// Blows that one round deals.
const BLOWS: u64 = 100;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let _main = multiproc::init();
    let blows: u64 = std::env::args().nth(1).map_or(Ok(300), |n| n.parse())?;
    let begin = Instant::now();
    let (mut total, mut failed) = (account::Total::default(), 0);
    for number in 0..blows.div_ceil(BLOWS) {
        // Each round has its own queues: some are shut down, some grow.
        let kind = Kind { grows: number % 4 == 1, shut_down: matches!(number % 8, 1 | 2 | 6) };
        match Round::new(kind)?.run(BLOWS.min(blows - number * BLOWS)) {
            Ok(of_this) => total += of_this,
            Err(error) => {
                println!("round {number}, {kind:?}: {error}");
                failed += 1;
            }
        }
    }
    println!("{total} in {:.1} s", begin.elapsed().as_secs_f64());
    println!("storm: {blows} cases, {failed} failed");
    if failed > 0 { Err("values were lost or doubled".into()) } else { Ok(()) }
}
