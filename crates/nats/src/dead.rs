//! Values that were put aside: read, put back, taken out.

use crate::core::{Core, Lane};
use crate::error::{DoneError, GetError, PutError, ServerError};
use crate::hold::{COUNT, Hold, ID, NotEnded, UNREADABLE};
use crate::pull;
use crate::put::put_bytes;
use crate::queue::RemoteQueue;
use crate::runtime::wait;
use crate::stream;
use crate::until::Until;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use multiproc_queue::DecodeError;
use multiproc_travel::pass;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::ops::Deref;
use std::time::Duration;

/// A value that was put aside, in hand. A letter that is dropped stays among the dead letters, as one that is [left](Self::leave) does.
#[derive(Debug)]
pub struct DeadLetter<T> {
    value: T,
    note: Note,
    payload: Bytes,
    hold: Box<Hold>,
}

/// A value that was put aside, as [`dead_letters`](RemoteQueue::dead_letters) lists it.
#[derive(Debug)]
pub struct ListedLetter<T> {
    /// The value; an error if it makes no `T`.
    pub value: Result<T, DecodeError>,
    /// The number that the value had in the queue.
    pub id: u64,
    /// How often it was delivered.
    pub count: u16,
    /// Whether it was put aside since a consumer could not read it.
    pub unreadable: bool,
}

/// What the headers of a letter say.
#[derive(Clone, Copy, Debug, Default)]
struct Note {
    id: u64,
    count: u16,
    unreadable: bool,
}

impl Note {
    fn of<'h>(header: impl Fn(&str) -> Option<&'h str>) -> Self {
        let number = |name| header(name).and_then(|text: &str| text.parse::<u64>().ok()).unwrap_or(0);
        Self { id: number(ID), count: number(COUNT).try_into().unwrap_or(u16::MAX), unreadable: header(UNREADABLE) == Some("1") }
    }
}

impl<T: Serialize + DeserializeOwned> RemoteQueue<T> {
    /// Takes the oldest value that was put aside in hand, without waiting.
    ///
    /// A value is put aside when it was delivered as often as [`max_deliveries`](crate::Builder::max_deliveries) allows and never done,
    /// and when a process with another `T` could not read it. For `join` it is done.
    ///
    /// # Errors
    ///
    /// [`GetError::Empty`] if there is none, or as [`try_get`](Self::try_get). A letter that makes no `T` is out for good: it would be the
    /// next one again. [`dead_letters`](Self::dead_letters) shows it before.
    pub fn try_get_dead(&self) -> Result<DeadLetter<T>, GetError> {
        wait(async {
            let core = self.core().await?;
            let until = Until::now();
            let message = pull::one(core, Lane::Dead, until).await?.ok_or(GetError::Empty)?;
            let mut hold = Hold::of(core, Lane::Dead, &message).ok_or(GetError::Empty)?;
            let headers = message.headers.unwrap_or_default();
            let note = Note::of(|name| headers.get(name).map(|value| value.as_str()));
            match pass::decode_plain(&message.payload) {
                Ok(value) => Ok(DeadLetter { value, note, payload: message.payload, hold: Box::new(hold) }),
                Err(why) => {
                    let _ = hold.done(until).await;
                    Err(GetError::Decode(why))
                }
            }
        })
    }

    /// Lists the oldest dead letters, at most `most`, and leaves them where they are.
    ///
    /// # Errors
    ///
    /// The server does not answer.
    pub fn dead_letters(&self, most: usize) -> Result<Vec<ListedLetter<T>>, ServerError> {
        wait(async {
            let core = self.core().await?;
            let (mut letters, mut sequence) = (Vec::new(), 0);
            while letters.len() < most {
                let which = json!({ "seq": sequence, "next_by_subj": core.names.subject("dead") });
                let Some(letter) = stream::read(&core.link, &core.names.dead, which, Until::now()).await? else { break };
                letters.push(listed(&letter));
                sequence = letter["seq"].as_u64().map_or(u64::MAX, |found| found.saturating_add(1));
            }
            Ok(letters)
        })
    }
}

impl<T> RemoteQueue<T> {
    /// Returns how many values were put aside and not taken out yet.
    ///
    /// # Errors
    ///
    /// The server does not answer.
    pub fn dead_len(&self) -> Result<usize, ServerError> {
        wait(async {
            let core = self.core().await?;
            Ok(stream::state(&core.link, &core.names, &core.names.dead, Until::now()).await?.messages as usize)
        })
    }
}

fn listed<T: DeserializeOwned>(letter: &Value) -> ListedLetter<T> {
    let bytes = |key: &str| BASE64.decode(letter[key].as_str().unwrap_or_default()).unwrap_or_default();
    let headers = String::from_utf8(bytes("hdrs")).unwrap_or_default();
    let header = |name: &str| headers.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let Note { id, count, unreadable } = Note::of(header);
    ListedLetter { value: pass::decode_plain(&bytes("data")), id, count, unreadable }
}

impl<T> DeadLetter<T> {
    /// Counts the deliveries of the value.
    pub fn count(&self) -> u16 {
        self.note.count
    }

    /// Returns the number that the value had in its [deliveries](crate::Delivery::id).
    pub fn id(&self) -> u64 {
        self.note.id
    }

    /// Returns whether it was put aside since a consumer could not read it.
    pub fn is_unreadable(&self) -> bool {
        self.note.unreadable
    }

    /// Takes the value out for good, and returns it once the server knows.
    ///
    /// # Errors
    ///
    /// The server does not know within 5 seconds. The letter may come back then.
    pub fn into_inner(self) -> Result<T, DoneError<T>> {
        let Self { value, mut hold, .. } = self;
        match wait(hold.done(Until::now())) {
            Ok(()) => Ok(value),
            Err(why) => Err(why.with(value, &hold.core)),
        }
    }

    /// Leaves the value among the dead letters, and before those that were not read yet.
    pub fn leave(mut self) {
        let _ = wait(self.hold.give_back(Duration::ZERO, Until::now()));
    }

    /// Puts the value into the queue again, behind all others, as if it had never been delivered; waits while the queue is full.
    ///
    /// # Errors
    ///
    /// As [`put`](RemoteQueue::put). The error gives the letter back.
    pub fn put_back(self) -> Result<(), PutError<Self>> {
        self.put_back_by(Until::NEVER)
    }

    /// Puts the value into the queue again as [`put_back`](Self::put_back) does if there is room now.
    ///
    /// # Errors
    ///
    /// [`PutError::Full`], or as `put_back`. The error gives the letter back.
    pub fn try_put_back(self) -> Result<(), PutError<Self>> {
        self.put_back_by(Until::now())
    }

    /// Puts the value into the queue again as [`put_back`](Self::put_back) does; waits at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`PutError::Timeout`], or as `put_back`. The error gives the letter back.
    pub fn put_back_timeout(self, timeout: Duration) -> Result<(), PutError<Self>> {
        self.put_back_by(Until::after(timeout))
    }

    fn put_back_by(mut self, until: Until) -> Result<(), PutError<Self>> {
        // The id is the letter's own. So a second try after a crash puts nothing twice within the window.
        let core: &Core = &self.hold.core;
        let id = format!("{}-back-{}", core.shape.born, self.hold.sequence);
        match wait(put_bytes(core, id, self.payload.clone(), until)) {
            Ok(_) => match wait(self.hold.done(until)) {
                Ok(()) | Err(NotEnded::Lost) => Ok(()),
                Err(NotEnded::Server(why)) => Err(PutError::Server { value: self, why }),
            },
            Err(error) => Err(error.with(self)),
        }
    }
}

impl<T> Deref for DeadLetter<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}
