//! Values to bytes: serde's `Serializer`.

mod parts;

use super::bare;
use super::error::Why;
use super::format::{self, *};
use super::shape::{Shapes, mix};
use super::type_names::{self, Care};
use parts::{Fields, Items, Tuple};
use serde::{Serialize, Serializer};

/// Appends a value to `bytes`.
///
/// `NAMED`: fields and variants have names. Trials write so, and values that can't be read otherwise.
pub(super) struct Writer<'a, const NAMED: bool> {
    bytes: &'a mut Vec<u8>,
    shapes: &'a Shapes,
    /// The shape of the current part, so far.
    shape: u64,
    /// Shapes that are not known to come back whole without names.
    pub(super) unknown: Vec<u64>,
    depth: u32,
    readable: bool,
    pub(super) care: Care,
}

impl<'a, const NAMED: bool> Writer<'a, NAMED> {
    #[inline]
    pub(super) fn new(bytes: &'a mut Vec<u8>, shapes: &'a Shapes, shape: u64) -> Self {
        Self { bytes, shapes, shape, unknown: Vec::new(), depth: 0, readable: false, care: Care::default() }
    }

    /// The whole value.
    #[inline(always)]
    pub(super) fn root<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Why> {
        self.part(value)?;
        self.end_part();
        Ok(())
    }

    /// A part of a value.
    #[inline(always)]
    fn part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Why> {
        if NAMED {
            self.enter_named(value)?;
        }
        match bare::vector(value) {
            Some((kind, bytes)) => self.array(ARRAY, kind, bytes),
            None => value.serialize(&mut *self),
        }
    }

    /// Notes in a trial whose code writes the part.
    fn enter_named<T: ?Sized>(&mut self, value: &T) -> Result<(), Why> {
        let name = std::any::type_name::<T>();
        self.care.enter(name);
        let lost = if type_names::may_lose(name) { bare::what_is_lost(value) } else { None };
        match lost {
            Some(lost) => Err(Why::new(format!("it would come back as another value ({lost}): put its parts"))),
            None => Ok(()),
        }
    }

    /// The end of a part that has a shape of its own.
    #[inline(always)]
    fn end_part(&mut self) {
        if !NAMED && !self.shapes.is_unnamed(self.shape) {
            self.note_unknown();
        }
    }

    #[cold]
    fn note_unknown(&mut self) {
        if !self.unknown.contains(&self.shape) {
            self.unknown.push(self.shape);
        }
    }

    #[inline(always)]
    fn kind(&mut self, kind: u8) {
        self.shape = mix(self.shape, kind.into());
        self.bytes.push(kind);
    }

    #[inline(always)]
    fn length(&mut self, len: usize) -> Result<(), Why> {
        let len = u32::try_from(len).map_err(|_| Why::new(format!("a part of it has a length of {len}, above {}", u32::MAX)))?;
        self.bytes.extend_from_slice(&len.to_ne_bytes());
        Ok(())
    }

    #[inline(always)]
    fn block(&mut self, kind: u8, bytes: &[u8]) -> Result<(), Why> {
        self.kind(kind);
        self.length(bytes.len())?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    #[inline]
    fn array(&mut self, array: u8, number: u8, bytes: &[u8]) -> Result<(), Why> {
        self.enter()?;
        self.depth -= 1;
        self.kind(array);
        self.kind(number);
        self.length(bytes.len() / format::width(number).unwrap_or(1))?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    #[inline(always)]
    fn enter(&mut self) -> Result<(), Why> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(too_deep()) } else { Ok(()) }
    }

    /// Opens a struct or a tuple, which `END` closes. `outer`: the shape around it, if it is a variant.
    #[inline(always)]
    fn fields(&mut self, kind: u8, outer: Option<u64>) -> Result<Fields<'_, 'a, NAMED>, Why> {
        self.enter()?;
        self.kind(kind);
        Ok(Fields { writer: self, outer })
    }

    #[inline(always)]
    fn type_named(&mut self, name: &'static str) {
        if NAMED {
            self.care.is_named(name);
        }
    }

