//! Who has what in hand, as the blocks say.

use crate::attachment::Attachment;
use crate::sweep::owner;
use multiproc_prim::monotonic_millis;
use multiproc_ring::mpmc::{InHand, MessageId};
use std::time::Duration;

/// A process that has a value of a `JoinableQueue` in hand: what [`JoinableQueue::holders`](crate::JoinableQueue::holders) gives, once
/// for each value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// The value's id, as a [`Delivery`](crate::Delivery::id) has it.
    pub id: MessageId,
    /// The process, as its own pid namespace numbers it.
    pub pid: u32,
    /// Whether it lives. What a dead process has in hand comes back, within 100 ms as a rule.
    pub is_alive: bool,
    /// How often the value was delivered, this time included.
    pub deliveries: u16,
    /// How long the process has had the value, by a clock of a few milliseconds; a little longer where its get looked for the dead first.
    pub held_for: Duration,
}

impl Attachment {
    pub(crate) fn holders(&self) -> Vec<Holder> {
        self.in_hand().map(|(holder, _)| holder).collect()
    }

    /// Who has what in hand, and where it is.
    pub(crate) fn in_hand(&self) -> impl Iterator<Item = (Holder, InHand)> {
        let me = self.membership.participant();
        let now = monotonic_millis();
        let everyone: Vec<_> = self.membership.others().chain([me]).collect();
        self.channel.ring().in_hand().filter_map(move |value| {
            let who = *everyone.iter().find(|who| value.may_be_of(owner(**who)))?;
            let pid = self.membership.process_of(who)?.pid;
            // A process that was stopped before it could note the time has only just got the value, for all that can be known.
            let held_for = Duration::from_millis(value.since.map_or(0, |since| now.saturating_sub(since)));
            let (id, deliveries) = (value.id, value.deliveries);
            Some((Holder { id, pid, is_alive: !self.membership.is_dead(who), deliveries, held_for }, value))
        })
    }
}
