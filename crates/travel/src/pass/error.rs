//! What goes wrong in the codec.

use std::fmt;
use thiserror::Error;

/// Why a value can't travel.
///
/// The text names the type and gives the reason: the words of the part that refuses, or the codec's own, which say what to do.
#[derive(Clone, Error, PartialEq, Eq)]
#[error("a value of type {what} can't be encoded: {why}")]
pub struct EncodeError {
    what: &'static str,
    why: Box<str>,
}

/// Why bytes make no value of the type asked for.
///
/// The text names the type and gives the reason: the words of the part that refuses, or the codec's own.
#[derive(Clone, Error, PartialEq, Eq)]
#[error("{len} bytes can't be decoded as {what}: {why}")]
pub struct DecodeError {
    len: usize,
    what: &'static str,
    why: Box<str>,
}

multiproc_prim::error_debug! { EncodeError DecodeError }

impl EncodeError {
    #[cold]
    pub(super) fn of<T>(why: Why) -> Self {
        Self { what: std::any::type_name::<T>(), why: why.0 }
    }
}

impl DecodeError {
    #[cold]
    pub(super) fn of<T>(len: usize, why: Why) -> Self {
        Self { len, what: std::any::type_name::<T>(), why: why.0 }
    }
}

/// The reason inside the codec, without the type's name.
///
/// It is two words long: the road without errors must not pay for it.
#[derive(Debug)]
pub(super) struct Why(Box<str>);

impl Why {
    #[cold]
    pub(super) fn new(why: impl Into<Box<str>>) -> Self {
        Self(why.into())
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Why {}

impl serde::ser::Error for Why {
    #[cold]
    fn custom<T: fmt::Display>(why: T) -> Self {
        Self::new(why.to_string())
    }
}

impl serde::de::Error for Why {
    #[cold]
    fn custom<T: fmt::Display>(why: T) -> Self {
        Self::new(why.to_string())
    }
}
