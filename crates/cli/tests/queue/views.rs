//! Queues made, listed, looked at and removed; what is wrong is told in one sentence.

use super::{Shell, put_long, read, told};
use multiproc::JoinableQueue;
use serde_json::Value;
use std::process::Command;

#[test]
fn create_says_what_is_there_and_takes_it_only_if_it_is_alike() {
    let shell = Shell::with(&["--maxsize", "5"]);
    assert!(shell.error(&["create"]).contains("--if-missing"));
    shell.ok(&["create", "--if-missing", "--maxsize", "5"]);
    // What was not asked for may be anything.
    shell.ok(&["create", "--if-missing"]);
    assert!(
        shell.error(&["create", "--if-missing", "--joinable", "--maxsize", "5"]).contains("a Queue, made without --joinable")
    );
    for wrong in [&["create", "--maxsize", "0"][..], &["create", "--memory", "lots"], &["create", "--max-deliveries", "3"]] {
        assert_eq!(shell.run(wrong).0, 2);
    }
}

#[test]
fn create_names_both_values_where_a_queue_differs_from_what_is_asked() {
    let shell = Shell::with(&["--joinable", "--maxsize", "5", "--max-deliveries", "3", "--memory", "64M", "--max-message", "1M"]);
    shell.ok(&["create", "--if-missing", "--joinable", "--max-deliveries", "3", "--memory", "64M", "--max-message", "1M"]);
    for (option, asked, has) in [
        ("--maxsize", "6", "--maxsize 5"),
        ("--memory", "65M", "--memory 67108864"),
        ("--max-message", "2M", "--max-message 1048576"),
    ] {
        let error = shell.error(&["create", "--if-missing", option, asked]);
        assert!(error.contains(has) && error.contains(&format!("not {option} ")), "{error}");
    }
    let error = shell.error(&["create", "--if-missing", "--joinable", "--max-deliveries", "4"]);
    assert!(error.contains("with --max-deliveries 3, and not --max-deliveries 4"), "{error}");
    assert!(shell.error(&["create", "--if-missing", "--text"]).contains("messages of type Vec<u8>, made without --text"));
    let plain = Shell::with(&["--text"]);
    assert!(plain.error(&["create", "--if-missing", "--maxsize", "9"]).contains("with no --maxsize, and not --maxsize 9"));
}

#[test]
fn every_flaw_of_the_directory_is_told_as_itself_by_every_command() {
    let shell = Shell::new();
    let own = shell.directory.join(format!("multiproc-{}", rustix::process::geteuid().as_raw()));
    let told = |directory: &std::path::Path, words: &str| {
        let all = [
            "create", "put", "get", "peek", "stat", "dead", "clear", "join", "shutdown", "export", "import", "rm", "rm -f", "top",
        ];
        for command in all.into_iter().chain(["ls", "work"]) {
            let mut arguments: Vec<&str> = command.split(' ').collect();
            let shell = Shell { name: shell.name.clone(), directory: directory.to_owned(), _temporary: None };
            match command {
                "top" => arguments.extend(["--once", "--interval", "0.1"]),
                "work" => arguments.push("true"),
                _ => {}
            }
            let mut run = shell.command(&arguments);
            if command == "ls" {
                run = Command::new(env!("CARGO_BIN_EXE_multiproc"));
                run.arg("ls").env("MULTIPROC_DIR", directory);
            }
            let (code, printed, error) = super::told(run.output().unwrap());
            assert!((code, printed.as_str()) == (2, "") && error.contains(words), "{command}: {code} {printed} {error}");
        }
    };
    told(&shell.directory.join("nowhere"), "nowhere is not there");
    std::fs::write(&own, "").unwrap();
    told(&own, "is no directory");
    told(&shell.directory, "is a file, not a directory");
    std::fs::remove_file(&own).unwrap();
    std::os::unix::fs::symlink("/tmp", &own).unwrap();
    told(&shell.directory, "is a symbolic link");
    std::fs::remove_file(&own).unwrap();
    std::fs::create_dir(&own).unwrap();
    std::fs::set_permissions(&own, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    told(&shell.directory, "has mode 755, which lets others in: chmod 700");
}

#[test]
fn nothing_that_is_told_of_an_argument_speaks_to_the_terminal() {
    let shell = Shell::with(&["--joinable", "--max-deliveries", "1"]);
    let hostile = "a\u{9b}2J\u{202e}\x1b]0;x\x07\nb";
    shell.ok(&["put", hostile]);
    let plain = |arguments: &[&str], code: i32| {
        let (ended, printed, errors) = shell.run(arguments);
        assert_eq!(ended, code, "{errors}");
        let text = printed + &errors;
        assert!(!text.is_empty() && !text.contains(['\u{9b}', '\u{202e}', '\x1b', '\x07']), "{arguments:?}: {text:?}");
    };
    for command in [&["peek", "--json"][..], &["export"], &["work", "--dry-run", "--", "echo", "{}"]] {
        plain(command, 0);
    }
    plain(&["put", "--file", hostile], 2);
    plain(&["dead", "--drop", hostile], 2);
    plain(&["work", "--joblog", &format!("/nowhere/{hostile}"), "--", "true"], 2);
    plain(&["get", &format!("--{hostile}")], 2);
    plain(&["work", "--until-empty", "--tag", "--", "sh", "-c", "echo out; exit 1", "sh", "{}"], 1);
    plain(&["dead"], 0);
    plain(&["dead", "--json"], 0);
    shell.ok(&["dead", "--requeue"]);
    assert_eq!(shell.ok(&["peek"]), format!("{hostile}\n"));
    let named = Shell { name: hostile.into(), ..shell };
    for command in ["create", "get", "rm", "top"] {
        assert!(!named.error(&[command]).contains(['\u{9b}', '\u{202e}', '\x1b', '\x07']), "{command}");
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
        let test = "views::a_queue_of_a_programs_own_type_can_be_looked_at_and_not_read";
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
    assert!(printed.contains(&shell.name) && printed.contains("stale: queue stale is refused"), "{printed}");
    let lines: Vec<Value> = ls(&["--json"]).1.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["name"], &lines[0]["waiting"]), (&shell.name.as_str().into(), &2.into()));
    assert!(lines[1]["error"].is_string());
}

#[test]
fn completions_and_manual_pages_are_printed() {
    let run = |arguments: &[&str]| told(Command::new(env!("CARGO_BIN_EXE_multiproc")).args(arguments).output().unwrap());
    for shell in ["bash", "zsh", "fish"] {
        assert!(run(&["completions", shell]).1.contains("multiproc"));
    }
    for page in [&["man"][..], &["man", "put"]] {
        assert!(run(page).1.contains(".SH EXAMPLES"));
    }
    assert_eq!(run(&["man", "nothing"]).0, 2);
    assert!(run(&["help"]).1.contains("124"));
}
