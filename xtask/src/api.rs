//! `cargo xtask api`: the public interface of each library crate, as `docs/api` records it.
//!
//! A change of the interface then shows in a diff, line by line, before it reaches a user. The interface comes from rustdoc's JSON,
//! which is not stable: each compiler writes one format of it. Another format is named and not run.

use crate::ci::CRATES;
use crate::step::{Outcome, cargo};
use anyhow::{Context, bail, ensure};
use clap::Args;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

#[derive(Args)]
pub(crate) struct Api {
    /// Write the interface of this working copy to `docs/api`.
    #[arg(long)]
    record: bool,
}

/// The format that our version of `public-api` reads: Rust 1.95 writes it.
const FORMAT: u32 = 57;
/// Where rustdoc writes, apart from all else that is built: the switch below changes what some dependencies are built as.
const TARGET: &str = "target/api";
/// Traits that the compiler adds to each type. `Send` and `Sync` are recorded, since users rely on those.
const UNRECORDED: [&str; 5] =
    ["marker::Freeze ", "marker::Unpin ", "marker::UnsafeUnpin ", "unwind_safe::RefUnwindSafe ", "unwind_safe::UnwindSafe "];

impl Api {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        if let Some(format) = other_format()? {
            bail!("rustdoc here writes JSON of format {format}, and `public-api` reads {FORMAT}: use Rust 1.95");
        }
        if !self.record {
            return compare().map(drop);
        }
        for name in libraries() {
            let file = recorded_at(name);
            std::fs::create_dir_all("docs/api")?;
            std::fs::write(&file, interface(name)?.join("\n") + "\n")?;
            println!("{} is written", file.display());
        }
        Ok(())
    }
}

/// Has rustdoc write its JSON for all libraries. Returns the format if it is another one than ours.
pub(crate) fn other_format() -> anyhow::Result<Option<u32>> {
    let mut arguments = vec!["doc", "--quiet", "--all-features", "--no-deps", "--lib", "--target-dir", TARGET];
    arguments.extend(libraries().flat_map(|name| ["--package", name]));
    // The switch lets a stable compiler write JSON, so that nothing has to be installed. `cargo-semver-checks` does the same.
    let step = cargo(&arguments).env("RUSTC_BOOTSTRAP", "1");
    step.env("RUSTDOCFLAGS", "-Z unstable-options --output-format json --cap-lints allow").run("rustdoc's JSON")?;
    let json = std::fs::read_to_string(json_of("multiproc"))?;
    let (_, last) = json.rsplit_once("\"format_version\":").context("rustdoc's JSON names no format")?;
    let format: u32 = last.trim_end_matches('}').parse().context("rustdoc's JSON names no format")?;
    Ok((format != FORMAT).then_some(format))
}

/// Compares the interface with the recorded one. An error if they differ.
pub(crate) fn compare() -> anyhow::Result<Outcome> {
    let begin = Instant::now();
    let mut passed = 0;
    let mut changed = Vec::new();
    for name in libraries() {
        let file = recorded_at(name);
        let Ok(text) = std::fs::read_to_string(&file) else {
            println!("{} is not recorded", file.display());
            changed.push(name);
            continue;
        };
        let now = interface(name)?;
        let (now, then): (BTreeSet<&str>, BTreeSet<&str>) = (now.iter().map(String::as_str).collect(), text.lines().collect());
        then.difference(&now).for_each(|line| println!("{name}: - {line}"));
        now.difference(&then).for_each(|line| println!("{name}: + {line}"));
        if now == then { passed += 1 } else { changed.push(name) }
    }
    ensure!(changed.is_empty(), "the interface of {} is not as recorded: cargo xtask api --record", changed.join(", "));
    Ok(Outcome { took: begin.elapsed(), passed, ..Outcome::default() })
}

/// The public items of a library, one a line, in the order of their paths.
fn interface(name: &str) -> anyhow::Result<Vec<String>> {
    let builder = public_api::Builder::from_rustdoc_json(json_of(name)).omit_blanket_impls(true);
    let interface = builder.build().with_context(|| format!("can't read rustdoc's JSON of {name}"))?;
    let lines = interface.items().map(ToString::to_string);
    Ok(lines.filter(|line| !(line.starts_with("impl") && UNRECORDED.iter().any(|added| line.contains(added)))).collect())
}

fn libraries() -> impl Iterator<Item = &'static str> {
    CRATES.into_iter().filter(|&name| name != "multiproc-cli")
}

fn json_of(name: &str) -> PathBuf {
    PathBuf::from(TARGET).join("doc").join(name.replace('-', "_")).with_extension("json")
}

fn recorded_at(name: &str) -> PathBuf {
    PathBuf::from("docs/api").join(name).with_extension("txt")
}
