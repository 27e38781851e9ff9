//! Records of any length, each contiguous: length and tag in eight bytes, then the payload, then padding to eight.
//!
//! A record that would straddle the end of the ring starts over at its beginning. A header that says skip fills the rest.

use super::{Ends, ReadError, Shape, SpscError, free};
use crate::distance::Distance;
use multiproc_prim::{Bytes, Circle, LINE, Ordering, Place, Region};
use thiserror::Error;

const HEADER: u64 = 8;
const SKIP: u32 = u32::MAX;
/// Bytes between what the writer shows and the cache line that it asks for. So several lines are on their way from the reader's processor at
/// a time, whereas stores wait for one line after another.
const AHEAD: u64 = 4 * LINE as u64;
/// Fewest bytes of room.
const LEAST: usize = 64;

const fn shape(capacity: usize) -> Shape {
    Shape { value: None, capacity }
}

/// Bytes of a region that a ring with `capacity` bytes of room needs.
///
/// # Errors
///
/// The capacity is no power of two from 64 to 2^40.
pub fn records_len(capacity: usize) -> Result<usize, SpscError> {
    shape(capacity).check(LEAST)?;
    Ok(size_of::<Ends>() + capacity)
}

/// The longest payload of one record in a ring with `capacity` bytes of room.
pub const fn longest_record(capacity: usize) -> usize {
    // Half of it, so that a record always fits in an empty ring, wherever that starts.
    let half = capacity / 2 - HEADER as usize;
    if half > i32::MAX as usize { i32::MAX as usize } else { half }
}

/// Why a record was not written.
#[derive(Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriteError {
    /// There is no room until the reader takes something.
    #[error("the ring is full")]
    Full,
    /// There is never room.
    #[error("a record of {len} bytes is longer than the limit of {max}")]
    TooLong {
        /// Length of the record in bytes.
        len: usize,
        /// Longest record in bytes.
        max: usize,
    },
    /// The tag is kept for the ring's own use.
    #[error("the tag u32::MAX is reserved")]
    Reserved,
}

multiproc_prim::error_debug! { WriteError { Full, TooLong, Reserved } }

struct Ring {
    ends: Place<Ends>,
    words: Circle<u64>,
}

impl Ring {
    /// A new ring with positions that start at `first`, or without it the ring that is there.
    fn new(region: &Region, at: usize, capacity: usize, first: Option<u64>) -> Result<Self, SpscError> {
        let ends = shape(capacity).ends(region, at, records_len(capacity)?, first)?;
        Ok(Self { ends, words: region.circle(at + size_of::<Ends>(), capacity / 8)? })
    }

    #[inline(always)]
    fn capacity(&self) -> u64 {
        self.words.count() * 8
    }

    /// Bytes from `position`, a multiple of 8, to the end of the ring.
    #[inline(always)]
    fn to_end(&self, position: u64) -> u64 {
        self.words.to_end(position / 8) as u64
    }

    /// The length and the tag of the record at `position`.
    #[inline(always)]
    fn header(&self, position: u64) -> Bytes<'_> {
        self.words.at(position / 8)
    }

    /// The `len` bytes from `position` on.
    #[inline(always)]
    fn window(&self, position: u64, len: usize) -> Bytes<'_> {
        self.words.run(position / 8, len)
    }
}

/// Bytes that a record of `len` takes up.
fn footprint(len: usize) -> u64 {
    HEADER + (len as u64).next_multiple_of(8)
}

/// The side that writes. One per ring; two would garble each other's records, and nothing worse.
pub struct Writer {
    ring: Ring,
    /// What this side has written, and what of it the reader can see.
    tail: u64,
    shown: u64,
    head: u64,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("tail", &self.tail).field("shown", &self.shown).finish_non_exhaustive()
    }
}

/// Room for one record, to be written in place.
#[derive(Debug)]
#[must_use = "a reservation that is not committed is as if it had never been"]
pub struct Reservation<'a> {
    writer: &'a mut Writer,
    start: u64,
    len: usize,
}

impl Writer {
    /// Makes a ring in zeroed memory, `at` bytes (a multiple of 128) into the region, and is its writer.
    ///
    /// # Errors
    ///
    /// The capacity is no power of two or too small, or the ring does not fit.
    pub fn create(region: &Region, at: usize, capacity: usize) -> Result<Self, SpscError> {
        Self::create_at(region, at, capacity, 0)
    }

