//! Bytes to values.
//!
//! The bytes say what they are. Where that is what the type asks for, it is given at once. Where it is not, the type gets what
//! is there, and may make something of it: that is how serde reads `untagged` and its like, and a `serde_json::Value`.

mod parts;

use super::care;
use super::kind::{self, *};
use super::plain;
use super::why::Why;
use parts::{Items, Left, Named, Variant};
use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, IntoDeserializer, Visitor};

/// What a trial finds out.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// There is one.
    trial: bool,
    /// The bytes have names, and are read as those without names would be.
    positional: bool,
    /// Without names this would have gone wrong.
    pub(super) needs_names: bool,
    /// Another value of the same shape may fare differently.
    pub(super) each: bool,
}

/// Reads one value after the other from bytes.
pub(super) struct Reader<'de> {
    pub(super) bytes: &'de [u8],
    depth: u32,
    readable: bool,
    pub(super) watch: Watch,
}

impl<'de> Reader<'de> {
    #[inline]
    pub(super) fn new(bytes: &'de [u8]) -> Self {
        let (bytes, readable) = match bytes {
            [READABLE, rest @ ..] => (rest, true),
            _ => (bytes, false),
        };
        Self { bytes, depth: 0, readable, watch: Watch::default() }
    }

    /// Reads what has names; `positional`: as if it had none.
    pub(super) fn in_trial(bytes: &'de [u8], positional: bool) -> Self {
        Self { watch: Watch { trial: true, positional, ..Watch::default() }, ..Self::new(bytes) }
    }

    /// The whole value.
    #[inline]
    pub(super) fn root<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, Why> {
        let value = self.part(std::marker::PhantomData::<T>)?;
        if self.bytes.is_empty() { Ok(value) } else { Err(Why::new(format!("{} bytes are left over", self.bytes.len()))) }
    }

    /// A part of a value. What its type does not look at is passed over.
    #[inline]
    fn part<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Why> {
        if self.watch.trial {
            self.watch.each |= care::is_made_otherwise::<S::Value>();
        }
        if let [ARRAY, kind, ..] = self.bytes
            && plain::kind_of_vector::<S::Value>() == Some(*kind)
            && plain::is_own_seed::<S, S::Value>()
        {
            self.bytes = &self.bytes[1..];
            let (_, _, raw) = self.array()?;
            if let Some(vector) = plain::to_vector(raw) {
                return Ok(vector);
            }
        }
        let before = self.bytes.len();
        let value = seed.deserialize(&mut *self)?;
        if self.bytes.len() == before {
            self.pass_over()?;
        }
        Ok(value)
    }

    #[inline]
    fn next(&self) -> Option<u8> {
        self.bytes.first().copied()
    }

    #[inline]
    fn kind(&mut self) -> Result<u8, Why> {
        Ok(self.fixed::<1>()?[0])
    }

    #[inline]
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Why> {
        let (found, rest) = self.bytes.split_first_chunk().ok_or_else(too_short)?;
        self.bytes = rest;
        Ok(*found)
    }

