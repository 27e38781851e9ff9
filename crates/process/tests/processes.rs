//! Each promise of `Process` once, with real processes. Tests call no `init()`: new processes run before `main`.

use multiproc_pipe::{Connection, Receiver, Sender, pipe, pipe_oneway};
use multiproc_process::{Exit, JoinError, Process, SpawnErrorKind, active_children, current_process};
use multiproc_travel::pass::Descriptor;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

const WATCHDOG: Duration = Duration::from_secs(60);

#[derive(Serialize, Deserialize)]
struct Order {
    reply: Sender<(u64, String)>,
    deep: Option<Vec<(u8, Receiver<u64>)>>,
}

fn add((n, order): (u64, Order)) {
    let sum = n + order.deep.unwrap().iter().map(|(k, from)| u64::from(*k) + from.recv().unwrap()).sum::<u64>();
    order.reply.send(&(sum, current_process().name().to_owned())).unwrap();
}

#[test]
fn handles_travel_anywhere_inside_the_arguments() {
    let (answer, reply) = pipe_oneway().unwrap();
    let (number, send_number) = pipe_oneway().unwrap();
    let process = Process::spawn(add, (1, Order { reply, deep: Some(vec![(10, number)]) })).unwrap();
    send_number.send(&100).unwrap();
    let (sum, name) = answer.recv_timeout(WATCHDOG).unwrap();
    assert_eq!(sum, 111);
    assert!(name.starts_with("Process-") && name == process.name());
    assert_eq!(process.join().unwrap(), Exit::Code(0));
}

fn write_to(descriptor: Descriptor) {
    std::fs::File::from(OwnedFd::from(descriptor)).write_all(b"from the child").unwrap();
}

#[test]
fn a_descriptor_travels_as_the_same_open_file() {
    let mut file = tempfile::tempfile().unwrap();
    let process = Process::spawn(write_to, Descriptor::from(file.as_fd().try_clone_to_owned().unwrap())).unwrap();
    process.join().unwrap();
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "from the child");
}

fn exit_with(code: i32) {
    std::process::exit(code);
}

fn panic_now(_: ()) {
    panic!("on purpose");
}

fn fail(_: ()) -> Result<(), String> {
    Err("did not work".into())
}

fn wait_for_ever(_: ()) {
    loop {
        std::thread::park();
    }
}

#[test]
fn exit_codes_panics_errors_and_signals_are_told_apart() {
    let exit = |process: Process| process.join().unwrap();
    assert_eq!(exit(Process::spawn(exit_with, 7).unwrap()), Exit::Code(7));
    assert_eq!(exit(Process::spawn(panic_now, ()).unwrap()), Exit::Code(101));
    assert_eq!(exit(Process::spawn(fail, ()).unwrap()), Exit::Code(1));
    let process = Process::spawn(wait_for_ever, ()).unwrap();
    assert!(process.is_alive() && process.exit_code().is_none());
    assert_eq!(process.join_timeout(Duration::from_millis(30)).unwrap(), None);
    process.terminate().unwrap();
    assert_eq!(exit(process.clone()), Exit::Signal(15));
    assert!(!process.is_alive());
    process.kill().unwrap();
    assert_eq!(process.exit_code(), Some(Exit::Signal(15)));
    let process = Process::spawn(wait_for_ever, ()).unwrap();
    process.kill().unwrap();
    assert_eq!(exit(process), Exit::Signal(9));
}

/// Stops of a traced child answer a wait for its end, too.
#[test]
fn a_child_that_this_process_traces_and_stops_has_not_ended() {
    let process = Process::spawn(wait_for_ever, ()).unwrap();
    let pid = process.pid() as libc::pid_t;
    let trace = |request| {
        // SAFETY: the child is ours, and this thread traces it. Neither request has data.
        assert_eq!(unsafe { libc::ptrace(request, pid, 0, 0) }, 0, "{}", std::io::Error::last_os_error());
    };
    trace(libc::PTRACE_SEIZE);
    trace(libc::PTRACE_INTERRUPT);
    // The stop comes within this time, or was there at the first look.
    assert_eq!(process.join_timeout(Duration::from_millis(100)).unwrap(), None);
    assert_eq!(process.exit_code(), None);
    let mut status = 0;
    // SAFETY: waits for our own child; `status` outlives the call.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    assert!(libc::WIFSTOPPED(status), "the stop is the tracer's: {status:#x}");
    assert_eq!(process.exit_code(), None);
    trace(libc::PTRACE_DETACH);
    process.kill().unwrap();
    assert_eq!(process.join().unwrap(), Exit::Signal(libc::SIGKILL));
}

