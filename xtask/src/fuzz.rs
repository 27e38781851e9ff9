//! `cargo xtask fuzz`: the targets in `fuzz/`. It needs a C++ compiler and nothing else.
//!
//! With cargo-fuzz and a nightly toolchain, `cargo fuzz run TARGET` works too.

use crate::step::{Outcome, cargo, program};
use anyhow::{Context, bail};
use clap::Args;

#[derive(Args)]
pub(crate) struct Fuzz {
    /// Seconds for each target.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Which target to run. All of them by default.
    target: Option<String>,
}

pub(crate) const TARGETS: [&str; 8] =
    ["mpmc_ops", "mpmc_bytes", "records_ops", "records_bytes", "attach", "queue_bytes", "in_place_bytes", "pipe_bytes"];
const TRIPLE: &str = "x86_64-unknown-linux-gnu";
/// Compiler flags that show libFuzzer which branches an input takes.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

impl Fuzz {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        if let Some(missing) = missing() {
            bail!("can't fuzz: {missing}");
        }
        fuzz(self.seconds, self.target.as_deref(), Build::Plain).map(drop)
    }
}

/// A tool that fuzzing needs and that is not here, if any.
pub(crate) fn missing() -> Option<&'static str> {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        return Some("a machine of type x86_64-unknown-linux-gnu");
    }
    if program("c++", &["--version"]).answers() { None } else { Some("a C++ compiler (c++), for libFuzzer") }
}

/// How the targets are built.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Build {
    /// The toolchain at hand.
    Plain,
    /// The nightly toolchain and its address sanitizer.
    AddressSanitizer,
}

/// Whether there is a nightly toolchain, which the sanitizer needs.
pub(crate) fn has_nightly() -> bool {
    program("rustup", &["run", "nightly", "cargo", "--version"]).answers()
}

/// Builds and runs the targets. A target that finds nothing counts as one test passed, and its executions as cases.
pub(crate) fn fuzz(seconds: u32, only: Option<&str>, build: Build) -> anyhow::Result<Outcome> {
    let (place, mut total) = match build {
        Build::Plain => {
            let step = cargo(&["build", "--release", "--target", TRIPLE]).dir("fuzz").env("RUSTFLAGS", COVERAGE);
            ("fuzz/target", step.run("build the fuzz targets")?)
        }
        Build::AddressSanitizer => {
            let arguments = ["run", "nightly", "cargo", "build", "--release", "--target", TRIPLE, "--target-dir", "target/asan"];
            let step = program("rustup", &arguments).dir("fuzz").env("RUSTFLAGS", &format!("{COVERAGE} -Zsanitizer=address"));
            // Otherwise cargo would use the compiler that runs xtask.
            let step = step.without_env("CARGO").without_env("RUSTUP_TOOLCHAIN");
            ("fuzz/target/asan", step.run("build the fuzz targets with the address sanitizer")?)
        }
    };
    for target in TARGETS.iter().filter(|&&target| only.is_none_or(|only| only == target)) {
        let corpus = format!("fuzz/corpus/{target}");
        std::fs::create_dir_all(&corpus).context("make the corpus directory")?;
        std::fs::create_dir_all("fuzz/artifacts").context("make the artifacts directory")?;
        let outcome = program(format!("{place}/{TRIPLE}/release/{target}"), &[&corpus, "-timeout=20", "-print_final_stats=1"])
            .arg("-artifact_prefix=fuzz/artifacts/")
            .arg("-verbosity=0")
            .arg(&format!("-max_total_time={seconds}"))
            .run(&format!("fuzz target {target}"))?;
        println!("fuzz target {target}: nothing found in {} s, {} executions", outcome.took.as_secs(), outcome.cases);
        total.took += outcome.took;
        total.cases += outcome.cases;
        total.passed += 1;
    }
    if total.passed == 0 {
        bail!("there is no fuzz target {:?}: there are {}", only.unwrap_or_default(), TARGETS.join(", "));
    }
    Ok(total)
}
