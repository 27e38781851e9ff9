//! A pool whose workers are on other machines: its calls wait in a queue on the server.
//!
//! | file | side | what it has |
//! |---|---|---|
//! | `call.rs` | both | what goes between the two |
//! | `remote.rs`, `board.rs` | the pool's | submitting calls; which of them are under way, and their results |
//! | `task.rs`, `imap.rs` | the pool's | one result to come, or many |
//! | `serve.rs`, `tell.rs` | the workers' | carrying out calls in a pool of this machine; telling the pool that asked |
//!
//! A call stays in the queue until its pool has the result, and longer than the worker that runs it: what a lost machine had in hand goes
//! to another one when the lease ends.
//!
//! | step of a machine | if the machine is lost after it |
//! |---|---|
//! | get the call | another one gets it |
//! | ask its pool whether to begin | the same |
//! | run it, here, in a process of its own | the same, so it may run twice |
//! | tell the pool its result, which the pool acknowledges | another one gets it, asks, and is told to leave it |
//! | say done | nothing is left |

mod board;
mod call;
mod error;
mod imap;
mod remote;
mod serve;
mod task;
mod tell;

pub use call::Call;
pub use error::{RemoteMapError, RemoteSubmitError, RemoteTaskError, ServeError};
pub use imap::RemoteImap;
pub use remote::RemotePool;
pub use serve::Tasks;
pub use task::RemoteTask;
