//! `Sender` and `Receiver`: the two sides of a queue that ends when one of them is gone.

use crate::attachment::Attachment;
use crate::error::{GetError, OpenError, PutError, RecvError, SendError};
use crate::layout::{Flavor, Side};
use crate::queue::Queue;
use crate::sides::Part;
use multiproc_prim::Deadline;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Borrow;
use std::iter::FusedIterator;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

impl<T> Queue<T> {
    /// Splits the queue into a sender and a receiver, as `std::sync::mpsc::channel` makes them. Python has no counterpart.
    ///
    /// Each side ends when the last handle of the other side is gone: it was dropped, or its process has died, however it died.
    /// Receivers then get what is left, and [`RecvError::Disconnected`]. Senders get their values back, with
    /// [`SendError::Disconnected`]. A process that is stopped, or slow, is not gone.
    ///
    /// ```
    /// # use multiproc_queue as multiproc;
    /// use multiproc::Queue;
    ///
    /// let (sender, receiver) = Queue::bounded(3)?.split()?;
    /// let other = sender.clone();
    /// std::thread::spawn(move || other.send(1).unwrap());
    /// sender.send(2)?;
    /// drop(sender);
    /// // Ends when both senders are gone.
    /// assert_eq!(receiver.iter().sum::<u32>(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// The queue is [shut down](Self::shutdown) at that end, for its other handles, too. Those handles (clones of this one, or the
    /// queue opened by its name) put and get as before until then, and count for neither side. So split a queue once, where it is
    /// made, and give senders and receivers to other threads and processes.
    ///
    /// A [`JoinableQueue`](crate::JoinableQueue) can't be split. Its values outlive their consumers, so that new consumers can
    /// come after the last one died.
    ///
    /// # Errors
    ///
    /// This process is a forked copy, and could not join the queue as itself. Nowhere else does this fail.
    pub fn split(self) -> Result<(Sender<T>, Receiver<T>), OpenError> {
        let share = self.share();
        let part = |side| Part::new(share, side);
        Ok((Sender::of(part(Side::Sends)?), Receiver::of(part(Side::Receives)?)))
    }
}

/// The side of a [`Queue`] that sends, made by [`Queue::split`]. Receivers end when the last sender is gone.
///
/// A clone is another sender. A sender travels to another process as an argument of a new process or through a connection, and
/// counts on its way: until the message is read and its sender dropped, or until nobody can read the message any more. A copy of
/// this process that was forked counts once it sends, and until it ends.
pub struct Sender<T> {
    part: Arc<Part>,
    queue: Queue<T>,
}

/// The side of a [`Queue`] that receives, made by [`Queue::split`]. Sends fail when the last receiver is gone, blocked ones too.
///
/// Each value goes to one receiver. A clone is another receiver; it travels and counts as a [`Sender`] does. A value that was received
/// is gone if the process dies.
pub struct Receiver<T> {
    part: Arc<Part>,
    queue: Queue<T>,
}

macro_rules! methods_of_ends {
    ($End:ident, $name:literal, $side:expr) => {
        impl<T> $End<T> {
            fn of(part: Arc<Part>) -> Self {
                let queue = Queue::from_share(part.share().clone());
                Self { part, queue }
            }

            /// The queue, once this process counts among those that have this end.
            pub(crate) fn queue_here(&self) -> Result<&Queue<T>, Uncounted> {
                match self.part.here() {
                    Ok(_) => Ok(&self.queue),
                    Err(why) => Err(Uncounted { queue: self.part.share().name().into(), why }),
                }
            }

            /// Returns the number of values waiting, at some moment during the call.
            pub fn len(&self) -> usize {
                self.queue.len()
            }

            /// Returns whether no value waits.
            pub fn is_empty(&self) -> bool {
                self.queue.is_empty()
            }

            /// Returns how many values can wait at once; `None` for an unbounded queue.
            pub fn capacity(&self) -> Option<usize> {
                self.queue.capacity()
            }
        }

        impl<T> Clone for $End<T> {
            fn clone(&self) -> Self {
                Self { part: Arc::clone(&self.part), queue: self.queue.clone() }
            }
        }

        impl<T> std::fmt::Debug for $End<T> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.queue.fields(f, $name).finish()
            }
        }

        impl<T> Serialize for $End<T> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.part.serialize(serializer)
            }
        }

        impl<'de, T> Deserialize<'de> for $End<T> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let attach = |segment: multiproc_travel::pass::Descriptor| Attachment::attach(segment.into(), Flavor::Queue);
                Part::deserialize(deserializer, $side, attach).map(Self::of)
            }
        }
    };
}

/// A forked copy can't join the queue as itself, so it counts for neither side.
pub(crate) struct Uncounted {
    queue: String,
    why: OpenError,
}

impl Uncounted {
    pub(crate) fn refuse<T>(self, value: T) -> PutError<T> {
        PutError::Forked { value, queue: self.queue, why: self.why.into() }
    }
}

impl From<Uncounted> for GetError {
    fn from(uncounted: Uncounted) -> Self {
        Self::Forked { queue: uncounted.queue, why: uncounted.why.into() }
    }
}

methods_of_ends!(Sender, "Sender", Side::Sends);
methods_of_ends!(Receiver, "Receiver", Side::Receives);

