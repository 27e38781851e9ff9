//! `JoinableQueue`: a queue whose values have to be done, not only got.

use crate::error::{OpenError, QueueJoinError, TaskDoneError};
use crate::holders::Holder;
use crate::layout::Flavor;
use crate::methods::{methods_of_all, methods_of_both};
use crate::queue::Queue;
use crate::registry::Share;
use multiproc_prim::Deadline;
use std::time::Duration;

/// A queue that knows which of its values are done (Python: `multiprocessing.JoinableQueue`). It has the methods of [`Queue`],
/// and more.
///
/// A value that was got is in hand of the thread that got it until that thread calls [`task_done`](Self::task_done). When a
/// process dies with values in hand, other consumers get them, before new ones. The same happens when a thread ends or panics
/// with values in hand, and when a process drops its last handle of the queue. Python loses such values, and its `join` then
/// waits for ever.
///
/// [`get_delivery`](Self::get_delivery) gets a value that may go to another thread. It tells how often the value was delivered,
/// and gives it back unless it is said to be done.
///
/// A message that makes no `T` (another program with another type put it) is an error of the get that took it. It goes to the
/// [dead letters](Self::try_get_dead): `join` does not wait for it, and a program that can read it gets it there.
///
/// ```
/// # use multiproc_queue as multiproc;
/// use multiproc::JoinableQueue;
///
/// let queue = JoinableQueue::unbounded()?;
/// queue.put(1)?;
/// let consumer = queue.clone();
/// std::thread::spawn(move || {
///     for value in &consumer {
///         println!("{value}");
///         consumer.task_done().unwrap();
///     }
/// });
/// queue.join()?;
/// # queue.shutdown();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct JoinableQueue<T>(Queue<T>);

methods_of_all!(
    JoinableQueue,
    Flavor::Joinable,
    "It is in hand of this thread from then on, until [`task_done`](Self::task_done). A message that can't be read goes to the \
     [dead letters](Self::try_get_dead); one at which `Deserialize` panicked is delivered again."
);
methods_of_both!(
    JoinableQueue,
    "JoinableQueue",
    "\n\nA get ends when every value is done: until then a consumer may die, and its values come back. Values in the caller's own \
     hands don't count."
);

impl<T> JoinableQueue<T> {
    pub(crate) fn from_share(share: Share) -> Self {
        Self(Queue::from_share(share))
    }

    pub(crate) fn queue(&self) -> &Queue<T> {
        &self.0
    }

    /// Says that the oldest value that the calling thread got and has not finished is done (Python: `task_done`).
    ///
    /// In Python any thread may say so of a value that another one got. Here it has to be the thread that got the value. So no
    /// thread finishes a value that another one still works on, and the values that a dead process had in hand are known. A value
    /// that goes to another thread goes as a [`Delivery`](crate::Delivery).
    ///
    /// A destructor of a thread-local that gets a value has to finish it, too: the end of the thread may not give it back.
    ///
    /// # Errors
    ///
    /// The thread has nothing in hand (Python: `ValueError`). A forked copy of a process has none of the values that the process
    /// got.
    pub fn task_done(&self) -> Result<(), TaskDoneError> {
        self.queue().share().here().map_err(|_| TaskDoneError::NothingInHand)?.task_done()
    }

    /// Counts the values that were put aside and not taken out yet, at some moment during the call.
    pub fn dead_len(&self) -> usize {
        let attachment = self.queue().share();
        attachment.look_to_answer();
        attachment.dead_len()
    }

    /// Lists the values in hand, here and in other processes: which process has each one, and for how long. Python has no counterpart.
    ///
    /// It is a view of what goes on, true of each value at some moment during the call. Its time grows with the number of values in the
    /// queue; `get` and `task_done` never wait for it. A value that a dead process holds is listed until it is delivered again.
    ///
    /// ```
    /// # use multiproc_queue as multiproc;
    /// use multiproc::JoinableQueue;
    ///
    /// let jobs = JoinableQueue::unbounded()?;
    /// jobs.put("job".to_string())?;
    /// jobs.get()?;
    /// for holder in jobs.holders() {
    ///     println!("process {} has a value in hand for {:?}, delivery {}", holder.pid, holder.held_for, holder.deliveries);
    /// }
    /// # assert_eq!(jobs.holders()[0].pid, std::process::id());
    /// # jobs.task_done()?;
    /// # assert!(jobs.holders().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn holders(&self) -> Vec<Holder> {
        self.queue().share().holders()
    }

    /// Waits until every value that was put is done (Python: `join`).
    ///
    /// # Errors
    ///
    /// This process is a forked copy and could not join the queue as itself. Without a place of its own it would not notice
    /// deaths.
    pub fn join(&self) -> Result<(), QueueJoinError> {
        self.join_by(Deadline::NEVER)
    }

    /// Waits until every value that was put is done, for at most `timeout`. Python has no counterpart.
    ///
    /// # Errors
    ///
    /// [`QueueJoinError::Timeout`], which says how many values were not done, or as [`join`](Self::join).
    pub fn join_timeout(&self, timeout: Duration) -> Result<(), QueueJoinError> {
        self.join_by(Deadline::after(timeout))
    }

    fn join_by(&self, deadline: Deadline) -> Result<(), QueueJoinError> {
        let attachment = self.queue().share();
        let forked = |error: OpenError| QueueJoinError::Forked { queue: attachment.name().into(), why: error.into() };
        attachment.here().map_err(forked)?.join(deadline)
    }

    /// Counts the values put and not done, at some moment during the call.
    pub fn unfinished(&self) -> usize {
        let attachment = self.queue().share();
        attachment.look_to_answer();
        attachment.unfinished() as usize
    }
}

impl<T> Clone for JoinableQueue<T> {
    /// Makes another handle, open even if this one is closed.
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> std::fmt::Debug for JoinableQueue<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fields(f, "JoinableQueue").field("unfinished", &self.unfinished()).finish()
    }
}
