//! The new process's side: recognises itself before `main`, gets its orders, and runs its function.

use crate::current::become_child;
use crate::image::{Call, Image, Target};
use crate::{current_process, family, main_guard};
use multiproc_shm::Link;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, FdFlags, fcntl_dupfd_cloexec, fcntl_getfd, retry_on_intr};
use rustix::net::SocketType;
use rustix::process::{Pid, PidfdFlags, Signal, getpid, getppid, kill_process, pidfd_open};
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// Holds the parent's process id in a new process (and in programs that it runs, which the socket tells apart).
pub(crate) const CHILD_VARIABLE: &str = "MULTIPROC_PARENT";

/// Descriptors that arguments can hold.
const MAX_DESCRIPTORS: usize = 1 << 16;
/// Bytes that arguments can take, encoded.
const MAX_ARGS: usize = 1 << 30;

/// Everything that a new process is told.
#[derive(Debug)]
pub(crate) struct Hello {
    pub(crate) target: Target,
    /// Whether to run before `main`, since the parent's `main` did not call `init` either.
    pub(crate) early: bool,
    pub(crate) daemon: bool,
    pub(crate) parent: u32,
    pub(crate) name: String,
    pub(crate) numbers: Vec<u32>,
    pub(crate) args: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct HelloBytes {
    identity: [u64; 4],
    enter: u64,
    function: u64,
    early: bool,
    daemon: bool,
    parent: u32,
    name: String,
    numbers: Vec<u32>,
    args: Vec<u8>,
}

impl Hello {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let Self { target, early, daemon, parent, name, numbers, args } = self;
        let bytes = HelloBytes {
            identity: target.image.identity,
            enter: target.enter,
            function: target.function,
            early: *early,
            daemon: *daemon,
            parent: *parent,
            name: name.clone(),
            numbers: numbers.clone(),
            args: args.clone(),
        };
        let mut encoded = Vec::new();
        // Numbers and strings have no way to refuse.
        let _ = multiproc_shm::pass::encode_plain(&bytes, &mut encoded);
        encoded
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let told: HelloBytes = multiproc_shm::pass::decode_plain(bytes).ok()?;
        Some(Self {
            target: Target { image: Image::told(told.identity), enter: told.enter, function: told.function },
            early: told.early,
            daemon: told.daemon,
            parent: told.parent,
            name: told.name,
            numbers: told.numbers,
            args: told.args,
        })
    }
}

/// What a new process answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Ready,
    Failed(String),
}

impl Reply {
    fn to_bytes(&self) -> Vec<u8> {
        let mut encoded = Vec::new();
        let _ = multiproc_shm::pass::encode_plain(self, &mut encoded);
        encoded
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        multiproc_shm::pass::decode_plain(bytes).ok()
    }
}

/// Orders that were received and not carried out yet.
#[derive(Debug)]
pub(crate) struct Orders {
    link: Link,
    hello: Hello,
    descriptors: Vec<OwnedFd>,
}

/// Runs before `main` in every program that this crate is part of. In all but new processes of ours it looks at one
/// environment variable.
#[used]
// SAFETY: the section holds pointers to functions that the C library calls before `main`; this is one, and it expects nothing of the
// state of the program but a working C library.
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = before_main;

extern "C" fn before_main() {
    // A panic must not unwind into the C library.
    if std::panic::catch_unwind(recognise_ourselves).is_err() {
        std::process::exit(101);
    }
}

fn recognise_ourselves() {
    let Some(parent) = std::env::var(CHILD_VARIABLE).ok().and_then(|pid| pid.parse::<u32>().ok()) else { return };
    let link = match inherited_link(parent) {
        Ok(Some(link)) => link,
        Ok(None) => return,
        // To go on as if we were not a new process would run `main` a second time.
        Err(error) => {
            eprintln!("multiproc: a new process of process {parent} can't begin: {error}");
            std::process::exit(1);
        }
    };
    close_everything_but(&link);
    // A parent that dies before it has told us anything leaves nothing to do.
    let Ok((bytes, descriptors)) = link.receive(MAX_ARGS, MAX_DESCRIPTORS, true) else { std::process::exit(1) };
    let Some(hello) = Hello::from_bytes(&bytes) else { std::process::exit(1) };
    become_child(&hello.name, &hello.numbers, hello.daemon, hello.parent);
    let early = hello.early;
    let orders = Orders { link, hello, descriptors };
    if early {
        // What the standard library does before `main`: writing to a closed pipe is an error and not a signal.
        // SAFETY: ignoring a signal touches nothing else; no other thread runs yet.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
        orders.carry_out();
    }
    main_guard::expect_init(orders);
}

