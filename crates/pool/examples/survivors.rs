//! One task kills its worker. The others never notice.

use multiproc_pool::{Pool, TaskError};

fn halve(n: u32) -> u32 {
    if n == 13 {
        // What a bug in a C library does, or the system when memory runs out.
        std::process::abort();
    }
    n / 2
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let _main = multiproc_process::init();
    let pool = Pool::builder().workers(2).retries(1).build()?;
    let mut halves = 0;
    for (n, half) in pool.imap(halve, 0..100).enumerate() {
        match half {
            Ok(_) => halves += 1,
            Err(TaskError::WorkerDied { exit, attempts }) => println!("{n} ended {attempts} workers with {exit}"),
            Err(error) => return Err(error.into()),
        }
    }
    println!("{halves} of 100 have a half");
    assert_eq!(halves, 99);
    Ok(())
}
