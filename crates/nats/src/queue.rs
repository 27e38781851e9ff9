//! `RemoteQueue`: opening it, what is known of it, shutdown and join.

use crate::address::{Address, Login, Tls};
use crate::core::Core;
use crate::error::{ConnectError, JoinError, ServerError};
use crate::options::{Builder, Options};
use crate::prefetch::Prefetch;
use crate::runtime::{anywhere, runtime, wait};
use crate::stream;
use crate::tidy::tidy;
use crate::until::Until;
use futures_util::StreamExt;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::OnceCell;

/// A join asks at most this often.
const PAUSE: Duration = Duration::from_millis(1);
/// How often a join looks although it heard of nothing that was done.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

#[doc = include_str!("../docs/queue.md")]
pub struct RemoteQueue<T> {
    pub(crate) inner: Arc<Inner>,
    message: PhantomData<fn(T) -> T>,
}

/// What travels: where the queue is, how to log in there, what to ask for. And the connection, once there is one.
#[derive(Serialize, Deserialize)]
pub(crate) struct Inner {
    address: Address,
    login: Login,
    tls: Tls,
    options: Options,
    #[serde(skip)]
    opened: OnceCell<Opened>,
}

pub(crate) struct Opened {
    pub(crate) core: Arc<Core>,
    prefetch: OnceLock<Prefetch>,
    places: usize,
}

impl Opened {
    /// What is fetched in advance, from the first get on: a producer takes nothing.
    pub(crate) fn prefetch(&self) -> Option<&Prefetch> {
        (self.places > 0).then(|| self.prefetch.get_or_init(|| Prefetch::start(&self.core, self.places)))
    }
}

impl<T> RemoteQueue<T> {
    /// Opens the queue at an address as `nats://host:4222/jobs`, or makes it, without a limit of any kind.
    ///
    /// # Errors
    ///
    /// As [`Builder::connect`].
    pub fn connect(address: &str) -> Result<Self, ConnectError> {
        Self::builder().connect(address)
    }

    /// Opens the queue as [`connect`](Self::connect) does, in a future. It runs under any runtime, as all futures of this crate do.
    ///
    /// # Errors
    ///
    /// As `connect`.
    pub async fn connect_async(address: &str) -> Result<Self, ConnectError> {
        Self::builder().connect_async(address).await
    }

    /// Begins a queue with more than the usual choices: its capacity, its limits, a login.
    pub fn builder() -> Builder<T> {
        Builder::new()
    }

    pub(crate) fn unconnected(address: Address, login: Login, tls: Tls, options: Options) -> Self {
        let inner = Inner { address, login, tls, options, opened: OnceCell::new() };
        Self { inner: Arc::new(inner), message: PhantomData }
    }

    /// The connection. A queue that came from another process connects at its first use.
    pub(crate) async fn open(&self) -> Result<&Opened, ServerError> {
        runtime()?;
        let Inner { address, login, tls, options, opened } = &*self.inner;
        if opened.get().is_some_and(|opened| opened.core.link.is_inherited()) {
            return Err(ServerError::Forked);
        }
        let open = || async {
            let core = Core::open(address, login, tls, options).await?;
            Ok::<_, ConnectError>(Opened { core, prefetch: OnceLock::new(), places: options.prefetch })
        };
        Ok(opened.get_or_try_init(open).await?)
    }

    pub(crate) async fn core(&self) -> Result<&Arc<Core>, ServerError> {
        Ok(&self.open().await?.core)
    }

    /// Returns where the queue is.
    pub fn address(&self) -> &Address {
        &self.inner.address
    }

    /// Returns how many values are not done: those that wait and those in hand, everywhere.
    ///
    /// # Errors
    ///
    /// The server does not answer within 5 seconds, or the queue was deleted.
    pub fn unfinished(&self) -> Result<usize, ServerError> {
        wait(self.count_unfinished(Until::now()))
    }

    /// Returns how many values are not done, as [`unfinished`](Self::unfinished) does, in a future.
    ///
    /// # Errors
    ///
    /// As `unfinished`.
    pub async fn unfinished_async(&self) -> Result<usize, ServerError> {
        anywhere(self.count_unfinished(Until::now())).await
    }

    async fn count_unfinished(&self, until: Until) -> Result<usize, ServerError> {
        Ok(self.core().await?.look(until).await?.messages as usize)
    }

    /// Returns how many values wait that nobody has had in hand yet.
    ///
    /// A value that was given back waits, too, and is not counted here. [`unfinished`](Self::unfinished) counts it.
    ///
    /// # Errors
    ///
    /// As `unfinished`.
    pub fn len(&self) -> Result<usize, ServerError> {
        wait(async {
            let core = self.core().await?;
            Ok(stream::waiting(&core.link, &core.names, Until::now()).await? as usize)
        })
    }

