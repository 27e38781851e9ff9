//! One error per operation. The errors of a put, and of a `done`, give the value back.
//!
//! None of them holds a secret, and none quotes a file of credentials.

use multiproc_prim::{error_debug, error_equal};
use multiproc_queue::{DecodeError, EncodeError};
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;

error_debug! {
    AddressError { Scheme, NoQueue, Secret, Name, Server }
    ConnectError { Address, File, Credentials, LoginRefused, Unreachable, NoJetStream, NoQueue, OtherVersion, Differs, Refused, Server, Shape }
    ServerError { Unanswered, Gone, NoJetStream, Refused, Forked, Connect }
    PutError<T> { Full, Timeout, ShutDown, TooLong, Encode, Server }
    GetError { Empty, Timeout, ShutDown, Decode, Server }
    DoneError<T> { LeaseLost, Server }
    TaskDoneError { NothingInHand, LeaseLost, Server }
    JoinError { Timeout, Server }
}

error_equal! { ConnectError ServerError GetError TaskDoneError JoinError }

/// Why a text is no address.
#[derive(Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressError {
    /// It does not begin with a scheme that is known.
    #[error("the address of a queue begins with nats:// or tls://, as nats://host:4222/jobs")]
    Scheme,
    /// It names no queue.
    #[error("the address names no queue: write its name after the server, as nats://host:4222/jobs")]
    NoQueue,
    /// It has a user, a password or a token in it. This error doesn't repeat it.
    #[error(
        "an address holds no password and no token, since it is shown in logs: log in with password_file, token_file or credentials_file"
    )]
    Secret,
    /// The queue can't have this name.
    #[error("{0:?} is no name of a queue: it takes 1 to 200 letters, digits, - and _")]
    Name(String),
    /// A server has no name, or a bad port.
    #[error("{0:?} is no server: write host:port")]
    Server(String),
}

/// Why there is no queue.
#[derive(Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address is none.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A file with a secret can't be read.
    #[error("can't read {path:?}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        why: std::io::Error,
    },
    /// A file of credentials has none.
    #[error("{path:?} holds no NATS credentials")]
    Credentials {
        /// The file.
        path: PathBuf,
    },
    /// The server knows neither the user nor the key.
    #[error("{servers} refused the login: check the user, the password, the token or the credentials")]
    LoginRefused {
        /// The servers.
        servers: String,
    },
    /// No server could be reached.
    #[error("no NATS server answers at {servers} ({why}): is it running, and is the port right?")]
    Unreachable {
        /// The servers.
        servers: String,
        /// What the client says.
        why: String,
    },
    /// The server does not store messages.
    #[error("the server at {servers} runs without JetStream: start it with nats-server -js")]
    NoJetStream {
        /// The servers.
        servers: String,
    },
    /// A stream of this name is there, and is something else.
    #[error("stream {stream:?} is on the server, and is no queue of multiproc: take another name")]
    NoQueue {
        /// The stream.
        stream: String,
    },
    /// A version of this library made the queue that keeps it in another way.
    #[error(
        "queue {queue:?} is of another version of multiproc: its layout is {found}, and this version knows {known}. \
         Drain it with that version, or take another name"
    )]
    OtherVersion {
        /// The queue.
        queue: String,
        /// The layout that the server has.
        found: String,
        /// The layout of this version.
        known: u64,
    },
    /// The queue is there with another option than the one asked for.
    #[error("queue {queue:?} has {what} {found}, not {expected}: ask for the same, or leave the option out, which takes any")]
    Differs {
        /// The queue.
        queue: String,
        /// The option.
        what: String,
        /// What the server has.
        found: String,
        /// What was asked for.
        expected: String,
    },
    /// A number that was asked for makes no queue.
    #[error("{0}")]
    Shape(&'static str),
    /// The server refused to make the queue.
    #[error("the server refuses queue {queue:?}: {why}")]
    Refused {
        /// The queue.
        queue: String,
        /// In the server's words.
        why: String,
    },
    /// The server was there, and then gave no answer.
    #[error(transparent)]
    Server(Box<ServerError>),
}

