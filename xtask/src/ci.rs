//! `cargo xtask ci`: everything that decides whether a change is good.

use crate::fuzz::Build;
use crate::step::{Outcome, Step, built, cargo, has_cargo};
use crate::{api, counts, examples, fuzz, loom, proof, python, reach};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::time::{Duration, Instant};

/// What a step came to.
enum Report {
    Done(Outcome),
    Failed(String),
    /// An optional tool is not there.
    Missing(String),
}

/// The crate that needs a server to be tested.
const NATS: &str = "multiproc-nats";
/// The tests that need it.
const REMOTE: &str = "package(multiproc-nats) | (package(multiproc-cli) & binary(remote))";

/// Crates in the order in which they are published.
pub(crate) const CRATES: [&str; 12] = [
    "multiproc-prim",
    "multiproc-shm",
    "multiproc-travel",
    "multiproc-ring",
    "multiproc-sync",
    "multiproc-process",
    "multiproc-pipe",
    "multiproc-queue",
    "multiproc-pool",
    "multiproc",
    "multiproc-nats",
    "multiproc-cli",
];

pub(crate) fn run() -> anyhow::Result<()> {
    let begin = Instant::now();
    type Run = fn() -> Report;
    let steps: [(&str, Run); 17] = [
        ("format", format),
        ("clippy", clippy),
        ("oldest compiler", || match reach::missing() {
            Some(tool) => Report::Missing(tool.into()),
            None => done(reach::oldest_compiler()),
        }),
        ("docs", docs),
        // Early: what it builds is gone again before the rest is there, and the disk need not hold both.
        ("package", package),
        ("tests", tests),
        ("machines", machines),
        ("python", python_package),
        ("doc tests", || done(cargo(&["test", "--workspace", "--all-features", "--doc"]).run("doc tests"))),
        ("loom models", || done(loom::models(2, None))),
        ("examples", || done(examples::run())),
        ("demos", demos),
        ("instructions", || if counts::is_here() { done(counts::counts()) } else { Report::Missing("valgrind".into()) }),
        ("proofs, short", || done(proof::short_forms())),
        ("fuzz targets", fuzz_targets),
        ("interface", interface),
        ("audit", audit),
    ];
    let mut reports = Vec::new();
    for (name, run) in steps {
        println!("\n==== {name}");
        let report = run();
        if let Report::Failed(why) = &report {
            println!("==== {name} FAILED: {why}");
        }
        reports.push((name, report));
    }
    summarise(&reports, begin.elapsed())
}

fn summarise(reports: &[(&str, Report)], took: Duration) -> anyhow::Result<()> {
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    println!("\n==== what ran");
    for (name, report) in reports {
        match report {
            Report::Done(outcome) => {
                let counted = if outcome.passed > 0 { format!("{:>5} passed", outcome.passed) } else { " ".repeat(12) };
                println!("{name:<14} ok       {counted}  {:>6.1} s", outcome.took.as_secs_f64());
                passed += outcome.passed.max(1);
                skipped += outcome.skipped;
            }
            Report::Failed(why) => {
                println!("{name:<14} FAILED   {why}");
                failed += 1;
            }
            Report::Missing(what) => {
                println!("{name:<14} NOT RUN  {what} is not here");
                skipped += 1;
            }
        }
    }
    println!("in all {:.1} s", took.as_secs_f64());
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    anyhow::ensure!(failed == 0, "{failed} steps failed");
    Ok(())
}

fn done(result: anyhow::Result<Outcome>) -> Report {
    match result {
        Ok(outcome) => Report::Done(outcome),
        Err(error) => Report::Failed(format!("{error:#}")),
    }
}

/// Several commands as one step.
fn all(results: impl IntoIterator<Item = anyhow::Result<Outcome>>) -> Report {
    let mut total = Outcome::default();
    for result in results {
        match result {
            Ok(outcome) => total += outcome,
            Err(error) => return Report::Failed(format!("{error:#}")),
        }
    }
    Report::Done(total)
}

fn format() -> Report {
    let check = |dir: &str| cargo(&["fmt", "--all", "--check"]).dir(dir).run("format");
    all([".", "fuzz", "benches"].map(check))
}

fn clippy() -> Report {
    let workspace = cargo(&["clippy", "--workspace", "--all-features", "--all-targets", "--", "-D", "warnings"]).run("clippy");
    let models = cargo(&["clippy", "-p", "multiproc-prim", "-p", "multiproc-ring", "-p", "multiproc-sync", "--all-targets"])
        .arg("--target-dir=target/loom")
        .env("RUSTFLAGS", "--cfg loom -D warnings")
        .run("clippy with loom");
    // Beside the lints of the manifest: what the oldest compiler does not know.
    let libraries = cargo(&[
        "clippy",
        "--workspace",
        "--all-features",
        "--exclude",
        "xtask",
        "--exclude",
        "multiproc-proofs",
        "--all-targets",
    ]);
    let oldest = libraries.arg("--").arg("-D").arg("clippy::incompatible_msrv").run("clippy for the oldest compiler");
    all([workspace, models, oldest])
}

