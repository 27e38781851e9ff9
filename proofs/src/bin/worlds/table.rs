//! Which worlds there are, and what must happen in each.

use crate::make::{Make, NOBODY};
use crate::programs::{EVERYWHERE, Program};
use crate::{limits, rights, views};
use std::fmt;

/// How the program begins.
#[derive(Clone, Copy)]
pub(crate) enum Begin {
    Plainly,
    /// From a copy with these permissions.
    Copy(u32),
    /// As an argument of the system's loader.
    Loader(&'static str),
}

/// What must happen.
#[derive(Clone, Copy)]
pub(crate) enum Must {
    Work,
    /// An error with one of these in its words.
    Fail(&'static [&'static str]),
    WorkOr(&'static [&'static str]),
}

pub(crate) struct World {
    pub(crate) name: String,
    /// What the maker does before it starts the program: namespaces and mounts.
    pub(crate) outside: Vec<Make>,
    /// What the program begins with.
    pub(crate) start: Vec<Make>,
    /// What the program does itself, after `init`.
    pub(crate) inside: Vec<Make>,
    pub(crate) begin: Begin,
    pub(crate) programs: Vec<&'static Program>,
    /// Programs that need not work.
    except: Vec<(&'static [&'static str], Must)>,
}

/// The programs of all worlds that start a process.
const STARTING: &[&str] = &["sizes", "redelivery", "living", "pipe", "named", "bounded", "terminate", "panic", "daemon", "pool"];
/// The programs that share memory without a name.
const UNNAMED: &[&str] = &["sizes", "redelivery", "living", "pipe", "burst", "bounded", "daemon", "pool"];
const ALL: &[&str] =
    &["sizes", "redelivery", "living", "pipe", "named", "burst", "bounded", "terminate", "panic", "daemon", "pool"];

/// Calls that the system or a sandbox may refuse, each with what must happen then.
const REFUSED: [(&str, &[i64], &[&str], Must); 10] = [
    ("membarrier", &[libc::SYS_membarrier], &[], Must::Work),
    ("pidfd_open", &[libc::SYS_pidfd_open], &[], Must::Work),
    ("pidfd_send_signal", &[libc::SYS_pidfd_send_signal], &[], Must::Work),
    ("memfd_create", &[libc::SYS_memfd_create], UNNAMED, Must::Fail(&["memfd_create"])),
    // Without it the C library starts processes and threads by the older call, if the error says that it does not exist. Other
    // errors are final.
    ("clone3", &[libc::SYS_clone3], ALL, Must::WorkOr(&["Operation not permitted", "this user may not do it"])),
    ("inotify_init1", &[libc::SYS_inotify_init1], &[], Must::Work),
    ("inotify_add_watch", &[libc::SYS_inotify_add_watch], &[], Must::Work),
    ("futex_waitv", &[libc::SYS_futex_waitv], &[], Must::Work),
    ("close_range", &[libc::SYS_close_range], &[], Must::Work),
    ("madvise", &[libc::SYS_madvise], &[], Must::Work),
];

const MIB: u64 = 1 << 20;
const SHM: &[&str] = &["/dev/shm"];
const RIGHTS: &[&str] = &["rights", "AT_SECURE"];

#[cfg(target_arch = "x86_64")]
const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";
#[cfg(not(target_arch = "x86_64"))]
const LOADER: &str = "/lib/ld-linux-aarch64.so.1";

fn world(name: impl Into<String>) -> World {
    let (outside, start, inside, except) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    World { name: name.into(), outside, start, inside, begin: Begin::Plainly, programs: EVERYWHERE.to_vec(), except }
}

