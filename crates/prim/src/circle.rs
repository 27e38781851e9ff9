//! Payload bytes around a circle. Their bounds are checked once.

use crate::{Bytes, OutOfBounds, Region};
use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;

/// Room for the bytes of a power of two of `T`s, at positions that grow for ever and go around. Each starts on a multiple of eight.
pub struct Circle<T> {
    first: NonNull<u8>,
    mask: u64,
    region: Region,
    of: PhantomData<fn() -> T>,
}

// SAFETY: it hands out windows alone, as the region does, and the region keeps the memory mapped.
unsafe impl<T> Send for Circle<T> {}
// SAFETY: as for `Send`.
unsafe impl<T> Sync for Circle<T> {}

impl<T> fmt::Debug for Circle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Circle({} × {})", self.count(), std::any::type_name::<T>())
    }
}

impl Region {
    /// Room for `count` values, a power of two, from `offset` on.
    ///
    /// # Errors
    ///
    /// They do not fit, do not start on a multiple of eight, or are no power of two.
    pub fn circle<T>(&self, offset: usize, count: usize) -> Result<Circle<T>, OutOfBounds> {
        let first = self.check(offset, count.saturating_mul(Circle::<T>::STRIDE), 8)?;
        if !count.is_power_of_two() {
            return Err(OutOfBounds { offset, len: count, region: self.len() });
        }
        Ok(Circle { first, mask: count as u64 - 1, region: self.clone(), of: PhantomData })
    }
}

impl<T> Circle<T> {
    /// Bytes from one value to the next.
    pub const STRIDE: usize = size_of::<T>().next_multiple_of(8);

    /// How many values there is room for.
    #[inline(always)]
    pub fn count(&self) -> u64 {
        self.mask + 1
    }

    /// The bytes of the value at a position.
    #[inline(always)]
    pub fn at(&self, position: u64) -> Bytes<'_> {
        self.region.window(self.start(position), size_of::<T>())
    }

    /// Bytes from a position to the end of the room. There the next position is at the start again.
    #[inline(always)]
    pub fn to_end(&self, position: u64) -> usize {
        (self.count() - (position & self.mask)) as usize * Self::STRIDE
    }

    /// The `len` bytes from a position on, or fewer if the room ends before.
    #[inline(always)]
    pub fn run(&self, position: u64, len: usize) -> Bytes<'_> {
        self.region.window(self.start(position), len.min(self.to_end(position)))
    }

    #[inline(always)]
    fn start(&self, position: u64) -> NonNull<u8> {
        // SAFETY: the index is below the count, all of which `Region::check` put inside the region.
        let start = unsafe { self.first.add((position & self.mask) as usize * Self::STRIDE) };
        // SAFETY: the first is on a multiple of eight by `Region::check`, and so is every stride.
        unsafe { core::hint::assert_unchecked(start.as_ptr().addr() % 8 == 0) };
        start
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use crate::{Heap, Region};

    #[test]
    fn positions_go_around_and_runs_end_with_the_room() {
        let region = Region::new(Heap::new(64));
        let circle = region.circle::<[u8; 12]>(0, 4).unwrap();
        assert!(circle.at(u64::MAX).write(&[7; 12]));
        let mut seen = [0; 16];
        assert!(region.bytes(48, 16).unwrap().read(&mut seen));
        assert_eq!(seen, [7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 0, 0, 0, 0]);
        assert_eq!((circle.to_end(6), circle.run(6, 1000).len(), circle.run(6, 10).len()), (32, 32, 10));
        assert!(!circle.at(0).write(&[0; 13]));
    }

    #[test]
    fn what_does_not_fit_or_makes_no_circle_is_refused() {
        let region = Region::new(Heap::new(64));
        for (offset, count) in [(0, 16), (0, 3), (0, 0), (4, 1), (8, 8), (0, usize::MAX / 2 + 1)] {
            assert!(region.circle::<u64>(offset, count).is_err(), "{offset}, {count}");
        }
    }
}
