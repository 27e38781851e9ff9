//! `cargo xtask proof orderings` checks the models. It weakens each memory ordering of the lock-free code in turn, in a copy of the
//! sources, and expects a model to fail.
//!
//! Where no model catches a weakened ordering, a comment beside it with the words [`BEYOND`] says why the ordering is there. A mutant
//! that survives without such a comment fails the proof, and so does a comment whose mutant a model catches.

use crate::loom;
use crate::step::cargo_command;
use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The code that the models run.
const SOURCES: [&str; 2] = ["crates/ring/src", "crates/sync/src"];
/// Where the code is copied to.
const COPY: &str = "target/orderings";
/// The words of a comment that argues for an ordering whose mutants no model catches.
const BEYOND: &str = "beyond the models";
/// What each ordering is weakened to, one at a time.
const WEAKER: [(&str, &[&str]); 7] = [
    ("Ordering::Acquire", &["Ordering::Relaxed"]),
    ("Ordering::Release", &["Ordering::Relaxed"]),
    ("Ordering::AcqRel", &["Ordering::Acquire", "Ordering::Release"]),
    ("Ordering::SeqCst", &["Ordering::AcqRel"]),
    ("light_fence();", &["();"]),
    ("heavy_fence();", &["();"]),
    ("wait_behind(heavy_fence", &["wait_behind(|| ()"]),
];
/// A model that explores for longer than this goes round in circles.
const PATIENCE: Duration = Duration::from_secs(1200);
/// Preemptions per execution of a model. Few catch most mutants in seconds. A mutant that survives them, and for which no comment argues,
/// is tried with as many as in `ci`.
const PREEMPTIONS: [&str; 2] = ["1", "2"];

/// One ordering, weakened.
struct Mutant {
    file: PathBuf,
    /// Offset in the file's text.
    at: usize,
    line: usize,
    from: &'static str,
    to: &'static str,
    argued: bool,
}

/// What became of a mutant.
enum Fate {
    /// The first model that failed.
    Caught(String),
    Survived,
}

/// Weakens at most so many orderings, spread evenly over those that a model should catch. 0 means all of them.
pub(crate) fn weaken(most: usize) -> anyhow::Result<(usize, usize)> {
    copy_sources()?;
    let mut mutants = Vec::new();
    for directory in SOURCES {
        collect(Path::new(directory), &mut mutants)?;
    }
    ensure!(!mutants.is_empty(), "there is no ordering to weaken");
    if most > 0 {
        mutants.retain(|mutant| !mutant.argued);
        let stride = mutants.len().div_ceil(most);
        mutants = mutants.into_iter().step_by(stride).collect();
    }
    // `ci` tries a few mutants, and runs the models in a step of its own.
    let whole = Path::new(SOURCES[0]);
    ensure!(most > 0 || matches!(models(whole, true)?, Fate::Survived), "a model fails before anything is weakened");
    // Those that comments argue for, all at once: if no model fails, none would with one of them alone. (Where a fence is left out, the
    // models also have one place less to switch threads at.)
    let argued: Vec<&Mutant> = mutants.iter().filter(|mutant| mutant.argued).collect();
    let well_argued = !argued.is_empty() && matches!(fate(&argued)?, Fate::Survived);
    let mut failed = 0;
    for mutant in &mutants {
        let fate = if mutant.argued && well_argued { Fate::Survived } else { fate(&[mutant])? };
        let verdict = match (&fate, mutant.argued) {
            (Fate::Caught(by), false) => format!("caught by {by}"),
            (Fate::Survived, true) => format!("caught by no model, as its comment says ({BEYOND})"),
            (Fate::Survived, false) => "SURVIVED, and no comment says why".into(),
            (Fate::Caught(by), true) => format!("caught by {by}, but its comment says it is {BEYOND}: STALE"),
        };
        failed += usize::from(matches!(fate, Fate::Survived) != mutant.argued);
        let name = |ordering: &'static str| ordering.trim_start_matches("Ordering::");
        println!("{}:{}: {} for {}: {verdict}", mutant.file.display(), mutant.line, name(mutant.to), name(mutant.from));
    }
    Ok((mutants.len(), failed))
}

/// What the models say of a copy with these mutants, which stand in the order of the sources.
fn fate(mutants: &[&Mutant]) -> anyhow::Result<Fate> {
    let copy = |mutant: &Mutant| Path::new(COPY).join("src").join(&mutant.file);
    let mut texts = BTreeMap::new();
    // From the end, so that an offset holds until its turn comes.
    let mut next: Option<&Mutant> = None;
    for &mutant in mutants.iter().rev() {
        let twice = next.is_some_and(|next| (&next.file, next.at) == (&mutant.file, mutant.at));
        ensure!(!twice, "{}:{}: no comment can argue for both sides of an ordering", mutant.file.display(), mutant.line);
        next = Some(mutant);
        let text = fs::read_to_string(copy(mutant))?;
        fs::write(copy(mutant), format!("{}{}{}", &text[..mutant.at], mutant.to, &text[mutant.at + mutant.from.len()..]))?;
        texts.entry(copy(mutant)).or_insert(text);
    }
    let fate = models(&mutants[0].file, mutants[0].argued);
    for (copy, text) in &texts {
        fs::write(copy, text)?;
    }
    fate
}