pub(crate) fn worlds() -> Vec<World> {
    use Make::*;
    let mut worlds = vec![world("as it is").runs(&[&limits::CORE])];
    // Worlds in which processes see less of each other.
    worlds.extend([
        world("hidepid=2").outside([Proc(c"hidepid=2")]),
        world("hidepid=2, another user").outside([Proc(c"hidepid=2")]).start([User(NOBODY)]),
        world("another user").start([User(NOBODY)]),
        world("no /proc").outside([NoProc]).except(ALL, Must::WorkOr(&["/proc"])),
        world("pid namespace, /proc of another").outside([Unshare(libc::CLONE_NEWPID)]),
        world("pid namespace").outside([Unshare(libc::CLONE_NEWPID)]).start([Proc(c"")]),
        world("pid namespace for children").only(&[&views::ACROSS_PID, &views::DAEMON_PID]),
        world("time namespace").outside([Unshare(libc::CLONE_NEWTIME), ShiftClocks]),
        world("time namespace for children").only(&[&views::ACROSS_TIME, &views::DAEMON_TIME]),
        world("user namespace").outside([Unshare(libc::CLONE_NEWUSER), MapUser]),
        world("user namespace without users").outside([Unshare(libc::CLONE_NEWUSER)]),
        world("user, pid and time namespace").outside([
            Unshare(libc::CLONE_NEWUSER),
            MapUser,
            Unshare(libc::CLONE_NEWPID | libc::CLONE_NEWTIME),
            ShiftClocks,
        ]),
    ]);
    // What a program begins with.
    for closed in [&[0][..], &[1], &[2], &[0, 1, 2]] {
        worlds.push(world(format!("descriptors {closed:?} closed")).start([Close(closed)]));
        worlds.push(world(format!("descriptors {closed:?} closed while it runs")).inside([Close(closed)]));
    }
    worlds.extend([
        world("standard input is a socket").start([SocketAsInput]),
        world("no environment").start([NoEnvironment]),
        world("no working directory").start([NoDirectory]),
        world("standard error is a broken pipe").start([BrokenStderr]),
        world("umask 0177").start([User(NOBODY), Umask(0o177)]),
        world("umask 0777").start([User(NOBODY), Umask(0o777)]),
        world("umask 0, of user 0").start([Umask(0)]),
        world("umask 0777, of user 0").start([Umask(0o777)]),
        world("one processor").start([OneProcessor]),
        world("blocked signals at the start").start([BlockSignals]),
        world("blocked signals in the starting thread").inside([BlockSignals]),
        world("children are ignored").start([IgnoreChildren]),
        world("program file that can't be read").begins(Begin::Copy(0o711)).start([User(NOBODY)]),
        world("program file that was removed").begins(Begin::Copy(0o755)).inside([Unlink]),
        world("started by the loader")
            .begins(Begin::Loader(LOADER))
            .except(STARTING, Must::WorkOr(&["loader", "executable file"])),
    ]);
    // Worlds in which something runs out.
    worlds.extend([
        world("ulimit -v 1 GiB").start([Limit(libc::RLIMIT_AS, 1024 * MIB)]),
        world("ulimit -v 1 GiB, until it ends")
            .start([ManyDescriptors, Limit(libc::RLIMIT_AS, 1024 * MIB)])
            .only(&[&limits::DESCRIPTORS]),
        world("ulimit -v 8 GiB").start([ManyDescriptors, Limit(libc::RLIMIT_AS, 8192 * MIB)]).only(&[&limits::THOUSAND]),
        world("ulimit -f 64 MiB").start([Limit(libc::RLIMIT_FSIZE, 64 * MIB)]),
        world("ulimit -f 0").start([Limit(libc::RLIMIT_FSIZE, 0)]).except(UNNAMED, NO_FILE).except(&["named"], NO_FILE),
        world("ulimit -n 64").start([Limit(libc::RLIMIT_NOFILE, 64)]).runs(&[&limits::DESCRIPTORS, &limits::PIPES]),
        // The limit counts threads, too.
        world("ulimit -u 1").start([Limit(libc::RLIMIT_NPROC, 1), User(65_533)]).except(STARTING, NO_PROCESS),
        world("/dev/shm of 8 MiB").outside([Shm(c"size=8m,mode=1777")]).runs(&[&limits::TOO_LARGE, &limits::FILLED]),
        world("/dev/shm read-only").outside([ShmReadOnly]).except(&["named"], Must::Fail(SHM)),
        world("no /dev/shm").outside([NoShm]).except(&["named"], Must::Fail(SHM)),
    ]);
    for (name, calls, except, must) in REFUSED {
        for (error, number) in [("ENOSYS", libc::ENOSYS), ("EPERM", libc::EPERM)] {
            let must = if name == "clone3" && number == libc::ENOSYS { Must::Work } else { must };
            worlds.push(world(format!("{name} refused, {error}")).start([Refuse(calls, number)]).except(except, must));
        }
    }
    // Worlds in which rights differ.
    worlds.extend([
        world("no capabilities").start([NoCapabilities]),
        world("non-dumpable").inside([NonDumpable]),
        world("non-dumpable, another user").start([User(NOBODY)]).inside([NonDumpable]),
        world("user and effective user differ").start([Users(NOBODY, 0)]).except(STARTING, Must::WorkOr(RIGHTS)),
        world("group and effective group differ").start([Groups(NOBODY, 0)]).except(STARTING, Must::WorkOr(RIGHTS)),
        world("acting for another user")
            .only(&[&views::RIGHTS_AT_RUN_TIME])
            .except(&["rights at run time"], Must::WorkOr(RIGHTS)),
        world("a program with more rights than its starter").only(&rights::PROGRAMS),
    ]);
    worlds
}

