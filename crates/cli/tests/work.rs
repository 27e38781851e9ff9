//! `multiproc work`: what happens to messages and their commands.

mod shell;

use multiproc::{JoinableQueue, Unfinished};
use shell::{Gate, Jobs, Running, check, kill, lines_of, multiproc_with, sorted, text};
use std::fs;
use std::io::Read;
use std::time::{Duration, Instant};

/// How the oldest dead letter got there: its count and its note.
fn dead(jobs: &Jobs) -> (Vec<u8>, u16, u32) {
    let letter = jobs.queue.try_get_dead().unwrap();
    let Unfinished::GivenBack { note } = letter.ended() else { panic!("{:?}", letter.ended()) };
    (letter.to_vec(), letter.count(), note)
}

#[test]
fn each_message_is_done_once() {
    let jobs = Jobs::new(&["a", "b", "c"]);
    let lines = lines_of(&mut jobs.work(&["-j2", "--until-empty"], &["echo", "<{}>"]), 0);
    assert_eq!(sorted(lines), ["<a>", "<b>", "<c>"]);
    assert_eq!(jobs.queue.unfinished(), 0);
}

#[test]
fn the_message_of_a_killed_worker_is_delivered_again_and_its_command_does_not_go_on() {
    let jobs = Jobs::new(&["a"]);
    // The shell has a child of its own, which the kernel does not end with the worker.
    let script = "[ $MULTIPROC_DELIVERY = 2 ] || sleep 1000 & echo $MULTIPROC_DELIVERY; [ $MULTIPROC_DELIVERY = 2 ] || wait";
    let mut first = Running::start(&mut jobs.work_script(&["--ungroup"], script));
    assert_eq!(first.line(), "1");
    first.child.kill().unwrap();
    // The end of the output is the end of the last process that could write it.
    assert_eq!(first.rest(), (String::new(), None));
    assert_eq!(lines_of(&mut jobs.work_script(&["--until-empty"], script), 0), ["2"]);
}

#[test]
fn a_command_ends_with_its_worker_when_everything_else_is_killed_at_once() {
    let jobs = Jobs::new(&["a"]);
    let mut worker = Running::start(&mut jobs.work_script(&["--ungroup"], "echo started; exec sleep 1000"));
    assert_eq!(worker.line(), "started");
    kill("KILL", guard(&worker).unwrap());
    worker.child.kill().unwrap();
    assert_eq!(worker.rest(), (String::new(), None));
}

/// The guard of a worker, if it has one.
fn guard(worker: &Running) -> Option<u32> {
    let pid = worker.child.id();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let is_guard = |child: &&str| fs::read_to_string(format!("/proc/{child}/cmdline")).is_ok_and(|line| line.contains("__guard"));
    children.split_whitespace().find(is_guard).map(|child| child.parse().unwrap())
}

#[test]
fn a_guard_that_is_killed_has_a_successor_that_knows_the_jobs() {
    let jobs = Jobs::new(&["a"]);
    // The shell has a child of its own, which the kernel does not end with the worker.
    let mut worker = Running::start(&mut jobs.work_script(&["--ungroup"], "sleep 1000 & echo started; wait"));
    assert_eq!(worker.line(), "started");
    let first = guard(&worker).unwrap();
    kill("KILL", first);
    while guard(&worker).is_none_or(|guard| guard == first) {
        std::thread::yield_now();
    }
    worker.child.kill().unwrap();
    assert_eq!(worker.rest(), (String::new(), None));
}

#[test]
fn a_guard_that_was_stopped_does_not_keep_its_worker() {
    let (jobs, mut gate) = (Jobs::new(&["a"]), Gate::new());
    let script = format!("echo started; read x < {}", gate.path().display());
    let mut worker = Running::start(&mut jobs.work_script(&["--line-buffer", "--until-empty"], &script));
    assert_eq!(worker.line(), "started");
    let guard = guard(&worker).unwrap();
    kill("STOP", guard);
    gate.let_go(1);
    assert_eq!(worker.rest(), (String::new(), Some(0)));
}

