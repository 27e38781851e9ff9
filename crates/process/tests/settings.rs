//! Streams, environment and directory of a new process: each promise once.

use multiproc_pipe::{Sender, pipe_oneway};
use multiproc_process::{Exit, Process, ProcessBuilder, SpawnErrorKind, active_children};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

const WATCHDOG: Duration = Duration::from_secs(60);

/// A pipe of the system's.
fn stream() -> (File, File) {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    (reader.into(), writer.into())
}

fn text(mut from: impl Read) -> String {
    let mut text = String::new();
    from.read_to_string(&mut text).unwrap();
    text
}

#[track_caller]
fn ends_well(process: Process) {
    assert_eq!(process.join_timeout(WATCHDOG).unwrap(), Some(Exit::Code(0)));
}

fn echo_loudly() {
    let said = text(std::io::stdin());
    // Past the test harness, which may catch what is printed.
    rustix::io::write(rustix::stdio::stdout(), format!("out {said}").as_bytes()).unwrap();
    rustix::io::write(rustix::stdio::stderr(), format!("err {said}").as_bytes()).unwrap();
}

#[test]
fn a_process_has_the_streams_that_it_was_given() {
    let (stdin, mut to_stdin) = stream();
    let (from_stdout, stdout) = stream();
    let (from_stderr, stderr) = stream();
    let process = Process::builder().stdin(stdin).stdout(stdout).stderr(stderr).spawn(echo_loudly, ()).unwrap();
    to_stdin.write_all(b"hello").unwrap();
    drop(to_stdin);
    // They end: nobody but the process had the other ends.
    assert_eq!((text(from_stdout), text(from_stderr)), ("out hello".into(), "err hello".into()));
    ends_well(process);
}

#[test]
fn a_daemon_has_the_standard_input_that_it_was_given() {
    let (stdin, mut to_stdin) = stream();
    let (from_stdout, stdout) = stream();
    let (_, stderr) = stream();
    let process = Process::builder().daemon(true).stdin(stdin).stdout(stdout).stderr(stderr).spawn(echo_loudly, ()).unwrap();
    to_stdin.write_all(b"daemon").unwrap();
    drop(to_stdin);
    assert_eq!(text(from_stdout), "out daemon");
    process.join().unwrap();
}

fn become_cat() {
    panic!("{}", Command::new("cat").exec());
}

#[test]
fn a_program_that_the_process_runs_inherits_its_standard_input() {
    let (stdin, mut to_stdin) = stream();
    let (from_stdout, stdout) = stream();
    let process = Process::builder().stdin(stdin).stdout(stdout).spawn(become_cat, ()).unwrap();
    to_stdin.write_all(b"meow").unwrap();
    drop(to_stdin);
    assert_eq!(text(from_stdout), "meow");
    ends_well(process);
}

fn tell_stdin(reply: Sender<String>) {
    reply.send(&text(std::io::stdin())).unwrap();
}

fn have_a_child(reply: Sender<String>) {
    ends_well(Process::spawn(tell_stdin, reply).unwrap());
}

#[test]
fn standard_input_is_empty_unless_it_is_given_also_for_a_childs_child() {
    let (answer, reply) = pipe_oneway().unwrap();
    let (stdin, mut to_stdin) = stream();
    to_stdin.write_all(b"for the child alone").unwrap();
    let process = Process::builder().stdin(stdin).spawn(have_a_child, reply).unwrap();
    assert_eq!(answer.recv_timeout(WATCHDOG).unwrap(), "");
    ends_well(process);
}

fn tell_surroundings(reply: Sender<(Vec<(String, String)>, PathBuf)>) {
    let utf8 = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    let mut variables: Vec<_> = std::env::vars_os().map(|(name, value)| (utf8(name), utf8(value))).collect();
    variables.retain(|(name, _)| name != "MULTIPROC_PARENT");
    variables.sort();
    reply.send(&(variables, std::env::current_dir().unwrap())).unwrap();
}

fn surroundings(builder: ProcessBuilder) -> (Vec<(String, String)>, PathBuf) {
    let (answer, reply) = pipe_oneway().unwrap();
    let process = builder.spawn(tell_surroundings, reply).unwrap();
    let told = answer.recv_timeout(WATCHDOG).unwrap();
    ends_well(process);
    told
}

#[test]
fn environment_and_directory_are_the_parents_but_for_what_was_changed() {
    let (usual, here) = surroundings(Process::builder());
    assert_eq!(here, std::env::current_dir().unwrap());
    assert!(usual.iter().any(|(name, _)| name == "PATH"));

    let (changed, _) = surroundings(Process::builder().env("MULTIPROC_A", "1").env("MULTIPROC_A", "2").env_remove("PATH"));
    let mut expected: Vec<_> = usual.into_iter().filter(|(name, _)| name != "PATH").collect();
    expected.push(("MULTIPROC_A".into(), "2".into()));
    expected.sort();
    assert_eq!(changed, expected);

    let directory = tempfile::tempdir().unwrap();
    let bare = Process::builder().env("A", "lost").env_clear().envs([("B", "kept")]).current_dir(directory.path());
    let (variables, there) = surroundings(bare);
    assert_eq!(variables, [("B".to_owned(), "kept".to_owned())]);
    assert_eq!(there, directory.path().canonicalize().unwrap());
}

fn nothing() {}

#[test]
fn a_directory_that_does_not_exist_is_an_error_that_says_so() {
    let gone = tempfile::tempdir().unwrap().path().join("gone");
    let error = Process::builder().current_dir(&gone).spawn(nothing, ()).unwrap_err();
    assert!(matches!(error.kind(), SpawnErrorKind::System { source, .. } if source.kind() == std::io::ErrorKind::NotFound));
    assert!(error.to_string().contains("in the directory"), "{error}");
    assert!(active_children().is_empty());
}

#[test]
fn a_handle_can_be_polled_for_the_end_of_its_process() {
    let process = Process::spawn(nothing, ()).unwrap();
    let mut entry = [rustix::event::PollFd::from_borrowed_fd(process.as_fd(), rustix::event::PollFlags::IN)];
    let limit = rustix::event::Timespec { tv_sec: 60, tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut entry, Some(&limit)), Ok(1));
    ends_well(process);
}
