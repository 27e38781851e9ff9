//! Everything that is measured, by what it exercises.

pub mod attached;
pub mod large;
pub mod memory;
mod message;
mod pool;
mod python;
mod ring;
mod round_trip;
mod shell;
pub mod sizes;
mod spawn;
mod stream;
mod tail;
mod waiting;

pub use round_trip::state;

use crate::measure::Scenario;

pub fn all() -> Vec<Scenario> {
    [
        ring::all(),
        stream::all(),
        message::all(),
        round_trip::all(),
        large::all(),
        spawn::all(),
        pool::all(),
        tail::all(),
        attached::all(),
        memory::all(),
        waiting::all(),
        shell::all(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
