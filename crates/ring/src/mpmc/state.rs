//! The packed words of the ring: pure arithmetic, no memory.

/// Rows that an [`Owner`] can name.
pub const MAX_ROWS: u32 = 1 << ROW_BITS;

const TICKET_BITS: u32 = 40;
const ROW_BITS: u32 = 10;
const EPOCH_BITS: u32 = 9;
const LANE_BITS: u32 = 2;
const TURN_BITS: u32 = 40;
const CONTENT_BITS: u32 = 24;
/// Blocks that a slot can name: half of the content's values, but the one for nothing.
pub(crate) const MAX_BLOCKS: u32 = (1 << (CONTENT_BITS - 1)) - 1;

const fn mask(bits: u32) -> u64 {
    (1 << bits) - 1
}

/// Who holds a block: a row of a participant table, and how often that row was handed out.
///
/// The epoch keeps a sweeper that slept from freeing what a newcomer in the same row holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner(u32);

impl Owner {
    /// The participant in `row` (below [`MAX_ROWS`]; higher bits are cut off), in its `epoch` (modulo 512).
    pub const fn new(row: u32, epoch: u32) -> Self {
        Self((row & mask(ROW_BITS) as u32) << EPOCH_BITS | (epoch & mask(EPOCH_BITS) as u32))
    }

    /// The row.
    pub const fn row(self) -> u32 {
        self.0 >> EPOCH_BITS
    }

    /// The epoch, modulo 512.
    pub const fn epoch(self) -> u32 {
        self.0 & mask(EPOCH_BITS) as u32
    }
}

/// One of the rings that share an arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Lane {
    /// New messages.
    Main = 0,
    /// Messages that a dead consumer held, on their way to another one.
    Returned = 1,
    /// Messages that were delivered too often.
    Dead = 2,
    /// Messages of the dead lane that a dead reader held, on their way to another one.
    DeadReturned = 3,
}

impl Lane {
    pub(crate) const ALL: [Self; 4] = [Self::Main, Self::Returned, Self::Dead, Self::DeadReturned];

    /// Whether the messages of this lane are done with, but for whoever reads them.
    pub(crate) const fn is_dead(self) -> bool {
        matches!(self, Self::Dead | Self::DeadReturned)
    }

    fn from_bits(bits: u64) -> Option<Self> {
        Self::ALL.get(bits as usize).copied()
    }
}

/// What a block is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// In nobody's hands. Zero, so that new memory is a free block.
    Free = 0,
    /// Being written by its owner.
    Owned = 1,
    /// About to be in slot `ticket`, or in it and not yet taken.
    Publishing = 2,
    /// Taken from slot `ticket` by its owner.
    Taken = 3,
}

/// A block's state word: kind 3 bits, lane 2, owner 19, ticket 40.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockState(pub(crate) u64);

const LANE_SHIFT: u32 = 3;
const OWNER_SHIFT: u32 = LANE_SHIFT + LANE_BITS;
const TICKET_SHIFT: u32 = OWNER_SHIFT + ROW_BITS + EPOCH_BITS;
static_assertions::const_assert_eq!(TICKET_SHIFT + TICKET_BITS, 64);
static_assertions::const_assert_eq!(TURN_BITS + CONTENT_BITS, 64);

impl BlockState {
    pub(crate) const FREE: Self = Self(Kind::Free as u64);

    pub(crate) const fn owned(owner: Owner) -> Self {
        Self(Kind::Owned as u64 | (owner.0 as u64) << OWNER_SHIFT)
    }

    pub(crate) const fn publishing(lane: Lane, owner: Owner, ticket: Ticket) -> Self {
        Self::at(Kind::Publishing, lane, owner, ticket)
    }

    pub(crate) const fn taken(lane: Lane, owner: Owner, ticket: Ticket) -> Self {
        Self::at(Kind::Taken, lane, owner, ticket)
    }

    const fn at(kind: Kind, lane: Lane, owner: Owner, ticket: Ticket) -> Self {
        let low = ticket.low() << TICKET_SHIFT;
        Self(kind as u64 | (lane as u64) << LANE_SHIFT | (owner.0 as u64) << OWNER_SHIFT | low)
    }

    /// The kind, or `None` for bits that no one of us writes.
    pub(crate) const fn kind(self) -> Option<Kind> {
        match self.0 & mask(LANE_SHIFT) {
            0 => Some(Kind::Free),
            1 => Some(Kind::Owned),
            2 => Some(Kind::Publishing),
            3 => Some(Kind::Taken),
            _ => None,
        }
    }

    pub(crate) fn lane(self) -> Option<Lane> {
        Lane::from_bits(self.0 >> LANE_SHIFT & mask(LANE_BITS))
    }

    pub(crate) const fn owner(self) -> Owner {
        Owner((self.0 >> OWNER_SHIFT & mask(ROW_BITS + EPOCH_BITS)) as u32)
    }

