//! Each promise of segments once: what attach refuses and by which name, what lasts, what leaks.

use multiproc_prim::stamp;
use multiproc_prim::{AtomicU64, Ordering};
use multiproc_shm::{AttachError, CreateError, Flaw, Identity, Kind, ParticipantError, Segment, SegmentName, Spec};
use proptest::prelude::*;
use rustix::fs::{Mode, OFlags, SealFlags};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

const KIND: Kind = Kind(*b"TEST");

fn spec() -> Spec {
    Spec { participants: 4, geometry: [1, 2, 3, 4, 5, 6, 7, 8], ..Spec::new(KIND, 8192) }
}

fn copy(segment: &Segment) -> OwnedFd {
    segment.as_fd().try_clone_to_owned().unwrap()
}

fn flaw(result: Result<Segment, AttachError>) -> Flaw {
    match result {
        Err(AttachError::Refused { flaw, .. }) => flaw,
        other => panic!("expected a refusal, not {other:?}"),
    }
}

/// A memory file with the bytes of a good segment, changed by `change`, sealed as they are unless told otherwise.
fn forged(change: impl FnOnce(&mut Vec<u8>), sealed: bool) -> OwnedFd {
    let good = Segment::create(&spec()).unwrap();
    let mut bytes = vec![0; good.region().len()];
    assert!(good.region().bytes(0, bytes.len()).unwrap().read(&mut bytes));
    change(&mut bytes);
    let flags = rustix::fs::MemfdFlags::ALLOW_SEALING | rustix::fs::MemfdFlags::CLOEXEC;
    let file = rustix::fs::memfd_create("forged", flags).unwrap();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        rest = &rest[rustix::io::write(&file, rest).unwrap()..];
    }
    if sealed {
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::SEAL).unwrap();
    }
    file
}

#[test]
fn two_maps_of_one_segment_share_their_bytes_at_different_addresses() {
    let ours = Segment::create(&spec()).unwrap();
    let theirs = Segment::attach(copy(&ours), KIND).unwrap();
    assert_ne!(ours.region().owner().base(), theirs.region().owner().base());
    assert_eq!((theirs.geometry(), theirs.content_at(), theirs.content_len()), (spec().geometry, 8192, 8192));
    let word = |segment: &Segment| segment.region().place::<AtomicU64>(segment.content_at()).unwrap();
    word(&ours).store(7, Ordering::Relaxed);
    assert_eq!(word(&theirs).load(Ordering::Relaxed), 7);
}

#[test]
fn a_segment_is_sealed_private_and_closed_on_exec() {
    let segment = Segment::create(&spec()).unwrap();
    let seals = rustix::fs::fcntl_get_seals(segment.as_fd()).unwrap();
    assert!(seals.contains(SealFlags::SHRINK | SealFlags::SEAL));
    assert!(rustix::fs::ftruncate(segment.as_fd(), 0).is_err());
    assert_eq!(rustix::fs::fstat(segment.as_fd()).unwrap().st_mode & 0o777, 0o600);
    assert!(rustix::io::fcntl_getfd(segment.as_fd()).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
}

#[test]
fn each_flaw_is_refused_by_its_name() {
    let attach = |file| Segment::attach(file, KIND);
    assert!(attach(forged(|_| (), true)).is_ok());
    assert_eq!(flaw(attach(forged(|_| (), false))), Flaw::Unsealed);
    assert_eq!(flaw(attach(forged(|bytes| bytes[0] = b'x', true))), Flaw::Magic);
    assert!(matches!(flaw(attach(forged(|bytes| bytes[8] = 9, true))), Flaw::Version { found: 9, known: 5 }));
    assert!(matches!(flaw(attach(forged(|bytes| bytes[12] = b'B', true))), Flaw::Kind { .. }));
    assert!(matches!(flaw(attach(forged(|bytes| bytes[16] ^= 1, true))), Flaw::Length { .. }));
    assert!(matches!(flaw(attach(forged(|bytes| bytes[24..28].fill(255), true))), Flaw::Geometry(_)));
    assert!(matches!(flaw(attach(forged(|bytes| bytes.truncate(100), true))), Flaw::Length { len: 100, .. }));
    assert!(matches!(flaw(attach(forged(|bytes| bytes.truncate(0), true))), Flaw::Length { len: 0, .. }));
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).unwrap();
    assert_eq!(flaw(attach(null)), Flaw::NotAFile);
    let (a, _b) = std::os::unix::net::UnixStream::pair().unwrap();
    assert_eq!(flaw(attach(a.into())), Flaw::NotAFile);
}