    #[inline]
    fn take(&mut self, len: usize) -> Result<&'de [u8], Why> {
        let (found, rest) = self.bytes.split_at_checked(len).ok_or_else(too_short)?;
        self.bytes = rest;
        Ok(found)
    }

    #[inline]
    fn length(&mut self) -> Result<usize, Why> {
        Ok(u32::from_ne_bytes(self.fixed()?) as usize)
    }

    /// Length and bytes.
    #[inline]
    fn block(&mut self) -> Result<&'de [u8], Why> {
        let len = self.length()?;
        self.take(len)
    }

    #[inline]
    fn text(&mut self) -> Result<&'de str, Why> {
        std::str::from_utf8(self.block()?).map_err(|error| Why::new(error.to_string()))
    }

    /// Kind, width and bytes of numbers without kinds.
    fn array(&mut self) -> Result<(u8, usize, &'de [u8]), Why> {
        let kind = self.kind()?;
        let width = kind::width(kind).ok_or_else(|| unknown(kind))?;
        let len = self.length()?.checked_mul(width).ok_or_else(too_short)?;
        Ok((kind, width, self.take(len)?))
    }

    fn char(&mut self) -> Result<char, Why> {
        char::from_u32(u32::from_ne_bytes(self.fixed()?)).ok_or_else(|| Why::new("a number that is no character"))
    }

    #[inline]
    fn nested<R>(&mut self, read: impl FnOnce(&mut Self) -> Result<R, Why>) -> Result<R, Why> {
        if self.depth == MAX_DEPTH {
            return Err(Why::new(format!("nested more than {MAX_DEPTH} deep")));
        }
        self.depth += 1;
        let result = read(self)?;
        self.depth -= 1;
        Ok(result)
    }

    /// Notes by whom it is read, in a trial.
    #[inline]
    fn meet<V>(&mut self) {
        if self.watch.trial {
            self.watch.each |= !care::is_derived::<V>();
        }
    }

    /// What is there, whatever it is.
    fn any<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Why> {
        self.watch.each = true;
        match self.kind()? {
            UNIT => visitor.visit_unit(),
            FALSE => visitor.visit_bool(false),
            TRUE => visitor.visit_bool(true),
            NONE => visitor.visit_none(),
            SOME => self.nested(|reader| visitor.visit_some(reader)),
            STR => visitor.visit_borrowed_str(self.text()?),
            BYTES => visitor.visit_borrowed_bytes(self.block()?),
            CHAR => visitor.visit_char(self.char()?),
            SEQ => {
                let left = Left::Count(self.length()?);
                self.nested(|reader| Items::visit_seq(reader, left, visitor))
            }
            MAP => {
                let left = Left::Count(self.length()?);
                self.nested(|reader| Items::visit_map(reader, left, visitor))
            }
            ARRAY | TUPLE_ARRAY => self.visit_array(visitor),
            TUPLE => self.nested(|reader| Items::visit_seq(reader, Left::UntilEnd, visitor)),
            STRUCT => self.without_names(|reader| Items::visit_seq(reader, Left::UntilEnd, visitor)),
            NAMED_STRUCT => self.without_names(|reader| Items::visit_map(reader, Left::UntilEnd, visitor)),
            VARIANT => Err(Why::new("a variant without its name")),
            NAMED_VARIANT => self.without_names(|reader| {
                let _ = reader.fixed::<2>()?;
                let name = reader.text()?;
                if reader.next() == Some(UNIT) {
                    reader.kind()?;
                    visitor.visit_borrowed_str(name)
                } else {
                    visitor.visit_map(parts::OneEntry { reader, name: Some(name) })
                }
            }),
            kind => self.visit_number(kind, visitor),
        }
    }

    /// Something that has names, which whoever reads it does not know beforehand.
    fn without_names<R>(&mut self, read: impl FnOnce(&mut Self) -> Result<R, Why>) -> Result<R, Why> {
        if self.watch.positional {
            return Err(self.names_needed());
        }
        self.nested(read)
    }

    #[cold]
    fn names_needed(&mut self) -> Why {
        self.watch.needs_names = true;
        Why::new("names are needed")
    }

    fn visit_number<V: Visitor<'de>>(&mut self, kind: u8, visitor: V) -> Result<V::Value, Why> {
        let width = kind::width(kind).ok_or_else(|| unknown(kind))?;
        parts::Number { kind, bytes: self.take(width)?, each: &mut self.watch.each }.visit(visitor)
    }

    fn visit_array<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Why> {
        let (kind, width, bytes) = self.array()?;
        let mut numbers = parts::Numbers { kind, width, bytes, each: &mut self.watch.each };
        let value = visitor.visit_seq(&mut numbers)?;
        if numbers.bytes.is_empty() { Ok(value) } else { Err(Why::new("items are left over")) }
    }

    /// Passes over a value.
    pub(super) fn pass_over(&mut self) -> Result<(), Why> {
        match self.kind()? {
            UNIT | FALSE | TRUE | NONE => Ok(()),
            SOME => self.nested(Self::pass_over),
            STR | BYTES => self.block().map(drop),
            kind @ (SEQ | MAP) => {
                let values = self.length()? as u64 * if kind == MAP { 2 } else { 1 };
                self.nested(|reader| (0..values).try_for_each(|_| reader.pass_over()))
            }
            ARRAY | TUPLE_ARRAY => self.array().map(drop),
            TUPLE | STRUCT | NAMED_STRUCT => self.nested(|reader| {
                while reader.next() != Some(END) {
                    reader.pass_over()?;
                }
                reader.kind().map(drop)
            }),
            kind @ (VARIANT | NAMED_VARIANT) => self.nested(|reader| {
                let _ = reader.fixed::<2>()?;
                if kind == NAMED_VARIANT {
                    reader.block()?;
                }
                reader.pass_over()
            }),
            kind => {
                let width = kind::width(kind).ok_or_else(|| unknown(kind))?;
                self.take(width).map(drop)
            }
        }
    }
}

