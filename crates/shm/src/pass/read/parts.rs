//! Parts of a value that hold others: structs, tuples, sequences, maps, variants.

use super::super::kind::*;
use super::super::why::Why;
use super::Reader;
use serde::de::value::{BorrowedStrDeserializer, U32Deserializer};
use serde::de::{DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor};
use serde::{Deserializer, forward_to_deserialize_any};

/// How many items are still to come.
#[derive(Clone, Copy)]
pub(in super::super) enum Left {
    Count(usize),
    UntilEnd,
}

/// The items of a sequence, a tuple or a struct; or the entries of a map or of a struct with names.
pub(in super::super) struct Items<'a, 'de> {
    reader: &'a mut Reader<'de>,
    left: Left,
}

impl<'a, 'de> Items<'a, 'de> {
    #[inline]
    pub(super) fn visit_seq<V: Visitor<'de>>(reader: &'a mut Reader<'de>, left: Left, visitor: V) -> Result<V::Value, Why> {
        let mut items = Self { reader, left };
        let value = visitor.visit_seq(&mut items)?;
        items.close()?;
        Ok(value)
    }

    #[inline]
    pub(super) fn visit_map<V: Visitor<'de>>(reader: &'a mut Reader<'de>, left: Left, visitor: V) -> Result<V::Value, Why> {
        let mut items = Self { reader, left };
        let value = visitor.visit_map(&mut items)?;
        items.close()?;
        Ok(value)
    }

    /// Whether there is one more, which counts as read then.
    #[inline]
    fn advance(&mut self) -> bool {
        match &mut self.left {
            Left::Count(0) => false,
            Left::Count(left) => {
                *left -= 1;
                true
            }
            Left::UntilEnd => self.reader.next() != Some(END),
        }
    }

    #[inline]
    fn close(self) -> Result<(), Why> {
        match self.left {
            Left::Count(0) => Ok(()),
            Left::UntilEnd if self.reader.next() == Some(END) => self.reader.kind().map(drop),
            _ => Err(Why::new("items or fields are left over")),
        }
    }

    /// Every item has a byte, whatever a peer says.
    fn hint(&self) -> Option<usize> {
        match self.left {
            Left::Count(left) => Some(left.min(self.reader.bytes.len())),
            Left::UntilEnd => None,
        }
    }
}

impl<'de> SeqAccess<'de> for &mut Items<'_, 'de> {
    type Error = Why;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Why> {
        if self.advance() { self.reader.part(seed).map(Some) } else { Ok(None) }
    }

    fn size_hint(&self) -> Option<usize> {
        self.hint()
    }
}

impl<'de> MapAccess<'de> for &mut Items<'_, 'de> {
    type Error = Why;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Why> {
        if self.advance() { self.reader.part(seed).map(Some) } else { Ok(None) }
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Why> {
        self.reader.part(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.hint()
    }
}

/// In a trial: the fields of a struct with names, read in their order as those without names would be.
pub(in super::super) struct Named<'a, 'de> {
    reader: &'a mut Reader<'de>,
    fields: std::slice::Iter<'static, &'static str>,
}

impl<'a, 'de> Named<'a, 'de> {
    pub(super) fn visit_seq<V: Visitor<'de>>(
        reader: &'a mut Reader<'de>,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Why> {
        let mut named = Self { reader, fields: fields.iter() };
        let value = visitor.visit_seq(&mut named)?;
        if named.fields.next().is_some() || named.reader.kind()? != END {
            return Err(named.reader.names_needed());
        }
        Ok(value)
    }
}

impl<'de> SeqAccess<'de> for &mut Named<'_, 'de> {
    type Error = Why;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Why> {
        let field = self.fields.next().copied();
        if self.reader.kind()? != STR || field.is_none() || Some(self.reader.text()?) != field {
            return Err(self.reader.names_needed());
        }
        self.reader.part(seed).map(Some)
    }
}

/// A variant of an enum.
pub(in super::super) struct Variant<'a, 'de> {
    pub(super) reader: &'a mut Reader<'de>,
    pub(super) index: u16,
    pub(super) name: Option<&'de str>,
}

impl<'a, 'de> EnumAccess<'de> for Variant<'a, 'de> {
    type Error = Why;
    type Variant = &'a mut Reader<'de>;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), Why> {
        let which = match self.name {
            Some(name) => seed.deserialize(BorrowedStrDeserializer::<Why>::new(name))?,
            None => {
                let index: U32Deserializer<Why> = u32::from(self.index).into_deserializer();
                seed.deserialize(index)?
            }
        };
        Ok((which, self.reader))
    }
}

