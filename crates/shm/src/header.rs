//! The first page of every segment: the version of its layout, the kind of structure in it, and its size.

use crate::error::Flaw;
use bytemuck::{Pod, Zeroable};
use std::fmt;

/// The kind of structure in a segment: four letters, as `b"QUEU"`. A process that attaches says which kind it expects.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(transparent)]
pub struct Kind(pub [u8; 4]);

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

/// Participants that one segment can have at once: 1,016. The rows of the [janitors](crate::Participants::join_as_janitor) come on top.
pub const MAX_PARTICIPANTS: u32 = 1024 - JANITORS;

/// Rows kept for processes that clear the dead out of a full table. A stopped process could hold one row alone.
pub(crate) const JANITORS: u32 = 8;

/// Change it whenever the bytes of any structure change.
const VERSION: u32 = 4;
const MAGIC: [u8; 8] = *b"mproc\0\r\n";
/// Where the participant table starts.
pub(crate) const HEADER_LEN: usize = 4096;

/// The creator writes it once, and each process that attaches reads it once. Native byte order: a segment never leaves its machine.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Header {
    magic: [u8; 8],
    version: u32,
    kind: Kind,
    /// Length of the segment in bytes as it was created.
    pub(crate) len: u64,
    /// Rows of the participant table.
    pub(crate) participants: u32,
    reserved: u32,
    /// Eight numbers of the structure.
    pub(crate) geometry: [u64; 8],
}

static_assertions::const_assert_eq!(size_of::<Header>(), 96);

impl Header {
    pub(crate) fn new(kind: Kind, len: u64, participants: u32, geometry: [u64; 8]) -> Self {
        Self { magic: MAGIC, version: VERSION, kind, len, participants, reserved: 0, geometry }
    }

    /// Checks all that can be wrong with a header on its own, on a private copy.
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
        // The segment may have grown since.
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

/// Rows of the table of a segment for so many participants. The rows of the [janitors](crate::Participants::join_as_janitor) come
/// first. A structure that keeps words for each participant has one for each row.
#[must_use]
pub const fn table_rows(participants: u32) -> u32 {
    if participants == 0 { 0 } else { participants + JANITORS }
}

/// Offset of the content: behind the header and the participant table, on a page of their own.
pub(crate) fn content_at(participants: u32) -> usize {
    (HEADER_LEN + table_rows(participants) as usize * size_of::<crate::participant::Row>()).next_multiple_of(4096)
}
