//! What the compiler's names of types tell a trial: whether the code of a part is hand-written, and whether its items have an order.
//!
//! The code that serde derives, and its code for types of the standard library, reads every value of one shape by the same steps: if
//! one came back, all do. A hand-written `Serialize` or `Deserialize`, `with`, `from` and `into` may look at numbers and texts, and
//! change or refuse some of them. Such values are tried out one by one. A name that is not known here only costs time.

use super::bare;
use super::format::MAP;
use std::any::TypeId;

/// What a trial notes while a value is written.
#[derive(Default)]
pub(super) struct Care {
    /// Whether to note anything: names cost more than the rest of a trial.
    judges: bool,
    /// The type of the part that is written.
    part: &'static str,
    /// Another value of the same shape may have another outcome: code that is not serde's own wrote a part, or a part is of a type of
    /// the library that loses something.
    pub(super) foreign: bool,
    /// Offsets of the sequences and maps whose order is no part of the value.
    pub(super) unordered: Vec<usize>,
}

impl Care {
    pub(super) fn new(judges: bool) -> Self {
        Self { judges, ..Self::default() }
    }

    /// The writer begins a part of this type.
    pub(super) fn enter(&mut self, name: &'static str) {
        self.part = name;
        self.foreign |= self.judges && loses(name);
    }

    /// The part is written as something without a name. No derived type is.
    pub(super) fn is_nameless(&mut self) {
        self.foreign |= self.judges && own_name(self.part).is_some();
    }

    /// The part is written as a struct or an enum of this name.
    pub(super) fn is_named(&mut self, name: &str) {
        self.foreign |= self.judges && own_name(self.part).is_some_and(|own| own != name);
    }

    /// The part is written as a sequence or a map, which starts at this offset.
    pub(super) fn has_items(&mut self, kind: u8, start: usize) {
        if !self.judges {
            return;
        }
        const WITHOUT: [&str; 10] = [
            "HashSet",
            "HashMap",
            "BinaryHeap",
            "AHashSet",
            "AHashMap",
            "DashSet",
            "DashMap",
            "HashTrieSet",
            "HashTrieMap",
            "HashBag",
        ];
        const WITH: [&str; 4] = ["IndexMap", "OrderMap", "LinkedHashMap", "__SerializeWith"];
        let own = last(path(unwrapped(self.part)));
        // A sequence has an order unless its type is known to have none; a map has none unless its type is known to keep one.
        if if kind == MAP { !WITH.contains(&own) } else { WITHOUT.contains(&own) } {
            self.unordered.push(start);
        }
    }
}

/// Whether [`bare::what_is_lost`] may know this type, by the start of its name: quick to say.
#[inline(always)]
pub(super) fn may_lose(name: &str) -> bool {
    ["core::net::", "core::ops::range::", "&", "alloc::boxed::", "alloc::rc::", "alloc::sync::"]
        .iter()
        .any(|start| name.starts_with(start))
}

/// Whether serde writes values of this type of the library without a part of them.
fn loses(name: &str) -> bool {
    let path = path(unwrapped(name));
    is_standard(path) && matches!(last(path), "SocketAddrV6" | "RangeInclusive")
}

/// A type's name without its arguments. They are at the end; a type in a method of a trait has brackets at the start, too.
fn path(name: &str) -> &str {
    let mut depth = 0;
    let opens = |(at, byte): (usize, u8)| {
        match byte {
            b'>' => depth += 1,
            b'<' => depth -= 1,
            _ => {}
        }
        (depth == 0).then_some(at)
    };
    let start = if name.ends_with('>') { name.bytes().enumerate().rev().find_map(opens) } else { None };
    start.map_or(name, |start| &name[..start])
}

fn last(path: &str) -> &str {
    path.rsplit("::").next().unwrap_or(path)
}

/// Whether a type is the library's, or of a crate whose code is as good: what it writes and reads does not depend on the value.
fn is_standard(path: &str) -> bool {
    ["alloc::", "core::", "std::"].iter().chain(BYTES).any(|home| path.starts_with(home))
}

/// Where types that are read from any bytes have their code.
const BYTES: &[&str] = &["serde_bytes::", "multiproc_travel::pass::plain::"];

/// The text between the angle brackets of a name, without a lifetime.
fn argument(name: &str) -> Option<&str> {
    let inner = name.strip_suffix('>')?.get(path(name).len() + 1..)?;
    Some(inner.strip_prefix("'_, ").unwrap_or(inner))
}

/// The name of the type whose code does the work for a type that only wraps it.
fn unwrapped(mut name: &str) -> &str {
    const TRANSPARENT: [&str; 12] =
        ["Box", "Rc", "Arc", "Cow", "Cell", "RefCell", "Mutex", "RwLock", "Reverse", "Wrapping", "Saturating", "NonNull"];
    loop {
        name = name.trim_start_matches(['&', ' ']).trim_start_matches("mut ");
        let path = path(name);
        match argument(name) {
            Some(inner) if is_standard(path) && TRANSPARENT.contains(&last(path)) => name = inner,
            _ => return name,
        }
    }
}

/// The last part of a type's name. `None`: it is a type of the language or its library.
fn own_name(name: &str) -> Option<&str> {
    let path = path(unwrapped(name));
    (!is_standard(path) && path.contains("::") && !path.starts_with(['(', '['])).then(|| last(path))
}

/// The type that a trial reads a part of.
#[derive(Debug, Default)]
pub(super) struct Asked {
    name: &'static str,
    id: Option<TypeId>,
}

impl Asked {
    pub(super) fn of<T>() -> Self {
        Self { name: std::any::type_name::<T>(), id: Some(bare::type_id::<T>()) }
    }

    /// The type inside an `Option` of type `T`.
    pub(super) fn inside<T>() -> Self {
        Self { name: argument(std::any::type_name::<T>()).unwrap_or(""), id: None }
    }

    /// Whether the type reads the part by derived code of its own, or by serde's: its visitor makes the type itself, and not
    /// something that the type is made from.
    pub(super) fn reads_itself<V, T>(&self) -> bool {
        let inner = unwrapped(self.name);
        let itself = || match self.id {
            Some(id) if inner == self.name => id == bare::type_id::<T>(),
            _ => inner == std::any::type_name::<T>(),
        };
        is_derived(std::any::type_name::<V>()) && (own_name(inner).is_none() || itself())
    }
}

/// Whether a visitor is serde's own or a derived one: it reads each part by the code of the part's type.
fn is_derived(visitor: &str) -> bool {
    is_of_serde(visitor)
        || BYTES.iter().any(|home| visitor.starts_with(home))
        || is_derived_struct(visitor)
        || visitor.contains("::__FieldVisitor")
}

/// Whether a visitor is serde's own.
#[inline(always)]
pub(super) fn is_of_serde(visitor: &str) -> bool {
    visitor.starts_with("serde_core::") || visitor.starts_with("serde::")
}

/// Whether a visitor is derived, and does not read the name of a field or variant.
pub(super) fn is_derived_struct(visitor: &str) -> bool {
    visitor.contains("::__Visitor")
}

/// Whether serde's `with` or its like makes values of this type.
pub(super) fn is_made_otherwise(name: &str) -> bool {
    name.contains("::__DeserializeWith")
}
