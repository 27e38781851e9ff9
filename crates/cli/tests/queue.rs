//! The commands on queues, each tried with the real binary: what they print, how they end, and that nothing is lost.

use multiproc::JoinableQueue;
use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const WATCHDOG: Duration = Duration::from_secs(20);

/// A directory of queues of its own, and one name in it.
struct Shell {
    directory: PathBuf,
    name: String,
    /// Removes the directory.
    _temporary: Option<tempfile::TempDir>,
}

impl Shell {
    fn new() -> Self {
        let temporary = tempfile::tempdir_in("/dev/shm").unwrap();
        let shell = Self::at(temporary.path().to_owned());
        Self { _temporary: Some(temporary), ..shell }
    }

    fn at(directory: PathBuf) -> Self {
        Self { directory, name: format!("queue-{}", std::process::id()), _temporary: None }
    }

    /// With a queue that was made with these options.
    fn with(options: &[&str]) -> Self {
        let shell = Self::new();
        assert_eq!(shell.run(&[&["create"], options].concat()), (0, String::new(), String::new()));
        shell
    }

    /// A command on the queue: its name comes second.
    fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_multiproc"));
        command.env("MULTIPROC_DIR", &self.directory).arg(&arguments[0]).arg(&self.name).args(&arguments[1..]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// The exit code, standard output and standard error of a command.
    fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> (i32, String, String) {
        told(self.command(arguments).output().unwrap())
    }

    /// What a command prints that does what it was asked.
    fn ok<S: AsRef<OsStr>>(&self, arguments: &[S]) -> String {
        let (code, printed, errors) = self.run(arguments);
        assert_eq!((code, errors.as_str()), (0, ""), "{printed}");
        printed
    }

    /// What a command says that fails with an error.
    fn error<S: AsRef<OsStr>>(&self, arguments: &[S]) -> String {
        let (code, printed, errors) = self.run(arguments);
        assert_eq!((code, printed.as_str(), errors.lines().count()), (2, "", 1), "{errors}");
        errors
    }

    fn feed<S: AsRef<OsStr>>(&self, arguments: &[S], input: &[u8]) -> (i32, String, String) {
        let mut child = self.spawn(self.command(arguments).stdin(Stdio::piped()));
        child.stdin.take().unwrap().write_all(input).unwrap();
        told(child.wait_with_output().unwrap())
    }

    fn spawn(&self, command: &mut Command) -> Child {
        command.spawn().unwrap()
    }

    fn stat(&self) -> Value {
        serde_json::from_str(&self.ok(&["stat", "--json"])).unwrap()
    }

    /// Waits until `ls` says so of the queue.
    fn until(&self, holds: impl Fn(&Value) -> bool) {
        let end = Instant::now() + WATCHDOG;
        loop {
            let mut ls = Command::new(env!("CARGO_BIN_EXE_multiproc"));
            let listed = ls.args(["ls", "--json"]).env("MULTIPROC_DIR", &self.directory).output().unwrap();
            let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
            if holds(&listed) {
                return;
            }
            assert!(Instant::now() < end, "{listed}");
        }
    }
}

fn told(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

fn signal(child: &Child, signal: &str) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

/// The next bytes that a child prints.
fn read(child: &mut Child, len: usize) -> String {
    let mut bytes = vec![0; len];
    child.stdout.as_mut().unwrap().read_exact(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Takes everything that waits, and returns its lengths.
fn lengths(shell: &Shell) -> Vec<usize> {
    shell.ok(&["get", "--all"]).lines().map(str::len).collect()
}

#[test]
fn messages_come_out_in_the_order_in_which_they_were_put() {
    for options in [&[][..], &["--joinable"], &["--text"]] {
        let shell = Shell::with(options);
        assert_eq!(shell.feed(&["put", "one", "-", "--", "--four"], b"two\n\nlast"), (0, String::new(), String::new()));
        assert_eq!(shell.feed(&["put"], b"five\nsix"), (0, String::new(), String::new()));
        assert_eq!(shell.ok(&["peek", "-n", "2"]), "one\ntwo\n");
        assert_eq!(shell.ok(&["get"]), "one\n");
        assert_eq!(shell.ok(&["get", "-n", "4"]), "two\n\nlast\n--four\n");
        assert_eq!(shell.ok(&["get", "--all"]), "five\nsix\n");
        assert_eq!(shell.run(&["get"]), (1, String::new(), String::new()));
        assert_eq!(shell.run(&["get", "--timeout", "0.05"]), (1, String::new(), String::new()));
    }
}

#[test]
fn messages_are_any_bytes() {
    let shell = Shell::with(&["--joinable"]);
    let odd = OsString::from_vec(b"\xff\n\xfe".to_vec());
    assert_eq!(shell.run(&[OsStr::new("put"), &odd, OsStr::new("")]).0, 0);
    assert_eq!(shell.feed(&["put", "--null"], b"a\nb\0\0\xc3").0, 0);
    let output = shell.command(&["get", "--all", "--null"]).output().unwrap();
    assert_eq!(output.stdout, b"\xff\n\xfe\0\0a\nb\0\0\xc3\0");
    shell.ok(&["put", "a", "b"]);
    assert_eq!(shell.ok(&["get", "--all", "--no-newline"]), "ab");
}

#[test]
fn a_queue_of_text_refuses_what_is_no_text() {
    let shell = Shell::with(&["--text"]);
    let error = shell.error(&[OsStr::new("put"), OsStr::from_bytes(b"\xff")]);
    assert!(error.contains("takes text alone"), "{error}");
    assert_eq!(shell.stat()["waiting"], 0);
}

#[test]
fn a_file_is_one_message_of_up_to_100_megabytes_and_more() {
    let shell = Shell::with(&[]);
    let file = shell.directory.join("file");
    let content: Vec<u8> = (0..100_000_000u32).map(|n| (n >> 5) as u8).collect();
    std::fs::write(&file, &content).unwrap();
    shell.ok(&[OsStr::new("put"), OsStr::new("--file"), file.as_os_str(), OsStr::new("--file"), OsStr::new("/dev/null")]);
    let output = shell.command(&["get", "--no-newline"]).output().unwrap();
    assert!(output.stdout == content, "{} bytes", output.stdout.len());
    assert_eq!(shell.ok(&["get"]), "\n");
    let error = shell.error(&["put", "--file", "/nonexistent/file"]);
    assert!(error.contains("can't read /nonexistent/file"), "{error}");
}

#[test]
fn a_message_that_is_too_long_is_refused_with_the_count_of_those_before_it() {
    let shell = Shell::with(&["--memory", "1M"]);
    let (code, _, error) = shell.feed(&["put", "short", "-"], &vec![b'x'; 1 << 20]);
    assert_eq!(code, 2);
    assert!(error.contains("1 message was put") && error.contains("--max-message"), "{error}");
    assert_eq!(shell.ok(&["get", "--all"]), "short\n");
}

#[test]
fn follow_prints_each_message_at_once_until_the_queue_is_shut_down() {
    for options in [&[][..], &["--joinable"]] {
        let shell = Shell::with(options);
        let mut follower = shell.spawn(&mut shell.command(&["get", "--follow"]));
        for message in ["one", "two"] {
            shell.ok(&["put", message]);
            assert_eq!(read(&mut follower, 4), format!("{message}\n"));
        }
        shell.ok(&["put", "end"]);
        shell.ok(&["shutdown"]);
        assert_eq!(told(follower.wait_with_output().unwrap()), (0, "end\n".into(), String::new()));
        assert_eq!(shell.run(&["get", "--follow"]).0, 1);
        assert!(shell.error(&["put", "late"]).contains("was shut down"));
    }
}

#[test]
fn follow_ends_with_141_when_its_reader_leaves_and_takes_nothing_more() {
    let shell = Shell::with(&[]);
    let mut follower = shell.spawn(&mut shell.command(&["get", "--follow"]));
    shell.ok(&["put", "one"]);
    assert_eq!(read(&mut follower, 4), "one\n");
    drop(follower.stdout.take());
    assert_eq!(told(follower.wait_with_output().unwrap()), (141, String::new(), String::new()));
    shell.ok(&["put", "two"]);
    assert_eq!(shell.ok(&["get"]), "two\n");
}

/// Messages longer than a pipe holds, each of another length.
fn put_long(shell: &Shell, count: usize) -> Vec<usize> {
    let lens: Vec<usize> = (0..count).map(|n| 100_000 + n).collect();
    let input: Vec<String> = lens.iter().map(|&len| "x".repeat(len) + "\n").collect();
    assert_eq!(shell.feed(&["put"], input.concat().as_bytes()).0, 0);
    lens
}

#[test]
fn a_reader_that_leaves_loses_nothing_that_was_not_written() {
    for options in [&[][..], &["--joinable"]] {
        let shell = Shell::with(options);
        let lens = put_long(&shell, 5);
        let mut get = shell.spawn(&mut shell.command(&["get", "--all"]));
        assert_eq!(read(&mut get, 10), "xxxxxxxxxx");
        drop(get.stdout.take());
        assert_eq!(told(get.wait_with_output().unwrap()), (141, String::new(), String::new()));
        let mut left = lengths(&shell);
        left.sort_unstable();
        assert_eq!(left, lens);
    }
}

#[test]
fn a_get_that_is_killed_or_ended_before_it_wrote_leaves_the_message_to_the_next() {
    let shell = Shell::with(&["--joinable"]);
    let lens = put_long(&shell, 2);
    for (name, code, count) in [("-KILL", -1, 2), ("-TERM", 143, 3), ("-INT", 130, 4), ("-HUP", 129, 5)] {
        let mut get = shell.spawn(&mut shell.command(&["get", "--all"]));
        // It has begun to write, and the pipe is too small for the message: it can't be done.
        read(&mut get, 10);
        assert_eq!(shell.stat()["in_hand"][0]["pid"], get.id());
        signal(&get, name);
        assert_eq!(get.wait().unwrap().code().unwrap_or(-1), code);
        shell.until(|queue| queue["waiting"] == 2);
        let first: Value = serde_json::from_str(&shell.ok(&["peek", "--json"])).unwrap();
        assert_eq!((&first["id"], &first["deliveries"]), (&"1".into(), &(count - 1).into()), "{name}");
    }
    assert_eq!(lengths(&shell), lens);
}

#[test]
fn nothing_is_lost_on_a_full_disk() {
    let shell = Shell::with(&["--joinable"]);
    shell.ok(&["put", "one", "two"]);
    for arguments in [&["get", "--all"][..], &["export", "--take"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = shell.command(arguments).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8(output.stderr).unwrap().contains("No space left"));
    }
    assert_eq!(shell.ok(&["get", "--all"]), "one\ntwo\n");
}

#[test]
fn a_put_that_waits_says_how_many_were_put_when_a_signal_ends_it() {
    for (name, code) in [("-INT", 130), ("-TERM", 143)] {
        let shell = Shell::with(&["--maxsize", "3"]);
        let mut put = shell.spawn(shell.command(&["put"]).stdin(Stdio::piped()));
        put.stdin.as_mut().unwrap().write_all(b"1\n2\n3\n4\n5\n").unwrap();
        shell.until(|queue| queue["waiting"] == 3);
        signal(&put, name);
        let (ended, _, errors) = told(put.wait_with_output().unwrap());
        assert_eq!(ended, code);
        assert!(errors.contains("3 messages were put"), "{errors}");
        assert_eq!(shell.ok(&["get", "--all"]), "1\n2\n3\n");
    }
}

#[test]
fn a_put_that_waits_goes_on_when_there_is_room_and_ends_at_its_time_out() {
    let shell = Shell::with(&["--maxsize", "1"]);
    let put = shell.spawn(&mut shell.command(&["put", "1", "2", "3"]));
    assert_eq!(shell.ok(&["get", "--timeout", "20", "-n", "3"]), "1\n2\n3\n");
    assert_eq!(told(put.wait_with_output().unwrap()).0, 0);
    let (code, _, errors) = shell.run(&["put", "4", "5", "--timeout", "0.1"]);
    assert_eq!(code, 124);
    assert!(errors.contains("1 message was put"), "{errors}");
}

#[test]
fn a_put_that_waits_for_lines_says_how_many_were_put_when_a_signal_ends_it() {
    let shell = Shell::with(&[]);
    let mut put = shell.spawn(shell.command(&["put"]).stdin(Stdio::piped()));
    let input = put.stdin.take();
    input.as_ref().unwrap().write_all(b"1\n2\nhalf").unwrap();
    shell.until(|queue| queue["waiting"] == 2);
    signal(&put, "-INT");
    let (code, _, errors) = told(put.wait_with_output().unwrap());
    assert_eq!(code, 130);
    assert!(errors.contains("2 messages were put"), "{errors}");
    assert_eq!(shell.ok(&["get", "--all"]), "1\n2\n");
}

#[test]
fn a_signal_that_nohup_ignores_ends_nothing() {
    let shell = Shell::with(&[]);
    let get = shell.command(&["get", "--follow"]);
    let mut nohup = Command::new("sh");
    nohup.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]).arg(get.get_program()).args(get.get_args());
    let mut follower = shell.spawn(nohup.env("MULTIPROC_DIR", &shell.directory).stdout(Stdio::piped()));
    shell.ok(&["put", "one"]);
    assert_eq!(read(&mut follower, 4), "one\n");
    signal(&follower, "-HUP");
    shell.ok(&["put", "two"]);
    assert_eq!(read(&mut follower, 4), "two\n");
    shell.ok(&["shutdown"]);
    assert_eq!(follower.wait().unwrap().code(), Some(0));
}

#[test]
fn create_says_what_is_there_and_takes_it_only_if_it_is_alike() {
    let shell = Shell::with(&["--maxsize", "5"]);
    assert!(shell.error(&["create"]).contains("--if-missing"));
    shell.ok(&["create", "--if-missing", "--maxsize", "5"]);
    assert!(shell.error(&["create", "--if-missing"]).contains("it has --maxsize 5"));
    assert!(shell.error(&["create", "--if-missing", "--joinable", "--maxsize", "5"]).contains("it is a Queue"));
    for wrong in [&["create", "--maxsize", "0"][..], &["create", "--memory", "lots"], &["create", "--max-deliveries", "3"]] {
        assert_eq!(shell.run(wrong).0, 2);
    }
}

#[test]
fn names_that_are_not_there_or_can_be_none_are_told_in_one_sentence() {
    let mut shell = Shell::new();
    for command in ["get", "peek", "stat", "dead", "clear", "join", "shutdown", "export", "import", "rm", "put"] {
        let error = shell.error(&[command]);
        assert!(error.contains(&format!("there is no queue named {}", shell.name)), "{command}: {error}");
    }
    for name in ["a\nb", "", "../x", "é", &"x".repeat(300)] {
        shell.name = name.into();
        for command in ["create", "get", "stat", "rm", "rm -f"] {
            let error = shell.error(&command.split(' ').collect::<Vec<_>>());
            assert!(error.contains("can't name a queue"), "{command}: {error}");
        }
    }
}

#[test]
fn rm_removes_all_queues_that_are_there_and_tells_of_the_others() {
    let shell = Shell::with(&[]);
    let (code, _, errors) = shell.run(&["rm", "missing"]);
    assert_eq!((code, errors.lines().count()), (2, 1), "{errors}");
    assert!(shell.error(&["get"]).contains("there is no queue"));
    shell.ok(&["rm", "missing", "-f"]);
}

#[test]
fn a_queue_of_a_programs_own_type_can_be_looked_at_and_not_read() {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Job {
        width: u32,
    }
    // The queue is made here, in a process that has the variable.
    let Some(directory) = std::env::var_os("MULTIPROC_DIR") else {
        let test = "a_queue_of_a_programs_own_type_can_be_looked_at_and_not_read";
        let mut again = Command::new(std::env::current_exe().unwrap());
        assert!(again.args(["--exact", test]).env("MULTIPROC_DIR", Shell::new().directory).status().unwrap().success());
        return;
    };
    let shell = Shell::at(directory.into());
    let jobs: JoinableQueue<Job> = JoinableQueue::builder().named(&*shell.name).build().unwrap();
    jobs.put(Job { width: 3 }).unwrap();
    for command in ["get", "put", "peek", "clear", "join", "export"] {
        let error = shell.error(&[command]);
        assert!(error.contains("messages of type Job"), "{command}: {error}");
    }
    let stat = shell.stat();
    assert_eq!((&stat["message_type"], &stat["waiting"]), (&"Job".into(), &1.into()));
    assert_eq!(stat["participants"][0]["pid"], std::process::id());
    shell.ok(&["shutdown"]);
    assert!(jobs.is_shut_down());
    shell.ok(&["rm"]);
}

#[test]
fn stat_tells_who_has_what_in_hand() {
    let shell = Shell::with(&["--joinable", "--maxsize", "10", "--memory", "64M"]);
    put_long(&shell, 3);
    let mut get = shell.spawn(&mut shell.command(&["get"]));
    read(&mut get, 10);
    let stat = shell.stat();
    assert_eq!((&stat["waiting"], &stat["maxsize"], &stat["memory_limit"]), (&2.into(), &10.into(), &(64 << 20).into()));
    assert_eq!((&stat["puts"], &stat["gets"], &stat["kind"]), (&3.into(), &1.into(), &"JoinableQueue".into()));
    let held = &stat["in_hand"][0];
    assert_eq!((&held["pid"], &held["id"], &held["deliveries"]), (&get.id().into(), &"1".into(), &1.into()));
    assert!(shell.ok(&["stat"]).contains(&format!("{}", get.id())));
    get.kill().unwrap();
    get.wait().unwrap();
}

#[test]
fn ls_lists_what_it_cannot_open_with_the_reason() {
    let shell = Shell::with(&["--joinable"]);
    shell.ok(&["put", "one", "two"]);
    let names = std::fs::read_dir(&shell.directory).unwrap().next().unwrap().unwrap().path();
    std::fs::write(names.join("stale"), "no queue").unwrap();
    let ls = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_multiproc"));
        told(command.arg("ls").args(arguments).env("MULTIPROC_DIR", &shell.directory).output().unwrap())
    };
    let (code, printed, errors) = ls(&[]);
    assert_eq!((code, errors.as_str()), (0, ""));
    assert!(printed.contains(&shell.name) && printed.contains("stale: can't use queue stale"), "{printed}");
    let lines: Vec<Value> = ls(&["--json"]).1.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["name"], &lines[0]["waiting"]), (&shell.name.as_str().into(), &2.into()));
    assert!(lines[1]["error"].is_string());
}

