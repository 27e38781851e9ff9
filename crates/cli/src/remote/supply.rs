//! The messages of a worker that come from another machine.
//!
//! Two threads talk to the server, so that the worker itself never waits for it: one fetches a message when a slot is free, and one tells
//! what became of the messages.

use super::Remote;
use crate::exit::say;
use crate::work::supply::{Got, InHand, Supply};
use anyhow::Context;
use multiproc::MessageId;
use multiproc_nats::{Delivery, GetError};
use std::fmt;
use std::io::{Read, Write};
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A queue past this machine.
pub(crate) struct There {
    queue: Remote,
    desk: Arc<Desk>,
    /// Readable once an answer lies on the desk.
    bell: UnixStream,
    /// To the thread that tells the server.
    ends: Sender<End>,
    teller: Option<JoinHandle<()>>,
}

/// Where the worker asks, and the fetching thread answers.
#[derive(Default)]
struct Desk {
    state: Mutex<State>,
    asked: Condvar,
}

#[derive(Default)]
enum State {
    #[default]
    Idle,
    Asked,
    Answered(Result<Delivery<Vec<u8>>, GetError>),
    /// The worker is gone.
    Over,
}

/// What became of a message.
enum End {
    Done(Delivery<Vec<u8>>),
    Back(Delivery<Vec<u8>>),
    Aside(Delivery<Vec<u8>>),
    /// Of the worker itself.
    Over,
}

/// How long the fetching thread waits for a message before it looks whether one is still wanted.
const SLICE: Duration = Duration::from_secs(1);
/// How long it waits where the worker ends once there is none.
const GLANCE: Duration = Duration::from_millis(200);
/// How long the server may be away when the worker ends. What it was not told of comes back by itself.
const PATIENCE: Duration = Duration::from_secs(30);

impl Desk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl There {
    /// `until_empty`: the worker is to hear when everything is done, by whomever.
    pub(crate) fn new(queue: Remote, until_empty: bool) -> anyhow::Result<Self> {
        let desk = Arc::new(Desk::default());
        let (bell, ringer) = UnixStream::pair().context("can't wait for the queue")?;
        bell.set_nonblocking(true).context("can't wait for the queue")?;
        let (ends, told) = channel();
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            thread::Builder::new().name(name.into()).spawn(work).context("can't start a thread")
        };
        let fetch = (queue.clone(), Arc::clone(&desk));
        spawn("fetch", Box::new(move || fetch_all(&fetch.0, &fetch.1, &ringer, until_empty)))?;
        let teller = spawn("tell", Box::new(move || tell_all(&told)))?;
        Ok(Self { queue, desk, bell, ends, teller: Some(teller) })
    }
}

fn fetch_all(queue: &Remote, desk: &Desk, mut ringer: &UnixStream, until_empty: bool) {
    loop {
        {
            let idle = |state: &mut State| matches!(state, State::Idle | State::Answered(_));
            let state = desk.asked.wait_while(desk.state(), idle).unwrap_or_else(PoisonError::into_inner);
            if matches!(*state, State::Over) {
                return;
            }
        }
        let got = queue.get_delivery_timeout(if until_empty { GLANCE } else { SLICE });
        // What a dead worker had in hand comes back when its lease ends: the queue is not empty before.
        let is_empty = || queue.unfinished().is_ok_and(|unfinished| unfinished == 0);
        let got = match got {
            Err(GetError::Timeout) if until_empty && is_empty() => Err(GetError::Empty),
            // To the library, what the jobs have is in the hands of this thread, which it does not wait for.
            Err(GetError::ShutDown) if !is_empty() => {
                thread::sleep(GLANCE);
                Err(GetError::Timeout)
            }
            got => got,
        };
        let mut state = desk.state();
        match (&*state, got) {
            (State::Asked, Err(GetError::Timeout)) => {}
            (State::Asked, got) => {
                *state = State::Answered(got);
                // It is full only if the worker has not read what it was rung for.
                let _ = ringer.write(&[0]);
            }
            // What came too late is dropped, which gives it back.
            _ => return,
        }
    }
}

