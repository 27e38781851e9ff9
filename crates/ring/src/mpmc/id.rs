//! Ids of messages, by which people and other programs name them.

use super::block::Held;
use super::handle::Mpmc;
use super::state::{Lane, Origin, RingId};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// The id of a message, which stays the same however often the message is delivered, and which no other message of its ring has.
///
/// It is a number: messages count from 1. Those in the larger rings of a ring that grows count on their own, behind a letter: `17`, `b17`, `c17`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub(super) u64);

/// A text is not the id of a message.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0:?} is not the id of a message, as 17 or b17")]
pub struct MessageIdError(String);

/// Bits of the count; above them is the class of the ring.
const COUNT_BITS: u32 = 48;

impl MessageId {
    pub(super) const fn new(class: u32, count: u64) -> Self {
        Self((class as u64 & 15) << COUNT_BITS | count & ((1 << COUNT_BITS) - 1))
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (class, count) = ((self.0 >> COUNT_BITS) as u8 & 15, self.0 & ((1 << COUNT_BITS) - 1));
        match class {
            0 => f.pad(&count.to_string()),
            _ => f.pad(&format!("{}{count}", char::from(b'a' + class))),
        }
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({self})")
    }
}

impl FromStr for MessageId {
    type Err = MessageIdError;

    fn from_str(text: &str) -> Result<Self, MessageIdError> {
        let no = || MessageIdError(text.chars().take(40).collect());
        let class = text.bytes().next().filter(|first| (b'b'..=b'p').contains(first)).map_or(0, |first| first - b'a');
        let digits = &text[usize::from(class > 0)..];
        let only_digits = digits.bytes().all(|digit| digit.is_ascii_digit());
        let count = digits.parse().ok().filter(|&count: &u64| only_digits && count < 1 << COUNT_BITS);
        Ok(Self::new(class.into(), count.ok_or_else(no)?))
    }
}

impl Mpmc {
    /// The id of a message in hand.
    pub fn id_of(&self, held: &Held) -> MessageId {
        self.id_from(held.number(), held.origin())
    }

    /// The id of a message that was taken from there, and lies in that block.
    pub(super) fn id_from(&self, block: u32, from: Origin) -> MessageId {
        if from.ring().lane() == Lane::Main {
            return self.id_at(from.ring(), from.ticket().low());
        }
        let found = self.arena.find(block).and_then(Result::ok).flatten();
        found.and_then(|found| Some(found.notes()?.id())).unwrap_or(MessageId(0))
    }

    /// The id of a message that was pushed into the main lane under this ticket.
    pub(super) fn id_at(&self, ring: RingId, ticket_low: u64) -> MessageId {
        let count = self.lane(Lane::Main).and_then(|rings| rings.count_at(ring.class(), ticket_low));
        MessageId::new(ring.class(), count.unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written() {
        for id in [MessageId::new(0, 1), MessageId::new(1, 17), MessageId::new(15, (1 << COUNT_BITS) - 1)] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        assert_eq!((MessageId::new(1, 17).to_string(), MessageId::new(0, 17).to_string()), ("b17".into(), "17".into()));
        for text in ["", "b", "a1", "q1", "+1", "1b", "-1", "999999999999999", "ä1", " 1"] {
            assert!(text.parse::<MessageId>().is_err(), "{text:?}");
        }
    }
}