    /// Makes a ring as [`create`](Self::create) does, with positions that start at `first` (cut to a multiple of 8): public for the
    /// tests of their wrap alone.
    ///
    /// # Errors
    ///
    /// The same as of `create`.
    #[doc(hidden)]
    pub fn create_at(region: &Region, at: usize, capacity: usize, first: u64) -> Result<Self, SpscError> {
        let first = first & !7;
        let ring = Ring::new(region, at, capacity, Some(first))?;
        Ok(Self { ring, tail: first, shown: first, head: first })
    }

    /// The writer of a ring that exists.
    ///
    /// # Errors
    ///
    /// The capacity is no power of two or too small, the ring does not fit, or the memory holds a ring of another shape, or none:
    /// [`SpscError::Differs`].
    pub fn attach(region: &Region, at: usize, capacity: usize) -> Result<Self, SpscError> {
        let ring = Ring::new(region, at, capacity, None)?;
        // Relaxed: what handed the end over to us orders it. Acquire: the reader's reads come before what we write over them
        // (pairs with: release).
        let tail = ring.ends.tail.position.load(Ordering::Relaxed) & !7;
        let head = ring.ends.head.position.load(Ordering::Acquire);
        Ok(Self { ring, tail, shown: tail, head })
    }

    /// Writes one record and shows it.
    ///
    /// # Errors
    ///
    /// There is no room, or never would be.
    #[inline(always)]
    pub fn write(&mut self, tag: u32, payload: &[u8]) -> Result<(), WriteError> {
        self.stage(tag, payload)?;
        self.show();
        Ok(())
    }

    /// Writes one record without showing it yet: [`show`](Self::show) shows a batch at once.
    ///
    /// # Errors
    ///
    /// There is no room, or never would be.
    #[inline(always)]
    pub fn stage(&mut self, tag: u32, payload: &[u8]) -> Result<(), WriteError> {
        let reservation = self.reserve(payload.len())?;
        let fits = reservation.payload().write(payload);
        debug_assert!(fits);
        reservation.stage(tag)
    }

    /// Shows everything staged.
    #[inline(always)]
    pub fn show(&mut self) {
        self.shown = self.tail;
        // Release: the records come before the position that shows them (pairs with: write).
        self.ring.ends.tail.position.store(self.tail, Ordering::Release);
        // As far as is known, the reader is done with that line, so it is not taken out of its hands.
        if self.free() >= AHEAD + LINE as u64 {
            self.ring.header(self.tail.wrapping_add(AHEAD)).fetch_to_write();
        }
    }

    /// Room for a record of `len` bytes, contiguous.
    ///
    /// # Errors
    ///
    /// There is no room, or never would be.
    #[inline(always)]
    pub fn reserve(&mut self, len: usize) -> Result<Reservation<'_>, WriteError> {
        let max = longest_record(self.ring.capacity() as usize);
        if len > max {
            return Err(WriteError::TooLong { len, max });
        }
        let need = footprint(len);
        let to_end = self.ring.to_end(self.tail);
        let skip = if need > to_end { to_end } else { 0 };
        if !self.has(skip + need) {
            return Err(WriteError::Full);
        }
        let start = self.tail.wrapping_add(skip);
        if skip > 0 {
            // A skip before the reservation is harmless even if that is dropped: the next record starts there all the same.
            let fits = self.ring.header(self.tail).write(&header(0, SKIP));
            debug_assert!(fits);
            self.tail = start;
        }
        Ok(Reservation { writer: self, start, len })
    }

    /// Whether a record of `len` bytes would find room now.
    pub fn has_room(&mut self, len: usize) -> bool {
        let to_end = self.ring.to_end(self.tail);
        let need = footprint(len);
        self.has(if need > to_end { to_end + need } else { need })
    }

    /// Whether there are so many bytes of room.
    #[inline(always)]
    fn has(&mut self, wanted: u64) -> bool {
        if self.free() < wanted {
            // Acquire: the reader's reads come before our next writes to the same bytes (pairs with: release).
            self.head = self.ring.ends.head.position.load(Ordering::Acquire);
        }
        self.free() >= wanted
    }

    /// Bytes of room, by what is known of the reader.
    #[inline(always)]
    fn free(&self) -> u64 {
        free(self.ring.capacity(), self.tail, self.head)
    }
}

fn header(len: u32, tag: u32) -> [u8; 8] {
    (u64::from(tag) << 32 | u64::from(len)).to_le_bytes()
}

