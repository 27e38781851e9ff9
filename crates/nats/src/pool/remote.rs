//! `RemotePool`: calls go into the queue, and their results come to a subject of its own.

use super::board::{Board, Hears};
use super::call::{Call, GO, STOP, Word, is_inbox, name_of};
use super::error::{RemoteMapError, RemoteSubmitError, RemoteTaskError};
use super::imap::RemoteImap;
use super::task::RemoteTask;
use crate::core::Core;
use crate::error::{ConnectError, PutError, ServerError};
use crate::put::put_bytes;
use crate::queue::RemoteQueue;
use crate::runtime::{runtime, wait};
use crate::until::Until;
use async_nats::Subscriber;
use bytes::Bytes;
use futures_util::StreamExt;
use multiproc_pool::{Function, JoinPoolError, TaskError};
use multiproc_travel::pass;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::any::type_name;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// How often a pool with tasks under way looks whether their calls are still in the queue.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How many calls of one batch are on their way to the server at once.
const ON_THEIR_WAY: usize = 256;
/// Why the tasks of a pool end that was terminated.
const TERMINATED: &str = "it was terminated";

/// A [`Pool`](multiproc_pool::Pool) whose functions run on other machines: on all that [serve](crate::Tasks::serve) its queue.
///
/// ```no_run
/// use multiproc_nats::RemotePool;
///
/// fn square(n: u64) -> u64 {
///     n * n
/// }
///
/// // Was: let pool = Pool::new(0)?;
/// let pool = RemotePool::connect("nats://server:4222/squares")?;
/// assert_eq!(pool.map(square, 1..=5)?, [1, 4, 9, 16, 25]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// What differs from a pool of one machine:
///
/// - The machines have the functions already: a call names one by its path. So both programs are built from the same sources with the
///   same compiler, and a closure is refused.
/// - A task runs *at least once*: again, if the machine that ran it was not heard of for a lease. A worker process that dies costs one
///   attempt, as in a pool of one machine. That machine says how it died.
/// - Arguments and results take 1 MiB at most, or the server's `max_payload`.
/// - Each call costs some messages over the network, a few hundred microseconds in all. So a task should take milliseconds: give it many
///   small things at once.
/// - While nobody serves the queue, a task waits.
///
/// Several pools may use one queue. Results go from process to process through the server, which does not keep them. Dropping the pool
/// [terminates](Self::terminate) it.
pub struct RemotePool {
    calls: RemoteQueue<Call>,
    core: Arc<Core>,
    inbox: String,
    pub(super) board: Arc<Board>,
    listeners: [JoinHandle<()>; 2],
}

impl RemotePool {
    /// Connects to the queue at an address as `nats://host:4222/squares`, or makes it.
    ///
    /// # Errors
    ///
    /// As [`RemoteQueue::connect`].
    pub fn connect(address: &str) -> Result<Self, ConnectError> {
        Self::over(RemoteQueue::connect(address)?)
    }

    /// Makes a pool over a queue that was opened with more choices: a login, replicas, another lease.
    ///
    /// A queue with `max_deliveries` puts a call aside that was delivered so often: to machines that were lost, or while this process could
    /// not be reached. Its task ends with [`Lost`](RemoteTaskError::Lost), once no older call is in the queue.
    ///
    /// # Errors
    ///
    /// The server refuses.
    pub fn over(calls: RemoteQueue<Call>) -> Result<Self, ConnectError> {
        wait(async {
            let core = Arc::clone(calls.core().await?);
            let client = core.link.client();
            let inbox = client.new_inbox();
            let words = client.subscribe(inbox.clone()).await;
            let words = words.map_err(|why| ServerError::Refused { why: why.to_string() })?;
            let board = Arc::new(Board::new());
            let runtime = runtime()?;
            let hear = runtime.spawn(hear(Arc::clone(&core), Arc::clone(&board), words));
            let look = runtime.spawn(look(Arc::clone(&core), Arc::clone(&board)));
            Ok(Self { calls, core, inbox, board, listeners: [hear, look] })
        })
    }

    /// Returns the queue that its calls wait in. When it is [shut down](RemoteQueue::shutdown), the
    /// machines stop serving it.
    pub fn queue(&self) -> &RemoteQueue<Call> {
        &self.calls
    }

