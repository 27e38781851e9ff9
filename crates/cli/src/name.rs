//! Named queues as the shell sees them: messages are bytes.

use anyhow::{Error, anyhow, bail};
use multiproc::{AttachError, Flaw, JoinableQueue, OpenError};

/// A queue that has a name, and whose messages are bytes or text.
pub(crate) enum Named {}

impl Named {
    /// Opens a queue that knows what is done. `what` says what it is for.
    pub(crate) fn joinable(name: &str, what: &str) -> anyhow::Result<JoinableQueue<Vec<u8>>> {
        match JoinableQueue::open(name) {
            Ok(queue) => Ok(queue),
            Err(OpenError::Attach(AttachError::NotFound(_))) => {
                Err(anyhow!("there is no queue named {name}: make it with \"multiproc create {name} --joinable\""))
            }
            Err(OpenError::Attach(AttachError::Refused { flaw: Flaw::Kind { .. }, .. })) => {
                bail!("{name} is a queue that does not know what is done, so it can't {what}")
            }
            Err(other) => Err(Error::new(other).context(format!("can't use queue {name}"))),
        }
    }
}
