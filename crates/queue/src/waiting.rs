//! Waiting for a queue without sleeping in it: what a [`Selector`](multiproc_sync::Selector), a future and a descriptor wait for.

use crate::attachment::Attachment;
use crate::layout::{Flavor, QueueWords};
use crate::{JoinableQueue, Queue, Receiver, Sender, SimpleQueue};
use multiproc_prim::{Mutex, Place, Signal};
use multiproc_sync::{Awaited, ChannelEvent, Condition, Event, Look, Quiet, Reactor, Source, Told, WaitList, Waiter};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Wake, Waker};

/// What this process waits for at a queue. A list is made when it is first asked for.
#[derive(Debug, Default)]
pub(crate) struct WaitLists {
    message: OnceLock<Arc<WaitList>>,
    room: OnceLock<Arc<WaitList>>,
    memory: OnceLock<Arc<WaitList>>,
    all_done: OnceLock<Arc<WaitList>>,
    light: OnceLock<Arc<Light>>,
}

impl WaitLists {
    /// Calls all waiters: this process leaves the queue.
    pub(crate) fn close(&self) {
        let lists = [&self.message, &self.room, &self.memory, &self.all_done];
        lists.into_iter().filter_map(OnceLock::get).for_each(|list| list.close());
    }
}

/// A condition of a queue.
struct QueueCondition {
    of: Weak<Attachment>,
    event: QueueEvent,
    /// For how long no message has come.
    quiet: Quiet,
}

enum QueueEvent {
    Channel(ChannelEvent),
    AllDone(Place<QueueWords>),
}

impl fmt::Debug for QueueCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = match &self.event {
            QueueEvent::Channel(event) => format!("{:?}", event.of()),
            QueueEvent::AllDone(_) => "AllDone".into(),
        };
        f.debug_tuple("QueueCondition").field(&of).finish()
    }
}

impl Condition for QueueCondition {
    fn event(&self) -> Event<'_> {
        match &self.event {
            QueueEvent::Channel(event) => event.get(),
            QueueEvent::AllDone(words) => Event::Busy(&words.all_done),
        }
    }

    fn is_met(&self) -> bool {
        self.of.upgrade().is_some_and(|attachment| match &self.event {
            QueueEvent::Channel(event) => attachment.has(event.of()),
            QueueEvent::AllDone(_) => attachment.unfinished() == 0,
        })
    }

    fn is_known(&self) -> bool {
        !matches!(&self.event, QueueEvent::Channel(event) if event.of() == Told::Memory)
    }

    fn look_around(&self) -> Look {
        let Some(attachment) = self.of.upgrade() else { return Look::Leave };
        let most = attachment.look_around();
        match &self.event {
            QueueEvent::Channel(event) if event.of() == Told::Memory => {
                // A process may have stopped or died between freeing a block and telling of it.
                attachment.channel.nudge_for_memory();
                most.into()
            }
            QueueEvent::Channel(event) if event.of() == Told::Message => attachment.channel.rest(&self.quiet, most).into(),
            _ => most.into(),
        }
    }
}

impl Attachment {
    /// Whether a get, or a put, need not wait now.
    fn has(&self, what: Told) -> bool {
        let ring = self.channel.ring();
        match what {
            Told::Message => !self.look_to_count().is_empty() || self.channel.is_shut_down() && self.is_all_over(),
            // Where it is not bounded, a full ring grows.
            Told::Room => !self.shape.bounded || ring.has_room() || self.channel.is_shut_down(),
            // Only the next attempt knows whether there is enough.
            Told::Memory => true,
        }
    }

    /// Whether nothing can come back after a shutdown. A waiter that doesn't sleep has no thread: nothing says which values are in its own
    /// hands.
    fn is_all_over(&self) -> bool {
        self.shape.flavor != Flavor::Joinable || self.unfinished() == 0
    }

    pub(crate) fn list_of(&self, what: Told) -> &Arc<WaitList> {
        let lists = &self.wait_lists;
        let list = match what {
            Told::Message => &lists.message,
            Told::Room => &lists.room,
            Told::Memory => &lists.memory,
        };
        list.get_or_init(|| self.new_list(QueueEvent::Channel(self.channel.event(what))))
    }

    pub(crate) fn list_of_all_done(&self) -> &Arc<WaitList> {
        self.wait_lists.all_done.get_or_init(|| self.new_list(QueueEvent::AllDone(self.words.clone())))
    }

    fn new_list(&self, event: QueueEvent) -> Arc<WaitList> {
        WaitList::new(QueueCondition { of: self.itself.clone(), event, quiet: Quiet::default() }, Reactor::of_process())
    }

    /// After a get, whatever came of it: where a user waits for the descriptor, it may have to go dark.
    #[inline(always)]
    pub(crate) fn got(&self) {
        if let Some(light) = self.wait_lists.light.get() {
            light.refresh(self);
        }
    }

    fn light(&self) -> io::Result<&Light> {
        let known = &self.wait_lists.light;
        if let Some(light) = known.get() {
            return Ok(light);
        }
        let list = Arc::clone(self.list_of(Told::Message));
        let new = Arc::new(Light { signal: Signal::new()?, waiter: Mutex::new(Waiter::new(&list)), list });
        let light = known.get_or_init(|| new);
        light.shine(self);
        Ok(light)
    }
}

/// The descriptor of a queue that is readable while there is something to get.
#[derive(Debug)]
struct Light {
    signal: Signal,
    waiter: Mutex<Waiter>,
    list: Arc<WaitList>,
}