#[test]
fn dead_messages_are_listed_with_their_end_put_back_and_dropped() {
    let shell = Shell::with(&["--joinable", "--max-deliveries", "1"]);
    assert_eq!(shell.run(&["dead"]), (1, String::new(), String::new()));
    put_long(&shell, 3);
    for _ in 0..3 {
        let mut get = shell.spawn(&mut shell.command(&["get"]));
        read(&mut get, 10);
        get.kill().unwrap();
        get.wait().unwrap();
        shell.until(|queue| queue["in_hand"] == 0);
    }
    let dead =
        || -> Vec<Value> { shell.run(&["dead", "--json"]).1.lines().map(|line| serde_json::from_str(line).unwrap()).collect() };
    let listed = dead();
    assert_eq!(listed.len(), 3);
    assert_eq!((&listed[1]["id"], &listed[1]["deliveries"], &listed[1]["reason"]), (&"2".into(), &1.into(), &"died".into()));
    assert!(shell.ok(&["dead"]).contains("died with it"));
    assert_eq!(shell.run(&["dead", "--requeue", "7"]).0, 1);
    shell.ok(&["dead", "--requeue", "2"]);
    assert_eq!(lengths(&shell), [100_001]);
    // Those that stayed are as they were.
    assert_eq!(dead(), [&listed[0], &listed[2]].map(Value::clone));
    shell.ok(&["dead", "--drop", "1"]);
    assert_eq!(dead(), [listed[2].clone()]);
    shell.ok(&["dead", "--requeue"]);
    assert_eq!(lengths(&shell), [100_002]);
    assert!(shell.error(&["dead", "--drop", "x"]).contains("is no id"));
}

