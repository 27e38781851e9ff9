//! The start of a process, wherever its parent may be: each promise once, in a parent made for the purpose.

use multiproc_pipe::{Receiver, Sender, pipe_oneway};
use multiproc_process::{Exit, Process, SpawnError, active_children, current_process};
use multiproc_shm::pass::Descriptor;
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::process::Command;
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
            // Asks for its orders, and never reads them.
            "does not read" => _ = libc::write(0, [1u8, 0].as_ptr().cast(), 2),
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

fn is_root(what: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("skipped: {what} takes root");
    }
    root
}

fn nothing(_: ()) {}

fn wait_for_ever(_: ()) {
    loop {
        std::thread::park();
    }
}

fn tell((sender, text): (Sender<String>, String)) {
    sender.send(&text).unwrap();
}

/// Where the standard streams lead, and that something printed does not get into a pipe's memory.
fn tell_streams(sender: Sender<Vec<String>>) {
    println!("{:200}", "printed");
    eprintln!("{:200}", "printed");
    let target = |number| std::fs::read_link(format!("/proc/self/fd/{number}")).unwrap().to_string_lossy().into_owned();
    sender.send(&(0..3).map(target).collect()).unwrap();
}

fn without_standard_streams(_: ()) {
    for closed in 1..8 {
        for number in (0..3).filter(|number| closed & 1 << number != 0) {
            // SAFETY: nobody in this process owns the standard streams.
            unsafe { libc::close(number) };
        }
        let (receiver, sender) = pipe_oneway().unwrap();
        let process = Process::spawn(tell_streams, sender).unwrap();
        assert!(process.sentinel().as_raw_fd() > 2);
        let streams = receiver.recv_timeout(WATCHDOG).unwrap();
        assert!(!streams.iter().any(|target| target.contains("memfd") || target.contains("socket")), "{closed}: {streams:?}");
        assert_eq!(process.join().unwrap(), Exit::Code(0));
    }
}

#[test]
fn closed_standard_streams_are_nothing_of_ours_in_parent_and_child() {
    in_a_process(without_standard_streams, ());
}

fn daemon_in_a_pid_namespace((up, alive): (Sender<()>, Receiver<()>)) {
    assert!(current_process().is_daemon());
    assert_eq!(std::process::id(), 1, "the first of its namespace");
    up.send(&()).unwrap();
    // Ends without a word when its parent does.
    while alive.recv().is_ok() {
        up.send(&()).unwrap();
    }
    wait_for_ever(());
}

fn parent_before_a_pid_namespace(args: (Sender<()>, Receiver<()>)) {
    // SAFETY: the children of this process get a namespace of their own.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWPID) }, 0);
    let _daemon = Process::builder().daemon(true).spawn(daemon_in_a_pid_namespace, args).unwrap();
    wait_for_ever(());
}

#[test]
fn a_daemon_in_another_pid_namespace_ends_with_its_parent_and_not_before() {
    if !is_root("a pid namespace") {
        return;
    }
    let (up, tell_up) = pipe_oneway().unwrap();
    let (alive, be_alive) = pipe_oneway().unwrap();
    let parent = Process::spawn(parent_before_a_pid_namespace, (tell_up, alive)).unwrap();
    up.recv_timeout(WATCHDOG).unwrap();
    for _ in 0..10 {
        be_alive.send(&()).unwrap();
        up.recv_timeout(WATCHDOG).unwrap();
    }
    parent.kill().unwrap();
    parent.join().unwrap();
    // The pipe's end was the daemon's alone.
    let error = up.recv_timeout(WATCHDOG).unwrap_err();
    assert!(matches!(error, multiproc_pipe::RecvError::Disconnected), "{error}");
}

