//! Who sends and who receives, and the end of a queue whose last sender or last receiver is gone.
//!
//! Each process counts its senders and its receivers in its own row. A row counts while its participant lives. So a death ends
//! what a process counted, at whichever instruction it comes, and a stopped process goes on counting. A handle on its way to another
//! process is in no row. A [`Voucher`] travels with it and counts in its place, until the new process has counted the handle or the
//! message is gone.
//!
//! A process that finds nothing left on one side shuts the queue down. So there is one kind of end: receivers drain what is left,
//! and senders get their values back. It is found by the process that drops its last handle, and by every look for the dead:
//! the process that should have found it may be stopped or dead. If it is stopped, a look finds the end seconds later.

use crate::attachment::Attachment;
use crate::error::OpenError;
use crate::layout::{Side, Tally, tally_of};
use crate::registry::Share;
use multiproc_prim::{Renewed, stamp};
use multiproc_shm::{ByteLock, Voucher, file_id};
use multiproc_travel::pass::{self, Descriptor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, OnceLock};

/// What counts among the senders or the receivers of a queue. The clones of a handle in one process share it.
#[derive(Debug)]
pub(crate) struct Part {
    side: Side,
    share: Share,
    /// The part of a forked copy of this process, once the copy has used the handle. Until then the copy counts for nothing.
    forked: Renewed<OnceLock<Arc<Part>>>,
}

impl Part {
    pub(crate) fn new(share: &Share, side: Side) -> Result<Arc<Self>, OpenError> {
        let share = share.here()?.clone();
        share.count_in(side);
        Ok(Arc::new(Self { side, share, forked: Renewed::new() }))
    }

    pub(crate) fn share(&self) -> &Share {
        &self.share
    }

    /// This process's part: this one, or another one in a forked copy of the process that made this one.
    #[inline]
    pub(crate) fn here(&self) -> Result<&Self, OpenError> {
        if self.share.membership.is_inherited() { self.rejoin() } else { Ok(self) }
    }

    #[cold]
    fn rejoin(&self) -> Result<&Self, OpenError> {
        let forked = self.forked.get(stamp(), OnceLock::new);
        if let Some(part) = forked.get() {
            return Ok(part);
        }
        let part = Self::new(&self.share, self.side)?;
        Ok(forked.get_or_init(|| part))
    }

    /// Writes the handle into a message to another process.
    pub(crate) fn serialize<S: Serializer>(self: &Arc<Self>, serializer: S) -> Result<S::Ok, S::Error> {
        if pass::leaves_in_trial() {
            return pass::serialize_stand_in(|| Ok(Arc::clone(self)), serializer);
        }
        pass::check_leaving()?;
        let part = self.here().map_err(pass::refuse_to_leave)?;
        let voucher = Voucher::new(&part.share.segment, self.side.lock());
        let voucher = voucher.map_err(|why| {
            let what = match self.side {
                Side::Sends => "sender",
                Side::Receives => "receiver",
            };
            pass::refuse_to_leave(format_args!(
                "a {what} can't be sent from here: the system refuses to open the queue's memory anew ({why}). That takes a free \
                 descriptor, /proc, and a queue of this process's own user"
            ))
        })?;
        // Before this handle can be dropped: the voucher counts from here on.
        self.side.census(&part.share.words).announce();
        (Lent(part.share.segment.as_fd()), Lent(voucher.as_fd())).serialize(serializer)
    }

    /// The part of the handle that came in a message.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
        side: Side,
        attach: impl FnOnce(Descriptor) -> Result<Share, OpenError>,
    ) -> Result<Arc<Self>, D::Error> {
        if pass::arrives_in_trial() {
            return pass::deserialize_stand_in(|part: &Arc<Self>| part.side == side, false, deserializer);
        }
        let (segment, voucher) = <(Descriptor, Descriptor)>::deserialize(deserializer)?;
        let is_of = |descriptor: &Descriptor| file_id(descriptor.as_fd()).map_err(pass::refuse);
        if is_of(&segment)? != is_of(&voucher)? {
            return Err(pass::refuse("a sender or receiver of a queue came with a file that is not the queue's"));
        }
        let voucher = Voucher::from_descriptor(voucher.into(), side.lock());
        let part = attach(segment).and_then(|share| Self::new(&share, side)).map_err(pass::refuse)?;
        // Now the part counts.
        drop(voucher);
        Ok(part)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.share.membership.is_inherited() {
            self.share.count_out(self.side);
        }
    }
}

/// A descriptor that arrives as a [`Descriptor`]. This process keeps its own.
struct Lent<'a>(BorrowedFd<'a>);

impl Serialize for Lent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        pass::serialize_descriptor(self.0, serializer)
    }
}

impl Attachment {
    fn count_in(&self, side: Side) {
        if let Some(tally) = self.tally() {
            side.census(&self.words).enter(side.count(tally));
        }
    }

    fn count_out(&self, side: Side) {
        if let Some(tally) = self.tally() {
            let before = side.census(&self.words).leave(side.count(tally));
            if Tally::number_in(before) == 1 {
                self.end_if_left();
            }
        }
    }

    /// Whether the queue was split into senders and receivers.
    pub(crate) fn is_split(&self) -> bool {
        Side::Sends.census(&self.words).has_begun()
    }

    /// Shuts the queue down if one of its sides is left for good. Idempotent.
    pub(crate) fn end_if_left(&self) {
        let is_left = |side: Side| side.census(&self.words).is_over(|| self.is_counted(side));
        if !self.channel.is_shut_down() && Side::BOTH.into_iter().any(is_left) {
            self.channel.shut_down();
        }
    }

    /// Whether any living process has a handle of this side, or a message on its way does.
    fn is_counted(&self, side: Side) -> bool {
        let count = |who| tally_of(&self.tallies, who).map_or(0, |tally| Tally::number(side.count(tally), who));
        count(self.membership.participant()) > 0
            || self.membership.others().any(|who| count(who) > 0 && !self.membership.is_dead(who))
            // Where the system won't say, it may be so.
            || ByteLock::is_taken(&self.segment, side.lock()) != Some(false)
    }
}
