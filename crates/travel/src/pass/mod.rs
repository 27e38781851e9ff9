//! Values on their way to another process: bytes, and the descriptors that handles inside them need.
//!
//! The codec is serde's data model, each value with its kind. What is decoded equals what was encoded, or encoding failed: a value
//! of a new shape is tried out first. `docs/codec.md` of the repository says what that means for each of serde's attributes and for
//! types of the standard library.
//!
//! A handle (a queue, an end of a pipe, a [`Descriptor`]) is encoded as the number of a descriptor that travels beside the bytes.
//! That works wherever descriptors can travel: as an argument of a new process, and through a pipe. Elsewhere, as in a message of a
//! queue, encoding fails and says so.
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
//!
//! # The files, in reading order
//!
//! | file | what it has |
//! |---|---|
//! | `mod.rs` | [`encode`] and [`decode`]; `encode_plain` and `decode_plain`, for values without handles |
//! | `format.rs` | the bytes: a table of all kinds of values |
//! | `bare.rs` | types whose messages are their bare bytes, without a kind: numbers, `()`, `String`, `Vec` of numbers |
//! | `plain.rs` | [`Plain`], [`PlainVec`]: values that travel as the bytes that they are in memory |
//! | `write/mod.rs` | value to bytes: serde's `Serializer` (`write/parts.rs`: structs, tuples, sequences, maps) |
//! | `read/mod.rs` | bytes to value, whatever the type asks for |
//! | `read/deserializer.rs` | serde's `Deserializer`: what the type asks for (`read/parts.rs`: structs, sequences, maps, variants) |
//! | `shape.rs` | the shape of a value, and the shapes that a thread has tried out |
//! | `trial.rs` | the trial: encode, decode, encode again, compare |
//! | `compare.rs` | comparing two encodings where the order of items may be no part of the value |
//! | `type_names.rs` | what the compiler's names of types tell: who wrote their code, whether their items have an order |
//! | `identity.rs` | [`identity`](identity()): a number for a type that another program finds, too |
//! | `handles.rs` | descriptors and handles in a value |
//! | `error.rs` | [`EncodeError`], [`DecodeError`] |
//!
//! # Where to change what
//!
//! | to | change |
//! |---|---|
//! | add a kind of value | `format.rs` (constant, table, `VERSION`), `write/mod.rs`, `read/deserializer.rs`; in `read/mod.rs` `any`, `unexpected` and `pass_over`; `compare.rs` if it holds other values |
//! | have one more type travel as its bare bytes | `bare.rs` (`numbers!`, or `bytes_of`, `from_bytes`, `whole` and `is_bare`), `VERSION` |
//! | trust the code of one more crate whose types are read from any bytes | `type_names::BYTES` |
//! | know one more unordered set, or ordered map, of another crate | the two lists in `type_names.rs`, `Care::has_items` |
//! | refuse a type of the library that serde writes without a part | `type_names::loses`, `bare::what_is_lost` |
//! | have a handle of your own travel | nothing here: call the functions of `handles.rs` in its `Serialize` and `Deserialize`, as `multiproc-queue` does |
//!
//! Each change needs a row in `docs/codec.md`, and a test in `tests/same_value/`, one for each row.

mod bare;
mod compare;
mod error;
mod format;
mod handles;
mod identity;
mod lends;
mod plain;
mod read;
mod shape;
mod trial;
mod type_names;
mod write;

pub use error::{DecodeError, EncodeError};
pub use format::MAX_DEPTH;
pub use handles::{Descriptor, Mover, arrives_in_trial, check_leaving, deserialize_stand_in, leaves_in_trial};
pub use handles::{move_along, refuse, refuse_to_leave, serialize_descriptor, serialize_stand_in};
pub use identity::{identity, type_name};
pub use lends::Lends;
pub use plain::{Plain, PlainVec};

use error::Why;
use handles::{ARRIVING, Arriving, LEAVING, Leaving, Luggage, Scope, no_arriving, no_leaving};
use multiproc_prim::Bytes;
use read::Reader;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::os::fd::OwnedFd;
use write::Writer;

/// One encoded value: its bytes, and the descriptors and moving handles that travel beside them.
#[must_use = "handles inside it that move go back when it is dropped unsent"]
#[derive(Debug, Default)]
pub struct Parcel {
    /// The encoded value.
    pub bytes: Vec<u8>,
    /// The descriptors that its handles need, in the order of their numbers in `bytes`.
    pub descriptors: Vec<OwnedFd>,
    /// Its handles that move: they are in no other place while the parcel is on its way.
    pub movers: Vec<Box<dyn Mover>>,
}

impl Parcel {
    /// Call it once the parcel is sent: its moving handles have left this process, and nothing of them stays open here.
    pub fn sent(self) {
        self.movers.into_iter().for_each(Mover::left);
    }
}

