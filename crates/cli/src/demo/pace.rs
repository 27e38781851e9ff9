//! How fast the demos run: the length of one of the tutorial's seconds.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

/// The length of one of the tutorial's seconds, in seconds.
pub(crate) type Pace = f64;

pub(crate) fn parse(text: &str) -> Result<Pace, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.0..=60.0).contains(seconds));
    seconds.ok_or_else(|| "give a number of seconds from 0 to 60, such as 0.05".into())
}

/// Sleeps for this many of the tutorial's seconds.
pub(crate) fn sleep(seconds: u64, pace: Pace) {
    std::thread::sleep(Duration::from_secs_f64(seconds as f64 * pace));
}

/// Sleeps for 1 to 3 of the tutorial's seconds, as its `random.randint(1, 3)` does.
pub(crate) fn sleep_randomly(pace: Pace) {
    sleep(1 + RandomState::new().hash_one(0) % 3, pace);
}