    /// The low 40 bits of the ticket.
    pub(crate) const fn ticket_low(self) -> u64 {
        self.0 >> TICKET_SHIFT
    }

    /// Whether this block waits in `lane` under `ticket`, whoever put it there.
    pub(crate) fn is_queued(self, lane: Lane, ticket: Ticket) -> bool {
        self == Self::publishing(lane, self.owner(), ticket)
    }
}

/// A position in the endless sequence of messages: turn in the high bits, slot index in the low ones.
///
/// Counting this way needs no division, whatever the number of slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(pub(crate) u64);

impl Ticket {
    pub(crate) const fn low(self) -> u64 {
        self.0 & mask(TICKET_BITS)
    }

    /// Whether this ticket comes after `other`.
    pub(crate) const fn is_after(self, other: Self) -> bool {
        (self.0.wrapping_sub(other.0) as i64) > 0
    }
}

/// The arithmetic of tickets for a ring of so many slots.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turns {
    slots: u32,
    shift: u32,
}

impl Turns {
    /// `slots` is at least 1 and at most 2^24.
    pub(crate) const fn new(slots: u32) -> Self {
        Self { slots, shift: slots.next_power_of_two().trailing_zeros() }
    }

    /// The first ticket of a turn. Turn 0 is the one before the first: a slot of zeroes is a slot that was emptied in it.
    pub(crate) const fn first(self, turn: u64) -> Ticket {
        Ticket(turn << self.shift)
    }

    /// The slot, or `None` for a word that no one of us writes.
    #[inline]
    pub(crate) const fn index(self, ticket: Ticket) -> Option<usize> {
        let index = ticket.0 & mask(self.shift);
        if index < self.slots as u64 { Some(index as usize) } else { None }
    }

    #[inline]
    pub(crate) const fn turn(self, ticket: Ticket) -> u64 {
        ticket.0 >> self.shift
    }

    #[inline]
    pub(crate) const fn next(self, ticket: Ticket) -> Ticket {
        if (ticket.0 & mask(self.shift)) + 1 >= self.slots as u64 {
            Ticket((ticket.0 >> self.shift).wrapping_add(1) << self.shift)
        } else {
            Ticket(ticket.0.wrapping_add(1))
        }
    }

    /// The ticket of the same slot so many turns later.
    #[inline]
    pub(crate) const fn turns_later(self, ticket: Ticket, turns: u64) -> Ticket {
        Ticket(ticket.0.wrapping_add(turns << self.shift))
    }

    /// The ticket of the same slot one turn earlier.
    #[inline]
    pub(crate) const fn one_turn_before(self, ticket: Ticket) -> Ticket {
        Ticket(ticket.0.wrapping_sub(1 << self.shift))
    }

    /// How many tickets come before this one, counted from turn 0.
    #[inline]
    pub(crate) const fn number(self, ticket: Ticket) -> u64 {
        self.turn(ticket).wrapping_mul(self.slots as u64).wrapping_add(ticket.0 & mask(self.shift))
    }

    /// The index and the comparable part of the turn that a block's state has kept of its ticket.
    pub(crate) const fn split_low(self, ticket_low: u64) -> (usize, u64) {
        ((ticket_low & mask(self.shift)) as usize, ticket_low >> self.shift)
    }

    /// Whether a slot's turn agrees with what [`split_low`](Self::split_low) gave.
    pub(crate) const fn same_turn_low(self, turn: u64, turn_low: u64) -> bool {
        turn & mask(TICKET_BITS - self.shift) == turn_low
    }
}

/// A slot's first word: turn 40 bits, content 24.
///
/// | content | means |
/// |---|---|
/// | 0 | never used |
/// | highest bit 0 | the number of a block, plus one: the block's state says whether it still waits |
/// | highest bit 1 | a message of up to 8 bytes in the slot's second word: taken or not 1 bit, length 4, tag 8 |
/// | all ones | closed |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(pub(crate) u64);

impl Slot {
    const CLOSED: u64 = mask(CONTENT_BITS);
    const SMALL: u64 = 1 << (CONTENT_BITS - 1);
    const TAKEN: u64 = 1 << 12;
    const LEN_SHIFT: u32 = 8;
    const LEN_BITS: u32 = 4;

    pub(crate) const fn holding(turn: u64, block: u32) -> Self {
        Self(turn << CONTENT_BITS | (block as u64 + 1) & (Self::SMALL - 1))
    }

    /// A message of `len` bytes (at most 15, of which 8 are used) that lies in the slot.
    pub(crate) const fn small(turn: u64, len: usize, tag: u8) -> Self {
        Self(turn << CONTENT_BITS | Self::SMALL | (len as u64 & mask(Self::LEN_BITS)) << Self::LEN_SHIFT | tag as u64)
    }

    pub(crate) const fn closed(turn: u64) -> Self {
        Self(turn << CONTENT_BITS | Self::CLOSED)
    }

    pub(crate) const fn never_used(turn: u64) -> Self {
        Self(turn << CONTENT_BITS)
    }

