//! One connection to the servers, with questions that are asked again until they are answered.

use crate::address::{Address, Login, Tls};
use crate::error::{ConnectError, ServerError};
use crate::runtime::runtime;
use crate::until::Until;
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, HeaderMap, Message, Request, RequestErrorKind};
use bytes::Bytes;
use multiproc_prim::{Counter, stamp};
use serde_json::Value;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

/// A question is asked again after this time without an answer. A connection that comes back is noticed at once.
const ASK_AGAIN: Duration = Duration::from_secs(3);
/// JetStream answers nothing for a moment after a server begins and while a cluster elects.
pub(crate) const SETTLING: Duration = Duration::from_millis(100);

/// The connection. It connects again by itself, for ever.
#[derive(Debug)]
pub(crate) struct Link {
    client: Client,
    /// Of the process that has its threads.
    stamp: u64,
    /// No other connection has it.
    id: String,
    /// Counts the connections so far.
    connections: watch::Receiver<u64>,
}

/// Why a question has no answer.
#[derive(Debug)]
pub(crate) enum Unheard {
    /// Nobody listens to the subject.
    Nobody,
    /// No answer until the deadline.
    Late,
    /// The message is too long for the server.
    TooLong,
    /// The connection is another process's.
    Forked,
    /// The client's own words.
    Failed(String),
}

impl From<Unheard> for ServerError {
    fn from(unheard: Unheard) -> Self {
        match unheard {
            Unheard::Nobody => Self::NoJetStream,
            Unheard::Late => Self::Unanswered,
            Unheard::Forked => Self::Forked,
            Unheard::TooLong => Self::Refused { why: "the message is too long".into() },
            Unheard::Failed(why) => Self::Refused { why },
        }
    }
}

impl Link {
    pub(crate) async fn connect(address: &Address, login: &Login, tls: &Tls) -> Result<Self, ConnectError> {
        runtime()?;
        let (sender, connections) = watch::channel(0);
        let id = unique();
        let options = ConnectOptions::new()
            .name(format!("multiproc {}", address.queue()))
            // The client's own names come again in forked copies of a process.
            .custom_inbox_prefix(format!("_INBOX.{id}"))
            .connection_timeout(Duration::from_secs(5))
            // Two pings without an answer end a connection that is cut silently.
            .ping_interval(Duration::from_secs(2))
            .reconnect_delay_callback(|attempts| Duration::from_millis((20 << attempts.min(6)).min(1000)))
            .event_callback(move |event| {
                if matches!(event, Event::Connected) {
                    sender.send_modify(|connections| *connections += 1);
                }
                std::future::ready(())
            });
        let options = tls.add_to(login.add_to(options).await?);
        let servers = || address.servers().join(", ");
        let client = options.connect(address.servers()).await.map_err(|error| match error.kind() {
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                ConnectError::LoginRefused { servers: servers() }
            }
            kind => ConnectError::Unreachable { servers: servers(), why: source_of(&error).unwrap_or_else(|| kind.to_string()) },
        })?;
        Ok(Self { client, stamp: stamp(), id, connections })
    }

    /// Whether this process is a forked copy of the one that connected.
    pub(crate) fn is_inherited(&self) -> bool {
        self.stamp != stamp()
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    #[cfg(feature = "pool")]
    pub(crate) fn is_connected(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
    }

    /// Which connection this is: 1 for the first one.
    pub(crate) fn connection(&self) -> u64 {
        *self.connections.borrow()
    }

    /// Resolves each time when the connection was made again.
    pub(crate) fn connections(&self) -> watch::Receiver<u64> {
        let mut connections = self.connections.clone();
        connections.mark_unchanged();
        connections
    }

    /// Asks once, and again whenever the answer can have been lost. The server does the same thing once: a put has an id, and the others
    /// can be repeated.
    pub(crate) async fn ask(
        &self,
        subject: &str,
        headers: Option<&HeaderMap>,
        payload: &Bytes,
        until: Until,
    ) -> Result<Message, Unheard> {
        if self.is_inherited() {
            return Err(Unheard::Forked);
        }
        let mut connections = self.connections();
        loop {
            let limit = until.left(ASK_AGAIN);
            // The client's own limit would be a second one: it does not count while the client's buffer is full.
            let mut request = Request::new().payload(payload.clone()).timeout(None);
            if let Some(headers) = headers {
                request = request.headers(headers.clone());
            }
            let answer = tokio::select! {
                biased;
                answer = self.client.send_request(subject.to_string(), request) => answer,
                Ok(()) = connections.changed() => continue,
                () = tokio::time::sleep(limit) => if until.is_over() { return Err(Unheard::Late) } else { continue },
            };
            match answer {
                Ok(message) => return Ok(message),
                Err(error) => match error.kind() {
                    RequestErrorKind::NoResponders => return Err(Unheard::Nobody),
                    RequestErrorKind::MaxPayloadExceeded => return Err(Unheard::TooLong),
                    // A connection that breaks drops its questions.
                    _ if !until.is_over() => tokio::time::sleep(until.left(SETTLING)).await,
                    _ => return Err(Unheard::Failed(error.to_string())),
                },
            }
        }
    }

    /// Asks JetStream for something, and waits while it settles. The inner error is JetStream's.
    pub(crate) async fn api(&self, what: &str, body: &Value, until: Until) -> Result<Result<Value, ApiError>, ServerError> {
        let subject = format!("$JS.API.{what}");
        let body = Bytes::from(body.to_string());
        let mut silent = 0;
        loop {
            let answer = match self.ask(&subject, None, &body, until).await {
                Ok(message) => serde_json::from_slice::<Value>(&message.payload).unwrap_or_default(),
                // A server without JetStream stays silent; one that begins does so for a moment.
                Err(Unheard::Nobody) if silent < 50 && !until.is_over() => {
                    silent += 1;
                    tokio::time::sleep(until.left(SETTLING)).await;
                    continue;
                }
                Err(unheard) => return Err(unheard.into()),
            };
            match ApiError::of(&answer) {
                Some(error) if error.is_passing() && !until.is_over() => tokio::time::sleep(until.left(SETTLING)).await,
                Some(error) => return Ok(Err(error)),
                None => return Ok(Ok(answer)),
            }
        }
    }
}

