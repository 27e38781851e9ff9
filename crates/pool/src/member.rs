//! One process of a group: how it starts, and how it ends when its parent has ended.
//!
//! Parent and member hold the ends of a socket pair. Its hang-up tells each of the other's end, at once. So a member needs not be a daemon,
//! which could have no children.

use crate::function::{Function, call};
use multiproc_prim::background;
use multiproc_process::{Ending, Exit, Process, ProcessBuilder, SpawnErrorKind};
use multiproc_travel::pass::Descriptor;
use multiproc_travel::{Link, Wire};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::parent_id;
use std::time::Duration;

/// How often a member looks at its parent's number. A forked copy of the parent may keep the other end of the socket open.
const PERIOD: Duration = Duration::from_secs(1);
/// How long the end of a member may take once its parent has ended.
const GRACE: Duration = Duration::from_secs(1);
/// How long the start of a member may take. Meanwhile its supervisor waits.
const START: Duration = Duration::from_secs(10);

/// A process, and the parent's end of the socket.
pub(crate) struct Member {
    pub(crate) process: Process,
    pub(crate) wire: Wire,
}

/// A member that did not start.
pub(crate) struct NotStarted {
    pub(crate) why: String,
    /// How its process ended, if it did.
    pub(crate) exit: Option<Exit>,
}

impl From<io::Error> for NotStarted {
    fn from(error: io::Error) -> Self {
        Self { why: error.to_string(), exit: None }
    }
}

impl Member {
    pub(crate) fn start<F, A, S>(builder: ProcessBuilder, _function: F, arguments: A) -> Result<Self, NotStarted>
    where
        F: Function<A, S, Returned: Ending>,
        A: Serialize + DeserializeOwned + 'static,
        S: 'static,
    {
        let (ours, theirs) = Link::pair()?;
        let wire = Wire::from_descriptor(OwnedFd::from(ours))?;
        let arguments = (Descriptor::from(OwnedFd::from(theirs)), arguments);
        let started = builder.start_timeout(START).spawn(enter::<F, A, S>, arguments);
        let process = started.map_err(|error| {
            let exit = if let SpawnErrorKind::EndedEarly { exit } = error.kind() { Some(*exit) } else { None };
            NotStarted { why: error.kind().to_string(), exit }
        })?;
        Ok(Self { process, wire })
    }
}

/// What a member runs.
fn enter<F: Function<A, S>, A, S>((wire, arguments): (Descriptor, A)) -> F::Returned {
    if let Err(error) = end_with_parent(wire) {
        eprintln!("a worker can't watch its parent: {error}");
        std::process::exit(1);
    }
    call::<F, A, S>(arguments)
}

/// Ends this process when its parent ends, however that ends.
fn end_with_parent(wire: Descriptor) -> io::Result<()> {
    let wire = Wire::from_descriptor(wire.into())?;
    let parent = parent_id();
    let watch = move || {
        while !wire.is_hung_up() && parent_id() == parent {
            wire.wait(Some(PERIOD));
        }
        // Nobody is left to end this process if a destructor of the program hangs.
        let _ = std::thread::Builder::new().spawn(|| {
            std::thread::sleep(GRACE);
            std::process::abort();
        });
        std::process::exit(1);
    };
    background("multiproc-member", watch)
}
