//! One value in hand, as the server knows it: what can become of it.

use crate::core::{Core, Lane};
use crate::error::ServerError;
use crate::link::Unheard;
use crate::runtime::spawn;
use crate::stream;
use crate::until::Until;
use async_nats::{HeaderMap, Message};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

const DONE: Bytes = Bytes::from_static(b"+ACK");
/// A word that was not answered for so long, over a connection that works, was not heeded.
const UNHEEDED: Duration = Duration::from_secs(1);
const NO_MORE: Bytes = Bytes::from_static(b"+TERM");

/// A loan of one value. One that is dropped gives the value back.
#[derive(Debug)]
pub(crate) struct Hold {
    pub(crate) core: Arc<Core>,
    /// Its number in the table of loans.
    loan: u64,
    lane: Lane,
    ack: String,
    /// The place of the value in its stream: the same at each delivery.
    pub(crate) sequence: u64,
    /// This delivery's number: 1 at first.
    pub(crate) count: u64,
    /// The message of a value that may not be delivered again.
    at_limit: Option<Bytes>,
    /// Over which connection it came.
    connection: u64,
    ended: bool,
}

/// Why a loan could not be ended as it should.
#[derive(Debug)]
pub(crate) enum NotEnded {
    /// Another consumer has the value.
    Lost,
    Server(ServerError),
}

impl Hold {
    /// `None` for a message that does not come from a consumer.
    pub(crate) fn of(core: &Arc<Core>, lane: Lane, message: &Message) -> Option<Self> {
        let ack = message.reply.as_ref()?.to_string();
        let (sequence, count) = place_of(&ack)?;
        let loan = core.leases.add(lane, ack.clone(), sequence, count);
        let limit = core.shape.max_deliveries;
        let at_limit = (lane == Lane::Values && limit > 0 && count >= limit).then(|| message.payload.clone());
        Some(Self {
            core: Arc::clone(core),
            loan,
            lane,
            ack,
            sequence,
            count,
            at_limit,
            connection: core.link.connection(),
            ended: false,
        })
    }

    /// Notes that the calling thread works on it.
    pub(crate) fn give_to(&self, thread: Option<std::thread::ThreadId>) {
        self.core.leases.give_to(self.loan, thread);
    }

    /// Tells earlier consumers of the value that it is this one's now. `false`: one of them has done it after all.
    pub(crate) async fn claim(&mut self, until: Until) -> Result<bool, ServerError> {
        let core = &self.core;
        let subject = core.claim_subject(self.sequence);
        let claim = Bytes::from(self.count.to_string());
        // Where it is refused, the stream of the claims is gone or full. Values that lapse are then done without a look.
        let _ = stream::store(&core.link, &core.names.claims, (&subject, None, &claim), until).await?;
        let there = stream::read(&core.link, &core.names.queue, json!({ "seq": self.sequence }), until).await?.is_some();
        if !there {
            self.end();
        }
        Ok(there)
    }

    pub(crate) async fn done(&mut self, until: Until) -> Result<(), NotEnded> {
        self.acknowledge(DONE, until).await
    }

    /// Gives the value back, after a while. Puts it aside if it was delivered often enough.
    pub(crate) async fn give_back(&mut self, delay: Duration, until: Until) -> Result<(), NotEnded> {
        if let Some(payload) = self.at_limit.clone() {
            return self.put_aside(payload, false, until).await;
        }
        let body = if delay.is_zero() { "-NAK".into() } else { format!("-NAK {}", json!({ "delay": delay.as_nanos() as u64 })) };
        self.acknowledge(Bytes::from(body), until).await
    }

    /// Copies the value to the dead letters, and takes it out. A copy that was made before is not made again within the window.
    pub(crate) async fn put_aside(&mut self, payload: Bytes, unreadable: bool, until: Until) -> Result<(), NotEnded> {
        let core = &self.core;
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", format!("{}-{}", core.shape.born, self.sequence));
        // The delivery in which the limit is noticed is nobody's.
        let limit = if core.shape.max_deliveries == 0 { u64::MAX } else { core.shape.max_deliveries };
        headers.insert(COUNT, self.count.min(limit).to_string());
        headers.insert(ID, self.sequence.to_string());
        headers.insert(UNREADABLE, if unreadable { "1" } else { "0" });
        let letter = (&*core.names.subject("dead"), Some(&headers), &payload);
        let stored = stream::store(&core.link, &core.names.dead, letter, until).await.map_err(NotEnded::Server)?;
        stored.map_err(|error| NotEnded::Server(error.into()))?;
        self.acknowledge(NO_MORE, until).await
    }

