//! `Pool`: functions run in worker processes.

use crate::board::MOST_ELEMENTS;
use crate::builder::PoolBuilder;
use crate::error::{JoinPoolError, MapError, StartError, SubmitError, TaskError};
use crate::function::{Function, Name};
use crate::gather::{Gather, Piece};
use crate::group::Group;
use crate::imap::Imap;
use crate::ledger::{Job, Ledger, Lot};
use crate::map::map;
use crate::message::Order;
use crate::task::{Cell, Task};
use crate::worker::{enter_many, enter_one};
use multiproc_travel::pass;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::sync::Arc;

/// Chunks for each worker that `imap` keeps under way, and some more.
const AHEAD: usize = 16;
const AHEAD_ANYWAY: usize = 64;
/// Why the tasks of a pool end that was terminated.
const TERMINATED: &str = "it was terminated";

/// Worker processes that run functions (Python: `multiprocessing.Pool`).
///
/// A worker that is killed, exits or runs past its time fails only the task that it had in hand. Another worker takes its place. See
/// [`TaskError`].
///
/// ```
/// # use multiproc_pool as multiproc;
/// use multiproc::Pool;
///
/// fn square(n: u64) -> u64 {
///     n * n
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Pool::new(2)?;
/// assert_eq!(pool.map(square, 1..=5)?, [1, 4, 9, 16, 25]);
/// # Ok(())
/// # }
/// ```
///
/// Dropping it [terminates](Self::terminate) it. A forked copy that is dropped does nothing. A process that a task starts and leaves
/// running keeps its worker from ending by itself, and so [`join`](Self::join) from returning: let tasks wait for what they start.
pub struct Pool {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) group: Group,
    pub(crate) workers: usize,
    /// `None`: as each method has it.
    pub(crate) chunk_size: Option<usize>,
    /// Whether tasks have a time limit.
    pub(crate) timed: bool,
}

impl Pool {
    /// Starts a pool of `workers` processes; 0: one for each processor that this process may use (Python: `Pool(n)`).
    ///
    /// # Errors
    ///
    /// A worker can't be started, or the system refuses.
    pub fn new(workers: usize) -> Result<Self, StartError> {
        Self::builder().workers(workers).build()
    }

    /// Begins with the settings of a pool: an initializer, retries, time limits.
    pub fn builder() -> PoolBuilder {
        PoolBuilder::new()
    }

    /// Calls `function` with each of the arguments; returns the results in their order (Python: `map`, and `starmap` with arguments that
    /// are tuples). Waits for all of them.
    ///
    /// The arguments go to the workers in chunks, some ahead of the results. A chunk has their number divided by four times the number of
    /// workers, as in Python, but not more than about 60 KiB, unless [`chunk_size`](PoolBuilder::chunk_size) says otherwise. (An input whose
    /// [`size_hint`](Iterator::size_hint) is not exact is read to its end first.) If a worker dies, elements of its chunk that it finished
    /// within the last 8 ms of that chunk's work run again. With a chunk size of 1 none do.
    ///
    /// ```
    /// # use multiproc_pool as multiproc;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = multiproc::Pool::new(2)?;
    /// let powers = pool.map(|(base, exponent): (u64, u32)| base.pow(exponent), [(2, 10), (3, 4)])?;
    /// assert_eq!(powers, [1024, 81]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`MapError::Submit`] if an argument is not taken, [`MapError::Tasks`] with all results if a task failed.
    ///
    /// # Panics
    ///
    /// Only if the iterator does, or `Serialize` of an argument.
    pub fn map<F, A, S, I>(&self, _function: F, arguments: I) -> Result<Vec<F::Returned>, MapError<F::Returned>>
    where
        F: Function<A, S, Returned: Serialize + DeserializeOwned>,
        A: Serialize + DeserializeOwned,
        I: IntoIterator<Item = A>,
    {
        if self.ledger.is_inherited() {
            return Err(SubmitError::Forked.into());
        }
        let function = self.ledger.name(enter_many::<F, A, S>);
        let arguments = arguments.into_iter();
        match arguments.size_hint() {
            (least, Some(most)) if least == most => map(self, function, arguments, most),
            // The length of a chunk depends on how many there are.
            _ => {
                let arguments: Vec<A> = arguments.collect();
                let len = arguments.len();
                map(self, function, arguments.into_iter(), len)
            }
        }
    }