    /// Calls `function` with each of the arguments; returns the results in their order (Python: `map`, and `starmap` with arguments that
    /// are tuples). Waits for all of them.
    ///
    /// # Errors
    ///
    /// [`RemoteMapError::Submit`] if the pool can't take the function, [`RemoteMapError::Tasks`] with all results if a task failed.
    ///
    /// # Panics
    ///
    /// Only if the iterator does, or `Serialize` of an argument.
    pub fn map<F, A, S, I>(&self, function: F, arguments: I) -> Result<Vec<F::Returned>, RemoteMapError<F::Returned>>
    where
        F: Function<A, S, Returned: Serialize + DeserializeOwned>,
        A: Serialize + DeserializeOwned,
        I: IntoIterator<Item = A>,
    {
        let results: Vec<_> = self.imap(function, arguments)?.collect();
        if results.iter().any(Result::is_err) {
            return Err(RemoteMapError::Tasks { results });
        }
        Ok(results.into_iter().filter_map(Result::ok).collect())
    }

    /// Calls `function` with each of the arguments, and yields the results in their order as they come (Python: `imap`).
    ///
    /// It takes arguments only as results are taken, a thousand ahead. So an endless input works.
    ///
    /// # Errors
    ///
    /// The pool was closed, or can't name the function.
    pub fn imap<F, A, S, I>(
        &self,
        _function: F,
        arguments: I,
    ) -> Result<RemoteImap<'_, I::IntoIter, F::Returned>, RemoteSubmitError>
    where
        F: Function<A, S, Returned: Serialize + DeserializeOwned>,
        A: Serialize + DeserializeOwned,
        I: IntoIterator<Item = A>,
    {
        Ok(RemoteImap::new(self, self.name::<F>()?, arguments.into_iter(), true))
    }

    /// As [`imap`](Self::imap), but yields each result as soon as it comes, whatever its place (Python: `imap_unordered`).
    ///
    /// # Errors
    ///
    /// As `imap`.
    pub fn imap_unordered<F, A, S, I>(
        &self,
        _function: F,
        arguments: I,
    ) -> Result<RemoteImap<'_, I::IntoIter, F::Returned>, RemoteSubmitError>
    where
        F: Function<A, S, Returned: Serialize + DeserializeOwned>,
        A: Serialize + DeserializeOwned,
        I: IntoIterator<Item = A>,
    {
        Ok(RemoteImap::new(self, self.name::<F>()?, arguments.into_iter(), false))
    }

    /// Submits one call of `function` (Python: `apply_async`; `apply` is this and [`wait`](RemoteTask::wait)). Returns once the server
    /// has it.
    ///
    /// # Errors
    ///
    /// The pool was closed or can't name the function, or the server does not take the call.
    pub fn spawn<F, A, S>(&self, _function: F, arguments: A) -> Result<RemoteTask<F::Returned>, RemoteSubmitError>
    where
        F: Function<A, S, Returned: Serialize + DeserializeOwned>,
        A: Serialize + DeserializeOwned,
    {
        let function = self.name::<F>()?;
        let (number, hears, call) = self.prepare(function, encode(&arguments)?)?;
        wait(self.submit(number, hears.clone(), call))?;
        Ok(RemoteTask::new(&self.board, number, hears))
    }

