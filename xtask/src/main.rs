//! `cargo xtask`: the chores of this repository, as programs.

mod api;
mod bench;
mod ci;
mod counts;
mod draw;
mod examples;
mod fuzz;
mod loom;
mod orderings;
mod proof;
mod python;
mod reach;
mod step;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything that decides whether a change is good, in under 25 minutes on two cores.
    Ci,
    /// The models of the lock-free code, in every interleaving.
    Loom(loom::Loom),
    /// The fuzz targets, for some seconds each.
    Fuzz(fuzz::Fuzz),
    /// The tutorial's programs.
    Demo,
    /// Measure against the peers.
    Bench(bench::Bench),
    /// The slow proofs.
    Proof(proof::Proof),
    /// Compare the public interface of the library crates with the one that `docs/api` records.
    Api(api::Api),
}

fn main() -> anyhow::Result<()> {
    // Paths below are relative to the root of the repository.
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    std::env::set_current_dir(root.unwrap_or(std::path::Path::new(".")))?;
    match Cli::parse().command {
        Command::Ci => ci::run(),
        Command::Loom(loom) => loom.run(),
        Command::Fuzz(fuzz) => fuzz.run(),
        Command::Demo => step::cargo(&["demo"]).run("demo").map(drop),
        Command::Bench(bench) => bench.run(),
        Command::Proof(proof) => proof.run(),
        Command::Api(api) => api.run(),
    }
}
