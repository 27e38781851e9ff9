//! Putting: one value, many, and what the server says to it.

use crate::core::{Core, Standing};
use crate::error::{PutError, PutManyError, ServerError};
use crate::link::{ApiError, Unheard};
use crate::queue::RemoteQueue;
use crate::runtime::{anywhere, wait};
use crate::until::Until;
use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use multiproc_travel::pass;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// How many puts of one `put_many` are on their way at once.
const ON_THEIR_WAY: usize = 256;
/// A put into a full queue tries again after this, then after twice as long, and so on.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
/// A put that found the queue full is not tried again when less is left: a busy server may answer too late.
const TOO_LATE: Duration = Duration::from_millis(250);

impl<T: Serialize + DeserializeOwned> RemoteQueue<T> {
    /// Puts a value, and returns once the server has it. Waits while the queue is full, and while the server is away.
    ///
    /// Others may overtake a put that waits for room: the server keeps no list of those who wait.
    ///
    /// # Errors
    ///
    /// The queue can never take the value: it was shut down or deleted, or the value is too long or can't be encoded. The error gives
    /// the value back.
    pub fn put(&self, value: T) -> Result<(), PutError<T>> {
        wait(self.put_by(value, Until::NEVER))
    }

    /// Puts a value if there is room now.
    ///
    /// # Errors
    ///
    /// [`Full`](PutError::Full), [`Unanswered`](ServerError::Unanswered) after 5 seconds, or as [`put`](Self::put).
    pub fn try_put(&self, value: T) -> Result<(), PutError<T>> {
        wait(self.put_by(value, Until::now()))
    }

    /// Puts a value; waits at most `timeout` for room and for the server.
    ///
    /// # Errors
    ///
    /// [`Timeout`](PutError::Timeout) if there was no room, [`Unanswered`](ServerError::Unanswered) if the server did not answer: then the
    /// value may be in the queue. Or as [`put`](Self::put).
    pub fn put_timeout(&self, value: T, timeout: Duration) -> Result<(), PutError<T>> {
        wait(self.put_by(value, Until::after(timeout)))
    }

    /// Puts a value as [`put`](Self::put) does, in a future.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped may have put the value.
    ///
    /// # Errors
    ///
    /// As `put`.
    pub async fn put_async(&self, value: T) -> Result<(), PutError<T>> {
        anywhere(self.put_by(value, Until::NEVER)).await
    }

    /// Puts a value as [`try_put`](Self::try_put) does, in a future.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped may have put the value.
    ///
    /// # Errors
    ///
    /// As `try_put`.
    pub async fn try_put_async(&self, value: T) -> Result<(), PutError<T>> {
        anywhere(self.put_by(value, Until::now())).await
    }

    /// Puts a value as [`put_timeout`](Self::put_timeout) does, in a future.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped may have put the value.
    ///
    /// # Errors
    ///
    /// As `put_timeout`.
    pub async fn put_timeout_async(&self, value: T, timeout: Duration) -> Result<(), PutError<T>> {
        anywhere(self.put_by(value, Until::after(timeout))).await
    }

    /// Puts all values and returns their number; waits as [`put`](Self::put). Up to 256 are on their way at once, which makes it many
    /// times faster.
    ///
    /// They are put in order while there is room. When the queue is full, those on their way get in as places come free, in any order.
    ///
    /// # Errors
    ///
    /// Some value could not be put. The error says how many were, and gives back the others.
    pub fn put_many<I: IntoIterator<Item = T>>(&self, values: I) -> Result<usize, PutManyError<I::IntoIter>> {
        wait(self.put_many_by(values.into_iter(), Until::NEVER))
    }

    /// Puts the values that there is room for now.
    ///
    /// # Errors
    ///
    /// As `put_many`, with the errors of [`try_put`](Self::try_put) for values without room.
    pub fn try_put_many<I: IntoIterator<Item = T>>(&self, values: I) -> Result<usize, PutManyError<I::IntoIter>> {
        wait(self.put_many_by(values.into_iter(), Until::now()))
    }

    /// Puts all values as [`put_many`](Self::put_many) does; waits at most `timeout` for room and for the server, in all.
    ///
    /// # Errors
    ///
    /// As `put_many`, with the errors of [`put_timeout`](Self::put_timeout) for values that waited too long.
    pub fn put_many_timeout<I>(&self, values: I, timeout: Duration) -> Result<usize, PutManyError<I::IntoIter>>
    where
        I: IntoIterator<Item = T>,
    {
        wait(self.put_many_by(values.into_iter(), Until::after(timeout)))
    }

