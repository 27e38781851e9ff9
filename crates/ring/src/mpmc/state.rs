//! The packed words of the ring: pure arithmetic, no memory.

use super::era::Era;
use std::num::NonZeroU64;

/// Rows that an [`Owner`] can name.
pub const MAX_ROWS: u32 = 1 << ROW_BITS;

const TICKET_BITS: u32 = 40;
const ROW_BITS: u32 = 10;
const EPOCH_BITS: u32 = 6;
pub(crate) const RING_BITS: u32 = 6;
const PHASE_BITS: u32 = 2;
const CONTENT_BITS: u32 = 24;
/// Blocks that a slot can name in one word: half of the content's values, but the one for nothing.
const MAX_IN_CONTENT: u32 = (1 << (CONTENT_BITS - 1)) - 1;

const fn mask(bits: u32) -> u64 {
    (1 << bits) - 1
}

/// The participant that holds a block: a row of a participant table, and how often that row was handed out before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    row: u32,
    epoch: u64,
}

impl Owner {
    /// The participant in `row` (below [`MAX_ROWS`]; higher bits are cut off), in its `epoch`.
    pub const fn new(row: u32, epoch: u64) -> Self {
        Self { row: row & mask(ROW_BITS) as u32, epoch }
    }

    /// The row.
    pub const fn row(self) -> u32 {
        self.row
    }

    /// The epoch.
    pub const fn epoch(self) -> u64 {
        self.epoch
    }

    /// What a block's state has room for.
    const fn short(self) -> u64 {
        (self.row as u64) << EPOCH_BITS | self.epoch & mask(EPOCH_BITS)
    }
}

/// One of the sequences of messages that share an arena.
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

    /// Whether this lane holds dead messages, which only readers of the dead lanes get.
    pub(crate) const fn is_dead(self) -> bool {
        matches!(self, Self::Dead | Self::DeadReturned)
    }
}

/// One ring: a lane, and which of its rings, each larger than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RingId(u8);

impl RingId {
    /// `class` is below 16.
    pub(crate) const fn new(lane: Lane, class: u32) -> Self {
        Self(lane as u8 | (class as u8 & 15) << 2)
    }

    const fn from_bits(bits: u64) -> Self {
        Self((bits & mask(RING_BITS)) as u8)
    }

    pub(crate) const fn bits(self) -> u64 {
        self.0 as u64
    }

    pub(crate) const fn lane(self) -> Lane {
        Lane::ALL[(self.0 & 3) as usize]
    }

    pub(crate) const fn class(self) -> u32 {
        (self.0 >> 2) as u32
    }
}

/// Where a message was taken from: its ring, and the low bits of its ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin(NonZeroU64);

impl Origin {
    /// Makes it a number that is never zero.
    const MARK: NonZeroU64 = NonZeroU64::MIN.saturating_add(i64::MAX as u64);

    pub(crate) const fn new(ring: RingId, ticket: Ticket) -> Self {
        // The mark is the highest bit, which neither of the others reaches.
        match NonZeroU64::new(Self::MARK.get() | (ring.0 as u64) << TICKET_BITS | ticket.low()) {
            Some(origin) => Self(origin),
            None => Self(Self::MARK),
        }
    }

    pub(crate) const fn ring(self) -> RingId {
        RingId::from_bits(self.0.get() >> TICKET_BITS)
    }

    /// A ticket with the same low bits.
    pub(crate) const fn ticket(self) -> Ticket {
        Ticket(self.0.get() & mask(TICKET_BITS))
    }
}

/// What a block is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// In no participant's hands. Zero, so that new memory is a free block.
    Free = 0,
    /// Being written by its owner.
    Owned = 1,
    /// About to be in slot `ticket`, or in it and not yet taken.
    Publishing = 2,
    /// Taken from slot `ticket` by its owner.
    Taken = 3,
}

/// A block's state word: phase 2 bits, ring 6, owner 16 (row 10, epoch 6), ticket 40.
///
/// An owned block has no ticket: more bits of the epoch are in its place. So no state of a block ever comes again but
/// [`FREE`](Self::FREE), and an exchange of a state that was read long ago fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockState(pub(crate) u64);

