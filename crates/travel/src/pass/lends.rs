//! Which values may travel in place of which others.

use std::borrow::Cow;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

/// A type in place of which a `Q` may be sent: a `String` lends a `str`, a `Vec` lends a slice, and each type lends itself.
///
/// The pairs are those of the standard library's `Borrow` whose two sides have one encoding. No other crate can add one: a `Borrow` of its
/// own may lend another value than the receiver would get.
///
/// ```compile_fail
/// use std::borrow::Borrow;
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Celsius(i64);
///
/// impl Borrow<i64> for Celsius {
///     fn borrow(&self) -> &i64 {
///         &self.0
///     }
/// }
///
/// fn send<T: multiproc_travel::pass::Lends<Q>, Q>(_: &Q) {}
/// send::<Celsius, i64>(&300);
/// ```
#[diagnostic::on_unimplemented(
    message = "a `{Q}` can't be sent in place of a `{Self}`",
    label = "expected a `{Self}`, or what it lends",
    note = "a `String` lends a `str`, a `Vec` lends a slice"
)]
pub trait Lends<Q: ?Sized>: sealed::Lends<Q> {}

impl<T: sealed::Lends<Q> + ?Sized, Q: ?Sized> Lends<Q> for T {}

mod sealed {
    pub trait Lends<Q: ?Sized> {}
}

impl<T: ?Sized> sealed::Lends<T> for T {}
impl<T> sealed::Lends<[T]> for Vec<T> {}
impl<T: ?Sized> sealed::Lends<T> for Box<T> {}
impl<T: ?Sized> sealed::Lends<T> for Rc<T> {}
impl<T: ?Sized> sealed::Lends<T> for Arc<T> {}
impl<T: ToOwned + ?Sized> sealed::Lends<T> for Cow<'_, T> {}
impl sealed::Lends<str> for String {}
impl sealed::Lends<Path> for PathBuf {}
impl sealed::Lends<OsStr> for OsString {}
impl sealed::Lends<CStr> for CString {}
