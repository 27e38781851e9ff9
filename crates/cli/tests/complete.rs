//! Completions of shells: with the names of queues.

use std::path::Path;
use std::process::{Command, Stdio};

fn multiproc(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_multiproc")).args(arguments).env("MULTIPROC_DIR", directory).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A directory with the queues `jobs`, `jolly` and `other`, and the script for a shell in it.
fn place(shell: &str) -> tempfile::TempDir {
    let place = tempfile::tempdir_in("/dev/shm").unwrap();
    for name in ["jobs", "jolly", "other"] {
        multiproc(place.path(), &["create", name]);
    }
    std::fs::write(place.path().join(shell), multiproc(place.path(), &["completions", shell])).unwrap();
    place
}

/// What bash offers for the last one of some words.
fn in_bash(place: &Path, words: &[&str]) -> Vec<String> {
    let script = "source \"$0\"; function=$(complete -p multiproc | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        COMP_WORDS=(\"$MULTIPROC\" \"$@\"); COMP_CWORD=$#
        $function \"$MULTIPROC\" \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD - 1]}\"
        printf '%s\\n' \"${COMPREPLY[@]}\"";
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", script]).arg(place.join("bash")).args(words);
    let output = bash.env("MULTIPROC_DIR", place).env("MULTIPROC", env!("CARGO_BIN_EXE_multiproc")).output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut offered: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    offered.sort();
    offered
}

#[test]
fn bash_completes_the_name_of_a_queue_where_one_is_meant() {
    let place = place("bash");
    let offered = |words: &[&str]| in_bash(place.path(), words);
    assert_eq!(offered(&["get", "jo"]), ["jobs", "jolly"]);
    assert_eq!(offered(&["work", "-j", "4", "--timeout", "=", "5", "o"]), ["other"]);
    assert_eq!(offered(&["top", ""]), ["jobs", "jolly", "other"]);
    assert_eq!(offered(&["rm", "jobs", "jol"]), ["jolly"]);
    // A message, a value of an option, a new name, an option: no queue.
    for words in [&["put", "jobs", "jo"][..], &["get", "-n", "jo"], &["create", "jo"], &["run", "jo"]] {
        assert!(!offered(words).contains(&"jobs".into()), "{words:?}");
    }
    assert!(offered(&["get", "--fo"]).contains(&"--follow".into()));
}

#[test]
fn each_shell_that_is_here_can_read_its_script() {
    for shell in ["bash", "zsh", "fish"] {
        let place = place(shell);
        let script = std::fs::read_to_string(place.path().join(shell)).unwrap();
        assert!(script.contains("ls --names"), "{shell}");
        let check = Command::new(shell).arg("-n").arg(place.path().join(shell)).stderr(Stdio::piped()).output();
        if let Ok(output) = check {
            assert!(output.status.success() && output.stderr.is_empty(), "{shell}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

#[test]
fn names_are_a_line_each() {
    assert_eq!(multiproc(place("bash").path(), &["ls", "--names"]), "jobs\njolly\nother\n");
}
