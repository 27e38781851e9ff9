//! Trying out at the put whether a value can be got.
//!
//! The first value of each shape (`shape.rs`) is encoded, decoded and encoded again, in the process that puts it. If both
//! encodings say the same, values of its shape go on their way from then on without further ado. First it is read as without names;
//! if that goes wrong, with names and in the forms for people, which is what `flatten`, `untagged` and `tag = "…"` were made for.
//! If that goes wrong too, the put is refused with the type's own words.

use super::kind::*;
use super::read::Reader;
use super::shape::{Known, Shapes};
use super::why::Why;
use super::write::Writer;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::panic::{AssertUnwindSafe, catch_unwind};

const ADVICE: &str = "make its Serialize and Deserialize agree, or put bytes that you encode yourself (a Vec<u8>)";

/// Sees to it that a value can be got which has `unknown` shapes, and was just written behind `start` without names.
#[cold]
pub(super) fn settle<T: Serialize + DeserializeOwned>(
    value: &T,
    shapes: &Shapes,
    unknown: &[u64],
    target: &mut Vec<u8>,
    start: usize,
) -> Result<(), Why> {
    if unknown.iter().all(|&shape| shapes.get(shape) == Known::Named) {
        target.truncate(start);
        return write_named(value, shapes, true, target).map(drop);
    }
    // What a panic leaves behind is seen by nobody: the decoded value is dropped, and ours are numbers that stay right.
    let tried = catch_unwind(AssertUnwindSafe(|| try_out(value, shapes)));
    let verdict = tried.unwrap_or_else(|panic| Err(panicked(&*panic)))?;
    let known = match (&verdict.named, verdict.each) {
        (_, true) => Known::Each,
        (Some(_), false) => Known::Named,
        (None, false) => Known::Plain,
    };
    unknown.iter().for_each(|&shape| shapes.set(shape, known));
    if let Some(named) = verdict.named {
        target.truncate(start);
        target.extend_from_slice(&named);
    }
    Ok(())
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Why {
    let said = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Why::new(format!("its code panicked when it was tried out ({}): {ADVICE}", said.unwrap_or("without words")))
}

/// What came of a trial that went well.
struct Verdict {
    /// The bytes, if it needs names.
    named: Option<Vec<u8>>,
    /// Another value of the same shape may fare differently.
    each: bool,
}

fn try_out<T: Serialize + DeserializeOwned>(value: &T, shapes: &Shapes) -> Result<Verdict, Why> {
    let mut named = Vec::new();
    let foreign = write_named(value, shapes, false, &mut named)?;
    let without_names = read_back::<T>(&named, true).and_then(|(back, each)| {
        let same = is_same(&back, &named, shapes, false);
        discard(back);
        same.map(|()| each)
    });
    if let Ok(each) = without_names {
        return Ok(Verdict { named: None, each: each || foreign });
    }
    let mut readable = Vec::new();
    let foreign = write_named(value, shapes, true, &mut readable)? || foreign;
    let with_names = read_back::<T>(&readable, false).and_then(|(back, each)| {
        // Two values of an untagged enum may be one text for people: an address, and what looks like one.
        let same = is_same(&back, &readable, shapes, true).and_then(|()| is_same(&back, &named, shapes, false));
        discard(back);
        same.map(|()| each)
    });
    match (with_names, without_names) {
        (Ok(each), _) => Ok(Verdict { named: Some(readable), each: each || foreign }),
        (Err(why), Err(NeedsNames(true, _)) | Ok(_)) => Err(why.1),
        (Err(_), Err(why)) => Err(why.1),
    }
}

/// Why a value does not come back. Names may help, if they were missed.
struct NeedsNames(bool, Why);

/// Appends a value with the names of its fields and variants. Says whether code other than serde's wrote a part of it.
pub(super) fn write_named<T: Serialize>(value: &T, shapes: &Shapes, readable: bool, target: &mut Vec<u8>) -> Result<bool, Why> {
    let mut writer = Writer::with_names(target, shapes, readable);
    writer.root(value)?;
    Ok(writer.care.foreign)
}

/// Decodes. Says whether another value of the same shape may fare differently.
fn read_back<T: DeserializeOwned>(bytes: &[u8], positional: bool) -> Result<(T, bool), NeedsNames> {
    let mut reader = Reader::in_trial(bytes, positional);
    let back = reader.root::<T>();
    if reader.watch.needs_names {
        return Err(NeedsNames(true, Why::new("its fields need names")));
    }
    back.map(|back| (back, reader.watch.each)).map_err(|why| NeedsNames(false, not_taken(&why)))
}

/// Drops what came back. If that panics, the value can be got all the same.
fn discard<T>(back: T) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(back)));
}