    async fn acknowledge(&mut self, what: Bytes, until: Until) -> Result<(), NotEnded> {
        self.core.here().map_err(NotEnded::Server)?;
        let mut lapsed = self.core.leases.is_lapsed(self.loan);
        loop {
            if lapsed {
                self.check_claim(until).await?;
            }
            match self.core.link.ask(&self.ack, None, &what, until.within(UNHEEDED)).await {
                Ok(_) => break,
                Err(unheard) if until.is_over() => return Err(NotEnded::Server(unheard.into())),
                // The consumer begins, or is no more.
                Err(Unheard::Nobody) => {
                    self.core.look(until).await.map_err(NotEnded::Server)?;
                    tokio::time::sleep(until.left(Duration::from_millis(100))).await;
                }
                // A server that was killed may have forgotten this delivery: then it answers no word about it, and delivers the value
                // anew. So the value itself is taken out.
                Err(Unheard::Late) if self.connection != self.core.link.connection() => {
                    if what == DONE || what == NO_MORE {
                        let stream = &self.core.names.queue;
                        let stream = if self.lane == Lane::Values { stream } else { &self.core.names.dead };
                        stream::remove(&self.core.link, stream, self.sequence, until).await.map_err(NotEnded::Server)?;
                    }
                    break;
                }
                Err(Unheard::Late) => {}
                Err(unheard) => return Err(NotEnded::Server(unheard.into())),
            }
            lapsed |= self.core.leases.is_lapsed(self.loan);
        }
        if !lapsed && self.core.leases.is_lapsed(self.loan) {
            self.check_claim(until).await?;
        }
        self.end();
        Ok(())
    }

    async fn check_claim(&mut self, until: Until) -> Result<(), NotEnded> {
        match self.lane {
            Lane::Values if self.core.is_claimed(self.sequence, self.count, until).await.map_err(NotEnded::Server)? => {
                self.end();
                Err(NotEnded::Lost)
            }
            Lane::Values | Lane::Dead => Ok(()),
        }
    }

    /// Nothing is to be told to the server any more.
    fn end(&mut self) {
        self.ended = true;
        self.core.leases.remove(self.loan);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // In a forked copy the value is not its owner's.
        if std::mem::replace(&mut self.ended, true) || self.core.link.is_inherited() {
            return;
        }
        // The loan stays noted, so that it is not taken for lapsed.
        let mut hold = Self {
            core: Arc::clone(&self.core),
            ack: std::mem::take(&mut self.ack),
            at_limit: self.at_limit.take(),
            ended: false,
            ..*self
        };
        spawn(async move {
            // If the server does not hear of it, the lease ends by itself.
            let _ = hold.give_back(Duration::ZERO, Until::after(hold.core.shape.lease)).await;
            hold.end();
        });
    }
}

/// Headers of a dead letter.
pub(crate) const COUNT: &str = "Multiproc-Count";
pub(crate) const ID: &str = "Multiproc-Id";
pub(crate) const UNREADABLE: &str = "Multiproc-Unreadable";

impl Core {
    fn claim_subject(&self, sequence: u64) -> String {
        self.names.subject(&format!("claim.{}.{sequence}", self.shape.born))
    }

    /// Whether a later delivery of this value was begun.
    pub(crate) async fn is_claimed(&self, sequence: u64, count: u64, until: Until) -> Result<bool, ServerError> {
        let last = json!({ "last_by_subj": self.claim_subject(sequence) });
        let Some(claim) = stream::read(&self.link, &self.names.claims, last, until).await? else { return Ok(false) };
        let claim = BASE64.decode(claim["data"].as_str().unwrap_or_default()).unwrap_or_default();
        let claim: u64 = std::str::from_utf8(&claim).ok().and_then(|claim| claim.parse().ok()).unwrap_or(0);
        Ok(claim > count)
    }
}

/// The sequence and the count in the subject of an acknowledgement:
/// `$JS.ACK.<stream>.<consumer>.<count>.<sequence>.<of consumer>.<time>.<pending>`, or the same with a domain and an account before the
/// stream and possibly more behind.
fn place_of(ack: &str) -> Option<(u64, u64)> {
    let tokens: Vec<&str> = ack.split('.').collect();
    let count = match tokens.len() {
        9 => 4,
        11.. => 6,
        _ => return None,
    };
    Some((tokens[count + 1].parse().ok()?, tokens[count].parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::place_of;

    #[test]
    fn both_forms_of_an_acknowledgement_tell_the_place() {
        assert_eq!(place_of("$JS.ACK.jobs.workers.2.17.5.1795781634843525785.0"), Some((17, 2)));
        assert_eq!(place_of("$JS.ACK._.hash.jobs.workers.2.17.5.1795781634843525785.0.x"), Some((17, 2)));
        assert_eq!(place_of("_INBOX.a.b"), None);
    }
}
