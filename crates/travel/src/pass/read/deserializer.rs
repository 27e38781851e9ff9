//! What types ask for: serde's `Deserializer`.

use super::super::error::Why;
use super::super::format::*;
use super::super::type_names;
use super::Reader;
use super::parts::{Items, Named, OneItem, Variant};
use serde::Deserializer;
use serde::de::{IntoDeserializer, Visitor};

macro_rules! numbers {
    ($($method:ident($type:ty) = $kind:ident, $visit:ident;)*) => {
        $(#[inline(always)]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Why> {
            if let (false, 0, [$kind, rest @ ..]) = (TRIAL, self.bare, self.bytes) {
                if let Some((number, rest)) = rest.split_first_chunk() {
                    self.bytes = rest;
                    return visitor.$visit(<$type>::from_ne_bytes(*number));
                }
            }
            self.meet::<V>();
            if self.found($kind) { visitor.$visit(<$type>::from_ne_bytes(self.fixed()?)) } else { self.any_number(visitor) }
        })*
    };
}

macro_rules! parts {
    ($($method:ident($($argument:ident: $type:ty),*) = $kinds:pat => $visit:ident;)*) => {
        $(#[inline]
        fn $method<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, Why> {
            self.meet::<V>();
            if matches!(self.next(), Some($kinds)) { Items::$visit(self, visitor) } else { self.parts(visitor) }
        })*
    };
}

impl<'de, const TRIAL: bool> Deserializer<'de> for &mut Reader<'de, TRIAL> {
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

    parts! {
        deserialize_map() = MAP => visit_map;
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Why> {
        self.meet::<V>();
        if let Some(vector) = self.vector::<V>()? {
            return Ok(vector);
        }
        if matches!(self.next(), Some(SEQ | ARRAY)) { Items::visit_seq(self, visitor) } else { self.parts(visitor) }
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Why> {
        self.meet::<V>();
        if !matches!(self.next(), Some(TUPLE | TUPLE_ARRAY)) {
            return self.parts(visitor);
        }
        if TRIAL {
            // A field that serde skips here leaves no trace: the shape does not tell which one it was.
            self.watch.each |= self.items_of_tuple()? != len;
        }
        Items::visit_seq(self, visitor)
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(self, _: &'static str, len: usize, visitor: V) -> Result<V::Value, Why> {
        self.deserialize_tuple(len, visitor)
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
        if self.found(TRUE) {
            visitor.visit_bool(true)
        } else if self.found(FALSE) {
            visitor.visit_bool(false)
        } else {
            Err(self.unexpected(&visitor))
        }
    }

    #[inline]
    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Why> {
        self.meet::<V>();
        if self.next() == Some(CHAR) { visitor.visit_char(self.char()?) } else { self.text_or_bytes(visitor) }
    }

    #[inline]
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Why> {
        self.meet::<V>();
        if self.found(STR) {
            visitor.visit_borrowed_str(self.text()?)
        } else if self.next() == Some(CHAR) {
            self.watch.each = true;
            visitor.visit_char(self.char()?)
        } else {
            self.watch.each = true;
            self.text_or_bytes(visitor)
        }
    }

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Why> {
        self.deserialize_str(visitor)
    }

    #[inline]
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Why> {
        self.meet::<V>();
        self.watch.each |= self.next() != Some(BYTES);
        self.text_or_bytes(visitor)
    }

    #[inline]
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Why> {
        self.deserialize_bytes(visitor)
    }

    #[inline]
    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Why> {
        self.meet::<V>();
        if self.found(STR) { visitor.visit_borrowed_str(self.text()?) } else { self.any_number(visitor) }
    }

    #[inline]
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Why> {
        self.meet::<V>();
        if self.found(UNIT) { visitor.visit_unit() } else { Err(self.unexpected(&visitor)) }
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Why> {
        self.deserialize_unit(visitor)
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Why> {
        self.meet::<V>();
        if self.found(NONE) {
            visitor.visit_none()
        } else if self.next() == Some(SOME) {
            self.some(visitor)
        } else {
            self.watch.each = true;
            visitor.visit_some(self)
        }
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Why> {
        self.meet::<V>();
        if TRIAL && type_names::is_derived_struct(std::any::type_name::<V>()) {
            return OneItem::visit_seq(self, visitor);
        }
        visitor.visit_newtype_struct(self)
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Why> {
        if !TRIAL && self.next() == Some(STRUCT) {
            return Items::visit_seq(self, visitor);
        }
        self.meet::<V>();
        match self.next() {
            Some(STRUCT) => Items::visit_seq(self, visitor),
            Some(NAMED_STRUCT) if self.watch.positional => Named::visit_seq(self, fields, visitor),
            Some(NAMED_STRUCT) => {
                self.watch.each |= TRIAL && !self.has_names_of(fields)?;
                Items::visit_map(self, visitor)
            }
            _ => self.parts(visitor),
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
        let name = if self.found(VARIANT) {
            None
        } else if self.found(NAMED_VARIANT) {
            Some(())
        } else if self.found(STR) {
            // Formats for people write a variant as a text. A type that reads such texts may have been written so.
            self.watch.each = true;
            return visitor.visit_enum(self.text()?.into_deserializer());
        } else {
            return Err(self.unexpected(&visitor));
        };
        let index = u16::from_ne_bytes(self.fixed()?);
        let mut name = name.map(|()| self.text()).transpose()?;
        if self.watch.positional {
            if name != variants.get(usize::from(index)).copied() {
                return Err(self.names_needed());
            }
            name = None;
        }
        self.enter()?;
        let value = visitor.visit_enum(Variant { reader: self, index, name })?;
        self.depth -= 1;
        Ok(value)
    }
}
