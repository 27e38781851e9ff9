//! Trying out at the put whether a value can be got.
//!
//! The process that puts the first value of a shape (`shape.rs`) encodes it, decodes it and encodes it again. If both encodings say
//! the same, later values of that shape travel without a trial. The trial reads the value without names first. If that goes wrong,
//! it reads the value with names and in the forms for people: `flatten`, `untagged` and `tag = "…"` were made for these. If that
//! goes wrong too, the put is refused in the type's own words.

use super::compare;
use super::error::Why;
use super::handles::{ARRIVING, Arriving, LEAVING, Leaving, Scope, no_arriving};
use super::read::Reader;
use super::shape::{self, Known, Shapes};
use super::write::Writer;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::panic::{AssertUnwindSafe, catch_unwind};

const ADVICE: &str = "make its Serialize and Deserialize agree (of a derived type, see to the order of untagged variants, \
     skip_serializing_if without the right default, with, 128-bit numbers in untagged, tag or flatten), \
     or put bytes that you encode yourself (a Vec<u8>)";

/// Makes sure that a value can be got which has `unknown` shapes. The writer has just written it behind `start` without names; this
/// replaces it there if it needs names.
#[cold]
pub(super) fn settle<T: Serialize + DeserializeOwned, Q: Serialize + ?Sized>(
    value: &Q,
    shapes: &Shapes,
    unknown: &[u64],
    target: &mut Vec<u8>,
    start: usize,
) -> Result<(), Why> {
    let are_all = |known: &[Known]| unknown.iter().all(|&shape| known.contains(&shapes.get(shape)));
    if are_all(&[Known::Named]) {
        target.truncate(start);
        return write_named(value, shapes, true, target).map(drop);
    }
    // A type may encode a value while it is read, in a trial: this trial has no handles of that one.
    let _scope = no_arriving();
    // Nobody sees what a panic leaves behind: the decoded value is dropped, and our own state is numbers that stay right.
    let tried = catch_unwind(AssertUnwindSafe(|| {
        let again = if are_all(&[Known::EachUnnamed]) {
            unnamed::<T, Q>(value, shapes, false).0.ok().map(|_| Verdict { named: None, each: true })
        } else if are_all(&[Known::EachNamed, Known::Named]) {
            named::<T, Q>(value, shapes, None).ok()
        } else {
            None
        };
        // What went wrong there is told by a trial from the start.
        again.map_or_else(|| try_out::<T, Q>(value, shapes), Ok)
    }));
    let verdict = tried.unwrap_or_else(|panic| Err(panicked(&*panic)))?;
    let known = match (&verdict.named, verdict.each) {
        (Some(_), true) => Known::EachNamed,
        (None, true) => Known::EachUnnamed,
        (Some(_), false) => Known::Named,
        (None, false) => Known::Unnamed,
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

/// The outcome of a trial that went well.
struct Verdict {
    /// The bytes with names, if the value needs them.
    named: Option<Vec<u8>>,
    /// Another value of the same shape may have another outcome.
    each: bool,
}

fn try_out<T: Serialize + DeserializeOwned, Q: Serialize + ?Sized>(value: &Q, shapes: &Shapes) -> Result<Verdict, Why> {
    match unnamed::<T, Q>(value, shapes, true) {
        (Ok(each), _) => Ok(Verdict { named: None, each }),
        (Err(why), None) => Err(why.1),
        (Err(NeedsNames(needs, why)), written) => match named::<T, Q>(value, shapes, written) {
            Err(NeedsNames(_, with_names)) if needs => Err(with_names),
            Err(_) => Err(why),
            done => done.map_err(|why| why.1),
        },
    }
}

/// Tries a value without names. Returns whether another value of the same shape may have another outcome, and what was written with
/// names to compare with. `judges`: it finds out the former.
fn unnamed<T: Serialize + DeserializeOwned, Q: Serialize + ?Sized>(
    value: &Q,
    shapes: &Shapes,
    judges: bool,
) -> (Result<bool, NeedsNames>, Option<Written>) {
    let written = match Written::of(value, shapes, false, judges) {
        Ok(written) => written,
        Err(why) => return (Err(NeedsNames(false, why)), None),
    };
    let read = || read_back::<T>(&written.bytes, true, judges);
    let done = read().and_then(|(back, each)| {
        let same = written.is_same_as(&back, shapes, &|| read().ok().map(|(back, _)| back));
        discard(back);
        same.map(|()| each || written.foreign)
    });
    (done, Some(written))
}

/// Tries a value with names, in the forms for people. `written`: with names, in the other forms.
fn named<T: Serialize + DeserializeOwned, Q: Serialize + ?Sized>(
    value: &Q,
    shapes: &Shapes,
    written: Option<Written>,
) -> Result<Verdict, NeedsNames> {
    let judges = written.is_some();
    let write = |readable| Written::of(value, shapes, readable, judges).map_err(|why| NeedsNames(false, why));
    let written = written.map_or_else(|| write(false), Ok)?;
    let readable = write(true)?;
    let read = || read_back::<T>(&readable.bytes, false, judges);
    let (back, each) = read()?;
    // Two values of an untagged enum may be one text for people: an address, and a text that looks like one.
    let once_more = || read().ok().map(|(back, _)| back);
    let same = readable.is_same_as(&back, shapes, &once_more).and_then(|()| written.is_same_as(&back, shapes, &once_more));
    discard(back);
    same.map(|()| Verdict { each: !judges || each || written.foreign || readable.foreign, named: Some(readable.bytes) })
}

/// Why a value does not come back, and whether the read asked for names: then they may help.
struct NeedsNames(bool, Why);

/// Appends a value with the names of its fields and variants.
pub(super) fn write_named<T: Serialize + ?Sized>(
    value: &T,
    shapes: &Shapes,
    readable: bool,
    target: &mut Vec<u8>,
) -> Result<(), Why> {
    Writer::with_names(target, shapes, readable, false).root(value)
}

/// Decodes a value. Returns beside it whether another value of the same shape may have another outcome.
fn read_back<T: DeserializeOwned>(bytes: &[u8], positional: bool, judges: bool) -> Result<(T, bool), NeedsNames> {
    let mut reader = Reader::<true>::new(bytes, positional, judges);
    let back = reader.root::<T>();
    if reader.watch.needs_names {
        return Err(NeedsNames(true, Why::new("its fields need names")));
    }
    back.map(|back| (back, reader.watch.each)).map_err(|why| NeedsNames(false, not_taken(&why)))
}

/// Drops a value that came back. If that panics, the value can be got all the same.
fn discard<T>(back: T) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(back)));
}

