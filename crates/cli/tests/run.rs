//! `multiproc run`: a command for each argument or line.

mod shell;

use shell::{Gate, Running, check, kill, lines_of, multiproc, multiproc_with, sorted, text};
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

fn run(arguments: &[&str]) -> Command {
    let mut command = multiproc_with(&["run"]);
    command.args(arguments);
    command
}

/// `multiproc run` with a script of the shell, whose `$1` is the argument.
fn run_script(options: &[&str], script: &str, arguments: &[&str]) -> Command {
    let mut command = run(options);
    command.args(["--", "sh", "-c", script, "sh", "{}", ":::"]).args(arguments);
    command
}

fn with_input(command: &mut Command, input: &[u8], code: i32) -> Vec<String> {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
    let writer = thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    check(&output, code);
    text(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn arguments_come_from_the_command_line_lines_or_records() {
    assert_eq!(sorted(lines_of(&mut run(&["-j2", "echo", "<{}>", ":::", "a", "b c"]), 0)), ["<a>", "<b c>"]);
    assert_eq!(with_input(&mut run(&["-k", "--", "echo", "-{#}-"]), b"x\ny", 0), ["-1-", "-2-"]);
    assert_eq!(with_input(&mut run(&["-k", "--", "echo"]), b"one\n\ntwo words\n", 0), ["one", "", "two words"]);
    assert_eq!(with_input(&mut run(&["-k0", "--", "echo"]), b"a\nb\0c\0", 0), ["a", "b", "c"]);
    assert_eq!(with_input(&mut run(&["-k", "-n2", "--", "echo"]), b"1\n2\n3\n", 0), ["1 2", "3"]);
    assert_eq!(lines_of(&mut run(&["-k", "echo", "{2}{1}", ":::", "a", "b", ":::", "1", "2"]), 0), ["1a", "2a", "1b", "2b"]);
}

#[test]
fn a_file_of_arguments_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list");
    fs::write(&list, "x/a.txt\nb.c.txt\n").unwrap();
    let lines = lines_of(&mut run(&["-k", "-a", list.to_str().unwrap(), "echo", "{.}", "{/}", "{//}", "{/.}"]), 0);
    assert_eq!(lines, ["x/a a.txt x a", "b.c b.c.txt . b.c"]);
    let output = run(&["-a", "/no/such/list", "echo"]).output().unwrap();
    check(&output, 2);
    assert!(text(&output.stderr).contains("/no/such/list"));
}

#[test]
fn sources_can_be_files_and_records_can_have_columns() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list");
    fs::write(&list, "a,1\nb,2\n").unwrap();
    let list = list.to_str().unwrap();
    assert_eq!(lines_of(&mut run(&["-k", "echo", "<{}>", "::::", list]), 0), ["<a,1>", "<b,2>"]);
    assert_eq!(lines_of(&mut run(&["-k", "echo", "{1}", "{2}", ":::", "x", "y", "::::+", list]), 0), ["x a,1", "y b,2"]);
    assert_eq!(lines_of(&mut run(&["-k", "--colsep", ",", "echo", "{2}{1}", "::::", list]), 0), ["1a", "2b"]);
    assert_eq!(with_input(&mut run(&["-k", "--colsep", "\\t", "--", "echo", "{2}"]), b"a\tb c\nd\n", 0), ["b c", ""]);
    assert_eq!(with_input(&mut run(&["-k", "echo", "{}", "::::", "-"]), b"in\n", 0), ["in"]);
    let output = run(&["--colsep", "\\s+", "echo", ":::", "a"]).output().unwrap();
    check(&output, 2);
    assert!(text(&output.stderr).contains("not a pattern"), "{}", text(&output.stderr));
    let output = run(&["echo", "::::", "/no/such/list"]).output().unwrap();
    check(&output, 2);
    assert!(text(&output.stderr).contains("/no/such/list"));
}

#[test]
fn another_word_can_stand_for_the_argument_and_what_is_missing_names_what_is_here() {
    assert_eq!(lines_of(&mut run(&["-k", "-I", "%", "echo", "a%b", "{}", ":::", "x"]), 0), ["axb {}"]);
    for (option, advice) in [("-X", "-n N"), ("-m", "-n N"), ("--pipe", "multiproc work")] {
        let output = run(&[option, "echo", ":::", "a"]).output().unwrap();
        check(&output, 2);
        assert!(text(&output.stderr).contains(advice), "{}", text(&output.stderr));
    }
}

#[test]
fn the_exit_code_tells_whether_jobs_failed_and_whether_more_than_100_did() {
    check(&run(&["true", ":::", "1", "2"]).output().unwrap(), 0);
    check(&run(&["false", ":::", "1", "2", "3"]).output().unwrap(), 1);
    let many: Vec<u8> = (1..=110).flat_map(|number| format!("{number}\n").into_bytes()).collect();
    with_input(&mut run(&["-j8", "false"]), &many, 101);
}

