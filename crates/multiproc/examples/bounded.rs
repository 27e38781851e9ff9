//! A queue of three values: full, then empty. (The tutorial's communication_demo1.py.)

use multiproc::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let q = Queue::bounded(3)?;
    for text in ["1", "2", "3"] {
        q.put(text.to_string())?;
    }

    // Python: put_nowait raises queue.Full. Here the error also gives the value back.
    match q.try_put("4".to_string()) {
        Err(PutError::Full(value)) => println!("the queue is full, and {value} is still ours"),
        other => other?,
    }

    for _ in 0..3 {
        println!("{}", q.get()?);
    }

    // Python: get_nowait raises queue.Empty.
    match q.try_get() {
        Err(GetError::Empty) => println!("the queue is empty"),
        other => println!("not expected: {other:?}"),
    }
    println!("{}", q.is_empty());
    Ok(())
}
