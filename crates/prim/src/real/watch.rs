//! Copies of payload bytes: watched in models, not here. All of this is empty.

use std::marker::PhantomData;
use std::ptr::NonNull;

/// New memory is all zeroes, and zeroes are fresh values of the standard library's atomics.
pub(crate) const ZEROES_ARE_FRESH: bool = true;

/// A model keeps its cells for a region's payload here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cells(());

impl Cells {
    #[inline(always)]
    pub(crate) fn watch(&self) -> Watch<'_> {
        Watch(PhantomData)
    }
}

/// A model reports copies to this.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch<'a>(PhantomData<&'a Cells>);

/// A model holds its cells in this for as long as a copy takes.
pub(crate) struct Held;

impl Watch<'_> {
    /// Private bytes need no watching.
    #[inline(always)]
    pub(crate) const fn nothing() -> Self {
        Self(PhantomData)
    }

    #[inline(always)]
    pub(crate) fn write(self, _first: NonNull<u8>, _len: usize) -> Held {
        Held
    }

    #[inline(always)]
    pub(crate) fn read(self, _first: NonNull<u8>, _len: usize) -> Held {
        Held
    }
}
