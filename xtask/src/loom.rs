//! `cargo xtask loom`: the shipped lock-free code under loom.

use crate::step::{Outcome, cargo};
use clap::Args;

#[derive(Args)]
pub(crate) struct Loom {
    /// Preemptions per execution. More find more errors, and take much longer.
    #[arg(long, default_value_t = 2)]
    preemptions: u32,
    /// Only models whose name contains this. All of them by default.
    filter: Option<String>,
}

/// Crates that have models, in `tests/loom*.rs`.
const CRATES: [&str; 3] = ["multiproc-prim", "multiproc-ring", "multiproc-sync"];

impl Loom {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        models(self.preemptions, self.filter.as_deref()).map(drop)
    }
}

/// Arguments of cargo that run the models of some packages.
pub(crate) const ARGUMENTS: [&str; 5] = ["test", "--profile", "loom", "--test", "loom*"];

pub(crate) fn models(preemptions: u32, filter: Option<&str>) -> anyhow::Result<Outcome> {
    let mut arguments = ARGUMENTS.to_vec();
    arguments.extend(["--target-dir", "target/loom"]);
    arguments.extend(CRATES.iter().flat_map(|name| ["--package", name]));
    arguments.extend(["--", "--nocapture"]);
    arguments.extend(filter);
    // Some models are expected to panic. Their backtraces would hide real failures.
    let models = cargo(&arguments).env("RUST_BACKTRACE", "0").env("RUSTFLAGS", "--cfg loom");
    models.env("LOOM_MAX_PREEMPTIONS", &preemptions.to_string()).run("loom models")
}
