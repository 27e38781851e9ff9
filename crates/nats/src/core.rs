//! What the handles of a queue and its deliveries share: the connection, the leases, and how things stand with the stream.

use crate::address::{Address, Login, Tls};
use crate::error::{ConnectError, ServerError};
use crate::lease::{self, Leases};
use crate::link::{Link, SETTLING};
use crate::options::Options;
use crate::pull::Inbox;
use crate::runtime::spawn;
use crate::stream::{self, Names, Shape, State};
use crate::tidy;
use crate::until::Until;
use bytes::Bytes;
use futures_util::StreamExt;
use multiproc_prim::Counter;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How often a client looks whether the queue was shut down, in case that it missed the notice.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// With a long lease a client looks this often whether the server is held up.
const MOST_HELD_UP: Duration = Duration::from_secs(5);
/// How long a consumer counts as freed. In a cluster another server than the one of this connection may be killed meanwhile.
const FREE_FOR: Duration = Duration::from_secs(60);
/// How often a client asks again before it takes its queue for deleted.
const ASK_IF_GONE: usize = 3;
/// How long the first connection may take in all.
const OPENING: Duration = Duration::from_secs(20);

/// How things stand with the stream of the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Open,
    ShutDown,
    /// It was deleted. It stays so, since the places of old values would be taken for those of a new stream.
    Gone,
}

/// The two lanes of a queue, each a stream with one consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    Values,
    Dead,
}

/// When a request that brought nothing was last looked into, and over which connection and when the consumer was freed.
#[derive(Clone, Copy, Debug)]
struct Look {
    at: Instant,
    freed: Option<(u64, Instant)>,
}

#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) link: Link,
    pub(crate) names: Names,
    pub(crate) shape: Shape,
    pub(crate) leases: Leases,
    pub(crate) put_subject: String,
    next_pull: [String; 2],
    standing: watch::Sender<Standing>,
    inboxes: Mutex<Vec<Inbox>>,
    looks: Mutex<[Look; 2]>,
    puts: Counter,
}

