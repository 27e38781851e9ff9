//! What goes in comes out: messages of all kinds, put, got, exported, given up.

use super::{Shell, lengths, put_long, read};
use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

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
    // What is dropped is gone: all of it is only at a word.
    assert!(shell.error(&["dead", "--drop"]).contains("--all"));
    assert!(shell.error(&["dead", "--drop", "1", "--all"]).contains("not both"));
    assert_eq!(dead().len(), 2);
    shell.ok(&["dead", "--drop", "1"]);
    assert_eq!(dead(), [listed[2].clone()]);
    shell.ok(&["dead", "--requeue"]);
    assert_eq!(lengths(&shell), [100_002]);
    assert!(shell.error(&["dead", "--drop", "x"]).contains("is no id"));
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
fn all_dead_messages_are_dropped_at_a_word() {
    let shell = Shell::with(&["--joinable", "--max-deliveries", "1"]);
    shell.ok(&["put", "one", "two"]);
    assert_eq!(shell.run(&["work", "--until-empty", "--", "sh", "-c", "exit 3"]).0, 1);
    assert_eq!(shell.ok(&["dead"]).matches("failed: exit 3").count(), 2);
    shell.ok(&["dead", "--drop", "--all"]);
    assert_eq!(shell.run(&["dead"]).0, 1);
}

#[test]
fn an_export_of_a_damaged_queue_says_so() {
    for (options, place) in [(&[][..], 0), (&["--joinable"], 32)] {
        let shell = Shell::with(options);
        for number in 1..=5 {
            shell.ok(&["put", &format!("MARK{number:0100}")]);
        }
        assert_eq!(shell.ok(&["export"]).lines().count(), 6);
        let own = std::fs::read_dir(&shell.directory).unwrap().next().unwrap().unwrap().path();
        let file = std::fs::OpenOptions::new().read(true).write(true).open(own.join(&shell.name)).unwrap();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut &file, &mut bytes).unwrap();
        let mark = format!("MARK{:0100}", 3);
        let at = bytes.windows(mark.len()).position(|part| part == mark.as_bytes()).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &[0xff; 8], (at - place - 8) as u64).unwrap();
        let (code, printed, errors) = shell.run(&["export"]);
        assert_eq!((code, printed.lines().count()), (2, 5), "{errors}");
        assert!(errors.contains("can't read all messages of queue"), "{errors}");
    }
}
