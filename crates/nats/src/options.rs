//! What a queue is asked for before it is there.

use crate::address::{Address, Login, Secret, Tls};
use crate::error::{AddressError, ConnectError};
use crate::link::Link;
use crate::queue::RemoteQueue;
use crate::report::{ServerReport, report};
use crate::stream::Names;
use serde::{Deserialize, Serialize};
use std::marker::PhantomData;
use std::path::PathBuf;
use std::time::Duration;

/// The choices for a queue. What was not chosen is as the server has it, or the default if there is no queue yet.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Options {
    pub(crate) capacity: Option<u64>,
    pub(crate) max_deliveries: Option<u64>,
    pub(crate) lease: Option<Duration>,
    pub(crate) replicas: Option<u64>,
    pub(crate) in_memory: bool,
    pub(crate) prefetch: usize,
}

impl Options {
    pub(crate) fn check(&self) -> Result<(), ConnectError> {
        let lease = self.lease.unwrap_or(crate::stream::LEASE);
        match self {
            Self { capacity: Some(0), .. } => Err(ConnectError::Shape("a queue of capacity 0 takes no value: ask for 1 or more")),
            Self { capacity: Some(most), .. } if *most > i64::MAX as u64 => {
                Err(ConnectError::Shape("a capacity beyond 2^63 can't be told to the server"))
            }
            _ if lease < Duration::from_millis(500) || lease > Duration::from_secs(3600) => {
                Err(ConnectError::Shape("a lease lasts half a second to one hour"))
            }
            Self { prefetch, .. } if *prefetch > 10_000 => {
                Err(ConnectError::Shape("at most 10,000 values are fetched in advance"))
            }
            _ => Ok(()),
        }
    }
}

/// Begins a queue with more than the usual choices: see [`RemoteQueue::builder`].
///
/// ```no_run
/// use multiproc_nats::RemoteQueue;
/// use std::time::Duration;
///
/// let jobs = RemoteQueue::<String>::builder()
///     .bounded(100_000)
///     .max_deliveries(5)
///     .lease(Duration::from_secs(10))
///     .credentials_file("/etc/jobs.creds")
///     .connect("tls://one.example,two.example,three.example/jobs")?;
/// # Ok::<(), multiproc_nats::ConnectError>(())
/// ```
#[derive(Debug)]
#[must_use = "a builder makes nothing until connect"]
pub struct Builder<T> {
    options: Options,
    login: Login,
    tls: Tls,
    message: PhantomData<fn(T) -> T>,
}

impl<T> Builder<T> {
    pub(crate) fn new() -> Self {
        Self { options: Options::default(), login: Login::default(), tls: Tls::default(), message: PhantomData }
    }

    /// Lets this many values be in the queue at once, those in hand included. Puts wait while it is full. Default: no limit.
    pub fn bounded(mut self, capacity: u64) -> Self {
        self.options.capacity = Some(capacity);
        self
    }

    /// Sets the number of deliveries after which a value that was never done is put aside, to be read with
    /// [`try_get_dead`](RemoteQueue::try_get_dead). Default, or 0: no limit.
    pub fn max_deliveries(mut self, deliveries: u16) -> Self {
        self.options.max_deliveries = Some(deliveries.into());
        self
    }

    /// Sets how long the server waits for a word of a consumer before it gives its values to others. Default: 5 seconds.
    ///
    /// Each process sends such a word four times in a lease, for all that it has in hand. So work may take as long as it likes.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.options.lease = Some(lease);
        self
    }

    /// Keeps each value on this many servers of a cluster: 1, 3 or 5. Default: 1.
    pub fn replicas(mut self, replicas: u8) -> Self {
        self.options.replicas = Some(replicas.into());
        self
    }

    /// Keeps the values in the server's memory only, if this call makes the queue. They are lost when the server ends.
    pub fn in_memory(mut self) -> Self {
        self.options.in_memory = true;
        self
    }

    /// Fetches this many values before a get asks for them, at most 10,000. Default: none. It asks for more when half of them are taken.
    ///
    /// It makes gets about three times faster. Other consumers don't get the values that wait here, while this process lives. So it is
    /// for work of milliseconds, not of minutes.
    pub fn prefetch(mut self, values: usize) -> Self {
        self.options.prefetch = values;
        self
    }

    /// Logs in with a file of credentials, as `nsc` makes them: a JWT and its key.
    pub fn credentials_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.login = Login::CredentialsFile(path.into());
        self
    }

    /// Logs in with the token that is in a file.
    pub fn token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.login = Login::TokenFile(path.into());
        self
    }

    /// Logs in as a user, with the password that is in a file.
    pub fn password_file(mut self, user: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        self.login = Login::PasswordFile(user.into(), path.into());
        self
    }

    /// Logs in with the nkey whose seed is in a file.
    pub fn nkey_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.login = Login::NkeyFile(path.into());
        self
    }

    /// Logs in with a token. Such a queue can't travel to another process, since the token would have to.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.login = Login::Token(Secret(token.into()));
        self
    }

    /// Logs in as a user, with a password. Such a queue can't travel to another process, since the password would have to.
    pub fn user(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.login = Login::Password(user.into(), Secret(password.into()));
        self
    }

    /// Logs in with the seed of an nkey. Such a queue can't travel to another process, since the seed would have to.
    pub fn nkey(mut self, seed: impl Into<String>) -> Self {
        self.login = Login::Nkey(Secret(seed.into()));
        self
    }

    /// Refuses a server that does not encrypt. An address that begins with `tls://` does so, too.
    pub fn require_tls(mut self) -> Self {
        self.tls.required = true;
        self
    }

    /// Trusts the certificates in this file, beside the system's.
    pub fn root_certificates(mut self, path: impl Into<PathBuf>) -> Self {
        self.tls.roots = Some(path.into());
        self
    }

    /// Shows the server this certificate.
    pub fn client_certificate(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.tls.client = Some((certificate.into(), key.into()));
        self
    }

    /// Opens the queue at this address, or makes it.
    ///
    /// # Errors
    ///
    /// No server answers, it refuses the login or the queue, or the queue is there with another option than the one asked for.
    pub fn connect(self, address: &str) -> Result<RemoteQueue<T>, ConnectError> {
        crate::runtime::wait(self.open(address))
    }

    /// Opens the queue as [`connect`](Self::connect) does, in a future.
    ///
    /// # Errors
    ///
    /// As `connect`.
    pub async fn connect_async(self, address: &str) -> Result<RemoteQueue<T>, ConnectError> {
        crate::runtime::anywhere(self.open(address)).await
    }

    /// Looks what the server at this address is like, and how it keeps the queue if that is there. Nothing is made.
    ///
    /// # Errors
    ///
    /// No server answers, or it refuses the login.
    pub fn look(mut self, address: &str) -> Result<ServerReport, ConnectError> {
        let parsed = self.parse(address)?;
        crate::runtime::wait(async move {
            let link = Link::connect(&parsed, &self.login, &self.tls).await?;
            report(&link, &Names::new(parsed.queue())).await
        })
    }

    fn parse(&mut self, address: &str) -> Result<Address, ConnectError> {
        self.tls.required |= address.starts_with("tls://");
        address.parse().map_err(|error: AddressError| ConnectError::Address(error))
    }

    async fn open(mut self, address: &str) -> Result<RemoteQueue<T>, ConnectError> {
        let parsed = self.parse(address)?;
        let queue = RemoteQueue::unconnected(parsed, self.login, self.tls, self.options);
        queue.open().await?;
        Ok(queue)
    }
}
