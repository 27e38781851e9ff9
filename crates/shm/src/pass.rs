//! Values on their way to another process: bytes, and the descriptors that handles inside them need.
//!
//! A handle (a queue, a connection, a [`Descriptor`]) serialises as the number of a descriptor that travels beside the bytes.
//! That works wherever descriptors can travel: as an argument of a new process and through a connection. Elsewhere (as a
//! message of a queue) it is an error that says so.
//!
//! ```
//! use multiproc_shm::pass::{self, Descriptor};
//! use std::os::fd::AsFd;
//!
//! let file = std::fs::File::open("/dev/null")?;
//! let parcel = pass::encode(&(1, Descriptor::from(file.as_fd().try_clone_to_owned()?)))?;
//! assert_eq!(parcel.descriptors.len(), 1);
//! let (n, descriptor): (i32, Descriptor) = pass::decode(&parcel.bytes, parcel.descriptors)?;
//! assert_eq!(n, 1);
//! # drop(descriptor);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cell::RefCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use thiserror::Error;

/// Bytes and descriptors of one value.
#[derive(Debug, Default)]
pub struct Parcel {
    /// The value, encoded.
    pub bytes: Vec<u8>,
    /// What the handles inside it need.
    pub descriptors: Vec<OwnedFd>,
    /// The handles inside it that move.
    pub movers: Vec<Box<dyn Mover>>,
}

/// A handle that moves with the value it is a part of, so that it is never in two places: an end of a pipe.
///
/// It is inside the [`Parcel`] while that is on its way. A mover that is dropped goes back to where it came from: its value was encoded for
/// a trial, or could not be sent.
pub trait Mover: Send + std::fmt::Debug {
    /// The parcel is on its way to another process: there is no way back.
    fn left(self: Box<Self>);
}

impl Parcel {
    /// Says that the parcel was sent: the handles that move have left this process, and nothing of them is kept open here.
    pub fn sent(self) {
        self.movers.into_iter().for_each(Mover::left);
    }
}

/// Why a value can't travel.
#[derive(Debug, Error)]
#[error("the value can't be encoded: {0}")]
pub struct EncodeError(String);

/// Why bytes make no value.
#[derive(Debug, Error)]
#[error("{len} bytes can't be decoded as {what}: {why}")]
pub struct DecodeError {
    len: usize,
    what: &'static str,
    why: String,
}

/// What leaves with the value that this thread encodes.
#[derive(Default)]
struct Leaving {
    descriptors: Vec<OwnedFd>,
    movers: Vec<Box<dyn Mover>>,
}

thread_local! {
    static LEAVING: RefCell<Option<Leaving>> = const { RefCell::new(None) };
    static ARRIVING: RefCell<Option<Vec<Option<OwnedFd>>>> = const { RefCell::new(None) };
}

/// Puts something into a thread's slot for the time of a call, and what was there back afterwards.
fn during<S, R>(
    slot: &'static std::thread::LocalKey<RefCell<Option<S>>>,
    scope: Option<S>,
    call: impl FnOnce() -> R,
) -> (R, Option<S>) {
    struct Restore<S: 'static>(&'static std::thread::LocalKey<RefCell<Option<S>>>, Option<S>);
    impl<S> Drop for Restore<S> {
        fn drop(&mut self) {
            self.0.replace(self.1.take());
        }
    }
    let restore = Restore(slot, slot.replace(scope));
    let result = call();
    let left = restore.0.take();
    (result, left)
}

/// Makes a call with nothing in a thread's slot.
#[inline]
fn without<S, R>(slot: &'static std::thread::LocalKey<RefCell<Option<S>>>, call: impl FnOnce() -> R) -> R {
    // It nearly always is empty: a value is seldom encoded while another one is.
    if slot.with_borrow(Option::is_none) { call() } else { during(slot, None, call).0 }
}

/// Encodes a value that may hold handles.
///
/// # Errors
///
/// A part of it refuses to be serialised.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Parcel, EncodeError> {
    let (bytes, leaving) = during(&LEAVING, Some(Leaving::default()), || postcard::to_stdvec(value));
    let Leaving { descriptors, movers } = leaving.unwrap_or_default();
    Ok(Parcel { bytes: bytes.map_err(encode_error)?, descriptors, movers })
}

/// Appends a value without handles to `target`, which is as before if it can't be encoded.
///
/// # Errors
///
/// A part of the value refuses to be serialised, as a handle does here.
#[inline]
pub fn encode_plain<T: Serialize + ?Sized>(value: &T, target: &mut Vec<u8>) -> Result<(), EncodeError> {
    let before = target.len();
    let done = without(&LEAVING, || postcard::serialize_with_flavor(value, Appender(target)));
    done.map_err(|error| {
        target.truncate(before);
        encode_error(error)
    })
}

