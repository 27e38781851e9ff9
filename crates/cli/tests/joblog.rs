//! `--joblog`: what it says of a job, and that it says so only of jobs whose output is out.

mod shell;

use multiproc::Unfinished;
use shell::{Gate, Jobs, Running, check, lines_of, multiproc_with, text};
use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// A folder with a log in it.
fn log() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    (folder, path)
}

fn run(log: &PathBuf, options: &[&str], command: &[&str]) -> Command {
    let mut run = multiproc_with(&["run", "--joblog"]);
    run.arg(log).args(options).arg("--").args(command);
    run
}

/// The number, Exitval and Signal of each line.
fn rows(log: &PathBuf) -> Vec<[i64; 3]> {
    let log = fs::read_to_string(log).unwrap();
    let mut rows: Vec<[i64; 3]> = log
        .lines()
        .skip(1)
        .map(|line| {
            let columns: Vec<&str> = line.split('\t').collect();
            [0, 6, 7].map(|column: usize| columns[column].parse().unwrap())
        })
        .collect();
    rows.sort_unstable();
    rows
}

#[test]
fn a_job_whose_output_no_reader_took_is_not_logged_and_runs_on_resume() {
    let (_folder, log) = log();
    for options in [&["-k", "-j2"][..], &["-j2"], &["--line-buffer", "-j2"]] {
        let jobs = ["seq", "{}", "200000", ":::", "1", "2", "3", "4", "5", "6"];
        let mut first = run(&log, options, &jobs).spawn().unwrap();
        let mut begin = [0; 2];
        first.stdout.as_mut().unwrap().read_exact(&mut begin).unwrap();
        drop(first.stdout.take());
        check(&first.wait_with_output().unwrap(), 141);
        assert_eq!(rows(&log), [[0; 3]; 0], "{options:?}");
        let lines = lines_of(&mut run(&log, &[options, &["--resume"]].concat(), &jobs), 0);
        assert_eq!(lines.iter().filter(|line| *line == "200000").count(), 6);
        assert_eq!(rows(&log).len(), 6);
    }
}

#[test]
fn a_job_that_waits_for_its_turn_is_not_logged() {
    let (_folder, log) = log();
    let mut gate = Gate::new();
    let script = format!("[ $1 != 1 ] || read x < {}; [ $1 != 3 ] || kill -9 $PPID", gate.path().display());
    // The third job ends the worker, which has the second one's output and not yet the first one's.
    let mut first = run(&log, &["-k", "-j2"], &["sh", "-c", &script, "sh", "{}", ":::", "1", "2", "3"]).spawn().unwrap();
    let status = first.wait().unwrap();
    assert_eq!(status.code(), None);
    assert_eq!(rows(&log), [[0; 3]; 0]);
    gate.let_go(1);
}

#[test]
fn a_try_that_is_not_the_last_is_not_logged() {
    let (folder, log) = log();
    let marker = folder.path().join("marker");
    let script = format!("[ -e {0} ] || {{ touch {0}; exit 3; }}", marker.display());
    let options = ["--retries", "2", "--retry-delay", "0"];
    check(&run(&log, &options, &["sh", "-c", &script, ":::", "a"]).output().unwrap(), 0);
    assert_eq!(rows(&log), [[1, 0, 0]]);
    // A worker that ends between two tries leaves the job to --resume.
    fs::remove_file(&marker).unwrap();
    let script = format!("[ -e {0} ] || {{ touch {0}; kill -TERM $PPID; exit 3; }}", marker.display());
    let late = ["--retries", "2", "--retry-delay", "1000"];
    check(&run(&log, &late, &["sh", "-c", &script, ":::", "a"]).output().unwrap(), 143);
    assert_eq!(rows(&log), [[0; 3]; 0]);
    check(&run(&log, &[&options[..], &["--resume"]].concat(), &["sh", "-c", &script, ":::", "a"]).output().unwrap(), 0);
    assert_eq!(rows(&log), [[1, 0, 0]]);
}

