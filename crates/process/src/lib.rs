#![doc = include_str!("../README.md")]

mod builder;
mod child;
mod current;
mod daemon;
mod error;
mod family;
mod handle;
mod image;
mod main_guard;
mod orders;
mod rights;
mod say;
mod signals;

pub use builder::ProcessBuilder;
pub use current::{Current, current_process};
pub use error::{JoinError, SignalError, SpawnError};
pub use family::active_children;
pub use handle::{Exit, Process};
pub use image::Outcome;
pub use main_guard::{Main, init};