#[test]
fn the_sentinel_becomes_readable_at_the_end() {
    let process = Process::spawn(wait_for_ever, ()).unwrap();
    let poll = |limit: i64| {
        let mut entry = [rustix::event::PollFd::from_borrowed_fd(process.sentinel(), rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut entry, Some(&rustix::event::Timespec { tv_sec: limit, tv_nsec: 0 })).unwrap()
    };
    assert_eq!(poll(0), 0);
    process.kill().unwrap();
    assert_eq!(poll(60), 1);
    process.join().unwrap();
}

fn panic_in_a_grandchild(errors: Descriptor) {
    rustix::stdio::dup2_stderr(&errors).unwrap();
    Process::builder().name("clumsy").spawn(panic_now, ()).unwrap().join().unwrap();
    Process::builder().name("unlucky").spawn(fail, ()).unwrap().join().unwrap();
}

#[test]
fn a_panic_and_an_error_are_printed_with_the_name_of_the_process() {
    let mut file = tempfile::tempfile().unwrap();
    let errors = Descriptor::from(file.as_fd().try_clone_to_owned().unwrap());
    Process::spawn(panic_in_a_grandchild, errors).unwrap().join().unwrap();
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    assert!(text.contains("process clumsy panicked:") && text.contains("on purpose"), "{text}");
    assert!(text.contains("process unlucky failed: did not work"), "{text}");
}

fn fork_with_a_child(_: ()) {
    let process = Process::spawn(wait_for_ever, ()).unwrap();
    // SAFETY: this process has one thread, so the copy may do anything; it ends without unwinding into what it copied.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // A sibling, not a child.
        let refused = matches!(process.join_timeout(Duration::ZERO), Err(JoinError::NotOurs { .. }));
        let none = active_children().is_empty();
        // SAFETY: ends the process at once, without running what the parent will run.
        unsafe { libc::_exit(i32::from(!(refused && none))) }
    }
    let mut status = 0;
    // SAFETY: waits for our own child; `status` outlives the call.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    assert_eq!(libc::WEXITSTATUS(status), 0);
    process.kill().unwrap();
}

#[test]
fn a_forked_copy_does_not_take_its_siblings_for_children() {
    assert_eq!(Process::spawn(fork_with_a_child, ()).unwrap().join().unwrap(), Exit::Code(0));
}

fn spawn_without_descriptors(_: ()) {
    // The lowest number that is free.
    let open = std::os::fd::AsRawFd::as_raw_fd(&std::fs::File::open("/dev/null").unwrap()) as u64;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let few = rustix::process::Rlimit { current: Some(open), ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, few).unwrap();
    assert!(matches!(Process::spawn(wait_for_ever, ()).unwrap_err().kind(), SpawnErrorKind::System { .. }));
    assert!(active_children().is_empty());
}

#[test]
fn no_descriptors_left_is_an_error_and_no_process() {
    assert_eq!(Process::spawn(spawn_without_descriptors, ()).unwrap().join().unwrap(), Exit::Code(0));
}

fn tell_name(reply: NameAndDaemon) {
    let me = current_process();
    assert!(me.parent_pid().is_some() && me.pid() == std::process::id());
    reply.send(&(me.name().to_owned(), me.is_daemon())).unwrap();
}

type NameAndDaemon = Sender<(String, bool)>;

