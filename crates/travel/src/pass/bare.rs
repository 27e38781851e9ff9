//! Types whose messages are their bare bytes: numbers, `()`, `String` and `Vec` of numbers. The compiler finds out which one a type is,
//! so nothing of this is left at run time.
//!
//! The same code spots vectors of numbers inside other values, and values of the library that serde writes without a part.

use super::error::Why;
use super::format;
use multiproc_prim::{Bytes, vec_of};
use std::any::TypeId;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;

/// The identity of a type that may hold borrowed parts. Lifetimes do not count.
///
/// Compare it only with types that borrow nothing. (The method is that of the crate `typeid`.)
#[inline(always)]
pub(super) fn type_id<T: ?Sized>() -> TypeId {
    trait Any {
        fn id(&self) -> TypeId
        where
            Self: 'static;
    }
    impl<T: ?Sized> Any for PhantomData<T> {
        #[inline(always)]
        fn id(&self) -> TypeId
        where
            Self: 'static,
        {
            TypeId::of::<T>()
        }
    }
    let it: &dyn Any = &PhantomData::<T>;
    // SAFETY: the object is `PhantomData`, which borrows nothing, and `id` looks at the type alone, where lifetimes are erased.
    unsafe { std::mem::transmute::<&dyn Any, &(dyn Any + 'static)>(it) }.id()
}

/// Whether a seed calls the type's own `Deserialize`.
#[inline(always)]
pub(super) fn is_own_seed<S, T>() -> bool {
    type_id::<S>() == type_id::<PhantomData<T>>()
}

macro_rules! numbers {
    ($($type:ty = $kind:ident),*) => {
        /// The kind of a number's type; `None` for other types.
        #[inline(always)]
        pub(super) fn number_kind(id: TypeId) -> Option<u8> {
            $(if id == TypeId::of::<$type>() {
                return Some(format::$kind);
            })*
            None
        }

        /// The kind of the number behind a reference; `None` for other types.
        #[inline(always)]
        fn lent_kind(id: TypeId) -> Option<u8> {
            $(if id == TypeId::of::<&'static $type>() {
                return Some(format::$kind);
            })*
            None
        }

        /// The kind and the bytes of the numbers in a slice or a vector that is lent; `None` for other values.
        ///
        /// # Safety
        ///
        /// `lent` is a value of the type `id`, which borrows for `'a` at least.
        #[inline(always)]
        unsafe fn lent_slice<'a>(id: TypeId, lent: *const ()) -> Option<(u8, &'a [u8])> {
            $(let slice: Option<&'a [$type]> = if id == TypeId::of::<&'static [$type]>() {
                // SAFETY: it is one, as the caller says. How long it borrows did not count.
                Some(unsafe { *lent.cast::<&[$type]>() })
            } else if id == TypeId::of::<&'static Vec<$type>>() {
                // SAFETY: as above.
                Some(unsafe { *lent.cast::<&Vec<$type>>() })
            } else {
                None
            };
            if let Some(slice) = slice {
                return Some((format::$kind, bytemuck::cast_slice(slice)));
            })*
            None
        }

        /// The kind of the numbers in a `Vec`; `None` for other types.
        #[inline(always)]
        fn vector_kind(id: TypeId) -> Option<u8> {
            $(if id == TypeId::of::<Vec<$type>>() {
                return Some(format::$kind);
            })*
            None
        }

        /// Whether an owner whose messages are bare bytes lends this.
        fn lends(owner: TypeId, lent: TypeId) -> bool {
            $(if lent == TypeId::of::<[$type]>() {
                return owner == TypeId::of::<Vec<$type>>();
            })*
            owner == TypeId::of::<String>() && lent == TypeId::of::<str>()
        }

        /// The bytes of a vector of numbers.
        ///
        /// # Safety
        ///
        /// `vector` is a value of the type `id`.
        unsafe fn vector_bytes<'a>(id: TypeId, vector: *const ()) -> &'a [u8] {
            $(if id == TypeId::of::<Vec<$type>>() {
                // SAFETY: it is one, as the caller says.
                return bytemuck::cast_slice::<$type, u8>(unsafe { &*vector.cast::<Vec<$type>>() });
            })*
            &[]
        }

        /// Makes a vector of these bytes and writes it to `target`. Returns whether they make one.
        ///
        /// # Safety
        ///
        /// A value of the type `id` may be written there.
        unsafe fn vector_from(id: TypeId, bytes: impl Source, target: *mut ()) -> bool {
            $(if id == TypeId::of::<Vec<$type>>() {
                let Some(vector) = bytes.collect::<$type>() else { return false };
                // SAFETY: the place is for one, as the caller says.
                unsafe { target.cast::<Vec<$type>>().write(vector) };
                return true;
            })*
            false
        }
    };
}

