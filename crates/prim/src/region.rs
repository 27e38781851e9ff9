//! Memory that several processes may write: a base, a length and the owner that keeps it mapped.

use crate::base::watch::{Cells, Watch, ZEROES_ARE_FRESH};
use crate::{AtomicU32, AtomicU64};
use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, Range};
use std::ptr::NonNull;
use std::sync::Arc;

/// A type that may lie in memory which other processes write at any time.
///
/// # Safety
///
/// The type consists of this crate's atomics and of padding alone: every bit pattern is a valid value, every access
/// through `&self` is atomic, and (without loom) all bytes zero is the same value as [`fresh`](Self::fresh).
pub unsafe trait Shared: Sized + Send + Sync + 'static {
    /// The value that new memory holds.
    fn fresh() -> Self;
}

// SAFETY: an atomic integer accepts every bit pattern; fresh is zero.
unsafe impl Shared for AtomicU32 {
    fn fresh() -> Self {
        Self::new(0)
    }
}

// SAFETY: an atomic integer accepts every bit pattern; fresh is zero.
unsafe impl Shared for AtomicU64 {
    fn fresh() -> Self {
        Self::new(0)
    }
}

/// A value alone on its pair of cache lines, so that its writers do not slow down users of its neighbours.
///
/// It takes two lines, because processors fetch lines in pairs.
#[repr(C, align(128))]
#[derive(Debug, Default)]
pub struct Padded<T>(pub T);

// SAFETY: `T` is `Shared` and the rest is padding.
unsafe impl<T: Shared> Shared for Padded<T> {
    fn fresh() -> Self {
        Self(T::fresh())
    }
}

impl<T> Deref for Padded<T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

/// Declares structs of atomics and implements [`Shared`] for them, field by field.
///
/// ```
/// use multiproc_prim::{AtomicU32, AtomicU64, Heap, Ordering, Padded, Region, shared_struct};
///
/// shared_struct! {
///     /// How many were put, and whether anyone waits.
///     struct Header {
///         puts: Padded<AtomicU64>,
///         is_waiting: AtomicU32,
///     }
/// }
///
/// # multiproc_prim::model::model(|| {
/// let region = Region::new(Heap::new(4096));
/// let header = region.place::<Header>(0).unwrap();
/// header.make_fresh();
/// header.puts.fetch_add(1, Ordering::Relaxed);
/// assert_eq!((header.puts.load(Ordering::Relaxed), header.is_waiting.load(Ordering::Relaxed)), (1, 0));
/// # });
/// ```
#[macro_export]
macro_rules! shared_struct {
    ($($(#[$meta:meta])* $vis:vis struct $name:ident { $($(#[$fmeta:meta])* $fvis:vis $field:ident: $ty:ty,)* })*) => {$(
        $(#[$meta])*
        #[repr(C)]
        #[derive(Debug)]
        $vis struct $name { $($(#[$fmeta])* $fvis $field: $ty,)* }

        // SAFETY: every field is `Shared` (the initialisers below do not compile otherwise), and `repr(C)` adds padding only.
        unsafe impl $crate::Shared for $name {
            fn fresh() -> Self {
                Self { $($field: <$ty as $crate::Shared>::fresh(),)* }
            }
        }
    )*};
}

/// Who owns a stretch of shared memory, and how its pages come and go.
///
/// # Safety
///
/// For the life of the value, `base()` is aligned to 4096 bytes, does not change, and `len()` bytes from it are mapped
/// readable and writable. No Rust reference to that memory exists other than those made from a [`Region`].
pub unsafe trait Memory: Send + Sync + 'static {
    /// The first byte.
    fn base(&self) -> NonNull<u8>;

    /// Length in bytes.
    fn len(&self) -> usize;

    /// Whether there are no bytes at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes sure that touching `range` can't fail later, or says why it would.
    ///
    /// # Errors
    ///
    /// The system has no memory left for it.
    fn commit(&self, range: Range<usize>) -> std::io::Result<()>;

    /// Gives back the pages that lie wholly in `range`. Returns whether it did: then they read as zero, and must be committed anew.
    fn discard(&self, range: Range<usize>) -> bool;

    /// Whether some page of `range` may have been committed.
    fn has_pages(&self, _range: Range<usize>) -> bool {
        true
    }

    /// Copies the bytes from `start` on without touching them: pages that were given back meanwhile read as zero, and stay away. Returns
    /// whether it did; `None` where the owner has no way to, and its pages stay.
    fn copy_out(&self, _start: usize, _target: &mut [u8]) -> Option<bool> {
        None
    }

    /// Maps `range` of the same memory as an owner of its own. The range may lie behind [`len`](Self::len). With `grow`, memory that
    /// can grow does so.
    ///
    /// # Errors
    ///
    /// The range ends behind the memory, which can't or must not grow, or the system refuses.
    fn extend(&self, _range: Range<usize>, _grow: bool) -> std::io::Result<Arc<dyn Memory>> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    /// The owner itself, for a caller who knows its type.
    fn as_any(&self) -> &dyn Any;
}

/// An offset, length or alignment that does not fit the region.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct OutOfBounds {
    /// First byte asked for.
    pub offset: usize,
    /// Bytes asked for.
    pub len: usize,
    /// Length of the region.
    pub region: usize,
}

impl fmt::Display for OutOfBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, len, region } = self;
        write!(f, "{len} bytes at offset {offset} do not fit in a region of {region} bytes, or are not aligned there")
    }
}

