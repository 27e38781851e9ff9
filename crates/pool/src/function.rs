//! Functions that a worker can run, and how an order names one.
//!
//! A worker runs the same executable file as its parent. So a function is named by the distance of its code from other code of this
//! crate, which is the same in both. The name goes through shared memory, where a hostile peer may write. So each name carries a tag,
//! which only the parent and its workers can make: they alone have the key.

use crate::worker::Run;
use multiproc_process::Captureless;
use serde::{Deserialize, Serialize};
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};

/// A function that a worker can run with arguments of type `Args`: `fn(Args) -> R`, or `fn() -> R` for `()`.
///
/// Functions and closures that capture nothing are. `Shape` is the function's pointer type, which the compiler finds out. A closure must
/// name the type of its argument. Several arguments go as a tuple.
///
/// A function *pointer* is not: name the function itself.
///
/// ```compile_fail,E0080
/// # use multiproc_pool as multiproc;
/// let pool = multiproc::Pool::new(1).unwrap();
/// let double: fn(u32) -> u32 = |n| 2 * n;
/// let doubled = pool.map(double, [1, 2, 3]).unwrap();
/// ```
#[diagnostic::on_unimplemented(
    message = "a worker can't run `{Self}` with these arguments",
    label = "not a function of one argument, or of none",
    note = "a function takes its arguments as one value, a tuple for instance: `fn work((n, name): (u32, String))` runs with `(7, name)`"
)]
pub trait Function<Args, Shape>: Captureless + Send + 'static {
    /// What the function returns.
    type Returned;

    #[doc(hidden)]
    fn call(self, args: Args, _: sealed::Here) -> Self::Returned;
}

pub(crate) mod sealed {
    /// Nobody outside this crate can name it, so nobody else implements [`Function`](super::Function).
    #[derive(Debug)]
    pub struct Here;
}

impl<F: Fn() -> R + Captureless + Send + 'static, R> Function<(), fn() -> R> for F {
    type Returned = R;

    fn call(self, (): (), _: sealed::Here) -> R {
        self()
    }
}

impl<F: Fn(A) -> R + Captureless + Send + 'static, A, R> Function<A, fn(A) -> R> for F {
    type Returned = R;

    fn call(self, args: A, _: sealed::Here) -> R {
        self(args)
    }
}

/// Calls a function that the type alone names. In a worker, there is no value of it.
pub(crate) fn call<F: Function<A, S>, A, S>(args: A) -> F::Returned {
    const {
        assert!(
            size_of::<F>() == 0,
            "a worker can't run a function pointer or a closure that captures something: name the function"
        )
    };
    // SAFETY: `F` has no bytes (asserted above). It is a function item, or a closure that captures at most values without bytes, which
    // are `Copy` and `Send`: the parent was given one, and this is a copy. (The type can't tell whether such a value stands for something
    // that only the parent has: the page of `multiproc_process::Target` forbids that.)
    let function: F = unsafe { std::mem::transmute_copy::<(), F>(&()) };
    function.call(args, sealed::Here)
}

/// Code that reads the arguments of one order, calls its function and sends the results. The image has one instance for each function.
pub(crate) type Enter = fn(&mut Run<'_>, &[u8]);

/// The name of an [`Enter`] on its way to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) offset: u64,
    pub(crate) tag: u64,
}

/// What only a pool and its workers know. It travels beside the arguments of a new process, and never through shared memory.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Key([u64; 2]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    pub(crate) fn new() -> Self {
        // The standard library seeds each state with random numbers of the system's.
        Self([0, 1].map(|half| RandomState::new().hash_one(half)))
    }

    fn tag(self, offset: u64) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.0, offset, self.0).hash(&mut hasher);
        hasher.finish()
    }

    pub(crate) fn name(self, enter: Enter) -> Name {
        let offset = (enter as *const () as usize).wrapping_sub(anchor as *const () as usize) as u64;
        Name { offset, tag: self.tag(offset) }
    }

    /// The function behind a name; `None` if this pool's parent did not make the name.
    pub(crate) fn find(self, name: Name) -> Option<Enter> {
        if self.tag(name.offset) != name.tag {
            return None;
        }
        let address = (anchor as *const () as usize).wrapping_add(name.offset as usize);
        // SAFETY: the tag says that the parent made the name, from an `Enter`. This process runs the same executable file
        // (`Process::spawn` compared them, and refuses a worker whose code is outside of it), and both `anchor` and the `Enter` are in
        // that file: both are compiled for the one program that this crate is linked into. So their distance is the same here.
        Some(unsafe { std::mem::transmute::<usize, Enter>(address) })
    }
}

/// What distances are measured from.
#[inline(never)]
fn anchor(_: &mut Run<'_>, _: &[u8]) {}
