//! The start of a process and its end: each promise once, in a parent made for the purpose.

use multiproc_pipe::{Receiver, Sender, pipe_oneway};
use multiproc_process::{Exit, Process, SpawnErrorKind, active_children};
use multiproc_travel::pass::Descriptor;
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::time::{Duration, Instant};

const WATCHDOG: Duration = Duration::from_secs(60);

/// What goes wrong in a child of a process that has this in its environment, before this crate's code runs there.
const BEFORE: &str = "MULTIPROC_TEST_BEFORE";

#[used]
// SAFETY: the C library calls it before `main`, and before the function of this crate, by the number in the section's name.
#[unsafe(link_section = ".init_array.00101")]
static GOES_WRONG: extern "C" fn() = goes_wrong;

extern "C" fn goes_wrong() {
    let Ok(what) = std::env::var(BEFORE) else { return };
    // SAFETY: writes constant bytes, raises a signal, or sleeps; no other thread runs yet.
    unsafe {
        match what.as_str() {
            "ends by a signal" => _ = libc::raise(libc::SIGTERM),
            "closes its socket" => _ = libc::close(0),
            // Asks for its orders as the codec has it (a variant, number 0, nothing in it), and never reads them.
            "does not read" => _ = libc::write(0, [1u8, 15, 0, 0, 0].as_ptr().cast(), 5),
            _ => {}
        }
        libc::pause();
    }
}

/// Runs a function in a process of its own, which may change itself as it likes, and expects it to end well.
#[track_caller]
fn in_a_process<A: Serialize + for<'de> Deserialize<'de> + 'static>(function: fn(A), args: A) {
    let process = Process::spawn(function, args).unwrap();
    assert_eq!(process.join_timeout(WATCHDOG).unwrap(), Some(Exit::Code(0)));
}

fn nothing(_: ()) {}

fn wait_for_ever(_: ()) {
    loop {
        std::thread::park();
    }
}

fn panic_with_broken_stderr(_: ()) {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    drop(reader);
    rustix::stdio::dup2_stderr(&writer).unwrap();
    panic!("nobody reads this");
}

fn fail_with_broken_stderr(_: ()) -> Result<(), String> {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    drop(reader);
    rustix::stdio::dup2_stderr(&writer).unwrap();
    Err("nobody reads this".into())
}

#[test]
fn a_panic_or_an_error_with_a_broken_standard_error_is_still_one() {
    assert_eq!(Process::spawn(panic_with_broken_stderr, ()).unwrap().join().unwrap(), Exit::Code(101));
    assert_eq!(Process::spawn(fail_with_broken_stderr, ()).unwrap().join().unwrap(), Exit::Code(1));
}

fn tell_status(sender: Sender<String>) {
    sender.send(&std::fs::read_to_string("/proc/self/status").unwrap()).unwrap();
    wait_for_ever(());
}

/// A set of signals in `/proc/self/status`.
fn signals(status: &str, field: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    u64::from_str_radix(line.trim(), 16).unwrap()
}

#[test]
fn signals_blocked_in_the_spawning_thread_end_the_child_all_the_same() {
    let thread = std::thread::spawn(|| {
        let mut all = std::mem::MaybeUninit::uninit();
        // SAFETY: fills the set, then blocks it in this thread alone.
        unsafe {
            libc::sigfillset(all.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), std::ptr::null_mut());
        }
        let (receiver, sender) = pipe_oneway().unwrap();
        let process = Process::spawn(tell_status, sender).unwrap();
        let status = receiver.recv_timeout(WATCHDOG).unwrap();
        assert_eq!(signals(&status, "SigBlk:"), 0);
        process.terminate().unwrap();
        assert_eq!(process.join_timeout(WATCHDOG).unwrap(), Some(Exit::Signal(libc::SIGTERM)));
    });
    thread.join().unwrap();
}

extern "C" fn handle(_: libc::c_int) {}

