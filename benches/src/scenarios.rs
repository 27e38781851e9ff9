//! Everything that is measured, by what it exercises.

pub mod attached;
pub mod large;
mod ring;
mod round_trip;
pub mod sizes;
mod spawn;
mod stream;
mod tail;

use crate::measure::Scenario;

pub fn all() -> Vec<Scenario> {
    [ring::all(), stream::all(), round_trip::all(), large::all(), spawn::all(), tail::all(), attached::all()]
        .into_iter()
        .flatten()
        .collect()
}
