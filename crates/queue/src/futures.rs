//! Operations that wait in a future instead of a thread. They need no runtime, and run under any.
//!
//! A future tries. If there is nothing, it waits in a list, which calls its waker, and tries again. The value moves in the poll that
//! returns it. So a future that is dropped loses nothing, and one that was called and dropped calls the next one.

use crate::attachment::Attachment;
use crate::error::{GetError, OpenError, PutError, QueueJoinError, RecvError, SendError};
use crate::registry::Share;
use crate::{Delivery, JoinableQueue, Queue, Receiver, Sender, SimpleQueue};
use futures_core::Stream;
use futures_sink::Sink;
use multiproc_prim::Deadline;
use multiproc_sync::{Told, WaitList, Waiter};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// The waiter in this list: the one that is there, or a new one. A forked copy of a process waits in a list of its own.
fn waiter_in<'w>(waiter: &'w mut Option<Waiter>, list: &Arc<WaitList>) -> &'w mut Waiter {
    if waiter.as_ref().is_some_and(|waiter| !Arc::ptr_eq(waiter.list(), list)) {
        *waiter = None;
    }
    waiter.get_or_insert_with(|| Waiter::new(list))
}

fn not_yet<V>(result: Result<V, GetError>) -> Option<Result<V, GetError>> {
    if matches!(result, Err(GetError::Empty)) { None } else { Some(result) }
}

/// Polls for what `get` takes without waiting.
fn poll_get<V>(
    share: Result<&Share, GetError>,
    waiter: &mut Option<Waiter>,
    waker: &Waker,
    mut get: impl FnMut() -> Result<V, GetError>,
) -> Poll<Result<V, GetError>> {
    match share {
        Ok(share) => waiter_in(waiter, share.list_of(Told::Message)).poll(waker, || not_yet(get())),
        Err(error) => Poll::Ready(Err(error)),
    }
}

/// A value on its way into a queue.
#[derive(Debug)]
struct Putting<T> {
    value: Option<T>,
    room: Option<Waiter>,
    memory: Option<Waiter>,
}

impl<T: Serialize + DeserializeOwned> Putting<T> {
    const fn new(value: Option<T>) -> Self {
        Self { value, room: None, memory: None }
    }

    /// Puts the value, if there is one, as soon as there is room and memory.
    fn poll(&mut self, queue: &Queue<T>, waker: &Waker) -> Poll<Result<(), PutError<T>>> {
        let Self { value, room, memory } = self;
        if value.is_none() {
            return Poll::Ready(Ok(()));
        }
        // Its result, unless it is to wait for room.
        let mut put = || match queue.put_by(value.take()?, Deadline::NOW) {
            Err(PutError::Full(back)) => {
                *value = Some(back);
                None
            }
            done => Some(done),
        };
        let Ok(share) = queue.here() else {
            // The put says why.
            return Poll::Ready(put().unwrap_or(Ok(())));
        };
        let Poll::Ready(done) = waiter_in(room, share.list_of(Told::Room)).poll(waker, &mut put) else {
            return Poll::Pending;
        };
        let Err(PutError::NoMemory(back)) = done else {
            *memory = None;
            return Poll::Ready(done);
        };
        *value = Some(back);
        let ring = share.channel.ring();
        let attempt = || {
            let mut done = queue.put_by(value.take()?, Deadline::NOW);
            while let Err(PutError::NoMemory(back)) = done {
                if ring.is_memory_in_use() || ring.is_any_message_left() {
                    *value = Some(back);
                    return None;
                }
                // What was in use came free just now. Or nobody holds what could come free, and nothing is worth waiting for.
                done = queue.put_by(back, Deadline::NOW);
                if matches!(done, Err(PutError::NoMemory(_))) && !ring.is_memory_in_use() && !ring.is_any_message_left() {
                    break;
                }
            }
            Some(done)
        };
        match waiter_in(memory, share.list_of(Told::Memory)).poll(waker, attempt) {
            Poll::Ready(Err(PutError::Full(back))) => {
                // It has memory again and no slot any more.
                *value = Some(back);
                waker.wake_by_ref();
                Poll::Pending
            }
            done => done,
        }
    }
}