    /// Puts all values as [`put_many`](Self::put_many) does, in a future.
    ///
    /// # Errors
    ///
    /// As `put_many`.
    pub async fn put_many_async<I: IntoIterator<Item = T>>(&self, values: I) -> Result<usize, PutManyError<I::IntoIter>> {
        anywhere(self.put_many_by(values.into_iter(), Until::NEVER)).await
    }

    async fn put_many_by<I: Iterator<Item = T>>(&self, mut values: I, until: Until) -> Result<usize, PutManyError<I>> {
        let mut on_their_way = FuturesOrdered::new();
        let (mut put, mut failed) = (0, Vec::new());
        loop {
            while failed.is_empty() && on_their_way.len() < ON_THEIR_WAY {
                let Some(value) = values.next() else { break };
                on_their_way.push_back(self.put_by(value, until));
            }
            match on_their_way.next().await {
                Some(Ok(())) => put += 1,
                Some(Err(error)) => failed.push(error),
                None if failed.is_empty() => return Ok(put),
                None => return Err(PutManyError { put, failed, rest: values }),
            }
        }
    }

    async fn put_by(&self, value: T, until: Until) -> Result<(), PutError<T>> {
        let mut bytes = Vec::new();
        if let Err(why) = pass::encode_plain(&value, &mut bytes) {
            return Err(PutError::Encode { value, why });
        }
        let done = async {
            let core = self.core().await?;
            put_bytes(core, core.put_id(), Bytes::from(bytes), until).await
        };
        done.await.map(drop).map_err(|error| error.with(value))
    }
}

/// What the server says to a put.
#[derive(Deserialize)]
struct Receipt {
    error: Option<serde_json::Value>,
    seq: Option<u64>,
}

/// Puts a message, as often as it takes, and returns its place in the stream. The server takes two with one id for the same.
pub(crate) async fn put_bytes(core: &Core, id: String, bytes: Bytes, until: Until) -> Result<u64, PutError<()>> {
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Msg-Id", id);
    let mut pause = FIRST_PAUSE;
    loop {
        let asked = Instant::now();
        let answer = core.link.ask(&core.put_subject, Some(&headers), &bytes, until).await;
        match heed(core, answer, bytes.len(), until).await? {
            Outcome::Taken { place } => return Ok(place),
            Outcome::Full if !until.waits => return Err(PutError::Full(())),
            // A question whose answer would come too late could put the value after all.
            Outcome::Full if until.left(Duration::MAX) <= (2 * asked.elapsed()).max(TOO_LATE) => {
                tokio::time::sleep(until.left(Duration::MAX)).await;
                return Err(PutError::Timeout(()));
            }
            Outcome::Later if until.is_over() => return Err(ServerError::Unanswered.into()),
            Outcome::Full | Outcome::Later => {}
        }
        tokio::time::sleep(until.left(pause)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

enum Outcome {
    Taken {
        place: u64,
    },
    Full,
    /// The server can't say now.
    Later,
}

async fn heed(core: &Core, answer: Result<Message, Unheard>, len: usize, until: Until) -> Result<Outcome, PutError<()>> {
    match answer {
        Ok(answer) => {
            let receipt = serde_json::from_slice::<Receipt>(&answer.payload);
            // Somebody else answers on the subject.
            let receipt = receipt.map_err(|why| ServerError::Refused { why: format!("its answer to a put is none: {why}") })?;
            match ApiError::of_receipt(receipt.error) {
                None => Ok(Outcome::Taken { place: receipt.seq.unwrap_or_default() }),
                Some(error) if error.code == ApiError::FULL => Ok(Outcome::Full),
                Some(error) if error.is_passing() => Ok(Outcome::Later),
                Some(error) => Err(ServerError::from(error).into()),
            }
        }
        Err(Unheard::Nobody) => {
            core.look(until).await?;
            match *core.standing().borrow() {
                Standing::ShutDown => Err(PutError::ShutDown(())),
                Standing::Open | Standing::Gone => Ok(Outcome::Later),
            }
        }
        Err(Unheard::TooLong) => Err(PutError::TooLong { value: (), len, max: core.link.client().max_payload() }),
        Err(unheard) => Err(ServerError::from(unheard).into()),
    }
}