/// Whether what came back says the same as `bytes` do of what went.
fn is_same<T: Serialize>(back: &T, bytes: &[u8], shapes: &Shapes, readable: bool) -> Result<(), NeedsNames> {
    let mut again = Vec::with_capacity(bytes.len());
    let same = write_named(back, shapes, readable, &mut again).map(|_| bytes == again || digest(bytes) == digest(&again));
    let other = "it would come back as another value: its Deserialize does not restore what its Serialize leaves out or rewrites";
    match same {
        Ok(true) => Ok(()),
        Ok(false) => Err(NeedsNames(false, Why::new(format!("{other}: {ADVICE}")))),
        Err(why) => Err(NeedsNames(false, why)),
    }
}

fn not_taken(why: &Why) -> Why {
    Why::new(format!("its Deserialize does not take what its Serialize writes ({why}): {ADVICE}"))
}

/// Reads a value up to the first handle in it, which would be used up.
pub(super) fn reads_so_far<T: DeserializeOwned>(bytes: &[u8]) -> Result<(), Why> {
    let read = catch_unwind(AssertUnwindSafe(|| Reader::in_trial(bytes, false).root::<T>().map(drop)));
    read.map_or_else(|panic| Err(panicked(&*panic)), |read| read.map_err(|why| not_taken(&why)))
}

/// A number for what is encoded, whatever the order of items and entries: a `HashMap` has another one each time.
fn digest(bytes: &[u8]) -> Option<u64> {
    let mut digester = Digester(bytes.strip_prefix(&[READABLE]).unwrap_or(bytes));
    digester.value()
}

struct Digester<'a>(&'a [u8]);

impl Digester<'_> {
    fn value(&mut self) -> Option<u64> {
        let start = self.0;
        let kind = *start.first()?;
        let fields_in = |digester: &mut Self, of_two: bool| {
            let mut sum = 0u64;
            while *digester.0.first()? != END {
                let first = digester.value()?;
                sum = if of_two { sum.wrapping_add(hash(&(first, digester.value()?))) } else { hash(&(sum, first)) };
            }
            digester.0 = &digester.0[1..];
            Some(sum)
        };
        let inner = match kind {
            SOME => {
                self.skip(1)?;
                self.value()?
            }
            SEQ | MAP => {
                let count = self.skip(1).and_then(|()| self.count())?;
                let each = if kind == MAP { 2 } else { 1 };
                let mut sum = 0u64;
                for _ in 0..count {
                    let first = self.value()?;
                    sum = sum.wrapping_add(hash(&(first, if each == 2 { self.value()? } else { 0 })));
                }
                hash(&(count, sum))
            }
            ARRAY => {
                let width = super::kind::width(*start.get(1)?)?;
                let count = self.skip(2).and_then(|()| self.count())?;
                let raw = self.0.get(..count * width)?;
                self.skip(raw.len())?;
                let sum = raw.chunks(width).fold(0u64, |sum, number| sum.wrapping_add(hash(&number)));
                hash(&(start.get(1), count, sum))
            }
            TUPLE | STRUCT | NAMED_STRUCT => {
                self.skip(1)?;
                fields_in(self, kind == NAMED_STRUCT)?
            }
            NAMED_VARIANT => {
                let name = self.skip(3).and_then(|()| self.count())?;
                self.skip(name)?;
                let inner = if self.0.first() == Some(&END) { self.skip(1).map(|()| 0)? } else { self.value()? };
                hash(&(start.get(..7 + name), inner))
            }
            _ => {
                let mut reader = Reader::new(start);
                reader.pass_over().ok()?;
                self.0 = reader.bytes;
                hash(&start.get(..start.len() - self.0.len()))
            }
        };
        Some(hash(&(kind, inner)))
    }

    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.0 = self.0.get(bytes..)?;
        Some(())
    }

    fn count(&mut self) -> Option<usize> {
        let count = u32::from_ne_bytes(*self.0.first_chunk()?);
        self.skip(4)?;
        Some(count as usize)
    }
}

fn hash(part: &impl std::hash::Hash) -> u64 {
    use std::hash::{DefaultHasher, Hasher};
    let mut hasher = DefaultHasher::new();
    part.hash(&mut hasher);
    hasher.finish()
}