/// What JetStream says when it refuses.
#[derive(Debug)]
pub(crate) struct ApiError {
    pub(crate) code: u64,
    pub(crate) text: String,
}

impl ApiError {
    /// Fewer servers of the cluster are there than the stream has replicas.
    pub(crate) const NO_PEERS: u64 = 10005;
    pub(crate) const NO_CONSUMER: u64 = 10014;
    pub(crate) const NO_MESSAGE: u64 = 10037;
    pub(crate) const NO_STREAM: u64 = 10059;
    /// The stream is being made just now, or being deleted. A server of 2.9 says so in words only.
    const NO_STREAM_YET: u64 = 10096;
    const NO_STREAM_YET_TEXT: &str = "invalid stream";
    /// The message to delete is not there.
    pub(crate) const NOT_DELETED: [u64; 2] = [10043, 10057];
    pub(crate) const FULL: u64 = 10077;
    pub(crate) const NOT_ENABLED: [u64; 2] = [10039, 10076];
    /// Not available, no leader, the servers of the stream or of the consumer are away, the same put is on its way, too many requests.
    const PASSING: [u64; 6] = [10008, 10009, 10118, 10119, 10158, 10167];

    pub(crate) fn of(answer: &Value) -> Option<Self> {
        Self::of_receipt(answer.get("error").cloned())
    }

    /// The error in the answer to a put.
    pub(crate) fn of_receipt(error: Option<Value>) -> Option<Self> {
        let error = error?;
        let code = error.get("err_code").or_else(|| error.get("code")).and_then(Value::as_u64).unwrap_or(0);
        Some(Self { code, text: error.get("description").and_then(Value::as_str).unwrap_or("no reason given").into() })
    }

    pub(crate) fn is_of_no_stream_yet(&self) -> bool {
        self.code == Self::NO_STREAM_YET || self.text == Self::NO_STREAM_YET_TEXT
    }

    pub(crate) fn is_passing(&self) -> bool {
        Self::PASSING.contains(&self.code)
    }
}

impl From<ApiError> for ServerError {
    fn from(error: ApiError) -> Self {
        if ApiError::NOT_ENABLED.contains(&error.code) { Self::NoJetStream } else { Self::Refused { why: error.text } }
    }
}

/// The innermost cause, which says most.
fn source_of(error: &dyn std::error::Error) -> Option<String> {
    let mut cause = error.source()?;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    Some(cause.to_string())
}

/// A name that no other connection has: random, for other machines; with the process and the time, since a forked copy has the same random
/// numbers; and with a count.
fn unique() -> String {
    static CONNECTIONS: Counter = Counter::new();
    let random = RandomState::new().hash_one(SystemTime::now());
    format!("{random:016x}-{:x}-{:x}", std::process::id(), CONNECTIONS.count())
}