fn not_taken(why: &Why) -> Why {
    Why::new(format!("its Deserialize does not take what its Serialize writes ({why}): {ADVICE}"))
}

/// The encoding of a value with names, made to be compared.
struct Written {
    bytes: Vec<u8>,
    readable: bool,
    /// Whether it was found out what follows.
    judged: bool,
    /// Offsets of the sequences and maps whose order is no part of the value.
    unordered: Vec<usize>,
    /// Code that is not serde's own wrote a part of the value.
    foreign: bool,
}

/// How often a value is read once more to see whether an order is by chance. Two items keep their order every other time.
const READINGS: u32 = 20;

impl Written {
    fn of<T: Serialize + ?Sized>(value: &T, shapes: &Shapes, readable: bool, judged: bool) -> Result<Self, Why> {
        let mut bytes = Vec::new();
        let mut writer = Writer::with_names(&mut bytes, shapes, readable, judged);
        writer.root(value)?;
        let care = std::mem::take(&mut writer.care);
        Ok(Self { bytes, readable, judged, unordered: care.unordered, foreign: care.foreign })
    }

    /// Checks that the value that came back has the same encoding. `read` reads it once more.
    fn is_same_as<T: Serialize>(&self, back: &T, shapes: &Shapes, read: &dyn Fn() -> Option<T>) -> Result<(), NeedsNames> {
        let write = |back: &T| Self::of(back, shapes, self.readable, self.judged).map_err(|why| NeedsNames(false, why));
        let again = write(back)?;
        if self.bytes == again.bytes {
            return Ok(());
        }
        if !self.judged {
            return Err(NeedsNames(false, Why::new("its items have another order, or it is another value")));
        }
        let mut by_chance = compare::ByChance::default();
        for _ in 0..READINGS {
            match compare::encodings((&self.bytes, &self.unordered), (&again.bytes, &again.unordered), &by_chance) {
                compare::Same::Yes => return Ok(()),
                compare::Same::No => break,
                compare::Same::ButForOrder => {}
            }
            // A hash table of any crate puts the same items into another order each time.
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

/// Tries out a value that has handles, with stand-ins for them.
pub(super) fn try_out_with_handles<T: Serialize + DeserializeOwned, Q: Serialize + ?Sized>(value: &Q) -> Result<(), Why> {
    let tried = catch_unwind(AssertUnwindSafe(|| shape::with(|shapes| with_handles::<T, Q>(value, shapes))));
    tried.unwrap_or_else(|panic| Err(panicked(&*panic)))
}

fn with_handles<T: Serialize + DeserializeOwned, Q: Serialize + ?Sized>(value: &Q, shapes: &Shapes) -> Result<(), Why> {
    let leaving = Scope::enter(&LEAVING, Leaving::Trial { kept: Some(Vec::new()) });
    let numbered = Written::of(value, shapes, true, true)?;
    let kept = if let Leaving::Trial { kept: Some(kept) } = leaving.leave() { kept } else { Vec::new() };
    // All stand-ins have the same number here: a map may have another order when it comes back.
    let _leaving = Scope::enter(&LEAVING, Leaving::Trial { kept: None });
    let forms = [Written::of(value, shapes, true, true)?, Written::of(value, shapes, false, true)?];
    let _arriving = Scope::enter(&ARRIVING, Arriving::Trial { kept, blanks: 0 });
    let mut reader = Reader::<true>::new(&numbered.bytes, false, true);
    let back = match catch_unwind(AssertUnwindSafe(|| reader.root::<T>())) {
        Ok(Ok(back)) => back,
        _ if reader.had_a_blank_handle() => return Ok(()),
        Ok(Err(why)) => return Err(not_taken(&why)),
        Err(panic) => return Err(panicked(&*panic)),
    };
    let once_more = || Reader::<true>::new(&numbered.bytes, false, true).root::<T>().ok();
    let same = forms.iter().try_for_each(|form| form.is_same_as(&back, shapes, &once_more));
    discard(back);
    same.map_err(|why| why.1)
}
