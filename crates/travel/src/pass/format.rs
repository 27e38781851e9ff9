//! The bytes of an encoded value.
//!
//! A value is one byte that says its kind, then what the table says. Numbers have the width of their type, and the processor's byte
//! order. Counts and lengths are `u32`.
//!
//! | kind | what follows |
//! |---|---|
//! | `UNIT`, `FALSE`, `TRUE`, `NONE` | nothing |
//! | a number, `CHAR` | its bytes |
//! | `STR`, `BYTES` | length, bytes |
//! | `SOME` | value |
//! | `SEQ` | count, values |
//! | `MAP` | count, keys and values in turn |
//! | `ARRAY`, `TUPLE_ARRAY` | kind of the numbers, count, their bytes without kinds |
//! | `TUPLE`, `STRUCT` | values, `END` |
//! | `NAMED_STRUCT` | names (as `STR`) and values in turn, `END`: a struct with the names of its fields |
//! | `VARIANT` | index (`u16`); value, or `END` if the variant has none |
//! | `NAMED_VARIANT` | index (`u16`), name (length, bytes); value, or `END` if the variant has none |
//! | `READABLE` | only as the first byte of a message: structs and variants have names, and types take their forms for people |
//!
//! A message whose type is a number, `()`, `String` or a `Vec` of numbers is its bare bytes (`bare.rs`): both sides know the type.

/// The version of the bytes and their meaning: change it with them. It is part of a type's [`identity`](super::identity()).
pub(super) const VERSION: u64 = 3;

pub(super) const END: u8 = 0;
pub(super) const UNIT: u8 = 1;
pub(super) const FALSE: u8 = 2;
pub(super) const TRUE: u8 = 3;
pub(super) const NONE: u8 = 4;
pub(super) const SOME: u8 = 5;
pub(super) const STR: u8 = 6;
pub(super) const BYTES: u8 = 7;
pub(super) const SEQ: u8 = 8;
pub(super) const MAP: u8 = 9;
pub(super) const ARRAY: u8 = 10;
pub(super) const TUPLE_ARRAY: u8 = 11;
pub(super) const TUPLE: u8 = 12;
pub(super) const STRUCT: u8 = 13;
pub(super) const NAMED_STRUCT: u8 = 14;
pub(super) const VARIANT: u8 = 15;
pub(super) const NAMED_VARIANT: u8 = 16;
pub(super) const READABLE: u8 = 17;

pub(super) const U8: u8 = 32;
pub(super) const U16: u8 = 33;
pub(super) const U32: u8 = 34;
pub(super) const U64: u8 = 35;
pub(super) const U128: u8 = 36;
pub(super) const I8: u8 = 37;
pub(super) const I16: u8 = 38;
pub(super) const I32: u8 = 39;
pub(super) const I64: u8 = 40;
pub(super) const I128: u8 = 41;
pub(super) const F32: u8 = 42;
pub(super) const F64: u8 = 43;
pub(super) const CHAR: u8 = 44;

/// Levels that a value may be nested. More could use up a thread's stack.
pub const MAX_DEPTH: u32 = 128;

/// The width of a number of this kind in bytes; `None` if it is no kind of number.
pub(super) fn width(kind: u8) -> Option<usize> {
    Some(match kind {
        U8 | I8 => 1,
        U16 | I16 => 2,
        U32 | I32 | F32 | CHAR => 4,
        U64 | I64 | F64 => 8,
        U128 | I128 => 16,
        _ => return None,
    })
}
