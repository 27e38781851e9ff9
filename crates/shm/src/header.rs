//! The first page of every segment: the version of its layout, the kind of structure in it, and its size.

use crate::error::Flaw;
use crate::segment::Spec;
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
const VERSION: u32 = 5;
const MAGIC: [u8; 8] = *b"mproc\0\r\n";
/// Where the participant table starts.
pub(crate) const HEADER_LEN: usize = 4096;

/// The creator writes it once, and each process that attaches reads it once. Native byte order: a segment never leaves its machine.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Header {
    magic: [u8; 8],
    version: u32,
    pub(crate) kind: Kind,
    /// Length of the segment in bytes as it was created.
    pub(crate) len: u64,
    /// Rows of the participant table.
    pub(crate) participants: u32,
    reserved: u32,
    /// Eight numbers of the structure.
    pub(crate) geometry: [u64; 8],
    pub(crate) label: Label,
}

static_assertions::const_assert_eq!(size_of::<Header>(), 224);

/// A few words for people about what is in a segment, as the name of a type. Nothing else depends on it.
#[derive(Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct Label([u8; 128]);

impl Label {
    /// The label of a segment that says nothing.
    pub const NONE: Self = Self([0; 128]);

    /// A label with the first 128 bytes of a text, or a few less: no character is cut in two.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut label = Self::NONE;
        let len = (0..=label.0.len()).rev().find(|&len| text.is_char_boundary(len)).unwrap_or(0).min(text.len());
        label.0[..len].copy_from_slice(&text.as_bytes()[..len]);
        label
    }
}

/// The text, without control characters: another process wrote it.
impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = self.0.iter().position(|&byte| byte == 0).unwrap_or(self.0.len());
        let text = String::from_utf8_lossy(&self.0[..len]);
        text.chars().filter(|c| !c.is_control()).try_for_each(|c| fmt::Write::write_char(f, c))
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

impl Header {
    pub(crate) fn new(spec: &Spec, len: u64) -> Self {
        let &Spec { kind, participants, geometry, label, .. } = spec;
        Self { magic: MAGIC, version: VERSION, kind, len, participants, reserved: 0, geometry, label }
    }

    /// Checks all that can be wrong with a header on its own, on a private copy. `kind`: the kind it must have.
    pub(crate) fn check(&self, kind: Option<Kind>, file_len: u64) -> Result<(), Flaw> {
        if self.magic != MAGIC {
            return Err(Flaw::Magic);
        }
        if self.version != VERSION {
            return Err(Flaw::Version { found: self.version, known: VERSION });
        }
        if let Some(kind) = kind.filter(|kind| self.kind != *kind) {
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
