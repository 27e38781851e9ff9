//! Whatever ends a command, nothing is lost: signals, readers that leave, full disks, time-outs.

use super::{Shell, lengths, put_long, read, signal, told};
use serde_json::Value;
use std::io::Write;
use std::process::{Command, Stdio};

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
fn whatever_limit_ends_a_put_it_says_how_many_were_put_and_which_limit_it_is() {
    // One message that would need more than the limit, after one that fits.
    let limited = |limit: &str| {
        let shell = Shell::with(&[]);
        let put = shell.command(&["put", "one", "-", "--null"]);
        let mut sh = Command::new("sh");
        sh.args(["-c", &format!("ulimit {limit}; exec \"$0\" \"$@\"")]).arg(put.get_program()).args(put.get_args());
        let mut child = shell
            .spawn(sh.env("MULTIPROC_DIR", &shell.directory).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()));
        let _ = child.stdin.take().unwrap().write_all(&vec![b'x'; 50_000_000]);
        let (code, _, errors) = told(child.wait_with_output().unwrap());
        assert_eq!(code, 2, "{errors}");
        assert!(errors.contains("1 message was put into queue"), "{errors}");
        assert_eq!(shell.ok(&["get", "--all"]), "one\n");
        errors
    };
    let errors = limited("-f 20000");
    assert!(errors.contains("ulimit -f") && !errors.contains("/dev/shm"), "{errors}");
    let shell = Shell::with(&["--memory", "32M", "--max-message", "2M"]);
    let input = [vec![b'x'; 1_900_000], vec![0]].concat().repeat(40);
    let mut put = shell.spawn(shell.command(&["put", "--null", "--timeout", "0.5"]).stdin(Stdio::piped()));
    let _ = put.stdin.take().unwrap().write_all(&input);
    let (code, _, errors) = told(put.wait_with_output().unwrap());
    assert_eq!(code, 124, "{errors}");
    assert!(errors.contains("put into queue") && errors.contains("32M is the limit of its own --memory"), "{errors}");
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
fn closed_standard_streams_are_no_crash() {
    let shell = Shell::with(&["--joinable"]);
    for command in ["put", "put x", "get", "stat", "dead", "get --timeout x", "join --timeout 0"] {
        let (first, rest) = command.split_once(' ').unwrap_or((command, ""));
        let script = format!("exec {} {first} {} {rest} <&- >&- 2>&-", env!("CARGO_BIN_EXE_multiproc"), shell.name);
        let status = Command::new("sh").args(["-c", &script]).env("MULTIPROC_DIR", &shell.directory).status().unwrap();
        assert!(status.code().is_some_and(|code| [0, 1, 2, 124].contains(&code)), "{command}: {status}");
    }
}