impl<T: Serialize + DeserializeOwned> Sender<T> {
    /// Sends a value; waits while a bounded queue is full, and while the queue's memory is used up.
    ///
    /// # Errors
    ///
    /// [`SendError::Disconnected`], or the reasons of a [`put`](Queue::put). The error gives the value back.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.send_by(value, Deadline::NEVER)
    }

    /// Sends a value if there is room now.
    ///
    /// # Errors
    ///
    /// [`SendError::Full`], or as [`send`](Self::send).
    pub fn try_send(&self, value: T) -> Result<(), SendError<T>> {
        self.send_by(value, Deadline::NOW)
    }

    /// Sends a value; waits at most `timeout` for room.
    ///
    /// # Errors
    ///
    /// [`SendError::Timeout`], or as [`send`](Self::send).
    pub fn send_timeout(&self, value: T, timeout: Duration) -> Result<(), SendError<T>> {
        self.send_by(value, Deadline::after(timeout))
    }

    #[inline]
    fn send_by(&self, value: T, deadline: Deadline) -> Result<(), SendError<T>> {
        match self.queue_here() {
            Ok(queue) => {
                // A put that finds room looks for the dead too seldom for a sender that sends now and then.
                queue.share().look_to_answer();
                queue.put_by(value, deadline).map_err(SendError::from)
            }
            Err(why) => Err(SendError::Other(why.refuse(value))),
        }
    }
}

impl<T: Serialize + DeserializeOwned> Receiver<T> {
    /// Receives the oldest value; waits while there is none.
    ///
    /// # Errors
    ///
    /// [`RecvError::Disconnected`], or a message makes no `T`; that message is out of the queue then.
    ///
    /// # Panics
    ///
    /// Only if `T`'s own `Deserialize` does.
    pub fn recv(&self) -> Result<T, RecvError> {
        self.recv_by(Deadline::NEVER)
    }

    /// Receives the oldest value if there is one now.
    ///
    /// # Errors
    ///
    /// [`RecvError::Empty`], or as [`recv`](Self::recv).
    pub fn try_recv(&self) -> Result<T, RecvError> {
        self.recv_by(Deadline::NOW)
    }

    /// Receives the oldest value; waits at most `timeout` for one.
    ///
    /// # Errors
    ///
    /// [`RecvError::Timeout`], or as [`recv`](Self::recv).
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvError> {
        self.recv_by(Deadline::after(timeout))
    }

    #[inline]
    fn recv_by(&self, deadline: Deadline) -> Result<T, RecvError> {
        let queue = self.queue_here().map_err(|why| RecvError::Other(why.into()))?;
        if deadline == Deadline::NOW {
            // A get that does not wait looks for the dead too seldom for a receiver that asks now and then.
            queue.share().look_to_answer();
        }
        queue.get_by(deadline).map_err(RecvError::from)
    }

    /// Iterates over the values as [`recv`](Self::recv) gives them, until the last sender is gone and everything is received.
    ///
    /// It ends at any other error, too. [`Received::end`] says at which.
    pub fn iter(&self) -> Received<T, &Self> {
        Received::new(self, Deadline::NEVER)
    }

    /// Iterates over the values that are there now, as [`try_recv`](Self::try_recv) gives them, until there is none.
    pub fn try_iter(&self) -> Received<T, &Self> {
        Received::new(self, Deadline::NOW)
    }
}

/// The values of a [`Receiver`] until a receive fails: what [`Receiver::iter`] and [`Receiver::try_iter`] give, and what a receiver
/// becomes in a `for` loop.
///
/// ```
/// # use multiproc_queue as multiproc;
/// use multiproc::Queue;
///
/// let (sender, receiver) = Queue::bounded(3)?.split()?;
/// std::thread::spawn(move || (1..=3).for_each(|number| sender.send(number).unwrap()));
/// for number in receiver {
///     println!("{number}");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "an iterator receives nothing until it is used"]
pub struct Received<T, R = Receiver<T>> {
    receiver: R,
    deadline: Deadline,
    end: Option<RecvError>,
    gives: PhantomData<fn() -> T>,
}

impl<T, R> Received<T, R> {
    fn new(receiver: R, deadline: Deadline) -> Self {
        Self { receiver, deadline, end: None, gives: PhantomData }
    }

    /// Returns the error that ended it: [`RecvError::Disconnected`] once the last sender is gone, [`RecvError::Empty`] at the end of a
    /// `try_iter`, or what went wrong. `None`: the iterator has not ended.
    pub fn end(&self) -> Option<&RecvError> {
        self.end.as_ref()
    }
}

impl<T: Serialize + DeserializeOwned, R: Borrow<Receiver<T>>> Iterator for Received<T, R> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        if self.end.is_some() {
            return None;
        }
        self.receiver.borrow().recv_by(self.deadline).map_err(|error| self.end = Some(error)).ok()
    }
}

impl<T: Serialize + DeserializeOwned, R: Borrow<Receiver<T>>> FusedIterator for Received<T, R> {}

impl<T: Serialize + DeserializeOwned> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = Received<T>;

    fn into_iter(self) -> Received<T> {
        Received::new(self, Deadline::NEVER)
    }
}

impl<'r, T: Serialize + DeserializeOwned> IntoIterator for &'r Receiver<T> {
    type Item = T;
    type IntoIter = Received<T, &'r Receiver<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