macro_rules! puts_and_streams {
    ($Kind:ident, $Stream:ident, $Item:ty, $get:ident) => {
        impl<T: Serialize + DeserializeOwned> $Kind<T> {
            /// Puts a value as [`put`](Self::put) does, and waits in a future for room and memory (Python: `put`, in
            /// `loop.run_in_executor`).
            ///
            /// # Cancel safety
            ///
            /// The value goes into the queue in the poll that returns `Ready`. A future that is dropped before that puts nothing, and
            /// its value is dropped with it.
            ///
            /// # Errors
            ///
            /// As `put`.
            pub async fn put_async(&self, value: T) -> Result<(), PutError<T>> {
                let mut putting = Putting::new(Some(value));
                poll_fn(|context| putting.poll(self.queue(), context.waker())).await
            }

            /// The values of the queue as a stream, until a get fails: at the end of a queue that was shut down.
            #[doc = concat!("[`end`](", stringify!($Stream), "::end) says at which error.")]
            ///
            /// It keeps no value: each one is taken out of the queue in the poll that returns it.
            ///
            /// # Cancel safety
            ///
            /// A stream, and a future that waits for its next value, can be dropped at any time, and no value is lost.
            pub fn stream(&self) -> $Stream<T> {
                $Stream { queue: self.clone(), waiter: None, end: None }
            }

            /// A sink whose values go into the queue.
            ///
            /// A value that finds no room waits in the sink, one at most. It is in the queue once the sink is flushed: then it survives this
            /// process. Closing the sink flushes it, and leaves the queue open.
            ///
            /// # Cancel safety
            ///
            /// A future that sends or flushes can be dropped at any time. The value that waits stays in the sink, and goes with the sink.
            pub fn sink(&self) -> QueueSink<T> {
                let queue = self.queue().clone();
                if self.is_closed() {
                    queue.close();
                }
                QueueSink { queue, putting: Putting::new(None) }
            }
        }

        /// The values of a queue as a stream.
        #[derive(Debug)]
        #[must_use = "a stream gets nothing until it is polled"]
        pub struct $Stream<T> {
            queue: $Kind<T>,
            waiter: Option<Waiter>,
            end: Option<GetError>,
        }

        impl<T> $Stream<T> {
            /// Returns the error of the get that ended it: [`GetError::ShutDown`] at the end of a queue. `None`: it has not ended.
            pub fn end(&self) -> Option<&GetError> {
                self.end.as_ref()
            }
        }

        impl<T: Serialize + DeserializeOwned> Stream for $Stream<T> {
            type Item = $Item;

            fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<$Item>> {
                let Self { queue, waiter, end } = self.get_mut();
                if end.is_some() {
                    return Poll::Ready(None);
                }
                let got = poll_get(queue.queue().here(), waiter, context.waker(), || queue.$get());
                got.map(|got| got.map_err(|error| *end = Some(error)).ok())
            }
        }
    };
}

macro_rules! gets {
    ($Kind:ident) => {
        impl<T: Serialize + DeserializeOwned> $Kind<T> {
            /// Gets the oldest value as [`get`](Self::get) does, and waits for it in a future (Python: `get`, in `loop.run_in_executor`).
            ///
            /// # Cancel safety
            ///
            /// The value is taken out of the queue in the poll that returns it. A future that is dropped before that takes nothing.
            ///
            /// # Errors
            ///
            /// As `get`.
            pub async fn get_async(&self) -> Result<T, GetError> {
                let mut waiter = None;
                poll_fn(|context| poll_get(self.queue().here(), &mut waiter, context.waker(), || self.try_get())).await
            }
        }
    };
}

gets!(Queue);
gets!(SimpleQueue);
puts_and_streams!(Queue, QueueStream, T, try_get);
puts_and_streams!(SimpleQueue, SimpleQueueStream, T, try_get);
puts_and_streams!(JoinableQueue, DeliveryStream, Delivery<T>, try_get_delivery);

