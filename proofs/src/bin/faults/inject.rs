//! Runs a scenario in a forked copy of this process, and makes one of its system calls fail.

use crate::scenarios::{IN_THE_CHILD, SCENARIOS};
use multiproc_proofs::spread;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The calls that this project makes, itself or through the standard library, and the errors in their manuals that a caller can't
/// prevent.
const CALLS: [(&str, i64, &[i32]); 37] = [
    ("memfd_create", libc::SYS_memfd_create, &[libc::EMFILE, libc::ENFILE, libc::ENOMEM]),
    ("ftruncate", libc::SYS_ftruncate, &[libc::EINTR, libc::EFBIG, libc::EIO, libc::EPERM]),
    ("fallocate", libc::SYS_fallocate, &[libc::EINTR, libc::ENOSPC, libc::ENOMEM, libc::EOPNOTSUPP]),
    ("mmap", libc::SYS_mmap, &[libc::ENOMEM, libc::EAGAIN, libc::EPERM]),
    ("madvise", libc::SYS_madvise, &[libc::ENOMEM, libc::EINVAL]),
    (LOCK, libc::SYS_fcntl, &[libc::EINTR, libc::ENOLCK, libc::EACCES]),
    ("fcntl", libc::SYS_fcntl, &[libc::EMFILE, libc::EPERM, libc::EINVAL]),
    ("open", libc::SYS_open, &[libc::EINTR, libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::EACCES, libc::ENOENT]),
    ("openat", libc::SYS_openat, &[libc::EINTR, libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::EACCES, libc::ENOENT]),
    ("fstat", libc::SYS_fstat, &[libc::ENOMEM, libc::EACCES]),
    ("newfstatat", libc::SYS_newfstatat, &[libc::ENOMEM, libc::EACCES]),
    ("statx", libc::SYS_statx, &[libc::ENOMEM, libc::EACCES]),
    ("mkdir", libc::SYS_mkdir, &[libc::EACCES, libc::ENOSPC, libc::EROFS]),
    ("mkdirat", libc::SYS_mkdirat, &[libc::EACCES, libc::ENOSPC, libc::EROFS]),
    ("linkat", libc::SYS_linkat, &[libc::EACCES, libc::ENOSPC, libc::EEXIST]),
    ("unlinkat", libc::SYS_unlinkat, &[libc::EACCES, libc::EROFS]),
    ("unlink", libc::SYS_unlink, &[libc::EACCES, libc::EROFS]),
    ("readlink", libc::SYS_readlink, &[libc::EACCES, libc::ENOMEM]),
    ("getdents64", libc::SYS_getdents64, &[libc::ENOENT]),
    ("read", libc::SYS_read, &[libc::EINTR, libc::EIO]),
    ("write", libc::SYS_write, &[libc::EINTR, libc::EIO]),
    ("eventfd2", libc::SYS_eventfd2, &[libc::EMFILE, libc::ENFILE, libc::ENOMEM]),
    ("socketpair", libc::SYS_socketpair, &[libc::EMFILE, libc::ENFILE, libc::ENOMEM]),
    ("sendmsg", libc::SYS_sendmsg, &[libc::EINTR, libc::ENOBUFS, libc::ENOMEM, libc::EPIPE, libc::ECONNRESET]),
    ("sendto", libc::SYS_sendto, &[libc::EINTR, libc::ENOBUFS, libc::ENOMEM, libc::EPIPE, libc::ECONNRESET]),
    ("recvmsg", libc::SYS_recvmsg, &[libc::EINTR, libc::ENOMEM, libc::ECONNRESET]),
    ("recvfrom", libc::SYS_recvfrom, &[libc::EINTR, libc::ENOMEM, libc::ECONNRESET]),
    ("getsockopt", libc::SYS_getsockopt, &[libc::ENOMEM]),
    ("setsockopt", libc::SYS_setsockopt, &[libc::ENOMEM]),
    ("poll", libc::SYS_poll, &[libc::EINTR, libc::ENOMEM]),
    ("ppoll", libc::SYS_ppoll, &[libc::EINTR, libc::ENOMEM]),
    ("futex", libc::SYS_futex, &[libc::EINTR]),
    ("clone3", libc::SYS_clone3, &[libc::EAGAIN, libc::ENOMEM]),
    ("pidfd_open", libc::SYS_pidfd_open, &[libc::EMFILE, libc::ENFILE, libc::ENOMEM]),
    ("pidfd_send_signal", libc::SYS_pidfd_send_signal, &[libc::EPERM, libc::ESRCH]),
    ("waitid", libc::SYS_waitid, &[libc::EINTR]),
    ("wait4", libc::SYS_wait4, &[libc::EINTR]),
];
/// The one command of `fcntl` that a signal can interrupt.
const LOCK: &str = "fcntl for a lock";

