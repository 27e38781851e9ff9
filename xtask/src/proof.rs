//! `cargo xtask proof`: proofs that take too long for every change. Each has a short form that does not.

use crate::fuzz::Build;
use crate::step::{Outcome, built, cargo};
use crate::{fuzz, loom, orderings, reach};
use anyhow::bail;
use clap::Args;
use std::time::Instant;

#[derive(Args)]
pub(crate) struct Proof {
    /// List the proofs.
    #[arg(long)]
    list: bool,
    /// Run the short form, as `ci` does.
    #[arg(long)]
    short: bool,
    /// Which proof to run. All of them by default.
    name: Option<String>,
}

struct Entry {
    name: &'static str,
    about: &'static str,
    run: fn(bool) -> anyhow::Result<Outcome>,
    /// Whether `ci` runs the short form among its proofs. The others are steps of their own there.
    in_ci: bool,
}

const PROOFS: [Entry; 16] = [
    Entry {
        name: "loom",
        about: "the models with more preemptions",
        run: |short| loom::models(if short { 2 } else { 3 }, None),
        in_ci: false,
    },
    Entry {
        name: "orderings",
        about: "each memory ordering weakened in turn: a model fails, or a comment says why none does",
        run: |short| counted("orderings", || orderings::weaken(if short { 2 } else { 0 })),
        in_ci: true,
    },
    Entry {
        name: "reach",
        about: "the libraries with the oldest compiler, and the lower crates' tests on aarch64 under qemu",
        run: reach::reach,
        in_ci: false,
    },
    Entry {
        name: "volume",
        about: "10 million messages, 4 producer and 4 consumer processes, each exactly once and in its producer's order",
        run: |short| program("volume", &[if short { "1000000" } else { "10000000" }]),
        in_ci: true,
    },
    Entry {
        name: "rounds",
        about: "1,000 rounds of spawn, exchange, join: no descriptor, process, memory or file left over",
        run: |short| program("rounds", &[if short { "100" } else { "1000" }]),
        in_ci: true,
    },
    Entry {
        name: "instructions",
        about: "a process killed after each single instruction of an operation: the survivors' accounting is exact",
        run: |short| program("instructions", &[if short { "12" } else { "0" }]),
        in_ci: true,
    },
    Entry {
        name: "stops",
        about: "a process stopped after each single instruction: the others exchange 10,000 messages, and nothing is lost or doubled",
        run: |short| program("stops", &[if short { "12" } else { "0" }]),
        in_ci: true,
    },
    Entry {
        name: "storm",
        about: "workers killed at random times under load: nothing lost, nothing doubled without a raised count",
        run: |short| program("storm", &[if short { "300" } else { "10000" }]),
        in_ci: true,
    },
    Entry {
        name: "pools",
        about: "workers of pools killed and stopped at random times, beside tasks that panic, exit and hang: each task ends once",
        run: |short| program("pools", &[if short { "200" } else { "5000" }]),
        in_ci: true,
    },
    Entry {
        name: "hostile",
        about: "rubbish written into shared memory while it is used: fuzzed with the address sanitizer, and live beside 8 processes",
        run: hostile,
        in_ci: true,
    },
    Entry {
        name: "faults",
        about: "each system call fails in turn with each error it documents; then a signal every 100 microseconds",
        run: |short| program("faults", &[if short { "20" } else { "0" }]),
        in_ci: true,
    },
    Entry {
        name: "worlds",
        about: "small programs in environments made for the purpose: limits, namespaces, sandboxes, users, missing devices",
        run: |short| program("worlds", &[if short { "short" } else { "full" }]),
        in_ci: true,
    },
    Entry {
        name: "soak",
        about: "a billion messages of nothing to a mebibyte between 16 processes: exact, and nothing grows",
        run: |short| program("soak", &[if short { "20000000" } else { "1000000000" }]),
        in_ci: true,
    },
    Entry {
        name: "idle",
        about: "16 processes that wait use next to no processor time",
        run: |short| program("idle", &[if short { "3" } else { "30" }]),
        in_ci: true,
    },
    Entry {
        name: "demos",
        about: "each scenario 200 times without pauses",
        run: |short| program("demos", &[if short { "5" } else { "200" }]),
        in_ci: true,
    },
    Entry {
        name: "fuzz",
        about: "the fuzz targets for ten minutes each",
        run: |short| fuzz::fuzz(if short { 5 } else { 600 }, None, Build::Plain),
        in_ci: false,
    },
];

/// Fuzzes with the sanitizer, then runs the live form. The short form leaves out the fuzzing, which `ci` does anyway.
fn hostile(short: bool) -> anyhow::Result<Outcome> {
    if short {
        return program("hostile", &["5"]);
    }
    if !fuzz::has_nightly() {
        bail!("the address sanitizer needs a nightly toolchain: rustup toolchain install nightly");
    }
    let mut outcome = fuzz::fuzz(90, None, Build::AddressSanitizer)?;
    outcome += program("hostile", &["60"])?;
    println!("hostile: {} cases, 0 failed", outcome.cases);
    Ok(outcome)
}

/// Runs a proof that is code of xtask. It says how many cases there were, and how many failed.
fn counted(name: &str, proof: impl FnOnce() -> anyhow::Result<(usize, usize)>) -> anyhow::Result<Outcome> {
    let begin = Instant::now();
    let (cases, failed) = proof()?;
    println!("{name}: {cases} cases, {failed} failed");
    anyhow::ensure!(cases > 0 && failed == 0, "{name}: {failed} of {cases} failed");
    Ok(Outcome { took: begin.elapsed(), passed: 1, skipped: 0, cases: cases as u64 })
}

/// Runs a program of `proofs/`.
fn program(name: &str, arguments: &[&str]) -> anyhow::Result<Outcome> {
    // Both at once, as one of the proofs runs the command: each alone would build the libraries with features of its own.
    cargo(&["build", "--quiet", "--release", "-p", "multiproc-proofs", "-p", "multiproc-cli", "--bins"])
        .run("build the proofs")?;
    let outcome = built(&format!("release/{name}"), arguments).run(name)?;
    // A proof without a case proves nothing.
    anyhow::ensure!(outcome.passed > 0, "{name} counted no case");
    Ok(outcome)
}

impl Proof {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        if self.list {
            for Entry { name, about, .. } in &PROOFS {
                println!("{name:<13} {about}");
            }
            return Ok(());
        }
        let chosen: Vec<_> = PROOFS.iter().filter(|entry| self.name.as_ref().is_none_or(|name| name == entry.name)).collect();
        if chosen.is_empty() {
            bail!("there is no such proof: cargo xtask proof --list names them");
        }
        for entry in chosen {
            (entry.run)(self.short)?;
        }
        Ok(())
    }
}

/// The short forms that `ci` runs.
pub(crate) fn short_forms() -> anyhow::Result<Outcome> {
    let mut total = Outcome::default();
    for entry in PROOFS.iter().filter(|entry| entry.in_ci) {
        total += (entry.run)(true)?;
    }
    Ok(total)
}
