//! The parts of worlds, and the maker: the process that makes a world and runs a program in it.

use crate::Failure;
use crate::table::{Begin, World, worlds};
use std::ffi::{CStr, CString};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The descriptor of reports. The watcher opens it, and the maker and the program in the world inherit it.
pub(crate) const REPORT: i32 = 200;

/// A user that owns nothing.
pub(crate) const NOBODY: u32 = 65534;

/// One thing that makes a world unusual.
#[derive(Clone, Debug)]
pub(crate) enum Make {
    /// A `/proc` mounted anew with these options.
    Proc(&'static CStr),
    /// An empty `/proc`.
    NoProc,
    /// A `/dev/shm` of its own with these options.
    Shm(&'static CStr),
    ShmReadOnly,
    /// A `/dev` in which there is no `shm`.
    NoShm,
    /// Namespaces of its own.
    Unshare(i32),
    /// User 0 of a new user namespace stands for our user.
    MapUser,
    /// Clocks of a new time namespace are 100,000 s ahead.
    ShiftClocks,
    /// Another user for good: real, effective and saved ids.
    User(u32),
    /// Real and effective user, which differ.
    Users(u32, u32),
    /// Real and effective group, which differ.
    Groups(u32, u32),
    NoCapabilities,
    Close(&'static [i32]),
    /// Standard input is a socket, as a super-server gives it to the servers that it starts.
    SocketAsInput,
    NoEnvironment,
    /// The working directory was removed.
    NoDirectory,
    /// Standard error is a pipe that nobody reads.
    BrokenStderr,
    Umask(u32),
    Limit(libc::__rlimit_resource_t, u64),
    /// As many descriptors as the system allows.
    ManyDescriptors,
    /// Each of these system calls fails with this error.
    Refuse(&'static [i64], i32),
    OneProcessor,
    BlockSignals,
    IgnoreChildren,
    NonDumpable,
    /// The program's file is removed.
    Unlink,
}

fn check(result: impl Into<i64>) -> io::Result<()> {
    if result.into() == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

pub(crate) fn mount(what: &CStr, at: &CStr, kind: &CStr, flags: u64, options: &CStr) -> io::Result<()> {
    // SAFETY: all are strings that outlive the call.
    check(unsafe { libc::mount(what.as_ptr(), at.as_ptr(), kind.as_ptr(), flags, options.as_ptr().cast()) })
}

pub(crate) fn unshare(flags: i32) -> io::Result<()> {
    // SAFETY: no memory is involved.
    check(unsafe { libc::unshare(flags) })
}

/// Becomes another user with no groups but one, for good.
pub(crate) fn become_user(id: u32) -> io::Result<()> {
    // SAFETY: an empty list of groups, and numbers.
    unsafe {
        check(libc::setgroups(0, std::ptr::null()))?;
        check(libc::setresgid(id, id, id))?;
        check(libc::setresuid(id, id, id))
    }
}

fn set_limit(resource: libc::__rlimit_resource_t, value: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: value, rlim_max: value };
    // SAFETY: the structure outlives the call.
    check(unsafe { libc::setrlimit(resource, &raw const limit) })
}

/// Has the kernel answer each of these calls with an error.
fn refuse(calls: &[i64], error: i32) -> io::Result<()> {
    let step = |code: u32, yes: usize, value: u32| libc::sock_filter { code: code as u16, jt: yes as u8, jf: 0, k: value };
    let mut filter = vec![step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0)];
    // A call that is one of them jumps over the others, and over the permission, to the refusal.
    let refusals = calls.iter().enumerate();
    filter.extend(refusals.map(|(at, &call)| step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, calls.len() - at, call as u32)));
    filter.push(step(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW));
    filter.push(step(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ERRNO | error as u32));
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the program and its steps outlive the calls; the kernel copies them.
    unsafe {
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        check(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program))
    }
}

/// Gives up all capabilities, and those that user 0 gets back when it runs a program.
fn drop_capabilities() -> io::Result<()> {
    let header = [0x2008_0522_u32, 0];
    let none = [0_u32; 6];
    for capability in 0..64 {
        // SAFETY: numbers only. Those beyond the last one are refused, which changes nothing.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
    }
    // SAFETY: header and data are of the version that the header names, and outlive the call.
    check(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) })
}

