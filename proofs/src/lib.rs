#![doc = include_str!("../README.md")]

pub mod spread;
pub mod victim;
