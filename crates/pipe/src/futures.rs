//! Operations that wait in a future instead of a thread. They need no runtime, and run under any.

use crate::end::End;
use crate::error::{RecvError, SendError};
use crate::handle::Handle;
use crate::outgoing::Outgoing;
use crate::{Connection, Receiver, Sender};
use futures_core::Stream;
use futures_sink::Sink;
use multiproc_prim::{Deadline, Direction, stamp};
use multiproc_sync::{Condition, Event, Look, Polled, Reactor, SLICE, StreamEvent, WaitList, Waiter, poll_descriptor};
use multiproc_travel::Wire;
use multiproc_travel::pass::Lends;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

/// Room in the stream of an end that sends.
struct RoomInStream {
    event: StreamEvent,
    /// The end may go while somebody sleeps here. Its socket must be closed then.
    wire: Weak<Wire>,
}

impl fmt::Debug for RoomInStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RoomInStream")
    }
}

impl Condition for RoomInStream {
    fn event(&self) -> Event<'_> {
        self.event.get()
    }

    fn is_met(&self) -> bool {
        true
    }

    fn is_known(&self) -> bool {
        // Only the next attempt knows whether there is enough room.
        false
    }

    fn look_around(&self) -> Look {
        // Where nobody makes room any more, the next attempt says so.
        if self.wire.upgrade().is_none_or(|wire| wire.is_hung_up()) { Look::Leave } else { SLICE.into() }
    }
}

impl End {
    /// A waiter for room to send. All waiters of an end share one list, which is this process's: a forked copy makes its own.
    fn room_waiter(&mut self) -> Option<Waiter> {
        let Self { shared, outgoing, .. } = self;
        let Outgoing { stream, room, .. } = outgoing.as_mut()?;
        if room.as_ref().is_none_or(|(of, _)| *of != stamp()) {
            let condition = RoomInStream { event: stream.room_event(), wire: Arc::downgrade(&shared.wire) };
            *room = Some((stamp(), WaitList::new(condition, Reactor::of_process())));
        }
        room.as_ref().map(|(_, list)| Waiter::new(list))
    }
}

impl Handle {
    fn room_waiter(&self) -> Option<Waiter> {
        self.with(End::room_waiter).ok().flatten()
    }

    fn poll_recv<V: DeserializeOwned>(&self, polled: &mut Option<Polled>, waker: &Waker) -> Poll<Result<V, RecvError>> {
        let attempt = || match self.recv(Deadline::NOW) {
            Err(RecvError::Empty) => None,
            done => Some(done),
        };
        let readiness = match self.readiness() {
            Ok(readiness) => readiness,
            // Where the end has left, that is the error. Where the process has no descriptors left, nothing else tells of a message.
            Err(error) => return Poll::Ready(attempt().unwrap_or(Err(RecvError::Wait(error)))),
        };
        let waiting = poll_descriptor(polled, readiness, Direction::Read, waker, attempt);
        waiting.map(|received| received.unwrap_or_else(|error| Err(RecvError::Wait(error))))
    }

    fn poll_send<T, Q>(&self, value: &Q, waiter: &mut Option<Waiter>, waker: &Waker) -> Poll<Result<(), SendError>>
    where
        T: Serialize + DeserializeOwned + Lends<Q>,
        Q: Serialize + ?Sized,
    {
        let attempt = || match self.send::<T, Q>(value, Deadline::NOW) {
            Err(SendError::Full) => None,
            done => Some(done),
        };
        // A forked copy's parent waited in a list of its own.
        if waiter.as_ref().is_none_or(|waiter| !waiter.is_ours()) {
            *waiter = self.room_waiter();
        }
        match waiter {
            Some(waiter) => waiter.poll(waker, attempt),
            // An end that has left says so.
            None => Poll::Ready(attempt().unwrap_or(Err(SendError::Moved))),
        }
    }
}