/// A copy that takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// A `get` that waits so long begins to watch for deaths.
const LONGER_THAN_A_LOOK: Duration = Duration::from_millis(120);

/// Exit statuses of a copy.
const SUCCEEDED: i32 = 0;
const CLEAR_ERROR: i32 = 10;
const LEFT_DESCRIPTORS: i32 = 11;
const LEFT_CHILDREN: i32 = 12;
const NOT_AFTERWARDS: i32 = 13;

/// Index of the error's call in [`CALLS`], which of the copy's calls it is, and the error.
type Fault = (usize, usize, i32);

/// Runs scenarios with at most `most` faults each; 0 means all. Returns cases and failures.
pub(crate) fn all(most: usize, only: Option<&str>) -> Result<(usize, usize), Box<dyn std::error::Error>> {
    let (mut cases, mut failed) = (0, 0);
    for (number, (name, _)) in SCENARIOS.iter().enumerate().filter(|(_, (name, _))| only.is_none_or(|only| only == *name)) {
        let calls = run(number, None)?.calls;
        let faults: Vec<Fault> =
            calls.iter().enumerate().flat_map(|(at, &call)| CALLS[call].2.iter().map(move |&error| (call, at, error))).collect();
        let stride = if most == 0 { 1 } else { faults.len().div_ceil(most) };
        let faults: Vec<Fault> = faults.into_iter().step_by(stride).collect();
        let bad = spread::over_processes(4, run_all, number, &faults)?;
        let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
        calls.iter().for_each(|&call| *kinds.entry(CALLS[call].0).or_default() += 1);
        println!("{name}: {} system calls ({kinds:?}), {} faults, {bad} failed", calls.len(), faults.len());
        cases += faults.len();
        failed += bad;
    }
    Ok((cases, failed))
}

fn run_all((scenario, faults): (usize, Vec<Fault>)) -> Result<(), String> {
    let mut wrong = Ok(());
    for fault in faults {
        let (call, at, error) = fault;
        let what = || {
            let error = std::io::Error::from_raw_os_error(error);
            format!("{}, call {at} ({}) with {error}", SCENARIOS[scenario].0, CALLS[call].0)
        };
        let status = run(scenario, Some(fault)).map_err(|error| format!("{}: {error}", what()))?.status;
        let verdict = match status {
            SUCCEEDED => continue,
            // The system's loader fails when a signal interrupts it.
            CLEAR_ERROR if error != libc::EINTR || scenario == IN_THE_CHILD => continue,
            CLEAR_ERROR => "an interruption is no error",
            LEFT_DESCRIPTORS => "descriptors were left over",
            LEFT_CHILDREN => "children were left over",
            NOT_AFTERWARDS => "it did not work afterwards",
            101 => "it panicked",
            HUNG => "it hung",
            _ => "it crashed",
        };
        eprintln!("{}: {verdict} ({status})", what());
        wrong = Err("some faults were not survived".to_owned());
    }
    wrong
}

struct Run {
    /// The system calls of the scenario that are in [`CALLS`], as indices into it.
    calls: Vec<usize>,
    status: i32,
}

const HUNG: i32 = -1;