impl Wake for Light {
    fn wake(self: Arc<Self>) {
        self.signal.set();
        // It takes nothing, and its user may be long in coming.
        self.list.hand_on();
    }
}

impl Light {
    /// Goes dark if there is nothing to get, until there is.
    #[cold]
    fn refresh(self: &Arc<Self>, attachment: &Attachment) {
        if !attachment.has(Told::Message) {
            self.shine(attachment);
        }
    }

    fn shine(self: &Arc<Self>, attachment: &Attachment) {
        // Before the look: whatever comes after it sets the signal again.
        self.signal.clear();
        let is_told = self.waiter.lock().wait(&Waker::from(Arc::clone(self)));
        // Where no thread can be had, its user has to ask again and again.
        if !is_told || attachment.has(Told::Message) {
            self.signal.set();
        }
    }
}

/// Room in a queue, as a [`Source`]: ready while a put finds a free slot, and once the queue is shut down. Memory may still be used up:
/// if `try_put` says `NoMemory` then, use `put_timeout`.
#[derive(Debug)]
pub struct Room<'q, T>(pub(crate) &'q Queue<T>);

impl<T> Source for Room<'_, T> {
    fn awaited(&self) -> Awaited<'_> {
        if self.0.was_closed() { Awaited::Nothing } else { self.0.awaits(Told::Room) }
    }
}

/// All values of a [`JoinableQueue`] done, as a [`Source`]: ready while [`join`](JoinableQueue::join) would not wait.
#[derive(Debug)]
pub struct AllDone<'q, T>(&'q JoinableQueue<T>);

impl<T> Source for AllDone<'_, T> {
    fn awaited(&self) -> Awaited<'_> {
        let here = self.0.queue().here();
        here.map_or(Awaited::Nothing, |share| Awaited::Condition(Arc::clone(share.list_of_all_done())))
    }
}

impl<T> JoinableQueue<T> {
    /// All values done, for a [`Selector`](multiproc_sync::Selector): ready while [`join`](Self::join) would not wait. Python has no
    /// counterpart.
    pub fn all_done(&self) -> AllDone<'_, T> {
        AllDone(self)
    }
}

/// Ready while there is something to receive, and once the last sender is gone.
impl<T> Source for Receiver<T> {
    fn awaited(&self) -> Awaited<'_> {
        self.queue_here().map_or(Awaited::Nothing, |queue| queue.awaits(Told::Message))
    }
}

/// Ready while there is room to send, and once the last receiver is gone.
impl<T> Source for Sender<T> {
    fn awaited(&self) -> Awaited<'_> {
        self.queue_here().map_or(Awaited::Nothing, |queue| queue.awaits(Told::Room))
    }
}

impl<T> Queue<T> {
    fn awaits(&self, what: Told) -> Awaited<'_> {
        // Where a forked copy can't join the queue, its operation says so.
        self.here().map_or(Awaited::Nothing, |share| Awaited::Condition(Arc::clone(share.list_of(what))))
    }
}

macro_rules! waits {
    ($Kind:ident, $ends:literal) => {
        /// Ready while there is something to get, and once the queue is shut down and nothing can come any more.
        #[doc = $ends]
        impl<T> Source for $Kind<T> {
            fn awaited(&self) -> Awaited<'_> {
                self.queue().awaits(Told::Message)
            }
        }

        impl<T> $Kind<T> {
            /// Room in the queue, for a [`Selector`](multiproc_sync::Selector): ready while a put finds a free slot. A wait that has begun
            /// does not learn that this handle was [closed](Self::close), as a put that waits does not. Python has no counterpart.
            pub fn room(&self) -> Room<'_, T> {
                Room(self.queue())
            }

            /// A descriptor that is readable while there is something to get, for `epoll`, `poll` and `select` (Python:
            /// `Queue._reader.fileno()`, which is private).
            ///
            /// ```
            /// # use multiproc_queue as multiproc;
            /// # use multiproc_prim::{Direction, is_ready_for};
            /// let queue = multiproc::Queue::unbounded()?;
            /// queue.put(7)?;
            /// # let is_readable = |queue: &multiproc::Queue<i32>| Ok::<_, std::io::Error>(is_ready_for(queue.readiness()?, Direction::Read));
            /// assert!(is_readable(&queue)?);
            /// assert_eq!(queue.try_get()?, 7);
            /// assert!(!is_readable(&queue)?);
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            ///
            /// Only wait for it: reading it breaks the promise. Another process may be faster, and this one learns of that from its next
            /// get: use [`try_get`](Self::try_get), which makes the descriptor unreadable if it finds nothing. That holds for
            /// edge-triggered waiting, too: get until there is nothing, then wait.
            ///
            /// It costs a descriptor, and a thread in the background for up to 127 queues. A put pays for a wake-up when the descriptor
            /// becomes readable. Where nobody asked for it, a put pays nothing.
            ///
            /// # Errors
            ///
            /// The process or the system has no descriptors left, or this process is a forked copy that can't join the queue.
            pub fn readiness(&self) -> io::Result<BorrowedFd<'_>> {
                let share = self.queue().here().map_err(io::Error::other)?;
                Ok(share.light()?.signal.as_fd())
            }
        }
    };
}

waits!(Queue, "");
waits!(
    JoinableQueue,
    "\n\nThat is when every value is done. So finish what the thread has in hand first: a wait can't know that these values are its own."
);
waits!(SimpleQueue, "");
