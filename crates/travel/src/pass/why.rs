//! What goes wrong inside the codec: the words of the value's own type, or ours.

use std::fmt;

/// One word long inside a `Result`, or nearly: the way without errors must not pay for it.
#[derive(Debug)]
pub(super) struct Why(Box<str>);

impl Why {
    #[cold]
    pub(super) fn new(why: impl Into<Box<str>>) -> Self {
        Self(why.into())
    }
}

impl From<Why> for Box<str> {
    fn from(why: Why) -> Self {
        why.0
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Why {}

impl serde::ser::Error for Why {
    #[cold]
    fn custom<T: fmt::Display>(why: T) -> Self {
        Self::new(why.to_string())
    }
}

impl serde::de::Error for Why {
    #[cold]
    fn custom<T: fmt::Display>(why: T) -> Self {
        Self::new(why.to_string())
    }
}
