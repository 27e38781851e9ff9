//! One command: its output as it comes, how long it took, and the tests it counted.

use anyhow::{Context, bail};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A command to run.
pub(crate) struct Step(Command);

/// What a command came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) took: Duration,
    pub(crate) passed: u64,
    pub(crate) skipped: u64,
    /// Cases that proofs tried, and executions of fuzz targets.
    pub(crate) cases: u64,
}

impl std::ops::AddAssign for Outcome {
    fn add_assign(&mut self, other: Self) {
        self.took += other.took;
        self.passed += other.passed;
        self.skipped += other.skipped;
        self.cases += other.cases;
    }
}

/// `cargo` with these arguments, the same cargo that runs us.
pub(crate) fn cargo(arguments: &[&str]) -> Step {
    Step(cargo_command(arguments))
}

/// The command behind [`cargo`], for callers that run it in another way.
pub(crate) fn cargo_command(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments);
    // What is kept for a later build after a small change takes half of the disk, and time.
    command.env("CARGO_INCREMENTAL", "0");
    // Cargo sets these for its children, and they would make a nested build differ from one by hand.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CARGO_PKG_")) {
        command.env_remove(name);
    }
    command
}

/// Any program.
pub(crate) fn program(name: impl AsRef<OsStr>, arguments: &[&str]) -> Step {
    let mut command = Command::new(name);
    command.args(arguments);
    Step(command)
}

/// A program that cargo has built. `cargo run` would build it anew, if other features were chosen for the workspace before.
pub(crate) fn built(path: &str, arguments: &[&str]) -> Step {
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    program(Path::new(&target).join(path), arguments)
}

/// Whether a cargo subcommand is installed.
pub(crate) fn has_cargo(subcommand: &str) -> bool {
    cargo(&[subcommand, "--version"]).answers()
}

impl Step {
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.0.env(name, value);
        self
    }

    pub(crate) fn without_env(mut self, name: &str) -> Self {
        self.0.env_remove(name);
        self
    }

    pub(crate) fn dir(mut self, directory: &str) -> Self {
        self.0.current_dir(directory);
        self
    }

    pub(crate) fn arg(mut self, argument: &str) -> Self {
        self.0.arg(argument);
        self
    }

    /// Whether the program exists and succeeds. Prints nothing: it is for asking a version.
    pub(crate) fn answers(mut self) -> bool {
        self.0.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    /// Runs the command to its end. A command that fails is an error.
    pub(crate) fn run(mut self, what: &str) -> anyhow::Result<Outcome> {
        let begin = Instant::now();
        self.0.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.0.spawn().with_context(|| format!("{what}: can't start {:?}", self.0.get_program()))?;
        let errors = child.stderr.take().map(|pipe| std::thread::spawn(move || relay(pipe, std::io::stderr())));
        let output = child.stdout.take().map(|pipe| std::thread::spawn(move || relay(pipe, std::io::stdout())));
        let (mut outcome, mut told) = (Outcome::default(), String::new());
        for relayed in [errors, output].into_iter().flatten() {
            let (counted, failures) = relayed.join().unwrap_or_default();
            outcome += counted;
            told.extend(failures.iter().map(|line| format!("\n    {line}")));
        }
        let status = child.wait()?;
        outcome.took = begin.elapsed();
        if !status.success() {
            bail!("{what} failed: {status}{told}");
        }
        Ok(outcome)
    }
}

/// At most so many lines that tell of a failure are repeated at the end.
const MOST_TOLD: usize = 10;
/// What such lines have in them.
const TELLING: [&str; 6] = [" FAILED", " FAIL [", "SURVIVED", "error: ", "error[", ", 1 failed"];

/// Copies lines, counts the tests that they tell of, and keeps some that tell of a failure.
fn relay(from: impl Read, mut to: impl Write) -> (Outcome, Vec<String>) {
    let (mut counted, mut told) = (Outcome::default(), Vec::new());
    for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
        let _ = to.write_all(&line).and_then(|()| to.write_all(b"\n"));
        let text = String::from_utf8_lossy(&line);
        if told.len() < MOST_TOLD && TELLING.iter().any(|word| text.contains(word)) {
            told.push(text.trim().to_owned());
        }
        // Of cargo test, of nextest, and of pytest, whose line begins with a number.
        let summary = text.contains("test result:")
            || (text.contains("Summary") && text.contains("tests run"))
            || (text.starts_with(|first: char| first.is_ascii_digit()) && text.contains(" passed") && text.contains(" in "));
        // A proof counts as one test, however many cases it tried, if it tried any.
        if text.ends_with(" cases, 0 failed")
            && let Some(cases @ 1..) = number_before(&text, " cases")
        {
            counted.passed += 1;
            counted.cases += cases;
        }
        // A case that the machine can't run is not passed.
        counted.skipped += u64::from(text.contains(" NOT RUN: "));
        if let Some(executions) = text.strip_prefix("stat::number_of_executed_units:") {
            counted.cases += executions.trim().parse::<u64>().unwrap_or(0);
        }
        // Of unittest, where a failure is an error of the command.
        if let Some(ran) = text.strip_prefix("Ran ").and_then(|ran| number_before(ran, " test")) {
            counted.passed += ran;
        }
        if summary {
            counted.passed += number_before(&text, " passed").unwrap_or(0);
            counted.skipped += number_before(&text, " skipped").or_else(|| number_before(&text, " ignored")).unwrap_or(0);
        }
    }
    (counted, told)
}

/// The number that stands right before a word.
fn number_before(text: &str, word: &str) -> Option<u64> {
    text[..text.find(word)?].rsplit(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::relay;

    #[test]
    fn each_test_is_counted_once_whatever_tells_of_it() {
        let counted = |line: &str| {
            let (counted, _) = relay(line.as_bytes(), std::io::sink());
            (counted.passed, counted.skipped)
        };
        let cargo = "test result: ok. 19 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.84s";
        assert_eq!(counted(cargo), (19, 2));
        assert_eq!(counted("     Summary [  52.443s] 815 tests run: 815 passed (1 leaky), 3 skipped"), (815, 3));
        assert_eq!(counted("180 passed, 1 skipped in 17.94s"), (180, 1));
        assert_eq!(counted("Ran 25 tests in 4.629s"), (25, 0));
        assert_eq!(counted("volume: 1000000 cases, 0 failed"), (1, 0));
    }
}
