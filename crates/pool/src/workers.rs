//! `Workers`: a group of processes that run one function, and are replaced when they die.

use crate::error::{StartError, WorkersError};
use crate::function::Function;
use crate::group::{Group, GroupError, Policy, Verdict, WorkerEnd};
use crate::member::{Member, NotStarted};
use multiproc_process::{Ending, Exit, Process};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::num::NonZero;
use std::time::Duration;

/// The pause after the first failure at once, and the longest.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(5);
/// A process that lived for less failed at once.
const AT_ONCE: Duration = Duration::from_secs(1);
/// A panic's exit code.
const PANIC: i32 = 101;

/// A supervised group of processes that run one function: consumers of a queue, for instance. Python has no counterpart.
///
/// A process that dies is replaced: one that is killed, panics, or ends with an exit code other than 0. A process that dies within a second
/// of its start is replaced after a pause, which doubles each time, up to 5 s. A process that returns is finished.
///
/// Each process gets a copy of the arguments. It ends with this process, however that ends, and may have child processes of its own.
///
/// ```
/// # use multiproc_pool as multiproc;
/// # use multiproc_queue::{JoinableQueue, Queue};
/// use multiproc::Workers;
///
/// fn work((jobs, results): (JoinableQueue<u64>, Queue<u64>)) {
///     // Until the queue is shut down and every job is done.
///     while let Ok(job) = jobs.get_delivery() {
///         results.put(*job * 2).unwrap();
///         job.done();
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (jobs, results) = (JoinableQueue::unbounded()?, Queue::unbounded()?);
/// let workers = Workers::builder().count(2).spawn(work, (jobs.clone(), results.clone()))?;
/// jobs.put_many(1..=3)?;
/// jobs.shutdown();
/// workers.drain();
/// workers.join()?;
/// assert_eq!(results.try_iter().sum::<u64>(), 12);
/// # Ok(())
/// # }
/// ```
///
/// Dropping it [terminates](Self::terminate) the processes, and waits for their end. A forked copy that is dropped does nothing.
#[must_use = "workers that are dropped are terminated"]
pub struct Workers(Group);

/// Settings of a group of [`Workers`] before it starts.
#[derive(Clone, Debug)]
#[must_use = "a builder starts nothing before spawn()"]
pub struct WorkersBuilder {
    name: String,
    count: usize,
    ignore_interrupts: bool,
    most_failures: Option<u32>,
}

impl WorkersBuilder {
    /// How many processes there are. 0, the default: as many as the processors that this process may use.
    pub fn count(mut self, count: usize) -> Self {
        self.count = count;
        self
    }

    /// What the processes are called, before a number. Default: `Worker`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Whether the processes ignore `SIGINT`, which Ctrl-C sends to every process of a program. Default: they do. This process decides what
    /// happens, and its end is theirs.
    pub fn ignore_interrupts(mut self, ignore: bool) -> Self {
        self.ignore_interrupts = ignore;
        self
    }

    /// Gives up after so many failures at once in a row, in the whole group. [`join`](Workers::join) says why. Default: never.
    pub fn give_up_after(mut self, failures: u32) -> Self {
        self.most_failures = Some(failures);
        self
    }

    /// Starts the processes.
    ///
    /// # Errors
    ///
    /// One of them can't be started, or the system refuses. Those that were started are ended.
    pub fn spawn<F, A, S>(self, function: F, arguments: A) -> Result<Workers, StartError>
    where
        F: Function<A, S, Returned: Ending> + Copy,
        A: Serialize + DeserializeOwned + Clone + Send + 'static,
        S: 'static,
    {
        let count = if self.count == 0 { std::thread::available_parallelism().map_or(1, NonZero::get) } else { self.count };
        let (prefix, ignore) = (self.name.clone(), self.ignore_interrupts);
        let mut started = 0;
        let launch = Box::new(move || {
            started += 1;
            let builder = Process::builder().name(format!("{prefix}-{started}")).ignore_interrupts(ignore);
            Member::start(builder, function, arguments.clone())
        });
        let policy = Replace { launch, failures: 0, most_failures: self.most_failures };
        let group = Group::start(count, &self.name, policy).map_err(|error| match error {
            GroupError::Member(failure) => StartError::Process { name: self.name.clone(), why: failure.why },
            GroupError::System(error) => StartError::Thread(error),
        })?;
        Ok(Workers(group))
    }
}