impl std::error::Error for OutOfBounds {}

crate::error_debug! { OutOfBounds }

/// A stretch of shared memory: base, length, and a share in the owner that keeps it mapped.
///
/// Typed views of it are checked against its bounds once, when they are made.
///
/// ```
/// use multiproc_prim::{AtomicU64, Heap, Ordering, Region};
///
/// # multiproc_prim::model::model(|| {
/// let region = Region::new(Heap::new(4096));
/// let counter = region.place::<AtomicU64>(128).unwrap();
/// counter.make_fresh();
/// counter.fetch_add(1, Ordering::Relaxed);
/// assert!(region.place::<AtomicU64>(4090).is_err());
/// # });
/// ```
#[derive(Clone)]
pub struct Region {
    base: NonNull<u8>,
    len: usize,
    /// Offset in the owner's memory.
    start: usize,
    owner: Arc<dyn Memory>,
    cells: Cells,
}

// SAFETY: the memory is reached through atomics and atomic byte copies alone, and its owner is `Send + Sync`.
unsafe impl Send for Region {}
// SAFETY: as for `Send`.
unsafe impl Sync for Region {}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Region({} bytes)", self.len)
    }
}

impl Region {
    /// The whole of `owner`'s memory.
    pub fn new(owner: impl Memory) -> Self {
        Self::of(Arc::new(owner))
    }

    fn of(owner: Arc<dyn Memory>) -> Self {
        Self { base: owner.base(), len: owner.len(), start: 0, owner, cells: Cells::default() }
    }

    /// The bytes of `range`, multiples of 4096, as a region of their own. A range behind the end of this region lies in memory that
    /// [has grown](Memory::extend), or with `grow` grows now.
    ///
    /// # Errors
    ///
    /// The range is empty, starts within a page, or ends behind memory that can't or must not grow; or the system refuses.
    pub fn stretch(&self, range: Range<usize>, grow: bool) -> std::io::Result<Self> {
        let invalid = || std::io::Error::from(std::io::ErrorKind::InvalidInput);
        if range.is_empty() || range.start % 4096 != 0 || self.start % 4096 != 0 {
            return Err(invalid());
        }
        if range.end <= self.len {
            let base = self.check(range.start, range.len(), 4096).map_err(|_| invalid())?;
            return Ok(Self { base, len: range.len(), start: self.start + range.start, ..self.clone() });
        }
        let [start, end] = [range.start, range.end].map(|offset| offset.checked_add(self.start));
        let (Some(start), Some(end)) = (start, end) else { return Err(invalid()) };
        Ok(Self::of(self.owner.extend(start..end, grow)?))
    }

