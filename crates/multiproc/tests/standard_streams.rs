//! A process without standard streams. One test alone in its program, because it closes them.

use multiproc_shm::{ByteLock, CreateError, Identity, Kind, Segment, SegmentName, Spec};
use multiproc_travel::{Link, Readiness, Wire, write_own_file};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Closes them all, so that the lowest free numbers are 0, 1 and 2.
fn close_all(numbers: &[i32]) {
    for &number in numbers {
        // SAFETY: nobody in this process owns the standard streams.
        unsafe { libc::close(number) };
    }
}

fn is_null(number: i32) -> bool {
    std::fs::read_link(format!("/proc/self/fd/{number}")).is_ok_and(|target| target == std::path::Path::new("/dev/null"))
}

#[test]
fn no_descriptor_of_ours_is_a_standard_streams() {
    let spec = Spec { participants: 4, ..Spec::new(Kind(*b"TEST"), 4096) };
    let (sender, receiver) = Link::pair().unwrap();
    let extra: Vec<OwnedFd> = (0..3).map(|_| sender.as_fd().try_clone_to_owned().unwrap()).collect();
    // Where an assertion's message would go is closed as well, so the numbers are looked at in the end.
    let saved: Vec<OwnedFd> = (1..3)
        .map(|number| {
            // SAFETY: the standard streams are open; each is only borrowed, to be copied.
            unsafe { std::os::fd::BorrowedFd::borrow_raw(number) }.try_clone_to_owned().unwrap()
        })
        .collect();
    let mut numbers = Vec::new();
    let mut are_occupied = true;
    let sets: [&[i32]; 7] = [&[0], &[1], &[2], &[0, 1], &[0, 2], &[1, 2], &[0, 1, 2]];
    for set in sets {
        close_all(set);
        let segment = Segment::create(&spec).unwrap();
        numbers.push(segment.as_fd().as_raw_fd());
        close_all(set);
        let name = SegmentName::new(&format!("standard-streams-{}", std::process::id())).unwrap();
        let named = Segment::create_named(&name, &spec, Ok::<_, CreateError>).unwrap();
        close_all(set);
        let opened = Segment::open(&name, spec.kind).unwrap();
        Segment::remove(&name).unwrap();
        numbers.extend([named.as_fd().as_raw_fd(), opened.as_fd().as_raw_fd()]);
        close_all(set);
        // Its descriptor is private. What took the place of the closed streams shows that it never had one of their numbers.
        let _lock = ByteLock::try_take(&segment, 1).unwrap();
        are_occupied &= set.iter().all(|&number| is_null(number));
        close_all(set);
        let mut child = std::process::Command::new("true").spawn().unwrap();
        close_all(set);
        let _ = Identity { pid: child.id(), ..Identity::current() }.has_ended();
        are_occupied &= set.iter().all(|&number| is_null(number));
        child.wait().unwrap();
        close_all(set);
        let (a, b) = Link::pair().unwrap();
        numbers.extend([a.as_fd().as_raw_fd(), b.as_fd().as_raw_fd()]);
        close_all(set);
        let (wire, far) = Wire::pair().unwrap();
        numbers.extend([wire.as_fd().as_raw_fd(), far.as_fd().as_raw_fd()]);
        close_all(set);
        let readiness = Readiness::new().unwrap();
        numbers.push(readiness.as_fd().as_raw_fd());
        close_all(set);
        numbers.push(write_own_file(b"x").unwrap().as_raw_fd());
        far.send(1, &[sender.as_fd()], multiproc_prim::Deadline::NEVER, &mut || true).unwrap();
        close_all(set);
        let mut arrived = Vec::new();
        wire.fetch(1, &mut arrived).unwrap();
        numbers.extend(arrived.iter().map(AsRawFd::as_raw_fd));
        close_all(set);
        sender.send(b"x", &extra).unwrap();
        let (_, arrived) = receiver.receive(10, 10, true).unwrap();
        numbers.extend(arrived.iter().map(AsRawFd::as_raw_fd));
        // What we opened in their place swallows what is printed.
        // SAFETY: writes two bytes of a constant.
        assert_eq!(unsafe { libc::write(1, b"x\n".as_ptr().cast(), 2) }, 2);
    }
    for (number, copy) in (1..).zip(&saved) {
        // SAFETY: both are open; the standard stream is what it was before.
        unsafe { libc::dup2(copy.as_raw_fd(), number) };
    }
    assert!(are_occupied);
    assert!(numbers.iter().all(|&number| number > 2), "{numbers:?}");
}
