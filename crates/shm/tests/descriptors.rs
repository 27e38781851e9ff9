//! Nothing is left open. Alone in its file: other tests of the same process would open descriptors meanwhile.

use multiproc_shm::{Kind, Segment, Spec};
use std::os::fd::AsFd;

#[test]
fn descriptors_and_maps_go_with_the_segment() {
    let spec = Spec { participants: 4, ..Spec::new(Kind(*b"TEST"), 8192) };
    let count = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let maps = || std::fs::read_to_string("/proc/self/maps").unwrap().matches("multiproc-").count();
    let before = (count(), maps());
    for _ in 0..50 {
        let segment = Segment::create(&spec).unwrap();
        let _second = Segment::attach(segment.as_fd().try_clone_to_owned().unwrap(), spec.kind).unwrap();
        let _member = segment.participants().unwrap().join().unwrap();
    }
    assert_eq!((count(), maps()), before);
}
