//! Callers who prepare a socket and the environment, against copies of this very test program.
//!
//! Each test starts the program in a role of its own: the attacker, who speaks the protocol as `spawn` does, starts the victim.

use super::CHILD_VARIABLE;
use crate::hello::{Hello, MAX_REPLY, Reply, WELCOME};
use crate::image::Image;
use crate::target::Entry;
use crate::{Process, SpawnErrorKind};
use multiproc_travel::Link;
use rustix::fs::{StatVfsMountFlags, XattrFlags};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const ROLE: &str = "MULTIPROC_TEST_ROLE";
const VICTIM: &str = "MULTIPROC_TEST_VICTIM";
/// A user and a group without rights.
const NOBODY: u32 = 65534;

/// What an attacker wants to run in the victim.
fn chosen(_: ()) {
    println!("the chosen function ran");
    std::process::exit(77);
}

/// Not a test of its own: what this program is in a test's process.
#[test]
fn role() {
    let Ok(role) = std::env::var(ROLE) else { return };
    println!("main ran");
    match role.as_str() {
        "victim" => std::process::exit(7),
        "attacker" => attack(Route::Direct),
        "attacker through another process" => attack(Route::Shell),
        "attacker who speaks early" => attack(Route::Early),
        "attacker who becomes the parent" => attack(Route::Become),
        "attacker as root without capabilities" => {
            use rustix::thread::{CapabilitiesSecureBits, CapabilitySet, CapabilitySets};
            rustix::thread::set_capabilities_secure_bits(CapabilitiesSecureBits::NO_ROOT).unwrap();
            let none = CapabilitySet::empty();
            rustix::thread::set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
                .unwrap();
            attack(Route::Direct);
        }
        "parent that dies" => attack(Route::Die),
        "two user ids" => {
            // SAFETY: changes this process's ids alone.
            assert_eq!(unsafe { libc::setresuid(NOBODY, 0, 0) }, 0);
            refused_spawn();
        }
        "two group ids" => {
            // SAFETY: as above.
            assert_eq!(unsafe { libc::setresgid(NOBODY, 0, 0) }, 0);
            refused_spawn();
        }
        other => panic!("no role {other}"),
    }
}

fn refused_spawn() {
    match Process::spawn(chosen, ()) {
        Err(error) => match error.kind() {
            SpawnErrorKind::Refused { why } => println!("refused: {why}"),
            _ => println!("not refused: {error}"),
        },
        Ok(process) => println!("not refused: {process:?}"),
    }
    std::process::exit(0);
}

enum Route {
    Direct,
    /// The victim's parent is a shell, which passes on what it was given.
    Shell,
    /// All is said before the victim begins.
    Early,
    /// The attacker becomes the victim's parent by exec, so that the socket is from its number; a helper speaks.
    Become,
    /// The victim begins when its parent is dead.
    Die,
}