/// Why the server did not do what it was asked. Every operation can fail with it.
#[derive(Error)]
#[non_exhaustive]
pub enum ServerError {
    /// It gave no answer until the deadline. What was asked may or may not have been done.
    #[error("the server gave no answer in time: what was asked may or may not have been done")]
    Unanswered,
    /// The stream of the queue was deleted, with all that was in it.
    #[error("queue {queue:?} was deleted on the server, with all that was in it: connect again to make a new one")]
    Gone {
        /// The queue.
        queue: String,
    },
    /// The server stores no messages.
    #[error("the server runs without JetStream: start it with nats-server -js")]
    NoJetStream,
    /// The server refused.
    #[error("the server refuses: {why}")]
    Refused {
        /// In the server's words.
        why: String,
    },
    /// This process is a forked copy, in which the connection's threads don't run.
    #[error("this process is a forked copy, in which the connection doesn't work: connect after the fork")]
    Forked,
    /// A queue that came from another process could not connect.
    #[error("{0:#}")]
    Connect(Box<ConnectError>),
}

/// Why a value was not put. Every variant has the value: [`into_inner`](Self::into_inner).
#[derive(Error)]
#[non_exhaustive]
pub enum PutError<T> {
    /// The queue is full: as many values wait or are in hand as it takes.
    #[error("the queue is full: get and finish something first, or wait with put or put_timeout")]
    Full(T),
    /// The queue was full until the deadline.
    #[error("the queue stayed full until the deadline")]
    Timeout(T),
    /// The queue was shut down for everyone.
    #[error("the queue was shut down, for good: delete it on the server, and connect again to make a new one")]
    ShutDown(T),
    /// The value is longer than the server takes.
    #[error(
        "the value takes {len} bytes, more than the server's limit of {max}: raise max_payload there, or put the place where it lies"
    )]
    TooLong {
        /// The value.
        value: T,
        /// Bytes it takes.
        len: usize,
        /// Bytes that the server takes.
        max: usize,
    },
    /// The value refuses to be encoded. A queue, an end of a pipe or a descriptor does: it can't leave its machine.
    #[error("{why}")]
    Encode {
        /// The value.
        value: T,
        /// Why.
        why: EncodeError,
    },
    /// The server did not take it. After [`ServerError::Unanswered`] it may be in the queue.
    #[error("{why:#}")]
    Server {
        /// The value.
        value: T,
        /// Why.
        why: ServerError,
    },
}

impl<T> PutError<T> {
    /// Returns the value that was not put.
    pub fn into_inner(self) -> T {
        self.split().0
    }

    /// Returns the value, and the error without it.
    pub fn split(self) -> (T, PutError<()>) {
        match self {
            Self::Full(value) => (value, PutError::Full(())),
            Self::Timeout(value) => (value, PutError::Timeout(())),
            Self::ShutDown(value) => (value, PutError::ShutDown(())),
            Self::TooLong { value, len, max } => (value, PutError::TooLong { value: (), len, max }),
            Self::Encode { value, why } => (value, PutError::Encode { value: (), why }),
            Self::Server { value, why } => (value, PutError::Server { value: (), why }),
        }
    }
}

impl PutError<()> {
    pub(crate) fn with<T>(self, value: T) -> PutError<T> {
        match self {
            Self::Full(()) => PutError::Full(value),
            Self::Timeout(()) => PutError::Timeout(value),
            Self::ShutDown(()) => PutError::ShutDown(value),
            Self::TooLong { len, max, .. } => PutError::TooLong { value, len, max },
            Self::Encode { why, .. } => PutError::Encode { value, why },
            Self::Server { why, .. } => PutError::Server { value, why },
        }
    }
}

impl From<ServerError> for PutError<()> {
    fn from(why: ServerError) -> Self {
        Self::Server { value: (), why }
    }
}

