//! A mailbox in shared memory for one sender and one receiver, with room for one letter, and its model.
//!
//! With `RUSTFLAGS="--cfg loom"` this explores every interleaving. Without, it runs once, with real threads.

use multiproc_prim::{AtomicU32, Circle, Heap, Ordering, OutOfBounds, Place, Region, futex, model};

const EMPTY: u32 = 0;
const FULL: u32 = 1;

struct Mailbox {
    state: Place<AtomicU32>,
    letter: Circle<[u8; 8]>,
}

impl Mailbox {
    fn attach(region: &Region) -> Result<Self, OutOfBounds> {
        // Computed, because atomics are larger under loom.
        let letter = size_of::<AtomicU32>().next_multiple_of(8);
        Ok(Self { state: region.place(0)?, letter: region.circle(letter, 1)? })
    }

    fn put(&self, letter: &[u8; 8]) {
        // Acquire: the receiver has copied the last letter (pairs with: emptied).
        while self.state.load(Ordering::Acquire) != EMPTY {
            futex::wait(&self.state, FULL, None);
        }
        assert!(self.letter.at(0).write(letter));
        // Release: the letter is written before it is announced (pairs with: filled).
        self.state.store(FULL, Ordering::Release);
        futex::wake(&self.state, 1);
    }

    fn take(&self) -> [u8; 8] {
        // Acquire: the sender has written the letter (pairs with: filled).
        while self.state.load(Ordering::Acquire) != FULL {
            futex::wait(&self.state, EMPTY, None);
        }
        let mut letter = [0; 8];
        assert!(self.letter.at(0).read(&mut letter));
        // Release: the letter is copied before there is room for the next (pairs with: emptied).
        self.state.store(EMPTY, Ordering::Release);
        futex::wake(&self.state, 1);
        letter
    }
}

pub(crate) fn letters_come_once_and_in_order() {
    let region = Region::new(Heap::new(4096));
    let [receiver, sender] = [(); 2].map(|()| Mailbox::attach(&region).unwrap());
    receiver.state.make_fresh();
    let thread = model::thread::spawn(move || [b"letter 1", b"letter 2"].map(|letter| sender.put(letter)));
    assert_eq!([receiver.take(), receiver.take()], [*b"letter 1", *b"letter 2"]);
    thread.join().unwrap();
}

fn main() {
    model::model(letters_come_once_and_in_order);
}
