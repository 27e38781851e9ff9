//! `nats://` addresses in place of names, each test with a nats-server of its own.
#![cfg(feature = "nats")]

mod server;
mod shell;

use server::Server;
use shell::{Running, check, lines_of, multiproc, multiproc_with, sorted, text};

#[test]
fn messages_go_through_a_server_to_the_workers_and_join_waits_for_them() {
    let Some(server) = Server::start() else { return };
    let jobs = &server.url("jobs");
    check(&multiproc_with(&["create", jobs, "--maxsize", "2000"]).output().unwrap(), 0);
    let many: Vec<String> = (1..=1500).map(|number| number.to_string()).collect();
    check(&multiproc_with(&["put", jobs]).args(&many).output().unwrap(), 0);
    check(&multiproc_with(&["join", jobs, "--timeout", "0.2"]).output().unwrap(), 124);
    let counted = text(&multiproc_with(&["stat", jobs, "--json"]).output().unwrap().stdout);
    assert!(counted.contains("\"unfinished\":1500") && counted.contains("\"maxsize\":2000"), "{counted}");
    let lines = lines_of(multiproc_with(&["work", jobs, "-j2", "--until-empty"]).args(["--", "echo", "{}"]), 0);
    assert_eq!(sorted(lines), sorted(many));
    check(&multiproc_with(&["join", jobs]).output().unwrap(), 0);
    // Another limit than the queue has.
    let refused = multiproc_with(&["create", jobs, "--maxsize", "7"]).output().unwrap();
    check(&refused, 2);
    assert!(text(&refused.stderr).contains("2000"), "{}", text(&refused.stderr));
}

#[test]
fn the_message_of_a_killed_worker_comes_back_when_its_lease_ends() {
    let Some(server) = Server::start() else { return };
    let jobs = &server.url("jobs");
    check(&multiproc_with(&["put", jobs, "a"]).output().unwrap(), 0);
    let script = "echo $MULTIPROC_DELIVERY; [ $MULTIPROC_DELIVERY = 2 ] || sleep 1000";
    let mut first = Running::start(multiproc_with(&["work", jobs, "--ungroup"]).args(["--", "sh", "-c", script, "sh", "{}"]));
    assert_eq!(first.line(), "1");
    first.child.kill().unwrap();
    // Nothing waits until then, but something is in the hands of the dead.
    let second = lines_of(multiproc_with(&["work", jobs, "--until-empty"]).args(["--", "sh", "-c", script, "sh", "{}"]), 0);
    assert_eq!(second, ["2"]);
}

#[test]
fn a_failed_message_runs_again_and_then_is_dead_and_a_shutdown_ends_workers() {
    let Some(server) = Server::start() else { return };
    let jobs = &server.url("jobs");
    check(&multiproc_with(&["create", jobs, "--joinable", "--max-deliveries", "2"]).output().unwrap(), 0);
    check(&multiproc_with(&["put", jobs, "a"]).output().unwrap(), 0);
    check(&multiproc_with(&["shutdown", jobs]).output().unwrap(), 0);
    let script = "echo $MULTIPROC_DELIVERY; exit 3";
    let lines = lines_of(multiproc_with(&["work", jobs, "--retry-delay", "0"]).args(["--", "sh", "-c", script, "sh", "{}"]), 1);
    assert_eq!(lines, ["1", "2"]);
    let counted = text(&multiproc_with(&["stat", jobs]).output().unwrap().stdout);
    assert!(counted.contains("dead         1"), "{counted}");
    check(&multiproc_with(&["put", jobs, "b"]).output().unwrap(), 2);
}