/// A `/dev` with the devices that every program expects, and nothing else.
fn bare_dev() -> io::Result<()> {
    mount(c"tmpfs", c"/dev", c"tmpfs", 0, c"mode=755")?;
    for (name, minor) in [(c"/dev/null", 3), (c"/dev/zero", 5), (c"/dev/full", 7), (c"/dev/urandom", 9)] {
        // SAFETY: a string that outlives the calls, and numbers.
        unsafe {
            check(libc::mknod(name.as_ptr(), libc::S_IFCHR, libc::makedev(1, minor)))?;
            check(libc::chmod(name.as_ptr(), 0o666))?;
        }
    }
    Ok(())
}

/// A socket of the kind that the library uses, with nobody at its other end.
fn socket_as_input() -> io::Result<()> {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors; each is ours to close or to put in a place.
    unsafe {
        check(libc::socketpair(libc::AF_UNIX, libc::SOCK_SEQPACKET, 0, ends.as_mut_ptr()))?;
        check(libc::dup2(ends[1], 0))?;
        check(libc::close(ends[0]))?;
        check(libc::close(ends[1]))
    }
}

fn leave_no_directory() -> io::Result<()> {
    let directory = std::env::temp_dir().join(format!("multiproc-gone-{}", std::process::id()));
    std::fs::create_dir(&directory)?;
    std::env::set_current_dir(&directory)?;
    std::fs::remove_dir(&directory)
}

fn break_stderr() -> io::Result<()> {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors; each is ours to close or to put in a place.
    unsafe {
        check(libc::pipe(ends.as_mut_ptr()))?;
        check(libc::dup2(ends[1], 2))?;
        check(libc::close(ends[0]))?;
        check(libc::close(ends[1]))
    }
}

impl Make {
    pub(crate) fn make(&self) -> io::Result<()> {
        match *self {
            Self::Proc(options) => mount(c"proc", c"/proc", c"proc", 0, options),
            Self::NoProc => mount(c"tmpfs", c"/proc", c"tmpfs", 0, c"mode=755"),
            Self::Shm(options) => mount(c"tmpfs", c"/dev/shm", c"tmpfs", 0, options),
            Self::ShmReadOnly => mount(c"", c"/dev/shm", c"", libc::MS_REMOUNT | libc::MS_RDONLY, c""),
            Self::NoShm => bare_dev(),
            Self::Unshare(flags) => unshare(flags),
            Self::MapUser => {
                std::fs::write("/proc/self/setgroups", "deny")?;
                std::fs::write("/proc/self/uid_map", "0 0 1")?;
                std::fs::write("/proc/self/gid_map", "0 0 1")
            }
            Self::ShiftClocks => std::fs::write("/proc/self/timens_offsets", "monotonic 100000 0\nboottime 100000 0\n"),
            Self::User(id) => become_user(id),
            // SAFETY: numbers only, here and below.
            Self::Users(real, effective) => check(unsafe { libc::setresuid(real, effective, effective) }),
            // SAFETY: as above.
            Self::Groups(real, effective) => check(unsafe { libc::setresgid(real, effective, effective) }),
            Self::NoCapabilities => drop_capabilities(),
            Self::Close(descriptors) => {
                for &descriptor in descriptors {
                    // SAFETY: the standard library uses them to print alone, and bears their absence.
                    let _ = unsafe { libc::close(descriptor) };
                }
                Ok(())
            }
            Self::SocketAsInput => socket_as_input(),
            // SAFETY: no other thread reads the environment.
            Self::NoEnvironment => check(unsafe { libc::clearenv() }),
            Self::NoDirectory => leave_no_directory(),
            Self::BrokenStderr => break_stderr(),
            Self::Umask(mask) => {
                // SAFETY: as above.
                unsafe { libc::umask(mask) };
                Ok(())
            }
            Self::Limit(resource, value) => set_limit(resource, value),
            Self::ManyDescriptors => set_limit(libc::RLIMIT_NOFILE, 20_000),
            Self::Refuse(calls, error) => refuse(calls, error),
            Self::OneProcessor => {
                // SAFETY: a set of processors is plain bits, and outlives the calls.
                unsafe {
                    let mut processors: libc::cpu_set_t = std::mem::zeroed();
                    libc::CPU_SET(0, &mut processors);
                    check(libc::sched_setaffinity(0, size_of_val(&processors), &raw const processors))
                }
            }
            Self::BlockSignals => {
                // SAFETY: a set of signals is plain bits, and outlives the calls.
                unsafe {
                    let mut signals: libc::sigset_t = std::mem::zeroed();
                    libc::sigfillset(&raw mut signals);
                    check(libc::sigprocmask(libc::SIG_SETMASK, &raw const signals, std::ptr::null_mut()))
                }
            }
            Self::IgnoreChildren => {
                // SAFETY: ignoring a signal runs no code.
                unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
                Ok(())
            }
            // SAFETY: as above.
            Self::NonDumpable => check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) }),
            Self::Unlink => std::fs::remove_file(std::env::current_exe()?),
        }
    }
}

