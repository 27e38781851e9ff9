//! One error per operation.

use crate::named::NameError;
use multiproc_prim::OutOfBounds;
use thiserror::Error;

/// Why a segment was not made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CreateError {
    /// The name can't be one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A named segment of this name exists.
    #[error("a segment named {0:?} exists already: open it, or remove it first")]
    Exists(String),
    /// More bytes than an address space has.
    #[error("a segment of {0} bytes is beyond what can be addressed")]
    TooLarge(u64),
    /// More rows than a participant table has.
    #[error("{0} participants are more than the {max} that a segment can have", max = crate::MAX_PARTICIPANTS)]
    TooManyParticipants(u32),
    /// The system refused.
    #[error("can't {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Why a segment was not attached.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AttachError {
    /// The name can't be one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// There is no segment of this name.
    #[error("there is no segment named {0:?}")]
    NotFound(String),
    /// It is not a segment that this process may trust, or not one of the kind asked for.
    #[error("segment {segment:?} refused: {flaw}")]
    Refused {
        /// Its name, or the descriptor's.
        segment: String,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// The system refused.
    #[error("can't {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

/// What is wrong with a segment.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flaw {
    /// Not a file with memory behind it.
    #[error("it is not a regular file")]
    NotAFile,
    /// Reached through a symbolic link.
    #[error("it is a symbolic link")]
    Symlink,
    /// Made by another user.
    #[error("it belongs to user {owner}, not to {expected}")]
    Owner {
        /// Who made it.
        owner: u32,
        /// Who asks.
        expected: u32,
    },
    /// Others may write it.
    #[error("its mode {mode:o} lets others in: it must be 600")]
    Mode {
        /// Its permission bits.
        mode: u32,
    },
    /// Others may add or swap names in the directory of named segments.
    #[error("its mode {mode:o} lets others in: make it 700 (chmod 700), or remove it")]
    DirectoryMode {
        /// Its permission bits.
        mode: u32,
    },
    /// It could be cut short under the feet of those who use it.
    #[error("it is not sealed against shrinking and against further seals")]
    Unsealed,
    /// Shorter than its header, or than its header says.
    #[error("it is {len} bytes long, not {expected}")]
    Length {
        /// What it is.
        len: u64,
        /// What it should be.
        expected: u64,
    },
    /// It does not start as our segments do.
    #[error("it does not start with the mark of a multiproc segment")]
    Magic,
    /// Made by another version of the layout.
    #[error("its layout has version {found}, this program knows {known}")]
    Version {
        /// What it says.
        found: u32,
        /// What we know.
        known: u32,
    },
    /// Another structure lies in it.
    #[error("it holds a {found}, not a {expected}")]
    Kind {
        /// What it says.
        found: String,
        /// What was asked for.
        expected: String,
    },
    /// Its messages are of another type.
    #[error("its messages are not of type {expected}, or of another version of that type")]
    MessageType {
        /// What was asked for.
        expected: String,
    },
    /// Its numbers make no structure.
    #[error("its geometry makes no sense: {0}")]
    Geometry(String),
}

impl From<OutOfBounds> for Flaw {
    fn from(error: OutOfBounds) -> Self {
        Self::Geometry(error.to_string())
    }
}

/// Why a process could not join a segment's participants.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JoinError {
    /// Every row is in use by a living process.
    #[error("all {0} places for processes are taken: detach one first")]
    Full(usize),
    /// The system refused.
    #[error("can't {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}
