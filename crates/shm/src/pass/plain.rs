//! Types that the codec knows: numbers, strings and vectors of numbers. Which one a type is, the compiler works out.

use super::kind;
use std::any::TypeId;
use std::marker::PhantomData;

/// The identity of a type that may hold borrowed parts; what it borrows for how long does not count.
///
/// Compare it only with types that borrow nothing. (The way is that of the crate `typeid`.)
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
    let it = &PhantomData::<T>;
    let it: &dyn Any = it;
    // SAFETY: the object is `PhantomData`, which borrows nothing, and `id` looks at the type alone, where lifetimes are erased.
    unsafe { std::mem::transmute::<&dyn Any, &(dyn Any + 'static)>(it) }.id()
}

#[inline(always)]
pub(super) fn is<T: ?Sized, U: ?Sized + 'static>() -> bool {
    type_id::<T>() == TypeId::of::<U>()
}

/// Whether a seed is that of a type's own `Deserialize`.
#[inline(always)]
pub(super) fn is_phantom<S, T>() -> bool {
    type_id::<S>() == type_id::<PhantomData<T>>()
}

/// The same value, if its type is `U`.
#[inline(always)]
pub(super) fn same<T: ?Sized, U: 'static>(value: &T) -> Option<&U> {
    // SAFETY: `T` is `U`, which borrows nothing: their identities are equal.
    is::<T, U>().then(|| unsafe { &*std::ptr::from_ref(value).cast::<U>() })
}

/// The same value, if `T` is its type.
#[inline(always)]
fn into<T, U: 'static>(value: U) -> Option<T> {
    // SAFETY: `T` is `U` (see `same`), and the original is forgotten.
    is::<T, U>().then(|| unsafe { std::mem::transmute_copy(&std::mem::ManuallyDrop::new(value)) })
}

macro_rules! numbers {
    ($($type:ty = $kind:ident),*) => {
        /// The kind and the bytes of a number.
        #[inline(always)]
        pub(super) fn number<T: ?Sized>(value: &T) -> Option<(u8, &[u8])> {
            $(if let Some(value) = same::<T, $type>(value) {
                return Some((kind::$kind, bytemuck::bytes_of(value)));
            })*
            None
        }

        /// The kind and the bytes of a `Vec` of numbers.
        #[inline(always)]
        pub(super) fn vector<T: ?Sized>(value: &T) -> Option<(u8, &[u8])> {
            $(if let Some(value) = same::<T, Vec<$type>>(value) {
                return Some((kind::$kind, bytemuck::cast_slice(value)));
            })*
            None
        }

        /// If `T` is a number: that of these bytes, if they are as many as it has.
        #[inline(always)]
        pub(super) fn to_number<T>(bytes: &[u8]) -> Option<Option<T>> {
            $(if is::<T, $type>() {
                return Some(bytemuck::try_pod_read_unaligned::<$type>(bytes).ok().and_then(into));
            })*
            None
        }

        /// The kind of number that `T` is a `Vec` of.
        #[inline(always)]
        pub(super) fn vector_kind<T>() -> Option<u8> {
            $(if is::<T, Vec<$type>>() {
                return Some(kind::$kind);
            })*
            None
        }

        /// If `T` is a `Vec` of numbers: that of these bytes, if they are a whole number of its items.
        #[inline(always)]
        pub(super) fn to_vector<T>(bytes: &[u8]) -> Option<Option<T>> {
            $(if is::<T, Vec<$type>>() {
                return Some(collect::<$type>(bytes).and_then(into));
            })*
            None
        }
    };
}

numbers!(
    u8 = U8, u16 = U16, u32 = U32, u64 = U64, u128 = U128, usize = U64, i8 = I8, i16 = I16, i32 = I32, i64 = I64,
    i128 = I128, isize = I64, f32 = F32, f64 = F64
);

#[inline]
fn collect<N: bytemuck::Pod>(bytes: &[u8]) -> Option<Vec<N>> {
    if !bytes.len().is_multiple_of(size_of::<N>()) {
        return None;
    }
    let mut numbers = vec![N::zeroed(); bytes.len() / size_of::<N>()];
    bytemuck::cast_slice_mut::<N, u8>(&mut numbers).copy_from_slice(bytes);
    Some(numbers)
}

/// Appends a value of a type whose messages are bare bytes. Says whether `T` is one.
#[inline(always)]
pub(super) fn append_bare<T>(value: &T, target: &mut Vec<u8>) -> bool {
    if let Some((_, bytes)) = number(value) {
        target.extend_from_slice(bytes);
    } else if let Some(text) = same::<T, String>(value) {
        target.extend_from_slice(text.as_bytes());
    } else if let Some((_, bytes)) = vector(value) {
        target.extend_from_slice(bytes);
    } else {
        return is::<T, ()>();
    }
    true
}

/// The value of bare bytes, if `T` is a type whose messages are; an error says why the bytes make none.
#[inline(always)]
pub(super) fn from_bare<T>(bytes: &[u8]) -> Option<Result<T, String>> {
    let wrong = || format!("a value of {} bytes was expected", size_of::<T>());
    if let Some(number) = to_number(bytes) {
        Some(number.ok_or_else(wrong))
    } else if is::<T, String>() {
        let text = std::str::from_utf8(bytes).map_err(|error| error.to_string());
        Some(text.and_then(|text| into(text.to_owned()).ok_or_else(wrong)))
    } else if let Some(vector) = to_vector(bytes) {
        Some(vector.ok_or_else(|| "the bytes are no whole number of items".into()))
    } else if is::<T, ()>() {
        Some(if bytes.is_empty() { into(()).ok_or_else(wrong) } else { Err(wrong()) })
    } else {
        None
    }
}
