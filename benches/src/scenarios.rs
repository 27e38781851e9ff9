//! Everything that is measured, by what it exercises.

mod large;
mod ring;
mod round_trip;
mod spawn;
mod stream;

use crate::measure::Scenario;

pub fn all() -> Vec<Scenario> {
    [ring::all(), stream::all(), round_trip::all(), large::all(), spawn::all()].into_iter().flatten().collect()
}