    #[inline(always)]
    fn type_is_nameless(&mut self) {
        if NAMED {
            self.care.is_nameless();
        }
    }

    /// Opens a variant. Returns the shape to go on with behind it.
    #[inline(always)]
    fn variant(&mut self, index: u32, name: &'static str) -> Result<u64, Why> {
        self.enter()?;
        let short =
            u16::try_from(index).map_err(|_| Why::new(format!("an enum has a variant of index {index}, above 65,535")))?;
        self.kind(if NAMED { NAMED_VARIANT } else { VARIANT });
        self.bytes.extend_from_slice(&short.to_ne_bytes());
        if NAMED {
            self.length(name.len())?;
            self.bytes.extend_from_slice(name.as_bytes());
        }
        let outer = self.shape;
        self.shape = mix(outer, u64::from(index) << 8);
        Ok(outer)
    }

    #[inline(always)]
    fn end_variant(&mut self, outer: u64) {
        self.end_part();
        self.shape = outer;
        self.depth -= 1;
    }

    #[inline]
    fn items(&mut self, kind: u8) -> Result<Items<'_, 'a, NAMED>, Why> {
        self.enter()?;
        if NAMED && kind != TUPLE {
            self.care.has_items(kind, self.bytes.len());
        }
        Ok(Items::new(self, kind))
    }
}

impl<'a> Writer<'a, true> {
    /// A writer with names. `readable`: types take their forms for people. `judges`: it notes whose code writes each part.
    pub(super) fn with_names(bytes: &'a mut Vec<u8>, shapes: &'a Shapes, readable: bool, judges: bool) -> Self {
        if readable {
            bytes.push(READABLE);
        }
        Self { readable, care: Care::new(judges), ..Self::new(bytes, shapes, 0) }
    }
}

fn too_deep() -> Why {
    Why::new(format!("it is nested more than {MAX_DEPTH} deep: put its parts one by one, or in a flat form (a Vec with indices)"))
}

macro_rules! numbers {
    ($($method:ident($type:ty) = $kind:ident),*) => {
        $(#[inline]
        fn $method(self, number: $type) -> Result<(), Why> {
            self.type_is_nameless();
            self.shape = mix(self.shape, $kind.into());
            let mut all = [$kind; 1 + size_of::<$type>()];
            all[1..].copy_from_slice(&number.to_ne_bytes());
            self.bytes.extend_from_slice(&all);
            Ok(())
        })*
    };
}

impl<'w, 'a, const NAMED: bool> Serializer for &'w mut Writer<'a, NAMED> {
    type Ok = ();
    type Error = Why;
    type SerializeSeq = Items<'w, 'a, NAMED>;
    type SerializeTuple = Tuple<'w, 'a, NAMED>;
    type SerializeTupleStruct = Fields<'w, 'a, NAMED>;
    type SerializeTupleVariant = Fields<'w, 'a, NAMED>;
    type SerializeMap = Items<'w, 'a, NAMED>;
    type SerializeStruct = Fields<'w, 'a, NAMED>;
    type SerializeStructVariant = Fields<'w, 'a, NAMED>;

    numbers!(
        serialize_u8(u8) = U8,
        serialize_u16(u16) = U16,
        serialize_u32(u32) = U32,
        serialize_u64(u64) = U64,
        serialize_u128(u128) = U128,
        serialize_i8(i8) = I8,
        serialize_i16(i16) = I16,
        serialize_i32(i32) = I32,
        serialize_i64(i64) = I64,
        serialize_i128(i128) = I128,
        serialize_f32(f32) = F32,
        serialize_f64(f64) = F64
    );

    fn is_human_readable(&self) -> bool {
        self.readable
    }

    #[inline]
    fn serialize_bool(self, value: bool) -> Result<(), Why> {
        self.type_is_nameless();
        self.shape = mix(self.shape, TRUE.into());
        self.bytes.push(if value { TRUE } else { FALSE });
        Ok(())
    }

