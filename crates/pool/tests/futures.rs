//! Tasks that are awaited.

use multiproc_pool::{Pool, TaskError};
use std::future::IntoFuture;
use std::pin::pin;
use std::time::Duration;

/// The process ends with a task that asks for it.
fn double_or_die(number: u64) -> u64 {
    if number == 13 {
        std::process::abort();
    }
    2 * number
}

#[test]
fn tasks_are_awaited_while_workers_die_and_a_thread_waits_for_others() {
    let pool = Pool::builder().workers(2).chunk_size(1).build().unwrap();
    let waits = std::thread::scope(|scope| {
        let blocks =
            scope.spawn(|| (0..200).map(|number| pool.spawn(double_or_die, 100 + number).unwrap().wait().unwrap()).sum::<u64>());
        smol::block_on(async {
            let tasks: Vec<_> = (0..200u64).map(|number| (number, pool.spawn(double_or_die, number).unwrap())).collect();
            for (number, task) in tasks {
                match task.await {
                    Ok(result) => assert_eq!(result, 2 * number),
                    Err(error) => assert!(number == 13 && matches!(error, TaskError::WorkerDied { .. }), "{number}: {error}"),
                }
            }
        });
        blocks.join().unwrap()
    });
    assert_eq!(waits, (100..300u64).map(|number| 2 * number).sum());
}

fn sleep() {
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn a_task_that_is_awaited_ends_with_its_pool() {
    let pool = Pool::new(1).unwrap();
    let mut task = pin!(pool.spawn(sleep, ()).unwrap().into_future());
    assert!(smol::block_on(smol::future::poll_once(task.as_mut())).is_none(), "it waits");
    pool.terminate();
    assert!(smol::block_on(task).is_err());
}