fn spawn_two(replies: (NameAndDaemon, NameAndDaemon)) {
    let first = Process::spawn(tell_name, replies.0).unwrap();
    let second = Process::builder().daemon(true).spawn(tell_name, replies.1).unwrap();
    second.join().unwrap();
    first.join().unwrap();
}

#[test]
fn names_are_numbered_through_the_generations() {
    let (first, reply_first) = pipe_oneway().unwrap();
    let (second, reply_second) = pipe_oneway().unwrap();
    let process = Process::builder().name("parent").spawn(spawn_two, (reply_first, reply_second)).unwrap();
    assert_eq!(process.name(), "parent");
    let (name, daemon) = first.recv_timeout(WATCHDOG).unwrap();
    assert!(name.starts_with("Process-") && name.ends_with(":1") && !daemon, "{name}");
    let (name, daemon) = second.recv_timeout(WATCHDOG).unwrap();
    assert!(name.ends_with(":2") && daemon, "{name}");
    process.join().unwrap();
}

fn list_descriptors(reply: Sender<Vec<String>>) {
    let listed = std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| {
        let target = std::fs::read_link(entry.ok()?.path()).ok()?;
        Some(target.to_string_lossy().into_owned())
    });
    reply.send(&listed.collect::<Vec<_>>()).unwrap();
}

#[test]
fn children_inherit_no_descriptor_but_those_passed() {
    // Another library leaves this descriptor open across exec.
    let file = tempfile::NamedTempFile::new().unwrap();
    let leaky = rustix::io::dup(file.as_file()).unwrap();
    assert!(rustix::io::fcntl_getfd(&leaky).unwrap().is_empty());
    let (answer, reply) = pipe_oneway().unwrap();
    let process = Process::spawn(list_descriptors, reply).unwrap();
    let listed = answer.recv_timeout(WATCHDOG).unwrap();
    process.join().unwrap();
    let name = file.path().to_string_lossy().into_owned();
    assert!(!listed.iter().any(|target| target.contains(&name)), "{listed:?}");
    // Everything else that was left open is /dev/null now. There remain standard output and error, the sender's four, and the directory's.
    let others = listed.iter().filter(|&target| target != "/dev/null").count();
    assert!(others <= 2 + 4 + 1, "{listed:?}");
    assert!(listed.iter().any(|target| target == "/dev/null"), "standard input is empty: {listed:?}");
}

fn parent_of_daemon(reply: Sender<u32>) {
    let daemon = Process::builder().daemon(true).spawn(wait_for_ever, ()).unwrap();
    reply.send(&daemon.pid()).unwrap();
    wait_for_ever(());
}

fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

fn ends(pid: u32) -> bool {
    let begin = Instant::now();
    while is_running(pid) && begin.elapsed() < WATCHDOG {
        std::thread::yield_now();
    }
    !is_running(pid)
}

#[test]
fn a_daemon_dies_with_its_killed_parent() {
    let (answer, reply) = pipe_oneway().unwrap();
    let parent = Process::spawn(parent_of_daemon, reply).unwrap();
    let daemon = answer.recv_timeout(WATCHDOG).unwrap();
    assert!(is_running(daemon));
    parent.kill().unwrap();
    parent.join().unwrap();
    assert!(ends(daemon));
}

fn returns_with_children(reply: Sender<(u32, u32)>) {
    let daemon = Process::builder().daemon(true).spawn(wait_for_ever, ()).unwrap();
    let (go, said) = pipe_oneway::<()>().unwrap();
    let child = Process::spawn(waits_for_word, go).unwrap();
    reply.send(&(daemon.pid(), child.pid())).unwrap();
    said.send(&()).unwrap();
}

fn waits_for_word(go: Receiver<()>) {
    go.recv().unwrap();
}

#[test]
fn a_process_that_returns_ends_its_daemons_and_waits_for_its_children() {
    let (answer, reply) = pipe_oneway().unwrap();
    let parent = Process::spawn(returns_with_children, reply).unwrap();
    let (daemon, child) = answer.recv_timeout(WATCHDOG).unwrap();
    assert_eq!(parent.join_timeout(WATCHDOG).unwrap(), Some(Exit::Code(0)));
    assert!(!is_running(daemon) && !is_running(child));
}

