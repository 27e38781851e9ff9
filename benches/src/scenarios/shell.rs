//! The command `multiproc`, beside the commands that people use for the same.

use crate::measure::{Peer, Scenario, per_operation};
use anyhow::{Context, Result, ensure};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

/// Where cargo puts the command.
const TARGET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/release");
const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");

/// Builds the command, once.
static BUILT: LazyLock<bool> = LazyLock::new(|| {
    let build = ["build", "--quiet", "--release", "--package", "multiproc-cli", "--manifest-path", MANIFEST];
    Command::new("cargo").args(build).status().is_ok_and(|status| status.success())
});

pub fn all() -> Vec<Scenario> {
    let lines = |name, ours: fn(u64) -> Result<f64>| {
        Scenario::timed(name, 1_000_000, ours, [Peer::at_most("1,500 ns", 1.5e-6)]).most_rounds(5)
    };
    let jobs: [Option<Peer>; 2] = [
        there("xargs", Peer::limit("xargs -P2 -n1, and 1 ms", 1_000, |n| Ok(run("xargs -P2 -n1 true", n)? + 1e-3), 1.0)),
        there("parallel", Peer::new("GNU parallel -j2", 1_000, |n| run("parallel -j2 true", n), 2.0)),
    ];
    let singly: [Option<Peer>; 2] =
        [there("nq", Peer::new("nq", 200, nq, 1.0)), there("tsp", Peer::new("task-spooler", 200, task_spooler, 1.0))];
    vec![
        lines("multiproc put of 1,000,000 lines, a line", |n| put_lines(n, "")),
        lines("multiproc put of 1,000,000 lines, joinable, a line", |n| put_lines(n, "--joinable")),
        lines("multiproc get of 1,000,000 lines, a line", |n| get_lines(n, "")),
        lines("multiproc get of 1,000,000 lines, joinable, a line", |n| get_lines(n, "--joinable")),
        Scenario::timed(
            "multiproc run -j2 true, a job",
            1_000,
            |n| run("multiproc run -j2 -- true", n),
            jobs.into_iter().flatten(),
        )
        .most_rounds(5),
        Scenario::timed("a command for each put, then multiproc work, a job", 200, put_and_work, singly.into_iter().flatten())
            .most_rounds(5),
    ]
}

/// The peer, if its program is here.
fn there(program: &str, peer: Peer) -> Option<Peer> {
    let found = shell(&format!("command -v {program}")).is_ok();
    if !found {
        println!("{program} is not here, and is not measured");
    }
    found.then_some(peer)
}

/// Runs a line of shell with the command in the path, and a queue's name in `$q`.
fn shell(line: &str) -> Result<()> {
    let path = format!("{TARGET}:{}", std::env::var("PATH").unwrap_or_default());
    let queue = format!("bench-{}", std::process::id());
    let mut command = Command::new("sh");
    command.args(["-c", line]).env("PATH", path).env("q", queue).stdin(Stdio::null()).stdout(Stdio::null());
    let output = command.stderr(Stdio::piped()).output().context("can't start sh")?;
    ensure!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Seconds for each of `n` operations that a line of shell does, on a queue made with these options.
fn with_queue(n: u64, options: &str, before: &str, line: &str) -> Result<f64> {
    ensure!(*BUILT, "cargo can't build the command");
    shell(&format!("multiproc create $q {options}"))?;
    let cost = shell(before).and_then(|()| per_operation(n, || shell(line)));
    shell("multiproc rm $q")?;
    cost
}

fn put_lines(n: u64, options: &str) -> Result<f64> {
    with_queue(n, options, "", &format!("seq {n} | multiproc put $q"))
}

fn get_lines(n: u64, options: &str) -> Result<f64> {
    with_queue(n, options, &format!("seq {n} | multiproc put $q"), &format!("multiproc get $q -n {n}"))
}

/// Arguments from standard input, a job for each.
fn run(command: &str, n: u64) -> Result<f64> {
    ensure!(*BUILT, "cargo can't build the command");
    per_operation(n, || shell(&format!("seq {n} | {command}")))
}

fn put_and_work(n: u64) -> Result<f64> {
    let line = format!("for i in $(seq {n}); do multiproc put $q $i; done; multiproc work $q -j1 --until-empty -- true {{}}");
    with_queue(n, "--joinable", "", &line)
}

fn nq(n: u64) -> Result<f64> {
    per_operation(n, || {
        shell(&format!("export NQDIR=$(mktemp -d); for i in $(seq {n}); do nq -q true; done; nq -w; rm -r $NQDIR"))
    })
}

fn task_spooler(n: u64) -> Result<f64> {
    let places = "export TMPDIR=$(mktemp -d) TS_MAXFINISHED=1; export TS_SOCKET=$TMPDIR/socket";
    per_operation(n, || shell(&format!("{places}; for i in $(seq {n}); do tsp -n true; done; tsp -w; tsp -K; rm -r $TMPDIR")))
}
