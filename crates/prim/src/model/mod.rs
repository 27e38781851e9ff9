//! Models: the same names as in `../real`, as loom sees them. None of it works outside of a model.

pub(crate) mod atomic;
pub mod explore;
pub(crate) mod fence;
pub mod futex;
pub(crate) mod pair;
pub(crate) mod spin;
pub(crate) mod watch;
