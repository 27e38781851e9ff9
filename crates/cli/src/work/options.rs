//! The options that `work` and `run` share.

use crate::queue::number::time;
use crate::work::halt::Halt;
use crate::work::load::Gate;
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use std::path::PathBuf;
use std::thread::available_parallelism;
use std::time::Duration;

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Jobs at once: a number, N% of the processors, +N more than processors. 0: as many as there are, up to 1000 [default: one for each processor]
    #[arg(short, long, visible_short_alias = 'P', alias = "max-procs", value_name = "N", value_parser = slots, default_value = "100%",
          hide_default_value = true)]
    pub(crate) jobs: usize,
    /// End a job after this time: its whole process group. It counts as failed.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) timeout: Option<Duration>,
    /// After SIGTERM, give a job this time before SIGKILL.
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "1")]
    pub(crate) kill_after: Duration,
    /// Run a failed job again after this time, then after twice the time, and so on, at most 5 minutes.
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "1")]
    pub(crate) retry_delay: Duration,
    /// Wait this time between two starts of jobs.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) delay: Option<Duration>,
    /// Stop early: now,fail=1 ends running jobs, too; soon,fail=10% lets them finish. Also success= and done=.
    #[arg(long, value_name = "WHEN")]
    pub(crate) halt: Option<Halt>,
    /// Start no job while more than N threads run on the machine; N% of the processors.
    #[arg(long, value_name = "N", value_parser = processors)]
    pub(crate) load: Option<u64>,
    /// Start no job while less memory is free, for instance 1G.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) memfree: Option<u64>,
    /// Write a line for each job that ended to this file, in GNU parallel's columns.
    #[arg(long, value_name = "FILE")]
    pub(crate) joblog: Option<PathBuf>,
    /// Print the output of jobs line by line as it comes, not job by job.
    #[arg(long, visible_alias = "lb", conflicts_with_all = ["ungroup", "keep_order"])]
    pub(crate) line_buffer: bool,
    /// Let jobs write to standard output and standard error themselves. Their lines can mix.
    #[arg(short, long, conflicts_with_all = ["keep_order", "tag"])]
    pub(crate) ungroup: bool,
    /// Begin each line of output with the message and a tab.
    #[arg(long)]
    pub(crate) tag: bool,
    /// Print the output of jobs in the order in which they were started.
    #[arg(short, long)]
    pub(crate) keep_order: bool,
    /// Write this for the message in place of {}, which then means nothing.
    #[arg(short = 'I', value_name = "REPL", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) replacement: Option<String>,
    /// Show on standard error how far the work is, if that is a terminal.
    #[arg(long, visible_aliases = ["eta", "progress"])]
    pub(crate) bar: bool,
    /// Print the commands, and run none.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

impl Options {
    pub(crate) fn gate(&self) -> Gate {
        Gate { load: self.load, memory: self.memfree }
    }
}

/// Most jobs at once: what `-j 0` asks for.
const MOST_SLOTS: usize = 1000;

fn slots(text: &str) -> Result<usize, String> {
    let here = available_parallelism().map_or(1, usize::from);
    let number = |digits: &str| digits.parse::<usize>().map_err(|_| format!("{text:?} is no number of jobs: 4, 50%, +2 or 0"));
    Ok(match (text.strip_suffix('%'), text.strip_prefix('+')) {
        (Some(percent), _) => here.saturating_mul(number(percent)?) / 100,
        (None, Some(more)) => here.saturating_add(number(more)?),
        (None, None) => match number(text)? {
            0 => MOST_SLOTS,
            jobs => jobs,
        },
    }
    .clamp(1, MOST_SLOTS))
}

fn processors(text: &str) -> Result<u64, String> {
    let here = available_parallelism().map_or(1, usize::from) as f64;
    let (digits, unit) = text.strip_suffix('%').map_or((text, 1.0), |percent| (percent, here / 100.0));
    let number: f64 = digits.parse().map_err(|_| format!("{text:?} is no load: 4, 1.5 or 80%"))?;
    if number > 0.0 { Ok((number * unit).ceil() as u64) } else { Err("a load of 0 starts no job".into()) }
}

/// Bytes, with GNU parallel's units: K, M, G and T are powers of 1024, k, m, g and t of 1000.
fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size: 500M, 1G or 1.5G");
    let (digits, unit) = match text.char_indices().last() {
        Some((at, unit)) if unit.is_ascii_alphabetic() => {
            let base: f64 = if unit.is_ascii_uppercase() { 1024.0 } else { 1000.0 };
            let power = "kmgt".find(unit.to_ascii_lowercase()).ok_or_else(wrong)?;
            (&text[..at], base.powi(power as i32 + 1))
        }
        _ => (text, 1.0),
    };
    let number: f64 = digits.parse().map_err(|_| wrong())?;
    if number >= 0.0 { Ok((number * unit) as u64) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_numbers_of_jobs_have_units() {
        assert_eq!((size("1.5K"), size("2m"), size("7")), (Ok(1536), Ok(2_000_000), Ok(7)));
        assert!(["", "G", "1Q", "x", "-5", "nan"].into_iter().all(|text| size(text).is_err()));
        assert_eq!((slots("3"), slots("0"), slots("1%")), (Ok(3), Ok(MOST_SLOTS), Ok(1)));
        assert!(["", "-1", "x%"].into_iter().all(|text| slots(text).is_err()));
    }
}