    /// Calls `function` with each of the arguments, and yields the results in their order as they come (Python: `imap`).
    ///
    /// It takes arguments only as results are taken, some ahead: 16 chunks for each worker, and 64 more. So an endless input works. A chunk is
    /// one element, unless [`chunk_size`](PoolBuilder::chunk_size) says otherwise. When the pool is closed meanwhile, the next argument
    /// yields [`TaskError::Closed`], and the input ends there.
    ///
    /// ```
    /// # use multiproc_pool as multiproc;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = multiproc::Pool::new(2)?;
    /// let third = pool.imap(|n: u64| n * n, 1..).nth(2);
    /// assert_eq!(third.transpose()?, Some(9));
    /// # Ok(())
    /// # }
    /// ```
    pub fn imap<F, A, S, I>(&self, _function: F, arguments: I) -> Imap<'_, I::IntoIter, F::Returned>
    where
        F: Function<A, S, Returned: Serialize + DeserializeOwned>,
        A: Serialize + DeserializeOwned,
        I: IntoIterator<Item = A>,
    {
        self.imap_by::<F, A, S, I>(arguments, true)
    }

    /// As [`imap`](Self::imap), but yields each result as soon as it comes, whatever its place (Python: `imap_unordered`).
    pub fn imap_unordered<F, A, S, I>(&self, _function: F, arguments: I) -> Imap<'_, I::IntoIter, F::Returned>
    where
        F: Function<A, S, Returned: Serialize + DeserializeOwned>,
        A: Serialize + DeserializeOwned,
        I: IntoIterator<Item = A>,
    {
        self.imap_by::<F, A, S, I>(arguments, false)
    }

    fn imap_by<F, A, S, I>(&self, arguments: I, ordered: bool) -> Imap<'_, I::IntoIter, F::Returned>
    where
        F: Function<A, S, Returned: Serialize + DeserializeOwned>,
        A: Serialize + DeserializeOwned,
        I: IntoIterator<Item = A>,
    {
        let chunk = self.chunk_size.unwrap_or(1).clamp(1, MOST_ELEMENTS);
        let most = chunk.saturating_mul(AHEAD * self.workers + AHEAD_ANYWAY);
        let function = self.ledger.name(enter_many::<F, A, S>);
        Imap::new(self, function, arguments.into_iter(), chunk, most, ordered)
    }

    /// Submits one call of `function` (Python: `apply_async`; `apply` is this and [`wait`](Task::wait)).
    ///
    /// # Errors
    ///
    /// The arguments can't be encoded or are too long, or the pool takes no tasks any more.
    pub fn spawn<F, A, S>(&self, _function: F, arguments: A) -> Result<Task<F::Returned>, SubmitError>
    where
        F: Function<A, S, Returned: Serialize + DeserializeOwned>,
        A: Serialize + DeserializeOwned,
    {
        let cell = Arc::new(Cell::default());
        let job: Arc<dyn Job> = cell.clone();
        self.submit(&job, self.ledger.name(enter_one::<F, A, S>), 0, 1, &arguments)?;
        Ok(Task::new(cell, Arc::clone(&self.ledger)))
    }

    /// Submits a call whose arguments are encoded, and whose result stays so: they came from another machine, and code of the user runs in
    /// workers alone.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn).
    #[doc(hidden)]
    pub fn spawn_encoded<F, A, S>(&self, _function: F, arguments: &Vec<u8>) -> Result<Task<Vec<u8>>, SubmitError>
    where
        F: Function<A, S, Returned: Serialize + DeserializeOwned>,
        A: Serialize + DeserializeOwned,
    {
        let cell = Arc::new(Cell::default());
        let job: Arc<dyn Job> = cell.clone();
        // Bytes by themselves are encoded as they are.
        self.submit(&job, self.ledger.name(enter_one::<F, A, S>), 0, 1, arguments)?;
        Ok(Task::new(cell, Arc::clone(&self.ledger)))
    }

