//! What errors of all crates here say: a refusal of the system in words, and `Debug` with variant, text and causes.
//!
//! A cause is in an error's text or in its `source()`, never in both. The system's own answer is the source, and the text says it in
//! words. Any other cause is in the text.

use rustix::io::Errno;
use std::error::Error;
use std::fmt::{Arguments, Formatter, Result};
use std::io::{self, ErrorKind};

/// Writes what the system refused and why, in words. With `{:#}` the system's own answer follows.
///
/// ```
/// use multiproc_prim::fmt_refusal;
/// use std::fmt;
///
/// struct Failed(std::io::Error);
/// impl fmt::Display for Failed {
///     fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
///         fmt_refusal(f, format_args!("can't open the file"), &self.0)
///     }
/// }
///
/// let failed = Failed(std::fs::File::open("/not/there").unwrap_err());
/// assert_eq!(format!("{failed}"), "can't open the file: it is not there");
/// assert_eq!(format!("{failed:#}"), "can't open the file: it is not there: No such file or directory (os error 2)");
/// ```
///
/// # Errors
///
/// The formatter fails.
pub fn fmt_refusal(f: &mut Formatter<'_>, what: Arguments<'_>, error: &io::Error) -> Result {
    write!(f, "{what}: ")?;
    match in_words(error) {
        Some(words) => f.write_str(words)?,
        None => match error.raw_os_error() {
            Some(number) => write!(f, "the system answered with its error number {number}")?,
            None => write!(f, "{}", error.kind())?,
        },
    }
    if f.alternate() { write!(f, ": {error}") } else { Ok(()) }
}

/// Why the system refuses, and what its user can do.
fn in_words(error: &io::Error) -> Option<&'static str> {
    let words = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::MFILE) => "this process has no file descriptor left: close some, or raise its limit (ulimit -n)",
        Some(Errno::NFILE) => "the system has no file descriptor left",
        Some(Errno::NOMEM) => "no memory is left, or a limit of it is reached (ulimit -v, or the container's)",
        Some(Errno::NOSPC) => "no shared memory is left (/dev/shm, or the container's)",
        Some(Errno::AGAIN) => "a limit is reached: of processes (ulimit -u, or the container's), or of locked memory (ulimit -l)",
        Some(Errno::FBIG) => "the limit of a file's size is reached (ulimit -f)",
        Some(Errno::PERM | Errno::ACCESS) => "this user may not do it, or a filter (seccomp) forbids it",
        Some(Errno::NOSYS) => "this kernel can't do it, or a filter (seccomp) forbids it",
        Some(Errno::ROFS) => "the file system is read-only",
        _ => match error.kind() {
            ErrorKind::NotFound => "it is not there",
            ErrorKind::TimedOut => "it took too long",
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => "the other side is gone",
            ErrorKind::InvalidData => "what was found there is damaged, or is something else",
            ErrorKind::UnexpectedEof => "it ended early",
            _ => return None,
        },
    };
    Some(words)
}

/// Writes an error for [`error_debug`](crate::error_debug): its names, its text and its causes.
#[doc(hidden)]
pub fn fmt_debug(f: &mut Formatter<'_>, names: &[&str], error: &dyn Error) -> Result {
    write!(f, "{}: {error}", names.join("::"))?;
    let mut cause = error.source();
    while let Some(error) = cause {
        write!(f, ": {error}")?;
        cause = error.source();
    }
    Ok(())
}

/// Implements `Debug` for errors, as `Error::Variant: text: cause`.
///
/// A `main` that returns the error prints this. So it has the advice of the text, and a test that fails shows the variant. The
/// values in a generic error need no `Debug`.
///
/// ```
/// enum PutError { Full, TooLong(usize) }
/// # impl std::error::Error for PutError {}
/// # impl std::fmt::Display for PutError {
/// #     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("it is full") }
/// # }
/// multiproc_prim::error_debug! { PutError { Full, TooLong } }
///
/// assert_eq!(format!("{:?}", PutError::Full), "PutError::Full: it is full");
/// # let _ = PutError::TooLong(1);
/// ```
#[macro_export]
macro_rules! error_debug {
    ($($Error:ident $(<$T:ident>)? $({ $($Variant:ident),+ $(,)? })?)+) => {$(
        impl $(<$T>)? ::core::fmt::Debug for $Error $(<$T>)? {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                let names = &[stringify!($Error), $(match self { $(Self::$Variant { .. } => stringify!($Variant)),+ })?];
                $crate::fmt_debug(f, names, self)
            }
        }
    )+};
}

/// Implements `PartialEq` for errors whose causes can't be compared, as `std::io::Error` can't: two are equal if they are of the same
/// variant and say the same, causes included.
///
/// It goes with [`error_debug`](crate::error_debug), which writes all of that.
#[macro_export]
macro_rules! error_equal {
    ($($Error:ident)+) => {$(
        /// Errors are equal if they are of the same variant and say the same. What the system said has no equality of its own.
        impl PartialEq for $Error {
            fn eq(&self, other: &Self) -> bool {
                format!("{self:?}") == format!("{other:?}")
            }
        }
    )+};
}
