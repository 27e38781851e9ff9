//! House rules that a program can check.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The files of the repository with one of these endings, as paths from its root, with their text.
fn files(endings: &[&str]) -> Vec<(String, String)> {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(directory).unwrap().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() && !matches!(name.as_str(), "target" | ".git" | "corpus" | "artifacts") {
                walk(&path, found);
            } else if path.is_file() {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root(), &mut found);
    let named = found.into_iter().filter(|path| endings.iter().any(|ending| path.to_string_lossy().ends_with(ending)));
    let from_root = |path: &Path| path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
    named.map(|path| (from_root(&path), std::fs::read_to_string(&path).unwrap())).collect()
}

fn none(offences: Vec<String>) {
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}

#[test]
fn only_prim_names_atomics_loom_and_the_futex() {
    // In pieces, so that this file does not name them either.
    let words = ["core::sync::", "std::sync::"].map(|path| format!("{path}atomic")).into_iter();
    let words: Vec<String> =
        words.chain(["loom::".into(), "thread::fu".to_owned() + "tex", "SYS_fu".to_owned() + "tex"]).collect();
    let sources = files(&[".rs"]).into_iter().filter(|(path, _)| path.starts_with("crates/") && path.contains("/src/"));
    let offences = sources.filter(|(path, _)| !path.starts_with("crates/prim/")).flat_map(|(path, text)| {
        let named: Vec<String> =
            words.iter().filter(|word| text.contains(*word)).map(|word| format!("{path} names {word}")).collect();
        named
    });
    none(offences.collect());
}

#[test]
fn only_prim_shm_travel_and_process_call_the_operating_system() {
    let offences = files(&["Cargo.toml"]).into_iter().filter_map(|(path, text)| {
        let crate_name = path.strip_prefix("crates/")?.split('/').next()?;
        let product = text.split("[dev-dependencies]").next()?;
        let calls = ["rustix", "libc"].iter().any(|name| product.contains(&format!("\n{name} ")));
        (calls && !["prim", "shm", "travel", "process"].contains(&crate_name))
            .then(|| format!("{path} calls the operating system"))
    });
    none(offences.collect());
}

#[test]
fn files_are_short_and_front_pages_shorter() {
    let code = |text: &str| text.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with("//")).count();
    let offences = files(&[".rs"]).into_iter().filter_map(|(path, text)| {
        let most = if path.ends_with("src/lib.rs") { 80 } else { 400 };
        let lines = code(&text);
        (lines > most).then(|| format!("{path} has {lines} lines of code, more than {most}"))
    });
    none(offences.collect());
}

#[test]
fn every_crate_has_a_front_page_and_an_example_that_stands_alone() {
    let mut offences = Vec::new();
    for entry in std::fs::read_dir(root().join("crates")).unwrap().flatten() {
        let path = entry.path();
        if !path.join("README.md").exists() {
            offences.push(format!("{} has no README.md", path.display()));
        }
        if !path.ends_with("cli") && !path.join("examples").is_dir() {
            offences.push(format!("{} has no example", path.display()));
        }
    }
    none(offences);
}

#[test]
fn examples_are_short_and_no_two_have_the_same_name() {
    let mut offences = Vec::new();
    let mut names = BTreeMap::new();
    for (path, text) in files(&[".rs"]).into_iter().filter(|(path, _)| path.starts_with("crates/") && path.contains("/examples/"))
    {
        // What a newcomer reads fits one screen. The layers below have more to set up.
        let most = if path.starts_with("crates/multiproc/") { 60 } else { 80 };
        let lines = text.lines().count();
        if lines > most {
            offences.push(format!("{path} has {lines} lines, more than {most}"));
        }
        // All examples are built in one folder.
        let name = path.rsplit('/').next().unwrap().to_owned();
        if let Some(other) = names.insert(name, path.clone()) {
            offences.push(format!("{path} and {other} have the same name"));
        }
    }
    none(offences);
}

#[test]
fn the_program_in_the_readme_is_one_that_compiles() {
    let example = std::fs::read_to_string(root().join("crates/multiproc/examples/smallest.rs")).unwrap();
    for (readme, fence) in [("README.md", "```rust\n"), ("crates/multiproc/README.md", "```no_run\n")] {
        let text = std::fs::read_to_string(root().join(readme)).unwrap();
        let shown = text.split(fence).nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        assert!(example.ends_with(shown), "{readme} and crates/multiproc/examples/smallest.rs differ");
    }
}

#[test]
fn the_guide_names_methods_and_types_that_exist() {
    let sources: String = files(&[".rs"])
        .into_iter()
        .filter(|(path, _)| ["queue", "pipe", "process"].iter().any(|name| path.starts_with(&format!("crates/{name}/src/"))))
        .map(|(_, text)| text)
        .collect();
    let is_defined = |name: &str| {
        let definitions =
            [format!("pub fn {name}"), format!("pub struct {name}"), format!("pub enum {name}"), format!("    {name}")];
        let ends = |rest: &str| rest.starts_with(['(', '<', ' ', ',', ';', '{', '\n']);
        definitions
            .iter()
            .any(|definition| sources.match_indices(definition).any(|(at, _)| ends(&sources[at + definition.len()..])))
    };
    let guide = std::fs::read_to_string(root().join("crates/multiproc/GUIDE.md")).unwrap();
    let rows = guide.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| Python"));
    let mut offences = Vec::new();
    for row in rows {
        let rust = row.split(" | ").nth(1).unwrap();
        for name in rust.split('`').skip(1).step_by(2).flat_map(|name| name.split("::")) {
            if !is_defined(name) {
                offences.push(format!("crates/multiproc/GUIDE.md names {name}, which is not there"));
            }
        }
    }
    none(offences);
}

#[test]
fn nothing_is_unfinished_or_switched_off() {
    let words: Vec<String> = [("to", "do!"), ("unimpl", "emented!"), ("#[ig", "nore"), ("FIX", "ME"), ("TO", "DO"), ("XX", "X")]
        .map(|(a, b)| a.to_owned() + b)
        .into();
    let offences = files(&[".rs", ".md", ".toml", ".yml"]).into_iter().flat_map(|(path, text)| {
        let found: Vec<String> = words.iter().filter(|word| text.contains(*word)).map(|word| format!("{path}: {word}")).collect();
        found
    });
    none(offences.collect());
}

#[test]
fn what_the_documents_name_is_there() {
    let mut offences = Vec::new();
    for file in [
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
        ".ci/run",
    ] {
        if !root().join(file).exists() {
            offences.push(format!("{file} is missing"));
        }
    }
    // Paths in backquotes that start with one of our top-level folders.
    for (path, text) in files(&[".md"]).into_iter().filter(|(path, _)| !path.contains('/')) {
        for quoted in text.split('`').skip(1).step_by(2).filter(|quoted| !quoted.contains([' ', '*', '<', '{', '\n'])) {
            let ours =
                ["crates/", "proofs/", "xtask/", "benches/", "fuzz/", ".github/"].iter().any(|top| quoted.starts_with(top));
            if ours && !root().join(quoted).exists() {
                offences.push(format!("{path} names {quoted}, which is not there"));
            }
        }
    }
    none(offences);
}