/// Runs a scenario in a forked copy, with or without a fault.
fn run(number: usize, fault: Option<Fault>) -> Result<Run, String> {
    let (name, scenario) = SCENARIOS[number];
    // SAFETY: this process has one thread, so the copy may do anything; it ends without unwinding into what it copied.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let status = std::panic::catch_unwind(|| in_the_copy(name, scenario)).unwrap_or(101);
        // SAFETY: ends the process at once, without running what the parent will run.
        unsafe { libc::_exit(status) }
    }
    trace(pid, fault, number == IN_THE_CHILD)
}

fn in_the_copy(name: &str, scenario: fn() -> Result<(), String>) -> i32 {
    // What a process sets up once is set up before: a thread that watches for deaths has descriptors of its own.
    let watch = multiproc::Queue::<()>::bounded(1).map(|q| q.get_timeout(LONGER_THAN_A_LOOK));
    if !matches!(watch, Ok(Err(multiproc::GetError::Timeout))) {
        return NOT_AFTERWARDS;
    }
    if let Err(error) = scenario() {
        eprintln!("{name}: fails without a fault: {error}");
        return NOT_AFTERWARDS;
    }
    let before = descriptors();
    // SAFETY: the copy asks to be traced, and stops until its parent lets it go on.
    unsafe {
        libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
        libc::raise(libc::SIGSTOP);
    }
    let outcome = scenario();
    // SAFETY: the copy stops, to mark the end of the scenario. Its parent then lets it run.
    unsafe { libc::raise(libc::SIGSTOP) };
    if outcome.as_ref().is_err_and(|error| error.len() < 10) {
        eprintln!("{name}: {outcome:?} is no clear error");
        return NOT_AFTERWARDS;
    }
    // Background threads close their descriptors soon.
    let patience = Instant::now() + Duration::from_secs(2);
    while descriptors() != before {
        if Instant::now() > patience {
            return LEFT_DESCRIPTORS;
        }
        std::thread::yield_now();
    }
    // SAFETY: asks whether there is any child; takes no status.
    if unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG | libc::__WALL) } != -1 {
        return LEFT_CHILDREN;
    }
    match (outcome, scenario()) {
        (_, Err(error)) => {
            eprintln!("{name}: afterwards: {error}");
            NOT_AFTERWARDS
        }
        (Ok(()), Ok(())) => SUCCEEDED,
        (Err(error), Ok(())) => {
            if std::env::var_os("FAULTS_SHOW").is_some() {
                eprintln!("{name}: {error}");
            }
            CLEAR_ERROR
        }
    }
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// The state of a traced process.
struct Tracee {
    entering: bool,
    failing: Option<i32>,
}

/// Lets the copy run and counts its system calls. With `in_the_child`, counts those of the process that the copy starts.
fn trace(copy: i32, fault: Option<Fault>, in_the_child: bool) -> Result<Run, String> {
    let mut calls = Vec::new();
    let begin = Instant::now();
    let mark = wait(copy, copy, begin);
    if mark.is_none_or(|(_, status)| !libc::WIFSTOPPED(status)) {
        return Err(format!("the copy did not come to the mark: {mark:?}"));
    }
    let follow = if in_the_child { libc::PTRACE_O_TRACEFORK | libc::PTRACE_O_TRACEVFORK } else { 0 };
    let options = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_EXITKILL | follow;
    // SAFETY: the copy is ours, traced and stopped; so in all that follows, as is what it starts.
    unsafe { libc::ptrace(libc::PTRACE_SETOPTIONS, copy, 0, options) };
    let mut tracees: BTreeMap<i32, Tracee> = BTreeMap::new();
    let (mut pid, mut signal) = (copy, 0);
    let status = loop {
        // SAFETY: as above.
        unsafe { libc::ptrace(libc::PTRACE_SYSCALL, pid, 0, signal) };
        let (stopped, status) = loop {
            let anyone = if in_the_child { -1 } else { copy };
            let Some((stopped, status)) = wait(copy, anyone, begin) else { return Ok(Run { calls, status: HUNG }) };
            // The copy waits for its own child.
            if stopped == copy || libc::WIFSTOPPED(status) {
                break (stopped, status);
            }
        };
        (pid, signal) = (stopped, 0);
        if !libc::WIFSTOPPED(status) {
            break status;
        }
        match libc::WSTOPSIG(status) {
            libc::SIGSTOP if pid == copy => {
                // SAFETY: as above; from here on it runs by itself.
                unsafe { libc::ptrace(libc::PTRACE_DETACH, pid, 0, 0) };
                match wait(copy, copy, begin) {
                    Some((_, status)) => break status,
                    None => return Ok(Run { calls, status: HUNG }),
                }
            }
            stop if stop == libc::SIGTRAP | 0x80 => {
                let tracee = tracees.entry(pid).or_insert(Tracee { entering: true, failing: None });
                if (pid == copy) != in_the_child {
                    at_system_call(pid, tracee, &mut calls, fault);
                }
                tracee.entering = !tracee.entering;
            }
            // A process has started, or runs a new program.
            libc::SIGSTOP | libc::SIGTRAP => {}
            other => signal = other,
        }
    };
    let status = if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 1000 + libc::WTERMSIG(status) };
    Ok(Run { calls, status })
}