#[test]
fn a_worker_until_empty_waits_for_what_another_one_has_in_hand() {
    let jobs = Jobs::new(&["a"]);
    let script = "echo $MULTIPROC_DELIVERY; [ $MULTIPROC_DELIVERY = 2 ] || { sleep 1000; true; }";
    let mut first = Running::start(&mut jobs.work_script(&["--line-buffer", "--until-empty"], script));
    assert_eq!(first.line(), "1");
    let mut second = Running::start(&mut jobs.work_script(&["--line-buffer", "--until-empty"], script));
    // Long enough to end, did it not wait.
    std::thread::sleep(Duration::from_millis(300));
    first.child.kill().unwrap();
    assert_eq!(second.line(), "2");
    assert_eq!(second.rest(), (String::new(), Some(0)));
}

#[test]
fn a_time_out_ends_a_whole_group_that_ignores_sigterm() {
    let jobs = Jobs::new(&["a"]);
    let script = "trap '' TERM; sleep 1000 & sleep 1000; sleep 1000";
    let options = ["--ungroup", "--until-empty", "--timeout", "0.05", "--kill-after", "0.05", "--max-deliveries", "1"];
    check(&jobs.work_script(&options, script).output().unwrap(), 1);
    assert_eq!(dead(&jobs), (b"a".to_vec(), 1, 124));
}

#[test]
fn a_time_out_lets_a_group_end_by_itself() {
    let jobs = Jobs::new(&["a"]);
    // The child writes after the shell has ended.
    let script = "(trap 'echo cleaned; exit' TERM; echo ready >&2; while :; do sleep 0.01; done) & trap 'exit 0' TERM; wait";
    let options = ["--until-empty", "--timeout", "1", "--kill-after", "60", "--max-deliveries", "1"];
    assert_eq!(lines_of(&mut jobs.work_script(&options, script), 1), ["cleaned"]);
}

#[test]
fn a_failed_message_runs_again_behind_those_that_waited() {
    let jobs = Jobs::new(&["bad", "a", "b", "c"]);
    let script = "echo $1 $MULTIPROC_DELIVERY; [ $1 != bad ] || [ $MULTIPROC_DELIVERY = 2 ]";
    let lines = lines_of(&mut jobs.work_script(&["-j1", "--until-empty", "--retry-delay", "0"], script), 0);
    assert_eq!(lines, ["bad 1", "a 1", "b 1", "c 1", "bad 2"]);
}

#[test]
fn a_failed_message_waits_longer_each_time() {
    let jobs = Jobs::new(&["bad"]);
    let begin = Instant::now();
    let lines =
        lines_of(&mut jobs.work_script(&["--until-empty", "--retry-delay", "0.1"], "echo x; [ $MULTIPROC_DELIVERY = 3 ]"), 0);
    assert_eq!(lines.len(), 3);
    assert!(begin.elapsed() >= Duration::from_millis(300), "0.1 s, then 0.2 s");
}

#[test]
fn the_last_failure_makes_a_dead_letter_with_the_exit_code_or_signal() {
    let jobs = Jobs::new(&["3", "KILL"]);
    let script = "case $1 in KILL) kill -9 $$;; *) exit $1;; esac";
    let options = ["-j1", "--until-empty", "--retry-delay", "0", "--max-deliveries", "2"];
    check(&jobs.work_script(&options, script).output().unwrap(), 1);
    assert_eq!(dead(&jobs), (b"3".to_vec(), 2, 3));
    assert_eq!(dead(&jobs), (b"KILL".to_vec(), 2, 128 + 9));
}

#[test]
fn the_first_signal_lets_running_jobs_finish() {
    let (jobs, mut gate) = (Jobs::new(&["a", "b"]), Gate::new());
    let script = format!("echo started >&2; read x < {}; echo $1", gate.path().display());
    let mut worker = Running::start(&mut jobs.work_script(&["-j1", "--line-buffer"], &script));
    assert_eq!(worker.error_line(), "started");
    worker.signal("TERM");
    gate.let_go(1);
    assert_eq!(worker.rest(), ("a\n".into(), Some(143)));
    assert_eq!((jobs.queue.len(), jobs.queue.unfinished()), (1, 1));
}

#[test]
fn the_second_signal_ends_the_jobs_and_gives_their_messages_back() {
    let jobs = Jobs::new(&["a"]);
    let mut worker = Running::start(&mut jobs.work_script(&["--ungroup"], "echo started; sleep 1000; true"));
    assert_eq!(worker.line(), "started");
    worker.signal("INT");
    let said = worker.error_line();
    assert!(said.contains("once more"), "{said}");
    worker.signal("INT");
    assert_eq!(worker.rest(), (String::new(), Some(130)));
    let delivery = jobs.queue.try_get_delivery().unwrap();
    assert_eq!((delivery.as_slice(), delivery.count()), (b"a".as_slice(), 2));
    let _ = delivery.done();
}