/// One line for the watcher, in one write.
pub(crate) fn report(line: &str) {
    let line = format!("{}\n", line.replace('\n', " "));
    // SAFETY: the bytes outlive the call. Without a watcher it fails, which does no harm.
    unsafe { libc::write(REPORT, line.as_ptr().cast(), line.len()) };
}

/// Makes all parts, or reports which one this machine can't make.
pub(crate) fn make_all(parts: &[Make]) -> io::Result<()> {
    parts.iter().try_for_each(|part| part.make().inspect_err(|error| report(&format!("NOT RUN: can't make {part:?}: {error}"))))
}

/// The maker: makes the world, starts the program in it, and ends with the program's result.
pub(crate) fn make_and_run(arguments: &[&str]) -> Result<(), Failure> {
    let [name, program, form] = arguments[..] else { return Err("a maker needs a world, a program and a form".into()) };
    let world = worlds().into_iter().find(|world| world.name == name).ok_or("there is no such world")?;
    let file = std::env::current_exe()?;
    // The programs get mounts and a `/dev/shm` of their own. Where that is not allowed, they use the usual ones.
    if unshare(libc::CLONE_NEWNS).is_ok() {
        mount(c"", c"/", c"", libc::MS_REC | libc::MS_PRIVATE, c"")?;
        let _ = Make::Shm(c"mode=1777").make();
    }
    let (file, copy) = file_to_run(&world, &file)?;
    if make_all(&world.outside).is_err() {
        return Ok(());
    }
    let mut command = match world.begin {
        Begin::Loader(loader) => {
            let mut command = Command::new(loader);
            command.arg(&file);
            command
        }
        _ => Command::new(&file),
    };
    command.args(["--inside", name, program, form]);
    let parts = world.start.clone();
    // SAFETY: this process has one thread, so its copy may do anything.
    unsafe { command.pre_exec(move || make_all(&parts)) };
    let started = command.spawn();
    let ended = match started {
        Ok(mut child) => child.wait(),
        Err(error) => {
            report(&format!("NOT RUN: can't start a program in it: {error}"));
            return Ok(());
        }
    };
    if let Some(copy) = copy {
        let _ = std::fs::remove_file(copy);
    }
    match ended? {
        status if status.success() => Ok(()),
        status => Err(format!("the program in the world ended with {status}").into()),
    }
}

/// The program's file, or a copy made for this world.
fn file_to_run(world: &World, file: &Path) -> io::Result<(PathBuf, Option<PathBuf>)> {
    let Begin::Copy(mode) = world.begin else { return Ok((file.into(), None)) };
    let copy = file.with_file_name(format!("copy-{}", std::process::id()));
    std::fs::copy(file, &copy)?;
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(mode))?;
    Ok((copy.clone(), Some(copy)))
}

/// A path for a system call.
pub(crate) fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_encoded_bytes())?)
}