/// Not a test of its own: what this program does when a loader runs it.
#[test]
fn run_by_a_loader() {
    if std::env::var_os("MULTIPROC_TEST_LOADED").is_some() {
        match Process::spawn(nothing, ()) {
            Err(SpawnError::OtherProgram { .. }) => std::process::exit(7),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_program_that_a_loader_runs_refuses_to_spawn_instead_of_running_another_file() {
    let loaders = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"];
    let Some(loader) = loaders.into_iter().find(|loader| std::path::Path::new(loader).exists()) else {
        println!("skipped: no loader of these names: {loaders:?}");
        return;
    };
    let program = std::env::current_exe().unwrap();
    let mut command = Command::new(loader);
    command.arg(program).args(["--exact", "run_by_a_loader", "--nocapture"]).env("MULTIPROC_TEST_LOADED", "1");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{output:?}");
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
    assert!(matches!(error, Some(SpawnError::EndedEarly { exit: Exit::Signal(libc::SIGINT), .. })), "{error:?}");
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
        spawn("ends by a signal", WATCHDOG, vec![]),
        SpawnError::EndedEarly { exit: Exit::Signal(libc::SIGTERM), .. }
    ));
    assert!(matches!(spawn("closes its socket", WATCHDOG, vec![]), SpawnError::HungUp { .. }));
    let limit = Duration::from_millis(300);
    assert!(matches!(spawn("does nothing", limit, vec![]), SpawnError::NotReached { waited, .. } if waited == limit));
    // More than a socket holds.
    assert!(
        matches!(spawn("does not read", limit, vec![1; 50_000_000]), SpawnError::NotReached { waited, .. } if waited == limit)
    );
}

#[test]
fn a_child_that_never_begins_or_never_reads_is_an_error_in_time() {
    in_a_process(children_that_never_begin, ());
}

struct Panics;

impl Serialize for Panics {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(1)
    }
}

impl<'de> Deserialize<'de> for Panics {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("no good day");
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
    assert!(matches!(&error, SpawnError::Decode { why, .. } if why.contains("panicked: no good day")), "{error}");
    let error = Process::spawn(drop::<Large>, Large).unwrap_err();
    assert!(matches!(&error, SpawnError::TooLarge { max, .. } if *max == 1 << 30), "{error}");
    let error = Process::builder().name("n".repeat(1 << 17)).spawn(nothing, ()).unwrap_err();
    assert!(matches!(&error, SpawnError::NameTooLong { .. }), "{error}");
}

/// Makes `pidfd_open` fail in this process and its children.
fn refuse_pidfds() {
    const fn statement(code: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
        libc::sock_filter { code: code as u16, jt, jf, k }
    }
    let mut program = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, libc::SYS_pidfd_open as u32, 0, 1),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32, 0, 0),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the filter outlives the calls, which restrict this process.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter), 0);
    }
}

fn is_readable(descriptor: BorrowedFd<'_>, limit: Duration) -> bool {
    let limit = rustix::event::Timespec::try_from(limit).unwrap();
    let mut entry = [rustix::event::PollFd::from_borrowed_fd(descriptor, rustix::event::PollFlags::IN)];
    rustix::event::poll(&mut entry, Some(&limit)).unwrap() > 0
}

fn exit_with(code: i32) {
    std::process::exit(code);
}

/// Keeps whatever it inherits open after its parent's end, which then nobody notices.
fn fork_and_end(_: ()) {
    // SAFETY: the copy does nothing but sleep, then ends.
    unsafe {
        if libc::fork() == 0 {
            libc::sleep(5);
            libc::_exit(0);
        }
    }
}

fn without_pidfds(daemon_up: Sender<()>) {
    refuse_pidfds();
    assert_eq!(Process::spawn(exit_with, 7).unwrap().join().unwrap(), Exit::Code(7));
    let process = Process::spawn(wait_for_ever, ()).unwrap();
    assert!(process.is_alive() && !is_readable(process.sentinel(), Duration::ZERO));
    assert_eq!(process.join_timeout(Duration::from_millis(30)).unwrap(), None);
    process.terminate().unwrap();
    assert!(is_readable(process.sentinel(), WATCHDOG));
    assert_eq!(process.join().unwrap(), Exit::Signal(libc::SIGTERM));
    process.kill().unwrap();
    let begin = Instant::now();
    assert_eq!(Process::spawn(fork_and_end, ()).unwrap().join().unwrap(), Exit::Code(0));
    assert!(begin.elapsed() < Duration::from_secs(4), "its forked copy is none of its own");
    let _daemon = Process::builder().daemon(true).spawn(daemon_that_tells, daemon_up).unwrap();
    wait_for_ever(());
}

fn daemon_that_tells(up: Sender<()>) {
    up.send(&()).unwrap();
    wait_for_ever(());
}

