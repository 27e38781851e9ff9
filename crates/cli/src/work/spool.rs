//! Output that waits to be printed. All jobs together keep a bounded part of it in memory. The rest is in one temporary file without a
//! name, so it takes one descriptor, whatever the number of jobs.

use rustix::fs::{FallocateFlags, fallocate};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

/// Where the output of all jobs is kept.
#[derive(Clone, Debug)]
pub(crate) struct Spool(Rc<RefCell<Store>>);

#[derive(Debug)]
struct Store {
    limits: Limits,
    in_memory: usize,
    file: Option<File>,
    end: u64,
    /// Bytes of the file that are still to be read.
    unread: u64,
}

/// Bytes that are kept in memory.
#[derive(Clone, Copy, Debug)]
struct Limits {
    of_one: usize,
    of_all: usize,
    /// A stream with less goes to the file only when it has ended: many short writes would be slow.
    least: usize,
}

const LIMITS: Limits = Limits { of_one: 4 << 20, of_all: 64 << 20, least: 64 << 10 };
/// What is taken at a time.
const PORTION: u64 = 64 << 10;

/// What one job wrote to one stream.
#[derive(Debug)]
pub(crate) struct Spooled {
    store: Rc<RefCell<Store>>,
    /// Its older part: places in the file.
    places: VecDeque<Range<u64>>,
    newest: Vec<u8>,
}

impl Spool {
    pub(crate) fn new() -> Self {
        Self::with(LIMITS)
    }

    fn with(limits: Limits) -> Self {
        Self(Rc::new(RefCell::new(Store { limits, in_memory: 0, file: None, end: 0, unread: 0 })))
    }

    pub(crate) fn begin(&self) -> Spooled {
        Spooled { store: Rc::clone(&self.0), places: VecDeque::new(), newest: Vec::new() }
    }
}

impl Spooled {
    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.newest.extend_from_slice(bytes);
        let mut store = self.store.borrow_mut();
        store.in_memory += bytes.len();
        let Limits { of_one, of_all, least } = store.limits;
        let len = self.newest.len();
        drop(store);
        if len > of_one || len >= least && self.in_memory() > of_all { self.move_to_file() } else { Ok(()) }
    }

    /// Says that nothing more comes.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        let most = self.store.borrow().limits.of_all;
        if self.in_memory() > most { self.move_to_file() } else { Ok(()) }
    }

    fn in_memory(&self) -> usize {
        self.store.borrow().in_memory
    }

    fn move_to_file(&mut self) -> io::Result<()> {
        let mut store = self.store.borrow_mut();
        let place = store.write(&self.newest)?;
        store.in_memory -= self.newest.len();
        self.newest = Vec::new();
        match self.places.back_mut() {
            Some(last) if last.end == place.start => last.end = place.end,
            _ => self.places.push_back(place),
        }
        Ok(())
    }

    /// Takes what comes next. `None`: there is no more.
    pub(crate) fn take(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut store = self.store.borrow_mut();
        let Some(place) = self.places.front_mut().filter(|place| !place.is_empty()) else {
            // In portions: what waits to be written keeps running jobs from being read.
            let rest = self.newest.split_off(self.newest.len().min(PORTION as usize));
            let part = std::mem::replace(&mut self.newest, rest);
            store.in_memory -= part.len();
            return Ok(Some(part).filter(|part| !part.is_empty()));
        };
        let part = place.start..place.end.min(place.start + PORTION);
        let bytes = store.read(part.clone())?;
        store.free(part.clone());
        place.start = part.end;
        if place.is_empty() {
            self.places.pop_front();
        }
        Ok(Some(bytes))
    }
}

impl Drop for Spooled {
    fn drop(&mut self) {
        let mut store = self.store.borrow_mut();
        store.in_memory -= self.newest.len();
        self.places.drain(..).for_each(|place| store.free(place));
    }
}

impl Store {
    fn write(&mut self, bytes: &[u8]) -> io::Result<Range<u64>> {
        if self.file.is_none() {
            self.file = Some(tempfile::tempfile()?);
        }
        let begin = self.end;
        if let Some(file) = &self.file {
            file.write_all_at(bytes, begin)?;
        }
        self.end += bytes.len() as u64;
        self.unread += bytes.len() as u64;
        Ok(begin..self.end)
    }

    fn read(&self, place: Range<u64>) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; (place.end - place.start) as usize];
        match &self.file {
            Some(file) => file.read_exact_at(&mut bytes, place.start)?,
            None => bytes.clear(),
        }
        Ok(bytes)
    }

    /// Gives the room of a place back to the system. Where it can't be given back, the file is larger than it need be.
    fn free(&mut self, place: Range<u64>) {
        let len = place.end - place.start;
        self.unread -= len;
        let Some(file) = &self.file else { return };
        if self.unread == 0 {
            let _ = file.set_len(0);
            self.end = 0;
        } else if len > 0 {
            let _ = fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, place.start, len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(spooled: &mut Spooled) -> Vec<u8> {
        std::iter::from_fn(|| spooled.take().unwrap()).flatten().collect()
    }

    #[test]
    fn all_outputs_together_keep_a_bounded_part_in_memory_and_come_back_whole() {
        let spool = Spool::with(Limits { of_one: 100, of_all: 300, least: 10 });
        let mut outputs: Vec<(Spooled, Vec<u8>)> = (0..50).map(|_| (spool.begin(), Vec::new())).collect();
        for round in 0..40u8 {
            for (number, (spooled, expected)) in outputs.iter_mut().enumerate() {
                let bytes = vec![round ^ number as u8; 7];
                spooled.append(&bytes).unwrap();
                expected.extend_from_slice(&bytes);
            }
        }
        assert!(spool.0.borrow().in_memory <= 300 + 50 * 10, "{}", spool.0.borrow().in_memory);
        outputs.iter_mut().for_each(|(spooled, _)| spooled.finish().unwrap());
        assert!(spool.0.borrow().in_memory <= 300);
        // One is never read.
        drop(outputs.remove(20));
        for (spooled, expected) in &mut outputs {
            assert_eq!(all(spooled), *expected);
        }
        drop(outputs);
        let store = spool.0.borrow();
        assert_eq!((store.in_memory, store.unread, store.end), (0, 0, 0));
        assert_eq!(store.file.as_ref().unwrap().metadata().unwrap().len(), 0);
    }
}