#[test]
fn a_worker_that_is_told_to_end_makes_no_message_a_dead_letter() {
    let jobs = Jobs::new(&["a"]);
    for _ in 0..3 {
        let mut worker =
            Running::start(&mut jobs.work_script(&["--ungroup", "--max-deliveries", "2"], "echo started; sleep 1000; true"));
        assert_eq!(worker.line(), "started");
        worker.signal("TERM");
        worker.error_line();
        worker.signal("TERM");
        assert_eq!(worker.rest().1, Some(143));
        assert_eq!((jobs.queue.len(), jobs.queue.dead_len()), (1, 0));
    }
}

#[test]
fn what_a_reader_did_not_see_goes_back_and_is_no_dead_letter() {
    let name = format!("test-unseen-{}", std::process::id());
    let queue = JoinableQueue::builder().max_deliveries(1).named(&name).build().unwrap();
    let jobs = Jobs { name, queue };
    (0..3).for_each(|_| jobs.put(b"a"));
    // More than a pipe holds, of jobs that all succeed.
    let mut worker = jobs.work_script(&["-j1"], "head -c 1000000 /dev/zero").spawn().unwrap();
    let mut output = worker.stdout.take().unwrap();
    output.read_exact(&mut [0; 10]).unwrap();
    drop(output);
    assert_eq!(worker.wait().unwrap().code(), Some(141));
    assert_eq!((jobs.queue.len(), jobs.queue.dead_len()), (3, 0));
}

#[test]
fn sigusr1_gives_everything_back_and_the_worker_goes_on() {
    let jobs = Jobs::new(&["a"]);
    let script = "echo $MULTIPROC_DELIVERY; [ $MULTIPROC_DELIVERY = 2 ] || { sleep 1000; true; }";
    let mut worker = Running::start(&mut jobs.work_script(&["--line-buffer", "--until-empty"], script));
    assert_eq!(worker.line(), "1");
    worker.signal("USR1");
    assert_eq!(worker.rest(), ("2\n".into(), Some(0)));
}

#[test]
fn a_worker_waits_for_messages_until_the_queue_is_shut_down() {
    let jobs = Jobs::new(&[]);
    let mut worker = Running::start(&mut jobs.work(&["--line-buffer"], &["echo", "{}"]));
    jobs.put(b"late");
    assert_eq!(worker.line(), "late");
    jobs.put(b"last");
    jobs.queue.shutdown();
    assert_eq!(worker.rest(), ("last\n".into(), Some(0)));
}

#[test]
fn any_bytes_are_one_argument() {
    let messages: [&[u8]; 7] = [b"two\nlines", b"'\"$(id)`\\", b"", b"\xff\xfe", b"-n --help", b" a  b ", "漢".as_bytes()];
    for message in messages {
        let jobs = Jobs::new(&[]);
        jobs.put(message);
        let output = jobs.work(&["--until-empty"], &["printf", "<%s>", "{}", "x{}"]).output().unwrap();
        check(&output, 0);
        assert_eq!(output.stdout, [b"<", message, b"><x", message, b">"].concat());
    }
}

#[test]
fn a_nul_byte_in_an_argument_fails_that_message_alone() {
    let jobs = Jobs::new(&["a\0b", "c"]);
    let output = jobs.work(&["-j1", "--until-empty", "--max-deliveries", "1"], &["echo", "{}"]).output().unwrap();
    check(&output, 1);
    assert_eq!(text(&output.stdout), "c\n");
    assert!(text(&output.stderr).contains("NUL"), "{}", text(&output.stderr));
    assert_eq!(dead(&jobs), (b"a\0b".to_vec(), 1, 126));
}

#[test]
fn without_a_placeholder_the_message_is_standard_input() {
    let jobs = Jobs::new(&["", "two\nlines\0"]);
    jobs.put(&vec![7; 3 << 20]);
    let lines = lines_of(&mut jobs.work(&["-j1", "--until-empty"], &["wc", "-c"]), 0);
    assert_eq!(lines, ["0", "10", "3145728"]);
}

#[test]
fn a_command_that_does_not_read_its_message_neither_hangs_nor_kills_the_worker() {
    let jobs = Jobs::new(&[]);
    (0..3).for_each(|_| jobs.put(&vec![7; 1 << 20]));
    assert_eq!(lines_of(&mut jobs.work(&["-j2", "--until-empty"], &["echo", "x"]), 0), ["x"; 3]);
}