const NO_FILE: Must = Must::Fail(&["ulimit -f", "File too large"]);
const NO_PROCESS: Must = Must::Fail(&["Resource temporarily unavailable", "ulimit -u"]);

impl World {
    fn outside<const N: usize>(mut self, parts: [Make; N]) -> Self {
        self.outside = parts.into();
        self
    }

    fn start<const N: usize>(mut self, parts: [Make; N]) -> Self {
        self.start = parts.into();
        self
    }

    fn inside<const N: usize>(mut self, parts: [Make; N]) -> Self {
        self.inside = parts.into();
        self
    }

    fn begins(mut self, begin: Begin) -> Self {
        self.begin = begin;
        self
    }

    /// More programs.
    fn runs(mut self, programs: &[&'static Program]) -> Self {
        self.programs.extend(programs);
        self
    }

    /// No other programs.
    fn only(mut self, programs: &[&'static Program]) -> Self {
        self.programs = programs.into();
        self
    }

    fn except(mut self, programs: &'static [&'static str], must: Must) -> Self {
        self.except.push((programs, must));
        self
    }

    pub(crate) fn must(&self, program: &Program) -> &Must {
        self.except.iter().find(|(names, _)| names.contains(&program.name)).map_or(&Must::Work, |(_, must)| must)
    }

    /// Whether the short form runs the program: one each for a start, a death and a name, and the programs of this world alone.
    pub(crate) fn is_telling(&self, program: &str) -> bool {
        let everywhere = self.programs.iter().any(|known| known.name == "sizes");
        !everywhere || ["sizes", "redelivery", "named"].contains(&program) || !ALL.contains(&program)
    }

    /// What must happen here, in words.
    pub(crate) fn expectation(&self) -> String {
        let others = if self.except.is_empty() { "all work" } else { "; all others work" };
        let except: Vec<String> = self.except.iter().map(|(names, must)| format!("{} must {must}", names.join(", "))).collect();
        except.join("; ") + others
    }
}

impl fmt::Display for Must {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Work => f.write_str("work"),
            Self::Fail(texts) => write!(f, "give an error with {}", texts.join(" or ")),
            Self::WorkOr(texts) => write!(f, "work, or give an error with {}", texts.join(" or ")),
        }
    }
}