#[test]
fn join_waits_for_what_is_not_done_and_ends_with_124_at_its_time_out() {
    let shell = Shell::with(&["--joinable"]);
    shell.ok(&["join"]);
    shell.ok(&["put", "one"]);
    let (code, _, errors) = shell.run(&["join", "--timeout", "0.05"]);
    assert_eq!(code, 124);
    assert!(errors.contains("1 left"), "{errors}");
    let mut join = shell.spawn(&mut shell.command(&["join"]));
    assert!(join.try_wait().unwrap().is_none());
    shell.ok(&["get"]);
    assert_eq!(join.wait().unwrap().code(), Some(0));
    let plain = Shell::with(&[]);
    assert!(plain.error(&["join"]).contains("--joinable"));
}

#[test]
fn clear_takes_out_what_waits() {
    let shell = Shell::with(&["--joinable"]);
    shell.ok(&["put", "one", "two"]);
    shell.ok(&["clear"]);
    assert_eq!((shell.run(&["get"]).0, shell.run(&["join"]).0), (1, 0));
}

#[test]
fn an_export_makes_the_queue_again_with_all_its_messages() {
    let shell = Shell::with(&["--joinable", "--max-deliveries", "3", "--maxsize", "9", "--memory", "64M"]);
    let odd = OsString::from_vec(b"\xff\xfe".to_vec());
    shell.run(&[OsStr::new("put"), OsStr::new("a \"quoted\"\nline"), OsStr::new(""), &odd]);
    let export = shell.ok(&["export"]);
    assert_eq!(shell.ok(&["export", "--take"]).lines().count(), 4);
    assert_eq!(shell.run(&["get"]).0, 1);
    shell.ok(&["rm"]);
    assert_eq!(shell.feed(&["import"], export.as_bytes()), (0, String::new(), String::new()));
    let stat = shell.stat();
    assert_eq!((&stat["maxsize"], &stat["max_deliveries"], &stat["waiting"]), (&9.into(), &3.into(), &3.into()));
    assert_eq!(shell.feed(&["put", "--json"], export.as_bytes()).0, 0);
    let output = shell.command(&["get", "--all", "--null"]).output().unwrap();
    assert_eq!(output.stdout, b"a \"quoted\"\nline\0\0\xff\xfe\0".repeat(2));
    let (code, _, errors) = shell.feed(&["import"], b"{\"text\":\"a\"}\nnonsense\n");
    assert_eq!(code, 2);
    assert!(errors.contains("1 message was put") && errors.contains("line 2"), "{errors}");
}

