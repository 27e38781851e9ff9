//! Models: the same names as in `../real`, as loom sees them. They work inside of a model only.

pub(crate) mod atomic;
pub mod explore;
pub(crate) mod fence;
pub mod futex;
pub(crate) mod mutex;
pub(crate) mod pair;
pub(crate) mod spin;
pub(crate) mod watch;
