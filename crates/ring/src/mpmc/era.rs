//! Eras: which ring of a lane was filled or drained when.

/// Which of a lane's rings is filled or drained, and how many were before it: number 59 bits, class 4, whether no more puts come 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Era(pub(crate) u64);

impl Era {
    const SHUT: u64 = 1;

    pub(crate) const fn number(self) -> u64 {
        self.0 >> 5
    }

    pub(crate) const fn class(self) -> u32 {
        (self.0 >> 1 & 15) as u32
    }

    pub(crate) const fn is_shut(self) -> bool {
        self.0 & Self::SHUT != 0
    }

    pub(crate) const fn shut(self) -> Self {
        Self(self.0 | Self::SHUT)
    }

    /// The era after this one, in the ring of `class`.
    pub(crate) const fn next(self, class: u32) -> Self {
        Self(self.number().wrapping_add(1) << 5 | (class as u64 & 15) << 1)
    }

    /// The era after this one, `last` being the one that is filled now; `None` if that is not later.
    ///
    /// While eras wait to be drained, each one has the class after the last one's.
    pub(crate) const fn next_towards(self, last: Self) -> Option<Self> {
        let later = last.number().wrapping_sub(self.number());
        match (last.class() as u64 + 1).checked_sub(later) {
            Some(class) if later > 0 => Some(self.next(class as u32)),
            _ => None,
        }
    }
}
