//! Memory is committed before it is touched, and what can't be committed is an error: with pages that end the process when they are
//! touched too soon.

#![cfg(not(loom))]

use multiproc_prim::{Memory, Region};
use multiproc_ring::mpmc::{Again, Finished, Geometry, Lane, Mpmc, Orphan, Orphans, Owner, PushError, Trimmed, Unfinished};
use proptest::prelude::*;
use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags, madvise, mmap_anonymous, mprotect, munmap};
use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex};

const PAGE: usize = 4096;
const DIED: Unfinished = Unfinished::Died { pid: 1 };
const COUNTED: Again = Again::Counted { max_deliveries: None };

/// How many pages may be committed, and which are.
#[derive(Default)]
struct Pages {
    budget: usize,
    committed: BTreeSet<usize>,
}

thread_local! {
    /// What happens right before memory is given back, and whether the process dies right after.
    static AT_DISCARD: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

/// Pages that can be touched only once they are committed.
struct Guarded {
    base: NonNull<u8>,
    len: usize,
    pages: Arc<Mutex<Pages>>,
}

// SAFETY: the mapping belongs to the value and is reached through regions alone.
unsafe impl Send for Guarded {}
// SAFETY: as above.
unsafe impl Sync for Guarded {}

impl Guarded {
    fn new(len: usize, budget: usize) -> (Self, Arc<Mutex<Pages>>) {
        let len = len.next_multiple_of(PAGE);
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let base = unsafe { mmap_anonymous(std::ptr::null_mut(), len, ProtFlags::empty(), MapFlags::PRIVATE) }.unwrap();
        let pages = Arc::new(Mutex::new(Pages { budget, ..Pages::default() }));
        (Self { base: NonNull::new(base.cast()).unwrap(), len, pages: Arc::clone(&pages) }, pages)
    }

    fn protect(&self, page: usize, flags: MprotectFlags) {
        // SAFETY: a page of our own mapping.
        unsafe { mprotect(self.base.as_ptr().add(page * PAGE).cast(), PAGE, flags) }.unwrap();
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this length; no region is left.
        unsafe { munmap(self.base.as_ptr().cast(), self.len) }.unwrap();
    }
}

// SAFETY: a mapping starts on a page, keeps its length for its life, and hands out no reference.
unsafe impl Memory for Guarded {
    fn base(&self) -> NonNull<u8> {
        self.base
    }

    fn len(&self) -> usize {
        self.len
    }

    fn commit(&self, range: Range<usize>) -> std::io::Result<()> {
        assert!(range.start <= range.end && range.end <= self.len, "{range:?}");
        let mut pages = self.pages.lock().unwrap();
        let wanted: Vec<usize> =
            (range.start / PAGE..range.end.div_ceil(PAGE)).filter(|page| !pages.committed.contains(page)).collect();
        if pages.committed.len() + wanted.len() > pages.budget {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        for page in wanted {
            self.protect(page, MprotectFlags::READ | MprotectFlags::WRITE);
            pages.committed.insert(page);
        }
        Ok(())
    }

    fn discard(&self, range: Range<usize>) -> bool {
        let before = AT_DISCARD.take();
        let dies = before.is_some();
        before.into_iter().for_each(|before| before());
        let mut pages = self.pages.lock().unwrap();
        for page in range.start.div_ceil(PAGE)..range.end / PAGE {
            if pages.committed.remove(&page) {
                // SAFETY: a page of our own mapping, whose bytes nobody refers to.
                unsafe { madvise(self.base.as_ptr().add(page * PAGE).cast(), PAGE, Advice::LinuxDontNeed) }.unwrap();
                self.protect(page, MprotectFlags::empty());
            }
        }
        drop(pages);
        assert!(!dies, "the process ends here");
        true
    }

    fn has_pages(&self, range: Range<usize>) -> bool {
        let pages = self.pages.lock().unwrap();
        pages.committed.range(range.start / PAGE..range.end.div_ceil(PAGE)).next().is_some()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

const A: Owner = Owner::new(0, 0);
const B: Owner = Owner::new(1, 0);

fn guarded(geometry: &Geometry, budget: usize) -> (Mpmc, Mpmc, Arc<Mutex<Pages>>) {
    let (memory, pages) = Guarded::new(geometry.region_len().unwrap(), budget);
    let region = Region::new(memory);
    let a = Mpmc::create(&region, 0, geometry, A).unwrap();
    (a, Mpmc::attach(&region, 0, geometry, B).unwrap(), pages)
}

fn pop(ring: &Mpmc) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    ring.pop(&mut message).ok().map(|_| message)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Lengths of every size class, blocks in hand of a process that dies, sweeps.
    #[test]
    fn nothing_is_touched_before_it_is_committed(
        slots in 1u32..400,
        first_turn in prop_oneof![Just(1u64), 1u64..1000],
        operations in prop::collection::vec((0u8..6, 0u32..23, any::<u32>()), 0..200),
    ) {
        let geometry = Geometry { small_in_slots: false, returns: true, memory: 64 << 20, max_message: 5 << 20, first_turn, ..Geometry::new(slots) };
        let (a, b, _) = guarded(&geometry, usize::MAX);
        for (operation, bits, random) in operations {
            let len = random as usize & ((1 << bits) - 1);
            let again = Orphans::Redeliver { max_deliveries: Some(2), how: DIED };
            match operation {
                0 | 1 => {
                    let _ = if operation == 0 { &a } else { &b }.push(&vec![bits as u8; len]);
                }
                2 | 3 => {
                    let message = pop(if operation == 2 { &a } else { &b }).unwrap_or_default();
                    prop_assert!(message.iter().all(|&byte| Some(&byte) == message.first()));
                }
                4 => {
                    if random % 2 == 0 {
                        std::mem::forget(b.alloc(len));
                    } else {
                        std::mem::forget(b.pop_block([Lane::Main, Lane::Returned, Lane::Dead][random as usize / 2 % 3]));
                    }
                }
                _ => drop(a.sweep(B, Finished::default(), again, || true, |_| ()).unwrap()),
            }
        }
    }
}

#[test]
fn memory_that_the_system_has_not_is_an_error_and_what_is_there_can_be_used() {
    const BUDGET: usize = 20;
    for max_message in [48, 3000, 1 << 20] {
        let geometry = Geometry { small_in_slots: false, returns: true, memory: 64 << 20, max_message, ..Geometry::new(2000) };
        let (a, b, pages) = guarded(&geometry, BUDGET);
        let message = vec![7; max_message as usize];
        let mut put = 0;
        let error = loop {
            match a.push(&message) {
                Ok(()) => put += 1,
                Err(error) => break error,
            }
        };
        let no_memory = |error: &PushError| matches!(error, PushError::NoMemory { .. });
        assert!(no_memory(&error), "{error} after {put} of {max_message} bytes");
        assert!(no_memory(&a.push(&message).unwrap_err()));
        assert!(pages.lock().unwrap().committed.len() <= BUDGET);
        for _ in 0..put {
            assert_eq!(pop(&b).unwrap(), message);
        }
        // What was there before is there again; with more memory there is more.
        let again = (0..).take_while(|_| a.push(&message).is_ok()).count();
        assert!(again >= put, "{again} of {put}");
        pages.lock().unwrap().budget = usize::MAX;
        a.push(&message).unwrap();
    }
}

#[test]
fn the_only_free_block_is_found_wherever_it_is() {
    let geometry = Geometry { small_in_slots: false, memory: 128 << 10, max_message: 100, ..Geometry::new(1) };
    // All that there can be; and where the system has memory for some of each size.
    for budget in [usize::MAX, 32] {
        let (a, _b, _) = guarded(&geometry, budget);
        let mut blocks: Vec<_> = std::iter::from_fn(|| a.alloc(8).ok()).collect();
        match budget {
            usize::MAX => assert_eq!(blocks.len(), 1024 + 512, "blocks of 64 bytes, and of 128"),
            _ => assert!((512..1536).contains(&blocks.len()), "{} blocks", blocks.len()),
        }
        let mut chosen = 1;
        for step in 0..1000 {
            chosen = (chosen * 1_103_515_245 + 12_345) % 2_147_483_648_usize;
            drop(blocks.swap_remove(chosen % blocks.len()));
            blocks.push(a.alloc(8).unwrap_or_else(|error| panic!("step {step}: {error}")));
            assert!(a.alloc(8).is_err());
        }
    }
}

#[test]
fn what_a_sweep_has_no_memory_to_bring_back_is_in_hand_of_the_sweeper_and_comes_back_later() {
    let geometry = Geometry { small_in_slots: false, returns: true, memory: 1 << 20, max_message: 48, ..Geometry::new(64) };
    let (a, b, pages) = guarded(&geometry, usize::MAX);
    // One more than the first ring for messages that come back has room for: a larger one is needed.
    const MESSAGES: usize = 65;
    for _ in 0..MESSAGES {
        a.push(b"1").unwrap();
        std::mem::forget(b.pop_block(Lane::Main).unwrap());
    }
    let used = pages.lock().unwrap().committed.len();
    pages.lock().unwrap().budget = used;
    let again = Orphans::Redeliver { max_deliveries: None, how: DIED };
    let mut unsent = Vec::new();
    let keep = |orphan: Orphan<'_>| match orphan {
        Orphan::Unsent(held) => unsent.push(held),
        Orphan::Lost(_) => panic!("lost"),
    };
    let swept = a.sweep(B, Finished::default(), again, || true, keep).unwrap();
    assert_eq!((swept.returned, unsent.len(), a.len_of(Lane::Returned)), (MESSAGES - 1, 1, MESSAGES - 1));
    // The dead one has nothing left, and can be buried.
    assert_eq!(a.sweep(B, Finished::default(), again, || true, |_| ()).unwrap(), Default::default());
    // Tried in vain once more, it is whole, and its count is as before.
    let unsent = a.resume(unsent.pop().unwrap()).unwrap();
    let unsent = a.give_back(unsent, COUNTED).unwrap_err().block;
    let unsent = a.resume(unsent.hold().unwrap()).unwrap();
    assert_eq!((unsent.len(), unsent.deliveries()), (1, 0));
    pages.lock().unwrap().budget = usize::MAX;
    assert_eq!(a.give_back(unsent, COUNTED).unwrap(), Lane::Returned);
    for _ in 0..MESSAGES {
        let block = a.pop_block(Lane::Returned).unwrap();
        assert_eq!((block.len(), block.deliveries()), (1, 1));
    }
}

#[test]
fn of_large_blocks_only_the_first_keep_their_pages() {
    const LEN: usize = 20 << 20;
    let geometry = Geometry { small_in_slots: false, memory: 8 << 30, max_message: LEN as u64, ..Geometry::new(16) };
    let (a, b, pages) = guarded(&geometry, usize::MAX);
    let committed = || pages.lock().unwrap().committed.len() * PAGE;
    let empty = committed();
    let messages = 16;
    for _ in 0..messages {
        a.push(&vec![1; LEN]).unwrap();
    }
    assert!(committed() - empty >= messages * LEN);
    for _ in 0..messages {
        assert_eq!(pop(&b).unwrap().len(), LEN);
    }
    // As many as fit in 256 MiB, and of the others the page with the header.
    let kept = (committed() - empty) / LEN;
    assert_eq!(kept, 12, "{kept} of {messages} kept their pages");
}

#[test]
fn what_a_burst_needed_is_given_back_and_can_be_used_again() {
    let geometry = Geometry { grows: true, small_in_slots: false, memory: 64 << 20, max_message: 3000, ..Geometry::new(1024) };
    let (a, b, pages) = guarded(&geometry, usize::MAX);
    let committed = || pages.lock().unwrap().committed.len() * PAGE;
    a.push(b"warm").unwrap();
    assert!(pop(&b).is_some());
    let before = committed();
    for round in 0..3 {
        for value in 0..10_000u32 {
            a.push(&[value as u8; 300]).unwrap();
        }
        assert!(committed() > before + 10_000 * 300);
        for value in 0..10_000u32 {
            assert_eq!(pop(&b).unwrap(), [value as u8; 300]);
        }
        assert!(pop(&b).is_none());
        while b.trim(1 << 16) == Trimmed::Part {}
        // Blocks go; the slots of rings, sixteen bytes for a message, stay for the next burst.
        assert!(committed() < before + 700_000, "{} bytes more in round {round}", committed() - before);
    }
}

#[test]
fn memory_whose_trimmer_died_right_after_giving_it_back_is_asked_for_before_it_is_touched() {
    let geometry = Geometry { small_in_slots: false, memory: 1 << 20, max_message: 48, ..Geometry::new(2000) };
    let (a, b, _) = guarded(&geometry, usize::MAX);
    let c = Arc::new(b);
    // More than what stays.
    const MESSAGES: usize = 2000;
    let fill = |ring: &Mpmc| {
        let put = (0..MESSAGES).take_while(|_| ring.push(b"1").is_ok()).count();
        (0..put).for_each(|_| assert!(pop(ring).is_some()));
    };
    fill(&a);
    fill(&c);
    let other = Arc::clone(&c);
    // The other process walks over all blocks, those included that the trim has.
    AT_DISCARD.set(Some(Box::new(move || fill(&other))));
    let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| a.trim_all()));
    assert!(died.is_err());
    fill(&c);
}