#[cold]
fn too_short() -> Why {
    Why::new("the bytes end too early")
}

#[cold]
fn unknown(kind: u8) -> Why {
    Why::new(format!("{kind} is no kind of value"))
}

macro_rules! numbers {
    ($($method:ident($type:ty) = $kind:ident, $visit:ident;)*) => {
        $(#[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Why> {
            self.meet::<V>();
            match self.bytes {
                [$kind, rest @ ..] if let Some((number, rest)) = rest.split_first_chunk() => {
                    self.bytes = rest;
                    visitor.$visit(<$type>::from_ne_bytes(*number))
                }
                _ => self.any(visitor),
            }
        })*
    };
}

macro_rules! asked_for {
    ($($method:ident($($argument:ident: $type:ty),*) = $kind:pat => |$self:ident, $visitor:ident| $visit:expr;)*) => {
        $(#[inline]
        fn $method<V: Visitor<'de>>($self, $($argument: $type,)* $visitor: V) -> Result<V::Value, Why> {
            $self.meet::<V>();
            match $self.next() {
                Some($kind) => {
                    $self.bytes = &$self.bytes[1..];
                    $visit
                }
                _ => $self.any($visitor),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Why;

    fn is_human_readable(&self) -> bool {
        self.readable
    }

    numbers! {
        deserialize_u8(u8) = U8, visit_u8;
        deserialize_u16(u16) = U16, visit_u16;
        deserialize_u32(u32) = U32, visit_u32;
        deserialize_u64(u64) = U64, visit_u64;
        deserialize_u128(u128) = U128, visit_u128;
        deserialize_i8(i8) = I8, visit_i8;
        deserialize_i16(i16) = I16, visit_i16;
        deserialize_i32(i32) = I32, visit_i32;
        deserialize_i64(i64) = I64, visit_i64;
        deserialize_i128(i128) = I128, visit_i128;
        deserialize_f32(f32) = F32, visit_f32;
        deserialize_f64(f64) = F64, visit_f64;
    }

    asked_for! {
        deserialize_char() = CHAR => |self, visitor| visitor.visit_char(self.char()?);
        deserialize_str() = STR => |self, visitor| visitor.visit_borrowed_str(self.text()?);
        deserialize_string() = STR => |self, visitor| visitor.visit_borrowed_str(self.text()?);
        deserialize_identifier() = STR => |self, visitor| visitor.visit_borrowed_str(self.text()?);
        deserialize_bytes() = BYTES => |self, visitor| visitor.visit_borrowed_bytes(self.block()?);
        deserialize_byte_buf() = BYTES => |self, visitor| visitor.visit_borrowed_bytes(self.block()?);
        deserialize_unit() = UNIT => |self, visitor| visitor.visit_unit();
        deserialize_unit_struct(_name: &'static str) = UNIT => |self, visitor| visitor.visit_unit();
        deserialize_map() = MAP => |self, visitor| {
            let left = Left::Count(self.length()?);
            self.nested(|reader| Items::visit_map(reader, left, visitor))
        };
    }

    #[inline]
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Why> {
        self.any(visitor)
    }

    #[inline]
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Why> {
        self.watch.each = true;
        self.pass_over()?;
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Why> {
        self.meet::<V>();
        match self.next() {
            Some(kind @ (FALSE | TRUE)) => {
                self.bytes = &self.bytes[1..];
                visitor.visit_bool(kind == TRUE)
            }
            _ => self.any(visitor),
        }
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Why> {
        self.meet::<V>();
        match self.next() {
            Some(NONE) => {
                self.bytes = &self.bytes[1..];
                visitor.visit_none()
            }
            Some(SOME) => {
                self.bytes = &self.bytes[1..];
                self.nested(|reader| visitor.visit_some(reader))
            }
            _ => {
                self.watch.each = true;
                visitor.visit_some(self)
            }
        }
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Why> {
        self.meet::<V>();
        visitor.visit_newtype_struct(self)
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Why> {
        self.meet::<V>();
        match self.next() {
            Some(SEQ) => {
                self.bytes = &self.bytes[1..];
                let left = Left::Count(self.length()?);
                self.nested(|reader| Items::visit_seq(reader, left, visitor))
            }
            Some(ARRAY) => {
                self.bytes = &self.bytes[1..];
                self.visit_array(visitor)
            }
            _ => self.any(visitor),
        }
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Why> {
        self.meet::<V>();
        match self.next() {
            Some(TUPLE) => {
                self.bytes = &self.bytes[1..];
                self.nested(|reader| Items::visit_seq(reader, Left::UntilEnd, visitor))
            }
            Some(TUPLE_ARRAY) => {
                self.bytes = &self.bytes[1..];
                self.visit_array(visitor)
            }
            _ => self.any(visitor),
        }
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(self, _: &'static str, len: usize, visitor: V) -> Result<V::Value, Why> {
        self.deserialize_tuple(len, visitor)
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Why> {
        self.meet::<V>();
        match self.next() {
            Some(STRUCT) => {
                self.bytes = &self.bytes[1..];
                self.nested(|reader| Items::visit_seq(reader, Left::UntilEnd, visitor))
            }
            Some(NAMED_STRUCT) => {
                self.bytes = &self.bytes[1..];
                if self.watch.positional {
                    return self.nested(|reader| Named::visit_seq(reader, fields, visitor));
                }
                self.nested(|reader| Items::visit_map(reader, Left::UntilEnd, visitor))
            }
            _ => self.any(visitor),
        }
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Why> {
        self.meet::<V>();
        match self.next() {
            Some(kind @ (VARIANT | NAMED_VARIANT)) => {
                self.bytes = &self.bytes[1..];
                let index = u16::from_ne_bytes(self.fixed()?);
                let name = if kind == NAMED_VARIANT { Some(self.text()?) } else { None };
                if self.watch.positional && name != variants.get(usize::from(index)).copied() {
                    return Err(self.names_needed());
                }
                let name = name.filter(|_| !self.watch.positional);
                self.nested(|reader| visitor.visit_enum(Variant { reader, index, name }))
            }
            // As formats for people write them: a type that reads so may have been written so.
            Some(STR) => {
                self.watch.each = true;
                self.bytes = &self.bytes[1..];
                visitor.visit_enum(self.text()?.into_deserializer())
            }
            _ => {
                self.watch.each = true;
                Err(Why::invalid_type(serde::de::Unexpected::Other("something that is no variant"), &visitor))
            }
        }
    }
}