    /// Returns whether [`len`](Self::len) is 0.
    ///
    /// # Errors
    ///
    /// As `len`.
    pub fn is_empty(&self) -> Result<bool, ServerError> {
        self.len().map(|len| len == 0)
    }

    /// Returns how many values can be in the queue at once, those in hand included; `None` for any number.
    ///
    /// # Errors
    ///
    /// A queue that came from another process can't connect.
    pub fn capacity(&self) -> Result<Option<usize>, ServerError> {
        wait(async { Ok(self.core().await?.shape.capacity.map(|most| most as usize)) })
    }

    /// Returns after how many deliveries a value that was never done is put aside; `None`: never.
    ///
    /// # Errors
    ///
    /// As [`capacity`](Self::capacity).
    pub fn max_deliveries(&self) -> Result<Option<u16>, ServerError> {
        let most = wait(async { Ok::<_, ServerError>(self.core().await?.shape.max_deliveries) })?;
        Ok((most > 0).then(|| most.try_into().unwrap_or(u16::MAX)))
    }

    /// Ends puts for everybody, also for programs with other clients. Gets drain what is left, then return
    /// [`ShutDown`](crate::GetError::ShutDown), blocked ones too, once every value is done.
    ///
    /// # Errors
    ///
    /// The server does not answer within 5 seconds, or the queue was deleted.
    pub fn shutdown(&self) -> Result<(), ServerError> {
        wait(async { self.core().await?.shut_down(Until::now()).await })
    }

    /// Ends puts as [`shutdown`](Self::shutdown) does, in a future.
    ///
    /// # Errors
    ///
    /// As `shutdown`.
    pub async fn shutdown_async(&self) -> Result<(), ServerError> {
        anywhere(async { self.core().await?.shut_down(Until::now()).await }).await
    }

    /// Returns whether somebody has [shut the queue down](Self::shutdown). Values may still be in it.
    ///
    /// # Errors
    ///
    /// As `shutdown`.
    pub fn is_shut_down(&self) -> Result<bool, ServerError> {
        wait(async { Ok(self.core().await?.look(Until::now()).await?.shut_down) })
    }

    /// Waits until every value that was put is done. It goes on waiting while the server is away.
    ///
    /// # Errors
    ///
    /// The queue was deleted.
    pub fn join(&self) -> Result<(), JoinError> {
        wait(self.join_by(Until::NEVER))
    }

    /// Waits until every value that was put is done, for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`JoinError::Timeout`], which says how many values were not done, or as [`join`](Self::join).
    pub fn join_timeout(&self, timeout: Duration) -> Result<(), JoinError> {
        wait(self.join_by(Until::after(timeout)))
    }

    /// Waits as [`join`](Self::join) does, in a future. It can be dropped at any time.
    ///
    /// # Errors
    ///
    /// As `join`.
    pub async fn join_async(&self) -> Result<(), JoinError> {
        anywhere(self.join_by(Until::NEVER)).await
    }

    async fn join_by(&self, until: Until) -> Result<(), JoinError> {
        let core = self.core().await?;
        // Each done goes by here. A login that may not listen looks now and then instead.
        let acks = format!("$JS.ACK.{}.workers.>", core.names.queue);
        let mut acks = core.link.client().subscribe(acks).await.ok();
        let mut unfinished = 0;
        loop {
            unfinished = match core.look(until).await {
                Ok(state) => state.messages as usize,
                Err(ServerError::Unanswered) if unfinished > 0 => unfinished,
                Err(error) => return Err(error.into()),
            };
            match unfinished {
                0 => return Ok(()),
                unfinished if until.is_over() => return Err(JoinError::Timeout { unfinished }),
                _ => {}
            }
            let heard = async {
                match &mut acks {
                    Some(acks) => acks.ready_chunks(1024).next().await,
                    None => std::future::pending().await,
                };
            };
            if tokio::time::timeout(until.left(LOOK_AGAIN), heard).await.is_err() && !until.is_over() {
                // What goes wrong here goes wrong again when it looks.
                let _ = tidy(core, until).await;
            }
            tokio::time::sleep(until.left(PAUSE)).await;
        }
    }
}

impl<T> Clone for RemoteQueue<T> {
    /// Makes another handle of the same connection.
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), message: PhantomData }
    }
}

impl<T> fmt::Debug for RemoteQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { address, login, options, .. } = &*self.inner;
        f.debug_struct("RemoteQueue")
            .field("address", &format_args!("{address}"))
            .field("login", login)
            .field("options", options)
            .finish()
    }
}

impl<T> Serialize for RemoteQueue<T> {
    /// Writes the address, the options, and the path of the file to log in with. A secret that is held in memory doesn't travel: that is an
    /// error.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.inner.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for RemoteQueue<T> {
    /// Makes a queue that connects at its first use.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { inner: Arc::new(Inner::deserialize(deserializer)?), message: PhantomData })
    }
}