fn daemon_with_child(reply: Sender<String>) {
    let refused = Process::spawn(wait_for_ever, ()).unwrap_err();
    reply.send(&refused.to_string()).unwrap();
}

#[test]
fn a_daemon_has_no_children() {
    let (answer, reply) = pipe_oneway().unwrap();
    let daemon = Process::builder().daemon(true).spawn(daemon_with_child, reply).unwrap();
    assert!(answer.recv_timeout(WATCHDOG).unwrap().contains("daemon"));
    daemon.join().unwrap();
}

/// Decodes nowhere but where it was encoded.
struct OnlyHere;

impl Serialize for OnlyHere {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(std::process::id())
    }
}

impl<'de> Deserialize<'de> for OnlyHere {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let here = u32::deserialize(deserializer)? == std::process::id();
        if here { Ok(Self) } else { Err(multiproc_travel::pass::refuse("only here")) }
    }
}

fn never_called(_: OnlyHere) {
    unreachable!("its argument can't be decoded");
}

struct NeverSent;

impl Serialize for NeverSent {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("not sent"))
    }
}

impl<'de> Deserialize<'de> for NeverSent {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Self)
    }
}

fn never_started(_: NeverSent) {}

#[test]
fn arguments_that_cannot_travel_are_the_callers_error() {
    let error = Process::spawn(never_called, OnlyHere).unwrap_err();
    assert!(matches!(error.kind(), SpawnErrorKind::Decode { why } if why.contains("only here")), "{error}");
    assert!(matches!(Process::spawn(never_started, NeverSent).unwrap_err().kind(), SpawnErrorKind::Encode(_)));
    assert!(active_children().iter().all(|process| process.name() != "never"));
}

#[test]
fn a_function_outside_the_executable_file_is_refused() {
    // No function at all, but as far outside as one of a shared library.
    let heap = Box::leak(Box::new(0u64));
    // SAFETY: the pointer is never called.
    let in_the_heap: fn(()) = unsafe { std::mem::transmute::<*mut u64, fn(())>(heap) };
    assert!(*Process::spawn(in_the_heap, ()).unwrap_err().kind() == SpawnErrorKind::NotInImage);
}

fn echo(connection: Connection<u32>) {
    while let Ok(n) = connection.recv() {
        connection.send(&(n + 1)).unwrap();
    }
}

#[test]
fn many_processes_start_at_once_from_several_threads() {
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for i in 0..8 {
                    let (ours, theirs) = pipe().unwrap();
                    let process = Process::spawn(echo, theirs).unwrap();
                    ours.send(&i).unwrap();
                    assert_eq!(ours.recv_timeout(WATCHDOG).unwrap(), i + 1);
                    drop(ours);
                    assert_eq!(process.join_timeout(WATCHDOG).unwrap(), Some(Exit::Code(0)));
                }
            });
        }
    });
}

fn nothing(_: ()) {}

/// In a process of its own, where no other test opens descriptors.
fn many_rounds(_: ()) {
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let round = || {
        let (ours, theirs) = pipe().unwrap();
        let process = Process::spawn(echo, theirs).unwrap();
        ours.send(&1).unwrap();
        assert_eq!(ours.recv().unwrap(), 2);
        drop(ours);
        process.join().unwrap();
        process.pid()
    };
    round();
    let before = descriptors();
    let pids: BTreeSet<u32> = (0..100).map(|_| round()).collect();
    assert_eq!(descriptors(), before);
    assert!(pids.into_iter().all(|pid| !is_running(pid)));
    // A process that nobody joins is no zombie once the parent asks about its children.
    let process = Process::spawn(nothing, ()).unwrap();
    let pid = process.pid();
    drop(process);
    let begin = Instant::now();
    while !active_children().is_empty() && begin.elapsed() < WATCHDOG {}
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn nothing_is_left_over_after_many_rounds() {
    assert_eq!(Process::spawn(many_rounds, ()).unwrap().join().unwrap(), Exit::Code(0));
}