fn interrupted_all_the_time(_: ()) {
    // SAFETY: a process group of its own, and a handler that does nothing.
    unsafe {
        libc::setpgid(0, 0);
        libc::signal(libc::SIGINT, handle as extern "C" fn(libc::c_int) as libc::sighandler_t);
    }
    std::thread::spawn(|| {
        loop {
            // SAFETY: signals the group, which is this process and its children.
            unsafe { libc::kill(0, libc::SIGINT) };
        }
    });
    for _ in 0..20 {
        let worker = Process::builder().ignore_interrupts(true).spawn(nothing, ()).unwrap();
        assert_eq!(worker.join().unwrap(), Exit::Code(0));
    }
    let (receiver, sender) = pipe_oneway().unwrap();
    let worker = Process::builder().ignore_interrupts(true).spawn(tell_status, sender).unwrap();
    let status = receiver.recv_timeout(WATCHDOG).unwrap();
    assert_eq!((signals(&status, "SigBlk:"), signals(&status, "SigIgn:") & 2), (0, 2));
    worker.kill().unwrap();
    // Without the option the signal that ended it can be told from everything else.
    let error = (0..1000).find_map(|_| Process::spawn(wait_for_ever, ()).map(|process| process.kill().unwrap()).err());
    assert!(
        error.as_ref().is_some_and(|error| *error.kind() == SpawnErrorKind::EndedEarly { exit: Exit::Signal(libc::SIGINT) }),
        "{error:?}"
    );
}

#[test]
fn a_worker_that_ignores_interrupts_does_so_from_its_first_moment() {
    in_a_process(interrupted_all_the_time, ());
}

/// In a process of its own, since it changes the environment.
fn children_that_never_begin(_: ()) {
    let spawn = |what: &str, limit: Duration, args: Vec<u8>| {
        // SAFETY: this process has one thread.
        unsafe { std::env::set_var(BEFORE, what) };
        let begin = Instant::now();
        let error = Process::builder().start_timeout(limit).spawn(drop::<Vec<u8>>, args).unwrap_err();
        assert!(begin.elapsed() < Duration::from_secs(20), "{error}");
        assert!(active_children().is_empty());
        error
    };
    assert!(matches!(
        spawn("ends by a signal", WATCHDOG, vec![]).kind(),
        SpawnErrorKind::EndedEarly { exit: Exit::Signal(libc::SIGTERM) }
    ));
    assert!(matches!(spawn("closes its socket", WATCHDOG, vec![]).kind(), SpawnErrorKind::HungUp));
    let limit = Duration::from_millis(300);
    assert!(matches!(spawn("does nothing", limit, vec![]).kind(), SpawnErrorKind::NotReached { waited } if *waited == limit));
    // More than a socket holds.
    assert!(
        matches!(spawn("does not read", limit, vec![1; 50_000_000]).kind(), SpawnErrorKind::NotReached { waited } if *waited == limit)
    );
}

#[test]
fn a_child_that_never_begins_or_never_reads_is_an_error_in_time() {
    in_a_process(children_that_never_begin, ());
}

/// Can be decoded where it was encoded, and nowhere else.
struct Panics;

impl Serialize for Panics {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(std::process::id())
    }
}

impl<'de> Deserialize<'de> for Panics {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let here = u32::deserialize(deserializer)? == std::process::id();
        if here { Ok(Self) } else { panic!("no good day") }
    }
}

fn never_called(_: Panics) {
    unreachable!("its argument can't be decoded");
}

struct Large;

impl Serialize for Large {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Zeroes that take no memory before they are copied.
        serializer.serialize_bytes(&vec![0; (1 << 30) + 1])
    }
}

impl<'de> Deserialize<'de> for Large {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Self)
    }
}