/// Encodes a value that may hold handles.
///
/// A value with handles is tried out each time, with stand-ins for its handles: numbers, and blank handles where the handle itself
/// would be used up. So everything but the handles is compared. There is one exception: a type whose own code fails or panics when
/// it gets a blank handle. The blank may be the reason, so the value travels, and nothing of it was compared.
///
/// # Errors
///
/// A part of the value refuses to be serialised, or would come back as another value.
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
/// A pair that is not one of [`Lends`] is the caller's to answer for: a `T` that is read from the value's bytes must be the value.
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
        return done.map(|()| Parcel { bytes, ..Parcel::default() }).map_err(EncodeError::of::<T>);
    }
    // With names, and in the forms for people: that is right for nearly all types, and finding out is not worth it here.
    bytes.clear();
    trial::try_out_with_handles::<T, Q>(value).map_err(EncodeError::of::<T>)?;
    let travel = Scope::enter(&LEAVING, Leaving::Travel(Luggage::default()));
    let done = shape::with(|shapes| trial::write_named(value, shapes, true, &mut bytes));
    let travel = travel.leave();
    done.map_err(EncodeError::of::<T>)?;
    let Luggage { descriptors, movers } = if let Leaving::Travel(luggage) = travel { luggage } else { Luggage::default() };
    Ok(Parcel { bytes, descriptors, movers })
}

/// The encoding of a value that lies in memory as it travels: a number, a text, a vector of numbers. `None` for other types: encode it.
///
/// ```
/// use multiproc_travel::pass;
///
/// assert_eq!(pass::bare_bytes(&"hello".to_string()), Some(b"hello".as_slice()));
/// assert_eq!(pass::bare_bytes(&("hello".to_string(), 1)), None);
/// ```
#[inline(always)]
pub fn bare_bytes<T>(value: &T) -> Option<&[u8]> {
    bare::bytes_of(value)
}

/// Whether a type is `Vec<u8>`, whose messages may be anything.
#[inline(always)]
pub fn is_bytes<T>() -> bool {
    bare::is_bytes::<T>()
}

/// Checks the [bare bytes](bare_bytes) of a value that goes where only texts may be.
///
/// # Errors
///
/// They are no UTF-8.
#[cold]
pub fn check_text<T>(bytes: &[u8]) -> Result<(), EncodeError> {
    let text = std::str::from_utf8(bytes);
    text.map(drop)
        .map_err(|error| EncodeError::of::<T>(Why::new(format!("it goes to a queue of String, and is no UTF-8: {error}"))))
}

/// Encodes a value without handles, and appends it to `target`. If that fails, `target` is as before.
///
/// # Errors
///
/// A part of the value refuses to be serialised, as a handle does here, or would come back as another value.
#[inline]
pub fn encode_plain<T: Serialize + DeserializeOwned>(value: &T, target: &mut Vec<u8>) -> Result<(), EncodeError> {
    if let Some(bytes) = bare_bytes(value) {
        target.extend_from_slice(bytes);
        return Ok(());
    }
    let _scope = no_leaving();
    append::<T, T>(value, target).map_err(EncodeError::of::<T>)
}

#[inline]
fn append<T: Serialize + DeserializeOwned, Q: Serialize + ?Sized>(value: &Q, target: &mut Vec<u8>) -> Result<(), Why> {
    if let Some(bytes) = bare::bytes_lent::<T, Q>(value) {
        target.extend_from_slice(bytes);
        return Ok(());
    }
    if bare::type_id::<T>() != bare::type_id::<Q>() && bare::is_bare::<T>() {
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

/// Decodes what [`encode`] made. Closes descriptors that no handle asked for.
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
    match bare::from_bytes(bytes) {
        Some(value) => value.map_err(|why| DecodeError::of::<T>(bytes.len(), why)),
        None => {
            let _scope = no_arriving();
            decode_all(bytes)
        }
    }
}

/// Decodes a text or a vector of numbers from shared memory by one copy. `None` for other types: copy the bytes, and decode the copy.
///
/// # Errors
///
/// The bytes make no `T`.
#[inline(always)]
pub fn decode_shared<T>(bytes: Bytes<'_>) -> Option<Result<T, DecodeError>> {
    bare::whole(bytes).map(|value| value.map_err(|why| DecodeError::of::<T>(bytes.len(), why)))
}

#[inline]
fn decode_all<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    match bare::from_bytes(bytes) {
        Some(value) => value.map_err(|why| DecodeError::of::<T>(bytes.len(), why)),
        None => Reader::<false>::new(bytes).root().map_err(|why| DecodeError::of::<T>(bytes.len(), why)),
    }
}
