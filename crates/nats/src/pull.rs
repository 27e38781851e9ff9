//! Asking a consumer for messages.

use crate::core::{Core, Lane, Standing};
use crate::error::ServerError;
use crate::hold::Hold;
use crate::runtime::spawn;
use crate::until::Until;
use async_nats::{Client, Message, StatusCode, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long the server keeps one request. It is asked anew then, and a lost request costs no more than that.
const REQUEST_LASTS: Duration = Duration::from_secs(5);
/// After a shutdown nobody says when the last value is done.
const REQUEST_LASTS_AT_END: Duration = Duration::from_millis(200);
/// An answer that is later than this after the end of its request was lost.
const GRACE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(50);
/// So long before a deadline nothing is asked for any more.
const MARGIN: Duration = Duration::from_millis(50);

/// Where the messages of one request come to.
#[derive(Debug)]
pub(crate) struct Inbox {
    subject: String,
    subscriber: Option<Subscriber>,
    client: Client,
    /// How many messages may still come.
    open: usize,
}

/// What came in answer to a request.
pub(crate) enum Answer {
    Message(Message),
    /// The request ended: there is nothing now, or was nothing in its time.
    Nothing,
    /// The request can't be answered: something is wrong with the consumer.
    Refused,
    /// The connection was made anew, or the answer is late: the request is lost.
    Lost,
}

impl Inbox {
    pub(crate) async fn new(client: &Client) -> Result<Self, ServerError> {
        let subject = client.new_inbox();
        let subscriber = client.subscribe(subject.clone()).await;
        let subscriber = subscriber.map_err(|why| ServerError::Refused { why: why.to_string() })?;
        Ok(Self { subject, subscriber: Some(subscriber), client: client.clone(), open: 0 })
    }

    /// Asks for up to `batch` messages; `lasts`: `None` for what is there now.
    async fn ask(&mut self, subject: &str, batch: usize, lasts: Option<Duration>) -> Result<(), ServerError> {
        let request = match lasts {
            Some(lasts) => json!({ "batch": batch, "expires": lasts.as_nanos() as u64 }),
            None => json!({ "batch": batch, "no_wait": true }),
        };
        self.open = batch;
        let sent =
            self.client.publish_with_reply(subject.to_string(), self.subject.clone(), Bytes::from(request.to_string())).await;
        sent.map_err(|why| ServerError::Refused { why: why.to_string() })
    }

    async fn next(&mut self, connections: &mut watch::Receiver<u64>, limit: Duration) -> Answer {
        let Some(subscriber) = &mut self.subscriber else { return Answer::Lost };
        loop {
            let message = tokio::select! {
                biased;
                message = subscriber.next() => message,
                _ = connections.changed() => return Answer::Lost,
                () = tokio::time::sleep(limit) => return Answer::Lost,
            };
            let Some(message) = message else { return Answer::Lost };
            match message.status {
                None => {
                    self.open -= 1;
                    return Answer::Message(message);
                }
                Some(status) if status.as_u16() == 100 => {}
                Some(StatusCode::NOT_FOUND | StatusCode::TIMEOUT) => {
                    self.open = 0;
                    return Answer::Nothing;
                }
                Some(_) => {
                    self.open = 0;
                    return Answer::Refused;
                }
            }
        }
    }
}

impl Drop for Inbox {
    /// A message that is on its way to a get that has gone is given back at once, not when its lease ends.
    fn drop(&mut self) {
        let Some(mut subscriber) = self.subscriber.take().filter(|_| self.open > 0) else { return };
        let client = self.client.clone();
        spawn(async move {
            if subscriber.drain().await.is_err() {
                return;
            }
            while let Ok(Some(message)) = tokio::time::timeout(GRACE, subscriber.next()).await {
                if let (None, Some(reply)) = (message.status, message.reply) {
                    let _ = client.publish(reply, Bytes::from_static(b"-NAK")).await;
                }
            }
        });
    }
}

/// How long the server keeps a request of this queue. A request that brings nothing is looked into, and a server is held up lease by lease.
fn request_lasts(core: &Core) -> Duration {
    core.shape.lease.min(REQUEST_LASTS)
}

/// Waits for one message. `None`: there was none until the deadline, or none is there now.
///
/// After a shutdown it ends with an error of [`end`].
pub(crate) async fn one(core: &Arc<Core>, lane: Lane, until: Until) -> Result<Option<Message>, ServerError> {
    loop {
        core.here()?;
        let at_end = *core.standing().borrow() == Standing::ShutDown;
        let lasts = until.left(if at_end { REQUEST_LASTS_AT_END } else { request_lasts(core) });
        let mut connections = core.link.connections();
        let mut inbox = core.inbox().await?;
        // The server ends the request before the caller goes. A message that it sent at that moment would come to nobody, and its next
        // delivery might not count it.
        let asked = lasts.saturating_sub((lasts / 4).min(MARGIN));
        inbox.ask(core.next_pull(lane), 1, until.waits.then_some(asked)).await?;
        let limit = if until.waits { until.left(lasts + GRACE) } else { until.left(REQUEST_LASTS) };
        let answer = tokio::select! {
            biased;
            answer = inbox.next(&mut connections, limit) => answer,
            () = ended(core), if !at_end => Answer::Lost,
        };
        if inbox.open == 0 {
            core.keep_inbox(inbox);
        } else {
            drop(inbox);
        }
        if !matches!(answer, Answer::Message(_)) {
            core.look_into(lane);
        }
        match answer {
            Answer::Message(message) => return Ok(Some(message)),
            Answer::Nothing if !until.waits => return Ok(None),
            Answer::Refused => {
                core.look(until).await?;
                tokio::time::sleep(until.left(PAUSE)).await;
            }
            Answer::Lost if !until.waits && until.is_over() => return Err(ServerError::Unanswered),
            Answer::Nothing if until.left(MARGIN) < MARGIN => {
                tokio::time::sleep(until.left(MARGIN)).await;
                return Ok(None);
            }
            Answer::Nothing | Answer::Lost => {}
        }
        if until.is_over() || at_end {
            return Ok(None);
        }
    }
}

/// Resolves once the queue is shut down or deleted.
async fn ended(core: &Core) {
    let _ = core.standing().wait_for(|standing| *standing != Standing::Open).await;
}

/// Fetches messages in advance, at most as many as there are free places.
pub(crate) async fn batch(core: &Arc<Core>, most: usize, mut keep: impl FnMut(Hold, Message)) -> Result<(), ServerError> {
    let mut connections = core.link.connections();
    let mut inbox = core.inbox().await?;
    let lasts = request_lasts(core);
    inbox.ask(core.next_pull(Lane::Values), most, Some(lasts)).await?;
    while inbox.open > 0 {
        let answer = inbox.next(&mut connections, lasts + GRACE).await;
        if !matches!(answer, Answer::Message(_)) {
            core.look_into(Lane::Values);
        }
        match answer {
            Answer::Message(message) => {
                if let Some(hold) = Hold::of(core, Lane::Values, &message) {
                    keep(hold, message);
                }
            }
            Answer::Nothing => break,
            Answer::Lost => return Ok(()),
            Answer::Refused => {
                core.look(Until::after(REQUEST_LASTS)).await?;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    core.keep_inbox(inbox);
    Ok(())
}