fn tell_all(told: &Receiver<End>) {
    for end in told {
        let result = match end {
            End::Done(delivery) => {
                let id = delivery.id();
                delivery.done_timeout(PATIENCE).map(drop).map_err(|error| (id, error))
            }
            End::Aside(delivery) => {
                let id = delivery.id();
                delivery.put_aside().map_err(|error| (id, error))
            }
            End::Over => return,
            End::Back(delivery) => {
                delivery.give_back();
                Ok(())
            }
        };
        if let Err((id, error)) = result {
            say!("message {id}: {error:#}");
        }
    }
}

impl Supply for There {
    fn readiness(&self) -> anyhow::Result<BorrowedFd<'_>> {
        Ok(self.bell.as_fd())
    }

    fn try_get(&mut self) -> anyhow::Result<Got> {
        let mut state = self.desk.state();
        let answered = match std::mem::replace(&mut *state, State::Asked) {
            State::Idle => {
                self.desk.asked.notify_one();
                None
            }
            State::Asked | State::Over => None,
            State::Answered(got) => {
                *state = State::Idle;
                let mut rings = [0; 16];
                // Nothing was rung if there is nothing.
                let _ = (&self.bell).read(&mut rings);
                Some(got)
            }
        };
        drop(state);
        Ok(match answered {
            None => Got::Asked,
            Some(Ok(delivery)) => Got::Message(Box::new(Lent { delivery, ends: self.ends.clone() })),
            Some(Err(GetError::Empty)) => Got::Empty,
            Some(Err(GetError::ShutDown)) => Got::ShutDown,
            Some(Err(error @ GetError::Decode(_))) => Got::Unreadable(error.to_string()),
            Some(Err(error)) => return Err(error).with_context(|| format!("can't get a message of {}", self.queue.address())),
        })
    }

    fn is_empty(&self) -> bool {
        // Another look at the server would cost as much as a message.
        false
    }

    fn is_shut_down(&self) -> bool {
        false
    }

    fn is_all_done(&self) -> bool {
        // The fetching thread says that it is empty only then.
        true
    }

    fn unfinished(&self) -> u64 {
        self.queue.unfinished().unwrap_or(0) as u64
    }

    fn behind_all(&self) -> u64 {
        // A message that goes back is behind nothing: the server knows no order among those that come back.
        0
    }

    fn taken(&self) -> u64 {
        u64::MAX
    }
}

impl Drop for There {
    fn drop(&mut self) {
        // An answer that nobody took is dropped, which gives the message back.
        *self.desk.state() = State::Over;
        self.desk.asked.notify_one();
        let _ = self.ends.send(End::Over);
        if let Some(teller) = self.teller.take() {
            let _ = teller.join();
        }
    }
}

/// A message in hand.
struct Lent {
    delivery: Delivery<Vec<u8>>,
    ends: Sender<End>,
}

impl Lent {
    fn tell(self, end: fn(Delivery<Vec<u8>>) -> End) {
        // Where the thread has ended, the message is dropped, which gives it back.
        let _ = self.ends.send(end(self.delivery));
    }
}

impl Deref for Lent {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.delivery
    }
}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lent").field(&self.id()).finish()
    }
}

impl InHand for Lent {
    fn count(&self) -> u16 {
        self.delivery.count()
    }

    fn id(&self) -> MessageId {
        self.delivery.id().to_string().parse().unwrap_or_default()
    }

    fn done(self: Box<Self>) {
        self.tell(End::Done);
    }

    fn give_back(self: Box<Self>, _: u32) {
        self.tell(End::Back);
    }

    fn give_back_interrupted(self: Box<Self>, _: u32) {
        self.tell(End::Back);
    }

    fn give_back_untried(self: Box<Self>) {
        self.tell(End::Back);
    }

    fn put_aside(self: Box<Self>, _: u32) {
        self.tell(End::Aside);
    }
}
