//! Who is dead, with real processes: forked copies, other users behind a filtered `/proc`, umasks, full tables.

use multiproc_shm::{ByteLock, CreateError, Kind, Membership, ParticipantError, Segment, SegmentName, Spec};
use std::os::fd::AsFd;
use std::path::Path;

const KIND: Kind = Kind(*b"TEST");

fn spec(participants: u32) -> Spec {
    Spec { participants, ..Spec::new(KIND, 4096) }
}

fn join(segment: &Segment) -> Membership {
    segment.participants().unwrap().join().unwrap()
}

/// Runs `child` in a forked copy, and returns its pid. `child` must not touch what another thread may have locked.
fn fork(child: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the copy does no more than `child`, and ends without unwinding into what it copied.
    match unsafe { libc::fork() } {
        0 => {
            // A test that fails leaves nobody behind. SAFETY: a number, and no memory.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(101);
            // SAFETY: ends the process at once.
            unsafe { libc::_exit(code) }
        }
        pid => pid,
    }
}

fn wait(pid: i32) -> i32 {
    let mut status = 0;
    // SAFETY: waits for our own child.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -libc::WTERMSIG(status) }
}

fn kill(pid: i32, signal: i32) {
    // SAFETY: our own child, not waited for yet.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
}

/// A pipe that a child writes to when it is ready.
fn handshake() -> (impl Fn(), impl Fn()) {
    let (read, write) = rustix::pipe::pipe().unwrap();
    (
        move || assert_eq!(rustix::io::write(&write, b"x").unwrap(), 1),
        move || assert_eq!(rustix::io::read(&read, &mut [0u8]).unwrap(), 1),
    )
}

fn pause_for_ever() -> i32 {
    loop {
        std::thread::park();
    }
}

#[test]
fn a_forked_copy_keeps_no_lock_of_the_dead() {
    let segment = Segment::create(&spec(4)).unwrap();
    let member = join(&segment);
    let (say, hear) = handshake();
    let (tell, told) = handshake();
    let parent = fork(|| {
        let theirs = join(&segment);
        let mut lock = ByteLock::try_take(&segment, 5000).unwrap();
        fork(|| {
            // SAFETY: as above. It lives on, with a copy of everything.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, 0) };
            assert!(theirs.is_inherited());
            lock.take();
            say();
            told();
            0
        });
        pause_for_ever()
    });
    hear();
    let them = member.others().next().unwrap();
    assert!(!member.is_dead(them));
    assert_eq!(ByteLock::is_taken(&segment, 5000), Some(true));
    kill(parent, libc::SIGKILL);
    wait(parent);
    assert!(member.is_dead(them));
    assert_eq!(ByteLock::is_taken(&segment, 5000), Some(false));
    tell();
}

#[test]
fn the_dead_whose_lock_a_raw_copy_holds_are_dead_when_the_kernel_knows_them_no_more() {
    let segment = Segment::create(&spec(4)).unwrap();
    let member = join(&segment);
    let (say, hear) = handshake();
    let (tell, told) = handshake();
    let parent = fork(|| {
        let _theirs = join(&segment);
        // SAFETY: as `fork`, past the C library and its handlers.
        if unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) } == 0 {
            say();
            told();
            // SAFETY: ends the process at once.
            unsafe { libc::_exit(0) }
        }
        pause_for_ever()
    });
    hear();
    let them = member.others().next().unwrap();
    kill(parent, libc::SIGSTOP);
    assert!(!member.is_dead(them));
    kill(parent, libc::SIGKILL);
    wait(parent);
    assert!(member.is_dead(them));
    tell();
}

#[test]
fn a_zombie_is_dead() {
    let segment = Segment::create(&spec(4)).unwrap();
    let member = join(&segment);
    let child = fork(|| {
        std::mem::forget(join(&segment));
        0
    });
    let mut info = std::mem::MaybeUninit::zeroed();
    // SAFETY: waits for our own child and leaves it as it is.
    unsafe { libc::waitid(libc::P_PID, child as u32, info.as_mut_ptr(), libc::WEXITED | libc::WNOWAIT) };
    assert!(member.is_dead(member.others().next().unwrap()));
    wait(child);
}

