#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod distance;
pub mod mpmc;
pub mod spsc;

pub use bytemuck::Pod;
pub use multiproc_prim::{Bytes, Heap, Memory, OutOfBounds, Region};
