//! Values that travel as the bytes that they are in memory.

use super::bare;
use bytemuck::{AnyBitPattern, NoUninit};
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use serde::{Serialize, Serializer, ser};
use std::fmt;
use std::marker::PhantomData;

/// A value of plain data: it travels as the bytes that it is in memory, by one copy, however many fields it has.
///
/// Plain data has no pointers and no gaps, and any bytes make a value: [`bytemuck`]'s `NoUninit` and `AnyBitPattern`, which `Pod` implies.
/// It may be a message, or a part of one. Of its fields nothing is written: a named queue tells two plain types apart by name, size and alignment
/// alone. Python's counterpart is `multiprocessing.sharedctypes` with `ctypes.Structure`.
///
/// A number, and a `Vec` of numbers, need no wrapper: they are copied so anyway.
///
/// ```
/// use bytemuck::{Pod, Zeroable};
/// use multiproc_travel::pass::{self, Plain};
///
/// #[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
/// #[repr(C)]
/// struct Point {
///     x: f32,
///     y: f32,
///     z: f32,
/// }
///
/// let point = Plain(Point { x: 1.0, y: 2.0, z: 3.0 });
/// let mut bytes = Vec::new();
/// pass::encode_plain(&point, &mut bytes)?;
/// assert_eq!(pass::decode_plain::<Plain<Point>>(&bytes)?, point);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Plain<T>(pub T);

/// Many values of plain data: they travel as the bytes that they are in memory, by one copy. See [`Plain`].
///
/// ```
/// use multiproc_travel::pass::{self, PlainVec};
///
/// let pixels = PlainVec(vec![[0u8, 128, 255]; 1000]);
/// let mut bytes = Vec::new();
/// pass::encode_plain(&pixels, &mut bytes)?;
/// assert_eq!(pass::decode_plain::<PlainVec<[u8; 3]>>(&bytes)?, pixels);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlainVec<T>(pub Vec<T>);

/// The names under which they are written.
pub(super) const ONE: &str = "multiproc::Plain";
pub(super) const MANY: &str = "multiproc::PlainVec";

impl<T: NoUninit> Serialize for Plain<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(ONE, &Raw(bytemuck::bytes_of(&self.0)))
    }
}

impl<T: NoUninit> Serialize for PlainVec<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if size_of::<T>() == 0 && !self.0.is_empty() {
            return Err(ser::Error::custom("values without bytes can't be told apart from none: put their number"));
        }
        serializer.serialize_newtype_struct(MANY, &Raw(bytemuck::cast_slice(&self.0)))
    }
}

struct Raw<'a>(&'a [u8]);

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de, T: AnyBitPattern> Deserialize<'de> for Plain<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(ONE, FromBytes(PhantomData))
    }
}

impl<'de, T: AnyBitPattern> Deserialize<'de> for PlainVec<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(MANY, FromBytes(PhantomData))
    }
}

/// What can be made of its bytes.
trait OfBytes: Sized {
    /// `None`: these bytes make none.
    fn of_bytes(bytes: &[u8]) -> Option<Self>;
    /// What the bytes should be, and the size and alignment of a value. It is a part of the type's [`identity`](super::identity()).
    fn expecting(f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

impl<T: AnyBitPattern> OfBytes for Plain<T> {
    fn expecting(f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the bytes of a value of {} bytes, aligned to {}", size_of::<T>(), align_of::<T>())
    }

    fn of_bytes(bytes: &[u8]) -> Option<Self> {
        bytemuck::try_pod_read_unaligned(bytes).ok().map(Self)
    }
}

impl<T: AnyBitPattern> OfBytes for PlainVec<T> {
    fn expecting(f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the bytes of values of {} bytes, aligned to {}", size_of::<T>(), align_of::<T>())
    }

    fn of_bytes(bytes: &[u8]) -> Option<Self> {
        bare::collect(bytes).map(Self)
    }
}

struct FromBytes<V>(PhantomData<V>);

impl<'de, V: OfBytes> Visitor<'de> for FromBytes<V> {
    type Value = V;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        V::expecting(f)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V, D::Error> {
        deserializer.deserialize_bytes(self)
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<V, E> {
        V::of_bytes(bytes).ok_or_else(|| E::invalid_length(bytes.len(), &self))
    }

    /// Formats without bytes have a sequence of numbers in their place.
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<V, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = items.next_element()? {
            bytes.push(byte);
        }
        self.visit_bytes(&bytes)
    }
}
