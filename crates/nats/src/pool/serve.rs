//! Serving: calls from the queue run in a pool of this machine.

use super::call::{Call, Word, is_inbox, name_of};
use super::error::{RemoteTaskError, ServeError};
use super::tell::{Pools, Said};
use crate::core::Core;
use crate::delivery::Delivery;
use crate::error::{DoneError, GetError, ServerError};
use crate::queue::RemoteQueue;
use crate::runtime::wait;
use multiproc_pool::{Function, Pool, SubmitError, Task, TaskError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::any::{TypeId, type_name};
use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;
use std::time::Duration;

/// How often a thread that waits for calls looks whether to go on.
const LOOK_UP: Duration = Duration::from_secs(2);
/// A result whose pool is away is told again after this.
const AGAIN: Duration = Duration::from_millis(500);

/// Submits a call to the pool of this machine: arguments and result are encoded, since code of the user runs in workers alone.
type Spawn = Box<dyn Fn(&Pool, &Vec<u8>) -> Result<Task<Vec<u8>>, SubmitError> + Send + Sync>;

/// Why a call has no result here.
enum Failed {
    /// It has none anywhere.
    Task(TaskError),
    /// This machine has no memory for it now.
    Now,
    /// The pool runs nothing any more.
    Pool(String),
}

/// The functions that a machine runs for [remote pools](crate::RemotePool). No other can be called from outside.
///
/// The program that serves, on as many machines as you like:
///
/// ```no_run
/// use multiproc_nats::{RemoteQueue, Tasks};
/// use multiproc_pool::Pool;
///
/// fn square(n: u64) -> u64 {
///     n * n
/// }
///
/// // A process for each processor. Retries, time limits and an initializer: Pool::builder().
/// let pool = Pool::new(0)?;
/// let queue = RemoteQueue::connect("nats://server:4222/squares")?;
/// Tasks::new().with(square).serve(&queue, &pool)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
pub struct Tasks {
    functions: HashMap<&'static str, (TypeId, Spawn)>,
    unnamed: Option<&'static str>,
    ambiguous: Option<&'static str>,
}

impl Tasks {
    /// No functions yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a function. Its name for other machines is its path, such as `app::square`.
    #[must_use]
    pub fn with<F, A, S>(mut self, function: F) -> Self
    where
        F: Function<A, S, Returned: Serialize + DeserializeOwned> + Copy + Sync,
        A: Serialize + DeserializeOwned,
    {
        let spawn: Spawn = Box::new(move |pool, arguments| pool.spawn_encoded(function, arguments));
        let Some(name) = name_of::<F>() else {
            self.unnamed = Some(type_name::<F>());
            return self;
        };
        let id = TypeId::of::<F>();
        if self.functions.insert(name, (id, spawn)).is_some_and(|(other, _)| other != id) {
            self.ambiguous = Some(name);
        }
        self
    }

    /// Carries out calls, as many at a time as the pool has workers, until the queue is shut down and everything in it is done. It goes on
    /// while the server is away.
    ///
    /// Open the queue without `prefetch`: what was fetched in advance waits behind what runs, and stays here while its handle lives.
    ///
    /// # Errors
    ///
    /// A task is a closure, two have one name, the queue was deleted, the pool has ended, or the system refuses a thread. Calls that were
    /// in hand go to others.
    pub fn serve(&self, calls: &RemoteQueue<Call>, pool: &Pool) -> Result<(), ServeError> {
        self.serve_while(calls, pool, || true)
    }

    /// Serves as [`serve`](Self::serve) does, for as long as `go_on` says so. It is asked by several threads, every two seconds at least.
    /// Calls that have begun end before this returns.
    ///
    /// # Errors
    ///
    /// As `serve`.
    ///
    /// # Panics
    ///
    /// Only if `go_on` does.
    pub fn serve_while<G>(&self, calls: &RemoteQueue<Call>, pool: &Pool, go_on: G) -> Result<(), ServeError>
    where
        G: Fn() -> bool + Sync,
    {
        if let Some(function) = self.unnamed {
            return Err(ServeError::Unnamed { function: function.into() });
        }
        if let Some(function) = self.ambiguous {
            return Err(ServeError::Ambiguous { function: function.into() });
        }
        // How the first thread ended that did not end well.
        let failed: Mutex<Option<std::thread::Result<ServeError>>> = Mutex::new(None);
        let fail = |how| {
            failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(how);
        };
        let go_on = || failed.lock().unwrap_or_else(PoisonError::into_inner).is_none() && go_on();
        let core = Arc::clone(wait(calls.core())?);
        let serving = Serving { tasks: self, core, pool, pools: Pools::default(), go_on: &go_on };
        std::thread::scope(|scope| {
            for _ in 0..pool.workers() {
                let thread = Builder::new().name("multiproc-serve".into());
                let serve = || match catch_unwind(AssertUnwindSafe(|| serving.one_by_one(calls))) {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => fail(Ok(error)),
                    Err(panic) => fail(Err(panic)),
                };
                if let Err(error) = thread.spawn_scoped(scope, serve) {
                    fail(Ok(error.into()));
                    return;
                }
            }
        });
        match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            None => Ok(()),
            Some(Ok(error)) => Err(error),
            Some(Err(panic)) => resume_unwind(panic),
        }
    }
}