/// Why `put_many` stopped. `I` is the iterator that gave the values.
#[derive(Error)]
#[error("{put} values were put, {} were not: {}", failed.len(), failed.first().map(ToString::to_string).unwrap_or_default())]
pub struct PutManyError<I: Iterator> {
    /// How many were put.
    pub put: usize,
    /// Those that were not, in order. More than one can be on its way at once, so values after them may have been put.
    pub failed: Vec<PutError<I::Item>>,
    /// The iterator, which gives the values after them.
    pub rest: I,
}

impl<I: Iterator> std::fmt::Debug for PutManyError<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PutManyError: {} values were put, these were not: {:?}", self.put, self.failed)
    }
}

/// Why nothing was got.
#[derive(Error)]
#[non_exhaustive]
pub enum GetError {
    /// No value waits.
    #[error("the queue is empty")]
    Empty,
    /// The queue was empty until the deadline.
    #[error("the queue stayed empty until the deadline")]
    Timeout,
    /// The queue was shut down and everything in it is done.
    #[error("the queue was shut down, and everything in it is done")]
    ShutDown,
    /// A message makes no value of the type asked for. It is among the dead letters.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The server gave nothing.
    #[error("{0:#}")]
    Server(ServerError),
}

impl From<ServerError> for GetError {
    fn from(why: ServerError) -> Self {
        Self::Server(why)
    }
}

/// Why a value is not done. Both variants have the value: [`into_inner`](Self::into_inner).
#[derive(Error)]
#[non_exhaustive]
pub enum DoneError<T> {
    /// The server heard nothing of this process for longer than the lease, and gave the value to another consumer. The work is done twice.
    #[error("the lease of {lease:?} was lost before the value was done, and another consumer got it: it is done there, too")]
    LeaseLost {
        /// The value.
        value: T,
        /// How long the server waits for a word of a consumer.
        lease: Duration,
    },
    /// The server could not be told. The value comes back when the lease ends.
    #[error("{why:#}")]
    Server {
        /// The value.
        value: T,
        /// Why.
        why: ServerError,
    },
}

impl<T> DoneError<T> {
    /// Returns the value that is not done.
    pub fn into_inner(self) -> T {
        match self {
            Self::LeaseLost { value, .. } | Self::Server { value, .. } => value,
        }
    }
}

/// Why `task_done` was refused.
#[derive(Error)]
#[non_exhaustive]
pub enum TaskDoneError {
    /// The calling thread has no value in hand.
    #[error("this thread has nothing in hand: task_done is called once for each value that a get of this thread returned")]
    NothingInHand,
    /// As [`DoneError::LeaseLost`].
    #[error("the lease of {0:?} was lost before the value was done, and another consumer got it: it is done there, too")]
    LeaseLost(Duration),
    /// As [`DoneError::Server`].
    #[error("{0:#}")]
    Server(ServerError),
}

impl From<DoneError<()>> for TaskDoneError {
    fn from(error: DoneError<()>) -> Self {
        match error {
            DoneError::LeaseLost { lease, .. } => Self::LeaseLost(lease),
            DoneError::Server { why, .. } => Self::Server(why),
        }
    }
}

/// Why `join` ended early.
#[derive(Error)]
#[non_exhaustive]
pub enum JoinError {
    /// Not everything was done until the deadline.
    #[error("{unfinished} values were not done until the deadline")]
    Timeout {
        /// How many.
        unfinished: usize,
    },
    /// The server could not be asked.
    #[error("{0:#}")]
    Server(ServerError),
}

impl From<ServerError> for JoinError {
    fn from(why: ServerError) -> Self {
        Self::Server(why)
    }
}

impl From<ServerError> for ConnectError {
    fn from(why: ServerError) -> Self {
        match why {
            ServerError::Connect(why) => *why,
            why => Self::Server(Box::new(why)),
        }
    }
}

impl From<ConnectError> for ServerError {
    fn from(why: ConnectError) -> Self {
        match why {
            ConnectError::Server(why) => *why,
            why => Self::Connect(Box::new(why)),
        }
    }
}