impl<'de> VariantAccess<'de> for &mut Reader<'de> {
    type Error = Why;

    #[inline]
    fn unit_variant(self) -> Result<(), Why> {
        if self.kind()? == UNIT { Ok(()) } else { Err(Why::new("a variant has something in it that should have nothing")) }
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Why> {
        self.part(seed)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Why> {
        self.deserialize_tuple(len, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Why> {
        self.deserialize_struct("", fields, visitor)
    }
}

/// A variant for those who want to see a map: its name and what it has in it.
pub(in super::super) struct OneEntry<'a, 'de> {
    pub(super) reader: &'a mut Reader<'de>,
    pub(super) name: Option<&'de str>,
}

impl<'de> MapAccess<'de> for OneEntry<'_, 'de> {
    type Error = Why;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Why> {
        self.name.take().map(|name| seed.deserialize(BorrowedStrDeserializer::<Why>::new(name))).transpose()
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Why> {
        self.reader.part(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(1)
    }
}

/// Numbers of one kind, which is not repeated for each.
pub(in super::super) struct Numbers<'a, 'de> {
    pub(super) kind: u8,
    pub(super) width: usize,
    pub(super) bytes: &'de [u8],
    pub(super) each: &'a mut bool,
}

impl<'de> SeqAccess<'de> for &mut Numbers<'_, 'de> {
    type Error = Why;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Why> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let (bytes, rest) = self.bytes.split_at(self.width.min(self.bytes.len()));
        self.bytes = rest;
        seed.deserialize(Number { kind: self.kind, bytes, each: self.each }).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        self.bytes.len().checked_div(self.width)
    }
}

/// A number whose kind is known from elsewhere.
pub(in super::super) struct Number<'a, 'de> {
    pub(super) kind: u8,
    pub(super) bytes: &'de [u8],
    pub(super) each: &'a mut bool,
}

macro_rules! number {
    ($($kind:ident($type:ty) => $visit:ident, $method:ident;)*) => {
        impl<'de> Number<'_, 'de> {
            #[inline]
            pub(super) fn visit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Why> {
                match self.kind {
                    $($kind if let Ok(bytes) = self.bytes.try_into() => visitor.$visit(<$type>::from_ne_bytes(bytes)),)*
                    kind => Err(super::unknown(kind)),
                }
            }
        }

        impl<'de> Deserializer<'de> for Number<'_, 'de> {
            type Error = Why;

            $(#[inline]
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Why> {
                *self.each |= self.kind != $kind;
                self.visit(visitor)
            })*

            #[inline]
            fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Why> {
                *self.each = true;
                self.visit(visitor)
            }

            fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Why> {
                *self.each = true;
                visitor.visit_some(self)
            }

            fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Why> {
                visitor.visit_newtype_struct(self)
            }

            fn is_human_readable(&self) -> bool {
                false
            }

            forward_to_deserialize_any! {
                bool char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
            }
        }
    };
}

number! {
    U8(u8) => visit_u8, deserialize_u8;
    U16(u16) => visit_u16, deserialize_u16;
    U32(u32) => visit_u32, deserialize_u32;
    U64(u64) => visit_u64, deserialize_u64;
    U128(u128) => visit_u128, deserialize_u128;
    I8(i8) => visit_i8, deserialize_i8;
    I16(i16) => visit_i16, deserialize_i16;
    I32(i32) => visit_i32, deserialize_i32;
    I64(i64) => visit_i64, deserialize_i64;
    I128(i128) => visit_i128, deserialize_i128;
    F32(f32) => visit_f32, deserialize_f32;
    F64(f64) => visit_f64, deserialize_f64;
}