#[test]
fn where_pidfds_are_refused_processes_start_end_and_are_waited_for() {
    let (up, tell_up) = pipe_oneway().unwrap();
    let parent = Process::spawn(without_pidfds, tell_up).unwrap();
    up.recv_timeout(WATCHDOG).unwrap();
    assert!(parent.is_alive());
    parent.kill().unwrap();
    assert!(matches!(up.recv_timeout(WATCHDOG).unwrap_err(), multiproc_pipe::RecvError::Disconnected));
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

fn fork_under_load(_: ()) {
    let process = Process::spawn(wait_for_ever, ()).unwrap();
    for _ in 0..2 {
        let process = process.clone();
        std::thread::spawn(move || {
            loop {
                let _ = (active_children(), process.exit_code(), current_process());
            }
        });
    }
    for _ in 0..200 {
        // SAFETY: the copy uses what it must be able to use, and ends without unwinding.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let fine = active_children().is_empty() && process.join_timeout(Duration::ZERO).is_err();
            let _main = (process.exit_code(), current_process());
            // SAFETY: ends the copy.
            unsafe { libc::_exit(i32::from(!fine)) }
        }
        let copy = rustix::process::Pid::from_raw(pid).unwrap();
        let status = rustix::process::waitpid(Some(copy), rustix::process::WaitOptions::empty()).unwrap().unwrap().1;
        assert_eq!(status.exit_status(), Some(0));
    }
    process.kill().unwrap();
}

#[test]
fn a_forked_copy_waits_for_no_lock_of_a_thread_that_it_does_not_have() {
    in_a_process(fork_under_load, ());
}

fn as_nobody(_: ()) {
    // SAFETY: changes this process's ids. The system makes it non-dumpable, so that its /proc belongs to root.
    unsafe {
        assert_eq!(libc::setgroups(0, std::ptr::null()), 0);
        assert_eq!(libc::setresgid(65534, 65534, 65534), 0);
        assert_eq!(libc::setresuid(65534, 65534, 65534), 0);
        assert_eq!(libc::prctl(libc::PR_GET_DUMPABLE), 0);
    }
    let (receiver, sender) = pipe_oneway().unwrap();
    let process = Process::spawn(tell, (sender, "here".to_owned())).unwrap();
    assert_eq!(receiver.recv_timeout(WATCHDOG).unwrap(), "here");
    assert_eq!(process.join().unwrap(), Exit::Code(0));
}

#[test]
fn a_process_that_has_dropped_its_rights_and_cannot_be_dumped_spawns() {
    if is_root("dropping rights") {
        in_a_process(as_nobody, ());
    }
}

fn in_namespaces_of_its_own(_: ()) {
    as_nobody(());
    // SAFETY: moves this process, which has one thread, and its future children.
    if unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWPID) } != 0 {
        println!("skipped: no user namespaces for users ({})", std::io::Error::last_os_error());
        return;
    }
    let (receiver, sender) = pipe_oneway().unwrap();
    let process = Process::builder().daemon(true).spawn(tell, (sender, "inside".to_owned())).unwrap();
    assert_eq!(receiver.recv_timeout(WATCHDOG).unwrap(), "inside");
    assert_eq!(process.join().unwrap(), Exit::Code(0));
}

#[test]
fn a_process_in_a_user_namespace_without_names_for_users_spawns() {
    if is_root("dropping rights") {
        in_a_process(in_namespaces_of_its_own, ());
    }
}

fn count_descriptors((descriptors, reply): (Vec<Descriptor>, Sender<usize>)) {
    reply.send(&descriptors.len()).unwrap();
}

fn with_few_descriptors(_: ()) {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let few = rustix::process::Rlimit { current: Some(64), ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, few).unwrap();
    let mut counts = [0; 2];
    for count in (0..60).step_by(3) {
        let spawn = || {
            let (receiver, sender) = pipe_oneway().map_err(|error| error.to_string())?;
            let null = std::fs::File::open("/dev/null").map_err(|error| error.to_string())?;
            let copies: Vec<Descriptor> =
                (0..count).map_while(|_| null.as_fd().try_clone_to_owned().ok()).map(Descriptor::from).collect();
            let len = copies.len();
            let process = Process::spawn(count_descriptors, (copies, sender)).map_err(|error| error.to_string())?;
            assert_eq!(receiver.recv_timeout(WATCHDOG).unwrap(), len);
            assert_eq!(process.join().unwrap(), Exit::Code(0));
            Ok::<(), String>(())
        };
        counts[usize::from(spawn().is_err())] += 1;
        assert!(active_children().is_empty());
    }
    assert!(counts[0] > 0 && counts[1] > 0, "{counts:?}");
}

#[test]
fn few_descriptors_are_an_error_and_no_child_is_left() {
    in_a_process(with_few_descriptors, ());
}
