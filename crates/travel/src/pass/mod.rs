//! Values on their way to another process: bytes, and the descriptors that handles inside them need.
//!
//! A handle (a queue, a connection, a [`Descriptor`]) serialises as the number of a descriptor that travels beside the bytes.
//! That works wherever descriptors can travel: as an argument of a new process and through a connection. Elsewhere (as a
//! message of a queue) it is an error that says so.
//!
//! The codec is serde's data model, each value with its kind (`kind.rs` has the bytes). What is decoded equals what was encoded, or
//! encoding failed: a value of a new shape is tried out first (`trial.rs`). `docs/codec.md` of the repository has what that means for each of
//! serde's attributes and for types of the standard library.
//!
//! ```
//! use multiproc_travel::pass::{self, Descriptor};
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

mod care;
mod handles;
mod identity;
mod kind;
mod plain;
mod read;
mod shape;
mod trial;
mod why;
mod write;

use handles::{ARRIVING, Arriving, LEAVING, Leaving, Luggage, Scope, no_arriving, no_leaving};
pub use handles::{Descriptor, Mover, arrives_in_trial, check_leaving, deserialize_stand_in, leaves_in_trial};
pub use handles::{move_along, refuse, refuse_to_leave, serialize_descriptor, serialize_stand_in};
pub use identity::{identity, type_name};
pub use kind::MAX_DEPTH;
use read::Reader;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::os::fd::OwnedFd;
use thiserror::Error;
use why::Why;
use write::Writer;

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

impl Parcel {
    /// Says that the parcel was sent: the handles that move have left this process, and nothing of them is kept open here.
    pub fn sent(self) {
        self.movers.into_iter().for_each(Mover::left);
    }
}

/// Why a value can't travel: in the words of its own type, if it refuses.
#[derive(Debug, Error)]
#[error("a value of type {what} can't be encoded: {why}")]
pub struct EncodeError {
    what: &'static str,
    why: Box<str>,
}

/// Why bytes make no value: in the words of its own type, if it refuses.
#[derive(Debug, Error)]
#[error("{len} bytes can't be decoded as {what}: {why}")]
pub struct DecodeError {
    len: usize,
    what: &'static str,
    why: String,
}

/// Encodes a value that may hold handles.
///
/// A value with handles is tried out each time, with others in their place: numbered, and blank where the handle itself would be
/// used up. So everything in it but the handles is compared. There is one exception: a type that fails, or panics, in code of its
/// own that was given a blank handle. That may be why, and so the value goes, and nothing of it was compared.
///
/// # Errors
///
/// A part of it refuses to be serialised, or could not be got as it was put.
pub fn encode<T: Serialize + DeserializeOwned>(value: &T) -> Result<Parcel, EncodeError> {
    encode_as::<T, T>(value)
}

/// Encodes what a `T` lends, for a receiver that [decodes](decode) a `T`: a `str` in place of a `String`, a slice in place of a `Vec`. The
/// bytes are those of [`encode`] for a `T` that equals the value.
///
/// ```
/// use multiproc_travel::pass;
///
/// let parcel = pass::encode_as::<String, str>("hello")?;
/// assert_eq!(pass::decode::<String>(&parcel.bytes, parcel.descriptors)?, "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// As [`encode`]; or a `T` is encoded in another way than the value (an array, in place of which a slice is given).
pub fn encode_as<T, Q>(value: &Q) -> Result<Parcel, EncodeError>
where
    T: Serialize + DeserializeOwned,
    Q: Serialize + ?Sized,
{
    let mut bytes = Vec::new();
    let asked = Scope::enter(&LEAVING, Leaving::Asked { found: false });
    let done = append::<T, Q>(value, &mut bytes);
    if !matches!(asked.leave(), Leaving::Asked { found: true }) {
        return done.map(|()| Parcel { bytes, ..Parcel::default() }).map_err(encode_error::<T>);
    }
    // The form that is right for most types: which one a value with handles needs, is not worth finding out.
    bytes.clear();
    trial::try_out_with_handles::<T, Q>(value).map_err(encode_error::<T>)?;
    let travel = Scope::enter(&LEAVING, Leaving::Travel(Luggage::default()));
    let done = shape::with(|shapes| trial::write_named(value, shapes, true, &mut bytes));
    let travel = travel.leave();
    done.map_err(encode_error::<T>)?;
    let Luggage { descriptors, movers } = if let Leaving::Travel(luggage) = travel { luggage } else { Luggage::default() };
    Ok(Parcel { bytes, descriptors, movers })
}

/// Appends a value without handles to `target`, which is as before if it can't be encoded.
///
/// # Errors
///
/// A part of the value refuses to be serialised, as a handle does here, or could not be got as it was put.
#[inline]
pub fn encode_plain<T: Serialize + DeserializeOwned>(value: &T, target: &mut Vec<u8>) -> Result<(), EncodeError> {
    if plain::append_bare::<T, T>(value, target) {
        return Ok(());
    }
    let _scope = no_leaving();
    append::<T, T>(value, target).map_err(encode_error::<T>)
}

#[inline]
fn append<T: Serialize + DeserializeOwned, Q: Serialize + ?Sized>(value: &Q, target: &mut Vec<u8>) -> Result<(), Why> {
    if plain::append_bare::<T, Q>(value, target) {
        return Ok(());
    }
    if plain::type_id::<T>() != plain::type_id::<Q>() && plain::is_bare::<T>() {
        // The receiver expects bare bytes, and only what the codec knows has them.
        return Err(Why::new(format!("a {} has another encoding: send the value itself", type_name::<Q>())));
    }
    let start = target.len();
    shape::with(|shapes| {
        let mut writer = Writer::<false>::new(target, shapes, shape::start::<fn(*const Q) -> T>());
        let done = writer.root(value);
        let unknown = writer.unknown;
        let done = done.and_then(|()| {
            if unknown.is_empty() { Ok(()) } else { trial::settle::<T, Q>(value, shapes, &unknown, target, start) }
        });
        if done.is_err() {
            target.truncate(start);
        }
        done
    })
}

#[cold]
fn encode_error<T>(why: Why) -> EncodeError {
    EncodeError { what: std::any::type_name::<T>(), why: why.into() }
}

/// Decodes what [`encode`] made. Descriptors that no handle asked for are closed.
///
/// # Errors
///
/// The bytes make no `T`.
pub fn decode<T: DeserializeOwned>(bytes: &[u8], descriptors: Vec<OwnedFd>) -> Result<T, DecodeError> {
    let descriptors = descriptors.into_iter().map(Some).collect();
    let _scope = Scope::enter(&ARRIVING, Arriving::Travelled(descriptors));
    decode_all(bytes)
}

/// Decodes what [`encode_plain`] made.
///
/// # Errors
///
/// The bytes make no `T`.
#[inline]
pub fn decode_plain<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    match plain::from_bare(bytes) {
        Some(value) => value.map_err(|why| decode_error::<T>(bytes, why)),
        None => {
            let _scope = no_arriving();
            decode_all(bytes)
        }
    }
}

#[inline]
fn decode_all<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    match plain::from_bare(bytes) {
        Some(value) => value.map_err(|why| decode_error::<T>(bytes, why)),
        None => Reader::new(bytes).root().map_err(|why| decode_error::<T>(bytes, why.to_string())),
    }
}

#[cold]
fn decode_error<T>(bytes: &[u8], why: String) -> DecodeError {
    DecodeError { len: bytes.len(), what: std::any::type_name::<T>(), why }
}
