//! A lock that costs its usual user next to nothing.

use multiproc_prim::{AtomicU32, AtomicU64, Mutex, MutexGuard, Ordering, futex, heavy_fence, light_fence, this_thread};
use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::PoisonError;

/// How many threads may become the usual one, each after the one before: afterwards all are alike.
const USUAL: usize = 4;

/// A lock within one process, biased to the thread that uses it first. That one locks and unlocks without a locked instruction,
/// which would wait for all that it wrote to reach the other processors; another thread that comes takes the bias away, which
/// takes microseconds, and after a few of those it is an ordinary lock.
///
/// ```
/// use multiproc_sync::BiasedLock;
///
/// let lock = BiasedLock::new(1);
/// *lock.lock() += 1;
/// std::thread::scope(|scope| scope.spawn(|| *lock.lock() += 1).join()).unwrap();
/// assert_eq!(*lock.lock(), 3);
/// ```
pub struct BiasedLock<T> {
    /// Whose it is.
    bias: AtomicU64,
    /// Whether the thread that was the first, the second … usual one is inside. Each has a word of its own: one that lost the bias
    /// long ago may write its own once more, when it finds that out.
    inside: [AtomicU32; USUAL],
    /// Held by whoever is inside and not the usual one, or takes the bias away.
    others: Mutex<()>,
    value: UnsafeCell<T>,
}

// SAFETY: `lock` lets one thread at a time to the value.
unsafe impl<T: Send> Sync for BiasedLock<T> {}

impl<T: Default> Default for BiasedLock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> fmt::Debug for BiasedLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BiasedLock").finish_non_exhaustive()
    }
}

/// Whose the lock is: nobody's, or the n-th usual thread's.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Bias(u64);

impl Bias {
    /// Nobody's, after so many usual threads.
    const fn nobody(after: usize) -> Self {
        Self(after as u64)
    }

    const fn of(thread: u64, number: usize) -> Self {
        Self(thread << 8 | number as u64)
    }

    /// 0: nobody.
    const fn thread(self) -> u64 {
        self.0 >> 8
    }

    const fn number(self) -> usize {
        self.0 as u8 as usize
    }
}

/// The value, until this is dropped.
#[must_use]
pub struct Guard<'a, T> {
    lock: &'a BiasedLock<T>,
    /// What makes us the usual thread; for the others, what keeps them apart.
    way: Result<Usual<'a>, MutexGuard<'a, ()>>,
    /// It stands for the only reference to the value, and is shared between threads only where that may be.
    of: PhantomData<&'a mut T>,
}

// A thread that has a reference to a guard has one to the value.
static_assertions::assert_not_impl_any!(Guard<'static, std::cell::Cell<u8>>: Send, Sync);
static_assertions::assert_impl_all!(Guard<'static, u8>: Sync);

/// The usual thread, inside.
struct Usual<'a> {
    bias: Bias,
    inside: &'a AtomicU32,
}

impl<T> BiasedLock<T> {
    /// A lock that is nobody's yet.
    pub fn new(value: T) -> Self {
        let inside = std::array::from_fn(|_| AtomicU32::new(0));
        Self { bias: AtomicU64::new(Bias::nobody(0).0), inside, others: Mutex::new(()), value: UnsafeCell::new(value) }
    }

    /// Waits until no other thread is inside. A thread that is inside itself waits for ever, as with any lock.
    #[inline(always)]
    pub fn lock(&self) -> Guard<'_, T> {
        let me = this_thread();
        // Relaxed: the word is ours only if we wrote it ourselves.
        let bias = Bias(self.bias.load(Ordering::Relaxed));
        if bias.thread() == me
            && let Some(inside) = self.inside.get(bias.number())
            && inside.load(Ordering::Relaxed) == 0
        {
            inside.store(1, Ordering::Relaxed);
            // Either whoever takes the bias away sees us inside, or we see that it is gone (pairs with: bias).
            light_fence();
            if self.bias.load(Ordering::Relaxed) == bias.0 {
                return Guard { lock: self, way: Ok(Usual { bias, inside }), of: PhantomData };
            }
            // Relaxed: we touched nothing. But whoever took the bias away may wait for us.
            inside.store(0, Ordering::Relaxed);
            futex::wake(inside, 1);
        }
        self.lock_with_others(me)
    }

    #[cold]
    fn lock_with_others(&self, me: u64) -> Guard<'_, T> {
        let others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        // Relaxed: written by those who held `others` alone.
        let mut bias = Bias(self.bias.load(Ordering::Relaxed));
        if bias.thread() != 0 {
            let left = Bias::nobody(bias.number() + 1);
            self.bias.store(left.0, Ordering::Relaxed);
            // Either we see the usual thread inside, or it sees that it is the usual one no more; and if we wait, either we see that it
            // leaves, or it sees that it has to wake us (pairs with: bias).
            heavy_fence();
            if let Some(inside) = self.inside.get(bias.number()) {
                // Acquire: what it did to the value comes before what we do (pairs with: unlock).
                while inside.load(Ordering::Acquire) != 0 {
                    futex::wait(inside, 1, None);
                }
            }
            bias = left;
        }
        match self.inside.get(bias.number()) {
            Some(inside) => {
                // Relaxed: who takes the bias away holds `others` then, which we hold now.
                inside.store(1, Ordering::Relaxed);
                let bias = Bias::of(me, bias.number());
                self.bias.store(bias.0, Ordering::Relaxed);
                Guard { lock: self, way: Ok(Usual { bias, inside }), of: PhantomData }
            }
            None => Guard { lock: self, way: Err(others), of: PhantomData },
        }
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: whoever has a guard is alone inside: the usual thread says so before it looks whether it still is that one, and
        // nobody else gets in before it has left (`lock_with_others`); the others exclude each other by `others`.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and the guard is borrowed exclusively.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        if let Ok(Usual { bias, inside }) = &self.way {
            // Release: what we did to the value comes before what the next one does (pairs with: unlock).
            inside.store(0, Ordering::Release);
            // As in `lock` (pairs with: bias).
            light_fence();
            if self.lock.bias.load(Ordering::Relaxed) != bias.0 {
                futex::wake(inside, 1);
            }
        }
    }
}
