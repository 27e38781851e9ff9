//! A number for a type that another program finds, too.
//!
//! A type's `Deserialize` asks for what it wants to read. Here it gets made-up values, and the number is made of what it asks for:
//! kinds, the names of fields and variants. An enum is read several times, once for each variant.

use super::bare;
use super::error::Why;
use super::format::{self, VERSION};
use super::handles::no_arriving;
use super::plain;
use super::shape::mix;
use serde::Deserializer;
use serde::de::value::BorrowedStrDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, EnumAccess, Expected, MapAccess, SeqAccess, VariantAccess, Visitor};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A number for how values of a type are encoded. Two programs that exchange values compare it to find out whether they mean the
/// same type.
///
/// It is the same in every program. It differs for types that differ in the name, type or place of a field or variant, and for
/// versions of the codec. `Vec<u8>` and `Box<[u8]>` differ as well: messages of the one are bare bytes, those of the other are not.
///
/// Modules, crates, `Box` and its like do not count. Of [plain data](super::Plain) the name, the size and the alignment count, not the fields. Where a type's `Deserialize` does not say what it wants to read (`untagged`,
/// `flatten`, `tag`, hand-written code that takes only some values), the type's name takes the place of the rest.
#[must_use]
pub fn identity<T: DeserializeOwned>() -> u64 {
    let mut trace = Trace { hash: VERSION, ..Trace::default() };
    let passes = || {
        let mut went_well = true;
        for _ in 0..PASSES {
            went_well &= trace.pass::<T>();
            if !trace.goes_on {
                break;
            }
        }
        went_well
    };
    // A handle in it must not take a descriptor that came for another one.
    let _scope = no_arriving();
    if !catch_unwind(AssertUnwindSafe(passes)).unwrap_or(false) {
        trace.text(&type_name::<T>());
    }
    if bare::is_bare::<T>() {
        trace.number(u64::MAX);
    }
    trace.hash
}

/// The name of a type for people, without the modules of the type and its parts.
#[must_use]
pub fn type_name<T: ?Sized>() -> String {
    let full = std::any::type_name::<T>();
    let ends = |c: char| !(c.is_alphanumeric() || c == '_' || c == ':');
    let parts = full.split_inclusive(ends).map(|part| {
        let name = part.trim_end_matches(ends);
        let from = name.rfind("::").map_or(0, |at| at + 2);
        &part[from..]
    });
    parts.collect()
}

const PASSES: u32 = 256;
const DEPTH: u32 = 64;
const STEPS: u32 = 50_000;

struct Trace {
    hash: u64,
    /// Whether there are variants that no pass has read.
    goes_on: bool,
    enums: Vec<Seen>,
    /// Structs and enums that are being read, from the outside in.
    open: Vec<(&'static str, &'static [&'static str])>,
    /// How many of them are inside themselves. If any is, the pass takes the shortest way out.
    closing: u32,
    depth: u32,
    steps: u32,
}

impl Default for Trace {
    fn default() -> Self {
        Self { hash: 0, goes_on: true, enums: Vec::new(), open: Vec::new(), closing: 0, depth: 0, steps: 0 }
    }
}

/// An enum, and how many of its variants were read.
struct Seen {
    name: &'static str,
    variants: &'static [&'static str],
    next: usize,
    /// A variant that was read to its end.
    whole: Option<usize>,
}

impl Trace {
    /// Reads a made-up value. Returns whether that went well.
    fn pass<T: DeserializeOwned>(&mut self) -> bool {
        self.open.clear();
        (self.closing, self.depth) = (0, 0);
        let explored = |trace: &Self| trace.enums.iter().map(|seen| seen.next).sum::<usize>();
        let before = explored(self);
        let read = T::deserialize(Probe(self)).map(drop);
        let left = self.enums.iter().any(|seen| seen.next < seen.variants.len());
        self.goes_on = left && explored(self) > before && self.steps < STEPS;
        read.is_ok()
    }

    fn number(&mut self, number: u64) {
        self.hash = mix(self.hash, number);
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        text.bytes().for_each(|byte| self.number(byte.into()));
    }

    fn names(&mut self, kind: u8, name: &str, names: &[&str]) {
        self.number(kind.into());
        self.text(name);
        self.number(names.len() as u64);
        names.iter().for_each(|name| self.text(name));
    }

    fn is_short(&self) -> bool {
        self.closing > 0 || self.depth > DEPTH / 2
    }

    fn nested<R>(&mut self, read: impl FnOnce(&mut Self) -> Result<R, Why>) -> Result<R, Why> {
        self.steps += 1;
        if self.depth == DEPTH || self.steps >= STEPS {
            return Err(Why::new("without end"));
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    /// Reads something nested that has a name.
    fn named<R>(
        &mut self,
        kind: u8,
        name: &'static str,
        names: &'static [&'static str],
        read: impl FnOnce(&mut Self) -> Result<R, Why>,
    ) -> Result<R, Why> {
        self.names(kind, name, names);
        let again = u32::from(self.open.contains(&(name, names)));
        self.open.push((name, names));
        self.closing += again;
        let result = self.nested(read);
        self.closing -= again;
        self.open.pop();
        result
    }

    /// The place of the enum in `enums`, and the variant to read now.
    fn choose(&mut self, name: &'static str, variants: &'static [&'static str]) -> (usize, usize) {
        let found = self.enums.iter().position(|seen| (seen.name, seen.variants) == (name, variants));
        let at = found.unwrap_or_else(|| {
            self.enums.push(Seen { name, variants, next: 0, whole: None });
            self.enums.len() - 1
        });
        let seen = &mut self.enums[at];
        if seen.next < variants.len() {
            seen.next += 1;
            return (at, seen.next - 1);
        }
        (at, seen.whole.unwrap_or(0))
    }
}

struct Probe<'t>(&'t mut Trace);

macro_rules! scalars {
    ($($method:ident = $kind:ident, $visit:ident($($value:expr)?);)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Why> {
            self.0.number(format::$kind.into());
            visitor.$visit($($value)?)
        })*
    };
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Why;

