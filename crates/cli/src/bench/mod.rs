//! `multiproc bench`: this machine's figures, in some ten seconds.

mod figures;
mod machine;

use crate::exit::Exit;
use anyhow::Context;
use clap::Args;
use figures::FIGURES;
use machine::Machine;
use serde_json::json;
use std::io::{ErrorKind, Write};
use std::time::Duration;

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Bench {
    /// Seconds that the whole takes, about: 1 to 600.
    #[arg(long, value_name = "S", default_value = "10", value_parser = seconds)]
    seconds: f64,
    /// One JSON object a line: the machine first, then each figure in nanoseconds.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  multiproc bench
  multiproc bench --seconds 60 --json > figures.jsonl
  taskset -c 0,2 multiproc bench     # on two processors of your choice

What is measured: this process and a child that it starts. One puts, the other gets; a message is made, put, got and dropped. Each
figure is the median of its rounds, after one that does not count. Other programs at work on the machine make every figure worse.";

fn seconds(word: &str) -> Result<f64, String> {
    match word.parse() {
        Ok(seconds) if (1.0..=600.0).contains(&seconds) => Ok(seconds),
        _ => Err("use seconds between 1 and 600".into()),
    }
}

/// What a figure came to: nanoseconds for one message or step.
#[derive(Clone, Copy, Debug)]
struct Outcome {
    median: f64,
    least: f64,
    most: f64,
    rounds: usize,
}

impl Bench {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        match self.measure() {
            Err(error) if is_closed(&error) => Ok(Exit::Closed),
            other => other.map(|()| Exit::Done),
        }
    }

    fn measure(&self) -> anyhow::Result<()> {
        let machine = Machine::look();
        self.say(if self.json { machine.json().to_string() } else { machine.words() + CAPTION })?;
        let each = Duration::from_secs_f64(self.seconds / FIGURES.len() as f64);
        for figure in FIGURES {
            let result = Outcome::of((figure.measure)(each)?);
            self.say(if self.json {
                json!({"figure": figure.name, "nanoseconds": result.median, "least": result.least, "most": result.most, "rounds": result.rounds}).to_string()
            } else {
                line(figure.name, result, figure.bytes)
            })?;
        }
        Ok(())
    }

    /// Prints a line at once: the next one takes a second.
    fn say(&self, line: String) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{line}").and_then(|()| out.flush()).context("can't write to standard output")
    }
}

fn is_closed(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

impl Outcome {
    fn of(mut rounds: Vec<f64>) -> Self {
        rounds.sort_by(f64::total_cmp);
        let at = |place: usize| rounds.get(place).copied().unwrap_or(f64::NAN);
        let last = rounds.len().saturating_sub(1);
        Self { median: at(rounds.len() / 2), least: at(0), most: at(last), rounds: rounds.len() }
    }
}

const CAPTION: &str = "
Time for one message or step, median (least to most). Bars are logarithmic: each cell is 1.8 times the time, shorter is faster.
";
/// What the bars begin with, in nanoseconds, and the factor of each of their cells.
const BEGIN: f64 = 10.0;
const FACTOR: f64 = 1.8;
const BAR: usize = 27;

fn line(name: &str, result: Outcome, bytes: Option<u64>) -> String {
    let second = match bytes {
        Some(bytes) => format!("{}B/s", scaled(bytes as f64 * 1e9 / result.median)),
        None => format!("{}/s", scaled(1e9 / result.median)),
    };
    let spread = format!("({} to {})", time(result.least), time(result.most));
    format!("{name:<28} {:>7}  {:<BAR$} {second:>8}  {spread}", time(result.median), bar(result.median))
}

fn bar(nanoseconds: f64) -> String {
    let eighths = ((nanoseconds / BEGIN).ln() / FACTOR.ln() * 8.0).round().clamp(1.0, BAR as f64 * 8.0) as usize;
    let rest = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
    "█".repeat(eighths / 8) + rest
}

/// A time in three digits: `61 ns`, `1.2 µs`, `340 µs`.
fn time(nanoseconds: f64) -> String {
    let mut number = nanoseconds;
    for unit in ["ns", "µs", "ms"] {
        if number < 999.5 {
            return format!("{} {unit}", digits(number));
        }
        number /= 1000.0;
    }
    format!("{} s", digits(number))
}

/// A large number in three digits: `16.4 M`.
fn scaled(number: f64) -> String {
    let mut number = number;
    for unit in ["", "k", "M", "G"] {
        if number < 999.5 {
            return format!("{} {unit}", digits(number));
        }
        number /= 1000.0;
    }
    format!("{} T", digits(number))
}

fn digits(number: f64) -> String {
    let decimals = usize::from(number < 99.95) + usize::from(number < 9.995);
    // A tenth of a nanosecond means nothing, a tenth of a microsecond does.
    format!("{number:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_and_bars_their_length() {
        assert_eq!([time(61.3), time(1234.0), time(999_700.0), time(2e9)], ["61.3 ns", "1.23 µs", "1.00 ms", "2.00 s"]);
        assert_eq!([bar(1.0), bar(10.0 * FACTOR), bar(10.0 * FACTOR * FACTOR)], ["▏", "█", "██"]);
        assert_eq!(bar(1e30).chars().count(), BAR);
    }

    #[test]
    fn a_median_is_the_one_in_the_middle() {
        let result = Outcome::of(vec![3.0, 100.0, 1.0]);
        assert_eq!((result.median, result.least, result.most, result.rounds), (3.0, 1.0, 100.0, 3));
        assert!(Outcome::of(Vec::new()).median.is_nan());
    }
}
