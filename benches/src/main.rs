//! `compare`: ours and the peers, alternately, several rounds in one process tree; the ratio of medians and its spread.
//!
//! A peer's name says what is unequal: threads share an address space and need no copy between processes; a peer that
//! busy-polls never pays for a wake-up.

mod growth;
mod measure;
mod report;
mod scenarios;

use clap::Parser;
use measure::Scenario;
use std::path::{Path, PathBuf};

#[derive(Parser)]
struct Options {
    /// Fewer rounds and messages: in a minute.
    #[arg(long)]
    quick: bool,
    /// Writes the rows to this file too, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Keeps the rows for a later `--baseline`.
    #[arg(long)]
    save: bool,
    /// Compares with the rows that `--save` kept last.
    #[arg(long)]
    baseline: bool,
    /// Measures how costs grow instead, and writes the numbers into this directory: `cargo xtask bench growth` draws them.
    #[arg(long)]
    growth: Option<PathBuf>,
    /// Only scenarios whose name contains this text.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

fn main() -> anyhow::Result<()> {
    let _main = multiproc::init();
    procspawn::init();
    iceoryx2::prelude::set_log_level(iceoryx2::prelude::LogLevel::Fatal);
    let options = Options::parse();
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/compare");
    std::fs::create_dir_all(&target)?;
    if let Some(directory) = &options.growth {
        return growth::run(directory, options.quick);
    }
    let (rounds, scale) = if options.quick { (3, 4) } else { (7, 1) };
    println!("at the start {}", scenarios::state()?);
    let scenarios = scenarios::all();
    report::head();
    let mut rows = Vec::new();
    let asked_for = |scenario: &Scenario| options.only.as_ref().is_none_or(|text| scenario.name().contains(text));
    for scenario in scenarios.iter().filter(|scenario| asked_for(scenario)) {
        let measured = scenario.run(rounds, scale)?;
        measured.iter().for_each(report::line);
        rows.extend(measured);
    }
    println!("at the end {}", scenarios::state()?);
    let missed = rows.iter().filter(|row| !row.met).count();
    println!("{} comparisons, {missed} short of their target", rows.len());
    let saved = target.join("saved.json");
    if options.baseline {
        report::compare(&saved, &rows)?;
    }
    for path in options.json.iter().chain(options.save.then_some(&saved)) {
        report::write(path, &rows)?;
    }
    Ok(())
}
