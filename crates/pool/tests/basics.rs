//! What a pool does while nothing goes wrong: each promise once, with real processes. Tests call no `init()`: workers run before `main`.

use multiproc_pool::{JoinPoolError, MapError, Pool, SubmitError, TaskError};
use std::time::Duration;

const WATCHDOG: Duration = Duration::from_secs(60);

fn square(n: u64) -> u64 {
    n * n
}

#[test]
fn map_keeps_the_order_of_its_arguments() {
    let pool = Pool::new(2).unwrap();
    assert_eq!(pool.map(square, 0..10_000).unwrap(), (0..10_000).map(square).collect::<Vec<_>>());
}

#[test]
fn one_pool_runs_different_functions_and_tuples_are_arguments() {
    let pool = Pool::new(2).unwrap();
    let words = pool.map(|(word, times): (String, usize)| word.repeat(times), [("ab".to_string(), 2), ("c".to_string(), 3)]);
    assert_eq!(words.unwrap(), ["abab", "ccc"]);
    assert_eq!(pool.map(square, [3]).unwrap(), [9]);
    assert!(pool.spawn(std::process::id, ()).unwrap().wait().unwrap() != std::process::id());
    assert!(pool.map(square, []).unwrap().is_empty());
}

#[test]
fn a_task_gives_its_result_once_it_is_ready() {
    let pool = Pool::new(1).unwrap();
    let task = pool.spawn(square, 12).unwrap();
    let result = task.wait_timeout(WATCHDOG).unwrap();
    assert_eq!(result, Ok(144));
}