    /// Makes sure that touching `range` can't fail later, or says why it would.
    ///
    /// # Errors
    ///
    /// It is not in the region, or the system has no memory left for it.
    pub fn commit(&self, range: Range<usize>) -> std::io::Result<()> {
        if range.end > self.len {
            return Err(std::io::ErrorKind::InvalidInput.into());
        }
        self.owner.commit(self.start + range.start..self.start + range.end)
    }

    /// Gives back the pages that lie wholly in `range`. Returns whether it did: then they read as zero, and must be committed anew.
    pub fn discard(&self, range: Range<usize>) -> bool {
        range.end <= self.len && self.owner.discard(self.start + range.start..self.start + range.end)
    }

    /// Whether some page of `range` may have been committed.
    pub fn has_pages(&self, range: Range<usize>) -> bool {
        range.end <= self.len && self.owner.has_pages(self.start + range.start..self.start + range.end)
    }

    /// A copy of `range`, whose pages another process may give back at any time; `None` if it is not in the region.
    ///
    /// Bytes that are written meanwhile are copied as they are at some moment: the caller finds out whether they were.
    pub fn copy_out(&self, range: Range<usize>) -> Option<Vec<u8>> {
        let window = self.bytes(range.start, range.len()).ok()?;
        let mut copy = vec![0; range.len()];
        let copied = self.owner.copy_out(self.start + range.start, &mut copy);
        copied.unwrap_or_else(|| window.read(&mut copy)).then_some(copy)
    }

    /// Length in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    #[inline(always)]
    pub(crate) fn watch(&self) -> Watch<'_> {
        self.cells.watch()
    }

    /// The owner of the memory.
    #[inline]
    pub fn owner(&self) -> &dyn Memory {
        &*self.owner
    }

    /// One value at `offset`.
    ///
    /// # Errors
    ///
    /// It does not fit or is not aligned.
    pub fn place<T: Shared>(&self, offset: usize) -> Result<Place<T>, OutOfBounds> {
        Ok(Place(self.array(offset, 1)?))
    }

    /// `count` values from `offset` on.
    ///
    /// # Errors
    ///
    /// They do not fit or are not aligned.
    pub fn array<T: Shared>(&self, offset: usize, count: usize) -> Result<Array<T>, OutOfBounds> {
        self.strided(offset, count, size_of::<T>())
    }

    /// `count` values from `offset` on, each `stride` bytes after the one before.
    ///
    /// # Errors
    ///
    /// They do not fit, overlap, or are not aligned.
    pub fn strided<T: Shared>(&self, offset: usize, count: usize, stride: usize) -> Result<Array<T>, OutOfBounds> {
        let first = self.check(offset, count.saturating_mul(stride), align_of::<T>())?;
        if stride < size_of::<T>() || stride % align_of::<T>() != 0 {
            return Err(OutOfBounds { offset, len: stride, region: self.len });
        }
        Ok(Array { first, count, stride, region: self.clone(), of: PhantomData })
    }

    #[inline]
    pub(crate) fn check(&self, offset: usize, len: usize, align: usize) -> Result<NonNull<u8>, OutOfBounds> {
        let fits = offset.checked_add(len).is_some_and(|end| end <= self.len) && offset % align == 0;
        if !fits || align > 4096 {
            return Err(OutOfBounds { offset, len, region: self.len });
        }
        // SAFETY: offset <= len of the mapping that `owner` promises.
        Ok(unsafe { self.base.add(offset) })
    }
}

/// Values of one type in a region. Their bounds are checked once, when it is made.
pub struct Array<T> {
    first: NonNull<u8>,
    count: usize,
    stride: usize,
    region: Region,
    of: PhantomData<T>,
}

// SAFETY: `T: Shared` wherever one can be made, hence `Send + Sync`; the region keeps the memory.
unsafe impl<T: Sync> Send for Array<T> {}
// SAFETY: as for `Send`.
unsafe impl<T: Sync> Sync for Array<T> {}

