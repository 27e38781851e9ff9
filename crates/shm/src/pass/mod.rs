//! Values on their way to another process: bytes, and the descriptors that handles inside them need.
//!
//! A handle (a queue, a connection, a [`Descriptor`]) serialises as the number of a descriptor that travels beside the bytes.
//! That works wherever descriptors can travel: as an argument of a new process and through a connection. Elsewhere (as a
//! message of a queue) it is an error that says so.
//!
//! The codec is serde's data model, each value with its kind (`kind.rs` has the bytes). What is decoded equals what was encoded, or
//! encoding failed: a value of a new shape is tried out first (`trial.rs`). `README.md` has what that means for each of serde's
//! attributes and for types of the standard library.
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

use handles::{ARRIVING, Arriving, LEAVING, Leaving, during, without};
pub use handles::{Descriptor, refuse, serialize_descriptor};
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
/// # Errors
///
/// A part of it refuses to be serialised, or could not be got as it was put.
pub fn encode<T: Serialize + DeserializeOwned>(value: &T) -> Result<Parcel, EncodeError> {
    let mut bytes = Vec::new();
    let (done, asked) = during(&LEAVING, Leaving::Asked { found: false }, || append(value, &mut bytes));
    if !matches!(asked, Leaving::Asked { found: true }) {
        return done.map(|()| Parcel { bytes, descriptors: Vec::new() }).map_err(encode_error::<T>);
    }
    // Handles are encoded once, and can't be tried out: so in the form that is right for most types.
    bytes.clear();
    let named = || shape::with(|shapes| trial::write_named(value, shapes, true, &mut bytes));
    let (done, travel) = during(&LEAVING, Leaving::Travel(Vec::new()), named);
    done.map_err(encode_error::<T>)?;
    let (read, found) = during(&ARRIVING, Arriving::Trial { found: false }, || trial::reads_so_far::<T>(&bytes));
    if !matches!(found, Arriving::Trial { found: true }) {
        read.map_err(encode_error::<T>)?;
    }
    let descriptors = if let Leaving::Travel(descriptors) = travel { descriptors } else { Vec::new() };
    Ok(Parcel { bytes, descriptors })
}

/// Appends a value without handles to `target`, which is as before if it can't be encoded.
///
/// # Errors
///
/// A part of the value refuses to be serialised, as a handle does here, or could not be got as it was put.
#[inline]
pub fn encode_plain<T: Serialize + DeserializeOwned>(value: &T, target: &mut Vec<u8>) -> Result<(), EncodeError> {
    if plain::append_bare(value, target) {
        return Ok(());
    }
    without(&LEAVING, |leaving| matches!(leaving, Leaving::Nowhere), || append(value, target)).map_err(encode_error::<T>)
}

#[inline]
fn append<T: Serialize + DeserializeOwned>(value: &T, target: &mut Vec<u8>) -> Result<(), Why> {
    if plain::append_bare(value, target) {
        return Ok(());
    }
    let start = target.len();
    shape::with(|shapes| {
        let mut writer = Writer::<false>::new(target, shapes, shape::start::<T>());
        let done = writer.root(value);
        let unknown = writer.unknown;
        let done = done.and_then(|()| if unknown.is_empty() { Ok(()) } else { trial::settle(value, shapes, &unknown, target, start) });
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
    during(&ARRIVING, Arriving::Travelled(descriptors), || decode_all(bytes)).0
}

/// Decodes what [`encode_plain`] made.
///
/// # Errors
///
/// The bytes make no `T`.
#[inline]
pub fn decode_plain<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    without(&ARRIVING, |arriving| matches!(arriving, Arriving::Nowhere), || decode_all(bytes))
}

#[inline]
fn decode_all<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    match plain::from_bare(bytes) {
        Some(value) => value.map_err(|why| decode_error::<T>(bytes, why)),
        None => Reader::<false>::new(bytes).root().map_err(|why| decode_error::<T>(bytes, why.to_string())),
    }
}

#[cold]
fn decode_error<T>(bytes: &[u8], why: String) -> DecodeError {
    DecodeError { len: bytes.len(), what: std::any::type_name::<T>(), why }
}