impl Core {
    pub(crate) async fn open(address: &Address, login: &Login, tls: &Tls, options: &Options) -> Result<Arc<Self>, ConnectError> {
        let until = Until::after(OPENING);
        let link = Link::connect(address, login, tls).await?;
        let names = Names::new(address.queue());
        let (shape, state) = stream::open(&link, &names, options, until).await.map_err(|error| match error {
            ConnectError::Server(why) if matches!(*why, ServerError::NoJetStream) => {
                ConnectError::NoJetStream { servers: address.servers().join(", ") }
            }
            error => error,
        })?;
        let next = |lane| {
            let (stream, consumer) = names.of(lane);
            format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}")
        };
        let core = Arc::new(Self {
            next_pull: [next(Lane::Values), next(Lane::Dead)],
            put_subject: names.subject("put"),
            leases: Leases::new(shape.lease),
            standing: watch::channel(if state.shut_down { Standing::ShutDown } else { Standing::Open }).0,
            inboxes: Mutex::default(),
            looks: Mutex::new([Look { at: Instant::now(), freed: None }; 2]),
            puts: Counter::new(),
            link,
            names,
            shape,
        });
        spawn(watch_over(Arc::downgrade(&core), core.link.client().clone(), core.names.subject("notice")));
        spawn(lease::keep(Arc::downgrade(&core), core.shape.lease));
        Ok(core)
    }

    pub(crate) fn next_pull(&self, lane: Lane) -> &str {
        &self.next_pull[lane as usize]
    }

    /// The id of a put. The server takes a second put of the same id for the same one.
    pub(crate) fn put_id(&self) -> String {
        format!("{}-{}", self.link.id(), self.puts.count())
    }

    pub(crate) fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Fails if the stream was deleted.
    pub(crate) fn here(&self) -> Result<(), ServerError> {
        match *self.standing.borrow() {
            Standing::Gone => Err(ServerError::Gone { queue: self.names.queue.clone() }),
            Standing::Open | Standing::ShutDown => Ok(()),
        }
    }

    /// Asks how things stand, and tells everybody who waits.
    pub(crate) async fn look(&self, until: Until) -> Result<State, ServerError> {
        self.here()?;
        let ask = || stream::state(&self.link, &self.names, &self.names.queue, until);
        let mut state = ask().await;
        // A server of a cluster that begins may not have all it knows together for a moment, and nothing takes it back here.
        for _ in 0..ASK_IF_GONE {
            if self.is_gone(&state) && !until.is_over() {
                tokio::time::sleep(until.left(SETTLING)).await;
                state = ask().await;
            }
        }
        let gone = self.is_gone(&state);
        let shut_down = state.as_ref().is_ok_and(|state| state.shut_down);
        if gone || shut_down {
            let standing = if gone { Standing::Gone } else { Standing::ShutDown };
            self.standing.send_if_modified(|old| *old != Standing::Gone && std::mem::replace(old, standing) != standing);
        }
        self.here()?;
        state
    }

    fn is_gone(&self, state: &Result<State, ServerError>) -> bool {
        match state {
            Ok(state) => state.born != self.shape.born,
            Err(error) => matches!(error, ServerError::Gone { .. }),
        }
    }

    pub(crate) async fn shut_down(&self, until: Until) -> Result<(), ServerError> {
        stream::shut_down(&self.link, &self.names, until).await?;
        self.look(until).await?;
        // Others who miss it see it when they look.
        let _ = self.link.client().publish(self.names.subject("notice"), Bytes::from_static(b"shutdown")).await;
        let _ = self.link.client().flush().await;
        Ok(())
    }

    /// A request brought nothing: looks, at most once in a lease, whether the server is held up.
    pub(crate) fn look_into(self: &Arc<Self>, lane: Lane) {
        let look = &mut self.looks()[lane as usize];
        if look.at.elapsed() >= self.shape.lease.min(MOST_HELD_UP) {
            look.at = Instant::now();
            let core = Arc::clone(self);
            let is_last = lane == Lane::Values && *self.standing.borrow() == Standing::ShutDown;
            spawn(async move {
                // What goes wrong here goes wrong again after the next request.
                let until = Until::after(FREE_FOR);
                let _ = tidy::free(&core, lane, until).await;
                if is_last {
                    let _ = tidy::tidy(&core, until).await;
                }
            });
        }
    }

    /// Whether the consumer of a lane is to be freed: it was not over this connection, or long ago. Counts as freed from now on.
    pub(crate) fn begin_to_free(&self, lane: Lane, connection: u64) -> bool {
        let freed = &mut self.looks()[lane as usize].freed;
        let is_free = freed.is_some_and(|(then, at)| then == connection && at.elapsed() < FREE_FOR);
        if !is_free {
            *freed = Some((connection, Instant::now()));
        }
        !is_free
    }

    pub(crate) fn is_not_free(&self, lane: Lane) {
        self.looks()[lane as usize].freed = None;
    }

    fn looks(&self) -> MutexGuard<'_, [Look; 2]> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An inbox that nothing can come to any more, for the next question.
    pub(crate) async fn inbox(&self) -> Result<Inbox, ServerError> {
        let kept = self.inboxes.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match kept {
            Some(inbox) => Ok(inbox),
            None => Inbox::new(self.link.client()).await,
        }
    }

    pub(crate) fn keep_inbox(&self, inbox: Inbox) {
        self.inboxes.lock().unwrap_or_else(PoisonError::into_inner).push(inbox);
    }
}

/// Hears of a shutdown, and looks for one after each reconnection.
async fn watch_over(core: Weak<Core>, client: async_nats::Client, notice: String) {
    let mut notices = client.subscribe(notice).await.ok();
    let Some(mut connections) = core.upgrade().map(|core| core.link.connections()) else { return };
    loop {
        let heard = async {
            match &mut notices {
                Some(notices) => drop(notices.next().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = heard => {}
            _ = connections.changed() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let Some(core) = core.upgrade() else { return };
        // What is wrong with the server is for the next operation to say.
        let _ = core.look(Until::after(LOOK_EVERY)).await;
    }
}
