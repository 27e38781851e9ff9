//! Surroundings in which processes start all the same, or say why not: each once, in a parent made for the purpose.

use multiproc_pipe::{Receiver, Sender, pipe_oneway};
use multiproc_process::{Exit, Process, SpawnErrorKind, active_children, current_process};
use multiproc_travel::pass::Descriptor;
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

const WATCHDOG: Duration = Duration::from_secs(60);

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
    sender.send(&(0..3).map(target).collect::<Vec<_>>()).unwrap();
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
            Err(error) if *error.kind() == SpawnErrorKind::OtherProgram => std::process::exit(7),
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
    assert!(begin.elapsed() < Duration::from_secs(4), "join waits for the process, not for a copy that it forked");
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

fn look_from_a_copy(pidfds: bool) {
    if !pidfds {
        refuse_pidfds();
    }
    let process = Process::spawn(wait_for_ever, ()).unwrap();
    let (ready, go) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
    // SAFETY: this process has one thread, and the copy ends without unwinding.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let lived = process.is_alive();
        let told = (&ready.1).write_all(b"x").is_ok() && (&go.0).read_exact(&mut [0]).is_ok();
        let ended = process.exit_code() == Some(Exit::Unknown) && !process.is_alive();
        // SAFETY: ends the copy.
        unsafe { libc::_exit(i32::from(!(lived && told && ended))) }
    }
    (&ready.0).read_exact(&mut [0]).unwrap();
    process.kill().unwrap();
    assert_eq!(process.join().unwrap(), Exit::Signal(libc::SIGKILL));
    (&go.1).write_all(b"x").unwrap();
    let copy = rustix::process::Pid::from_raw(pid).unwrap();
    let status = rustix::process::waitpid(Some(copy), rustix::process::WaitOptions::empty()).unwrap().unwrap().1;
    assert_eq!(status.exit_status(), Some(0));
}

#[test]
fn a_forked_copy_sees_whether_a_process_is_alive() {
    in_a_process(look_from_a_copy, true);
    in_a_process(look_from_a_copy, false);
}

/// What a library that is loaded before us does: it opens a file that is not close-on-exec, and keeps its number.
#[used]
// SAFETY: the section holds pointers to functions that the C library calls before `main`, and these before ours; it expects nothing.
#[unsafe(link_section = ".init_array.00101")]
static OF_A_LIBRARY: extern "C" fn() = open_as_a_library;

static OPENED: std::sync::OnceLock<i32> = std::sync::OnceLock::new();

extern "C" fn open_as_a_library() {
    if std::env::var_os("MULTIPROC_TEST_LIBRARY").is_some() {
        // SAFETY: opens a file of its own.
        let _ = OPENED.set(unsafe { libc::open(c"/proc/version".as_ptr(), libc::O_RDONLY) });
    }
}

fn look_at_the_librarys((_queue, reply): (Receiver<u8>, Sender<String>)) {
    let target = std::fs::read_link(format!("/proc/self/fd/{}", OPENED.get().unwrap()));
    reply.send(&target.unwrap().to_string_lossy().into_owned()).unwrap();
}

fn with_a_library(_: ()) {
    // SAFETY: this process has one thread.
    unsafe { std::env::set_var("MULTIPROC_TEST_LIBRARY", "1") };
    let (reply, theirs) = pipe_oneway().unwrap();
    let (queue, _sender) = pipe_oneway().unwrap();
    let process = Process::spawn(look_at_the_librarys, (queue, theirs)).unwrap();
    assert_eq!(reply.recv_timeout(WATCHDOG).unwrap(), "/dev/null");
    assert_eq!(process.join().unwrap(), Exit::Code(0));
}

#[test]
fn a_number_that_a_loaded_library_has_open_never_becomes_one_of_ours() {
    in_a_process(with_a_library, ());
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
