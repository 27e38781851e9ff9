//! Parts of a value that hold others: structs, tuples, sequences, maps, variants.

use super::super::bare;
use super::super::error::Why;
use super::super::format::*;
use super::Reader;
use serde::Deserializer;
use serde::de::value::{BorrowedStrDeserializer, U32Deserializer};
use serde::de::{DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor};

/// How many items are still to come.
enum Left {
    Count(usize),
    UntilEnd,
}

/// The items of a sequence, a tuple or a struct; or the entries of a map or of a struct with names.
pub(in super::super) struct Items<'a, 'de, const TRIAL: bool> {
    reader: &'a mut Reader<'de, TRIAL>,
    left: Left,
}

impl<'a, 'de, const TRIAL: bool> Items<'a, 'de, TRIAL> {
    #[inline(always)]
    pub(super) fn visit_seq<V: Visitor<'de>>(reader: &'a mut Reader<'de, TRIAL>, visitor: V) -> Result<V::Value, Why> {
        let mut items = Self::open(reader)?;
        let value = visitor.visit_seq(&mut items)?;
        items.close()?;
        Ok(value)
    }

    #[inline]
    pub(super) fn visit_map<V: Visitor<'de>>(reader: &'a mut Reader<'de, TRIAL>, visitor: V) -> Result<V::Value, Why> {
        let mut items = Self::open(reader)?;
        let value = visitor.visit_map(&mut items)?;
        items.close()?;
        Ok(value)
    }

    #[inline(always)]
    fn open(reader: &'a mut Reader<'de, TRIAL>) -> Result<Self, Why> {
        let kind = reader.kind()?;
        reader.enter()?;
        let left = match kind {
            SEQ | MAP => Left::Count(reader.length()?),
            ARRAY | TUPLE_ARRAY => {
                let number = reader.kind()?;
                let count = reader.length()?;
                super::format::width(number).ok_or_else(|| super::unknown(number))?;
                reader.bare = number;
                Left::Count(count)
            }
            _ => Left::UntilEnd,
        };
        Ok(Self { reader, left })
    }

    /// Whether there is one more item. If so, counts it as read.
    #[inline(always)]
    fn advance(&mut self) -> bool {
        match &mut self.left {
            Left::Count(0) => false,
            Left::Count(left) => {
                *left -= 1;
                true
            }
            Left::UntilEnd => self.reader.bytes.first() != Some(&END),
        }
    }

    #[inline(always)]
    fn close(self) -> Result<(), Why> {
        self.reader.bare = 0;
        self.reader.depth -= 1;
        match self.left {
            Left::Count(0) => Ok(()),
            Left::UntilEnd if self.reader.found(END) => Ok(()),
            _ => Err(Why::new("items or fields are left over")),
        }
    }

    /// At most one item for each byte that is left, whatever a peer says.
    fn hint(&self) -> Option<usize> {
        match self.left {
            Left::Count(left) => Some(left.min(self.reader.bytes.len())),
            Left::UntilEnd => None,
        }
    }
}

impl<'de, const TRIAL: bool> SeqAccess<'de> for &mut Items<'_, 'de, TRIAL> {
    type Error = Why;

    #[inline(always)]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Why> {
        if !self.advance() {
            return Ok(None);
        }
        if !TRIAL && self.reader.bare != 0 && bare::is_own_seed::<S, S::Value>() {
            if let Some((number, rest)) = bare::split_number(self.reader.bare, self.reader.bytes) {
                self.reader.bytes = rest;
                return Ok(Some(number));
            }
        }
        self.reader.part(seed).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        self.hint()
    }
}

impl<'de, const TRIAL: bool> MapAccess<'de> for &mut Items<'_, 'de, TRIAL> {
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

/// The fields of a struct with names, read in a trial in their order, as fields without names would be.
pub(in super::super) struct Named<'a, 'de, const TRIAL: bool> {
    reader: &'a mut Reader<'de, TRIAL>,
    fields: std::slice::Iter<'static, &'static str>,
}

impl<'a, 'de, const TRIAL: bool> Named<'a, 'de, TRIAL> {
    pub(super) fn visit_seq<V: Visitor<'de>>(
        reader: &'a mut Reader<'de, TRIAL>,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Why> {
        reader.kind()?;
        reader.enter()?;
        let mut named = Self { reader, fields: fields.iter() };
        let value = visitor.visit_seq(&mut named)?;
        named.reader.depth -= 1;
        if named.fields.next().is_some() || named.reader.kind()? != END {
            return Err(named.reader.names_needed());
        }
        Ok(value)
    }
}

impl<'de, const TRIAL: bool> SeqAccess<'de> for &mut Named<'_, 'de, TRIAL> {
    type Error = Why;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Why> {
        let field = self.fields.next().copied();
        if self.reader.kind()? != STR || field.is_none() || Some(self.reader.text()?) != field {
            return Err(self.reader.names_needed());
        }
        self.reader.part(seed).map(Some)
    }
}

/// The content of a newtype, in a trial.
pub(in super::super) struct OneItem<'a, 'de, const TRIAL: bool> {
    reader: &'a mut Reader<'de, TRIAL>,
    left: bool,
}

impl<'a, 'de, const TRIAL: bool> OneItem<'a, 'de, TRIAL> {
    /// Reads a newtype as a sequence. Unlike on the usual road, a derived type shows here whether its field has code of its own.
    #[cold]
    #[inline(never)]
    pub(super) fn visit_seq<V: Visitor<'de>>(reader: &'a mut Reader<'de, TRIAL>, visitor: V) -> Result<V::Value, Why> {
        let mut item = Self { reader, left: true };
        let value = visitor.visit_seq(&mut item)?;
        if item.left { item.reader.pass_over().map(|()| value) } else { Ok(value) }
    }
}

impl<'de, const TRIAL: bool> SeqAccess<'de> for &mut OneItem<'_, 'de, TRIAL> {
    type Error = Why;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Why> {
        if std::mem::take(&mut self.left) { self.reader.part(seed).map(Some) } else { Ok(None) }
    }
}

/// A variant of an enum.
pub(in super::super) struct Variant<'a, 'de, const TRIAL: bool> {
    pub(super) reader: &'a mut Reader<'de, TRIAL>,
    pub(super) index: u16,
    pub(super) name: Option<&'de str>,
}

impl<'a, 'de, const TRIAL: bool> EnumAccess<'de> for Variant<'a, 'de, TRIAL> {
    type Error = Why;
    type Variant = &'a mut Reader<'de, TRIAL>;

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

impl<'de, const TRIAL: bool> VariantAccess<'de> for &mut Reader<'de, TRIAL> {
    type Error = Why;

    #[inline]
    fn unit_variant(self) -> Result<(), Why> {
        if self.found(END) { Ok(()) } else { Err(Why::new("a variant has something in it that should have nothing")) }
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

/// A variant for a type that asks for a map: its name and its content.
pub(in super::super) struct OneEntry<'a, 'de, const TRIAL: bool> {
    pub(super) reader: &'a mut Reader<'de, TRIAL>,
    pub(super) name: Option<&'de str>,
}

impl<'de, const TRIAL: bool> MapAccess<'de> for OneEntry<'_, 'de, TRIAL> {
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
