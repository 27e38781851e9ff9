//! The first page of every segment: who made it, what lies in it, and how large it is.

use crate::error::Flaw;
use bytemuck::{Pod, Zeroable};
use std::fmt;

/// What lies in a segment: four letters, as `b"QUEU"`.
#[derive(Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct Kind(pub [u8; 4]);

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

/// Processes that can be attached to one segment at once: as many rows as an owner of blocks can have a number of, but for those
/// of the [janitors](crate::Participants::join_as_janitor).
pub const MAX_PARTICIPANTS: u32 = 1024 - JANITORS;

/// Rows kept for processes that clear the dead out of a full table. One alone could be held by a process that is stopped.
pub(crate) const JANITORS: u32 = 8;

/// Changes whenever the bytes of any structure do.
const VERSION: u32 = 2;
const MAGIC: [u8; 8] = *b"mproc\0\r\n";
/// Where the participant table starts.
pub(crate) const HEADER_LEN: usize = 4096;

/// Written once by the creator, read once by whoever attaches. Native byte order: a segment never leaves its machine.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Header {
    magic: [u8; 8],
    version: u32,
    kind: Kind,
    /// Length of the segment in bytes as it was made.
    pub(crate) len: u64,
    /// Rows of the participant table.
    pub(crate) participants: u32,
    reserved: u32,
    /// Eight numbers that mean something to the kind.
    pub(crate) geometry: [u64; 8],
}

static_assertions::const_assert_eq!(size_of::<Header>(), 96);

impl Header {
    pub(crate) fn new(kind: Kind, len: u64, participants: u32, geometry: [u64; 8]) -> Self {
        Self { magic: MAGIC, version: VERSION, kind, len, participants, reserved: 0, geometry }
    }

    /// Everything that can be wrong with a header on its own, on a private copy.
    pub(crate) fn check(&self, kind: Kind, file_len: u64) -> Result<(), Flaw> {
        if self.magic != MAGIC {
            return Err(Flaw::Magic);
        }
        if self.version != VERSION {
            return Err(Flaw::Version { found: self.version, known: VERSION });
        }
        if self.kind != kind {
            return Err(Flaw::Kind { found: format!("{:?}", self.kind), expected: format!("{kind:?}") });
        }
        // It may have grown since.
        if self.len > file_len {
            return Err(Flaw::Length { len: file_len, expected: self.len });
        }
        if self.participants > MAX_PARTICIPANTS {
            return Err(Flaw::Geometry(format!("{} participants", self.participants)));
        }
        if content_at(self.participants) as u64 > self.len {
            return Err(Flaw::Length { len: file_len, expected: content_at(self.participants) as u64 });
        }
        Ok(())
    }
}

/// Rows of the table of so many participants, those of the janitors included, which come first.
pub const fn table_rows(participants: u32) -> u32 {
    if participants == 0 { 0 } else { participants + JANITORS }
}

/// Offset of the kind's own bytes: behind the header and the participant table, on a page of their own.
pub(crate) fn content_at(participants: u32) -> usize {
    (HEADER_LEN + table_rows(participants) as usize * size_of::<crate::participant::Row>()).next_multiple_of(4096)
}