#[test]
fn a_process_that_proc_hides_is_not_dead() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: not allowed to mount");
        return;
    }
    let segment = Segment::create(&spec(4)).unwrap();
    let ours = join(&segment);
    let code = fork(|| {
        // SAFETY: the copy has one thread.
        if unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }.is_err() {
            return 77;
        }
        let mounted = std::process::Command::new("sh")
            .args(["-c", "mount --make-rprivate / && mount -t proc -o hidepid=2 proc /proc"])
            .status();
        if !mounted.is_ok_and(|status| status.success()) {
            return 77;
        }
        // Members of the group 0 would still see everything.
        // SAFETY: changes the user and groups of this process alone.
        unsafe {
            assert_eq!(libc::setgroups(0, std::ptr::null()), 0);
            assert_eq!(libc::setresgid(65534, 65534, 65534), 0);
            assert_eq!(libc::setresuid(65534, 65534, 65534), 0);
        }
        assert!(!Path::new("/proc/1").exists(), "nothing is hidden");
        let theirs = join(&segment);
        for who in theirs.others() {
            assert!(!theirs.is_dead(who));
        }
        // Another user's segment gives it no description of its own.
        assert!(!theirs.is_announced());
        std::mem::forget(theirs);
        0
    });
    match wait(code) {
        77 => println!("skipped: not allowed to mount"),
        code => {
            assert_eq!(code, 0);
            // It died without a lock, and the kernel knows it no more.
            let them = ours.others().next().unwrap();
            assert!(ours.is_dead(them));
        }
    }
}

#[test]
fn a_stopped_janitor_keeps_nobody_out_of_a_table_full_of_the_dead() {
    let segment = Segment::create(&spec(2)).unwrap();
    for _ in 0..2 {
        wait(fork(|| {
            std::mem::forget(join(&segment));
            0
        }));
    }
    let table = segment.participants().unwrap();
    assert!(matches!(table.join(), Err(ParticipantError::Full(2))));
    let (say, hear) = handshake();
    let stopped = fork(|| {
        let _janitor = segment.participants().unwrap().join_as_janitor().unwrap();
        say();
        pause_for_ever()
    });
    hear();
    kill(stopped, libc::SIGSTOP);
    let janitor = table.join_as_janitor().unwrap();
    let dead: Vec<_> = janitor.others().filter(|who| janitor.is_dead(*who)).collect();
    assert_eq!(dead.len(), 2);
    assert!(dead.iter().all(|who| janitor.bury(*who)));
    let ours = table.join().unwrap();
    // A janitor that dies is found as any other participant.
    kill(stopped, libc::SIGKILL);
    wait(stopped);
    assert_eq!(ours.others().filter(|who| ours.is_dead(*who)).count(), 1);
}

/// Runs `test` as another user, who has no other named segments. `false`: this process may not.
fn as_a_new_user(uid: u32, test: impl FnOnce()) -> bool {
    let code = wait(fork(|| {
        // SAFETY: changes the user of this process alone.
        if unsafe { libc::setresuid(uid, uid, uid) } != 0 {
            return 77;
        }
        test();
        0
    }));
    let _ = std::fs::remove_dir_all(format!("/dev/shm/multiproc-{uid}"));
    assert!(matches!(code, 0 | 77), "{code}");
    if code == 77 {
        println!("skipped: not allowed to change the user");
    }
    code == 0
}

fn create_named(name: &SegmentName) -> Result<Segment, CreateError> {
    Segment::create_named(name, &spec(4), Ok)
}

fn make_and_open(name: &str) -> Result<(), Box<dyn std::error::Error>> {
    let name = SegmentName::new(name)?;
    create_named(&name)?;
    Segment::open(&name, KIND)?;
    Ok(())
}