struct Serving<'s> {
    tasks: &'s Tasks,
    core: Arc<Core>,
    pool: &'s Pool,
    pools: Pools,
    go_on: &'s (dyn Fn() -> bool + Sync),
}

impl Serving<'_> {
    fn one_by_one(&self, calls: &RemoteQueue<Call>) -> Result<(), ServeError> {
        while (self.go_on)() {
            match calls.get_delivery_timeout(LOOK_UP) {
                Ok(call) => self.carry_out(call)?,
                // What makes no call is among the dead letters now.
                Err(GetError::Timeout | GetError::Empty | GetError::Decode(_)) => {}
                Err(GetError::ShutDown) => return Ok(()),
                Err(GetError::Server(why)) => went_on(why)?,
            }
        }
        Ok(())
    }

    fn run(&self, spawn: &Spawn, arguments: &Vec<u8>) -> Result<Vec<u8>, Failed> {
        let task = match spawn(self.pool, arguments) {
            Ok(task) => task,
            Err(error @ (SubmitError::Closed | SubmitError::Ended { .. } | SubmitError::Forked)) => {
                return Err(Failed::Pool(error.to_string()));
            }
            Err(SubmitError::NoMemory { .. }) => return Err(Failed::Now),
            Err(error) => return Err(Failed::Task(TaskError::Arguments { why: error.to_string() })),
        };
        Ok(task.wait()?)
    }

    fn carry_out(&self, call: Delivery<Call>) -> Result<(), ServeError> {
        if !is_inbox(&call.pool) {
            return drop_it(call);
        }
        match self.pools.tell(&self.core, &call.pool, &Word::Begins { task: call.task }) {
            Said::Go => {}
            Said::Stop | Said::Gone | Said::TooLong(_) => return drop_it(call),
            Said::Away(delay) => {
                call.give_back_after(delay);
                return Ok(());
            }
        }
        let outcome = match self.tasks.functions.get(call.function.as_str()) {
            None => Err(RemoteTaskError::Unknown { function: call.function.clone() }),
            Some((_, spawn)) => match self.run(spawn, &call.arguments) {
                Ok(result) => Ok(result),
                Err(Failed::Task(error)) => Err(error.into()),
                Err(Failed::Now) => {
                    call.give_back_after(LOOK_UP);
                    return Ok(());
                }
                Err(Failed::Pool(why)) => {
                    call.give_back();
                    return Err(ServeError::Pool { why });
                }
            },
        };
        let mut word = Word::Ended { task: call.task, outcome };
        loop {
            match self.pools.tell(&self.core, &call.pool, &word) {
                Said::Go | Said::Stop | Said::Gone => return drop_it(call),
                Said::TooLong(max) => {
                    let why = format!("it is longer than the server takes, which is {max} bytes with what goes beside it");
                    word = Word::Ended { task: call.task, outcome: Err(TaskError::Result { why }.into()) };
                }
                // The work is done: its result is worth waiting for.
                Said::Away(_) if (self.go_on)() => std::thread::sleep(AGAIN),
                Said::Away(_) => {
                    call.give_back();
                    return Ok(());
                }
            }
        }
    }
}

/// Takes a call out of the queue.
fn drop_it(call: Delivery<Call>) -> Result<(), ServeError> {
    match call.done() {
        // Another machine has it, and hears from the pool that its result has come.
        Ok(_) | Err(DoneError::LeaseLost { .. }) => Ok(()),
        // So does the machine that it comes back to.
        Err(DoneError::Server { why, .. }) => went_on(why),
    }
}

/// What goes wrong with the server passes, but for this.
fn went_on(why: ServerError) -> Result<(), ServeError> {
    match why {
        ServerError::Gone { .. } | ServerError::Forked | ServerError::Connect(_) => Err(why.into()),
        _ => {
            std::thread::sleep(AGAIN);
            Ok(())
        }
    }
}

impl From<TaskError> for Failed {
    fn from(error: TaskError) -> Self {
        match error {
            // The fault of the pool, not of the task: another machine can run it.
            TaskError::Ended { why } => Self::Pool(why),
            TaskError::Closed | TaskError::Cancelled => Self::Pool(error.to_string()),
            error => Self::Task(error),
        }
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.functions.keys()).finish()
    }
}