#[test]
fn arguments_that_panic_or_are_too_long_are_told_by_errors_of_their_own() {
    let error = Process::spawn(never_called, Panics).unwrap_err();
    assert!(
        matches!(error.kind(), SpawnErrorKind::Decode { why } if why.contains("panicked") && why.contains("no good day")),
        "{error}"
    );
    let error = Process::spawn(drop::<Large>, Large).unwrap_err();
    assert!(matches!(error.kind(), SpawnErrorKind::TooLarge { max, .. } if *max == 1 << 30), "{error}");
    let error = Process::builder().name("n".repeat(1 << 17)).spawn(nothing, ()).unwrap_err();
    assert!(matches!(error.kind(), SpawnErrorKind::NameTooLong { .. }), "{error}");
}

fn daemon_of_a_thread_that_ends((up, go): (Sender<()>, Receiver<()>)) {
    let spawn = move || Process::builder().daemon(true).spawn(say_twice, (up, go)).unwrap();
    let daemon = std::thread::spawn(spawn).join().unwrap();
    daemon.join().unwrap();
}

fn say_twice((up, go): (Sender<()>, Receiver<()>)) {
    up.send(&()).unwrap();
    go.recv().unwrap();
    up.send(&()).unwrap();
}

#[test]
fn a_daemon_stays_when_the_thread_that_started_it_ends() {
    let (up, tell_up) = pipe_oneway().unwrap();
    let (go, say_go) = pipe_oneway().unwrap();
    let parent = Process::spawn(daemon_of_a_thread_that_ends, (tell_up, go)).unwrap();
    up.recv_timeout(WATCHDOG).unwrap();
    say_go.send(&()).unwrap();
    up.recv_timeout(WATCHDOG).unwrap();
    assert_eq!(parent.join_timeout(WATCHDOG).unwrap(), Some(Exit::Code(0)));
}

fn leave_a_child((errors, pid): (Descriptor, Sender<u32>)) -> Result<(), String> {
    rustix::stdio::dup2_stderr(&errors).unwrap();
    drop(errors);
    pid.send(&Process::builder().name("sleeper").spawn(wait_for_ever, ()).unwrap().pid()).unwrap();
    Err("the reason".into())
}

/// A pipe that is some process's standard error.
fn errors() -> (std::fs::File, Descriptor) {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    (reader.into(), writer.into())
}

#[test]
fn a_process_that_waits_for_its_children_at_its_end_says_for_which() {
    let (mut reader, writer) = errors();
    let (pid, tell_pid) = pipe_oneway().unwrap();
    let parent = Process::builder().name("leaver").spawn(leave_a_child, (writer, tell_pid)).unwrap();
    let pid = pid.recv_timeout(WATCHDOG).unwrap();
    let mut said = String::new();
    while !said.contains("waits for its child processes") {
        let mut bytes = [0; 4096];
        let count = reader.read(&mut bytes).unwrap();
        assert_ne!(count, 0, "{said}");
        said.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    assert!(said.contains("process leaver failed: the reason\n"), "{said}");
    assert!(said.contains(&format!("to end: sleeper (pid {pid})\n")), "{said}");
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid as i32).unwrap(), rustix::process::Signal::KILL).unwrap();
    assert_eq!(parent.join_timeout(WATCHDOG).unwrap(), Some(Exit::Code(1)));
}

fn fail_at_length(errors: Descriptor) -> Result<(), String> {
    rustix::stdio::dup2_stderr(&errors).unwrap();
    Err("word ".repeat(200))
}

#[test]
fn a_line_of_ours_on_standard_error_is_written_in_one_piece() {
    // A socket that keeps pieces apart.
    let (ours, theirs) = rustix::net::socketpair(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::SEQPACKET,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )
    .unwrap();
    Process::spawn(fail_at_length, Descriptor::from(theirs)).unwrap().join().unwrap();
    let mut bytes = [0; 4096];
    let (count, _) = rustix::net::recv(&ours, &mut bytes, rustix::net::RecvFlags::empty()).unwrap();
    let line = std::str::from_utf8(&bytes[..count]).unwrap();
    assert!(line.starts_with("process ") && line.ends_with("word \n") && line.len() > 1000, "{line}");
}
