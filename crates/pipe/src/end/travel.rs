//! An end on its way to another process, as an argument or through another pipe.

use super::End;
use crate::layout::{self, KIND, Side};
use multiproc_shm::pass::{self, Descriptor};
use multiproc_shm::{Bell, Flaw, Link, Segment, stamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::os::fd::{AsFd, BorrowedFd};

/// What travels of an end.
#[derive(Serialize, Deserialize)]
struct Traveller {
    second: bool,
    segment: Descriptor,
    link: Descriptor,
    ours: Descriptor,
    theirs: Descriptor,
}

impl Serialize for End {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let copy = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().map(Descriptor::from).map_err(serde::ser::Error::custom);
        let traveller = Traveller {
            second: self.side == Side::Second,
            segment: copy(self.segment.as_fd())?,
            link: copy(self.link.as_fd())?,
            ours: copy(self.ours.as_fd())?,
            theirs: copy(self.theirs.as_fd())?,
        };
        let done = traveller.serialize(serializer)?;
        // From here on the copy may be used. If this one is used again all the same, it has to claim the end anew.
        if self.held_by.get() == stamp() {
            self.give_up();
        }
        self.travelled.set(1);
        Ok(done)
    }
}

impl<'de> Deserialize<'de> for End {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let came = Traveller::deserialize(deserializer)?;
        let segment = Segment::attach(came.segment.into(), KIND).map_err(pass::refuse)?;
        let duplex = layout::check(&segment).map_err(|why| pass::refuse(segment.refuse(Flaw::Geometry(why))))?;
        let side = if came.second { Side::Second } else { Side::First };
        let link = Link::from_descriptor(came.link.into());
        let bell = |descriptor: Descriptor| Bell::from_descriptor(descriptor.into()).map_err(pass::refuse);
        let (ours, theirs) = (bell(came.ours)?, bell(came.theirs)?);
        Self::build(segment, side, duplex, link, ours, theirs).map_err(pass::refuse)
    }
}