fn attack(route: Route) {
    let victim = std::env::var(VICTIM).unwrap();
    let mut entry = Entry::of(chosen).unwrap().unwrap();
    entry.identity = Image::identity_of(&std::fs::metadata(&victim).unwrap());
    let (ours, theirs) = Link::pair().unwrap();
    let mark = super::mark(theirs.as_fd()).unwrap();
    let speak = move |link: &Link| {
        let hello = Hello {
            entry,
            early: true,
            daemon: false,
            ignore_interrupts: false,
            stay_connected: false,
            has_stdin: false,
            parent: std::process::id(),
            name: "chosen".into(),
            numbers: vec![1],
        };
        let _ = link.send(WELCOME, &[]);
        let _ = link.send(&hello.to_bytes(), &[]);
        let _ = link.send(&[], &[]);
    };
    let answer = move |link: &Link| {
        while let Ok((bytes, _)) = link.receive(MAX_REPLY, 0, true) {
            if matches!(Reply::from_bytes(&bytes), Some(Reply::Here)) {
                speak(link);
            }
        }
    };
    let mut command = match route {
        Route::Direct | Route::Die => Command::new(&victim),
        Route::Shell | Route::Early | Route::Become => {
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", r#""$0" "$@"; exit $?"#, &victim]);
            shell
        }
    };
    command.args(["--exact", "rights::tests::role", "--nocapture"]);
    command.env(ROLE, "victim").env(CHILD_VARIABLE, mark).stdin(Stdio::from(OwnedFd::from(theirs)));
    match route {
        Route::Direct | Route::Shell => {
            let mut started = command.spawn().unwrap();
            drop(command);
            answer(&ours);
            std::process::exit(started.wait().unwrap().code().unwrap());
        }
        Route::Early => {
            speak(&ours);
            rustix::io::fcntl_setfd(&ours, rustix::io::FdFlags::empty()).unwrap();
            panic!("{}", command.exec());
        }
        Route::Die => {
            let parent = std::process::id();
            // SAFETY: the copy waits, closes its copy of the socket, and runs the victim.
            if unsafe { libc::fork() } == 0 {
                while std::os::unix::process::parent_id() == parent {
                    std::thread::yield_now();
                }
                drop(ours);
                panic!("{}", command.exec());
            }
            std::process::exit(1);
        }
        Route::Become => {
            // SAFETY: the copy uses nothing but the socket and memory that is its own.
            if unsafe { libc::fork() } == 0 {
                drop(command);
                answer(&ours);
                // SAFETY: ends the copy.
                unsafe { libc::_exit(0) }
            }
            panic!("{}", command.exec());
        }
    }
}

struct Copies {
    directory: tempfile::TempDir,
    victim: PathBuf,
}

impl Copies {
    /// A copy of this program that every user can run; `None`, and a word, where the machine can't do what the test needs.
    fn new() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let no_rights_by_files =
            rustix::fs::statvfs(directory.path()).is_ok_and(|fs| fs.f_flag.contains(StatVfsMountFlags::NOSUID));
        if !rustix::process::geteuid().is_root() || no_rights_by_files {
            println!("skipped: it takes root and a file system without nosuid");
            return None;
        }
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let victim = directory.path().join("victim");
        for copy in [&victim, &directory.path().join("attacker")] {
            std::fs::copy("/proc/self/exe", copy).unwrap();
            set_mode(copy, 0o755);
        }
        Some(Self { directory, victim })
    }

    fn run(&self, role: &str, user: u32) -> Ended {
        let mut command = Command::new(self.directory.path().join("attacker"));
        command.args(["--exact", "rights::tests::role", "--nocapture"]).env(ROLE, role).env(VICTIM, &self.victim);
        Ended(command.uid(user).gid(user).output().unwrap())
    }
}

fn set_mode(file: &Path, mode: u32) {
    std::fs::set_permissions(file, PermissionsExt::from_mode(mode)).unwrap();
}

#[derive(Debug)]
struct Ended(Output);

impl Ended {
    fn said(&self) -> String {
        String::from_utf8_lossy(&[&self.0.stdout[..], &self.0.stderr[..]].concat()).into_owned()
    }

    fn mains(&self) -> usize {
        self.said().matches("main ran").count()
    }

    #[track_caller]
    fn expect_refusal(&self, why: &str) {
        let said = self.said();
        assert!(!said.contains("the chosen function ran") && said.contains(why), "{said}");
        // The attacker's alone.
        assert_eq!(self.mains(), 1, "{said}");
        assert_eq!(self.0.status.code(), Some(1), "{said}");
    }
}

#[test]
fn a_parent_of_equal_rights_has_its_function_run() {
    // Or the refusals below would prove nothing.
    let Some(copies) = Copies::new() else { return };
    for user in [0, NOBODY] {
        let ended = copies.run("attacker", user);
        assert!(ended.said().contains("the chosen function ran"), "{}", ended.said());
        assert_eq!(ended.0.status.code(), Some(77));
    }
}

