//! `cargo xtask bench`: ours and the peers, alternately, in one run. The benches are a workspace of their own, so that no peer
//! enters the product's lock file.

use crate::draw;
use crate::step::cargo;
use clap::{Args, Subcommand};
use std::path::Path;

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Bench {
    #[command(subcommand)]
    command: Option<What>,
    /// For the program that measures: `--quick`, `--only TEXT`, `--json FILE`, `--save`, `--baseline`. `-- --help` tells more.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

#[derive(Subcommand)]
enum What {
    /// Measure how costs grow, write the numbers to docs/curves, and draw them.
    Growth {
        /// Fewer messages.
        #[arg(long)]
        quick: bool,
    },
    /// Draw the numbers in docs/curves again, without measuring.
    Draw,
}

impl Bench {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self.command {
            None => measure(&self.arguments),
            Some(What::Draw) => draw::draw(Path::new(draw::CURVES)),
            Some(What::Growth { quick }) => {
                let mut arguments = vec!["--growth".to_owned(), draw::CURVES.to_owned()];
                arguments.extend(quick.then(|| "--quick".to_owned()));
                measure(&arguments)?;
                draw::draw(Path::new(draw::CURVES))
            }
        }
    }
}

fn measure(arguments: &[String]) -> anyhow::Result<()> {
    let program = ["run", "--release", "--quiet", "--manifest-path", "benches/Cargo.toml", "--bin", "compare", "--"];
    let step = arguments.iter().fold(cargo(&program), |step, argument| step.arg(argument));
    step.run("bench").map(drop)
}
