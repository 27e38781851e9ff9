//! How many instructions an operation takes, counted by callgrind: the only figure of speed without noise.

use crate::step::{Outcome, cargo, program};
use anyhow::{Context, ensure};
use std::process::Command;
use std::time::Instant;

/// Operations of `proofs/src/bin/counts.rs`, and the instructions that one round of each takes. A change that alters a count records
/// the new one here.
const RECORDED: [(&str, u64); 5] =
    [("queue u64", 528), ("queue 32 bytes", 1692), ("queue 100 bytes", 1684), ("joinable queue", 1564), ("pipe 8 bytes", 514)];
/// The part by which a count may differ, since another compiler makes other code.
const TOLERANCE: f64 = 0.1;
const ROUNDS: u64 = 10_000;
/// Where the program is built. It reads the clock through the C library, since callgrind has no vDSO.
const TARGET: &str = "target/counts";

/// Whether callgrind is here.
pub(crate) fn is_here() -> bool {
    program("valgrind", &["--version"]).answers()
}

pub(crate) fn counts() -> anyhow::Result<Outcome> {
    let begin = Instant::now();
    let build = ["build", "--quiet", "--release", "-p", "multiproc-proofs", "--bin", "counts", "--target-dir", TARGET];
    cargo(&build).env("RUSTFLAGS", "--cfg rustix_use_libc").run("counts, built")?;
    let mut off = 0;
    for (what, recorded) in RECORDED {
        let each = (instructions(what, ROUNDS)? - instructions(what, 0)?) / ROUNDS;
        let change = each as f64 / recorded as f64 - 1.0;
        let verdict = if change.abs() <= TOLERANCE { "as recorded" } else { "CHANGED: if that is meant, record it" };
        println!("{what:<16} {each:>6} instructions, {recorded} recorded, {:+.1} %: {verdict}", change * 100.0);
        off += usize::from(change.abs() > TOLERANCE);
    }
    ensure!(off == 0, "{off} counts of instructions are not as recorded in xtask/src/counts.rs");
    Ok(Outcome { took: begin.elapsed(), passed: RECORDED.len() as u64, ..Outcome::default() })
}

/// Instructions of the whole program.
fn instructions(what: &str, rounds: u64) -> anyhow::Result<u64> {
    let counts = format!("{TARGET}/release/counts");
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", &counts, what, &rounds.to_string()]);
    let output = command.output().context("can't start valgrind")?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{what}: {text}");
    let collected = text.lines().find_map(|line| line.split_once("Collected : ")).context("callgrind counted nothing")?;
    collected.1.trim().parse().with_context(|| format!("{what}: {:?} is no count", collected.1))
}
