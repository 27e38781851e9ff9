//! Copies of payload bytes, as loom sees them.
//!
//! Loom can't see raw bytes. So each eight bytes have a cell here, outside of the region, which a copy holds for as long as it takes.

use loom::cell::{ConstPtr, MutPtr, UnsafeCell};
use std::collections::HashMap;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

/// Loom's atomics are larger than their values, and all zeroes is no valid one.
pub(crate) const ZEROES_ARE_FRESH: bool = false;

type Cell = Arc<UnsafeCell<()>>;

/// The cells of a region, by the address of the eight bytes that each stands for. The first access makes a cell; a correct protocol writes
/// before it reads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cells(Arc<Mutex<HashMap<usize, Cell>>>);

impl Cells {
    pub(crate) fn watch(&self) -> Watch<'_> {
        Watch(Some(self))
    }

    #[allow(clippy::arc_with_non_send_sync, reason = "loom runs one thread at a time, and checks the accesses itself")]
    fn of(&self, first: NonNull<u8>, len: usize) -> Vec<Cell> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let start = first.as_ptr() as usize / 8;
        let end = (first.as_ptr() as usize + len).div_ceil(8);
        (start..end).map(|word| table.entry(word).or_insert_with(|| Arc::new(UnsafeCell::new(()))).clone()).collect()
    }
}

/// The cells that copies touch; `None` if the bytes are private.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch<'a>(Option<&'a Cells>);

impl Watch<'_> {
    pub(crate) const fn nothing() -> Self {
        Self(None)
    }

    pub(crate) fn write(self, first: NonNull<u8>, len: usize) -> Vec<MutPtr<()>> {
        self.cells(first, len).iter().map(|cell| cell.get_mut()).collect()
    }

    pub(crate) fn read(self, first: NonNull<u8>, len: usize) -> Vec<ConstPtr<()>> {
        self.cells(first, len).iter().map(|cell| cell.get()).collect()
    }

    fn cells(self, first: NonNull<u8>, len: usize) -> Vec<Cell> {
        self.0.map(|cells| cells.of(first, len)).unwrap_or_default()
    }
}