    fn name<F>(&self) -> Result<&'static str, RemoteSubmitError> {
        if self.board.is_inherited() {
            return Err(PutError::from(ServerError::Forked).into());
        }
        if self.board.is_closed() {
            return Err(RemoteSubmitError::Closed);
        }
        name_of::<F>().ok_or_else(|| RemoteSubmitError::Unnamed { function: type_name::<F>().into() })
    }

    /// Makes a task, and the message of its call.
    fn prepare(&self, function: &str, arguments: Vec<u8>) -> Result<(u64, Hears, Bytes), RemoteSubmitError> {
        let (number, hears) = self.board.add().ok_or(RemoteSubmitError::Closed)?;
        let call = Call { function: function.into(), task: number, pool: self.inbox.clone(), arguments };
        let call = encode(&call).inspect_err(|error| self.board.end(number, Err(not_put(error))))?;
        Ok((number, hears, call.into()))
    }

    /// Puts a call, unless its task ends before that. One that is not put is under way no more.
    async fn submit(&self, number: u64, mut hears: Hears, call: Bytes) -> Result<(), PutError<()>> {
        let put = async {
            self.core.here()?;
            put_bytes(&self.core, self.core.put_id(), call, Until::NEVER).await
        };
        tokio::select! {
            biased;
            put = put => match put {
                Ok(place) => self.board.set_place(number, place),
                Err(error) => {
                    self.board.end(number, Err(not_put(&error)));
                    return Err(error);
                }
            },
            _ = hears.wait_for(Option::is_some) => {}
        }
        Ok(())
    }

    /// Submits some calls. What is wrong with one of them is its result.
    pub(super) fn submit_all<A>(&self, function: &str, arguments: Vec<A>) -> Vec<Result<RemoteTask<()>, RemoteTaskError>>
    where
        A: Serialize + DeserializeOwned,
    {
        // Before anything is under way: code of the user may panic.
        let encoded: Vec<_> = arguments.iter().map(encode).collect();
        let mut puts = Vec::new();
        let tasks =
            encoded.into_iter().map(|arguments| match arguments.and_then(|arguments| self.prepare(function, arguments)) {
                Ok((number, hears, call)) => {
                    puts.push(self.submit(number, hears.clone(), call));
                    Ok(RemoteTask::new(&self.board, number, hears))
                }
                Err(RemoteSubmitError::Closed) => Err(TaskError::Closed.into()),
                Err(error) => Err(not_put(&error)),
            });
        let tasks = tasks.collect();
        // An error is its task's outcome as well.
        wait(futures_util::stream::iter(puts).buffered(ON_THEIR_WAY).for_each(|_| std::future::ready(())));
        tasks
    }

    /// Takes no more tasks. Those that were submitted run (Python: `close`).
    pub fn close(&self) {
        if !self.board.is_inherited() {
            self.board.close();
        }
    }

    /// Waits until all tasks have ended (Python: `join`).
    ///
    /// # Errors
    ///
    /// The pool was neither [closed](Self::close) nor [terminated](Self::terminate).
    pub fn join(&self) -> Result<(), JoinPoolError> {
        match self.board {
            _ if self.board.is_inherited() => Err(JoinPoolError::Forked),
            _ if !self.board.is_closed() => Err(JoinPoolError::NotClosed),
            _ => {
                wait(self.board.emptied());
                Ok(())
            }
        }
    }

    /// Takes no more tasks, and ends those without a result with [`TaskError::Ended`] (Python: `terminate`). What runs on other machines
    /// goes on there, and its result is dropped. What waits in the queue is not run: a machine that gets it asks, and takes it out. (While
    /// this process does not answer any more, machines give it back, for ten minutes in all.)
    pub fn terminate(&self) {
        if !self.board.is_inherited() {
            self.board.close();
            self.board.end_all(&TaskError::Ended { why: TERMINATED.into() }.into());
        }
    }
}

impl Drop for RemotePool {
    fn drop(&mut self) {
        if !self.board.is_inherited() {
            self.terminate();
            self.listeners.iter().for_each(JoinHandle::abort);
        }
    }
}

fn encode<T: Serialize + DeserializeOwned>(value: &T) -> Result<Vec<u8>, RemoteSubmitError> {
    let mut bytes = Vec::new();
    match pass::encode_plain(value, &mut bytes) {
        Ok(()) => Ok(bytes),
        Err(why) => Err(PutError::Encode { value: (), why }.into()),
    }
}

fn not_put(error: &dyn fmt::Display) -> RemoteTaskError {
    RemoteTaskError::NotPut { why: error.to_string() }
}

/// Answers the machines.
async fn hear(core: Arc<Core>, board: Arc<Board>, mut words: Subscriber) {
    while let Some(message) = words.next().await {
        // Another subject would get the answer in the name of this process.
        let Some(reply) = message.reply.filter(|reply| is_inbox(reply)) else { continue };
        let answer = match pass::decode_plain(&message.payload) {
            Ok(Word::Begins { task }) if board.begin(task) => GO,
            Ok(Word::Begins { .. }) | Err(_) => STOP,
            Ok(Word::Ended { task, outcome }) => {
                board.end(task, outcome);
                GO
            }
        };
        // If it is lost, the machine asks again.
        let _ = core.link.client().publish(reply, Bytes::from_static(answer)).await;
    }
}

/// Ends tasks whose calls are gone. A result comes before its call leaves the queue, so there will be none.
async fn look(core: Arc<Core>, board: Arc<Board>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if board.is_empty() {
            continue;
        }
        board.begin_look();
        match core.look(Until::after(LOOK_EVERY)).await {
            Ok(state) => board.end_look(state.first, state.last),
            Err(ServerError::Gone { .. }) => board.end_all(&RemoteTaskError::Lost),
            // The server is away.
            Err(_) => {}
        }
    }
}

impl fmt::Debug for RemotePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemotePool").field("queue", &self.calls).finish_non_exhaustive()
    }
}
