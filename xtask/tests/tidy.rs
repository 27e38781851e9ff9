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
    // The command is a program: it notes signals in atomics of its own, and asks the kernel what it has. No other process sees that.
    // In pieces, so that this file does not name them either.
    let words = ["core::sync::", "std::sync::"].map(|path| format!("{path}atomic")).into_iter();
    let words: Vec<String> =
        words.chain(["loom::".into(), "thread::fu".to_owned() + "tex", "SYS_fu".to_owned() + "tex"]).collect();
    let sources = files(&[".rs"]).into_iter().filter(|(path, _)| path.starts_with("crates/") && path.contains("/src/"));
    let is_free = |path: &str| ["crates/prim/", "crates/cli/"].iter().any(|place| path.starts_with(place));
    let offences = sources.filter(|(path, _)| !is_free(path)).flat_map(|(path, text)| {
        let named: Vec<String> =
            words.iter().filter(|word| text.contains(*word)).map(|word| format!("{path} names {word}")).collect();
        named
    });
    none(offences.collect());
}

#[test]
fn of_the_libraries_only_prim_shm_travel_and_process_call_the_operating_system() {
    let offences = files(&["Cargo.toml"]).into_iter().filter_map(|(path, text)| {
        let crate_name = path.strip_prefix("crates/")?.split('/').next()?;
        let product = text.split("[dev-dependencies]").next()?;
        let calls = ["rustix", "libc"].iter().any(|name| product.contains(&format!("\n{name} ")));
        // The command has a terminal, signals and commands to look after.
        (calls && !["prim", "shm", "travel", "process", "cli"].contains(&crate_name))
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
        // The command and the Python package are no libraries for Rust programs.
        if !path.ends_with("cli") && !path.ends_with("python") && !path.join("examples").is_dir() {
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
    let (smallest, crash) = ("crates/multiproc/examples/smallest.rs", "crates/ring/examples/crash.rs");
    for (readme, fence, example) in [
        ("README.md", "```rust\n", smallest),
        ("crates/multiproc/README.md", "```no_run\n", smallest),
        ("crates/ring/README.md", "```no_run\n", crash),
    ] {
        let [text, program] = [readme, example].map(|path| std::fs::read_to_string(root().join(path)).unwrap());
        let shown = text.split(fence).nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        assert!(program.ends_with(shown), "{readme} and {example} differ");
    }
}

#[test]
fn the_guide_names_methods_and_types_that_exist() {
    let sources: String = files(&[".rs"])
        .into_iter()
        .filter(|(path, _)| {
            ["queue", "pipe", "pool", "process", "sync"].iter().any(|name| path.starts_with(&format!("crates/{name}/src/")))
        })
        .map(|(_, text)| text)
        .collect();
    let is_defined = |name: &str| {
        let definitions = ["pub fn ", "pub async fn ", "pub struct ", "pub enum ", "    "].map(|what| format!("{what}{name}"));
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

#[test]
fn the_map_of_the_architecture_names_functions_that_are_in_their_files() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let map = text.split("## Where do I change").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    let mut offences = Vec::new();
    let mut functions = 0;
    let rows = map.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| to change"));
    for row in rows {
        let quoted = row.rsplit(" | ").next().unwrap().split('`').skip(1).step_by(2);
        let mut file = (String::new(), String::new());
        for name in quoted {
            if let Some(function) = name.strip_suffix("()") {
                functions += 1;
                if ![format!("fn {function}("), format!("fn {function}<")].iter().any(|definition| file.1.contains(definition)) {
                    offences.push(format!("ARCHITECTURE.md names {name}, which is not in {}", file.0));
                }
            } else {
                file = (name.to_owned(), std::fs::read_to_string(root().join(name)).unwrap_or_default());
                if !root().join(name).exists() {
                    offences.push(format!("ARCHITECTURE.md names {name}, which is not there"));
                }
            }
        }
    }
    assert!(functions > 20, "the map names {functions} functions");
    none(offences);
}

#[test]
fn documents_are_a_hundred_columns_wide() {
    let is_document = |path: &str| {
        let is_front_page = path.starts_with("crates/") && path.matches('/').count() == 2;
        path != "CHANGELOG.md" && (!path.contains('/') || path.starts_with("docs/") || is_front_page)
    };
    let mut offences = Vec::new();
    for (path, text) in files(&[".md"]).into_iter().filter(|(path, _)| is_document(path)) {
        let mut is_code = false;
        for (number, line) in text.lines().enumerate() {
            is_code ^= line.starts_with("```");
            // What can't be broken: tables, code, pictures and links.
            let is_whole = is_code || line.starts_with(['|', '[', '!']) || line.starts_with("    ");
            if !is_whole && line.chars().count() > 100 {
                offences.push(format!("{path}:{} has {} columns", number + 1, line.chars().count()));
            }
        }
    }
    none(offences);
}

#[test]
fn examples_that_the_facade_shows_name_the_facade() {
    let ours = ["queue", "pipe", "process", "pool"];
    let shown =
        files(&[".rs"]).into_iter().filter(|(path, _)| ours.iter().any(|name| path.starts_with(&format!("crates/{name}/src/"))));
    let mut offences = Vec::new();
    for (path, text) in shown {
        let mut is_code = false;
        for (number, line) in text.lines().enumerate() {
            let Some(line) = line.trim_start().strip_prefix("///") else { continue };
            is_code ^= line.trim_start().starts_with("```");
            let names_part = ours.iter().any(|name| line.contains(&format!("multiproc_{name}")));
            if is_code && names_part && !line.trim_start().starts_with("# use ") {
                offences.push(format!("{path}:{} names a crate that a user of the facade does not: {line}", number + 1));
            }
        }
    }
    none(offences);
}