impl Reservation<'_> {
    /// Where the payload goes.
    pub fn payload(&self) -> Bytes<'_> {
        self.writer.ring.window(self.start.wrapping_add(HEADER), self.len)
    }

    /// Makes it a record, to be shown later.
    ///
    /// # Errors
    ///
    /// The tag is reserved.
    pub fn stage(self, tag: u32) -> Result<(), WriteError> {
        if tag == SKIP {
            return Err(WriteError::Reserved);
        }
        let fits = self.writer.ring.header(self.start).write(&header(self.len as u32, tag));
        debug_assert!(fits);
        self.writer.tail = self.start.wrapping_add(footprint(self.len));
        Ok(())
    }

    /// Makes it a record and shows it.
    ///
    /// # Errors
    ///
    /// The tag is reserved.
    pub fn commit(self, tag: u32) -> Result<(), WriteError> {
        let Self { writer, start, len } = self;
        Reservation { writer, start, len }.stage(tag)?;
        writer.show();
        Ok(())
    }
}

/// The side that reads. One per ring.
pub struct Reader {
    ring: Ring,
    head: u64,
    tail: u64,
    /// Records read, and the room that the last one took up.
    count: u64,
    length: u64,
    distance: Distance,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("head", &self.head).finish_non_exhaustive()
    }
}

/// A record in place: copy it out, then [`release`](Record::release) its room.
#[derive(Debug)]
pub struct Record<'a> {
    reader: &'a mut Reader,
    /// What the writer said of it.
    pub tag: u32,
    len: usize,
}

impl Reader {
    /// The reader of a ring that exists.
    ///
    /// # Errors
    ///
    /// The capacity is no power of two or too small, or the ring does not fit.
    pub fn attach(region: &Region, at: usize, capacity: usize) -> Result<Self, SpscError> {
        let ring = Ring::new(region, at, capacity, None)?;
        // Relaxed: what handed the end over to us orders it.
        let head = ring.ends.head.position.load(Ordering::Relaxed) & !7;
        Ok(Self { ring, head, tail: head, count: 0, length: HEADER, distance: Distance::far() })
    }

    /// The oldest record, which stays in the ring until it is [released](Record::release).
    ///
    /// # Errors
    ///
    /// There is none, or the memory holds no record where one should be: another process wrote over it.
    #[inline(always)]
    pub fn peek(&mut self) -> Result<Record<'_>, ReadError> {
        // At most one skip can come before a record, and it ends at the end of the ring.
        for _ in 0..2 {
            let there = self.available()?;
            if there == 0 {
                return Err(ReadError::Empty);
            }
            let to_end = self.ring.to_end(self.head);
            let mut word = [0; 8];
            let fits = self.ring.header(self.head).read(&mut word);
            debug_assert!(fits);
            let word = u64::from_le_bytes(word);
            let (len, tag) = (word as u32 as usize, (word >> 32) as u32);
            if tag == SKIP {
                if to_end > there {
                    return Err(ReadError::Corrupt);
                }
                self.head = self.head.wrapping_add(to_end);
                continue;
            }
            if footprint(len) > there.min(to_end) {
                return Err(ReadError::Corrupt);
            }
            return Ok(Record { reader: self, tag, len });
        }
        Err(if self.available()? == 0 { ReadError::Empty } else { ReadError::Corrupt })
    }

    /// Bytes between our head and the writer's tail.
    #[inline(always)]
    fn available(&mut self) -> Result<u64, ReadError> {
        if self.tail == self.head {
            self.distance.hang_back(self.count, self.ring.capacity() / self.length);
            // Acquire: the records come before the position that shows them (pairs with: write).
            self.tail = self.ring.ends.tail.position.load(Ordering::Acquire);
            let there = self.tail.wrapping_sub(self.head);
            if there > self.ring.capacity() || there % 8 != 0 {
                self.tail = self.head;
                return Err(ReadError::Corrupt);
            }
        }
        Ok(self.tail.wrapping_sub(self.head))
    }
}

impl Record<'_> {
    /// The payload.
    #[inline(always)]
    pub fn payload(&self) -> Bytes<'_> {
        self.reader.ring.window(self.reader.head.wrapping_add(HEADER), self.len)
    }

    /// Frees the record's room for the writer.
    #[inline(always)]
    pub fn release(self) {
        let reader = self.reader;
        reader.length = footprint(self.len);
        reader.count += 1;
        reader.head = reader.head.wrapping_add(reader.length);
        // Release: our reads come before the writer's next writes to the same bytes (pairs with: release).
        reader.ring.ends.head.position.store(reader.head, Ordering::Release);
    }
}
