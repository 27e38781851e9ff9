//! The settings of a pool before it starts.

use crate::board::Board;
use crate::error::StartError;
use crate::function::Function;
use crate::group::{Group, GroupError};
use crate::ledger::Ledger;
use crate::member::{Member, NotStarted};
use crate::message::MAX_MESSAGE;
use crate::policy::{Launch, PoolPolicy};
use crate::pool::Pool;
use crate::worker::{Initialized, Instructions, work};
use multiproc_process::{Process, ProcessBuilder};
use multiproc_queue::{JoinableQueue, Queue};
use multiproc_travel::pass::Descriptor;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

/// Starts a worker.
type Starter = Box<dyn Fn(ProcessBuilder, Instructions) -> Result<Member, NotStarted> + Send + Sync>;

/// Settings of a [`Pool`] before it starts.
///
/// ```
/// # use multiproc_pool as multiproc;
/// use multiproc::Pool;
/// use std::time::Duration;
///
/// fn prepare(greeting: String) {
///     println!("{greeting} from {}", std::process::id());
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Pool::builder()
///     .workers(2)
///     .initializer(prepare, "hello".to_string())
///     .retries(1)
///     .task_timeout(Duration::from_secs(10))
///     .build()?;
/// assert_eq!(pool.spawn(|n: u32| n + 1, 1)?.wait()?, 2);
/// # Ok(())
/// # }
/// ```
#[must_use = "a builder starts nothing before build()"]
pub struct PoolBuilder {
    name: String,
    workers: usize,
    starter: Starter,
    most_tasks: u64,
    retries: u32,
    limit: Option<Duration>,
    chunk_size: Option<usize>,
}

impl PoolBuilder {
    pub(crate) fn new() -> Self {
        Self {
            name: "PoolWorker".into(),
            workers: 0,
            starter: starter(|| (), ()),
            most_tasks: 0,
            retries: 0,
            limit: None,
            chunk_size: None,
        }
    }

    /// What the workers are called, before a number. Default: `PoolWorker`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// How many workers there are. 0, the default: as many as the processors that this process may use (Python: `processes=`).
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// A function that each worker calls before its first task (Python: `initializer=` and `initargs=`). It returns nothing, or a `Result`.
    ///
    /// Its arguments may hold queues, which a task's can't. Keep them in a static for the tasks. A worker whose initializer fails or panics
    /// is replaced, after a pause that grows. If that goes on, the pool ends with the reason.
    pub fn initializer<F, A, S>(mut self, function: F, arguments: A) -> Self
    where
        F: Function<A, S, Returned: Initialized>,
        A: Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
        S: 'static,
    {
        self.starter = starter(function, arguments);
        self
    }

    /// Replaces a worker after so many tasks, once it has finished its chunk (Python: `maxtasksperchild=`, which counts chunks). 0, the
    /// default: never.
    pub fn max_tasks_per_worker(mut self, tasks: u64) -> Self {
        self.most_tasks = tasks;
        self
    }

    /// How often a task runs again after its worker died, or after it ran past its time. Default: 0. A panic is no death: it is the task's result.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// How long a task may run. A worker that runs one for longer is killed: 20 ms late as a rule, and later
    /// while the pool starts another worker. Default: no limit.
    pub fn task_timeout(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// How many tasks of a `map` or an `imap` go to a worker at once (Python: `chunksize=`). 0, the default: as each method has it.
    pub fn chunk_size(mut self, tasks: usize) -> Self {
        self.chunk_size = Some(tasks).filter(|&tasks| tasks > 0);
        self
    }

    /// Starts the workers.
    ///
    /// # Errors
    ///
    /// A worker can't be started, or the system refuses.
    pub fn build(self) -> Result<Pool, StartError> {
        let Self { name, workers, starter, most_tasks, retries, limit, chunk_size } = self;
        let workers = if workers == 0 { std::thread::available_parallelism().map_or(1, NonZero::get) } else { workers };
        let orders: JoinableQueue<Vec<u8>> = JoinableQueue::builder().max_message(MAX_MESSAGE as u64).build()?;
        let reports: Queue<Vec<u8>> = Queue::builder().max_message(MAX_MESSAGE as u64).build()?;
        let ledger = Arc::new(Ledger::new(Board::create(workers)?, orders, reports, retries));
        let (of_start, prefix) = (Arc::clone(&ledger), name.clone());
        let mut started = 0;
        let launch: Launch = Box::new(move |worker| {
            started += 1;
            let told = Instructions {
                orders: of_start.orders.clone(),
                reports: of_start.reports.queue.clone(),
                board: Descriptor::from(of_start.board.descriptor()?),
                worker,
                key: of_start.key,
                timed: limit.is_some(),
                most_tasks,
            };
            starter(Process::builder().name(format!("{prefix}-{started}")).ignore_interrupts(true), told)
        });
        let policy =
            PoolPolicy { launch, ledger: Arc::clone(&ledger), limit, late: vec![None; workers], failures: 0, died: None };
        let group = Group::start(workers, &name, policy).map_err(|error| match error {
            GroupError::Member(failure) => StartError::Process { name: name.clone(), why: failure.why },
            GroupError::System(error) => StartError::Thread(error),
        })?;
        Ok(Pool { ledger, group, workers, chunk_size, timed: limit.is_some() })
    }
}

fn starter<F, A, S>(_function: F, arguments: A) -> Starter
where
    F: Function<A, S, Returned: Initialized>,
    A: Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
    S: 'static,
{
    Box::new(move |builder, told| Member::start(builder, work::<F, A, S>, (told, arguments.clone())))
}

impl fmt::Debug for PoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolBuilder").field("name", &self.name).field("workers", &self.workers).finish_non_exhaustive()
    }
}