#[test]
fn completions_and_manual_pages_are_printed() {
    let run = |arguments: &[&str]| told(Command::new(env!("CARGO_BIN_EXE_multiproc")).args(arguments).output().unwrap());
    for shell in ["bash", "zsh", "fish"] {
        assert!(run(&["completions", shell]).1.contains("multiproc"));
    }
    for page in [&["man"][..], &["man", "put"]] {
        assert!(run(page).1.starts_with(".ie"));
    }
    assert_eq!(run(&["man", "nothing"]).0, 2);
    assert!(run(&["help"]).1.contains("124"));
}

#[test]
fn closed_standard_streams_are_no_crash() {
    let shell = Shell::with(&["--joinable"]);
    for command in ["put", "put x", "get", "stat", "dead", "get --timeout x", "join --timeout 0"] {
        let (first, rest) = command.split_once(' ').unwrap_or((command, ""));
        let script = format!("exec {} {first} {} {rest} <&- >&- 2>&-", env!("CARGO_BIN_EXE_multiproc"), shell.name);
        let status = Command::new("sh").args(["-c", &script]).env("MULTIPROC_DIR", &shell.directory).status().unwrap();
        assert!(status.code().is_some_and(|code| [0, 1, 2, 124].contains(&code)), "{command}: {status}");
    }
}
