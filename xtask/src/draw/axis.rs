//! One axis: where a number is on it, and which few numbers it names.

use anyhow::bail;

/// What the numbers of an axis are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Bytes,
    Count,
    /// Multiples of something that the label names.
    Times,
}

pub(super) struct Axis {
    unit: Unit,
    logarithmic: bool,
    from: f64,
    to: f64,
    ticks: Vec<f64>,
}

/// Costs that differ by less than this factor are drawn from zero, so that a small step looks small.
const FLAT: f64 = 5.0;
/// Numbers of an axis that are far apart are named in these steps.
const MOST_TICKS: usize = 8;

impl Unit {
    pub(super) fn read(word: &str) -> anyhow::Result<Self> {
        Ok(match word {
            "seconds" => Self::Seconds,
            "bytes" => Self::Bytes,
            "count" => Self::Count,
            "times" => Self::Times,
            _ => bail!("{word:?} is no unit: seconds, bytes, count, times"),
        })
    }

    /// A number with its unit, as a reader says it.
    pub(super) fn show(self, value: f64) -> String {
        let scaled = |steps: &[(f64, &str)]| {
            let (size, name) = steps.iter().rev().find(|(size, _)| value >= size * 0.999).unwrap_or(&steps[0]);
            format!("{}\u{a0}{name}", (value / size * 1000.0).round() / 1000.0)
        };
        match self {
            _ if value == 0.0 => "0".to_owned(),
            Self::Seconds => scaled(&[(1e-9, "ns"), (1e-6, "µs"), (1e-3, "ms"), (1.0, "s")]),
            Self::Bytes => scaled(&[(1.0, "B"), (1024.0, "KiB"), (1_048_576.0, "MiB"), (1_073_741_824.0, "GiB")]),
            Self::Count if value >= 1e6 => format!("{}\u{a0}million", value / 1e6),
            Self::Count if value >= 1000.0 => format!("{},{:03}", (value / 1000.0).floor(), value % 1000.0),
            Self::Count => format!("{value}"),
            Self::Times => format!("{}\u{a0}×", (value * 1000.0).round() / 1000.0),
        }
    }

    /// The factor from one named number to the next on a wide logarithmic axis.
    fn step(self) -> f64 {
        if self == Self::Bytes { 16.0 } else { 10.0 }
    }
}

impl Axis {
    /// From the smallest to the largest of these numbers, by their logarithms. Few numbers are named themselves.
    pub(super) fn logarithmic(unit: Unit, values: &[f64]) -> Self {
        let (from, to) = bounds(values);
        let mut ticks = values.to_vec();
        ticks.sort_by(f64::total_cmp);
        ticks.dedup();
        if ticks.len() > MOST_TICKS || unit == Unit::Bytes {
            ticks = powers(unit.step(), from, to);
        }
        Self { unit, logarithmic: true, from, to, ticks }
    }

    /// From zero for costs that hardly differ, else by their logarithms, with some room above and below.
    pub(super) fn of_costs(unit: Unit, values: &[f64]) -> Self {
        let (least, most) = bounds(values);
        if most / least >= FLAT {
            let step = unit.step();
            let (from, to) = (least / 1.5, most * 1.5);
            let mut ticks = powers(step, from, to);
            // Powers of ten of seconds: each thousandth has a name of its own.
            if ticks.len() > MOST_TICKS {
                ticks = ticks.into_iter().step_by(2).collect();
            }
            return Self { unit, logarithmic: true, from, to, ticks };
        }
        let round = 10f64.powf((most / 4.0).log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|part| part * round).into_iter().find(|step| most * 1.1 / step <= 5.0);
        let step = step.unwrap_or(round * 10.0);
        let ticks = (0..=5).map(|number| f64::from(number) * step).filter(|tick| *tick <= most * 1.15).collect();
        Self { unit, logarithmic: false, from: 0.0, to: most * 1.15, ticks }
    }

    /// Where a number is: 0 at the beginning of the axis, 1 at its end.
    pub(super) fn place(&self, value: f64) -> f64 {
        if self.logarithmic {
            (value / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        }
    }

    /// Named numbers: where they are, and how they are written.
    pub(super) fn ticks(&self) -> impl Iterator<Item = (f64, String)> + '_ {
        self.ticks.iter().map(|&tick| (self.place(tick), self.unit.show(tick)))
    }
}

fn bounds(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::MAX, f64::MIN), |(least, most), value| (least.min(*value), most.max(*value)))
}

/// The powers of a number between two others.
fn powers(of: f64, from: f64, to: f64) -> Vec<f64> {
    let exponent = |value: f64| value.ln() / of.ln();
    let (first, last) = ((exponent(from) - 1e-9).ceil() as i32, (exponent(to) + 1e-9).floor() as i32);
    (first..=last).map(|power| of.powi(power)).collect()
}
