//! `cargo xtask bench`: ours and the peers, alternately, in one run. The benches are a workspace of their own, so that no peer
//! enters the product's lock file.

use crate::step::cargo;
use clap::Args;

#[derive(Args)]
pub(crate) struct Bench {
    /// Fewer rounds: in under three minutes.
    #[arg(long)]
    quick: bool,
    /// Scenarios whose name contains this; all of them if it is left out.
    filter: Option<String>,
}

impl Bench {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let mut step = cargo(&["run", "--release", "--quiet", "--bin", "compare", "--"]).dir("benches");
        if self.quick {
            step = step.arg("--quick");
        }
        if let Some(filter) = &self.filter {
            step = step.arg(filter);
        }
        step.run("bench").map(drop)
    }
}