#[test]
fn a_command_that_is_not_there_is_named() {
    let output = run_script(&["--halt", "now,fail=1"], "true", &[]).output().unwrap();
    check(&output, 0);
    let output = run(&["--halt", "now,fail=1", "no-such-program", ":::", "a"]).output().unwrap();
    check(&output, 127);
    assert!(text(&output.stderr).contains("no-such-program"), "{}", text(&output.stderr));
    check(&run(&["--halt", "now,fail=1", "/etc/passwd", ":::", "a"]).output().unwrap(), 126);
}

#[test]
fn keep_order_is_kept_where_the_worker_gives_a_job_back() {
    let again = "[ $1$MULTIPROC_DELIVERY != 11 ] || { kill -USR1 $PPID; sleep 1000; true; }; echo $1";
    assert_eq!(lines_of(&mut run_script(&["-k", "-j2"], again, &["1", "2", "3", "4"]), 0), ["1", "2", "3", "4"]);
}

#[test]
fn a_delay_is_between_jobs_and_not_behind_the_last() {
    let begin = Instant::now();
    assert_eq!(lines_of(&mut run(&["--delay", "1e30", "echo", ":::", "a"]), 0), ["a"]);
    assert!(begin.elapsed() < Duration::from_secs(60));
}

#[test]
fn keep_order_prints_in_order_what_ends_out_of_order() {
    let (folder, gate) = (tempfile::tempdir().unwrap(), Gate::new());
    let script = format!("if [ $1 = 1 ]; then read x < {0}; else echo > {0}; fi; echo $1", gate.path().display());
    assert_eq!(lines_of(&mut run_script(&["-k", "-j2"], &script, &["1", "2"]), 0), ["1", "2"]);
    // The place of a job that runs again stays open.
    let marker = folder.path().join("marker");
    let script = format!("echo $1; [ $1 != 1 ] || [ -e {0} ] || {{ touch {0}; exit 1; }}", marker.display());
    let options = ["-k", "-j1", "--retries", "2", "--retry-delay", "0"];
    assert_eq!(lines_of(&mut run_script(&options, &script, &["1", "2", "3"]), 0), ["1", "2", "3"]);
}

#[test]
fn lines_of_jobs_at_once_do_not_mix() {
    let script = "i=0; while [ $i -lt 50 ]; do printf $1$1; printf \"$1\\n\"; i=$((i+1)); done; printf $1$1$1";
    let jobs = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let expected: Vec<String> = jobs.iter().flat_map(|job| vec![job.repeat(3); 51]).collect();
    let lines = lines_of(&mut run_script(&["-j8", "--line-buffer"], script, &jobs), 0);
    assert_eq!(sorted(lines), expected);
    // Grouped, with the lines complete: each job's output is in one piece.
    let lines = lines_of(&mut run_script(&["-j8"], &script.replace("printf $1$1$1", "echo $1$1$1"), &jobs), 0);
    assert!(lines.chunks(51).all(|job| job.iter().all(|line| *line == job[0])));
    assert_eq!(sorted(lines), expected);
}

#[test]
fn grouped_output_is_what_the_jobs_wrote_byte_for_byte() {
    let output = run(&["-k", "-j4", "printf", "%s", ":::", "a", "b\n", "c"]).output().unwrap();
    check(&output, 0);
    assert_eq!(output.stdout, b"ab\nc");
    // More than is kept in memory, and more than a pipe takes.
    let output = run(&["-k", "-j2", "seq", ":::", "1500000", "3"]).output().unwrap();
    check(&output, 0);
    assert!(output.stdout.len() > 10 << 20 && output.stdout.ends_with(b"1499999\n1500000\n1\n2\n3\n"));
}

#[test]
fn a_tag_stands_before_each_line() {
    let lines = lines_of(&mut run_script(&["-k", "--tag"], "echo x; printf y", &["a b", "c\nd"]), 0);
    assert_eq!(lines, ["a b\tx", "a b\ty", "$'c\\nd'\tx", "$'c\\nd'\ty"]);
}

#[test]
fn as_many_jobs_run_at_once_as_there_are_slots() {
    let mut gate = Gate::new();
    let script = format!("echo started; read x < {}", gate.path().display());
    let arguments: Vec<String> = (0..64).map(|number| number.to_string()).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut running = Running::start(&mut run_script(&["-j64", "--line-buffer"], &script, &arguments));
    (0..64).for_each(|_| assert_eq!(running.line(), "started"));
    gate.let_go(64);
    assert_eq!(running.rest(), (String::new(), Some(0)));
}

#[test]
fn a_slot_has_one_job_at_a_time() {
    let lines = lines_of(&mut run(&["-j2", "-k", "echo", "{%}", ":::", "a", "b", "c", "d"]), 0);
    assert!(lines.iter().all(|slot| slot == "1" || slot == "2"), "{lines:?}");
}

