//! A disk of the server's that is full: a real one, in memory.

mod server;

use multiproc_nats::{PutError, RemoteQueue, ServerError};
use server::disk::Disk;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);

#[test]
fn what_was_put_until_a_disk_was_full_is_there_once_it_has_room() {
    let mut server = server!();
    server.disk = Disk::mount(&server.path("small"), "4m");
    if server.disk.is_none() {
        return;
    }
    server.keep_in("small", "1GB");
    let jobs: RemoteQueue<Vec<u8>> = RemoteQueue::connect(&server.url("jobs")).unwrap();
    let value = |n: usize| vec![n as u8; 100_000];
    let mut put = 0;
    let (back, why) = loop {
        match jobs.put_timeout(value(put), Duration::from_secs(2)) {
            Ok(()) => put += 1,
            Err(error) => break error.split(),
        }
        assert!(put < 60, "the disk has 4 MB");
    };
    assert!(put > 20);
    assert_eq!(back, value(put));
    // Some servers say nothing more until they begin again.
    assert!(
        matches!(&why, PutError::Server { why: ServerError::Unanswered | ServerError::Refused { .. }, .. }),
        "{why:?}: {}",
        server.log()
    );
    server.kill();
    server.disk.as_ref().unwrap().grow("64m");
    server.restart();
    jobs.put_timeout(value(200), SOON).unwrap();
    for n in 0..put {
        assert_eq!(jobs.get_delivery_timeout(SOON).unwrap().done().unwrap(), value(n), "{n} of {put}");
    }
    // The one that was not answered may be in.
    let next = jobs.get_delivery_timeout(SOON).unwrap().done().unwrap();
    if next == value(put) {
        assert_eq!(jobs.get_delivery_timeout(SOON).unwrap().done().unwrap(), value(200));
    } else {
        assert_eq!(next, value(200));
    }
    jobs.join_timeout(SOON).unwrap();
}
