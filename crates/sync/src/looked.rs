//! Looks for memory that were in vain, remembered until something comes free.

use crate::event::BusyEvent;
use multiproc_prim::Known;

/// What a look for memory in vain tells the next ones, until something comes free. The high half is the announcement of that look. The low
/// half is one more than the bytes that it found no memory for. 0: nothing.
///
/// A look for a block goes through all of them, and a trim as well. So they are made once for what comes free, not once for each put.
#[derive(Debug, Default)]
pub(crate) struct Looked(Known);

impl Looked {
    pub(crate) fn in_vain(&self, announcement: u32, len: usize) {
        if let Ok(more) = u32::try_from(len + 1) {
            self.0.set(u64::from(announcement) << 32 | u64::from(more));
        }
    }

    /// Whether another look for `len` bytes would be in vain, too.
    #[inline(always)]
    pub(crate) fn is_in_vain(&self, len: usize, memory: &BusyEvent) -> bool {
        let word = self.0.get();
        word != 0 && len + 1 >= word as u32 as usize && memory.is_quiet_since((word >> 32) as u32)
    }

    /// Forgets it: a process may be stopped, or have died, after it freed a block and before it told.
    pub(crate) fn forget(&self) {
        self.0.set(0);
    }
}
