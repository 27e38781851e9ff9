//! Handles on their way: the descriptors beside the bytes.
//!
//! A handle's `Serialize` and `Deserialize` call the functions here. What they do depends on what the codec is about, which a
//! thread-local says: refuse handles, find out whether there are any, try the value out, or send it.

use multiproc_prim::descriptor::apart;
use rustix::pipe::{PipeFlags, pipe_with};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::any::Any;
use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread::LocalKey;

/// What travels beside a value's bytes.
#[derive(Default)]
pub(super) struct Luggage {
    pub(super) descriptors: Vec<OwnedFd>,
    pub(super) movers: Vec<Box<dyn Mover>>,
}

/// A handle that moves with the value it is a part of, so that it is never in two places. An end of a pipe is one.
///
/// The [`Parcel`](super::Parcel) holds it while that is on its way. A mover that is dropped goes back to its owner: the value could not be
/// encoded or sent.
///
/// For crates whose handles travel, as `multiproc-pipe`.
pub trait Mover: Send + std::fmt::Debug {
    /// Called when the parcel was sent: from here on the handle is the receiver's.
    fn left(self: Box<Self>);
}

/// What becomes of a handle that is encoded.
#[derive(Default)]
pub(super) enum Leaving {
    /// It is refused: it can't travel here.
    #[default]
    Nowhere,
    /// It is refused, and noted: the value is encoded once more, with [`Travel`](Self::Travel). So nothing is given away twice.
    Asked { found: bool },
    /// This is a trial. The handle is written as the number of its stand-in in `kept`, or as 0 if there is no `kept`.
    Trial { kept: Option<Vec<Kept>> },
    /// It travels.
    Travel(Luggage),
}

/// Where a handle comes from that is decoded.
#[derive(Default)]
pub(super) enum Arriving {
    /// Nowhere: it is refused.
    #[default]
    Nowhere,
    /// This is a trial. The handle is made of its stand-in. `blanks` counts the blank handles that were given out.
    Trial { kept: Vec<Kept>, blanks: usize },
    /// From the descriptors that came, each for one handle.
    Travelled(Vec<Option<OwnedFd>>),
}

/// The stand-in for a handle in a trial; `None` for a bare descriptor.
pub(super) type Kept = Option<Box<dyn Any>>;

/// How many blank handles this thread's trial gave out so far.
pub(super) fn blanks() -> usize {
    ARRIVING.with_borrow(|arriving| if let Arriving::Trial { blanks, .. } = **arriving { blanks } else { 0 })
}

/// A thread-local without a destructor, so values can be encoded in the destructor of another thread-local. It holds nothing that needs
/// one while no call is under way.
pub(super) type Slot<S> = RefCell<ManuallyDrop<S>>;

thread_local! {
    pub(super) static LEAVING: Slot<Leaving> = const { RefCell::new(ManuallyDrop::new(Leaving::Nowhere)) };
    pub(super) static ARRIVING: Slot<Arriving> = const { RefCell::new(ManuallyDrop::new(Arriving::Nowhere)) };
}

/// A value in a thread's slot for a while. The value before it comes back afterwards, also after a panic.
pub(super) struct Scope<S: Default + 'static> {
    slot: &'static LocalKey<Slot<S>>,
    before: S,
}

impl<S: Default> Scope<S> {
    pub(super) fn enter(slot: &'static LocalKey<Slot<S>>, now: S) -> Self {
        Self { slot, before: put(slot, now) }
    }

    /// Ends the scope and returns what became of the value.
    pub(super) fn leave(self) -> S {
        put(self.slot, S::default())
    }
}

impl<S: Default> Drop for Scope<S> {
    fn drop(&mut self) {
        put(self.slot, std::mem::take(&mut self.before));
    }
}

fn put<S>(slot: &'static LocalKey<Slot<S>>, now: S) -> S {
    slot.with_borrow_mut(|there| std::mem::replace(&mut **there, now))
}

