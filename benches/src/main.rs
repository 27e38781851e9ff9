//! `compare`: ours and the peers, alternately, several rounds in one process tree; the ratio of medians and its spread.
//!
//! What is unequal is said beside the peer: threads share an address space and need no copy between processes; a peer that
//! busy-polls never pays for a wake-up.

mod measure;
mod scenarios;

use clap::Parser;

#[derive(Parser)]
struct Options {
    /// Fewer rounds and messages.
    #[arg(long)]
    quick: bool,
    /// Scenarios whose name contains this.
    filter: Option<String>,
}

fn main() -> anyhow::Result<()> {
    let _main = multiproc::init();
    let options = Options::parse();
    let rounds = if options.quick { 3 } else { 7 };
    let scale = if options.quick { 4 } else { 1 };
    println!("{:<44} {:>14} {:>14} {:>7} {:>7} {:>7}  met", "scenario, and peer", "ours", "peer", "ratio", "spread", "target");
    for scenario in scenarios::all() {
        if options.filter.as_ref().is_none_or(|filter| scenario.name.contains(filter.as_str())) {
            scenario.run(rounds, scale)?;
        }
    }
    Ok(())
}