numbers!(
    u8 = U8,
    u16 = U16,
    u32 = U32,
    u64 = U64,
    u128 = U128,
    usize = U64,
    i8 = I8,
    i16 = I16,
    i32 = I32,
    i64 = I64,
    i128 = I128,
    isize = I64,
    f32 = F32,
    f64 = F64
);

/// The values of these bytes; `None` if they are no whole number of values.
pub(super) fn collect<N: bytemuck::AnyBitPattern>(bytes: &[u8]) -> Option<Vec<N>> {
    // SAFETY: all of the bytes are copied, into new memory for as many.
    unsafe { vec_of(bytes.len(), |target| std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len())) }
}

/// The kind and the bytes of a number, or of a number behind a reference; `None` for other values.
#[inline(always)]
pub(super) fn number<T: ?Sized>(value: &T) -> Option<(u8, &[u8])> {
    let place = std::ptr::from_ref(value).cast::<u8>();
    let (kind, place) = if let Some(kind) = number_kind(type_id::<T>()) {
        (kind, place)
    } else {
        let kind = lent_kind(type_id::<T>())?;
        // SAFETY: the value is a reference to a number.
        (kind, unsafe { *place.cast::<*const u8>() })
    };
    // SAFETY: a number of this kind is there, all of whose bytes are written, for as long as the value.
    Some((kind, unsafe { std::slice::from_raw_parts(place, format::width(kind)?) }))
}

/// The kind and the bytes of the numbers that an iterator over a slice or a vector of numbers borrows; `None` for other iterators.
#[inline(always)]
pub(super) fn lent_numbers<I>(lent: &I) -> Option<(u8, &[u8])> {
    // SAFETY: it is a value of that type, and borrows for longer than it is borrowed.
    unsafe { lent_slice(type_id::<I>(), std::ptr::from_ref(lent).cast()) }
}

/// The number that the bytes start with, and the rest of them, if `T` is a number of this kind.
#[inline(always)]
pub(super) fn split_number<T>(kind: u8, bytes: &[u8]) -> Option<(T, &[u8])> {
    if number_kind(type_id::<T>()) != Some(kind) {
        return None;
    }
    let (number, rest) = bytes.split_at_checked(size_of::<T>())?;
    // SAFETY: any bytes make a number, and there are as many as it has.
    Some((unsafe { number.as_ptr().cast::<T>().read_unaligned() }, rest))
}

/// The kind of the numbers in a `Vec`, and their bytes; `None` for other values.
#[inline(always)]
pub(super) fn vector<T: ?Sized>(value: &T) -> Option<(u8, &[u8])> {
    if size_of_val(value) != size_of::<Vec<u8>>() {
        return None;
    }
    let kind = vector_kind(type_id::<T>())?;
    // SAFETY: the value is of that type.
    Some((kind, unsafe { vector_bytes(type_id::<T>(), std::ptr::from_ref(value).cast()) }))
}

/// The kind of the numbers in `T`, if it is a `Vec` of numbers.
#[inline(always)]
pub(super) fn kind_of_vector<T>() -> Option<u8> {
    // Where the size differs, the compiler drops the rest before it translates it.
    if const { size_of::<T>() == size_of::<Vec<u8>>() } { kind_of(type_id::<T>()) } else { None }
}

#[inline(never)]
fn kind_of(id: TypeId) -> Option<u8> {
    vector_kind(id)
}

/// The vector of these bytes, if `T` is a `Vec` of numbers and the bytes are a whole number of items.
#[inline(always)]
pub(super) fn to_vector<T>(bytes: impl Source) -> Option<T> {
    let mut vector = MaybeUninit::<T>::uninit();
    // SAFETY: the place is for a `T`; and it was written, if the answer is yes.
    unsafe { vector_from(type_id::<T>(), bytes, vector.as_mut_ptr().cast()).then(|| vector.assume_init()) }
}

/// Bytes to make a vector of.
pub(super) trait Source {
    /// The values of these bytes; `None` if they are no whole number of values.
    fn collect<N: bytemuck::AnyBitPattern>(self) -> Option<Vec<N>>;
}

impl Source for &[u8] {
    fn collect<N: bytemuck::AnyBitPattern>(self) -> Option<Vec<N>> {
        collect(self)
    }
}

impl Source for Bytes<'_> {
    fn collect<N: bytemuck::AnyBitPattern>(self) -> Option<Vec<N>> {
        self.to_vec()
    }
}

/// The bytes of a value whose messages are its bare bytes; `None` for other values.
#[inline(always)]
pub(super) fn bytes_of<T: ?Sized>(value: &T) -> Option<&[u8]> {
    let id = type_id::<T>();
    if number_kind(id).is_some() {
        number(value).map(|(_, bytes)| bytes)
    } else if id == TypeId::of::<String>() {
        // SAFETY: `T` is `String`.
        Some(unsafe { &*std::ptr::from_ref(value).cast::<String>() }.as_bytes())
    } else if id == TypeId::of::<()>() {
        Some(&[])
    } else {
        vector(value).map(|(_, bytes)| bytes)
    }
}

