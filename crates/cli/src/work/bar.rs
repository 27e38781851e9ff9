//! `--bar`: how far the work is.

use crate::exit::has_line;
use crate::work::settle::Tallies;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A line on standard error, if that is a terminal.
#[derive(Debug)]
pub(crate) struct Bar {
    bar: ProgressBar,
    /// How many jobs there are in all, where that is known from the beginning.
    total: Option<u64>,
}

const KNOWN: &str = "{wide_bar} {pos}/{len}, {eta} left{msg}";
const UNKNOWN: &str = "{pos} done, {per_sec}{msg}";

impl Bar {
    /// `is_counted`: how much is left can be told at any time.
    pub(crate) fn new(total: Option<u64>, is_counted: bool) -> Self {
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
        let template = if total.is_some() || is_counted { KNOWN } else { UNKNOWN };
        let bar = match ProgressStyle::with_template(template) {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        };
        has_line(&bar);
        Self { bar, total }
    }

    /// `left`: what is not done yet, where nobody knows what is still to come.
    pub(crate) fn show(&self, tallies: &Tallies, left: impl FnOnce() -> u64) {
        let (ended, failed) = tallies.ended();
        self.bar.set_length(self.total.unwrap_or_else(|| ended + left()));
        if failed > 0 {
            self.bar.set_message(format!(", {failed} failed"));
        }
        self.bar.set_position(ended);
    }

    /// Does something that prints, without the line in its way.
    pub(crate) fn aside<R>(&self, print: impl FnOnce() -> R) -> R {
        self.bar.suspend(print)
    }

    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