#[test]
fn a_job_ends_with_its_command_whatever_that_leaves_behind() {
    // The child keeps the output open.
    let lines = lines_of(&mut run_script(&[], "sleep 1000 & echo $!", &["a"]), 0);
    kill("KILL", lines[0].parse().unwrap());
    // What a child still writes at once is waited for.
    let lines = lines_of(&mut run_script(&[], "(trap '' HUP; sleep 0.02; echo late) & exit 0", &["a"]), 0);
    assert_eq!(lines, ["late"]);
    check(&run_script(&[], "exec <&- >&- 2>&-; exit 0", &["a", "b"]).output().unwrap(), 0);
    let output = run_script(&[], "yes & echo $! >&2", &["a"]).output().unwrap();
    check(&output, 0);
    kill_if_there(text(&output.stderr).trim());
}

/// `yes` ends by itself once nobody reads it.
fn kill_if_there(pid: &str) {
    let _ = Command::new("kill").args(["-s", "KILL", pid]).stderr(Stdio::null()).status();
}

#[test]
fn a_job_that_found_no_descriptor_starts_when_another_one_has_ended() {
    let arguments: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    let begin = Instant::now();
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 24; exec \"$0\" run -j64 -- sh -c 'sleep 0.005' ::: \"$@\"", env!("CARGO_BIN_EXE_multiproc")]);
    check(&limited.args(&arguments).stdin(Stdio::null()).output().unwrap(), 0);
    // A fixed wait of 0.2 s for each of them would be 20 s.
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
}

#[test]
fn input_without_end_is_not_read_ahead() {
    let mut child = run(&["-j2", "--halt", "now,fail=1", "false"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    while stdin.write_all(&b"y\n".repeat(4096)).is_ok() {}
    check(&child.wait_with_output().unwrap(), 1);
}

#[test]
fn the_job_log_has_the_columns_of_gnu_parallel() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mut logged =
        run_script(&["-k", "--joblog", log.to_str().unwrap()], "printf 12345; [ $1 = a ] && exit 3; kill -9 $$", &["a", "b c\n"]);
    check(&logged.output().unwrap(), 1);
    let log = fs::read_to_string(log).unwrap();
    let mut rows: Vec<Vec<&str>> = log.lines().skip(1).map(|line| line.split('\t').collect()).collect();
    rows.sort();
    let script = "'printf 12345; [ $1 = a ] && exit 3; kill -9 $$'";
    let [a, b] = [format!("sh -c {script} sh a"), format!("sh -c {script} sh $'b c\\n'")];
    assert_eq!([&rows[0][..2], &rows[0][4..]], [&["1", ":"][..], &["0", "5", "3", "0", &a]]);
    assert_eq!([&rows[1][..2], &rows[1][4..]], [&["2", ":"][..], &["0", "5", "0", "9", &b]]);
    assert!(rows[0][2].parse::<f64>().unwrap() > 1e9 && rows[0][3].trim().parse::<f64>().unwrap() >= 0.0);
}

#[test]
fn resume_skips_what_the_log_has_and_resume_failed_what_was_done() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let log = log.to_str().unwrap();
    let script = "echo $1; [ $1 != b ]";
    lines_of(&mut run_script(&["--joblog", log], script, &["a", "b"]), 1);
    let all = ["a", "b", "c"];
    assert_eq!(lines_of(&mut run_script(&["-k", "--joblog", log, "--resume"], script, &all), 0), ["c"]);
    assert_eq!(lines_of(&mut run_script(&["-k", "--joblog", log, "--resume-failed"], script, &all), 1), ["b"]);
    assert_eq!(lines_of(&mut run_script(&["-k", "--joblog", log, "--resume-failed"], "echo $1", &all), 0), ["b"]);
    assert_eq!(lines_of(&mut run_script(&["-k", "--joblog", log, "--resume-failed"], script, &all), 0), [""; 0]);
    check(&run(&["--resume", "true", ":::", "a"]).output().unwrap(), 2);
}

#[test]
fn a_dry_run_prints_what_would_run() {
    let lines = lines_of(&mut run(&["--dry-run", "touch", "{}", ":::", "a", "b c", "it's"]), 0);
    assert_eq!(lines, ["touch a", "touch 'b c'", "touch 'it'\\''s'"]);
}

#[test]
fn ctrl_c_lets_running_jobs_finish() {
    let mut gate = Gate::new();
    let script = format!("echo started; read x < {}; echo $1", gate.path().display());
    let mut running = Running::start(&mut run_script(&["-j1", "--line-buffer"], &script, &["a", "b"]));
    assert_eq!(running.line(), "started");
    running.signal("INT");
    gate.let_go(1);
    assert_eq!(running.rest(), ("a\n".into(), Some(130)));
}

#[test]
fn no_command_is_a_usage_error() {
    let output = run(&[":::", "a"]).output().unwrap();
    check(&output, 2);
    assert!(text(&output.stderr).contains("no command"), "{}", text(&output.stderr));
    check(&multiproc().arg("run").output().unwrap(), 2);
}