const RING_SHIFT: u32 = PHASE_BITS;
const OWNER_SHIFT: u32 = RING_SHIFT + RING_BITS;
const TICKET_SHIFT: u32 = OWNER_SHIFT + ROW_BITS + EPOCH_BITS;
static_assertions::const_assert_eq!(TICKET_SHIFT + TICKET_BITS, 64);

impl BlockState {
    pub(crate) const FREE: Self = Self(Phase::Free as u64);

    pub(crate) const fn owned(owner: Owner) -> Self {
        Self(Phase::Owned as u64 | owner.short() << OWNER_SHIFT | (owner.epoch >> EPOCH_BITS) << TICKET_SHIFT)
    }

    /// Owned by a participant that gives its memory back. An owned block has no ring, so a bit of that tells.
    pub(crate) const fn trimming(owner: Owner) -> Self {
        Self(Self::owned(owner).0 | Self::TRIMMING)
    }

    const TRIMMING: u64 = 1 << RING_SHIFT;

    pub(crate) const fn is_trimming(self) -> bool {
        matches!(self.phase(), Phase::Owned) && self.0 & Self::TRIMMING != 0
    }

    pub(crate) const fn publishing(ring: RingId, owner: Owner, ticket: Ticket) -> Self {
        Self::at(Phase::Publishing, ring, owner, ticket)
    }

    pub(crate) const fn taken(ring: RingId, owner: Owner, ticket: Ticket) -> Self {
        Self::at(Phase::Taken, ring, owner, ticket)
    }

    const fn at(phase: Phase, ring: RingId, owner: Owner, ticket: Ticket) -> Self {
        let low = ticket.low() << TICKET_SHIFT;
        Self(phase as u64 | (ring.0 as u64) << RING_SHIFT | owner.short() << OWNER_SHIFT | low)
    }

    pub(crate) const fn phase(self) -> Phase {
        match self.0 & mask(PHASE_BITS) {
            0 => Phase::Free,
            1 => Phase::Owned,
            2 => Phase::Publishing,
            _ => Phase::Taken,
        }
    }

    pub(crate) const fn ring(self) -> RingId {
        RingId::from_bits(self.0 >> RING_SHIFT)
    }

    /// Whether this may be a block of `owner`: of its row, and of an epoch that ends in the same bits.
    pub(crate) const fn may_be_of(self, owner: Owner) -> bool {
        self.0 >> OWNER_SHIFT & mask(ROW_BITS + EPOCH_BITS) == owner.short()
    }

    /// The low 40 bits of the ticket.
    pub(crate) const fn ticket_low(self) -> u64 {
        self.0 >> TICKET_SHIFT
    }

    /// Where the message in it was, or is to be.
    pub(crate) const fn origin(self) -> Origin {
        Origin::new(self.ring(), Ticket(self.ticket_low()))
    }

