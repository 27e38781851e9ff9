//! A pool in every world.

use crate::programs::{expect, text};
use multiproc::{Pool, TaskError};

fn square_or_die(number: u64) -> u64 {
    if number == 7 {
        std::process::abort();
    }
    number * number
}

/// A task that kills its workers fails alone, and others take their places.
pub(crate) fn pool() -> Result<String, String> {
    let pool = Pool::builder().workers(2).retries(1).build().map_err(text)?;
    let tasks = [6, 7, 8].map(|number| pool.spawn(square_or_die, number));
    for (number, task) in (6..).zip(tasks) {
        match task.map_err(text)?.wait() {
            Ok(value) => expect("a result", value, number * number)?,
            Err(TaskError::WorkerDied { attempts: 2, .. }) if number == 7 => {}
            Err(error) => return Err(format!("task {number}: {error:#}")),
        }
    }
    let squares = pool.map(square_or_die, 10..5_000).map_err(text)?;
    expect("squares", squares, (10..5_000).map(|number| number * number).collect())?;
    expect("workers were replaced", pool.replaced() > 0, true)?;
    pool.close();
    pool.join().map_err(text)?;
    Ok(String::new())
}