fn name(what: &str) -> (SegmentName, PathBuf) {
    let name = format!("shm-test-{what}-{}", std::process::id());
    let path = format!("/dev/shm/multiproc-{}/{name}", rustix::process::geteuid().as_raw());
    (SegmentName::new(&name).unwrap(), path.into())
}

fn create_named(name: &SegmentName) -> Result<Segment, CreateError> {
    Segment::create_named(name, &spec(), Ok)
}

type AnyError = Box<dyn std::error::Error>;

#[test]
fn nobody_finds_a_named_segment_before_it_is_filled() {
    let (name, _) = name("filled");
    let word = |segment: &Segment| segment.region().place::<AtomicU64>(segment.content_at()).unwrap();
    let found = || matches!(Segment::open(&name, KIND), Ok(segment) if word(&segment).load(Ordering::Acquire) == 7);
    let fill = |fails: bool| {
        Segment::create_named(&name, &spec(), |segment| {
            assert!(matches!(Segment::open(&name, KIND), Err(AttachError::NotFound(_))));
            word(&segment).store(7, Ordering::Release);
            if fails { Err(AnyError::from("no")) } else { Ok(segment) }
        })
    };
    assert!(fill(true).is_err() && !found());
    assert!(fill(false).is_ok() && found());
    Segment::remove(&name).unwrap();
}

#[test]
fn a_segment_that_many_open_or_create_is_filled_and_one() {
    let (name, _) = name("open-or-create");
    let word = |segment: &Segment| segment.region().place::<AtomicU64>(segment.content_at()).unwrap();
    let get = || {
        let filled = Segment::open_or_create(&name, &spec(), |segment| -> Result<(), AnyError> {
            word(segment).store(100, Ordering::Release);
            Ok(())
        });
        word(&filled.unwrap()).fetch_add(1, Ordering::AcqRel)
    };
    let mut seen: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(get)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    seen.sort_unstable();
    assert_eq!(seen, (100..108).collect::<Vec<_>>());
    Segment::remove(&name).unwrap();
}

#[test]
fn named_segments_are_exclusive_private_and_removable() {
    let (name, path) = name("named");
    let made = create_named(&name).unwrap();
    assert!(matches!(create_named(&name), Err(CreateError::Exists(_))));
    let mode = |path: &PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&path.parent().unwrap().into()), 0o700);
    let opened = Segment::open(&name, KIND).unwrap();
    Segment::remove(&name).unwrap();
    assert!(matches!(Segment::open(&name, KIND), Err(AttachError::NotFound(_))));
    assert!(matches!(Segment::remove(&name), Err(AttachError::NotFound(_))));
    // A process that has it keeps it, and can hand it on, with its name or without.
    drop(opened);
    let (name_again, path) = self::name("again");
    let kept = create_named(&name_again).unwrap();
    assert!(Segment::attach(copy(&kept), KIND).is_ok());
    std::fs::remove_file(&path).unwrap();
    let travelled = Segment::attach(copy(&kept), KIND).unwrap();
    assert_eq!(travelled.geometry(), spec().geometry);
    drop(made);
}

