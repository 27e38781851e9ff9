//! Bytes to values.
//!
//! The bytes say what they are. Where the type asks for that, it gets it at once. Where it asks for something else, it gets what is
//! there, and may make something of it: that is how serde reads `untagged` and its like, and a `serde_json::Value`.

mod deserializer;
mod parts;

use super::bare;
use super::error::Why;
use super::format::{self, *};
use super::handles;
use super::type_names::{self, Asked};
use parts::Items;
use serde::de::{DeserializeSeed, Error, Expected, Unexpected, Visitor};

/// What a trial finds out while it reads.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Whether to note whose code reads each part: names cost more than the rest of a trial.
    judges: bool,
    /// The bytes have names, and are read as bytes without names would be.
    positional: bool,
    /// Without names, this read would have gone wrong.
    pub(super) needs_names: bool,
    /// Another value of the same shape may have another outcome.
    pub(super) each: bool,
    /// The type of the part that is read.
    asked: Asked,
    /// Blank handles given out before the innermost part that is being read, or that went wrong.
    blanks: usize,
}

/// Reads a value from bytes, part by part.
///
/// `TRIAL`: this is a trial. What that costs is not in the code that reads messages.
pub(super) struct Reader<'de, const TRIAL: bool> {
    pub(super) bytes: &'de [u8],
    /// The kind of the numbers, inside an array of numbers without kinds. Otherwise 0.
    bare: u8,
    depth: u32,
    readable: bool,
    pub(super) watch: Watch,
}

impl<'de> Reader<'de, false> {
    #[inline]
    pub(super) fn new(bytes: &'de [u8]) -> Self {
        Self::start(bytes, Watch::default())
    }
}

impl<'de> Reader<'de, true> {
    /// A reader of bytes with names. `positional`: it reads them as if they had none.
    pub(super) fn new(bytes: &'de [u8], positional: bool, judges: bool) -> Self {
        Self::start(bytes, Watch { judges, positional, blanks: usize::MAX, ..Watch::default() })
    }
}

impl<'de, const TRIAL: bool> Reader<'de, TRIAL> {
    #[inline]
    fn start(bytes: &'de [u8], watch: Watch) -> Self {
        let (bytes, readable) = match bytes {
            [READABLE, rest @ ..] => (rest, true),
            _ => (bytes, false),
        };
        Self { bytes, bare: 0, depth: 0, readable, watch }
    }

    /// The whole value.
    #[inline]
    pub(super) fn root<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, Why> {
        let value = self.part(std::marker::PhantomData::<T>)?;
        if self.bytes.is_empty() { Ok(value) } else { Err(Why::new(format!("{} bytes are left over", self.bytes.len()))) }
    }

    /// A part of a value. A part that its type does not look at is passed over.
    #[inline(always)]
    fn part<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Why> {
        if TRIAL {
            return self.part_in_trial(seed);
        }
        self.part_of(seed)
    }

    /// A part of a value in a trial: notes its type.
    #[cold]
    #[inline(never)]
    fn part_in_trial<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Why> {
        if self.watch.judges {
            self.watch.each |=
                type_names::is_made_otherwise(std::any::type_name::<S::Value>()) || !bare::is_own_seed::<S, S::Value>();
            self.watch.asked = Asked::of::<S::Value>();
        }
        let blanks = std::mem::replace(&mut self.watch.blanks, handles::blanks());
        let value = self.part_of(seed)?;
        self.watch.blanks = blanks;
        Ok(value)
    }

    /// Whether the part that went wrong had got a blank handle, which may be the reason.
    pub(super) fn had_a_blank_handle(&self) -> bool {
        handles::blanks() > self.watch.blanks
    }

    #[inline(always)]
    fn part_of<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Why> {
        let before = self.bytes.len();
        let value = seed.deserialize(&mut *self)?;
        if self.bytes.len() == before {
            self.pass_over()?;
        }
        Ok(value)
    }

