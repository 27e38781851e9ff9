//! `MULTIPROC_DIR`: another place for named segments. It is read once, so this program has one test.

use multiproc_shm::{AttachError, CreateError, Kind, Segment, SegmentName, Spec};
use std::os::fd::AsFd;

const KIND: Kind = Kind(*b"TEST");

#[test]
fn names_are_in_the_directory_that_the_variable_names() {
    let place = tempfile::tempdir_in("/dev/shm").unwrap();
    // SAFETY: no other thread of this program reads or writes variables now.
    unsafe { std::env::set_var("MULTIPROC_DIR", place.path()) };
    let name = SegmentName::new("elsewhere").unwrap();
    let create = || Segment::create_named(&name, &Spec::new(KIND, 4096), Ok::<_, CreateError>);
    let segment = create().unwrap();
    let own = place.path().join(format!("multiproc-{}", rustix::process::geteuid().as_raw()));
    assert!(own.join("elsewhere").exists());
    std::fs::write(own.join("not a name"), "").unwrap();
    assert_eq!(Segment::names().unwrap(), std::slice::from_ref(&name));
    assert_eq!(Segment::open_any(&name).unwrap().kind(), KIND);
    // A segment whose name is gone still travels.
    Segment::remove(&name).unwrap();
    Segment::attach(segment.as_fd().try_clone_to_owned().unwrap(), KIND).unwrap();
    std::fs::remove_dir_all(place.path()).unwrap();
    let refused = create().unwrap_err().to_string();
    assert!(refused.contains(&place.path().display().to_string()), "{refused}");
    assert!(matches!(Segment::open_any(&name), Err(AttachError::NotFound(_))));
    assert_eq!(Segment::names().unwrap(), []);
}
