#![doc = include_str!("../README.md")]

mod link;
mod own_file;
pub mod pass;
mod wire;

/// What [`Plain`](pass::Plain) asks of a type.
pub use bytemuck;
pub use link::Link;
/// The deadline that [`Wire::send`] takes.
pub use multiproc_prim::Deadline;
pub use own_file::{read_own_file, write_own_file};
pub use wire::{Readiness, Wire};