impl Workers {
    /// Begins with the settings of a group: how many processes, their name, what Ctrl-C does.
    pub fn builder() -> WorkersBuilder {
        WorkersBuilder { name: "Worker".into(), count: 0, ignore_interrupts: true, most_failures: None }
    }

    /// The processes that run now.
    pub fn processes(&self) -> Vec<Process> {
        if self.0.is_inherited() { Vec::new() } else { self.0.processes() }
    }

    /// How the last thousand processes ended, the oldest first.
    pub fn history(&self) -> Vec<WorkerEnd> {
        if self.0.is_inherited() { Vec::new() } else { self.0.history() }
    }

    /// How many processes have taken the place of another one.
    pub fn replaced(&self) -> u64 {
        if self.0.is_inherited() { 0 } else { self.0.replaced() }
    }

    /// Lets the processes end. From now on one that ends with any exit code but that of a panic is finished: a consumer that returns the
    /// error of its queue's shutdown is. Those that are killed or panic are still replaced, so that their jobs get done.
    ///
    /// It tells the processes nothing: shut their queue down.
    pub fn drain(&self) {
        if !self.0.is_inherited() {
            self.0.drain();
        }
    }

    /// Ends all processes, by `SIGTERM`, and by `SIGKILL` half a second later. Returns at once: [`join`](Self::join) waits.
    pub fn terminate(&self) {
        if !self.0.is_inherited() {
            self.0.terminate();
        }
    }

    /// Waits until all processes are finished. So it waits for as long as one runs: [`drain`](Self::drain) or
    /// [`terminate`](Self::terminate) comes first as a rule.
    ///
    /// # Errors
    ///
    /// The group gave up, or this process is a forked copy of the one that started it.
    pub fn join(&self) -> Result<(), WorkersError> {
        self.wait(None).map(drop)
    }

    /// Waits until all processes are finished, for at most `timeout`. Returns whether they are.
    ///
    /// # Errors
    ///
    /// As [`join`](Self::join).
    pub fn join_timeout(&self, timeout: Duration) -> Result<bool, WorkersError> {
        self.wait(Some(timeout))
    }

    fn wait(&self, timeout: Option<Duration>) -> Result<bool, WorkersError> {
        if self.0.is_inherited() {
            return Err(WorkersError::Forked);
        }
        match self.0.wait(timeout) {
            Some(Some(why)) => Err(WorkersError::GaveUp { why }),
            over => Ok(over.is_some()),
        }
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers")
            .field("processes", &self.processes())
            .field("replaced", &self.replaced())
            .finish_non_exhaustive()
    }
}

/// Replaces what dies.
struct Replace {
    launch: Box<dyn FnMut() -> Result<Member, NotStarted> + Send>,
    /// Failures at once in a row.
    failures: u32,
    most_failures: Option<u32>,
}

impl Replace {
    fn failed(&mut self, why: impl FnOnce() -> String) -> Verdict {
        self.failures += 1;
        if self.most_failures.is_some_and(|most| self.failures >= most) {
            return Verdict::GiveUp(why());
        }
        Verdict::Replace((SHORTEST * (1 << (self.failures - 1).min(10))).min(LONGEST))
    }
}

impl Policy for Replace {
    fn start(&mut self, _: usize) -> Result<Member, NotStarted> {
        (self.launch)()
    }

    fn ended(&mut self, end: &WorkerEnd, draining: bool) -> Verdict {
        match end.exit {
            exit if exit.success() => Verdict::Finished,
            Exit::Code(code) if draining && code != PANIC => Verdict::Finished,
            exit if end.lived < AT_ONCE => self.failed(|| format!("it ended with {exit} after {:?}", end.lived)),
            _ => {
                self.failures = 0;
                Verdict::Replace(Duration::ZERO)
            }
        }
    }

    fn not_started(&mut self, failure: &NotStarted) -> Verdict {
        self.failed(|| format!("it can't be started: {}", failure.why))
    }
}
