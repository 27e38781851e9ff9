//! The examples of the README run, and print what it says.

use std::path::Path;
use std::process::Command;

/// The commands of a block, each with the lines that it prints.
fn commands(block: &str) -> Vec<(&str, Vec<String>)> {
    let mut found: Vec<(&str, Vec<String>)> = Vec::new();
    for line in block.lines() {
        match (line.strip_prefix("$ "), found.last_mut()) {
            (Some(command), _) => found.push((command, Vec::new())),
            (None, Some((_, lines))) if !line.is_empty() => lines.push(comparable(line)),
            (None, _) => {}
        }
    }
    found
}

/// A line without its amounts of memory, which depend on the system.
fn comparable(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let is_amount = |word: &str| word.strip_suffix(['B', 'K', 'M']).is_some_and(|number| number.parse::<f64>().is_ok());
    words.iter().map(|word| if is_amount(word) { "N" } else { word }).collect::<Vec<_>>().join(" ")
}

fn run(command: &str, directory: &Path) -> Vec<String> {
    let binary = Path::new(env!("CARGO_BIN_EXE_multiproc")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{command} 2>&1")]).current_dir(directory).env("PATH", path).env("MULTIPROC_DIR", directory);
    let output = shell.output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(comparable).collect()
}

#[test]
fn the_examples_of_the_readme_print_what_it_says() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let blocks: Vec<&str> = readme.split("```console\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        for (command, expected) in commands(block) {
            assert_eq!(run(command, directory.path()), expected, "{command}");
        }
    }
}