    // One is a value that few types refuse.
    scalars! {
        deserialize_bool = TRUE, visit_bool(true);
        deserialize_u8 = U8, visit_u8(1);
        deserialize_u16 = U16, visit_u16(1);
        deserialize_u32 = U32, visit_u32(1);
        deserialize_u64 = U64, visit_u64(1);
        deserialize_u128 = U128, visit_u128(1);
        deserialize_i8 = I8, visit_i8(1);
        deserialize_i16 = I16, visit_i16(1);
        deserialize_i32 = I32, visit_i32(1);
        deserialize_i64 = I64, visit_i64(1);
        deserialize_i128 = I128, visit_i128(1);
        deserialize_f32 = F32, visit_f32(1.0);
        deserialize_f64 = F64, visit_f64(1.0);
        deserialize_char = CHAR, visit_char('1');
        deserialize_str = STR, visit_borrowed_str("");
        deserialize_string = STR, visit_borrowed_str("");
        deserialize_identifier = STR, visit_borrowed_str("");
        deserialize_bytes = BYTES, visit_borrowed_bytes(b"");
        deserialize_byte_buf = BYTES, visit_borrowed_bytes(b"");
        deserialize_unit = UNIT, visit_unit();
        deserialize_any = READABLE, visit_unit();
        deserialize_ignored_any = READABLE, visit_unit();
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Why> {
        self.0.number(format::SOME.into());
        if self.0.is_short() { visitor.visit_none() } else { self.0.nested(|trace| visitor.visit_some(Probe(trace))) }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Why> {
        self.0.names(format::UNIT, name, &[]);
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Why> {
        if name == plain::ONE || name == plain::MANY {
            // The type alone knows what the bytes mean.
            self.0.text(&type_name::<V::Value>());
            self.0.text(&(&visitor as &dyn Expected).to_string());
            let len = if name == plain::ONE { size_of::<V::Value>() } else { 0 };
            return visitor.visit_bytes(&vec![0; len]);
        }
        self.0.named(format::END, name, &[], |trace| visitor.visit_newtype_struct(Probe(trace)))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Why> {
        self.0.number(format::SEQ.into());
        let left = usize::from(!self.0.is_short());
        self.0.nested(|trace| visitor.visit_seq(Parts { trace, left }))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Why> {
        self.0.number(format::MAP.into());
        let left = usize::from(!self.0.is_short());
        self.0.nested(|trace| visitor.visit_map(Parts { trace, left }))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Why> {
        self.0.number(format::TUPLE.into());
        self.0.number(len as u64);
        self.0.nested(|trace| visitor.visit_seq(Parts { trace, left: len }))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(self, name: &'static str, len: usize, visitor: V) -> Result<V::Value, Why> {
        self.0.named(format::TUPLE, name, &[], |trace| visitor.visit_seq(Parts { trace, left: len }))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Why> {
        self.0.named(format::STRUCT, name, fields, |trace| visitor.visit_seq(Parts { trace, left: fields.len() }))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Why> {
        self.0.named(format::VARIANT, name, variants, |trace| {
            let (at, which) = trace.choose(name, variants);
            let variant = variants.get(which).copied().unwrap_or("");
            trace.text(variant);
            let value = visitor.visit_enum(Variant { trace, name: variant })?;
            trace.enums[at].whole.get_or_insert(which);
            Ok(value)
        })
    }
}

/// Items, fields or entries.
struct Parts<'t> {
    trace: &'t mut Trace,
    left: usize,
}

impl<'de> SeqAccess<'de> for Parts<'_> {
    type Error = Why;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Why> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(Probe(self.trace)).map(Some)
    }

    // An array's visitor may ask for as much memory beforehand.
    fn size_hint(&self) -> Option<usize> {
        Some(self.left.min(16))
    }
}

impl<'de> MapAccess<'de> for Parts<'_> {
    type Error = Why;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Why> {
        self.next_element_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Why> {
        seed.deserialize(Probe(self.trace))
    }
}

struct Variant<'t> {
    trace: &'t mut Trace,
    name: &'static str,
}

impl<'de> EnumAccess<'de> for Variant<'_> {
    type Error = Why;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Why> {
        Ok((seed.deserialize(BorrowedStrDeserializer::<Why>::new(self.name))?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = Why;

    fn unit_variant(self) -> Result<(), Why> {
        self.trace.number(format::UNIT.into());
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Why> {
        seed.deserialize(Probe(self.trace))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Why> {
        Probe(self.trace).deserialize_tuple(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Why> {
        self.trace.names(format::STRUCT, "", fields);
        visitor.visit_seq(Parts { trace: self.trace, left: fields.len() })
    }
}
