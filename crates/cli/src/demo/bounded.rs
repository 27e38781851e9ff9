//! communication_demo1.py: a queue of three, full and then empty.

use super::say;
use anyhow::Result;
use multiproc::{GetError, PutError, Queue};

pub(crate) fn main() -> Result<()> {
    let q = Queue::bounded(3)?;
    q.put("1".to_string())?;
    q.put("2".to_string())?;
    q.put("3".to_string())?;

    match q.try_put("4".to_string()) {
        Err(PutError::Full(_)) => say!("队列已经满了"),
        other => other?,
    }

    say!("{}", q.get()?);
    say!("{}", q.get()?);
    say!("{}", q.get()?);

    match q.try_get() {
        Err(GetError::Empty) => say!("队列已经空了"),
        other => anyhow::bail!("expected an empty queue, not {other:?}"),
    }
    say!("{}", q.is_empty());
    Ok(())
}