/// Collects the mutants of every file below a directory. Tests and comments have none.
fn collect(directory: &Path, mutants: &mut Vec<Mutant>) -> anyhow::Result<()> {
    let mut entries = fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let file = entry.path();
        if entry.file_type()?.is_dir() {
            collect(&file, mutants)?;
            continue;
        }
        let text = fs::read_to_string(&file)?;
        let end = text.find("#[cfg(test)]").unwrap_or(text.len());
        let lines: Vec<&str> = text[..end].split_inclusive('\n').collect();
        let mut start = 0;
        for (number, line) in lines.iter().enumerate() {
            for (from, weaker) in WEAKER.iter().filter(|_| !line.trim_start().starts_with("//")) {
                for (at, _) in line.match_indices(from) {
                    mutants.extend(weaker.iter().map(|to| Mutant {
                        file: file.clone(),
                        at: start + at,
                        line: number + 1,
                        from,
                        to,
                        argued: is_argued(&lines[..=number]),
                    }));
                }
            }
            start += line.len();
        }
    }
    Ok(())
}

/// Whether the last comment before the end of these lines, no more than a few lines before it, argues for an ordering.
fn is_argued(lines: &[&str]) -> bool {
    let comment = |line: &&&str| line.trim_start().starts_with("//");
    let code = lines.iter().rev().take_while(|line| !comment(line)).count();
    code <= 6 && lines.iter().rev().skip(code).take_while(comment).any(|line| line.contains(BEYOND))
}

/// Copies the workspace, without its build products.
fn copy_sources() -> anyhow::Result<()> {
    let target = Path::new(COPY).join("src");
    let _ = fs::remove_dir_all(&target);
    for directory in ["crates", "proofs", "xtask"] {
        copy(Path::new(directory), &target.join(directory))?;
    }
    for file in ["Cargo.toml", "Cargo.lock"] {
        fs::copy(file, target.join(file)).with_context(|| format!("copy {file}"))?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        match entry.file_type()?.is_dir() {
            true => copy(&from, &to)?,
            false => fs::copy(&from, &to).map(drop)?,
        }
    }
    Ok(())
}

/// Runs the models that a file concerns on the copy, up to the first that fails.
fn models(file: &Path, argued: bool) -> anyhow::Result<Fate> {
    for preemptions in PREEMPTIONS.iter().take(if argued { 1 } else { PREEMPTIONS.len() }) {
        let fate = explore(file, preemptions)?;
        if matches!(fate, Fate::Caught(_)) {
            return Ok(fate);
        }
    }
    Ok(Fate::Survived)
}

/// Runs the models with so many preemptions, up to the first that fails.
fn explore(file: &Path, preemptions: &str) -> anyhow::Result<Fate> {
    let log = Path::new(COPY).join("log");
    let output = File::create(&log)?;
    let mut command = cargo_command(&loom::ARGUMENTS);
    // A directory of its own: cargo takes what it built of a mutant for what it would build of the sources.
    command.current_dir(Path::new(COPY).join("src")).args(["--target-dir", "../target"]);
    if !file.starts_with(SOURCES[1]) {
        command.args(["-p", "multiproc-ring"]);
    }
    command.args(["-p", "multiproc-sync"]);
    command.env("RUSTFLAGS", "--cfg loom").env("LOOM_MAX_PREEMPTIONS", preemptions).env("RUST_BACKTRACE", "0");
    // A group of its own, so that the models end with cargo.
    command.stdin(Stdio::null()).stderr(output.try_clone()?).stdout(output).process_group(0);
    let mut child = command.spawn().context("start cargo")?;
    let begin = Instant::now();
    loop {
        let status = child.try_wait()?;
        let text = fs::read_to_string(&log)?;
        if let Some(by) = text.lines().find_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED")) {
            end(&mut child, status)?;
            return Ok(Fate::Caught(by.to_owned()));
        }
        match status {
            Some(status) if status.success() => return Ok(Fate::Survived),
            Some(_) if text.contains("(signal:") => return Ok(Fate::Caught("a model that crashes".into())),
            Some(_) => bail!("the models were not even built:\n{text}"),
            None if begin.elapsed() > PATIENCE => {
                end(&mut child, status)?;
                return Ok(Fate::Caught("a model that never ends".into()));
            }
            None => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Ends cargo and the models that it runs, if it has not ended by itself.
fn end(child: &mut Child, status: Option<ExitStatus>) -> anyhow::Result<()> {
    if status.is_none() {
        kill_process_group(Pid::from_child(child), Signal::KILL)?;
        child.wait()?;
    }
    Ok(())
}
