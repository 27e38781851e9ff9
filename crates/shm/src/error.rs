//! One error per operation.

use crate::named::NameError;
use multiproc_prim::{OutOfBounds, error_debug, fmt_refusal};
use std::fmt;
use std::io;
use thiserror::Error;

error_debug! {
    CreateError { Name, Exists, TooLarge, TooManyParticipants, Directory, System }
    AttachError { Name, NotFound, Refused, System }
    Flaw {
        NotAFile, Symlink, Owner, Mode, DirectoryMode, Unsealed, Length, Magic, Version, Kind, MessageType, Geometry,
    }
    ParticipantError { Full }
}

fn system(segment: &str, what: &str, source: &io::Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    fmt_refusal(f, format_args!("segment {segment:?}: can't {what}"), source)
}

/// Why a segment was not created.
#[derive(Error)]
#[non_exhaustive]
pub enum CreateError {
    /// A segment can't have this name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A segment of this name exists.
    #[error("a segment named {0:?} exists already: open it, or remove it first")]
    Exists(String),
    /// An address space has no room for so many bytes.
    #[error("a segment of {0} bytes is larger than an address space: ask for less")]
    TooLarge(u64),
    /// A participant table has no room for so many rows.
    #[error("{0} participants are more than the {max} that a segment can have: ask for fewer", max = crate::MAX_PARTICIPANTS)]
    TooManyParticipants(u32),
    /// The directory of named segments can't be made, or can't be trusted.
    #[error(transparent)]
    Directory(AttachError),
    /// The system refused a step.
    #[error(fmt = system)]
    System {
        /// The segment's name, or `multiproc-` and its kind.
        segment: String,
        /// The step.
        what: &'static str,
        /// The system's answer.
        source: io::Error,
    },
}

/// Why a segment was not attached, opened or removed.
#[derive(Error)]
#[non_exhaustive]
pub enum AttachError {
    /// A segment can't have this name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// There is no segment of this name.
    #[error("this user has no segment named {0:?}: create it first")]
    NotFound(String),
    /// This process can't trust the segment, or it is not of the kind asked for.
    #[error("segment {segment:?} refused: {flaw}")]
    Refused {
        /// The segment's name, or `multiproc-` and the kind asked for.
        segment: String,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// The system refused a step.
    #[error(fmt = system)]
    System {
        /// The segment's name, or `multiproc-` and the kind asked for.
        segment: String,
        /// The step.
        what: &'static str,
        /// The system's answer.
        source: io::Error,
    },
}

/// What is wrong with a segment.
#[derive(Clone, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flaw {
    /// The file is no memory: a socket, a directory, a device.
    #[error("it is not a regular file")]
    NotAFile,
    /// Its name is a symbolic link.
    #[error("it is a symbolic link")]
    Symlink,
    /// Another user created it.
    #[error("it belongs to user {owner}, not to {expected}")]
    Owner {
        /// The user whose file it is.
        owner: u32,
        /// The user of this process.
        expected: u32,
    },
    /// Other users may read or write it.
    #[error("its mode {mode:o} lets others in: it must be 600")]
    Mode {
        /// Its permission bits.
        mode: u32,
    },
    /// Other users may add or swap names in the directory of named segments.
    #[error("its mode {mode:o} lets others in: make it 700 (chmod 700), or remove it")]
    DirectoryMode {
        /// Its permission bits.
        mode: u32,
    },
    /// Its creator could cut it short while others use it.
    #[error("it is not sealed against shrinking and against further seals")]
    Unsealed,
    /// It is shorter than its header, or than its header says.
    #[error("it is {len} bytes long, not {expected}")]
    Length {
        /// Its length in bytes.
        len: u64,
        /// The length that it should have at least, in bytes.
        expected: u64,
    },
    /// It does not start with the mark of a segment.
    #[error("it does not start with the mark of a multiproc segment")]
    Magic,
    /// Another version of this crate created it, with another layout.
    #[error("its layout has version {found}, this program knows {known}: build both programs with the same version of multiproc")]
    Version {
        /// The version in its header.
        found: u32,
        /// The version of this program.
        known: u32,
    },
    /// It holds another structure.
    #[error("it holds a {found}, not a {expected}")]
    Kind {
        /// The kind in its header.
        found: String,
        /// The kind asked for.
        expected: String,
    },
    /// Its messages are of another type. This crate knows no messages: `multiproc-queue` says so of its segments.
    #[error("{}", other_type(found, expected))]
    MessageType {
        /// The type that the segment's label names.
        found: String,
        /// The type asked for.
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

/// Why a process could not become a participant of a segment.
#[derive(Clone, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParticipantError {
    /// Every row is in use. Rows of the dead count until they are buried: see
    /// [`join_as_janitor`](crate::Participants::join_as_janitor).
    #[error("all {0} places for participants are taken: end a process that has one, or create the segment with more")]
    Full(usize),
}

fn other_type(found: &str, expected: &str) -> String {
    match found == expected {
        true => format!("its messages are of another type {found} than this program's: a field or a variant differs"),
        false => format!("its messages are of type {found}, and not {expected} as this program has it"),
    }
}
