#![doc = include_str!("../README.md")]

pub mod mpmc;
pub mod spsc;
