//! The shape of a value: which calls its `Serialize` made, without the numbers and texts.
//!
//! If serde derived the code that writes and reads a value, its shape decides whether it comes back as it was put: two values of one
//! shape are read by the same steps. So a shape is tried out once (`trial.rs`). Each thread remembers here what came of it.
//!
//! A value has a shape as a whole. Each part that may be there or not has a shape of its own: the content of an `Option`, a variant
//! of an enum, an item of a sequence. The shape of the whole does not depend on theirs, so a struct of twelve options has 25 shapes
//! to try out, not 4,096.

use std::cell::Cell;

/// What is known of a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Nothing.
    New,
    /// Values of it come back whole without names.
    Unnamed,
    /// Values of it come back whole if structs and variants have names.
    Named,
    /// More than the shape decides whether a value comes back whole. Each value is tried out, at first without names.
    EachUnnamed,
    /// The same, at once with names.
    EachNamed,
}

const SHAPES: usize = 1024;

/// The shapes that a thread knows, each at the place that its number gives. A new shape replaces the one at its place.
pub(super) struct Shapes([Cell<u64>; SHAPES]);

thread_local! {
    // No destructor: a value can be encoded in the destructor of another thread-local.
    static KNOWN: Shapes = const { Shapes([const { Cell::new(0) }; SHAPES]) };
}

/// Calls `call` with the shapes that this thread knows.
#[inline(always)]
pub(super) fn with<R>(call: impl FnOnce(&Shapes) -> R) -> R {
    KNOWN.with(call)
}

impl Shapes {
    #[inline(always)]
    fn place(&self, shape: u64) -> &Cell<u64> {
        &self.0[(shape >> 54) as usize % SHAPES]
    }

    #[inline(always)]
    pub(super) fn is_unnamed(&self, shape: u64) -> bool {
        self.place(shape).get() == entry(shape, Known::Unnamed)
    }

    pub(super) fn get(&self, shape: u64) -> Known {
        let found = self.place(shape).get();
        let known = [Known::Unnamed, Known::Named, Known::EachUnnamed, Known::EachNamed];
        known.into_iter().find(|&known| found == entry(shape, known)).unwrap_or(Known::New)
    }

    pub(super) fn set(&self, shape: u64, known: Known) {
        self.place(shape).set(entry(shape, known));
    }
}

#[inline(always)]
fn entry(shape: u64, known: Known) -> u64 {
    (shape & !7) | known as u64
}

/// The shape after one step more.
#[inline(always)]
pub(super) fn mix(shape: u64, step: u64) -> u64 {
    (shape.rotate_left(5) ^ step).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The step for the name of a field.
#[inline(always)]
pub(super) fn name(name: &str) -> u64 {
    let bytes = name.as_bytes();
    let at = |i: usize| u64::from(bytes.get(i).copied().unwrap_or(0)) << 8;
    (256 + bytes.len() as u64) ^ (at(0) << 16) ^ (at(bytes.len().wrapping_sub(1)) << 32)
}

/// The shape with which the values of a type start.
#[inline(always)]
pub(super) fn start<T: ?Sized>() -> u64 {
    struct Plain(u64);
    impl std::hash::Hasher for Plain {
        #[inline(always)]
        fn write(&mut self, bytes: &[u8]) {
            bytes.iter().for_each(|&byte| self.0 = mix(self.0, byte.into()));
        }
        #[inline(always)]
        fn write_u64(&mut self, number: u64) {
            self.0 = mix(self.0, number);
        }
        #[inline(always)]
        fn finish(&self) -> u64 {
            self.0
        }
    }
    let mut hasher = Plain(1);
    std::hash::Hash::hash(&super::bare::type_id::<T>(), &mut hasher);
    std::hash::Hasher::finish(&hasher)
}
