//! Trying out at the put whether a value can be got.
//!
//! The first value of each shape (`shape.rs`) is encoded, decoded and encoded again, in the process that puts it. If both
//! encodings say the same, values of its shape go on their way from then on without further ado. First it is read as without names;
//! if that goes wrong, with names and in the forms for people, which is what `flatten`, `untagged` and `tag = "…"` were made for.
//! If that goes wrong too, the put is refused with the type's own words.

mod digest;

use super::handles::{ARRIVING, Arriving, LEAVING, Leaving, Scope, no_arriving};
use super::read::Reader;
use super::shape::{self, Known, Shapes};
use super::why::Why;
use super::write::Writer;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::panic::{AssertUnwindSafe, catch_unwind};

const ADVICE: &str = "make its Serialize and Deserialize agree, or put bytes that you encode yourself (a Vec<u8>)";

/// Sees to it that a value can be got which has `unknown` shapes, and was just written behind `start` without names.
#[cold]
pub(super) fn settle<T: Serialize + DeserializeOwned, Q: Serialize + ?Sized>(
    value: &Q,
    shapes: &Shapes,
    unknown: &[u64],
    target: &mut Vec<u8>,
    start: usize,
) -> Result<(), Why> {
    if unknown.iter().all(|&shape| shapes.get(shape) == Known::Named) {
        target.truncate(start);
        return write_named(value, shapes, true, target).map(drop);
    }
    // Not in a trial around this one, if a type encodes something while it is read.
    let _scope = no_arriving();
    // What a panic leaves behind is seen by nobody: the decoded value is dropped, and ours are numbers that stay right.
    let tried = catch_unwind(AssertUnwindSafe(|| try_out::<T, Q>(value, shapes)));
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

fn try_out<T: Serialize + DeserializeOwned, Q: Serialize + ?Sized>(value: &Q, shapes: &Shapes) -> Result<Verdict, Why> {
    let named = Written::of(value, shapes, false)?;
    let read = || read_back::<T>(&named.bytes, true);
    let without_names = read().and_then(|(back, each)| {
        let same = named.is_same_as(&back, shapes, &|| read().ok().map(|(back, _)| back));
        discard(back);
        same.map(|()| each)
    });
    if let Ok(each) = without_names {
        return Ok(Verdict { named: None, each: each || named.foreign });
    }
    let readable = Written::of(value, shapes, true)?;
    let read = || read_back::<T>(&readable.bytes, false);
    let with_names = read().and_then(|(back, each)| {
        // Two values of an untagged enum may be one text for people: an address, and what looks like one.
        let once_more = || read().ok().map(|(back, _)| back);
        let same = readable.is_same_as(&back, shapes, &once_more).and_then(|()| named.is_same_as(&back, shapes, &once_more));
        discard(back);
        same.map(|()| each)
    });
    let foreign = named.foreign || readable.foreign;
    match (with_names, without_names) {
        (Ok(each), _) => Ok(Verdict { named: Some(readable.bytes), each: each || foreign }),
        (Err(why), Err(NeedsNames(true, _)) | Ok(_)) => Err(why.1),
        (Err(_), Err(why)) => Err(why.1),
    }
}

/// Why a value does not come back. Names may help, if they were missed.
struct NeedsNames(bool, Why);

/// Appends a value with the names of its fields and variants.
pub(super) fn write_named<T: Serialize + ?Sized>(
    value: &T,
    shapes: &Shapes,
    readable: bool,
    target: &mut Vec<u8>,
) -> Result<(), Why> {
    Writer::with_names(target, shapes, readable).root(value)
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

fn not_taken(why: &Why) -> Why {
    Why::new(format!("its Deserialize does not take what its Serialize writes ({why}): {ADVICE}"))
}

/// A value with names, written to be compared.
struct Written {
    bytes: Vec<u8>,
    readable: bool,
    /// Where the sequences and maps start whose order is no part of the value.
    unordered: Vec<usize>,
    foreign: bool,
}

/// How often a value is read once more to see whether an order is one by chance: of two items, it stays the same every other time.
const READINGS: u32 = 20;

impl Written {
    fn of<T: Serialize + ?Sized>(value: &T, shapes: &Shapes, readable: bool) -> Result<Self, Why> {
        let mut bytes = Vec::new();
        let mut writer = Writer::with_names(&mut bytes, shapes, readable);
        writer.root(value)?;
        let care = std::mem::take(&mut writer.care);
        Ok(Self { bytes, readable, unordered: care.unordered, foreign: care.foreign })
    }

    /// Whether what came back says the same. `read` reads it once more.
    fn is_same_as<T: Serialize>(&self, back: &T, shapes: &Shapes, read: &dyn Fn() -> Option<T>) -> Result<(), NeedsNames> {
        let write = |back: &T| Self::of(back, shapes, self.readable).map_err(|why| NeedsNames(false, why));
        let again = write(back)?;
        if self.bytes == again.bytes {
            return Ok(());
        }
        let mut by_chance = digest::ByChance::default();
        for _ in 0..READINGS {
            match digest::compare((&self.bytes, &self.unordered), (&again.bytes, &again.unordered), &by_chance) {
                digest::Same::Yes => return Ok(()),
                digest::Same::No => break,
                digest::Same::ButForOrder => {}
            }
            // What a hash table of any crate makes of the same items, it makes in another order each time.
            let Some(other) = read() else { break };
            let written = write(&other)?;
            discard(other);
            by_chance.learn((&again.bytes, &again.unordered), (&written.bytes, &written.unordered));
        }
        let other =
            "it would come back as another value: its Deserialize does not restore what its Serialize leaves out or rewrites";
        Err(NeedsNames(false, Why::new(format!("{other}, or not in its order: {ADVICE}"))))
    }
}

/// Tries out a value that has handles, with others in their place.
pub(super) fn try_out_with_handles<T: Serialize + DeserializeOwned, Q: Serialize + ?Sized>(value: &Q) -> Result<(), Why> {
    let tried = catch_unwind(AssertUnwindSafe(|| shape::with(|shapes| with_handles::<T, Q>(value, shapes))));
    tried.unwrap_or_else(|panic| Err(panicked(&*panic)))
}

fn with_handles<T: Serialize + DeserializeOwned, Q: Serialize + ?Sized>(value: &Q, shapes: &Shapes) -> Result<(), Why> {
    let leaving = Scope::enter(&LEAVING, Leaving::Trial { kept: Some(Vec::new()) });
    let numbered = Written::of(value, shapes, true)?;
    let kept = if let Leaving::Trial { kept: Some(kept) } = leaving.leave() { kept } else { Vec::new() };
    // All the same number: a map has another order when it comes back.
    let _leaving = Scope::enter(&LEAVING, Leaving::Trial { kept: None });
    let forms = [Written::of(value, shapes, true)?, Written::of(value, shapes, false)?];
    let _arriving = Scope::enter(&ARRIVING, Arriving::Trial { kept, blanks: 0 });
    let mut reader = Reader::in_trial(&numbered.bytes, false);
    let back = match catch_unwind(AssertUnwindSafe(|| reader.root::<T>())) {
        Ok(Ok(back)) => back,
        _ if reader.had_a_blank_handle() => return Ok(()),
        Ok(Err(why)) => return Err(not_taken(&why)),
        Err(panic) => return Err(panicked(&*panic)),
    };
    let once_more = || Reader::in_trial(&numbered.bytes, false).root::<T>().ok();
    let same = forms.iter().try_for_each(|form| form.is_same_as(&back, shapes, &once_more));
    discard(back);
    same.map_err(|why| why.1)
}
