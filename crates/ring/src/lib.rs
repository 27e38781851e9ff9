#![doc = include_str!("../README.md")]

mod distance;
pub mod mpmc;
pub mod spsc;