    /// Encodes arguments and submits an order. Returns their bytes.
    fn submit<A: Serialize + DeserializeOwned>(
        &self,
        job: &Arc<dyn Job>,
        function: Name,
        base: usize,
        count: usize,
        arguments: &A,
    ) -> Result<usize, SubmitError> {
        if self.ledger.is_inherited() {
            return Err(SubmitError::Forked);
        }
        // Room for small arguments, so that the buffer need not grow.
        let mut bytes = Vec::with_capacity(Order::LEN + 24);
        bytes.resize(Order::LEN, 0);
        pass::encode_plain(arguments, &mut bytes).map_err(SubmitError::Encode)?;
        let begins = self.timed && self.ledger.is_idle();
        let len = bytes.len();
        self.ledger.submit(job, function, Lot { base, count, bytes })?;
        if begins {
            // From now on the supervisor has to look at the clock.
            self.group.ring();
        }
        Ok(len)
    }

    /// Submits a chunk. Returns its bytes.
    pub(crate) fn submit_lot<A: Serialize + DeserializeOwned>(
        &self,
        job: &Arc<dyn Job>,
        function: Name,
        base: usize,
        lot: &Vec<A>,
    ) -> Result<usize, SubmitError> {
        self.submit(job, function, base, lot.len(), lot)
    }

    /// Waits until at least this many results have come.
    pub(crate) fn take(&self, gather: &Gather, wanted: usize) -> Vec<Piece> {
        if self.ledger.is_inherited() {
            return Vec::new();
        }
        let came = self.ledger.wait(None, || gather.take(wanted));
        // Nothing comes any more: take what there is.
        came.or_else(|| gather.take(0)).unwrap_or_default()
    }

    pub(crate) fn abandon(&self, job: &Arc<dyn Job>) {
        if !self.ledger.is_inherited() {
            self.ledger.abandon(job);
        }
    }

    /// How many workers the pool has.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// The process ids of the workers that run now.
    pub fn pids(&self) -> Vec<u32> {
        if self.ledger.is_inherited() { Vec::new() } else { self.group.processes().iter().map(|process| process.pid()).collect() }
    }

    /// How many workers have taken the place of another one.
    pub fn replaced(&self) -> u64 {
        if self.ledger.is_inherited() { 0 } else { self.group.replaced() }
    }

    /// Takes no more tasks. Those that were submitted run (Python: `close`).
    pub fn close(&self) {
        if !self.ledger.is_inherited() {
            self.ledger.close();
        }
    }

    /// Waits until all tasks have ended, then until all workers have (Python: `join`).
    ///
    /// # Errors
    ///
    /// The pool was neither [closed](Self::close) nor [terminated](Self::terminate), or it ended because its workers can't work.
    pub fn join(&self) -> Result<(), JoinPoolError> {
        if self.ledger.is_inherited() {
            return Err(JoinPoolError::Forked);
        }
        let ended = self.ledger.wait_idle();
        if matches!(ended, Err(JoinPoolError::NotClosed)) {
            return ended;
        }
        self.group.drain();
        self.ledger.orders.shutdown();
        self.finish();
        ended
    }

    /// Ends the workers at once, by SIGTERM, and by SIGKILL half a second later. Tasks without a result end with [`TaskError::Ended`]
    /// (Python: `terminate`; a thread that waits for a result there waits for ever).
    pub fn terminate(&self) {
        if self.ledger.is_inherited() {
            return;
        }
        self.group.terminate();
        self.ledger.end(TERMINATED, true);
        self.finish();
    }

    /// Waits for the workers.
    fn finish(&self) {
        let _ = self.group.wait(None);
        self.ledger.reports.queue.shutdown();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.terminate();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("workers", &self.workers).field("pids", &self.pids()).finish_non_exhaustive()
    }
}

/// Pools and what they give can go to other threads, and be used by several.
const _: () = {
    const fn is_shared<T: Send + Sync + fmt::Debug>() {}
    is_shared::<(Pool, PoolBuilder, Task<std::rc::Rc<u8>>, TaskError)>();
};