/// Decodes what [`encode`] made. Descriptors that no handle asked for are closed.
///
/// # Errors
///
/// The bytes make no `T`.
pub fn decode<T: DeserializeOwned>(bytes: &[u8], descriptors: Vec<OwnedFd>) -> Result<T, DecodeError> {
    let descriptors = descriptors.into_iter().map(Some).collect();
    during(&ARRIVING, Some(descriptors), || decode_all(bytes)).0
}

/// Decodes what [`encode_plain`] made.
///
/// # Errors
///
/// The bytes make no `T`.
#[inline]
pub fn decode_plain<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    without(&ARRIVING, || decode_all(bytes))
}

fn decode_all<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let error = |why: String| DecodeError { len: bytes.len(), what: std::any::type_name::<T>(), why };
    // The codec keeps what a value's own `Deserialize` said to itself, so it is kept here for the message.
    if WHY.with_borrow(Option::is_some) {
        WHY.set(None);
    }
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(error(format!("{} bytes are left over", rest.len()))),
        Err(codec) => Err(error(WHY.take().unwrap_or_else(|| codec.to_string()))),
    }
}

fn encode_error(error: postcard::Error) -> EncodeError {
    EncodeError(WHY.take().unwrap_or_else(|| error.to_string()))
}

thread_local! {
    static WHY: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// For `Serialize` and `Deserialize` of handles: an error whose text survives the codec.
fn explain<S: AsRef<str>>(why: S) -> String {
    WHY.set(Some(why.as_ref().to_owned()));
    why.as_ref().to_owned()
}

/// Bytes that are appended one by one.
const SHORT: usize = 16;

struct Appender<'a>(&'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Appender<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        if bytes.len() <= SHORT {
            // A number, most of the time: a call costs more than its bytes.
            bytes.iter().for_each(|&byte| self.0.push(byte));
        } else {
            self.0.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// A file descriptor as a part of a value: it arrives as another descriptor of the same open file.
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
/// # Errors
///
/// Descriptors can't travel here, or the process has none left.
pub fn serialize_descriptor<S: Serializer>(descriptor: BorrowedFd<'_>, serializer: S) -> Result<S::Ok, S::Error> {
    let copy = descriptor.try_clone_to_owned();
    let number = LEAVING.with_borrow_mut(|leaving| match (leaving, copy) {
        (Some(leaving), Ok(copy)) => {
            leaving.descriptors.push(copy);
            Ok(leaving.descriptors.len() as u32 - 1)
        }
        (Some(_), Err(error)) => Err(format!("can't copy a descriptor: {error}")),
        (None, _) => Err(NOT_HERE.into()),
    });
    serializer.serialize_u32(number.map_err(|why: String| S::Error::custom(explain(why)))?)
}

const NOT_HERE: &str = "a handle travels as an argument of a new process or through a connection, not here";

/// For `Serialize` of handles that move: makes sure that descriptors can travel here, before anything is moved.
///
/// # Errors
///
/// They can't.
pub fn check_leaving<E: serde::ser::Error>() -> Result<(), E> {
    if LEAVING.with_borrow(Option::is_some) { Ok(()) } else { Err(E::custom(explain(NOT_HERE))) }
}

/// For `Serialize` of handles that move: puts one into the parcel, once everything else of it is encoded.
pub fn move_along(mover: Box<dyn Mover>) {
    // Where nothing can leave, the mover is dropped, and so goes back.
    LEAVING.with_borrow_mut(|leaving| leaving.as_mut().map(|leaving| leaving.movers.push(mover)));
}

/// For `Serialize` of handles: what is wrong with them, in words that reach the user.
pub fn refuse_to_leave<E: serde::ser::Error>(why: impl std::fmt::Display) -> E {
    E::custom(explain(why.to_string()))
}

impl Serialize for Descriptor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_descriptor(self.0.as_fd(), serializer)
    }
}

impl<'de> Deserialize<'de> for Descriptor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u32::deserialize(deserializer)?;
        let found = ARRIVING.with_borrow_mut(|arriving| arriving.as_mut()?.get_mut(number as usize)?.take());
        found.map(Self).ok_or_else(|| D::Error::custom(explain(format!("descriptor {number} did not arrive"))))
    }
}

/// For `Deserialize` of handles: what is wrong with them, in words that reach the user.
pub fn refuse<E: serde::de::Error>(why: impl std::fmt::Display) -> E {
    E::custom(explain(why.to_string()))
}
