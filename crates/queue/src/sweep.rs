//! What the dead held: freed, delivered again or counted as lost. Any participant may sweep, and several at once.

use crate::attachment::Attachment;
use crate::done::InHand;
use crate::layout::{Flavor, Shape, Tally, tally_of};
use multiproc_prim::Array;
use multiproc_ring::mpmc::{Orphan, Orphans, Owner, Swept, Unfinished};
use multiproc_shm::{Membership, Participant};
use multiproc_sync::Channel;

/// The ring's word for a participant.
pub(crate) fn owner(who: Participant) -> Owner {
    Owner::new(who.row, who.epoch)
}

/// The parts of an attachment that a sweep needs. A janitor sweeps before it has an attachment.
pub(crate) struct Sweeper<'a> {
    pub(crate) membership: &'a Membership,
    pub(crate) shape: &'a Shape,
    pub(crate) channel: &'a Channel,
    pub(crate) tallies: &'a Array<Tally>,
    pub(crate) in_hand: &'a InHand,
}

impl Sweeper<'_> {
    /// Looks for dead participants and accounts for what they held. Returns whether it buried any.
    pub(crate) fn sweep_the_dead(&self) -> bool {
        let mut buried = false;
        for who in self.membership.others().filter(|who| self.membership.is_dead(*who)) {
            if let Some(swept) = self.account_for(who) {
                self.membership.bury(who);
                self.channel.wake_after_sweep(&swept);
                buried = true;
            }
        }
        buried
    }

    /// Frees, returns or counts everything that a dead or leaving participant has in its hands. `None`: something is left.
    pub(crate) fn account_for(&self, who: Participant) -> Option<Swept> {
        let me = self.membership.participant();
        let is_still_there = || who == me || self.membership.is_there(who);
        let (theirs, ours) = (tally_of(self.tallies, who)?, tally_of(self.tallies, me)?);
        let orphans = match self.shape.flavor {
            Flavor::Joinable => {
                let died = || Unfinished::Died { pid: self.membership.process_of(who).map_or(0, |process| process.pid) };
                let how = if who == me { Unfinished::GivenBack { note: 0 } } else { died() };
                Orphans::Redeliver { max_deliveries: self.shape.max_deliveries(), how }
            }
            _ => Orphans::Drop,
        };
        // Held through the sweep: our tally is written under it.
        let mut waiting = self.in_hand.lock();
        let tell = |orphan: Orphan<'_>| match orphan {
            Orphan::Lost(held) => ours.complete(held),
            Orphan::Unsent(held) => waiting.push((held, self.shape.again())),
        };
        self.channel.ring().sweep(owner(who), theirs.finished(), orphans, is_still_there, tell).ok()
    }
}

impl Attachment {
    pub(crate) fn sweeper(&self) -> Sweeper<'_> {
        let Self { membership, shape, channel, tallies, in_hand, .. } = self;
        Sweeper { membership, shape, channel, tallies, in_hand }
    }

    /// Sweeps the dead, and wakes the processes that can go on because of it. Ends a queue whose last sender or receiver is gone.
    /// Idempotent.
    #[cold]
    pub(crate) fn sweep_the_dead(&self) {
        if self.sweeper().sweep_the_dead() {
            // A wake-up may have gone to a process that died before it acted.
            self.channel.nudge(self.lanes());
            self.channel.nudge_for_memory();
            self.wake_if_all_done();
        }
        self.end_if_left();
    }
}
