//! Plain data of one type, one producer, one consumer.

use super::{Ends, ReadError, Shape, SpscError, free};
use crate::distance::Distance;
use bytemuck::Pod;
use multiproc_prim::{Circle, Heap, Ordering, Place, Region, stamp};
use thiserror::Error;

/// Why a value was not pushed: the ring is full. It gives the value back.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the ring is full")]
pub struct Full<T>(pub T);

/// Bytes of a region that a ring of `capacity` values of `T` needs.
///
/// # Errors
///
/// The capacity is no power of two, or more than 2^40.
pub fn region_len<T: Pod>(capacity: usize) -> Result<usize, SpscError> {
    shape::<T>(capacity).check(1)?;
    let too_large = SpscError::Capacity { asked: capacity, least: 1 };
    let values = capacity.checked_mul(Circle::<T>::STRIDE).ok_or(too_large)?;
    values.checked_add(size_of::<Ends>()).ok_or(too_large)
}

/// A ring of `capacity` values in this process's own memory, for two threads.
///
/// ```
/// # multiproc_prim::model::for_real(|| {
/// use multiproc_ring::spsc;
///
/// let (mut producer, mut consumer) = spsc::channel::<u64>(4)?;
/// producer.push(1)?;
/// drop(producer);
/// assert_eq!(consumer.pop()?, 1);
/// assert!(consumer.is_abandoned() && consumer.pop().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # });
/// ```
///
/// # Errors
///
/// The capacity is no power of two, or more than 2^40.
pub fn channel<T: Pod>(capacity: usize) -> Result<(Producer<T>, Consumer<T>), SpscError> {
    let region = Region::new(Heap::new(region_len::<T>(capacity)?));
    Ok((Producer::create(&region, 0, capacity)?, Consumer::attach(&region, 0, capacity)?))
}

const fn shape<T>(capacity: usize) -> Shape {
    Shape { value: Some(size_of::<T>()), capacity }
}

/// Where both sides find things.
struct Ring<T> {
    ends: Place<Ends>,
    values: Circle<T>,
    /// The process that this side belongs to: a forked copy of it leaves nothing when it is dropped.
    home: u64,
}

