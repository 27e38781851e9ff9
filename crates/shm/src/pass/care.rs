//! What a trial looks out for: types whose values say little about each other.
//!
//! What serde derives, and what it has for the types of the standard library, reads every value of one shape by the same steps:
//! if one came back, all do. A hand-written `Serialize` or `Deserialize`, `with`, `from` and `into` may look at numbers and texts,
//! and change or refuse some of them: such values are tried out one by one. What is hand-written is told by the names that the
//! compiler gives to types. A name that is not known only costs time.

/// Looks out while a value is written.
#[derive(Default)]
pub(super) struct Care {
    part: &'static str,
    /// A part was written by other code than serde's own.
    pub(super) foreign: bool,
}

impl Care {
    /// A part of this type is written next.
    pub(super) fn enter(&mut self, name: &'static str) {
        self.part = name;
    }

    /// It is written as something without a name: no derived type is.
    pub(super) fn is_nameless(&mut self) {
        self.foreign |= own_name(self.part).is_some();
    }

    /// It is written as a struct or an enum of this name.
    pub(super) fn is_named(&mut self, name: &str) {
        self.foreign |= own_name(self.part).is_some_and(|own| own != name);
    }
}

/// The last part of a type's name, if it is not a type of the language or its library.
fn own_name(mut name: &str) -> Option<&str> {
    const TRANSPARENT: [&str; 12] =
        ["Box", "Rc", "Arc", "Cow", "Cell", "RefCell", "Mutex", "RwLock", "Reverse", "Wrapping", "Saturating", "NonNull"];
    loop {
        name = name.trim_start_matches(['&', ' ']).trim_start_matches("mut ");
        let path = name.split('<').next().unwrap_or(name);
        let own = path.rsplit("::").next().unwrap_or(path);
        let standard = ["alloc::", "core::", "std::"].iter().any(|home| path.starts_with(home));
        if !standard {
            return (path.contains("::") && !path.starts_with(['(', '['])).then_some(own);
        }
        if !TRANSPARENT.contains(&own) {
            return None;
        }
        name = name.get(path.len() + 1..).unwrap_or("");
    }
}

/// Whether a visitor is serde's own or a derived one: it reads each part by the code of the part's type.
pub(super) fn is_derived(visitor: &str) -> bool {
    let path = visitor.split('<').next().unwrap_or(visitor);
    let own = path.starts_with("serde_core::") || path.starts_with("serde::");
    own || visitor.contains("::__Visitor") || visitor.contains("::__FieldVisitor")
}

/// Whether a value of this type is made by serde's `with` and its like.
pub(super) fn is_made_otherwise(name: &str) -> bool {
    name.contains("::__DeserializeWith")
}
