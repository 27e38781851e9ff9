//! `multiproc doctor` tells what works, and finds what does not.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn doctor(command: &mut Command) -> (Output, Vec<Value>) {
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line:?}")));
    let lines: Vec<Value> = lines.collect();
    (output, lines)
}

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_multiproc"));
    command.args(["doctor", "--json"]);
    command
}

/// The command below a limit of the shell.
fn limited(limit: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{limit}; exec \"$0\" doctor --json"), env!("CARGO_BIN_EXE_multiproc")]);
    command
}

fn mark<'a>(lines: &'a [Value], check: &str) -> &'a str {
    let line = lines.iter().find(|line| line["check"] == check);
    line.unwrap_or_else(|| panic!("no {check} in {lines:#?}"))["mark"].as_str().unwrap()
}

#[test]
fn a_machine_that_runs_these_tests_has_nothing_bad() {
    let (output, lines) = doctor(&mut command());
    assert_eq!(output.status.code(), Some(0), "{lines:#?}");
    for check in ["queue", "named queue", "pipe", "process", "memfd_create", "directory", "rights", "kernel", "/proc"] {
        assert_ne!(mark(&lines, check), "bad", "{check}");
    }
    for line in &lines {
        assert!(!line["found"].as_str().unwrap().is_empty() && !line["means"].as_str().unwrap().is_empty(), "{line}");
        assert!(line["mark"] == "ok" || !line["change"].as_str().unwrap().is_empty(), "no way out: {line}");
    }
}

#[test]
fn it_reads_as_text_without_a_mark_that_a_terminal_obeys() {
    let output = Command::new(env!("CARGO_BIN_EXE_multiproc")).arg("doctor").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("Everything works here") && !text.contains('\x1b'), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 140), "{text}");
}

#[test]
fn a_directory_that_is_not_there_is_bad_and_named() {
    let (output, lines) = doctor(command().env("MULTIPROC_DIR", "/nowhere/at/all"));
    assert_eq!(output.status.code(), Some(1), "{lines:#?}");
    assert_eq!([mark(&lines, "directory"), mark(&lines, "named queue"), mark(&lines, "queue")], ["bad", "bad", "ok"]);
    let line = lines.iter().find(|line| line["check"] == "directory").unwrap();
    assert!(line["found"].as_str().unwrap().contains("/nowhere/at/all"), "{line}");
}

#[test]
fn a_place_that_is_advised_is_there_and_in_memory() {
    let disk = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for place in [Path::new("/nowhere/at/all"), disk.path()] {
        let (_, lines) = doctor(command().env("MULTIPROC_DIR", place));
        let line = lines.iter().find(|line| line["check"] == "directory").unwrap();
        let change = line["change"].as_str().unwrap();
        let advised: Vec<&str> = change.split([' ', '=', ':', ';']).filter(|word| word.starts_with('/')).collect();
        assert_eq!(advised, ["/dev/shm"], "{change}");
    }
    let (_, lines) = doctor(command().env("MULTIPROC_DIR", "/etc/passwd"));
    assert_eq!(mark(&lines, "rights"), "bad");
}

#[test]
fn a_directory_that_others_can_enter_is_bad() {
    let place = tempfile::tempdir_in("/dev/shm").unwrap();
    let own = place.path().join(format!("multiproc-{}", rustix::process::geteuid().as_raw()));
    std::fs::create_dir(&own).unwrap();
    set_mode(&own, 0o777);
    let (output, lines) = doctor(command().env("MULTIPROC_DIR", place.path()));
    assert_eq!((output.status.code(), mark(&lines, "rights")), (Some(1), "bad"), "{lines:#?}");
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn small_limits_are_marked() {
    let (_, lines) = doctor(&mut limited("ulimit -n 40"));
    assert_eq!(mark(&lines, "open files"), "warn");
    let (_, lines) = doctor(&mut limited("ulimit -f 2000"));
    assert_eq!(mark(&lines, "file size"), "warn");
    let (_, lines) = doctor(&mut limited("ulimit -v 900000"));
    assert_eq!(mark(&lines, "address space"), "warn");
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let script = "\"$0\" doctor | head -1; exit 0";
    let output = Command::new("sh").args(["-c", script, env!("CARGO_BIN_EXE_multiproc")]).output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
