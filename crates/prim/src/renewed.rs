//! A value that is made anew when its key changes, without a lock.

use core::sync::atomic::{AtomicPtr, Ordering};

/// A value that belongs to a key. A new key makes a new value, and the old value is never seen again.
///
/// It takes no lock, so it works in a forked copy of a process, whatever another thread did at the moment of the fork. Old values are
/// kept for ever: they may be in use, or in a state that must not be touched.
///
/// ```
/// use multiproc_prim::Renewed;
///
/// static SLOT: Renewed<String> = Renewed::new();
/// assert_eq!(SLOT.get(1, || "one".into()), "one");
/// assert_eq!(SLOT.get(1, || "another".into()), "one");
/// assert_eq!(SLOT.get(2, || "two".into()), "two");
/// ```
#[derive(Debug)]
pub struct Renewed<T>(AtomicPtr<Node<T>>);

#[derive(Debug)]
struct Node<T> {
    key: u64,
    value: T,
}

// SAFETY: it hands out shared references (`Sync`) to values that another thread made and may drop (`Send`).
unsafe impl<T: Send + Sync> Send for Renewed<T> {}
// SAFETY: as for `Send`.
unsafe impl<T: Send + Sync> Sync for Renewed<T> {}

impl<T> Default for Renewed<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Renewed<T> {
    /// A place that holds no value yet.
    pub const fn new() -> Self {
        Self(AtomicPtr::new(core::ptr::null_mut()))
    }

    /// The value of `key`, if it was made.
    #[inline]
    pub fn peek(&self, key: u64) -> Option<&T> {
        // Acquire: the value was written before its address was (pairs with: renew).
        let node = self.0.load(Ordering::Acquire);
        // SAFETY: the address comes from `self.0`.
        unsafe { Self::value_of(node, key) }
    }

    /// The value of `key`, made by `make` the first time. If two threads make it at once, one of the two values is dropped.
    pub fn get(&self, key: u64, make: impl FnOnce() -> T) -> &T {
        // Acquire: the value was written before its address was (pairs with: renew).
        let mut seen = self.0.load(Ordering::Acquire);
        // SAFETY: the address comes from `self.0`.
        if let Some(value) = unsafe { Self::value_of(seen, key) } {
            return value;
        }
        let made = Box::into_raw(Box::new(Node { key, value: make() }));
        loop {
            // Release: the value comes before its address. Acquire: as above (pairs with: renew).
            match self.0.compare_exchange(seen, made, Ordering::Release, Ordering::Acquire) {
                // SAFETY: made above, and freed by `drop` alone.
                Ok(_) => return unsafe { &(*made).value },
                Err(now) => seen = now,
            }
            // SAFETY: the address comes from `self.0`.
            if let Some(value) = unsafe { Self::value_of(seen, key) } {
                // SAFETY: made above, and no other thread has its address.
                drop(unsafe { Box::from_raw(made) });
                return value;
            }
        }
    }

    /// The value of a node, if the node is that of `key`.
    ///
    /// # Safety
    ///
    /// `node` was read from `self.0`, and `self` outlives the result. So it is null, or comes from `Box::into_raw` in
    /// [`get`](Self::get), and only `drop` frees it.
    #[inline]
    unsafe fn value_of<'a>(node: *mut Node<T>, key: u64) -> Option<&'a T> {
        // SAFETY: the caller's promise.
        let node = unsafe { node.as_ref() }?;
        (node.key == key).then_some(&node.value)
    }
}

impl<T> Drop for Renewed<T> {
    /// Drops the value of the last key. Those of keys before it stay.
    fn drop(&mut self) {
        let last = *self.0.get_mut();
        if !last.is_null() {
            // SAFETY: from `Box::into_raw` in `get`, and `&mut self` says that no reference to the value is left.
            drop(unsafe { Box::from_raw(last) });
        }
    }
}