#[test]
fn no_umask_makes_the_directory_of_names_unusable() {
    let uid = 1_000_000 + std::process::id();
    as_a_new_user(uid, || {
        for umask in [0o177, 0o777, 0o000] {
            // SAFETY: changes this process alone.
            unsafe { libc::umask(umask) };
            let name = format!("umask-{umask}");
            make_and_open(&name).unwrap();
            Segment::remove(&SegmentName::new(&name).unwrap()).unwrap();
        }
    });
    // A directory that an earlier version, or the user, left without rights is usable, too.
    as_a_new_user(uid, || {
        use std::os::unix::fs::PermissionsExt;
        let path = format!("/dev/shm/multiproc-{uid}");
        std::fs::create_dir(&path).unwrap();
        for mode in [0o600, 0o000] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            make_and_open(&format!("mode-{mode}")).unwrap();
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let error = make_and_open("others").unwrap_err();
        let text = format!("{error}");
        assert!(text.contains("755") && text.contains("chmod 700"), "{text}");
    });
}

#[test]
fn the_directory_of_names_goes_with_the_last_name_whoever_makes_others_meanwhile() {
    let uid = 2_000_000 + std::process::id();
    as_a_new_user(uid, || {
        let path = format!("/dev/shm/multiproc-{uid}");
        let exists = || Path::new(&path).exists();
        let name = |n: u32| SegmentName::new(&format!("name-{n}")).unwrap();
        // Looking for a name makes nothing.
        assert!(Segment::open(&name(0), KIND).is_err() && Segment::remove(&name(0)).is_err() && !exists());
        let fill = |segment| {
            assert!(!exists());
            Ok::<_, CreateError>(segment)
        };
        Segment::create_named(&name(0), &spec(0), fill).unwrap();
        create_named(&name(1)).unwrap();
        Segment::remove(&name(0)).unwrap();
        assert!(exists());
        Segment::remove(&name(1)).unwrap();
        assert!(!exists());
        let others: Vec<_> = (0..2)
            .map(|n| {
                fork(move || {
                    for _ in 0..2000 {
                        create_named(&name(n)).unwrap();
                        Segment::open(&name(n), KIND).unwrap();
                        Segment::remove(&name(n)).unwrap();
                    }
                    0
                })
            })
            .collect();
        others.into_iter().for_each(|pid| assert_eq!(wait(pid), 0));
        assert!(!exists());
    });
}

#[test]
fn a_lock_file_is_never_a_standard_stream() {
    let segment = Segment::create(&spec(4)).unwrap();
    let child = fork(|| {
        // SAFETY: closes the streams of this process alone.
        (0..3).for_each(|fd| assert_eq!(unsafe { libc::close(fd) }, 0));
        let _member = join(&segment);
        let target = |fd| std::fs::read_link(format!("/proc/self/fd/{fd}"));
        i32::from((0..3).any(|fd| target(fd).is_ok_and(|target| target != Path::new("/dev/null"))))
    });
    assert_eq!(wait(child), 0);
    assert!(segment.as_fd().try_clone_to_owned().is_ok());
}

extern "C" fn heard(_: libc::c_int) {}

#[test]
fn memory_is_committed_although_a_timer_sends_signals_all_the_time() {
    const LEN: usize = 256 << 20;
    let segment = Segment::create(&Spec::new(KIND, LEN)).unwrap();
    let child = fork(|| {
        let period = libc::timeval { tv_sec: 0, tv_usec: 5000 };
        let timer = libc::itimerval { it_interval: period, it_value: period };
        let limit = libc::rlimit { rlim_cur: 20, rlim_max: 20 };
        // SAFETY: a handler that does nothing; the structures outlive the calls.
        unsafe {
            // A commit that would go on for ever ends here.
            assert_eq!(libc::setrlimit(libc::RLIMIT_CPU, &raw const limit), 0);
            libc::signal(libc::SIGALRM, heard as *const () as libc::sighandler_t);
            assert_eq!(libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()), 0);
        }
        i32::from(segment.region().commit(0..LEN).is_err())
    });
    assert_eq!(wait(child), 0);
}
