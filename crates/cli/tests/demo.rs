//! Every scenario prints what it must, in the tutorial's words.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The lines that a demo prints. It must end well and print nothing on standard error.
fn demo(arguments: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_multiproc")).arg("demo").args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{arguments:?}: {}\n{errors}", output.status);
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

fn quick(name: &str) -> Vec<String> {
    demo(&[name, "--pace", "0"])
}

#[test]
fn pipe_prints_the_message() {
    assert_eq!(quick("pipe"), ["hello"]);
}

#[test]
fn bounded_is_full_and_then_empty() {
    assert_eq!(quick("bounded"), ["队列已经满了", "1", "2", "3", "队列已经空了", "true"]);
}

#[test]
fn handoff_gets_everything_after_the_producer_has_ended() {
    assert_eq!(quick("handoff"), ["GET到数据：数据1", "GET到数据：数据2", "GET到数据：数据3", "数据已经被全部拿完了"]);
}

#[test]
fn squares_are_computed_by_five_processes() {
    let lines = quick("squares");
    assert_eq!(lines.len(), 7);
    let computed: BTreeSet<&str> = lines[..5].iter().map(String::as_str).collect();
    let expected: BTreeSet<String> = (1..=5).map(|n| format!("进程Process-{n}计算 {n} 的平方,结果是{}", n * n)).collect();
    assert_eq!(computed, expected.iter().map(String::as_str).collect());
    let list = lines[5].strip_prefix("所有进程计算结果:[").unwrap().strip_suffix(']').unwrap();
    let mut results: Vec<u32> = list.split(", ").map(|n| n.parse().unwrap()).collect();
    results.sort_unstable();
    assert_eq!(results, [1, 4, 9, 16, 25]);
    assert_eq!(lines[6], "主进程结束");
}

/// The parts of `{before}N{between}k{after}` lines: which process, which bun.
fn parts(line: &str, between: &str, after: &str) -> Option<(u32, u32)> {
    let (process, bun) = line.strip_prefix("进程Process-")?.split_once(between)?;
    Some((process.parse().ok()?, bun.strip_suffix(after)?.parse().ok()?))
}

fn check_buns(lines: &[String], made: [&str; 2], eaten: [&str; 2]) {
    let made: Vec<_> = lines.iter().filter_map(|line| parts(line, made[0], made[1])).collect();
    assert_eq!(made, (0..10).map(|k| (1, k)).collect::<Vec<_>>(), "{lines:#?}");
    let eaten: Vec<_> = lines.iter().filter_map(|line| parts(line, eaten[0], eaten[1])).collect();
    assert!(eaten.iter().all(|(process, _)| (2..=11).contains(process)), "{lines:#?}");
    assert_eq!(eaten.iter().map(|(_, k)| *k).collect::<BTreeSet<_>>(), (0..10).collect());
    assert_eq!(eaten.len(), 10);
}

#[test]
fn buns_are_each_eaten_once() {
    let lines = quick("buns");
    assert_eq!(lines.len(), 20);
    check_buns(&lines, ["生产了包子", ""], ["吃包子", ""]);
}

#[test]
fn joinable_ends_when_everything_is_eaten() {
    let lines = quick("joinable");
    assert_eq!(lines.len(), 21);
    check_buns(&lines[..20], ["生产了", "号包子"], [" 吃了 ", "号包子"]);
    assert_eq!(lines[20], "所有队列处理完成，程序退出");
}

#[test]
fn all_run_in_turn_under_headings() {
    let lines = demo(&["--pace", "0"]);
    let headings: Vec<_> = lines.iter().filter(|line| line.starts_with("== ")).collect();
    assert_eq!(headings, ["== pipe", "== bounded", "== handoff", "== squares", "== buns", "== joinable"]);
}

/// How a demo ended. `None` if it still runs after `limit`; then it is killed.
fn ended_within(limit: Duration, mut demo: Child) -> Option<ExitStatus> {
    let begin = Instant::now();
    while begin.elapsed() <= limit {
        match demo.try_wait().unwrap() {
            None => std::thread::sleep(Duration::from_millis(1)),
            ended => return ended,
        }
    }
    demo.kill().unwrap();
    None
}

#[test]
fn a_reader_that_leaves_early_keeps_no_demo_from_its_end() {
    for name in ["pipe", "bounded", "handoff", "squares", "buns", "joinable"] {
        for lines in [0, 2, 15] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_multiproc"));
            let mut demo = command.args(["demo", name, "--pace", "0.001"]).stdout(Stdio::piped()).spawn().unwrap();
            let read = BufReader::new(demo.stdout.take().unwrap()).lines().take(lines).count();
            assert!(read <= lines);
            let status =
                ended_within(Duration::from_secs(60), demo).unwrap_or_else(|| panic!("{name} still runs after {lines} lines"));
            assert!(status.success(), "{name} after {lines} lines: {status}");
        }
    }
}

#[test]
fn a_pace_that_is_none_is_refused() {
    for bad in ["-1", "nan", "x", "61"] {
        let output = Command::new(env!("CARGO_BIN_EXE_multiproc")).args(["demo", "pipe", "--pace", bad]).output().unwrap();
        assert!(!output.status.success() && !output.stderr.is_empty(), "{bad}");
    }
}

#[test]
fn a_demo_that_finds_no_room_for_a_process_ends_with_an_error() {
    for name in ["squares", "buns", "joinable"] {
        let mut failures = 0;
        // Each child takes one of the main process's descriptors. At some limit there are too few.
        for limit in 8..40 {
            let script = format!("ulimit -n {limit}; exec \"$0\" demo {name} --pace 0");
            let mut command = Command::new("/bin/sh");
            command.args(["-c", &script, env!("CARGO_BIN_EXE_multiproc")]).stdout(Stdio::null()).stderr(Stdio::null());
            let demo = command.spawn().unwrap();
            let status = ended_within(Duration::from_secs(20), demo);
            let status = status.unwrap_or_else(|| panic!("{name} does not end with {limit} descriptors"));
            failures += usize::from(!status.success());
        }
        assert!(failures > 0, "{name} never ran out of descriptors");
    }
}