/// A scope in which no handle can leave. `None` where that holds already, which is nearly always: a value is seldom encoded inside
/// another one.
#[inline]
pub(super) fn no_leaving() -> Option<Scope<Leaving>> {
    let none = LEAVING.with_borrow(|leaving| matches!(**leaving, Leaving::Nowhere));
    if none { None } else { Some(Scope::enter(&LEAVING, Leaving::Nowhere)) }
}

/// A scope in which no handle can arrive. `None` where that holds already.
#[inline]
pub(super) fn no_arriving() -> Option<Scope<Arriving>> {
    let none = ARRIVING.with_borrow(|arriving| matches!(**arriving, Arriving::Nowhere));
    if none { None } else { Some(Scope::enter(&ARRIVING, Arriving::Nowhere)) }
}

/// A file descriptor as a part of a value. It arrives as another descriptor of the same open file.
#[derive(Debug)]
pub struct Descriptor(OwnedFd);

impl From<OwnedFd> for Descriptor {
    fn from(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }
}

impl From<Descriptor> for OwnedFd {
    fn from(descriptor: Descriptor) -> Self {
        descriptor.0
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Serialises a borrowed descriptor as [`Descriptor`] does an owned one: for handles that hold one among other things.
///
/// A handle may be serialised more than once before it travels. Only an `Ok` of this call outside a [trial](leaves_in_trial) says that
/// it travels now.
///
/// # Errors
///
/// Descriptors can't travel here, or the process has none left.
pub fn serialize_descriptor<S: Serializer>(descriptor: BorrowedFd<'_>, serializer: S) -> Result<S::Ok, S::Error> {
    check_leaving()?;
    if leaves_in_trial() {
        return write_stand_in(None, serializer);
    }
    let copy =
        descriptor.try_clone_to_owned().map_err(|error| S::Error::custom(format_args!("can't copy a descriptor: {error}")))?;
    let number = LEAVING.with_borrow_mut(|leaving| match &mut **leaving {
        Leaving::Travel(luggage) => {
            luggage.descriptors.push(copy);
            luggage.descriptors.len() as u32 - 1
        }
        // The check above has refused these.
        Leaving::Nowhere | Leaving::Asked { .. } | Leaving::Trial { .. } => 0,
    });
    serializer.serialize_u32(number)
}

/// For `Serialize` of handles: whether the value is only tried out, so that nothing leaves. If so, call [`serialize_stand_in`].
#[must_use]
pub fn leaves_in_trial() -> bool {
    LEAVING.with_borrow(|leaving| matches!(**leaving, Leaving::Trial { .. }))
}

/// For `Deserialize` of handles: whether the value is only tried out. If so, call [`deserialize_stand_in`].
#[must_use]
pub fn arrives_in_trial() -> bool {
    ARRIVING.with_borrow(|arriving| matches!(**arriving, Arriving::Trial { .. }))
}

/// For `Serialize` of handles in a trial: writes a number in the handle's place. `keep` makes the stand-in, which
/// [`deserialize_stand_in`] gets. It is not called where the trial writes the value that came back.
///
/// # Errors
///
/// `keep` fails, or the number can't be written.
pub fn serialize_stand_in<K: Any, S: Serializer>(
    keep: impl FnOnce() -> Result<K, S::Error>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let keeps = LEAVING.with_borrow(|leaving| matches!(**leaving, Leaving::Trial { kept: Some(_) }));
    let kept: Kept = if keeps { Some(Box::new(keep()?)) } else { None };
    write_stand_in(kept, serializer)
}

fn write_stand_in<S: Serializer>(stand_in: Kept, serializer: S) -> Result<S::Ok, S::Error> {
    let number = LEAVING.with_borrow_mut(|leaving| match &mut **leaving {
        Leaving::Trial { kept: Some(kept) } => {
            kept.push(stand_in);
            kept.len() as u32 - 1
        }
        _ => 0,
    });
    serializer.serialize_u32(number)
}

/// For `Deserialize` of handles in a trial: reads a number and returns the stand-in of that handle.
///
/// `blank`: the handle made of it can't be used as the real one can. If the code around it fails then, the trial proves nothing.
///
/// # Errors
///
/// No stand-in has the number, or the stand-in is of another type, or not `right`.
pub fn deserialize_stand_in<'de, K: Any + Clone, D: Deserializer<'de>>(
    right: impl FnOnce(&K) -> bool,
    blank: bool,
    deserializer: D,
) -> Result<K, D::Error> {
    let number = u32::deserialize(deserializer)?;
    let found = ARRIVING.with_borrow_mut(|arriving| {
        let Arriving::Trial { kept, blanks } = &mut **arriving else { return None };
        let Some(kept) = kept.get(number as usize)? else {
            // It stands for a bare descriptor, which may be the right one.
            *blanks += 1;
            return None;
        };
        let found = kept.downcast_ref::<K>().filter(|found| right(found))?;
        *blanks += usize::from(blank);
        Some(found.clone())
    });
    found.ok_or_else(|| D::Error::custom("it is another kind of handle"))
}

/// A blank descriptor: the end of a pipe that nobody else has, so nobody sees what is done to it.
fn blank_descriptor<E: serde::de::Error>() -> Result<Descriptor, E> {
    ARRIVING.with_borrow_mut(|arriving| {
        if let Arriving::Trial { blanks, .. } = &mut **arriving {
            *blanks += 1;
        }
    });
    let (reader, _) =
        apart(|| pipe_with(PipeFlags::CLOEXEC)).map_err(|error| E::custom(format_args!("can't make a descriptor: {error}")))?;
    Ok(Descriptor(reader))
}

/// For `Serialize` of handles that move: makes sure that handles can travel here, before anything is moved.
///
/// # Errors
///
/// They can't, or not yet: a value that has handles is encoded once more. Return the error as it is.
pub fn check_leaving<E: serde::ser::Error>() -> Result<(), E> {
    LEAVING.with_borrow_mut(|leaving| match &mut **leaving {
        Leaving::Nowhere => Err(E::custom("a handle travels as an argument of a new process or through a connection, not here")),
        Leaving::Asked { found } => {
            *found = true;
            Err(E::custom("a handle travels only once it is known that there is one"))
        }
        Leaving::Trial { .. } | Leaving::Travel(_) => Ok(()),
    })
}

/// For `Serialize` of handles that move: puts the handle into the parcel, once all else of the handle is encoded.
pub fn move_along(mover: Box<dyn Mover>) {
    LEAVING.with_borrow_mut(|leaving| {
        // Where nothing can leave, the mover is dropped, and so goes back.
        if let Leaving::Travel(luggage) = &mut **leaving {
            luggage.movers.push(mover);
        }
    });
}

/// For `Serialize` of handles: an error with this text, which reaches the user in an [`EncodeError`](super::EncodeError).
#[must_use]
pub fn refuse_to_leave<E: serde::ser::Error>(why: impl std::fmt::Display) -> E {
    E::custom(why)
}

impl Serialize for Descriptor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_descriptor(self.0.as_fd(), serializer)
    }
}

impl<'de> Deserialize<'de> for Descriptor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u32::deserialize(deserializer)?;
        if arrives_in_trial() {
            return blank_descriptor();
        }
        let found = ARRIVING.with_borrow_mut(|arriving| match &mut **arriving {
            Arriving::Nowhere | Arriving::Trial { .. } => None,
            Arriving::Travelled(arriving) => arriving.get_mut(number as usize)?.take(),
        });
        found
            .map(Self)
            .ok_or_else(|| D::Error::custom(format_args!("descriptor {number} did not arrive, or another handle has taken it")))
    }
}

/// For `Deserialize` of handles: an error with this text, which reaches the user in a [`DecodeError`](super::DecodeError).
#[must_use]
pub fn refuse<E: serde::de::Error>(why: impl std::fmt::Display) -> E {
    E::custom(why)
}
