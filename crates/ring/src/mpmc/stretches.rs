//! Memory that is added as it is needed: the list of stretches, and where each one lies.
//!
//! The list only grows, by one exchange at its end, so each stretch lies behind those listed before it, and every process
//! finds it at the same place. If a process dies in between, nothing is left to finish.

use super::layout::{Layout, Stretch};
use multiproc_prim::{Array, AtomicU64, Ordering, OutOfBounds, Region};
use std::io;
use std::sync::Arc;

pub(crate) struct Stretches {
    region: Region,
    /// Where the first one starts.
    start: usize,
    list: Array<AtomicU64>,
    pub(crate) layout: Arc<Layout>,
}

/// A list that no order of events explains.
fn corrupt() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

impl Stretches {
    pub(crate) fn new(region: &Region, at: usize, layout: &Arc<Layout>) -> Result<Self, OutOfBounds> {
        let list = region.array(at + layout.stretches, Stretch::MOST)?;
        Ok(Self { region: region.clone(), start: at + layout.fixed, list, layout: Arc::clone(layout) })
    }

    pub(crate) fn make_fresh(&self) {
        self.list.make_fresh();
    }

    /// Where a stretch is, or else where the next one would be in the list and in memory.
    fn look_up(&self, wanted: Stretch) -> io::Result<Result<usize, (&AtomicU64, usize)>> {
        let mut at = self.start;
        for entry in self.list.iter() {
            // Relaxed: an entry carries nothing but itself. What led here (an era, a slot) came after the stretch was listed.
            let code = entry.load(Ordering::Relaxed);
            if code == 0 {
                return Ok(Err((entry, at)));
            }
            let found = Stretch::from_code(code).ok_or_else(corrupt)?;
            if found == wanted {
                return Ok(Ok(at));
            }
            at = self.layout.len_of(found).and_then(|len| at.checked_add(len)).ok_or_else(corrupt)?;
        }
        // There are as many entries as stretches: one stands there twice.
        Err(corrupt())
    }

    fn map(&self, at: usize, stretch: Stretch, grow: bool) -> io::Result<Region> {
        let len = self.layout.len_of(stretch).ok_or_else(corrupt)?;
        let end = at.checked_add(len).ok_or_else(corrupt)?;
        self.region.stretch(at..end, grow)
    }

    /// The memory of a stretch, if it was added. Costs nothing else, even if the list was made up.
    pub(crate) fn find(&self, stretch: Stretch) -> io::Result<Option<Region>> {
        match self.look_up(stretch)? {
            Ok(at) => self.map(at, stretch, false).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// The memory of a stretch, which is added if it is not there yet.
    pub(crate) fn add(&self, stretch: Stretch) -> io::Result<Region> {
        loop {
            let (entry, at) = match self.look_up(stretch)? {
                Ok(at) => return self.map(at, stretch, true),
                Err(end) => end,
            };
            // Nothing is listed that this process can't get: another one may have less right to memory, but not none.
            let region = self.map(at, stretch, true)?;
            // Relaxed: as above. Failure: another process listed this stretch or another one; the list is as long as there are
            // stretches, so this ends.
            if entry.compare_exchange(0, stretch.code(), Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return Ok(region);
            }
        }
    }
}