impl<T: Serialize + DeserializeOwned> JoinableQueue<T> {
    /// Gets the oldest value as [`get_delivery`](Self::get_delivery) does, and waits for it in a future.
    ///
    /// A value that `get` gives belongs to a thread, and a task may go from thread to thread. So there is no `get_async`.
    ///
    /// After a shutdown it says [`ShutDown`](GetError::ShutDown) once every value is done. A task that holds a delivery meanwhile waits for
    /// itself: finish a delivery, or give it back, before waiting for the next one.
    ///
    /// # Cancel safety
    ///
    /// The value is taken out of the queue in the poll that returns it. A future that is dropped before that takes nothing. A delivery
    /// that is dropped is given back.
    ///
    /// # Errors
    ///
    /// As `get_delivery`.
    pub async fn get_delivery_async(&self) -> Result<Delivery<T>, GetError> {
        let mut waiter = None;
        poll_fn(|context| poll_get(self.queue().here(), &mut waiter, context.waker(), || self.try_get_delivery())).await
    }
}

impl<T> JoinableQueue<T> {
    /// Waits as [`join`](Self::join) does, in a future.
    ///
    /// # Cancel safety
    ///
    /// It takes nothing, and can be dropped at any time.
    ///
    /// # Errors
    ///
    /// As `join`.
    pub async fn join_async(&self) -> Result<(), QueueJoinError> {
        let mut waiter = None;
        let forked = |why: OpenError, share: &Attachment| QueueJoinError::Forked { queue: share.name().into(), why: why.into() };
        poll_fn(|context| {
            let share = self.queue().share();
            let here: &Attachment = match share.here() {
                Ok(here) => here,
                Err(error) => return Poll::Ready(Err(forked(error, share))),
            };
            let is_done = || (here.unfinished() == 0).then_some(Ok(()));
            waiter_in(&mut waiter, here.list_of_all_done()).poll(context.waker(), is_done)
        })
        .await
    }
}

impl<T: Serialize + DeserializeOwned> Sender<T> {
    /// Sends a value as [`send`](Self::send) does, and waits in a future for room and memory.
    ///
    /// # Cancel safety
    ///
    /// The value goes into the queue in the poll that returns `Ready`. A future that is dropped before that sends nothing, and its value is
    /// dropped with it.
    ///
    /// # Errors
    ///
    /// As `send`.
    pub async fn send_async(&self, value: T) -> Result<(), SendError<T>> {
        let queue = match self.queue_here() {
            Ok(queue) => queue,
            Err(why) => return Err(SendError::Other(why.refuse(value))),
        };
        let mut putting = Putting::new(Some(value));
        poll_fn(|context| putting.poll(queue, context.waker())).await.map_err(SendError::from)
    }
}

impl<T: Serialize + DeserializeOwned> Receiver<T> {
    /// Receives the oldest value as [`recv`](Self::recv) does, and waits for it in a future.
    ///
    /// # Cancel safety
    ///
    /// The value is taken out of the queue in the poll that returns it. A future that is dropped before that takes nothing.
    ///
    /// # Errors
    ///
    /// As `recv`.
    pub async fn recv_async(&self) -> Result<T, RecvError> {
        let queue = self.queue_here().map_err(|why| RecvError::Other(why.into()))?;
        let mut waiter = None;
        poll_fn(|context| poll_get(queue.here(), &mut waiter, context.waker(), || queue.try_get())).await.map_err(RecvError::from)
    }
}

/// A sink whose values go into a queue.
#[derive(Debug)]
#[must_use = "a sink puts nothing until it is used"]
pub struct QueueSink<T> {
    queue: Queue<T>,
    putting: Putting<T>,
}

/// The value is never pinned.
impl<T> Unpin for QueueSink<T> {}

impl<T: Serialize + DeserializeOwned> Sink<T> for QueueSink<T> {
    type Error = PutError<T>;

    fn poll_ready(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), PutError<T>>> {
        self.poll_flush(context)
    }

    fn start_send(self: Pin<&mut Self>, value: T) -> Result<(), PutError<T>> {
        let Self { queue, putting } = self.get_mut();
        if putting.value.is_some() {
            // It was not made ready.
            return Err(PutError::Full(value));
        }
        match queue.put_by(value, Deadline::NOW) {
            Err(PutError::Full(back) | PutError::NoMemory(back)) => {
                putting.value = Some(back);
                Ok(())
            }
            done => done,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), PutError<T>>> {
        let Self { queue, putting } = self.get_mut();
        putting.poll(queue, context.waker())
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), PutError<T>>> {
        self.poll_flush(context)
    }
}
