//! How long a call waits, and what it does between two sleeps.

use crate::event::SLICE;
use multiproc_prim::Deadline;
use std::time::Duration;

/// How long a call waits, and what it does between two sleeps.
///
/// A [`Deadline`] is enough for most. A pair of a deadline and a closure looks around, too: the closure is called after each sleep that was
/// in vain, and returns how long the next one may take, or whether to go on.
///
/// ```
/// # multiproc_prim::model::for_real(|| {
/// use multiproc_sync::{Deadline, EventCount, Pace, SLICE};
/// use multiproc_sync::{Heap, Region};
/// use std::time::Duration;
///
/// let event = Region::new(Heap::new(4096)).place::<EventCount>(0)?;
/// let soon = Deadline::after(Duration::from_millis(1));
/// assert_eq!(event.wait_until(soon, &Pace::default(), || None::<()>), None);
/// let is_parent_there = || true;
/// assert_eq!(event.wait_until((soon, is_parent_there), &Pace::default(), || Some(7)), Some(7));
/// # Ok::<(), multiproc_sync::OutOfBounds>(())
/// # });
/// ```
pub trait Wait {
    /// When to give up.
    fn deadline(&self) -> Deadline;

    /// Looks around after a sleep that was in vain: for deaths that nobody else notices, say.
    fn look_around(&mut self) -> Look {
        Look::Sleep(SLICE)
    }

    /// After a shutdown of a channel that is empty: whether nothing can come back any more that is in a consumer's hands. Until it is
    /// true, the channel is not at its end. What makes it true [wakes everyone](crate::Channel::wake_everyone).
    fn is_over(&mut self) -> bool {
        true
    }
}

/// What came of a look around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Go on; the next sleep takes so long at most.
    Sleep(Duration),
    /// Wait no longer: a stream's other end is gone. Elsewhere the call ends as if its deadline had passed.
    Leave,
}

impl From<Duration> for Look {
    fn from(most: Duration) -> Self {
        Self::Sleep(most)
    }
}

impl From<bool> for Look {
    /// Whether to go on, with a sleep of at most a [`SLICE`].
    fn from(goes_on: bool) -> Self {
        if goes_on { Self::Sleep(SLICE) } else { Self::Leave }
    }
}

impl Wait for Deadline {
    #[inline]
    fn deadline(&self) -> Deadline {
        *self
    }
}

impl<F: FnMut() -> L, L: Into<Look>> Wait for (Deadline, F) {
    #[inline]
    fn deadline(&self) -> Deadline {
        self.0
    }

    #[inline]
    fn look_around(&mut self) -> Look {
        (self.1)().into()
    }
}

impl<W: Wait> Wait for &mut W {
    #[inline]
    fn deadline(&self) -> Deadline {
        (**self).deadline()
    }

    #[inline]
    fn look_around(&mut self) -> Look {
        (**self).look_around()
    }

    #[inline]
    fn is_over(&mut self) -> bool {
        (**self).is_over()
    }
}
