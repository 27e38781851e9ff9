//! Parts of a value that hold others: structs, tuples, sequences, maps.

use super::super::bare;
use super::super::error::Why;
use super::super::format::{self, *};
use super::super::shape::{self, mix};
use super::Writer;
use serde::Serialize;
use serde::ser;

/// The fields of a struct, a tuple or a variant.
pub(in super::super) struct Fields<'w, 'a, const NAMED: bool> {
    pub(super) writer: &'w mut Writer<'a, NAMED>,
    /// The shape around it, if it is a variant.
    pub(super) outer: Option<u64>,
}

impl<const NAMED: bool> Fields<'_, '_, NAMED> {
    #[inline(always)]
    fn named<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Why> {
        if NAMED {
            self.writer.block(STR, name.as_bytes())?;
        }
        self.writer.shape = mix(self.writer.shape, shape::name(name));
        self.writer.part(value)
    }

    #[inline(always)]
    fn close(self) {
        self.writer.kind(END);
        self.writer.depth -= 1;
        if let Some(outer) = self.outer {
            self.writer.end_variant(outer);
        }
    }
}

macro_rules! unnamed {
    ($($trait:ident::$method:ident),*) => {
        $(impl<const NAMED: bool> ser::$trait for Fields<'_, '_, NAMED> {
            type Ok = ();
            type Error = Why;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Why> {
                self.writer.part(value)
            }

            #[inline]
            fn end(self) -> Result<(), Why> {
                self.close();
                Ok(())
            }
        })*
    };
}

unnamed!(SerializeTupleStruct::serialize_field, SerializeTupleVariant::serialize_field);

macro_rules! named {
    ($($trait:ident),*) => {
        $(impl<const NAMED: bool> ser::$trait for Fields<'_, '_, NAMED> {
            type Ok = ();
            type Error = Why;

            #[inline]
            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Why> {
                self.named(name, value)
            }

            #[inline]
            fn skip_field(&mut self, name: &'static str) -> Result<(), Why> {
                self.writer.shape = mix(self.writer.shape, !shape::name(name));
                Ok(())
            }

            #[inline]
            fn end(self) -> Result<(), Why> {
                self.close();
                Ok(())
            }
        })*
    };
}

named!(SerializeStruct, SerializeStructVariant);

/// A tuple or an array. A long one of numbers alone has no kind for each.
pub(in super::super) enum Tuple<'w, 'a, const NAMED: bool> {
    Short(Fields<'w, 'a, NAMED>),
    Long(Items<'w, 'a, NAMED>),
}

impl<const NAMED: bool> ser::SerializeTuple for Tuple<'_, '_, NAMED> {
    type Ok = ();
    type Error = Why;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Why> {
        match self {
            Self::Short(fields) => fields.writer.part(value),
            Self::Long(items) => items.item(value),
        }
    }

    #[inline]
    fn end(self) -> Result<(), Why> {
        match self {
            Self::Short(fields) => {
                fields.close();
                Ok(())
            }
            Self::Long(items) => items.close(),
        }
    }
}

/// The items of a sequence, a map or a long tuple.
pub(in super::super) struct Items<'w, 'a, const NAMED: bool> {
    writer: &'w mut Writer<'a, NAMED>,
    /// `SEQ`, `MAP` or `TUPLE`.
    kind: u8,
    /// Its offset in the bytes.
    start: usize,
    /// The shape with which every item starts, and the one with which the last item ended.
    first: u64,
    last: u64,
    count: usize,
    /// The kind of the numbers, as long as they are all of one.
    numbers: Option<u8>,
}

impl<'w, 'a, const NAMED: bool> Items<'w, 'a, NAMED> {
    #[inline]
    pub(super) fn new(writer: &'w mut Writer<'a, NAMED>, kind: u8) -> Self {
        writer.shape = mix(writer.shape, kind.into());
        let (start, first) = (writer.bytes.len(), writer.shape);
        Self { writer, kind, start, first, last: first, count: 0, numbers: None }
    }

    fn open(&mut self) {
        self.writer.bytes.push(self.kind);
        if self.kind != TUPLE {
            self.writer.bytes.extend_from_slice(&[0; 4]);
        }
    }

    #[inline(always)]
    pub(super) fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Why> {
        if let Some((kind, bytes)) = bare::number(value) {
            if self.count == 0 {
                self.open_array(kind);
            }
            if self.numbers == Some(kind) {
                self.count += 1;
                self.writer.bytes.extend_from_slice(bytes);
                return Ok(());
            }
        }
        self.before();
        self.writer.shape = self.first;
        self.writer.part(value)?;
        self.after();
        Ok(())
    }

    #[inline(never)]
    fn open_array(&mut self, number: u8) {
        let array = if self.kind == TUPLE { TUPLE_ARRAY } else { ARRAY };
        self.writer.bytes.extend_from_slice(&[array, number, 0, 0, 0, 0]);
        self.numbers = Some(number);
        self.writer.shape = mix(self.first, number.into());
        self.writer.end_part();
    }

    /// Prepares for an item that is not one more number of the same kind.
    #[inline(always)]
    fn before(&mut self) {
        if self.count == 0 {
            self.open();
        } else if self.numbers.is_some() {
            self.spell_out();
        }
        self.count += 1;
    }

    #[inline(always)]
    fn after(&mut self) {
        if self.writer.shape != self.last {
            self.last = self.writer.shape;
            self.writer.end_part();
        }
    }

    /// Gives each number its kind after all: something else follows them.
    #[cold]
    fn spell_out(&mut self) {
        let Some(number) = self.numbers.take() else { return };
        let raw = self.writer.bytes.split_off(self.start + 6);
        self.writer.bytes.truncate(self.start);
        self.open();
        for bytes in raw.chunks(format::width(number).unwrap_or(1)) {
            self.writer.bytes.push(number);
            self.writer.bytes.extend_from_slice(bytes);
        }
        self.writer.shape = mix(self.first, number.into());
        self.writer.end_part();
    }

    #[inline]
    pub(super) fn close(mut self) -> Result<(), Why> {
        if self.count == 0 {
            self.open();
        }
        if self.kind == TUPLE && self.numbers.is_none() {
            self.writer.bytes.push(END);
        } else {
            let count =
                u32::try_from(self.count).map_err(|_| Why::new(format!("a part of it has more than {} items", u32::MAX)))?;
            let at = self.start + if self.numbers.is_some() { 2 } else { 1 };
            self.writer.bytes[at..at + 4].copy_from_slice(&count.to_ne_bytes());
        }
        self.writer.shape = self.first;
        self.writer.depth -= 1;
        Ok(())
    }
}

impl<const NAMED: bool> ser::SerializeSeq for Items<'_, '_, NAMED> {
    type Ok = ();
    type Error = Why;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Why> {
        self.item(value)
    }

    #[inline]
    fn end(self) -> Result<(), Why> {
        self.close()
    }
}

impl<const NAMED: bool> ser::SerializeMap for Items<'_, '_, NAMED> {
    type Ok = ();
    type Error = Why;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Why> {
        self.before();
        self.writer.shape = self.first;
        self.writer.part(key)
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Why> {
        self.writer.part(value)?;
        self.after();
        Ok(())
    }

    #[inline]
    fn end(self) -> Result<(), Why> {
        self.close()
    }
}