impl<T> fmt::Debug for Array<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Array({} × {})", self.count, std::any::type_name::<T>())
    }
}

impl<T> Clone for Array<T> {
    fn clone(&self) -> Self {
        Self { region: self.region.clone(), ..*self }
    }
}

impl<T: Shared> Array<T> {
    /// How many values there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The value at `index`, or `None` beyond the end.
    #[inline]
    pub fn get(&self, index: usize) -> Option<&T> {
        // SAFETY: index < count, all of which `Region::check` put inside the region, aligned; `T: Shared` accepts any bytes
        // and is only ever accessed atomically; the region keeps the memory mapped for as long as `self`.
        (index < self.count).then(|| unsafe { self.first.add(index * self.stride).cast().as_ref() })
    }

    /// All values in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        (0..self.count).filter_map(|i| self.get(i))
    }

    /// Makes new memory, all zeroes, hold fresh values. Only loom's atomics need it, which are not valid as zeroes. Real ones are
    /// left untouched, and so are their pages.
    ///
    /// Call it before any other thread or process has the memory.
    pub fn make_fresh(&self) {
        if !ZEROES_ARE_FRESH {
            for i in 0..self.count {
                // SAFETY: as in `get`; nobody else has the new region yet.
                unsafe { self.first.add(i * self.stride).cast().write(T::fresh()) };
            }
        }
    }
}

/// One value in a region.
#[derive(Debug)]
pub struct Place<T>(Array<T>);

impl<T> Clone for Place<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Shared> Place<T> {
    /// Makes new memory, all zeroes, hold a fresh value. Only loom's atomics need it: see [`Array::make_fresh`].
    pub fn make_fresh(&self) {
        self.0.make_fresh();
    }
}

impl<T: Shared> Deref for Place<T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: a place is an array of one; see `Array::get`.
        unsafe { self.0.first.cast().as_ref() }
    }
}

/// Memory on the heap of one process: for tests, for models, and for rings between threads.
pub struct Heap {
    allocation: NonNull<u8>,
    layout: std::alloc::Layout,
}

// SAFETY: the allocation is owned by the value and reached through regions alone.
unsafe impl Send for Heap {}
// SAFETY: as for `Send`.
unsafe impl Sync for Heap {}

impl fmt::Debug for Heap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Heap({} bytes)", self.len())
    }
}

/// The alignment of a region's first byte.
const PAGE: usize = 4096;

impl Heap {
    /// `len` zeroed bytes, at least one.
    pub fn new(len: usize) -> Self {
        // One page more than asked for leaves room to start on a page. An allocator that is asked for that alignment writes zeroes
        // over all of the memory, which the system has zeroed already.
        let layout = std::alloc::Layout::from_size_align(len.max(1).saturating_add(PAGE), 16)
            .unwrap_or_else(|_| std::alloc::handle_alloc_error(std::alloc::Layout::new::<[u8; PAGE]>()));
        // SAFETY: the layout has a non-zero size.
        let allocation = NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) });
        Self { allocation: allocation.unwrap_or_else(|| std::alloc::handle_alloc_error(layout)), layout }
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout; no region is left, since regions share in the owner.
        unsafe { std::alloc::dealloc(self.allocation.as_ptr(), self.layout) }
    }
}

// SAFETY: the allocation is page-aligned, lives as long as the value, and no reference to it is handed out.
unsafe impl Memory for Heap {
    fn base(&self) -> NonNull<u8> {
        let allocation = self.allocation.as_ptr();
        // SAFETY: `new` allocated a page more than `len()`, and the next page boundary is within one page.
        unsafe { self.allocation.add(allocation.addr().next_multiple_of(PAGE) - allocation.addr()) }
    }

    fn len(&self) -> usize {
        self.layout.size() - PAGE
    }

    fn commit(&self, _range: Range<usize>) -> std::io::Result<()> {
        Ok(())
    }

    fn discard(&self, _range: Range<usize>) -> bool {
        false
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
