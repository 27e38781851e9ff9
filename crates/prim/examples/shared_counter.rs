//! Two threads count in one region, and one sleeps until the other is done.

use multiproc_prim::{AtomicU32, AtomicU64, Heap, Ordering, OutOfBounds, Region, futex};

fn main() -> Result<(), OutOfBounds> {
    let region = Region::new(Heap::new(4096));
    let counter = region.place::<AtomicU64>(0)?;
    let done = region.place::<AtomicU32>(64)?;
    let (theirs, finished) = (counter.clone(), done.clone());
    std::thread::spawn(move || {
        for _ in 0..1000 {
            theirs.fetch_add(1, Ordering::Relaxed);
        }
        finished.store(1, Ordering::Release);
        futex::wake(&finished, 1);
    });
    while done.load(Ordering::Acquire) == 0 {
        futex::wait(&done, 0, None);
    }
    println!("{}", counter.load(Ordering::Relaxed));
    Ok(())
}
