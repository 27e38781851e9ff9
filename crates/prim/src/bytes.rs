//! Payload bytes in shared memory. Copies in and out are defined behaviour, whatever another process writes meanwhile.

use crate::base::watch::Watch;
use crate::region::{OutOfBounds, Region};
use bytemuck::AnyBitPattern;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::ptr::NonNull;

/// A window on payload bytes: in a region, or [private ones](OwnBytes) in their place.
///
/// Another process may write the bytes at any moment, so copy them out before you look at them. A copy is atomic byte by byte (or word
/// by word), or one string instruction that the compiler can't see into. So a write meanwhile makes the copy wrong and nothing else.
///
/// ```
/// use multiproc_prim::{Heap, Region};
///
/// # multiproc_prim::model::model(|| {
/// let region = Region::new(Heap::new(4096));
/// let window = region.bytes(1000, 5).unwrap();
/// assert!(window.write(b"hello"));
/// let mut copy = [0; 5];
/// assert!(window.read(&mut copy));
/// assert_eq!(&copy, b"hello");
/// # });
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Bytes<'a> {
    first: NonNull<u8>,
    len: usize,
    watch: Watch<'a>,
}

// SAFETY: the bytes are reached through atomic copies alone; `'a` keeps their region or their `OwnBytes`, which are `Sync`.
unsafe impl Send for Bytes<'_> {}
// SAFETY: as for `Send`.
unsafe impl Sync for Bytes<'_> {}

/// Up to eight bytes of this process alone, which stand for a message's payload. Like that, they start on a multiple of 16.
#[repr(align(16))]
#[derive(Debug, Default)]
pub struct OwnBytes(AtomicU64);

impl OwnBytes {
    /// How many bytes there are.
    pub const LEN: usize = 8;

    /// The bytes of a word, as they lie in memory.
    #[inline(always)]
    pub fn new(word: u64) -> Self {
        Self(AtomicU64::new(word))
    }

    /// The word that the bytes make up.
    #[inline(always)]
    pub fn word(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// The first `len` bytes, or all eight if `len` is larger.
    #[inline(always)]
    pub fn bytes(&self, len: usize) -> Bytes<'_> {
        Bytes { first: NonNull::from(&self.0).cast(), len: len.min(Self::LEN), watch: Watch::nothing() }
    }
}

impl Region {
    /// The `len` bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// They do not fit.
    #[inline(always)]
    pub fn bytes(&self, offset: usize, len: usize) -> Result<Bytes<'_>, OutOfBounds> {
        Ok(self.window(self.check(offset, len, 1)?, len))
    }

    /// A window of no bytes.
    pub fn nothing(&self) -> Bytes<'_> {
        self.window(self.base(), 0)
    }

    #[inline(always)]
    pub(crate) fn window(&self, first: NonNull<u8>, len: usize) -> Bytes<'_> {
        Bytes { first, len, watch: self.watch() }
    }
}

impl<'a> Bytes<'a> {
    /// Length in bytes.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The window's bytes from `at` on, `len` of them; `None` if they are not all inside it.
    #[inline(always)]
    pub fn part(&self, at: usize, len: usize) -> Option<Bytes<'a>> {
        if at.checked_add(len)? > self.len {
            return None;
        }
        // SAFETY: at <= self.len, all of which `Region::check` put inside the region.
        Some(Self { first: unsafe { self.first.add(at) }, len, ..*self })
    }

    /// Copies `source` to the start of the window. Returns whether it fits; if not, nothing is written.
    #[inline(always)]
    #[must_use = "nothing is written if the bytes do not fit"]
    pub fn write(&self, source: &[u8]) -> bool {
        if source.len() > self.len {
            return false;
        }
        let _guard = self.watch.write(self.first, source.len());
        // SAFETY: source.len() bytes fit in the window (checked above), which lies inside the region.
        unsafe { store(self.first.as_ptr(), source.as_ptr(), source.len()) };
        true
    }

    /// Copies the start of the window to `target`. Returns whether the window is long enough; if not, nothing is read.
    #[inline(always)]
    #[must_use = "nothing is read if the window is too short"]
    pub fn read(&self, target: &mut [u8]) -> bool {
        if target.len() > self.len {
            return false;
        }
        // SAFETY: target.len() bytes are inside the window; the target is writable for as many.
        unsafe { self.load_into(target.as_mut_ptr(), target.len()) };
        true
    }

    /// Appends the whole window to `target`.
    #[inline(always)]
    pub fn append_to(&self, target: &mut Vec<u8>) {
        target.reserve(self.len);
        // SAFETY: `reserve` made room for self.len bytes after the current ones; all of them are written before set_len.
        unsafe {
            self.load_into(target.as_mut_ptr().add(target.len()), self.len);
            target.set_len(target.len() + self.len);
        }
    }

    /// The whole window as values of plain data; `None` if it is no whole number of them.
    #[inline(always)]
    pub fn to_vec<T: AnyBitPattern>(&self) -> Option<Vec<T>> {
        // SAFETY: all of the window is loaded, into room for as much.
        unsafe { vec_of(self.len, |target| self.load_into(target, self.len)) }
    }

    /// A pointer to the bytes for reading and writing in place.
    ///
    /// References made from it are sound only while no other process writes these bytes. Shared memory can't promise that: the unsafe
    /// code that makes them has to.
    #[inline(always)]
    pub fn as_ptr(&self) -> NonNull<u8> {
        self.first
    }

    /// # Safety
    ///
    /// `len <= self.len`, and `target` is valid for writing `len` bytes.
    #[inline(always)]
    unsafe fn load_into(&self, target: *mut u8, len: usize) {
        let _guard = self.watch.read(self.first, len);
        // SAFETY: the window lies inside the region; the rest is the caller's promise.
        unsafe { load(target, self.first.as_ptr(), len) }
    }
}

