//! How fast the demos run: what stands for one second of the tutorial.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

/// Seconds that stand for one second.
pub(crate) type Pace = f64;

pub(crate) fn parse(text: &str) -> Result<Pace, String> {
    let seconds: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if (0.0..=60.0).contains(&seconds) { Ok(seconds) } else { Err("from 0 to 60 seconds".into()) }
}

/// Sleeps for as many of the tutorial's seconds.
pub(crate) fn sleep(seconds: u64, pace: Pace) {
    std::thread::sleep(Duration::from_secs_f64(seconds as f64 * pace));
}

/// Sleeps for 1 to 3 of the tutorial's seconds, as its `random.randint(1, 3)`.
pub(crate) fn sleep_randomly(pace: Pace) {
    sleep(1 + RandomState::new().hash_one(0) % 3, pace);
}