    /// The kind of what comes next.
    #[inline(always)]
    fn next(&self) -> Option<u8> {
        if self.bare == 0 { self.bytes.first().copied() } else { Some(self.bare) }
    }

    #[inline(always)]
    fn kind(&mut self) -> Result<u8, Why> {
        if self.bare == 0 { Ok(self.fixed::<1>()?[0]) } else { Ok(self.bare) }
    }

    /// Whether something of this kind comes next. If so, steps over the kind.
    #[inline(always)]
    fn found(&mut self, kind: u8) -> bool {
        let found = self.next() == Some(kind);
        if found && self.bare == 0 {
            self.bytes = &self.bytes[1..];
        }
        found
    }

    #[inline(always)]
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Why> {
        let (found, rest) = self.bytes.split_first_chunk().ok_or_else(too_short)?;
        self.bytes = rest;
        Ok(*found)
    }

    #[inline(always)]
    fn take(&mut self, len: usize) -> Result<&'de [u8], Why> {
        let (found, rest) = self.bytes.split_at_checked(len).ok_or_else(too_short)?;
        self.bytes = rest;
        Ok(found)
    }

    #[inline(always)]
    fn length(&mut self) -> Result<usize, Why> {
        Ok(u32::from_ne_bytes(self.fixed()?) as usize)
    }

    /// Length and bytes.
    #[inline(always)]
    fn block(&mut self) -> Result<&'de [u8], Why> {
        let len = self.length()?;
        self.take(len)
    }

    #[inline]
    fn text(&mut self) -> Result<&'de str, Why> {
        std::str::from_utf8(self.block()?).map_err(|error| Why::new(error.to_string()))
    }

    /// The vector of numbers that comes next, if serde's own visitor for it asks. That would push one number after another.
    #[inline(always)]
    fn vector<V: Visitor<'de>>(&mut self) -> Result<Option<V::Value>, Why> {
        let (Some(kind), [ARRAY, found, ..]) = (bare::kind_of_vector::<V::Value>(), self.bytes) else { return Ok(None) };
        if self.bare != 0 || kind != *found || !type_names::is_of_serde(std::any::type_name::<V>()) {
            return Ok(None);
        }
        self.bytes = &self.bytes[1..];
        self.array().map(bare::to_vector)
    }

    /// The bytes of numbers without kinds.
    fn array(&mut self) -> Result<&'de [u8], Why> {
        let kind = self.kind()?;
        let width = format::width(kind).ok_or_else(|| unknown(kind))?;
        let len = self.length()?.checked_mul(width).ok_or_else(too_short)?;
        self.take(len)
    }

    fn char(&mut self) -> Result<char, Why> {
        self.kind()?;
        char::from_u32(u32::from_ne_bytes(self.fixed()?)).ok_or_else(|| Why::new("a number that is no character"))
    }

    #[inline(always)]
    fn enter(&mut self) -> Result<(), Why> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(too_deep()) } else { Ok(()) }
    }

    /// Notes in a trial whose code reads the part.
    #[inline(always)]
    fn meet<V: Visitor<'de>>(&mut self) {
        if TRIAL && self.watch.judges {
            self.watch.each |= !self.watch.asked.reads_itself::<V, V::Value>();
        }
    }

    /// Gives the type what is there, whatever it is.
    fn any<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Why> {
        self.watch.each = true;
        match self.next() {
            Some(FALSE | TRUE) => visitor.visit_bool(self.kind()? == TRUE),
            Some(NONE) => {
                self.kind()?;
                visitor.visit_none()
            }
            Some(SOME) => self.some(visitor),
            Some(CHAR) => visitor.visit_char(self.char()?),
            Some(STR | BYTES) => self.text_or_bytes(visitor),
            Some(UNIT | SEQ | MAP | ARRAY | TUPLE_ARRAY | TUPLE | STRUCT | NAMED_STRUCT) => self.parts(visitor),
            Some(VARIANT | NAMED_VARIANT) => self.variant_as_map(visitor),
            _ => self.any_number(visitor),
        }
    }

    #[inline]
    fn some<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Why> {
        self.kind()?;
        self.enter()?;
        if TRIAL && self.watch.judges {
            self.watch.asked = Asked::inside::<V::Value>();
        }
        let value = visitor.visit_some(&mut *self)?;
        self.depth -= 1;
        Ok(value)
    }

    /// Gives the type something that has parts, or is empty, whatever it is.
    fn parts<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Why> {
        self.watch.each = true;
        match self.next() {
            Some(UNIT) => {
                self.kind()?;
                visitor.visit_unit()
            }
            Some(STRUCT | NAMED_STRUCT) if self.watch.positional => Err(self.names_needed()),
            Some(SEQ | ARRAY | TUPLE_ARRAY | TUPLE | STRUCT) => Items::visit_seq(self, visitor),
            Some(MAP | NAMED_STRUCT) => Items::visit_map(self, visitor),
            _ => Err(self.unexpected(&visitor)),
        }
    }

    /// Gives the type a variant as formats for people have it: a text, or a map with one entry.
    fn variant_as_map<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Why> {
        if self.watch.positional || !self.found(NAMED_VARIANT) {
            return Err(self.names_needed());
        }
        self.fixed::<2>()?;
        let name = self.text()?;
        if self.found(END) {
            return visitor.visit_borrowed_str(name);
        }
        self.enter()?;
        let value = visitor.visit_map(parts::OneEntry { reader: self, name: Some(name) })?;
        self.depth -= 1;
        Ok(value)
    }

    fn text_or_bytes<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Why> {
        if self.found(STR) {
            visitor.visit_borrowed_str(self.text()?)
        } else if self.found(BYTES) {
            visitor.visit_borrowed_bytes(self.block()?)
        } else {
            self.watch.each = true;
            self.parts(visitor)
        }
    }

    fn any_number<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Why> {
        match self.number()? {
            Some(Number::Unsigned(number)) => visitor.visit_u64(number),
            Some(Number::Signed(number)) => visitor.visit_i64(number),
            Some(Number::U128(number)) => visitor.visit_u128(number),
            Some(Number::I128(number)) => visitor.visit_i128(number),
            Some(Number::F32(number)) => visitor.visit_f32(number),
            Some(Number::F64(number)) => visitor.visit_f64(number),
            None => Err(self.unexpected(&visitor)),
        }
    }

    /// A number, if one comes next.
    fn number(&mut self) -> Result<Option<Number>, Why> {
        self.watch.each = true;
        let Some(kind) = self.next().filter(|&kind| format::width(kind).is_some() && kind != CHAR) else { return Ok(None) };
        self.kind()?;
        Ok(Some(match kind {
            U8 => Number::Unsigned(self.fixed::<1>()?[0].into()),
            U16 => Number::Unsigned(u16::from_ne_bytes(self.fixed()?).into()),
            U32 => Number::Unsigned(u32::from_ne_bytes(self.fixed()?).into()),
            I8 => Number::Signed(i8::from_ne_bytes(self.fixed()?).into()),
            I16 => Number::Signed(i16::from_ne_bytes(self.fixed()?).into()),
            I32 => Number::Signed(i32::from_ne_bytes(self.fixed()?).into()),
            I64 => Number::Signed(i64::from_ne_bytes(self.fixed()?)),
            U128 => Number::U128(u128::from_ne_bytes(self.fixed()?)),
            I128 => Number::I128(i128::from_ne_bytes(self.fixed()?)),
            F32 => Number::F32(f32::from_ne_bytes(self.fixed()?)),
            F64 => Number::F64(f64::from_ne_bytes(self.fixed()?)),
            _ => Number::Unsigned(u64::from_ne_bytes(self.fixed()?)),
        }))
    }

    #[cold]
    fn names_needed(&mut self) -> Why {
        self.watch.needs_names = true;
        Why::new("names are needed")
    }

    /// The error for a part of which the type can't make anything.
    #[cold]
    fn unexpected(&mut self, expected: &dyn Expected) -> Why {
        self.watch.each = true;
        let Some(kind) = self.next() else { return too_short() };
        let found = match kind {
            UNIT => Unexpected::Unit,
            FALSE | TRUE => Unexpected::Bool(kind == TRUE),
            NONE | SOME => Unexpected::Option,
            STR => {
                self.found(STR);
                match self.text() {
                    Ok(text) => Unexpected::Str(text),
                    Err(why) => return why,
                }
            }
            BYTES => Unexpected::Other("bytes"),
            SEQ | ARRAY | TUPLE_ARRAY | TUPLE => Unexpected::Seq,
            MAP => Unexpected::Map,
            STRUCT | NAMED_STRUCT => Unexpected::Other("a struct"),
            VARIANT | NAMED_VARIANT => Unexpected::Enum,
            CHAR => Unexpected::Other("a character"),
            F32 | F64 => Unexpected::Other("a floating-point number"),
            kind if format::width(kind).is_some() => Unexpected::Other("a whole number"),
            kind => return unknown(kind),
        };
        Why::invalid_type(found, expected)
    }

    /// Whether the names in the struct that comes are among `fields`, in that order. If not, the type writes other names than it reads: one
    /// value may come back by chance.
    #[cold]
    fn has_names_of(&mut self, fields: &[&str]) -> Result<bool, Why> {
        let start = self.bytes;
        self.kind()?;
        let (mut fields, mut follow) = (fields.iter(), true);
        while !self.found(END) {
            follow &= self.kind()? == STR;
            let name = self.text()?;
            follow &= fields.any(|field| *field == name);
            self.pass_over()?;
        }
        self.bytes = start;
        Ok(follow)
    }

    /// The number of items in the tuple that comes.
    #[cold]
    fn items_of_tuple(&mut self) -> Result<usize, Why> {
        let start = self.bytes;
        let mut items = 0;
        if self.kind()? == TUPLE {
            while !self.found(END) {
                self.pass_over()?;
                items += 1;
            }
        } else {
            self.kind()?;
            items = self.length()?;
        }
        self.bytes = start;
        Ok(items)
    }

    /// Passes over a value.
    pub(super) fn pass_over(&mut self) -> Result<(), Why> {
        let kind = self.kind()?;
        match kind {
            UNIT | FALSE | TRUE | NONE => Ok(()),
            STR | BYTES => self.block().map(drop),
            ARRAY | TUPLE_ARRAY => self.array().map(drop),
            SOME | SEQ | MAP | TUPLE | STRUCT | NAMED_STRUCT | VARIANT | NAMED_VARIANT => {
                self.enter()?;
                self.pass_over_parts(kind)?;
                self.depth -= 1;
                Ok(())
            }
            kind => {
                let width = format::width(kind).ok_or_else(|| unknown(kind))?;
                self.take(width).map(drop)
            }
        }
    }

    fn pass_over_parts(&mut self, kind: u8) -> Result<(), Why> {
        match kind {
            SOME => self.pass_over(),
            SEQ | MAP => {
                let values = self.length()? as u64 * if kind == MAP { 2 } else { 1 };
                (0..values).try_for_each(|_| self.pass_over())
            }
            VARIANT | NAMED_VARIANT => {
                self.fixed::<2>()?;
                if kind == NAMED_VARIANT {
                    self.block()?;
                }
                if self.found(END) { Ok(()) } else { self.pass_over() }
            }
            _ => {
                while !self.found(END) {
                    self.pass_over()?;
                }
                Ok(())
            }
        }
    }
}

/// A number of any width.
enum Number {
    Unsigned(u64),
    Signed(i64),
    U128(u128),
    I128(i128),
    F32(f32),
    F64(f64),
}

#[cold]
fn too_short() -> Why {
    Why::new("the bytes end too early")
}

#[cold]
fn too_deep() -> Why {
    Why::new(format!("nested more than {MAX_DEPTH} deep"))
}

#[cold]
fn unknown(kind: u8) -> Why {
    Why::new(format!("{kind} is no kind of value"))
}
