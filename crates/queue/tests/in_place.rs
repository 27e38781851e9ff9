//! Messages written and read where they lie.

use multiproc_queue::{GetError, PutError, Queue};
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(50);

#[test]
fn bytes_written_or_read_in_place_are_the_messages_of_put_and_get() {
    let q = Queue::<Vec<u8>>::bounded(4).unwrap();
    for len in [0, 1, 8, 9, 100, 100_000] {
        let message: Vec<u8> = (0..len).map(|at| at as u8).collect();
        let loan = q.loan_bytes(len).unwrap();
        assert!(loan.copy_from(0, &message[..len / 2]) && loan.copy_from(len / 2, &message[len / 2..]));
        loan.send().unwrap();
        assert_eq!(q.get().unwrap(), message);
        q.put(message.clone()).unwrap();
        assert_eq!(q.borrow_bytes().unwrap().to_vec(), message);
    }
    assert!(matches!(q.try_borrow_bytes(), Err(GetError::Empty)));
    let name = format!("test-bytes-of-texts-{}", std::process::id());
    let texts = Queue::<String>::builder().named(&name).build().unwrap();
    let bytes = Queue::<Vec<u8>>::open(&name).unwrap();
    multiproc_queue::remove_queue(&name).unwrap();
    let loan = bytes.loan_bytes(9).unwrap();
    assert!(loan.copy_from(0, b"not \xff\xfe a"));
    let refused = loan.send_timeout(SHORT).unwrap_err();
    assert!(matches!(refused, PutError::Encode { .. }) && texts.is_empty());
    let loan = refused.into_inner();
    assert!(loan.copy_from(0, b"some text"));
    loan.send().unwrap();
    assert_eq!(texts.get().unwrap(), "some text");
}

#[test]
fn plain_data_is_written_and_read_in_place() {
    let q = Queue::<u32>::bounded(2).unwrap();
    let loan = q.loan(1000).unwrap();
    assert!(loan.copy_from(0, &[5; 1000]) && loan.set(999, 6));
    assert!(!loan.set(1000, 1) && !loan.copy_from(usize::MAX, &[1]) && loan.len() == 1000);
    loan.send().unwrap();
    drop(q.loan(10).unwrap());
    let message = q.borrow().unwrap();
    assert_eq!((message.len(), message.get(0), message.get(999), message.get(1000)), (1000, Some(5), Some(6), None));
    assert_eq!(message.iter().map(u64::from).sum::<u64>(), 5001);
    assert_eq!(message.to_vec()[998..], [5, 6]);
    drop(message);
    assert!(matches!(q.try_borrow(), Err(GetError::Empty)));
    q.put(1).unwrap();
    assert!(matches!(q.borrow(), Err(GetError::Form { .. })));
    q.loan(1).unwrap().send().unwrap();
    assert!(matches!(q.get(), Err(GetError::Form { .. })));
    q.put_many([1, 2]).unwrap();
    let loan = q.loan(1).unwrap().send_timeout(SHORT).unwrap_err();
    assert!(matches!(loan, PutError::Timeout(_)));
    assert!(matches!(loan.into_inner().try_send(), Err(PutError::Full(_))));
    q.close();
    assert!(matches!(q.loan(1), Err(PutError::Closed(()))));
}