#[test]
fn a_program_with_more_rights_than_its_caller_runs_no_function_of_the_callers() {
    let Some(copies) = Copies::new() else { return };
    // Set-gid, set-uid, and both.
    for (owner, group, mode) in [(0, 12345, 0o2755), (12345, 0, 0o4755), (0, 0, 0o6755)] {
        chown(&copies.victim, Some(owner), Some(group)).unwrap();
        set_mode(&copies.victim, mode);
        copies.run("attacker", NOBODY).expect_refusal("other rights than its parent");
    }
    chown(&copies.victim, Some(0), Some(0)).unwrap();
    set_mode(&copies.victim, 0o755);
    // CAP_NET_RAW, permitted and effective: revision 2, two words each for permitted and inheritable.
    let words: [u32; 5] = [0x0200_0001, 1 << 13, 0, 0, 0];
    let capabilities: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    match rustix::fs::setxattr(&copies.victim, "security.capability", &capabilities, XattrFlags::empty()) {
        Ok(()) => {
            copies.run("attacker", NOBODY).expect_refusal("other rights than its parent");
            copies.run("attacker as root without capabilities", 0).expect_refusal("other rights than its parent");
        }
        Err(error) => println!("skipped: file capabilities ({error})"),
    }
}

#[test]
fn a_process_whose_parent_died_before_it_began_ends_without_a_word() {
    let Some(copies) = Copies::new() else { return };
    let ended = copies.run("parent that dies", NOBODY);
    assert!(!ended.said().contains("can't begin") && !ended.said().contains("the chosen function ran"), "{}", ended.said());
    assert_eq!(ended.mains(), 1, "{}", ended.said());
}

#[test]
fn root_without_capabilities_has_its_function_run_by_a_file_that_adds_none() {
    let Some(copies) = Copies::new() else { return };
    let ended = copies.run("attacker as root without capabilities", 0);
    assert!(ended.said().contains("the chosen function ran"), "{}", ended.said());
}

#[test]
fn a_socket_from_anyone_but_the_parent_gives_no_orders() {
    let Some(copies) = Copies::new() else { return };
    copies.run("attacker through another process", NOBODY).expect_refusal("does not come from its parent");
    // The socket is the parent's, by number. What lies in it is older than the victim, or comes from another process.
    copies.run("attacker who speaks early", NOBODY).expect_refusal("before it asked");
    copies.run("attacker who becomes the parent", NOBODY).expect_refusal("does not come from its parent");
}

#[test]
fn a_process_of_two_user_or_group_ids_cannot_spawn_and_runs_main_once() {
    let Some(copies) = Copies::new() else { return };
    for role in ["two user ids", "two group ids"] {
        let ended = copies.run(role, 0);
        assert!(ended.said().contains("refused: it has other rights than its parent"), "{}", ended.said());
        assert_eq!(ended.mains(), 1, "{}", ended.said());
    }
}

#[test]
fn a_program_that_inherits_the_variable_or_gets_nonsense_runs_its_own_main() {
    let link = Link::pair().unwrap().0;
    let of_another_socket = super::mark(link.as_fd()).unwrap();
    let own = std::process::id().to_string();
    for value in ["", "x", "1", &own, ":", "1:", ":1", "-1:1", "1:1:1", "99999999999:1", "1:1", &of_another_socket] {
        for stdin_is_a_socket in [false, true] {
            let (_ours, theirs) = Link::pair().unwrap();
            let stdin = if stdin_is_a_socket { Stdio::from(OwnedFd::from(theirs)) } else { Stdio::null() };
            let mut command = Command::new("/proc/self/exe");
            command.args(["--exact", "rights::tests::role", "--nocapture"]).env(ROLE, "victim");
            let ended = Ended(command.env(CHILD_VARIABLE, value).stdin(stdin).output().unwrap());
            assert_eq!((ended.0.status.code(), ended.mains()), (Some(7), 1), "{value:?}: {}", ended.said());
        }
    }
}
