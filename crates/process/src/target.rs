//! Functions that a new process can run, and what they may return.

use crate::current::current_process;
use crate::image::Image;
use crate::say::say;
use multiproc_travel::pass;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::any::TypeId;
use std::convert::Infallible;
use std::fmt::Display;
use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitCode;

/// What a process's function may return: `()`, `i32`, [`ExitCode`], or a `Result` of one of these. It may also be a function that never
/// returns, with `!` or [`Infallible`]. Python drops what a target returns.
///
/// A type of your own can have an exit code too:
///
/// ```
/// # use multiproc_process as multiproc;
/// enum Verdict { Fine, Broken }
///
/// impl multiproc::Outcome for Verdict {
///     fn report(self) -> i32 {
///         match self { Self::Fine => 0, Self::Broken => 3 }
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "a process's function can't return `{Self}`",
    label = "its function returns `{Self}`, which says nothing about an exit code",
    note = "it may return `()`, `i32`, `ExitCode`, `!`, or `Result` of one of these and an error with `Display`",
    note = "a result goes back through a queue or a pipe"
)]
pub trait Outcome {
    /// The exit code that stands for it. The system keeps its low 8 bits.
    fn report(self) -> i32;
}

impl Outcome for () {
    fn report(self) -> i32 {
        0
    }
}

/// The exit code itself (Python: `sys.exit(code)`).
impl Outcome for i32 {
    fn report(self) -> i32 {
        self
    }
}

impl Outcome for ExitCode {
    fn report(self) -> i32 {
        // The standard library tells nobody the number inside.
        (0..=u8::MAX).find(|&code| Self::from(code) == self).map_or(1, i32::from)
    }
}

impl Outcome for Infallible {
    fn report(self) -> i32 {
        match self {}
    }
}

/// `Err` is printed on standard error with the process's name and makes exit code 1.
impl<T: Ending, E: Display> Outcome for Result<T, E> {
    fn report(self) -> i32 {
        match self {
            Ok(value) => value.end(),
            Err(error) => {
                // With its causes, where the error writes them: errors of `multiproc` and of `anyhow` do.
                say(&format!("process {} failed: {error:#}", current_process().name()));
                1
            }
        }
    }
}

/// What a function returns, as the end of its process: an [`Outcome`], or `!`.
///
/// A function that returns `!` ends by `std::process::exit`, by a panic or by a signal.
// Two traits and not one: in another crate the compiler takes the name of `!` below for any type, and an `Outcome` of that crate's own would
// overlap with it.
#[diagnostic::on_unimplemented(
    message = "a process's function can't return `{Self}`",
    label = "its function returns `{Self}`, which says nothing about an exit code",
    note = "it may return `()`, `i32`, `ExitCode`, `!`, or `Result` of one of these and an error with `Display`",
    note = "a result goes back through a queue or a pipe"
)]
pub trait Ending {
    /// The exit code that stands for it.
    #[doc(hidden)]
    fn end(self) -> i32;
}

impl<R: Outcome> Ending for R {
    fn end(self) -> i32 {
        self.report()
    }
}

impl Ending for <fn() -> ! as sealed::Returns>::Value {
    fn end(self) -> i32 {
        self
    }
}

/// A function that a new process can run with arguments of type `Args`: `fn(Args) -> R`, or `fn() -> R` for `()`.
///
/// Functions, function pointers and closures that capture nothing are targets. `Shape` is the function's pointer type, which the compiler
/// finds out. A closure must name the type of its argument.
///
/// A closure that captures something does not compile, and the compiler says so:
///
/// ```compile_fail,E0277
/// # use multiproc_process as multiproc;
/// let name = String::from("world");
/// multiproc::Process::spawn(move |n: u32| println!("{n}: hello {name}"), 7);
/// ```
///
/// The compiler can't refuse a closure that captures a value without bytes. The new process makes that value anew, so it must not stand for
/// something that only this process has.
#[diagnostic::on_unimplemented(
    message = "a new process can't run `{Self}` with these arguments",
    label = "not a function of one argument, or of none",
    note = "a function takes its arguments as one value, a tuple for instance: `fn work((n, name): (u32, String))` runs with `(7, name)`",
    note = "a function without arguments runs with `()`"
)]
pub trait Target<Args, Shape>: Captureless + Send + 'static {
    /// What the function returns.
    type Returned;

    #[doc(hidden)]
    fn call(self, args: Args, _: sealed::Here) -> Self::Returned;
}

/// A function that takes nothing along from this process. Closures that capture something are told by their captures: most are not `Copy`.
/// The others are refused when the call is compiled, or by [`SpawnErrorKind::NotInImage`](crate::SpawnErrorKind::NotInImage).
// A trait of our own and not `Copy`: the compiler's words about `Copy` would lead nowhere.
#[diagnostic::on_unimplemented(
    message = "a new process can't run a closure that captures something",
    label = "this closure captures a value of this process",
    note = "pass the value as an argument: `Process::spawn(|(n, name): (u32, String)| …, (7, name))`"
)]
pub trait Captureless {
    #[doc(hidden)]
    fn seal(_: sealed::Here);
}