    #[inline]
    fn serialize_char(self, value: char) -> Result<(), Why> {
        self.type_is_nameless();
        self.kind(CHAR);
        self.bytes.extend_from_slice(&u32::from(value).to_ne_bytes());
        Ok(())
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result<(), Why> {
        self.type_is_nameless();
        self.block(STR, value.as_bytes())
    }

    #[inline]
    fn serialize_bytes(self, value: &[u8]) -> Result<(), Why> {
        self.type_is_nameless();
        self.block(BYTES, value)
    }

    #[inline]
    fn serialize_none(self) -> Result<(), Why> {
        self.type_is_nameless();
        self.shape = mix(self.shape, SOME.into());
        self.bytes.push(NONE);
        let outer = self.shape;
        self.shape = mix(outer, NONE.into());
        self.end_part();
        self.shape = outer;
        Ok(())
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Why> {
        self.type_is_nameless();
        self.enter()?;
        self.kind(SOME);
        let outer = self.shape;
        self.shape = mix(outer, SOME.into());
        self.part(value)?;
        self.end_part();
        self.shape = outer;
        self.depth -= 1;
        Ok(())
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), Why> {
        self.type_is_nameless();
        self.kind(UNIT);
        Ok(())
    }

    #[inline]
    fn serialize_unit_struct(self, name: &'static str) -> Result<(), Why> {
        self.type_named(name);
        self.kind(UNIT);
        Ok(())
    }

    #[inline]
    fn serialize_unit_variant(self, name: &'static str, index: u32, variant: &'static str) -> Result<(), Why> {
        self.type_named(name);
        let outer = self.variant(index, variant)?;
        self.kind(END);
        self.end_variant(outer);
        Ok(())
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<(), Why> {
        self.type_named(name);
        self.part(value)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Why> {
        self.type_named(name);
        let outer = self.variant(index, variant)?;
        self.part(value)?;
        self.end_variant(outer);
        Ok(())
    }

    #[inline]
    fn serialize_seq(self, _: Option<usize>) -> Result<Items<'w, 'a, NAMED>, Why> {
        self.type_is_nameless();
        self.items(SEQ)
    }

    /// All items at once: those that lie side by side as numbers are one run of bytes.
    #[inline]
    fn collect_seq<I>(self, items: I) -> Result<(), Why>
    where
        I: IntoIterator,
        I::Item: Serialize,
    {
        self.type_is_nameless();
        if let Some((kind, bytes)) = bare::lent_numbers(&items) {
            return self.array(ARRAY, kind, bytes);
        }
        let mut sequence = self.items(SEQ)?;
        items.into_iter().try_for_each(|item| sequence.item(&item))?;
        sequence.close()
    }

    #[inline]
    fn serialize_tuple(self, len: usize) -> Result<Tuple<'w, 'a, NAMED>, Why> {
        self.type_is_nameless();
        // A short tuple is smaller with a kind for each item.
        Ok(if len > 5 { Tuple::Long(self.items(TUPLE)?) } else { Tuple::Short(self.fields(TUPLE, None)?) })
    }

    #[inline]
    fn serialize_tuple_struct(self, name: &'static str, _: usize) -> Result<Fields<'w, 'a, NAMED>, Why> {
        self.type_named(name);
        self.fields(TUPLE, None)
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Fields<'w, 'a, NAMED>, Why> {
        self.type_named(name);
        let outer = self.variant(index, variant)?;
        self.fields(TUPLE, Some(outer))
    }

    #[inline]
    fn serialize_map(self, _: Option<usize>) -> Result<Items<'w, 'a, NAMED>, Why> {
        self.type_is_nameless();
        self.items(MAP)
    }

    #[inline]
    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Fields<'w, 'a, NAMED>, Why> {
        self.type_named(name);
        self.fields(if NAMED { NAMED_STRUCT } else { STRUCT }, None)
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Fields<'w, 'a, NAMED>, Why> {
        self.type_named(name);
        let outer = self.variant(index, variant)?;
        self.fields(if NAMED { NAMED_STRUCT } else { STRUCT }, Some(outer))
    }
}