    pub(crate) const fn turn(self) -> u64 {
        self.0 >> CONTENT_BITS
    }

    pub(crate) const fn content(self) -> Content {
        let content = self.0 & mask(CONTENT_BITS);
        match content {
            0 => Content::Nothing,
            Self::CLOSED => Content::Closed,
            _ if content & Self::SMALL == 0 => Content::Block(content as u32 - 1),
            _ => Content::Small {
                taken: content & Self::TAKEN != 0,
                len: (content >> Self::LEN_SHIFT & mask(Self::LEN_BITS)) as usize,
                tag: content as u8,
            },
        }
    }

    /// The same small message, taken.
    pub(crate) const fn taken(self) -> Self {
        Self(self.0 | Self::TAKEN)
    }

    /// How many turns the slot is ahead of `turn`: 0 filled in it, -1 filled in the one before, modulo 2^40.
    #[inline]
    pub(crate) const fn turns_ahead_of(self, turn: u64) -> i64 {
        let distance = self.turn().wrapping_sub(turn) << CONTENT_BITS;
        distance as i64 >> CONTENT_BITS
    }
}

/// What a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Nothing,
    Closed,
    Block(u32),
    Small { taken: bool, len: usize, tag: u8 },
}

/// What a participant has finished: how many messages, and which one last. One word, so that a death can't come between
/// the two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Completion(pub u64);

impl Completion {
    const COUNT_BITS: u32 = 23;
    const COUNT_SHIFT: u32 = 1 + TICKET_BITS;

    /// Messages finished, modulo 2^23.
    pub const fn count(self) -> u64 {
        self.0 >> Self::COUNT_SHIFT
    }

    /// Messages between two counts, modulo 2^23: more blocks than that there can't be.
    pub const fn distance(later: u64, earlier: u64) -> u64 {
        later.wrapping_sub(earlier) & mask(Self::COUNT_BITS)
    }

    pub(crate) const fn with(self, lane: Lane, ticket_low: u64) -> Self {
        let count = (self.count() + 1) & mask(Self::COUNT_BITS);
        Self(count << Self::COUNT_SHIFT | (lane as u64 & 1) << TICKET_BITS | ticket_low)
    }

    pub(crate) fn is_of(self, lane: Lane, ticket_low: u64) -> bool {
        self.count() != 0 && self.0 & mask(Self::COUNT_SHIFT) == (lane as u64 & 1) << TICKET_BITS | ticket_low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_a_block_state_comes_back() {
        let owner = Owner::new(1023, 511);
        let state = BlockState::taken(Lane::Dead, owner, Ticket(u64::MAX));
        assert_eq!(state.kind(), Some(Kind::Taken));
        assert_eq!(state.lane(), Some(Lane::Dead));
        assert_eq!((state.owner().row(), state.owner().epoch()), (1023, 511));
        assert_eq!(state.ticket_low(), mask(40));
    }

    #[test]
    fn tickets_of_any_number_of_slots_count_without_gaps() {
        for slots in [1, 2, 3, 5, 7, 8, 1000] {
            let turns = Turns::new(slots);
            let mut ticket = turns.first(1);
            for number in 0..5 * u64::from(slots) {
                assert_eq!(turns.number(ticket), u64::from(slots) + number);
                assert_eq!(turns.index(ticket), Some((number % u64::from(slots)) as usize));
                ticket = turns.next(ticket);
            }
            assert_eq!(turns.turn(ticket), 6);
        }
    }

    #[test]
    fn every_content_of_a_slot_comes_back() {
        assert_eq!(Slot::never_used(7).content(), Content::Nothing);
        assert_eq!(Slot::closed(7).content(), Content::Closed);
        assert_eq!(Slot::holding(7, MAX_BLOCKS - 1).content(), Content::Block(MAX_BLOCKS - 1));
        let small = Slot::small(7, 8, 255);
        assert_eq!(small.content(), Content::Small { taken: false, len: 8, tag: 255 });
        assert_eq!(small.taken().content(), Content::Small { taken: true, len: 8, tag: 255 });
        assert_eq!(small.taken().turn(), 7);
    }

    #[test]
    fn turns_compare_across_their_wrap() {
        let last = mask(TURN_BITS);
        assert_eq!(Slot::holding(0, 7).turns_ahead_of(last), 1);
        assert_eq!(Slot::holding(last, 7).turns_ahead_of(last + 1), -1);
        assert_eq!(Slot::holding(5, 7).turns_ahead_of(5), 0);
    }

    #[test]
    fn a_completion_names_its_last_message() {
        let done = Completion::default().with(Lane::Returned, 9);
        assert!(done.is_of(Lane::Returned, 9) && !done.is_of(Lane::Main, 9) && !done.is_of(Lane::Returned, 8));
        assert!(!Completion::default().is_of(Lane::Main, 0));
        assert_eq!(Completion::distance(1, mask(23)), 2);
    }
}