#[diagnostic::do_not_recommend]
impl<F: Copy> Captureless for F {
    fn seal(_: sealed::Here) {}
}

pub(crate) mod sealed {
    /// Nobody outside this crate can name it, so nobody else implements [`Target`](super::Target) or [`Captureless`](super::Captureless).
    #[derive(Debug)]
    pub struct Here;

    /// Gives `!` a name, as what a function returns: stable Rust has no other.
    pub trait Returns {
        type Value;
    }

    impl<R> Returns for fn() -> R {
        type Value = R;
    }
}

impl<F: Fn() -> R + Captureless + Send + 'static, R> Target<(), fn() -> R> for F {
    type Returned = R;

    fn call(self, (): (), _: sealed::Here) -> R {
        self()
    }
}

impl<F: Fn(A) -> R + Captureless + Send + 'static, A, R> Target<A, fn(A) -> R> for F {
    type Returned = R;

    fn call(self, args: A, _: sealed::Here) -> R {
        self(args)
    }
}

/// A call that is ready to be made.
pub(crate) type Call = Box<dyn FnOnce() -> i32>;

/// Decodes the arguments of one function. The image has one instance for each function, at an offset of its own.
type Enter = fn(Option<usize>, &[u8], Vec<OwnedFd>) -> Result<Call, String>;

fn enter<T, A, S>(pointer: Option<usize>, bytes: &[u8], descriptors: Vec<OwnedFd>) -> Result<Call, String>
where
    T: Target<A, S, Returned: Ending>,
    A: DeserializeOwned + 'static,
{
    let args: A = pass::decode(bytes, descriptors).map_err(|error| error.to_string())?;
    let target: T = match pointer {
        // SAFETY: `T` is a type of function pointers, and this is the address of such a function: the parent, which runs the same
        // executable file (`Image::current` was compared), took both offsets together in `Entry::of`, and both lie in executable memory
        // of the image (`Image::address`).
        Some(address) => unsafe { std::mem::transmute_copy::<usize, T>(&address) },
        // SAFETY: `T` has no bytes (`Entry::of`). It is a function item, or a closure that captures at most values without bytes, which are
        // `Copy` and `Send`: the parent was given one, and this is a copy. (The type can't tell whether such a value stands for something
        // that only the parent has: the page of `Target` forbids that.)
        None => unsafe { std::mem::transmute_copy::<(), T>(&()) },
    };
    Ok(Box::new(move || target.call(args, sealed::Here).end()))
}

/// A function and the code that decodes its arguments, on their way to another process that runs the same executable file: as offsets in
/// its image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Which file it is.
    pub(crate) identity: [u64; 4],
    enter: u64,
    /// A function pointer. A function item needs none: its `enter` knows which function it is.
    pointer: Option<u64>,
}

impl Entry {
    /// `None`: the function is not in the executable file.
    ///
    /// # Errors
    ///
    /// Those of [`Image::current`].
    pub(crate) fn of<T, A, S>(target: T) -> io::Result<Option<Self>>
    where
        T: Target<A, S, Returned: Ending>,
        A: DeserializeOwned + 'static,
        S: 'static,
    {
        // A captured integer has no niche. A captured reference has, and is found out below.
        const {
            let is_pointer_like = size_of::<T>() == size_of::<fn()>() && size_of::<Option<T>>() == size_of::<T>();
            assert!(
                size_of::<T>() == 0 || is_pointer_like,
                "a new process can't run a closure that captures something: pass the value as an argument"
            );
        }
        let image = Image::current()?;
        let pointer = if size_of::<T>() == 0 {
            None
        } else if TypeId::of::<T>() == TypeId::of::<S>() {
            // SAFETY: `S` is a type of function pointers, as both implementations of `Target` have it, and so is `T`.
            let address = unsafe { std::mem::transmute_copy::<T, usize>(&target) };
            let Some(offset) = image.offset(address) else { return Ok(None) };
            Some(offset)
        } else {
            return Ok(None);
        };
        let enter: Enter = enter::<T, A, S>;
        Ok(image.offset(enter as usize).map(|enter| Self { identity: image.identity, enter, pointer }))
    }

    /// Decodes the arguments for the function, here.
    pub(crate) fn prepare(&self, bytes: &[u8], descriptors: Vec<OwnedFd>) -> Result<Call, String> {
        let here = Image::current().map_err(|error| format!("this process can't look at its executable file: {error}"))?;
        if here.identity != self.identity {
            return Err("this process runs another executable file than the one that started it".into());
        }
        let outside = || "the function is outside the executable file".to_owned();
        let enter = here.address(self.enter).ok_or_else(outside)?;
        let pointer = self.pointer.map(|pointer| here.address(pointer).ok_or_else(outside)).transpose()?;
        // SAFETY: the address is that of an `Enter` in this very executable file, at another load address maybe: the parent
        // took the offset from one, and the files are the same.
        let enter: Enter = unsafe { std::mem::transmute::<usize, Enter>(enter) };
        enter(pointer, bytes, descriptors)
    }
}