/// The values of plain data that `len` bytes make, which `copy` writes to the place that it gets; `None` if they are no whole number of
/// values. (Public for `multiproc-travel`, whose bytes are private ones.)
///
/// # Safety
///
/// `copy` writes `len` bytes there.
#[doc(hidden)]
#[inline(always)]
pub unsafe fn vec_of<T: AnyBitPattern>(len: usize, copy: impl FnOnce(*mut u8)) -> Option<Vec<T>> {
    if len == 0 {
        return Some(Vec::new());
    }
    if len.checked_rem(size_of::<T>()) != Some(0) {
        return None;
    }
    let count = len / size_of::<T>();
    let mut values = Vec::<T>::with_capacity(count);
    copy(values.as_mut_ptr().cast());
    // SAFETY: there is room for `count` values, which have `len` bytes together. The caller's `copy` has written all of them, and any
    // bytes make a value.
    unsafe { values.set_len(count) };
    Some(values)
}

/// From this length on, in bytes, the string instruction beats word-by-word copies. Fuzzing does without: a sanitizer can't see into it.
#[cfg(target_arch = "x86_64")]
const STRING_COPY: usize = 256;

/// # Safety
///
/// `shared` is valid for `len` bytes inside a region, `private` for reading `len` bytes outside of any region.
#[inline(always)]
unsafe fn store(shared: *mut u8, private: *const u8, len: usize) {
    #[cfg(target_arch = "x86_64")]
    if len >= STRING_COPY && !cfg!(fuzzing) {
        // SAFETY: the caller's promise.
        return unsafe { string_copy(shared, private, len) };
    }
    let words = if shared.addr() % 8 == 0 { len / 8 } else { 0 };
    // SAFETY: every access is inside the `len` bytes that the caller vouches for; words are accessed only where aligned.
    unsafe {
        for at in (0..words).map(|word| word * 8) {
            let word = private.add(at).cast::<u64>().read_unaligned();
            AtomicU64::from_ptr(shared.add(at).cast()).store(word, Ordering::Relaxed);
        }
        if words * 8 < len {
            store_bytes(shared.add(words * 8), private.add(words * 8), len - words * 8);
        }
    }
}

/// # Safety
///
/// The same as for [`store`].
#[inline(never)]
unsafe fn store_bytes(shared: *mut u8, private: *const u8, len: usize) {
    for at in 0..len {
        // SAFETY: the caller's promise.
        unsafe { AtomicU8::from_ptr(shared.add(at)).store(*private.add(at), Ordering::Relaxed) };
    }
}

/// # Safety
///
/// `shared` is valid for `len` bytes inside a region, `private` for writing `len` bytes outside of any region.
#[inline(always)]
unsafe fn load(private: *mut u8, shared: *mut u8, len: usize) {
    #[cfg(target_arch = "x86_64")]
    if len >= STRING_COPY && !cfg!(fuzzing) {
        // SAFETY: the caller's promise.
        return unsafe { string_copy(private, shared, len) };
    }
    let words = if shared.addr() % 8 == 0 { len / 8 } else { 0 };
    // SAFETY: as in `store`.
    unsafe {
        for at in (0..words).map(|word| word * 8) {
            let word = AtomicU64::from_ptr(shared.add(at).cast()).load(Ordering::Relaxed);
            private.add(at).cast::<u64>().write_unaligned(word);
        }
        if words * 8 < len {
            load_bytes(private.add(words * 8), shared.add(words * 8), len - words * 8);
        }
    }
}

/// Not inlined: a compiler that sees bytes and words written to one place splits the words.
///
/// # Safety
///
/// The same as for [`load`].
#[inline(never)]
unsafe fn load_bytes(private: *mut u8, shared: *mut u8, len: usize) {
    for at in 0..len {
        // SAFETY: the caller's promise.
        unsafe { private.add(at).write(AtomicU8::from_ptr(shared.add(at)).load(Ordering::Relaxed)) };
    }
}

/// # Safety
///
/// Both are valid for `len` bytes and do not overlap.
#[cfg(target_arch = "x86_64")]
unsafe fn string_copy(target: *mut u8, source: *const u8, len: usize) {
    // SAFETY: the caller's promise. The direction flag is clear by the calling convention. The compiler knows only that the block
    // reads and writes these bytes, so a write by another process in the middle is no data race in the language's sense.
    unsafe {
        core::arch::asm!(
            "rep movsb",
            inout("rcx") len => _,
            inout("rdi") target => _,
            inout("rsi") source => _,
            options(nostack, preserves_flags),
        );
    }
}
