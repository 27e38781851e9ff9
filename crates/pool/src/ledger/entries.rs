//! The orders that are under way: how they come into the ledger, get their results and leave.

use super::{Entry, Job, State};
use crate::board::{Board, NO_SLOT, NUMBERS};
use crate::message::{Report, Results};
use std::hash::Hasher;
use std::sync::Arc;

impl State {
    pub(super) fn slot(&mut self, board: &Board) -> u32 {
        if let Some(slot) = self.free.pop() {
            return slot;
        }
        let next = Board::next_slots(self.made);
        if !board.commit_slots(next) {
            return NO_SLOT;
        }
        self.free.extend((self.made as u32..next as u32).rev());
        self.made = next;
        self.free.pop().unwrap_or(NO_SLOT)
    }

    pub(super) fn enter(&mut self, board: &Board, entry: Entry) -> u64 {
        let number = loop {
            self.last = (self.last + 1) % NUMBERS;
            // A task may run while all numbers are used once.
            if self.last != 0 && !self.entries.contains_key(&self.last) {
                break self.last;
            }
        };
        board.enter(entry.slot, number);
        self.entries.insert(number, entry);
        number
    }

    pub(super) fn leave(&mut self, number: u64) -> Option<Entry> {
        let entry = self.entries.remove(&number)?;
        if !self.deaths.is_empty() {
            self.deaths.remove(&number);
        }
        if entry.slot != NO_SLOT {
            self.free.push(entry.slot);
        }
        Some(entry)
    }

    /// Results for an order that is still open and has not got them yet.
    pub(super) fn results(&mut self, report: &Report, bytes: Vec<u8>) -> Option<(Arc<dyn Job>, usize, Results)> {
        self.worked = true;
        let entry = self.entries.get_mut(&report.number)?;
        let end = report.first.checked_add(report.count)?;
        // Elements come in order, each once. Only a hostile peer says something else.
        if report.count == 0 || report.first != entry.open.start || end > entry.open.end {
            return None;
        }
        let results = Results::of(report, bytes)?;
        entry.open.start = end;
        let base = entry.base + report.first as usize;
        if !entry.open.is_empty() {
            return Some((Arc::clone(&entry.job), base, results));
        }
        self.leave(report.number).map(|entry| (entry.job, base, results))
    }
}

/// Spreads numbers that follow each other. They are ours, so nobody chooses them to collide.
#[derive(Default)]
pub(super) struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, number: u64) {
        self.0 = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