/// The bytes of what a type lends whose messages are its bare bytes; `None` for other values.
#[inline(always)]
pub(super) fn bytes_lent<T, Q: ?Sized>(value: &Q) -> Option<&[u8]> {
    if type_id::<Q>() == type_id::<T>() {
        return bytes_of(value);
    }
    // SAFETY: it is a `str` or a slice of numbers, all of whose bytes are written.
    let bytes = || unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast(), size_of_val(value)) };
    lends(type_id::<T>(), type_id::<Q>()).then(bytes)
}

/// Whether a type is `Vec<u8>`.
#[inline(always)]
pub(super) fn is_bytes<T>() -> bool {
    type_id::<T>() == TypeId::of::<Vec<u8>>()
}

/// Whether messages of a type are bare bytes.
pub(super) fn is_bare<T>() -> bool {
    let id = type_id::<T>();
    let whole = [TypeId::of::<String>(), TypeId::of::<()>()].contains(&id);
    whole || number_kind(id).is_some() || vector_kind(id).is_some()
}

/// The part of a value of the library that serde leaves out, if the value has it.
///
/// The value may be behind a reference, a `Box`, an `Rc` or an `Arc`.
pub(super) fn what_is_lost<T: ?Sized>(value: &T) -> Option<&'static str> {
    // SAFETY: the value is of that type.
    unsafe { lost(type_id::<T>(), std::ptr::from_ref(value).cast()) }
}

/// # Safety
///
/// `value` is a value of the type `id`.
unsafe fn lost(id: TypeId, value: *const ()) -> Option<&'static str> {
    use std::net::SocketAddrV6;
    // SAFETY: as the caller says.
    if let Some(address) = unsafe { reach::<SocketAddrV6>(id, value) } {
        let lost = address.scope_id() != 0 || address.flowinfo() != 0;
        return lost.then_some("serde leaves out the scope and the flow of an IPv6 address");
    }
    macro_rules! ranges {
        ($($type:ty)*) => {
            // SAFETY: as the caller says.
            false $(|| unsafe { reach::<RangeInclusive<$type>>(id, value) }.is_some_and(|range| range.is_empty() && range.start() <= range.end()))*
        };
    }
    let exhausted = ranges!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize char);
    exhausted.then_some("serde leaves out that a range with an end has come to it")
}

/// The value of type `X` that a value is, or has behind it.
///
/// # Safety
///
/// `value` is a value of the type `id`, for as long as the result lives.
unsafe fn reach<'a, X: 'static>(id: TypeId, value: *const ()) -> Option<&'a X> {
    macro_rules! behind {
        ($($type:ty)*) => {
            $(if id == TypeId::of::<$type>() {
                // SAFETY: it is one, as the caller says.
                return Some(unsafe { &**value.cast::<$type>() });
            }
            if id == TypeId::of::<&'static $type>() {
                // SAFETY: it is one, as the caller says; how long it lives did not count.
                return Some(unsafe { &***value.cast::<&$type>() });
            })*
        };
    }
    if id == TypeId::of::<X>() {
        // SAFETY: it is one, as the caller says.
        return Some(unsafe { &*value.cast::<X>() });
    }
    behind!(&'static X Box<X> Rc<X> Arc<X>);
    None
}

/// The value of these bytes, if messages of type `T` are bare bytes. An error says why the bytes make no value.
#[inline(always)]
pub(super) fn from_bytes<T>(bytes: &[u8]) -> Option<Result<T, Why>> {
    let id = type_id::<T>();
    let unit = id == TypeId::of::<()>();
    if unit || number_kind(id).is_some() {
        // SAFETY: any bytes make a number, and none make a `()`; they are as many as `T` has.
        let read = || unsafe { bytes.as_ptr().cast::<T>().read_unaligned() };
        return Some(if bytes.len() == size_of::<T>() { Ok(read()) } else { Err(wrong_length(size_of::<T>())) });
    }
    whole(bytes)
}

/// The value of these bytes, if it is a text or a vector of numbers.
#[inline(always)]
pub(super) fn whole<T>(bytes: impl Source) -> Option<Result<T, Why>> {
    if type_id::<T>() == TypeId::of::<String>() {
        let text = String::from_utf8(bytes.collect().unwrap_or_default()).map_err(|error| Why::new(error.to_string()));
        let text = text.map(std::mem::ManuallyDrop::new);
        // SAFETY: `T` is `String`, and the original is forgotten.
        return Some(text.map(|text| unsafe { std::mem::transmute_copy::<_, T>(&text) }));
    }
    kind_of_vector::<T>()?;
    Some(to_vector(bytes).ok_or_else(|| Why::new("the bytes are no whole number of items")))
}

#[cold]
fn wrong_length(len: usize) -> Why {
    Why::new(format!("{len} bytes were expected"))
}