impl<T: Pod> Ring<T> {
    /// A new ring with positions that start at `first`, or without it the ring that is there.
    fn new(region: &Region, at: usize, capacity: usize, first: Option<u64>) -> Result<Self, SpscError> {
        let ends = shape::<T>(capacity).ends(region, at, region_len::<T>(capacity)?, first)?;
        Ok(Self { ends, values: region.circle(at + size_of::<Ends>(), capacity)?, home: stamp() })
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

/// The side that pushes. One per ring; two would overwrite each other's values, and nothing worse.
pub struct Producer<T> {
    ring: Ring<T>,
    tail: u64,
    head: u64,
    distance: Distance,
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
    /// The capacity is no power of two, `at` is no multiple of 128, the ring does not fit, or the system has no memory for it.
    pub fn create(region: &Region, at: usize, capacity: usize) -> Result<Self, SpscError> {
        Self::create_at(region, at, capacity, 0)
    }

    /// Makes a ring as [`create`](Self::create) does, with positions that start at `first`: public for the tests of their wrap alone.
    ///
    /// # Errors
    ///
    /// The same as of `create`.
    #[doc(hidden)]
    pub fn create_at(region: &Region, at: usize, capacity: usize, first: u64) -> Result<Self, SpscError> {
        Ok(Self { ring: Ring::new(region, at, capacity, Some(first))?, tail: first, head: first, distance: Distance::near() })
    }

    /// The producer of a ring that exists, whose producer before was dropped or died.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create), or the memory holds a ring of another shape, or none: [`SpscError::Differs`].
    pub fn attach(region: &Region, at: usize, capacity: usize) -> Result<Self, SpscError> {
        let ring = Ring::<T>::new(region, at, capacity, None)?;
        // Relaxed: what handed the end over to us orders it. Acquire: the consumer's reads come before what we write over them
        // (pairs with: pop).
        let tail = ring.ends.tail.position.load(Ordering::Relaxed);
        let head = ring.ends.head.position.load(Ordering::Acquire);
        ring.ends.tail.left.store(0, Ordering::Relaxed);
        Ok(Self { ring, tail, head, distance: Distance::near() })
    }

    /// Values that the ring holds.
    pub fn capacity(&self) -> usize {
        self.ring.values.count() as usize
    }

    /// Values that can be pushed now, at least.
    pub fn slots(&mut self) -> usize {
        self.look() as usize
    }

    /// Whether the consumer was dropped. One that was killed, or never came, is not noticed.
    pub fn is_abandoned(&self) -> bool {
        // Relaxed: it carries nothing but itself.
        self.ring.ends.head.left.load(Ordering::Relaxed) != 0
    }

    /// Pushes a value. At the end of a burst that fills the ring it waits for up to a quarter of a microsecond, to leave the consumer its
    /// cache lines.
    ///
    /// # Errors
    ///
    /// The ring is full: the error gives the value back.
    #[inline]
    pub fn push(&mut self, value: T) -> Result<(), Full<T>> {
        if self.room_for(1) == 0 {
            return Err(Full(value));
        }
        self.ring.put(self.tail, &value);
        self.advance(1);
        Ok(())
    }

    /// Pushes as many of `values` as there is room for, which all become visible together. Returns how many. It waits as
    /// [`push`](Self::push) does.
    pub fn push_slice(&mut self, values: &[T]) -> usize {
        let count = self.room_for(values.len());
        for (position, value) in values.iter().enumerate().take(count) {
            self.ring.put(self.tail.wrapping_add(position as u64), value);
        }
        self.advance(count as u64);
        count
    }

    #[inline]
    fn room_for(&mut self, wanted: usize) -> usize {
        let mut room = self.free();
        if room < wanted as u64 {
            self.distance.hang_back(self.tail, self.ring.values.count());
            room = self.look();
        }
        (room as usize).min(wanted)
    }

    /// Values that there is room for.
    #[inline]
    fn look(&mut self) -> u64 {
        // Acquire: the consumer's reads come before our next writes to the same slots (pairs with: pop).
        self.head = self.ring.ends.head.position.load(Ordering::Acquire);
        self.free()
    }

    /// The same, by what is known of the consumer.
    #[inline]
    fn free(&self) -> u64 {
        free(self.ring.values.count(), self.tail, self.head)
    }

    #[inline]
    fn advance(&mut self, count: u64) {
        self.tail = self.tail.wrapping_add(count);
        // Release: the values come before the position that shows them (pairs with: push).
        self.ring.ends.tail.position.store(self.tail, Ordering::Release);
    }
}

/// The side that pops. One per ring.
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
    /// The capacity is no power of two, `at` is no multiple of 128, the ring does not fit, the system has no memory for it, or the memory
    /// holds a ring of another shape, or none: [`SpscError::Differs`].
    pub fn attach(region: &Region, at: usize, capacity: usize) -> Result<Self, SpscError> {
        let ring = Ring::<T>::new(region, at, capacity, None)?;
        // Relaxed: what handed the end over to us orders it.
        let head = ring.ends.head.position.load(Ordering::Relaxed);
        ring.ends.head.left.store(0, Ordering::Relaxed);
        Ok(Self { ring, head, tail: head, distance: Distance::near() })
    }

    /// Values that the ring holds.
    pub fn capacity(&self) -> usize {
        self.ring.values.count() as usize
    }

    /// Values that can be popped now, at least. 0 where the positions contradict each other: [`pop`](Self::pop) says so.
    pub fn slots(&mut self) -> usize {
        self.look().unwrap_or(0) as usize
    }

    /// Whether the producer was dropped: what it pushed before can be popped still. One that was killed is not noticed.
    pub fn is_abandoned(&self) -> bool {
        // Acquire: all that the producer pushed is there for the next pop (pairs with: leave).
        self.ring.ends.tail.left.load(Ordering::Acquire) != 0
    }

    /// Pops the oldest value.
    ///
    /// # Errors
    ///
    /// There is none, or the positions contradict each other: another process wrote over them.
    #[inline]
    pub fn pop(&mut self) -> Result<T, ReadError> {
        if self.available(1)? == 0 {
            return Err(ReadError::Empty);
        }
        let value = self.ring.take(self.head);
        self.advance(1);
        Ok(value)
    }

    /// Pops as many values as there are and `target` holds. Returns how many, which may be none.
    ///
    /// # Errors
    ///
    /// The positions contradict each other: another process wrote over them.
    pub fn pop_slice(&mut self, target: &mut [T]) -> Result<usize, ReadError> {
        let count = self.available(target.len())?;
        for (position, value) in target.iter_mut().enumerate().take(count) {
            *value = self.ring.take(self.head.wrapping_add(position as u64));
        }
        self.advance(count as u64);
        Ok(count)
    }

    #[inline]
    fn available(&mut self, wanted: usize) -> Result<usize, ReadError> {
        let mut there = self.tail.wrapping_sub(self.head);
        if there < wanted as u64 {
            self.distance.hang_back(self.head, self.ring.values.count());
            there = self.look()?;
        }
        Ok((there as usize).min(wanted))
    }

    #[inline]
    fn look(&mut self) -> Result<u64, ReadError> {
        // Acquire: the values come before the position that shows them (pairs with: push).
        self.tail = self.ring.ends.tail.position.load(Ordering::Acquire);
        let there = self.tail.wrapping_sub(self.head);
        if there > self.ring.values.count() {
            self.tail = self.head;
            return Err(ReadError::Corrupt);
        }
        Ok(there)
    }

    #[inline]
    fn advance(&mut self, count: u64) {
        self.head = self.head.wrapping_add(count);
        // Release: our reads come before the producer's next writes to the same slots (pairs with: pop).
        self.ring.ends.head.position.store(self.head, Ordering::Release);
    }
}

impl<T> Drop for Producer<T> {
    fn drop(&mut self) {
        if self.ring.home == stamp() {
            // Release: all that was pushed comes before the end (pairs with: leave).
            self.ring.ends.tail.left.store(1, Ordering::Release);
        }
    }
}

impl<T> Drop for Consumer<T> {
    fn drop(&mut self) {
        if self.ring.home == stamp() {
            // Relaxed: it carries nothing but itself.
            self.ring.ends.head.left.store(1, Ordering::Relaxed);
        }
    }
}