#[test]
fn a_sweep_after_a_burst_asks_for_no_memory_that_was_given_back() {
    let geometry = Geometry {
        grows: true,
        returns: true,
        small_in_slots: false,
        memory: 64 << 20,
        max_message: 3000,
        ..Geometry::new(1024)
    };
    let (a, b, pages) = guarded(&geometry, usize::MAX);
    for value in 0..10_000u32 {
        a.push(&[value as u8; 300]).unwrap();
    }
    // The last message is in hand of a process that dies.
    for _ in 0..9_999 {
        assert!(pop(&a).is_some());
    }
    std::mem::forget(b.pop_block(Lane::Main).unwrap());
    assert!(pop(&a).is_none());
    while a.trim(1 << 16) == Trimmed::Part {}
    let committed = || pages.lock().unwrap().committed.len();
    let before = committed();
    // Nothing is left: a sweep needs none.
    pages.lock().unwrap().budget = before;
    let again = Orphans::Redeliver { max_deliveries: None, how: DIED };
    assert_eq!(a.sweep(B, Finished::default(), again, || true, |_| ()).unwrap().returned, 1);
    assert_eq!(committed(), before);
    assert_eq!(a.pop_block(Lane::Returned).unwrap().deliveries(), 1);
    assert_eq!(committed(), before);
}