#[test]
fn a_message_too_long_for_an_argument_fails_with_a_word_of_advice() {
    let jobs = Jobs::new(&[]);
    jobs.put(&vec![b'x'; 3 << 20]);
    let output = jobs.work(&["--until-empty", "--max-deliveries", "1"], &["echo", "{}"]).output().unwrap();
    check(&output, 1);
    assert!(text(&output.stderr).contains("standard input"), "{}", text(&output.stderr));
}

#[test]
fn a_job_knows_its_message_delivery_slot_and_queue() {
    let jobs = Jobs::new(&["a"]);
    let id = jobs.queue.get_delivery().map(|delivery| delivery.id()).unwrap();
    let script = "echo $MULTIPROC_ID $MULTIPROC_DELIVERY $MULTIPROC_SLOT $MULTIPROC_QUEUE $PARALLEL_SEQ";
    let lines = lines_of(&mut jobs.work_script(&["--until-empty"], script), 0);
    assert_eq!(lines, [format!("{id} 2 1 {} 1", jobs.name)]);
}

#[test]
fn a_reader_of_the_output_that_leaves_loses_no_message() {
    let jobs = Jobs::new(&["x"; 64]);
    let mut worker = jobs.work(&["-j2", "--until-empty"], &["seq", "5000"]).spawn().unwrap();
    let mut first = [0; 2];
    worker.stdout.take().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(&first, b"1\n");
    assert_eq!(worker.wait().unwrap().code(), Some(141));
    let left = jobs.queue.unfinished();
    assert!(left > 0 && left == jobs.queue.len(), "{left}");
}

#[test]
fn halt_now_ends_running_jobs_and_gives_the_rest_back() {
    let jobs = Jobs::new(&["wait", "fail", "rest"]);
    let script = "[ $1 = wait ] && { sleep 1000; true; }; exit 7";
    check(&jobs.work_script(&["--ungroup", "-j2", "--halt", "now,fail=1"], script).output().unwrap(), 7);
    assert_eq!(jobs.queue.len(), 3);
}

#[test]
fn halt_soon_lets_running_jobs_finish() {
    let (jobs, mut gate) = (Jobs::new(&["wait", "fail", "rest"]), Gate::new());
    let script = format!("[ $1 = wait ] && {{ read x < {}; echo waited; exit 0; }}; exit 7", gate.path().display());
    let mut worker = Running::start(&mut jobs.work_script(&["-j2", "--halt", "soon,fail=1"], &script));
    let said = worker.error_line();
    assert!(said.contains("no new jobs"), "{said}");
    gate.let_go(1);
    assert_eq!(worker.rest(), ("waited\n".into(), Some(7)));
    assert_eq!(jobs.queue.len(), 2);
}

#[test]
fn a_dry_run_prints_commands_and_delivers_nothing() {
    let jobs = Jobs::new(&["a b", "c"]);
    assert_eq!(lines_of(&mut jobs.work(&["--dry-run"], &["echo", "{}", "{#}"]), 0), ["echo 'a b' 1", "echo c 2"]);
    assert_eq!((jobs.queue.len(), jobs.queue.get_delivery().unwrap().count()), (2, 1));
}

#[test]
fn the_job_log_of_workers_grows() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    for message in ["a", "b"] {
        let jobs = Jobs::new(&[message]);
        lines_of(&mut jobs.work(&["--until-empty", "--joblog", log.to_str().unwrap()], &["echo", "{}"]), 0);
    }
    let log = fs::read_to_string(log).unwrap();
    let lines: Vec<Vec<&str>> = log.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(lines[0], ["Seq", "Host", "Starttime", "JobRuntime", "Send", "Receive", "Exitval", "Signal", "Command"]);
    assert_eq!((lines[1][8], lines[2][8], lines.len()), ("echo a", "echo b", 3));
}

#[test]
fn what_can_not_be_is_said_in_a_sentence() {
    let output = multiproc_with(&["work", "no-such-queue", "--", "true"]).output().unwrap();
    check(&output, 2);
    assert!(text(&output.stderr).contains("there is no queue named no-such-queue"), "{}", text(&output.stderr));
    let jobs = Jobs::new(&[]);
    let output = jobs.work(&["--resume"], &["true"]).output().unwrap();
    check(&output, 2);
    assert!(text(&output.stderr).contains("multiproc run"), "{}", text(&output.stderr));
}
