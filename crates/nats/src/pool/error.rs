//! Why a call was not taken, has no result, or can't be served.

use crate::error::{GetError, PutError, ServerError};
use multiproc_pool::TaskError;
use multiproc_prim::{error_debug, error_equal};
use serde::{Deserialize, Serialize};
use thiserror::Error;

error_debug! {
    RemoteSubmitError { Closed, Unnamed, Put }
    RemoteTaskError { Task, NotPut, Unknown, Lost }
    RemoteMapError<R> { Submit, Tasks }
    ServeError { Unnamed, Ambiguous, Queue, Pool, Thread }
}

error_equal! { RemoteSubmitError RemoteTaskError ServeError }

/// Why a task was not taken.
#[derive(Error)]
#[non_exhaustive]
pub enum RemoteSubmitError {
    /// The pool was closed.
    #[error("the pool was closed: submit before close")]
    Closed,
    /// Other machines could not name the function.
    #[error("{function} is a closure or stands in one, so other machines have no name for it: make it a function of a module")]
    Unnamed {
        /// What the compiler calls it.
        function: String,
    },
    /// The queue did not take the call.
    #[error(transparent)]
    Put(#[from] PutError<()>),
}

/// Why a task has no result.
#[derive(Clone, Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RemoteTaskError {
    /// As in a pool of one machine. A worker that died was one process of a machine, which lives.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// The queue did not take the call, or takes none any more.
    #[error("its call was not put: {why}")]
    NotPut {
        /// Why not.
        why: String,
    },
    /// The machine that took the call does not serve this function.
    #[error("the machine that took it serves no function {function}: add it to the Tasks there, and build both programs alike")]
    Unknown {
        /// Its name.
        function: String,
    },
    /// The call left the queue without a result: the queue was purged or deleted, the server lost what it had, the call was in hand as often
    /// as the queue's `max_deliveries` allows, or the machines could not reach this process for ten minutes.
    #[error(
        "its call left the queue without a result: the queue was purged, deleted or lost, max_deliveries was reached, \
         or no machine reached this pool for ten minutes"
    )]
    Lost,
}

/// Why a map has no complete answer.
#[derive(Error)]
#[non_exhaustive]
pub enum RemoteMapError<R> {
    /// Nothing was taken.
    #[error(transparent)]
    Submit(#[from] RemoteSubmitError),
    /// Some tasks have no result. The others have.
    #[error("{} of {} tasks failed; {}", results.iter().filter(|result| result.is_err()).count(), results.len(), first(results))]
    Tasks {
        /// What became of each task, in the order of the arguments.
        results: Vec<Result<R, RemoteTaskError>>,
    },
}

fn first<R>(results: &[Result<R, RemoteTaskError>]) -> String {
    let first = results.iter().enumerate().find_map(|(index, result)| Some((index, result.as_ref().err()?)));
    first.map_or_else(String::new, |(index, error)| format!("the first is task {index}: {error}"))
}

/// Why calls are not served any more.
#[derive(Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A closure is among the tasks.
    #[error("{function} is a closure or stands in one, so other machines have no name for it: make it a function of a module")]
    Unnamed {
        /// What the compiler calls it.
        function: String,
    },
    /// Two functions have one path, as functions inside of functions can.
    #[error("there are two functions {function}, which other machines can't tell apart: make them functions of a module")]
    Ambiguous {
        /// The path.
        function: String,
    },
    /// The queue gives no more calls.
    #[error(transparent)]
    Queue(#[from] GetError),
    /// The pool of this machine runs nothing any more. What it had in hand went back to the queue.
    #[error("the pool of this machine has ended: {why}")]
    Pool {
        /// Why.
        why: String,
    },
    /// The system refused a thread.
    #[error("the system refused a thread")]
    Thread(#[from] std::io::Error),
}

impl From<ServerError> for ServeError {
    fn from(why: ServerError) -> Self {
        Self::Queue(why.into())
    }
}
