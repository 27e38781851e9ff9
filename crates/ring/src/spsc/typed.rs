//! Plain data of one type, one producer, one consumer.

use super::{Ends, SpscError, check_capacity};
use crate::distance::Distance;
use bytemuck::Pod;
use multiproc_prim::{Circle, Ordering, Place, Region};

/// Bytes of a region that a ring of `capacity` values of `T` needs.
///
/// # Errors
///
/// The capacity is no power of two.
pub fn region_len<T: Pod>(capacity: usize) -> Result<usize, SpscError> {
    check_capacity(capacity)?;
    let values = capacity.checked_mul(Circle::<T>::STRIDE).ok_or(SpscError::Capacity { asked: capacity })?;
    values.checked_add(size_of::<Ends>()).ok_or(SpscError::Capacity { asked: capacity })
}

/// Where both sides find things.
struct Ring<T> {
    ends: Place<Ends>,
    values: Circle<T>,
}

impl<T: Pod> Ring<T> {
    fn attach(region: &Region, at: usize, capacity: usize) -> Result<Self, SpscError> {
        let len = region_len::<T>(capacity)?;
        let values = region.circle(at + size_of::<Ends>(), capacity)?;
        region.commit(at..at + len).map_err(|error| SpscError::NoMemory(error.to_string()))?;
        Ok(Self { ends: region.place(at)?, values })
    }

    #[inline(always)]
    fn put(&self, position: u64, value: &T) {
        let fits = self.values.at(position).write(bytemuck::bytes_of(value));
        debug_assert!(fits);
    }

    #[inline(always)]
    fn take(&self, position: u64) -> T {
        let mut value = T::zeroed();
        let fits = self.values.at(position).read(bytemuck::bytes_of_mut(&mut value));
        debug_assert!(fits);
        value
    }
}

/// The side that puts. One per ring; two would overwrite each other's values, and nothing worse.
pub struct Producer<T> {
    ring: Ring<T>,
    tail: u64,
    head: u64,
}

impl<T> std::fmt::Debug for Producer<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").field("tail", &self.tail).finish_non_exhaustive()
    }
}

impl<T: Pod> Producer<T> {
    /// Makes a ring in zeroed memory, `at` bytes (a multiple of 128) into the region, and is its producer.
    ///
    /// # Errors
    ///
    /// The capacity is no power of two, or the ring does not fit.
    pub fn create(region: &Region, at: usize, capacity: usize) -> Result<Self, SpscError> {
        Self::create_at(region, at, capacity, 0)
    }

    /// As [`create`](Self::create), with positions that start at `first`: for tests of their wrap.
    ///
    /// # Errors
    ///
    /// As `create`.
    pub fn create_at(region: &Region, at: usize, capacity: usize, first: u64) -> Result<Self, SpscError> {
        let ring = Ring::<T>::attach(region, at, capacity)?;
        ring.ends.make_fresh();
        // Relaxed: nobody else has the memory yet.
        ring.ends.tail.store(first, Ordering::Relaxed);
        ring.ends.head.store(first, Ordering::Relaxed);
        Ok(Self { ring, tail: first, head: first })
    }

    /// The producer of a ring that exists.
    ///
    /// # Errors
    ///
    /// As `create`.
    pub fn attach(region: &Region, at: usize, capacity: usize) -> Result<Self, SpscError> {
        let ring = Ring::attach(region, at, capacity)?;
        // Relaxed: whoever handed the end over to us orders it. Acquire: the consumer's reads come before what we write over them
        // (pairs with: pop).
        let tail = ring.ends.tail.load(Ordering::Relaxed);
        let head = ring.ends.head.load(Ordering::Acquire);
        Ok(Self { ring, tail, head })
    }

    /// Puts a value. `Err` gives it back: the ring is full.
    ///
    /// # Errors
    ///
    /// Full.
    #[inline]
    pub fn push(&mut self, value: T) -> Result<(), T> {
        if self.room() == 0 {
            return Err(value);
        }
        self.ring.put(self.tail, &value);
        self.advance(1);
        Ok(())
    }