/// The socket that our parent put in place of standard input; `None` if it is none, or not from that parent.
///
/// # Errors
///
/// The system refuses to say, or what a new process needs.
fn inherited_link(parent: u32) -> io::Result<Option<Link>> {
    // Not for programs that run with more rights than whoever started them has.
    if rustix::process::getuid() != rustix::process::geteuid() {
        return Ok(None);
    }
    // SAFETY: descriptor 0 is only borrowed, for calls that fail if it is closed.
    let stdin = unsafe { BorrowedFd::borrow_raw(0) };
    let kind = match rustix::net::sockopt::socket_type(stdin) {
        Err(Errno::NOTSOCK | Errno::BADF) => return Ok(None),
        kind => kind?,
    };
    // A parent outside our pid namespace has the number 0 here.
    if kind != SocketType::SEQPACKET || ![0, parent].contains(&peer_pid(stdin)?) {
        return Ok(None);
    }
    let link = fcntl_dupfd_cloexec(stdin, 3)?;
    // As in Python, a child process reads nothing from the terminal.
    let null = retry_on_intr(|| rustix::fs::open("/dev/null", OFlags::RDONLY, Mode::empty()))?;
    retry_on_intr(|| rustix::stdio::dup2_stdin(&null))?;
    Ok(Some(Link::from_descriptor(link)))
}

/// The process that made a socket pair, 0 if our namespace has no number for it: which rustix has no type for.
fn peer_pid(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the option fills in at most `len` bytes of this very structure, plain integers; both outlive the call.
    let done = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED, (&raw mut peer).cast(), &raw mut len)
    };
    if done == 0 { Ok(peer.pid as u32) } else { Err(io::Error::last_os_error()) }
}

/// Closes what other code of the parent left open across exec. Before `main` nobody here can own it yet.
fn close_everything_but(link: &Link) {
    use std::os::fd::AsFd;
    let keep = link.as_fd().as_raw_fd();
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<RawFd> = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    for descriptor in open.into_iter().filter(|&descriptor| descriptor > 2 && descriptor != keep) {
        // SAFETY: only borrowed, for a call that fails if it is closed (as the directory's own is by now).
        let flags = fcntl_getfd(unsafe { BorrowedFd::borrow_raw(descriptor) });
        // What is close-on-exec was opened after exec, by a library that is loaded into us: it is in use.
        if flags.is_ok_and(|flags| !flags.contains(FdFlags::CLOEXEC)) {
            // SAFETY: it came through exec from the parent, and no code of this process has been told of it.
            unsafe { rustix::io::close(descriptor) };
        }
    }
}

impl Orders {
    /// Runs the function and ends the process.
    pub(crate) fn carry_out(self) -> ! {
        let Self { link, hello, descriptors } = self;
        if let Ok(name) = std::ffi::CString::new(hello.name.as_str()) {
            let _ = rustix::thread::set_name(&name);
        }
        if hello.daemon {
            die_with(hello.parent);
        }
        let call = match hello.target.prepare(&hello.args, descriptors) {
            Ok(call) => call,
            Err(why) => {
                let _ = link.send(&Reply::Failed(why).to_bytes(), &[]);
                std::process::exit(1);
            }
        };
        drop(hello);
        // Whether or not the parent still listens: a child that is no daemon outlives it.
        let _ = link.send(&Reply::Ready.to_bytes(), &[]);
        drop(link);
        std::process::exit(run(call))
    }
}

/// Calls the function as a `main` of its own, and finishes what has to be before the process ends.
fn run(call: Call) -> i32 {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        eprintln!("process {} panicked:", current_process().name());
        usual(info);
    }));
    let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).unwrap_or(101);
    family::end();
    code
}

/// Ends this process when its parent does, however that ends.
fn die_with(parent: u32) {
    let watch = Pid::from_raw(parent as i32).and_then(|parent| pidfd_open(parent, PidfdFlags::empty()).ok());
    let die = || {
        let _ = kill_process(getpid(), Signal::KILL);
    };
    // Another parent means that ours is dead already, and the number may be someone else's.
    let (Some(watch), true) = (watch, getppid() == Pid::from_raw(parent as i32)) else { return die() };
    let wait = move || {
        loop {
            let mut entry = [PollFd::new(&watch, PollFlags::IN)];
            if matches!(poll(&mut entry, None), Ok(ready) if ready > 0) {
                die();
            }
        }
    };
    if std::thread::Builder::new().name("multiproc-daemon".into()).spawn(wait).is_err() {
        die();
    }
}