#[test]
fn a_named_segment_that_others_could_write_or_that_is_a_link_is_refused() {
    let (name, path) = name("open");
    let _made = create_named(&name).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    assert!(matches!(flaw(Segment::open(&name, KIND)), Flaw::Mode { mode: 0o666 }));
    let (link, link_path) = self::name("link");
    std::os::unix::fs::symlink(&path, &link_path).unwrap();
    assert_eq!(flaw(Segment::open(&link, KIND)), Flaw::Symlink);
    std::fs::remove_file(&link_path).unwrap();
    std::fs::create_dir(&link_path).unwrap();
    assert_eq!(flaw(Segment::open(&link, KIND)), Flaw::NotAFile);
    std::fs::remove_dir(&link_path).unwrap();
    if rustix::process::geteuid().is_root() {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::chown(&path, Some(12345), None).unwrap();
        assert!(matches!(flaw(Segment::open(&name, KIND)), Flaw::Owner { owner: 12345, .. }));
    }
    Segment::remove(&name).unwrap();
}

#[test]
fn names_that_leave_the_directory_are_no_names() {
    for bad in ["", ".", "..", "../x", "a/b", ".hidden", "nul\0", "ü", &"x".repeat(201)] {
        assert!(SegmentName::new(bad).is_err(), "{bad:?}");
    }
    assert!(SegmentName::new("a.b_c-1").is_ok());
}

#[test]
fn sizes_beyond_reason_are_errors() {
    assert!(matches!(Segment::create(&Spec { len: usize::MAX, ..spec() }), Err(CreateError::TooLarge(_))));
    assert!(matches!(Segment::create(&Spec { participants: 5000, ..spec() }), Err(CreateError::TooManyParticipants(5000))));
    assert!(matches!(Segment::create(&Spec { len: 1 << 62, ..spec() }), Err(CreateError::System { .. })));
}

#[test]
fn rows_are_handed_out_once_and_again_after_they_are_left() {
    let segment = Segment::create(&spec()).unwrap();
    let join = || segment.participants().unwrap().join();
    let members: Vec<_> = (0..4).map(|_| join().unwrap()).collect();
    assert_eq!(join().unwrap_err(), ParticipantError::Full(4));
    let rows: Vec<u32> = members.iter().map(|member| member.participant().row).collect();
    // The first rows are the janitors'.
    assert_eq!(rows, [8, 9, 10, 11]);
    // All are memberships of this process, and alive.
    for who in members[0].others() {
        assert!(!members[0].is_dead(who));
    }
    assert_eq!(members[0].others().count(), 3);
    members[2].leave();
    let again = join().unwrap().participant();
    assert_eq!((again.row, again.epoch), (10, 2));
}

#[test]
fn a_dropped_membership_has_left_and_its_living_process_is_never_dead() {
    let segment = Segment::create(&spec()).unwrap();
    let join = || segment.participants().unwrap().join().unwrap();
    let (ours, dropped) = (join(), join());
    let who = dropped.participant();
    drop(dropped);
    assert!(!ours.is_there(who) && !ours.is_dead(who));
    assert_eq!(ours.others().count(), 0);
    assert_eq!(join().participant().row, who.row);
}

#[test]
fn an_abandoned_membership_is_dead_until_it_is_buried() {
    let segment = Segment::create(&spec()).unwrap();
    let join = || segment.participants().unwrap().join().unwrap();
    let (ours, mut abandoned) = (join(), join());
    let who = abandoned.participant();
    abandoned.abandon();
    abandoned.leave();
    drop(abandoned);
    assert!(ours.is_there(who) && ours.is_dead(who));
    assert_ne!(join().participant().row, who.row);
    assert!(ours.bury(who) && !ours.is_there(who));
}

#[test]
fn a_process_knows_itself_and_is_not_a_forked_copy_of_itself() {
    assert_eq!(stamp(), stamp());
    assert_eq!(Identity::current().pid, std::process::id());
}

proptest! {
    /// Whatever the first page says, attaching gives a segment or an error, and never crashes.
    #[test]
    fn any_header_is_attached_or_refused(at in 0usize..96, bytes in prop::collection::vec(any::<u8>(), 1..60)) {
        let end = (at + bytes.len()).min(96);
        let file = forged(|good| good[at..end].copy_from_slice(&bytes[..end - at]), true);
        if let Some(table) = Segment::attach(file, KIND).ok().and_then(|segment| segment.participants()) {
            let _ = table.join();
        }
    }
}