/// Counts the call. If it is the chosen one, puts the error in the place of its result.
fn at_system_call(pid: i32, tracee: &mut Tracee, calls: &mut Vec<usize>, fault: Option<Fault>) {
    // SAFETY: plain integers, which the kernel fills in.
    let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
    // SAFETY: traced and stopped; `registers` outlives the call.
    unsafe { libc::ptrace(libc::PTRACE_GETREGS, pid, 0, &raw mut registers) };
    if tracee.entering {
        let Some(call) = CALLS.iter().position(|call| is_ours(call, &registers)) else { return };
        // Threads make their calls in another order each time: the first call of the chosen kind from that place on.
        if let Some((kind, at, error)) = fault
            && kind == call
            && calls.get(at..).is_some_and(|since| !since.contains(&kind))
        {
            // No such call: the kernel does nothing.
            registers.orig_rax = u64::MAX;
            tracee.failing = Some(error);
        }
        calls.push(call);
    } else if let Some(error) = tracee.failing.take() {
        registers.rax = -i64::from(error) as u64;
    }
    // SAFETY: as above.
    unsafe { libc::ptrace(libc::PTRACE_SETREGS, pid, 0, &raw const registers) };
}

/// Whether this is the call, and the project makes it: the allocator's memory and the standard library's locks do not count.
fn is_ours(&(name, number, _): &(&str, i64, &[i32]), registers: &libc::user_regs_struct) -> bool {
    let locks = libc::F_OFD_GETLK as u64..=libc::F_OFD_SETLKW as u64;
    match number {
        _ if number as u64 != registers.orig_rax => false,
        libc::SYS_fcntl => (name == LOCK) == locks.contains(&registers.rsi),
        libc::SYS_mmap => registers.r8 as i32 >= 0,
        libc::SYS_futex => registers.rsi & libc::FUTEX_PRIVATE_FLAG as u64 == 0,
        // Writes to the standard streams are the process's words to its user.
        libc::SYS_write => registers.rdi > 2,
        _ => true,
    }
}

/// Waits for news of `whom`: which process, and its status. `None` after [`PATIENCE`]; then the copy is killed.
fn wait(copy: i32, whom: i32, begin: Instant) -> Option<(i32, i32)> {
    let mut status = 0;
    loop {
        // SAFETY: asks about our own children and their children; `status` outlives the call.
        match unsafe { libc::waitpid(whom, &raw mut status, libc::WNOHANG | libc::__WALL) } {
            0 | -1 => {}
            pid => return Some((pid, status)),
        }
        if begin.elapsed() > PATIENCE {
            // SAFETY: our own child, not waited for yet.
            unsafe {
                libc::kill(copy, libc::SIGKILL);
                libc::waitpid(copy, &raw mut status, 0);
            }
            return None;
        }
        std::thread::yield_now();
    }
}
