//! `cargo xtask bench`: ours and the peers, alternately, in one run. The benches are a workspace of their own, so that no peer
//! enters the product's lock file.

use crate::step::cargo;
use clap::Args;

#[derive(Args)]
pub(crate) struct Bench {
    /// For the program that measures: `--quick`, `--json FILE`, `--save`, `--baseline`, `--growth DIRECTORY`, part of a scenario's
    /// name; `--help` tells more.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

impl Bench {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let manifest = ["run", "--release", "--quiet", "--manifest-path", "benches/Cargo.toml", "--bin", "compare", "--"];
        let step = self.arguments.iter().fold(cargo(&manifest), |step, argument| step.arg(argument));
        step.run("bench").map(drop)
    }
}
