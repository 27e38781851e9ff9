//! Two words that can be exchanged together, as loom sees them.

use super::atomic::{AtomicU64, Ordering};
use crate::Shared;
use std::sync::{Mutex, PoisonError};

/// All pairs of words that an [`AtomicPair`] ever held. The index of a pair is the number that stands for it.
static PAIRS: Mutex<Vec<(u64, u64)>> = Mutex::new(Vec::new());

fn pair(number: u64) -> (u64, u64) {
    // Number 0 stands for two zeroes, even before it is in the list.
    let pairs = PAIRS.lock().unwrap_or_else(PoisonError::into_inner);
    pairs.get(number as usize).copied().unwrap_or_default()
}

fn number(pair: (u64, u64)) -> u64 {
    let mut pairs = PAIRS.lock().unwrap_or_else(PoisonError::into_inner);
    if pairs.is_empty() {
        pairs.push((0, 0));
    }
    let known = pairs.iter().position(|known| *known == pair);
    known.unwrap_or_else(|| {
        pairs.push(pair);
        pairs.len() - 1
    }) as u64
}

/// The pair of words as loom can see it: one atomic that holds a number for the two.
#[repr(align(16))]
#[derive(Debug)]
#[allow(missing_docs, reason = "the operations are those of the real one")]
pub struct AtomicPair(AtomicU64);

// SAFETY: `make_fresh` writes fresh values into new memory, and only the model's own threads write it afterwards.
unsafe impl Shared for AtomicPair {
    fn fresh() -> Self {
        Self(AtomicU64::new(0))
    }
}

#[allow(missing_docs, reason = "the operations are those of the real one")]
impl AtomicPair {
    pub fn is_whole() -> bool {
        true
    }

    pub fn first(&self, order: Ordering) -> u64 {
        pair(self.0.load(order)).0
    }

    pub fn second(&self, order: Ordering) -> u64 {
        pair(self.0.load(order)).1
    }

    pub fn store_first(&self, new: u64, order: Ordering) {
        let second = self.second(Ordering::Relaxed);
        self.0.store(number((new, second)), order);
    }

    pub fn exchange_first(&self, old: u64, new: u64, won: Ordering, lost: Ordering) -> bool {
        let Some(value) = self.0.step() else { return true };
        loop {
            let seen = value.load(Ordering::Relaxed);
            let (first, second) = pair(seen);
            if first != old {
                // The load that a failed exchange is.
                value.load(lost);
                return false;
            }
            if value.compare_exchange(seen, number((new, second)), won, lost).is_ok() {
                return true;
            }
        }
    }

    pub fn exchange(&self, old: (u64, u64), new: (u64, u64), won: Ordering, lost: Ordering) -> bool {
        self.0.compare_exchange(number(old), number(new), won, lost).is_ok()
    }
}
