//! The bytes of orders (parent to worker) and reports (worker to parent): some words, then encoded values.
//!
//! Workers share the queues with whatever else may write to them. So each length is checked where it is read.

use crate::function::Name;
use serde::{Deserialize, Serialize};

/// Bytes that a message may have, its words included.
pub(crate) const MAX_MESSAGE: usize = 256 << 20;

fn put_words<const N: usize>(bytes: &mut [u8], words: [u64; N]) {
    for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_ne_bytes());
    }
}

fn words<const N: usize>(bytes: &[u8]) -> Option<([u64; N], &[u8])> {
    let (head, rest) = bytes.split_at_checked(8 * N)?;
    let mut words = [0; N];
    for (word, place) in words.iter_mut().zip(head.chunks_exact(8)) {
        *word = u64::from_ne_bytes(place.try_into().ok()?);
    }
    Some((words, rest))
}

/// Two numbers in a word.
fn pair(low: u32, high: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

fn halves(word: u64) -> (u32, u32) {
    (word as u32, (word >> 32) as u32)
}

/// A run of one function over some elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    /// Never used twice at a time, and never 0.
    pub(crate) number: u64,
    pub(crate) function: Name,
    /// Where the board says whether it has begun.
    pub(crate) slot: u32,
    /// The elements to run, of those that are encoded.
    pub(crate) from: u32,
    pub(crate) to: u32,
}

impl Order {
    pub(crate) const LEN: usize = 40;

    /// Writes the order before the encoded arguments, where the first [`LEN`](Self::LEN) bytes are kept for it.
    pub(crate) fn write(&self, bytes: &mut [u8]) {
        put_words(bytes, [self.number, self.function.offset, self.function.tag, pair(self.from, self.to), self.slot.into()]);
    }

    /// The order, and the encoded arguments.
    pub(crate) fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let ([number, offset, tag, range, slot], arguments) = words(bytes)?;
        let (from, to) = halves(range);
        let function = Name { offset, tag };
        (number != 0 && from < to).then_some((Self { number, function, slot: slot as u32, from, to }, arguments))
    }
}

/// Why a task has no result although its worker lives.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Fault {
    Panicked(String),
    /// The worker could not read the arguments.
    Arguments(String),
    /// The worker could not write the result.
    Result(String),
}

/// What a worker says about an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Results of some elements follow: their faults, then their values.
    Results = 1,
    /// The order was cancelled before it began.
    Skipped = 2,
    /// The order came from a worker that died. The order as it was follows.
    Returned = 3,
    /// The worker can't work, and ends. The reason follows.
    Failed = 4,
    /// Nothing: the parent wakes its own thread.
    Nudge = 5,
}

/// The head of a report.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report {
    pub(crate) what: What,
    /// The number of the order.
    pub(crate) number: u64,
    /// The first element that it is about.
    pub(crate) first: u32,
    /// Elements that it is about.
    pub(crate) count: u32,
    /// Bytes of the faults.
    pub(crate) faults: u32,
}

impl Report {
    pub(crate) const LEN: usize = 32;

    pub(crate) fn of(what: What, number: u64) -> Self {
        Self { what, number, first: 0, count: 0, faults: 0 }
    }

    pub(crate) fn write(&self, bytes: &mut [u8]) {
        put_words(bytes, [self.what as u64, self.number, pair(self.first, self.count), self.faults.into()]);
    }

    /// The report with what follows.
    pub(crate) fn with(self, rest: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; Self::LEN];
        self.write(&mut bytes);
        bytes.extend_from_slice(rest);
        bytes
    }

    /// The report, and what follows.
    pub(crate) fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let ([what, number, range, faults], rest) = words(bytes)?;
        let what = [What::Results, What::Skipped, What::Returned, What::Failed, What::Nudge]
            .into_iter()
            .find(|&known| known as u64 == what)?;
        let (first, count) = halves(range);
        let faults = u32::try_from(faults).ok()?;
        (faults as usize <= rest.len()).then_some((Self { what, number, first, count, faults }, rest))
    }
}

/// Results of some elements, as they came from a worker. The thread that asks for them decodes them.
#[derive(Debug)]
pub(crate) struct Results {
    /// The whole report.
    bytes: Vec<u8>,
    values_at: usize,
    /// Elements, those with a fault included.
    pub(crate) count: usize,
    /// The faults, and the elements that have them, counted from the first of this report.
    pub(crate) faults: Vec<(u32, Fault)>,
}

impl Results {
    /// `None`: a hostile peer wrote the report.
    pub(crate) fn of(report: &Report, bytes: Vec<u8>) -> Option<Self> {
        let values_at = Report::LEN + report.faults as usize;
        let faults = match report.faults {
            0 => Vec::new(),
            _ => multiproc_travel::pass::decode_plain::<Vec<(u32, Fault)>>(bytes.get(Report::LEN..values_at)?).ok()?,
        };
        let is_in_order = faults.is_sorted_by(|(one, _), (next, _)| one < next);
        let is_inside = faults.last().is_none_or(|&(last, _)| last < report.count);
        let results = Self { bytes, values_at, count: report.count as usize, faults };
        (is_in_order && is_inside).then_some(results)
    }

    /// The encoded values of the elements that have no fault.
    pub(crate) fn values(&self) -> &[u8] {
        self.bytes.get(self.values_at..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_and_reports_are_read_as_they_were_written_and_short_ones_are_refused() {
        let order = Order { number: 7, function: Name { offset: 1 << 60, tag: 3 }, slot: 9, from: 4, to: 5 };
        let mut bytes = vec![0; Order::LEN];
        order.write(&mut bytes);
        bytes.push(8);
        assert_eq!(Order::read(&bytes), Some((order, &[8][..])));
        assert_eq!(Order::read(&bytes[..Order::LEN - 1]), None);
        let bytes = Report { first: 5, count: 6, ..Report::of(What::Returned, 7) }.with(&[8]);
        let (report, rest) = Report::read(&bytes).unwrap();
        assert_eq!((report.what, report.number, report.first, report.count, rest), (What::Returned, 7, 5, 6, &[8][..]));
        assert!(Report::read(&bytes[..Report::LEN - 1]).is_none());
    }

    #[test]
    fn a_report_with_faults_beyond_its_end_or_out_of_order_is_refused() {
        let report = |faults: &[(u32, Fault)], count| {
            let mut encoded = Vec::new();
            multiproc_travel::pass::encode_plain(&faults.to_vec(), &mut encoded).unwrap();
            let report = Report { count, faults: encoded.len() as u32, ..Report::of(What::Results, 1) };
            Results::of(&report, report.with(&encoded))
        };
        let fault = || Fault::Panicked("p".into());
        assert!(report(&[(0, fault()), (3, fault())], 4).is_some());
        assert!(report(&[(0, fault()), (4, fault())], 4).is_none());
        assert!(report(&[(1, fault()), (1, fault())], 4).is_none());
        assert!(Report::read(&Report { faults: 1, ..Report::of(What::Results, 1) }.with(&[])).is_none());
    }
}