#[test]
fn get_takes_messages_out_and_leaves_those_that_can_not_be_written() {
    let Some(server) = Server::start() else { return };
    let jobs = &server.url("jobs");
    check(&multiproc_with(&["get", jobs]).output().unwrap(), 1);
    check(&multiproc_with(&["put", jobs, "a", "b", "c", "d"]).output().unwrap(), 0);
    assert_eq!(text(&multiproc_with(&["get", jobs, "--no-newline"]).output().unwrap().stdout), "a");
    assert_eq!(lines_of(&mut multiproc_with(&["get", jobs, "-n2", "--timeout", "10"]), 0), ["b", "c"]);
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    check(&multiproc_with(&["get", jobs]).stdout(full).output().unwrap(), 2);
    check(&multiproc_with(&["shutdown", jobs]).output().unwrap(), 0);
    assert_eq!(lines_of(&mut multiproc_with(&["get", jobs, "--follow"]), 0), ["d"]);
    check(&multiproc_with(&["join", jobs, "--timeout", "10"]).output().unwrap(), 0);
}

#[test]
fn dead_messages_are_listed_put_back_and_dropped() {
    let Some(server) = Server::start() else { return };
    let jobs = &server.url("jobs");
    check(&multiproc_with(&["create", jobs, "--joinable", "--max-deliveries", "1"]).output().unwrap(), 0);
    check(&multiproc_with(&["dead", jobs]).output().unwrap(), 1);
    check(&multiproc_with(&["put", jobs, "a", "b", "c"]).output().unwrap(), 0);
    // One job at a time: the dead stand in the order in which they died.
    let failed = &["work", jobs, "-j1", "--until-empty", "--", "false", "{}"];
    check(&multiproc_with(failed).output().unwrap(), 1);
    let listed = lines_of(&mut multiproc_with(&["dead", jobs, "--json"]), 0);
    assert_eq!(listed[1], r#"{"id":"2","place":"dead","deliveries":1,"text":"b"}"#);
    assert!(lines_of(&mut multiproc_with(&["dead", jobs]), 0)[0].starts_with("ID"));
    check(&multiproc_with(&["dead", jobs, "--drop", "9"]).output().unwrap(), 1);
    check(&multiproc_with(&["dead", jobs, "--drop", "2"]).output().unwrap(), 0);
    check(&multiproc_with(&["dead", jobs, "--requeue"]).output().unwrap(), 0);
    check(&multiproc_with(&["dead", jobs]).output().unwrap(), 1);
    assert_eq!(sorted(lines_of(&mut multiproc_with(&["get", jobs, "--all"]), 0)), ["a", "c"]);
}

#[test]
fn doctor_tells_of_the_server_and_makes_nothing_there() {
    let Some(server) = Server::start() else { return };
    let jobs = &server.url("jobs");
    let found = |code| lines_of(&mut multiproc_with(&["doctor", jobs, "--json"]), code).join("\n");
    assert!(found(0).contains("not there") && found(0).contains("not there"));
    check(&multiproc_with(&["create", jobs]).output().unwrap(), 0);
    let told = found(0);
    assert!(
        ["nats-server 2.", "on one server's disk", "sync_interval", "lease"].iter().all(|word| told.contains(word)),
        "{told}"
    );
    let gone = lines_of(&mut multiproc_with(&["doctor", "nats://127.0.0.1:1/jobs"]), 1).join("\n");
    assert!(gone.starts_with("bad   server") && gone.contains("127.0.0.1:1"), "{gone}");
    check(&multiproc_with(&["doctor", "jobs"]).output().unwrap(), 2);
}

#[test]
fn no_password_is_repeated_and_commands_of_one_machine_say_so() {
    let refused = multiproc().args(["put", "nats://me:hunter2@host/jobs", "a"]).output().unwrap();
    check(&refused, 2);
    assert!(!text(&refused.stderr).contains("hunter2"), "{}", text(&refused.stderr));
    for (command, words) in [("export", "create, put, get, dead"), ("peek", "stat counts them"), ("clear", "nats stream rm")] {
        let refused = multiproc().args([command, "nats://host/jobs"]).output().unwrap();
        check(&refused, 2);
        assert!(text(&refused.stderr).contains(words), "{}", text(&refused.stderr));
    }
}
