//! One error per operation, and the error of a task.

use crate::message::Fault;
use multiproc_prim::{error_debug, error_equal};
use multiproc_process::Exit;
use multiproc_queue::{EncodeError, OpenError};
use multiproc_shm::CreateError;
use serde::{Deserialize, Serialize};
use std::io;
use std::time::Duration;
use thiserror::Error;

error_debug! {
    StartError { Process, Queue, Board, Thread }
    SubmitError { Closed, Ended, Encode, TooLong, NoMemory, Forked }
    TaskError { WorkerDied, TimedOut, Panicked, Arguments, Result, Cancelled, Closed, Ended }
    MapError<R> { Submit, Tasks }
    JoinPoolError { NotClosed, Ended, Forked }
    WorkersError { GaveUp, Forked }
}

error_equal! { StartError SubmitError TaskError JoinPoolError WorkersError }

/// Why a pool or a group of workers did not start.
#[derive(Error)]
#[non_exhaustive]
pub enum StartError {
    /// A worker could not be started.
    #[error("can't start worker {name:?}: {why}")]
    Process {
        /// The name that the worker was to have.
        name: String,
        /// Why not.
        why: String,
    },
    /// The pool's queues could not be made.
    #[error(transparent)]
    Queue(#[from] OpenError),
    /// The pool's shared words could not be made.
    #[error(transparent)]
    Board(#[from] CreateError),
    /// The system refused a thread or a descriptor.
    #[error("the system refused a thread or a descriptor")]
    Thread(#[from] io::Error),
}

/// Why a task was not taken.
#[derive(Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The pool was closed (Python: `ValueError`).
    #[error("the pool was closed: submit before close")]
    Closed,
    /// The pool has ended.
    #[error("the pool has ended: {why}")]
    Ended {
        /// Why.
        why: String,
    },
    /// The arguments refuse to be encoded.
    #[error("{0}")]
    Encode(EncodeError),
    /// The arguments are longer than a task can have.
    #[error("the arguments take {len} bytes, more than the {max} that a task can have")]
    TooLong {
        /// Bytes of the encoded arguments.
        len: usize,
        /// Bytes that they may have.
        max: usize,
    },
    /// The shared memory of the system is used up.
    #[error("the system's shared memory is used up: {why}")]
    NoMemory {
        /// What the queue said.
        why: String,
    },
    /// This process is a forked copy of the one that made the pool.
    #[error("the pool belongs to the process that this one was forked from: make another one")]
    Forked,
}

/// Why a task has no result.
#[derive(Clone, Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TaskError {
    /// The worker that ran the task was killed or exited, at each attempt.
    #[error("its worker ended with {exit} while it ran the task, attempt {attempts}")]
    WorkerDied {
        /// How the last worker ended.
        exit: Exit,
        /// How often the task was begun.
        attempts: u32,
    },
    /// The task ran past its time, at each attempt, and its worker was killed.
    #[error("it ran for more than {limit:?}, attempt {attempts}")]
    TimedOut {
        /// The time that a task may take.
        limit: Duration,
        /// How often the task was begun.
        attempts: u32,
    },
    /// The function panicked. The panic is printed by the worker, too.
    #[error("it panicked: {message}")]
    Panicked {
        /// The text of the panic.
        message: String,
    },
    /// The worker could not decode the arguments.
    #[error("its arguments can't be decoded: {why}")]
    Arguments {
        /// Why, in the decoder's words.
        why: String,
    },
    /// The result can't be encoded, is too long, or can't be decoded.
    #[error("its result can't be sent back: {why}")]
    Result {
        /// Why.
        why: String,
    },
    /// The task was cancelled before it began.
    #[error("it was cancelled before it began")]
    Cancelled,
    /// The pool was closed before this element was submitted.
    #[error("the pool was closed before this element was submitted")]
    Closed,
    /// The pool ended first.
    #[error("the pool ended first: {why}")]
    Ended {
        /// Why.
        why: String,
    },
}

impl From<Fault> for TaskError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Panicked(message) => Self::Panicked { message },
            Fault::Arguments(why) => Self::Arguments { why },
            Fault::Result(why) => Self::Result { why },
        }
    }
}

/// Why [`map`](crate::Pool::map) has no complete answer.
#[derive(Error)]
#[non_exhaustive]
pub enum MapError<R> {
    /// Some arguments were not taken. Tasks that had begun by then have run.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// Some tasks have no result. The others have.
    #[error("{} of {} tasks failed; {}", failed(results), results.len(), first(results))]
    Tasks {
        /// What became of each task, in the order of the arguments.
        results: Vec<Result<R, TaskError>>,
    },
}

fn failed<R>(results: &[Result<R, TaskError>]) -> usize {
    results.iter().filter(|result| result.is_err()).count()
}

fn first<R>(results: &[Result<R, TaskError>]) -> String {
    let first = results.iter().enumerate().find_map(|(index, result)| Some((index, result.as_ref().err()?)));
    first.map_or_else(String::new, |(index, error)| format!("the first is task {index}: {error}"))
}

/// Why a pool was not joined, or did not end well.
#[derive(Error)]
#[non_exhaustive]
pub enum JoinPoolError {
    /// The pool still takes tasks (Python: `ValueError`).
    #[error("the pool still takes tasks: call close or terminate before join")]
    NotClosed,
    /// The pool ended before its tasks did.
    #[error("the pool has ended: {why}")]
    Ended {
        /// Why.
        why: String,
    },
    /// This process is a forked copy of the one that made the pool.
    #[error("the pool belongs to the process that this one was forked from")]
    Forked,
}

/// Why a group of workers did not end well.
#[derive(Error)]
#[non_exhaustive]
pub enum WorkersError {
    /// Too many workers in a row died at once, or could not be started.
    #[error("too many workers in a row failed at once; the last one: {why}")]
    GaveUp {
        /// How the last one failed.
        why: String,
    },
    /// This process is a forked copy of the one that started the workers.
    #[error("the workers belong to the process that this one was forked from")]
    Forked,
}