    /// Whether this block waits in `ring` under `ticket`, no matter which participant pushed it.
    pub(crate) const fn is_queued(self, ring: RingId, ticket: Ticket) -> bool {
        const OWNER: u64 = mask(ROW_BITS + EPOCH_BITS) << OWNER_SHIFT;
        self.0 & !OWNER == Self::publishing(ring, Owner::new(0, 0), ticket).0
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

    /// The slot, or `None` for a word that no participant writes.
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
/// | highest bit 0 | a block. Where both words can be exchanged at once, the second word is its number; elsewhere the content is, plus one |
/// | highest bit 1 | a message of up to 8 bytes in the slot's second word: taken or not 1 bit, length 4, tag 8 |
/// | highest two bits 1 | closed, with an [`Era`]'s number |
/// | first and third bit 1 | opened again, with an [`Era`]'s number |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(pub(crate) u64);

impl Slot {
    const SMALL: u64 = 1 << (CONTENT_BITS - 1);
    const CLOSED: u64 = Self::SMALL | 1 << (CONTENT_BITS - 2);
    const OPENED: u64 = Self::SMALL | 1 << (CONTENT_BITS - 3);
    const TAKEN: u64 = 1 << 12;
    const LEN_SHIFT: u32 = 8;
    const LEN_BITS: u32 = 4;
    const ERA_BITS: u32 = CONTENT_BITS - 3;

    /// What holds a block: the first word, and the second one where it is exchanged too. `None`: no slot can name the block.
    #[inline(always)]
    pub(crate) const fn holding(turn: u64, block: u32, whole: bool) -> Option<(Self, u64)> {
        let first = turn << CONTENT_BITS;
        match whole {
            true => Some((Self(first | 1), block as u64)),
            false if block < MAX_IN_CONTENT => Some((Self(first | (block as u64 + 1)), 0)),
            false => None,
        }
    }

    /// The number of the block that [`holding`](Self::holding) put here, `second` being the other word.
    #[inline(always)]
    pub(crate) const fn block(self, second: u64, whole: bool) -> u32 {
        if whole { second as u32 } else { (self.0 & mask(CONTENT_BITS)).wrapping_sub(1) as u32 }
    }

    /// A message of `len` bytes (at most 15, of which 8 are used) that lies in the slot.
    pub(crate) const fn small(turn: u64, len: usize, tag: u8) -> Self {
        Self(turn << CONTENT_BITS | Self::SMALL | (len as u64 & mask(Self::LEN_BITS)) << Self::LEN_SHIFT | tag as u64)
    }

    /// No message comes here or behind, in this era.
    pub(crate) const fn closed(turn: u64, era: Era) -> Self {
        Self(turn << CONTENT_BITS | Self::CLOSED | era.number() & mask(Self::ERA_BITS))
    }

    /// Free again, after it was closed: as in the turn before, for the era that begins.
    pub(crate) const fn opened(turn_before: u64, era: Era) -> Self {
        Self(turn_before << CONTENT_BITS | Self::OPENED | era.number() & mask(Self::ERA_BITS))
    }

    /// Whether it was opened for another era than this one: no message of this one may come here.
    #[inline(always)]
    pub(crate) const fn is_of_another(self, era: Era) -> bool {
        let marks = Self::CLOSED | Self::OPENED;
        self.0 & marks == Self::OPENED && (self.0 ^ era.number()) & mask(Self::ERA_BITS) != 0
    }

    pub(crate) const fn never_used(turn: u64) -> Self {
        Self(turn << CONTENT_BITS)
    }

    pub(crate) const fn turn(self) -> u64 {
        self.0 >> CONTENT_BITS
    }

    #[inline(always)]
    pub(crate) const fn content(self) -> Content {
        let content = self.0 & mask(CONTENT_BITS);
        match content {
            0 => Content::Nothing,
            _ if content & Self::SMALL == 0 => Content::Block,
            _ if content & Self::CLOSED == Self::CLOSED => Content::Closed,
            _ if content & Self::OPENED == Self::OPENED => Content::Nothing,
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
    Block,
    Small { taken: bool, len: usize, tag: u8 },
}

/// What a participant has finished: how many messages in its low bits, and which one last. One word, so that a death can't come
/// between the two. The count as a whole is in a word beside it, which follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Completion(pub u64);

impl Completion {
    const COUNT_SHIFT: u32 = RING_BITS + TICKET_BITS;
    const COUNT_BITS: u32 = 64 - Self::COUNT_SHIFT;

    const fn low_count(self) -> u64 {
        self.0 >> Self::COUNT_SHIFT
    }

    /// How many messages were finished, if `before` is a count from before this word was read, fewer than 2^18 messages ago.
    pub const fn count_since(self, before: u64) -> u64 {
        before.wrapping_add(self.low_count().wrapping_sub(before) & mask(Self::COUNT_BITS))
    }

    /// Messages finished between two readings of a count beyond which [`count_since`](Self::count_since) can't tell.
    pub const MOST_BETWEEN: u64 = 1 << (Self::COUNT_BITS - 1);

    pub(crate) const fn with(self, ring: RingId, ticket_low: u64) -> Self {
        let count = self.low_count().wrapping_add(1) & mask(Self::COUNT_BITS);
        Self(count << Self::COUNT_SHIFT | (ring.0 as u64) << TICKET_BITS | ticket_low)
    }

    /// Whether the last message finished, of `count` in all, is this one.
    pub(crate) const fn is_of(self, count: u64, ring: RingId, ticket_low: u64) -> bool {
        count != 0 && self.0 & mask(Self::COUNT_SHIFT) == (ring.0 as u64) << TICKET_BITS | ticket_low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_a_block_state_comes_back() {
        let (owner, ring) = (Owner::new(1023, 63), RingId::new(Lane::Dead, 15));
        let state = BlockState::taken(ring, owner, Ticket(u64::MAX));
        assert_eq!((state.phase(), state.ring(), state.ticket_low()), (Phase::Taken, ring, mask(40)));
        assert_eq!((ring.lane(), ring.class()), (Lane::Dead, 15));
        let origin = Origin::new(ring, Ticket(u64::MAX));
        assert_eq!((origin.ring(), origin.ticket()), (ring, Ticket(mask(40))));
        assert!(state.may_be_of(owner) && !state.may_be_of(Owner::new(1022, 63)) && !state.may_be_of(Owner::new(1023, 62)));
        let queued = BlockState::publishing(ring, owner, Ticket(7));
        assert!(queued.is_queued(ring, Ticket(7)) && !queued.is_queued(ring, Ticket(8)));
        assert!(!queued.is_queued(RingId::new(Lane::Dead, 14), Ticket(7)) && !state.is_queued(ring, Ticket(u64::MAX)));
    }

    #[test]
    fn owned_blocks_of_epochs_that_end_alike_have_different_states() {
        assert_ne!(BlockState::owned(Owner::new(1, 0)), BlockState::owned(Owner::new(1, 64)));
        assert!(BlockState::owned(Owner::new(1, 64)).may_be_of(Owner::new(1, 0)));
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
        let era = Era(0).next(3);
        assert_eq!(Slot::never_used(7).content(), Content::Nothing);
        assert_eq!(Slot::opened(7, era).content(), Content::Nothing);
        assert_eq!(Slot::closed(7, era).content(), Content::Closed);
        for (block, whole) in [(u32::MAX, true), (0, true), (0, false), (MAX_IN_CONTENT - 1, false)] {
            let (slot, second) = Slot::holding(7, block, whole).unwrap();
            assert_eq!((slot.content(), slot.turn(), slot.block(second, whole)), (Content::Block, 7, block));
        }
        assert_eq!(Slot::holding(7, MAX_IN_CONTENT, false), None);
        let small = Slot::small(7, 8, 255);
        assert_eq!(small.content(), Content::Small { taken: false, len: 8, tag: 255 });
        assert_eq!(small.taken().content(), Content::Small { taken: true, len: 8, tag: 255 });
        assert_eq!(small.taken().turn(), 7);
    }

    #[test]
    fn marks_of_different_eras_differ() {
        let (first, second) = (Era(0).next(1), Era(0).next(1).next(2));
        assert_ne!(Slot::closed(7, first), Slot::closed(7, second));
        assert_ne!(Slot::opened(7, first), Slot::opened(7, second));
        assert_ne!(Slot::opened(7, first), Slot::never_used(7));
    }

    #[test]
    fn eras_grow_by_a_class_each_until_the_last_one() {
        let last = Era(0).next(0).next(1).next(2);
        assert_eq!(Era(0).next_towards(last), Some(Era(0).next(0)));
        assert_eq!(Era(0).next(0).next_towards(last), Some(Era(0).next(0).next(1)));
        assert_eq!(Era(0).next(0).next(1).next_towards(last), Some(last));
        assert_eq!(last.next_towards(last), None);
        assert_eq!(Era(0).next_towards(Era(0).next(0).next(0)), None, "a hostile peer's");
        assert!(last.shut().is_shut() && !last.is_shut() && last.shut().next_towards(last).is_none());
        assert_eq!((last.shut().number(), last.shut().class()), (3, 2));
    }

    #[test]
    fn turns_compare_across_their_wrap() {
        let last = mask(64 - CONTENT_BITS);
        assert_eq!(Slot::never_used(0).turns_ahead_of(last), 1);
        assert_eq!(Slot::never_used(last).turns_ahead_of(last + 1), -1);
        assert_eq!(Slot::never_used(5).turns_ahead_of(5), 0);
    }

    #[test]
    fn a_completion_names_its_last_message_however_many_there_were() {
        let ring = RingId::new(Lane::Returned, 3);
        let mut done = Completion::default();
        assert!(!done.is_of(0, RingId::new(Lane::Main, 0), 0), "nothing was finished");
        let most = 1 << Completion::COUNT_BITS;
        for count in 1..=2 * most {
            done = done.with(ring, 9);
            // The count beside it is one behind at most.
            assert_eq!((done.count_since(count - 1), done.count_since(count)), (count, count));
            assert!(done.is_of(count, ring, 9));
        }
        assert!(!done.is_of(2 * most, ring, 8) && !done.is_of(2 * most, RingId::new(Lane::Main, 3), 9));
    }
}