macro_rules! recvs {
    ($End:ty, $Value:ident $(, $Other:ident)?) => {
        impl<$Value: DeserializeOwned $(, $Other)?> $End {
            /// Receives a value as [`recv`](Self::recv) does, and waits for it in a future (Python: `recv`, in `loop.add_reader`).
            ///
            /// It uses [`readiness`](Self::readiness), and costs what that costs.
            ///
            /// # Cancel safety
            ///
            /// The message is taken in the poll that returns it. A future that is dropped before that takes nothing: the part of a long message
            /// that has come stays with the end.
            ///
            /// # Errors
            ///
            /// As `recv`, and [`RecvError::Wait`] if the process has no descriptors left to wait with.
            pub async fn recv_async(&mut self) -> Result<$Value, RecvError> {
                // An end is not `Sync`. So the future keeps the exclusive borrow, which may go to another thread.
                let (this, mut polled) = (self, None);
                poll_fn(move |context| this.handle().poll_recv(&mut polled, context.waker())).await
            }

            /// The values that this end receives, as a stream, until a `recv` fails: at the end of the pipe.
            /// [`end`](Messages::end) says at which error. It keeps no message.
            ///
            /// # Cancel safety
            ///
            /// The stream, and a future that waits for its next value, can be dropped at any time, and no message is lost.
            pub fn stream(&mut self) -> Messages<'_, Self> {
                Messages { from: self, polled: None, end: None }
            }
        }

        impl<$Value: DeserializeOwned $(, $Other)?> Stream for Messages<'_, $End> {
            type Item = $Value;

            fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<$Value>> {
                let Self { from, polled, end } = self.get_mut();
                if end.is_some() {
                    return Poll::Ready(None);
                }
                from.handle().poll_recv(polled, context.waker()).map(|got| got.map_err(|error| *end = Some(error)).ok())
            }
        }
    };
}

macro_rules! sends {
    ($End:ty, $Value:ident $(, $Other:ident)?) => {
        impl<$Value: Serialize + DeserializeOwned $(, $Other)?> $End {
            /// Sends a value as [`send`](Self::send) does, and waits for room in a future. A message longer than the room goes beside the
            /// stream, in memory of its own, as for [`try_send`](Self::try_send).
            ///
            /// # Cancel safety
            ///
            /// The message is sent in the poll that returns `Ready`. A future that is dropped before that sends nothing.
            ///
            /// # Errors
            ///
            /// As `send`.
            pub async fn send_async<Q>(&mut self, value: &Q) -> Result<(), SendError>
            where
                $Value: Lends<Q>,
                Q: Serialize + ?Sized,
            {
                let (this, mut waiter) = (self, None);
                poll_fn(move |context| this.handle().poll_send::<$Value, Q>(value, &mut waiter, context.waker())).await
            }

            /// A sink whose values this end sends. A value that finds no room waits in the sink, one at most. It is sent once the sink is flushed.
            ///
            /// # Cancel safety
            ///
            /// A future that sends or flushes can be dropped at any time. The value that waits stays in the sink, and goes with the sink.
            pub fn sink(&mut self) -> MessageSink<'_, Self, $Value> {
                MessageSink { to: self, value: None, waiter: None }
            }
        }

        impl<$Value: Serialize + DeserializeOwned + Lends<$Value> $(, $Other)?> Sink<$Value> for MessageSink<'_, $End, $Value> {
            type Error = SendError;

            fn poll_ready(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), SendError>> {
                self.poll_flush(context)
            }

            fn start_send(self: Pin<&mut Self>, value: $Value) -> Result<(), SendError> {
                let sink = self.get_mut();
                if sink.value.is_some() {
                    // It was not made ready.
                    return Err(SendError::Full);
                }
                match sink.to.handle().send::<$Value, $Value>(&value, Deadline::NOW) {
                    Err(SendError::Full) => sink.value = Some(value),
                    done => return done,
                }
                Ok(())
            }

            fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), SendError>> {
                let Self { to, value, waiter } = self.get_mut();
                let Some(waiting) = value.as_ref() else { return Poll::Ready(Ok(())) };
                let sent = to.handle().poll_send::<$Value, $Value>(waiting, waiter, context.waker());
                if sent.is_ready() {
                    *value = None;
                }
                sent
            }

            fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), SendError>> {
                self.poll_flush(context)
            }
        }
    };
}

recvs!(Receiver<T>, T);
recvs!(Connection<Tx, Rx>, Rx, Tx);
sends!(Sender<T>, T);
sends!(Connection<Tx, Rx>, Tx, Rx);

/// The values that an end of a pipe receives, as a stream.
#[derive(Debug)]
#[must_use = "a stream receives nothing until it is polled"]
pub struct Messages<'e, E> {
    from: &'e mut E,
    polled: Option<Polled>,
    end: Option<RecvError>,
}

impl<E> Messages<'_, E> {
    /// Returns the error of the `recv` that ended it: [`RecvError::Disconnected`] at the end of the pipe. `None`: it has not ended.
    pub fn end(&self) -> Option<&RecvError> {
        self.end.as_ref()
    }
}

/// A sink whose values an end of a pipe sends.
#[derive(Debug)]
#[must_use = "a sink sends nothing until it is used"]
pub struct MessageSink<'e, E, T> {
    to: &'e mut E,
    value: Option<T>,
    waiter: Option<Waiter>,
}

/// The value is never pinned.
impl<E, T> Unpin for MessageSink<'_, E, T> {}
