//! How an end, or a stand-by, is written and read on its way to another process: as an argument, through another pipe or in a descriptor.

use crate::end::End;
use crate::holder::Travels;
use crate::incoming::Partial;
use crate::layout::{self, KIND, Side};
use crate::takeover::Waiting;
use multiproc_shm::{Flaw, Segment};
use multiproc_travel::pass::{self, Descriptor};
use multiproc_travel::{Link, Wire};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// A descriptor that arrives as a [`Descriptor`]. This process keeps its own.
struct Lent<'a>(BorrowedFd<'a>);

impl Serialize for Lent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        pass::serialize_descriptor(self.0, serializer)
    }
}

/// An end in a message: side, segment, socket, lease, generation, and the part of a message that has come.
type EndParts = (bool, Descriptor, Descriptor, Option<Descriptor>, u64, Partial, (u64, Vec<Descriptor>));
/// A stand-by in a message: side, segment, socket, lease, number.
type WaitingParts = (bool, Descriptor, Descriptor, Descriptor, u64);

impl Travels for End {
    fn depart(&mut self) -> Result<(), String> {
        if self.is_half() {
            return Err("a half of an end stays in its process: send the whole end, or make two one-way pipes".into());
        }
        End::depart(self).map_err(|error| crate::SendError::from(error).to_string())
    }

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let shared = &self.shared;
        let nothing = (0, Vec::new());
        let (partial, (number, arriving)) = match &self.incoming {
            Some(incoming) => (&incoming.partial, &incoming.arriving),
            None => (&Partial::Nothing, &nothing),
        };
        let arriving: Vec<Lent<'_>> = arriving.iter().map(|descriptor| Lent(descriptor.as_fd())).collect();
        let lease = shared.lease().map(|lease| Lent(lease.as_fd()));
        let (segment, wire) = (Lent(shared.segment.as_fd()), Lent(shared.wire.as_fd()));
        (shared.side == Side::Second, segment, wire, lease, shared.generation(), partial, (*number, arriving))
            .serialize(serializer)
    }

    fn ways(&self) -> (bool, bool) {
        End::ways(self)
    }
}

impl Travels for Waiting {
    fn depart(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let lent = |descriptor| Lent(descriptor);
        let (segment, wire, lease) = (lent(self.segment.as_fd()), lent(self.wire.as_fd()), lent(self.lease.as_fd()));
        (self.side == Side::Second, segment, wire, lease, self.number).serialize(serializer)
    }

    fn ways(&self) -> (bool, bool) {
        Waiting::ways(self)
    }
}

/// The segment that arrived, checked; which end of it; whether it goes both ways.
fn arrived<E: serde::de::Error>(second: bool, segment: Descriptor) -> Result<(Segment, Side, bool), E> {
    let segment = Segment::attach(segment.into(), KIND).map_err(pass::refuse)?;
    let duplex = layout::check(&segment).map_err(|why| pass::refuse(segment.refuse(Flaw::Geometry(why))))?;
    Ok((segment, if second { Side::Second } else { Side::First }, duplex))
}

impl<'de> Deserialize<'de> for End {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (second, segment, wire, lease, generation, partial, (number, arriving)) = EndParts::deserialize(deserializer)?;
        let (segment, side, duplex) = arrived(second, segment)?;
        let wire = Wire::from_descriptor(wire.into()).map_err(pass::refuse)?;
        let lease = lease.map(|lease| Link::from_descriptor(lease.into()));
        let mut end = Self::build(segment, (side, duplex), Arc::new(wire), generation, lease).map_err(pass::refuse)?;
        if let Some(incoming) = &mut end.incoming {
            incoming.partial = partial;
            incoming.arriving = (number, arriving.into_iter().map(OwnedFd::from).collect());
        }
        Ok(end)
    }
}

impl<'de> Deserialize<'de> for Waiting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (second, segment, wire, lease, number) = WaitingParts::deserialize(deserializer)?;
        let (segment, side, duplex) = arrived(second, segment)?;
        let wire = Wire::from_descriptor(wire.into()).map_err(pass::refuse)?;
        Self::build(segment, (side, duplex), wire, Link::from_descriptor(lease.into()), number).map_err(pass::refuse)
    }
}