    /// Puts as many of `values` as there is room for, made visible together. Returns how many.
    pub fn push_slice(&mut self, values: &[T]) -> usize {
        let count = self.room_for(values.len());
        for (position, value) in values.iter().enumerate().take(count) {
            self.ring.put(self.tail.wrapping_add(position as u64), value);
        }
        self.advance(count as u64);
        count
    }

    /// Values that can be put now, at least.
    #[inline]
    fn room(&mut self) -> usize {
        self.room_for(1)
    }

    #[inline]
    fn room_for(&mut self, wanted: usize) -> usize {
        // A head beyond the tail is a hostile peer's: it makes no room.
        let mut used = self.tail.wrapping_sub(self.head).min(self.ring.values.count());
        if self.ring.values.count() - used < wanted as u64 {
            // Acquire: the consumer's reads come before our next writes to the same slots (pairs with: pop).
            self.head = self.ring.ends.head.load(Ordering::Acquire);
            used = self.tail.wrapping_sub(self.head).min(self.ring.values.count());
        }
        ((self.ring.values.count() - used) as usize).min(wanted)
    }

    #[inline]
    fn advance(&mut self, count: u64) {
        self.tail = self.tail.wrapping_add(count);
        // Release: the values come before the position that shows them (pairs with: push).
        self.ring.ends.tail.store(self.tail, Ordering::Release);
    }
}

/// The side that takes. One per ring.
pub struct Consumer<T> {
    ring: Ring<T>,
    head: u64,
    tail: u64,
    distance: Distance,
}

impl<T> std::fmt::Debug for Consumer<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consumer").field("head", &self.head).finish_non_exhaustive()
    }
}

impl<T: Pod> Consumer<T> {
    /// The consumer of a ring that exists.
    ///
    /// # Errors
    ///
    /// The capacity is no power of two, or the ring does not fit.
    pub fn attach(region: &Region, at: usize, capacity: usize) -> Result<Self, SpscError> {
        let ring = Ring::attach(region, at, capacity)?;
        // Relaxed: whoever handed the end over to us orders it.
        let head = ring.ends.head.load(Ordering::Relaxed);
        Ok(Self { ring, head, tail: head, distance: Distance::default() })
    }

    /// The oldest value, or `None`.
    ///
    /// # Errors
    ///
    /// The positions contradict each other: another process wrote over them.
    #[inline]
    pub fn pop(&mut self) -> Result<Option<T>, SpscError> {
        if self.available(1)? == 0 {
            return Ok(None);
        }
        let value = self.ring.take(self.head);
        self.advance(1);
        Ok(Some(value))
    }

    /// Takes as many values as there are and `target` holds. Returns how many.
    ///
    /// # Errors
    ///
    /// As [`pop`](Self::pop).
    pub fn pop_slice(&mut self, target: &mut [T]) -> Result<usize, SpscError> {
        let count = self.available(target.len())?;
        for (position, value) in target.iter_mut().enumerate().take(count) {
            *value = self.ring.take(self.head.wrapping_add(position as u64));
        }
        self.advance(count as u64);
        Ok(count)
    }

    #[inline]
    fn available(&mut self, wanted: usize) -> Result<usize, SpscError> {
        let mut there = self.tail.wrapping_sub(self.head);
        if there < wanted as u64 {
            self.distance.hang_back(self.head, self.ring.values.count());
            // Acquire: the values come before the position that shows them (pairs with: push).
            self.tail = self.ring.ends.tail.load(Ordering::Acquire);
            there = self.tail.wrapping_sub(self.head);
            if there > self.ring.values.count() {
                self.tail = self.head;
                return Err(SpscError::Corrupt);
            }
        }
        Ok((there as usize).min(wanted))
    }

    #[inline]
    fn advance(&mut self, count: u64) {
        self.head = self.head.wrapping_add(count);
        // Release: our reads come before the producer's next writes to the same slots (pairs with: pop).
        self.ring.ends.head.store(self.head, Ordering::Release);
    }
}