fn docs() -> Report {
    done(cargo(&["doc", "--workspace", "--all-features", "--no-deps", "--quiet"]).env("RUSTDOCFLAGS", "-D warnings").run("docs"))
}

fn tests() -> Report {
    done(test(&["--workspace", "--exclude", NATS], &format!("not ({REMOTE})")).run("tests"))
}

/// The tests of the crate that works across machines. They start servers of their own.
fn machines() -> Report {
    match reach::nats_server() {
        Some(server) => {
            // Leases and deadlines of a busy machine: a test that fails once runs again, and is told as flaky.
            let again = if has_cargo("nextest") { "1" } else { "0" };
            // They wait for most of their time: four at a time take half as long as two.
            let tests = test(&["--package", NATS], REMOTE).env("NEXTEST_RETRIES", again).env("NEXTEST_TEST_THREADS", "4");
            done(tests.env("NATS_SERVER", &server).run("tests with nats-server"))
        }
        None => Report::Missing("nats-server".into()),
    }
}

fn python_package() -> Report {
    match python::environment() {
        Ok(environment) => done(environment.test()),
        Err(what) => Report::Missing(what.into()),
    }
}

/// Tests of these packages. Where a filter can choose them, all are built alike: another choice of packages has other features.
fn test(packages: &[&str], filter: &str) -> Step {
    if has_cargo("nextest") {
        let arguments =
            ["nextest", "run", "--workspace", "--all-features", "--no-fail-fast", "--status-level", "slow", "-E", filter];
        return cargo(&arguments);
    }
    println!("cargo-nextest is not here: using cargo test");
    // One test at a time: some count the descriptors or the memory of their process, which they have to themselves with nextest.
    let step =
        packages.iter().fold(cargo(&["test", "--all-features", "--lib", "--bins", "--tests"]), |step, package| step.arg(package));
    step.arg("--").arg("--test-threads=1")
}

fn demos() -> Report {
    let build = cargo(&["build", "--workspace", "--all-features", "--bins"]).run("build the command");
    let run = |_| built("debug/multiproc", &["demo", "--pace", "0.01"]).run("demos");
    done(build.and_then(run))
}

fn interface() -> Report {
    match api::other_format() {
        Ok(None) => done(api::compare()),
        Ok(Some(format)) => Report::Missing(format!("a compiler whose rustdoc writes what public-api reads (format {format})")),
        Err(error) => Report::Failed(format!("{error:#}")),
    }
}

fn fuzz_targets() -> Report {
    match fuzz::missing() {
        Some(what) => Report::Missing(what.into()),
        None => done(fuzz::fuzz(5, None, Build::Plain)),
    }
}

/// Packages every crate and builds it from its package.
///
/// Cargo keeps the unpacked sources of a package under its path and version, and does not look at the contents. So packages go to a
/// folder named after their contents. Otherwise a crate would be built against an earlier state of its neighbours.
fn package() -> Report {
    let contents = match sources_hash(Path::new("crates")) {
        Ok(hash) => hash,
        Err(error) => return Report::Failed(format!("can't read the sources: {error}")),
    };
    let _ = std::fs::remove_dir_all("target/packages");
    let place = format!("target/packages/{contents:016x}");
    let mut arguments = vec!["package", "--quiet", "--allow-dirty", "--target-dir", &place];
    arguments.extend(CRATES.iter().flat_map(|name| ["--package", name]));
    // Nothing of it is run.
    let step = cargo(&arguments).env("CARGO_PROFILE_DEV_OPT_LEVEL", "0").env("CARGO_PROFILE_DEV_DEBUG", "0");
    let packaged = step.run("package");
    let _ = std::fs::remove_dir_all("target/packages");
    done(packaged)
}

/// A number that changes with any file below a directory.
fn sources_hash(directory: &Path) -> std::io::Result<u64> {
    let mut entries = std::fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    let mut hasher = DefaultHasher::new();
    for entry in entries {
        entry.file_name().hash(&mut hasher);
        match entry.file_type()?.is_dir() {
            true => sources_hash(&entry.path())?.hash(&mut hasher),
            false => std::fs::read(entry.path())?.hash(&mut hasher),
        }
    }
    Ok(hasher.finish())
}

fn audit() -> Report {
    if !has_cargo("deny") {
        return Report::Missing("cargo-deny".into());
    }
    // Advisories need the network; licences, duplicates and sources do not.
    done(cargo(&["deny", "--offline", "check", "bans", "licenses", "sources"]).run("audit"))
}