#[test]
fn exitval_and_signal_are_those_of_gnu_parallel() {
    let (_folder, log) = log();
    let jobs = [
        "exit 3",
        "kill -9 $$",
        "sleep 1000; :",
        "trap '' TERM; while :; do sleep 1000; done",
        "trap 'exit 7' TERM; while :; do sleep 0.01; done",
        "trap 'exit 0' TERM; while :; do sleep 0.01; done",
    ];
    let options = ["-j6", "--timeout", "1", "--kill-after", "0.5"];
    let failed = run(&log, &options, &[&["sh", "-c", "{}", ":::"], &jobs[..]].concat()).output().unwrap();
    check(&failed, 1);
    assert!(text(&failed.stderr).contains("6 jobs failed"), "{}", text(&failed.stderr));
    // The last one ended by itself after its time: that is no success either.
    assert_eq!(rows(&log), [[1, 3, 0], [2, 0, 9], [3, -1, 15], [4, -1, 9], [5, 7, 0], [6, -1, 0]]);
    check(&run(&log, &[], &["no-such-program", ":::", "a"]).output().unwrap(), 1);
    assert_eq!(rows(&log), [[1, 127, 0]]);
}

#[test]
fn the_log_can_be_a_device_and_one_that_is_full_is_told() {
    check(&run(&"/dev/null".into(), &[], &["true", ":::", "a"]).output().unwrap(), 0);
    let output = run(&"/dev/full".into(), &[], &["true", ":::", "a"]).output().unwrap();
    check(&output, 2);
    assert!(text(&output.stderr).contains("can't write the job log /dev/full: No space left"), "{}", text(&output.stderr));
}

#[test]
fn the_end_tells_how_many_failed_and_where_to_look() {
    let jobs = Jobs::new(&["0", "1", "2"]);
    let output = jobs.work_script(&["-j1", "--until-empty", "--max-deliveries", "1"], "exit $1").output().unwrap();
    check(&output, 1);
    let said = format!("2 messages failed; 2 are dead letters: see \"multiproc dead {}\"", jobs.name);
    assert!(text(&output.stderr).contains(&said), "{}", text(&output.stderr));
    let letter = jobs.queue.try_get_dead().unwrap();
    assert!(matches!(letter.ended(), Unfinished::GivenBack { note: 1 }));
    let output = multiproc_with(&["run", "true", ":::", "a"]).output().unwrap();
    assert!(output.stderr.is_empty());
}

#[test]
fn outputs_that_wait_for_their_turn_do_not_fill_the_memory() {
    let (mut gate, mut full) = (Gate::new(), Gate::new());
    let script = format!(
        "case $1 in 1) read x < {};; 62) echo > {};; *) head -c 3000000 /dev/zero;; esac",
        gate.path().display(),
        full.path().display()
    );
    let numbers: Vec<String> = (1..=62).map(|number| number.to_string()).collect();
    let mut command = multiproc_with(&["run", "-k", "-j2", "--", "sh", "-c", &script, "sh", "{}", ":::"]);
    let mut running = Running::start(command.args(&numbers));
    full.wait();
    let status = fs::read_to_string(format!("/proc/{}/status", running.child.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    gate.let_go(1);
    let (printed, code) = running.rest();
    assert_eq!((printed.len(), code), (60 * 3_000_000, Some(0)));
    assert!(peak < 140 << 10, "{peak} KiB");
}

#[test]
fn a_limit_or_a_place_that_output_does_not_fit_in_is_told() {
    let told = |script: &str| {
        let script = format!("{script} exec \"$0\" run -- head -c 9000000 ::: /dev/zero");
        let output = Command::new("sh").args(["-c", &script, env!("CARGO_BIN_EXE_multiproc")]).output().unwrap();
        check(&output, 2);
        assert!(output.stdout.is_empty());
        text(&output.stderr)
    };
    // The signal that ends a program at this limit does not end this one.
    let said = told("ulimit -f 1000;");
    assert!(said.contains("can't keep the output of a job in") && said.contains("File too large"), "{said}");
    let said = told("TMPDIR=/no/such/place");
    assert!(said.contains("can't keep the output of a job in /no/such/place") && said.contains("TMPDIR"), "{said}");
}

#[test]
fn a_line_without_end_is_printed_while_its_job_runs() {
    let mut gate = Gate::new();
    let script = format!("head -c 4000000 /dev/zero | tr '\\0' x; read x < {}", gate.path().display());
    let mut running = Running::start(&mut multiproc_with(&["run", "--line-buffer", "sh", "-c", &script, ":::", "a"]));
    assert_eq!(running.bytes(3 << 20), vec![b'x'; 3 << 20]);
    gate.let_go(1);
    let (rest, code) = running.rest();
    assert_eq!((rest.len(), code), (4_000_000 - (3 << 20) + 1, Some(0)));
}
