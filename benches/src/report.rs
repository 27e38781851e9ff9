//! What becomes of the rows: a table, a file, and what has changed since they were last saved.

use crate::measure::{Row, Unit};
use anyhow::{Context, Result};
use std::path::Path;

pub fn head() {
    println!("{:<66} {:>11} {:>11} {:>7} {:>7} {:>7}  met", "scenario, and peer", "ours", "peer", "ratio", "spread", "target");
}

pub fn line(row: &Row) {
    let sign = if row.limit { "≤" } else { "≥" };
    println!(
        "{:<66} {:>11} {:>11} {:>7.2} {:>7} {:>7}  {}",
        name(row),
        show(row.unit, row.ours),
        show(row.unit, row.peer),
        row.ratio,
        format!("±{:.2}", row.spread),
        format!("{sign}{:.2}", row.target),
        if row.met { "yes" } else { "no" }
    );
}

fn name(row: &Row) -> String {
    format!("{}, {}", row.scenario, row.peer_name)
}

fn show(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Seconds if value < 1e-6 => format!("{:.1} ns", value * 1e9),
        Unit::Seconds if value < 1e-3 => format!("{:.2} µs", value * 1e6),
        Unit::Seconds => format!("{:.2} ms", value * 1e3),
        Unit::Bytes if value < 10_240.0 => format!("{value:.0} bytes"),
        Unit::Bytes => format!("{:.0} KiB", value / 1024.0),
        Unit::Count => format!("{value:.0}"),
        Unit::Share => format!("{:.3} %", value * 100.0),
    }
}

pub fn write(path: &Path, rows: &[Row]) -> Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    std::fs::write(path, serde_json::to_string_pretty(rows)?).with_context(|| format!("can't write {}", path.display()))
}

/// Our cost then and now, for every row that was there then.
pub fn compare(path: &Path, rows: &[Row]) -> Result<()> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("no saved run at {}: make one with --save", path.display()))?;
    let before: Vec<Row> = serde_json::from_str(&text)?;
    println!(
        "\n{:<66} {:>11} {:>11} {:>8} {:>12} {:>11}",
        "against the saved run", "ours then", "now", "change", "ratio then", "now"
    );
    for row in rows {
        if let Some(then) = before.iter().find(|then| name(then) == name(row)) {
            println!(
                "{:<66} {:>11} {:>11} {:>+7.0}% {:>12.2} {:>11.2}",
                name(row),
                show(row.unit, then.ours),
                show(row.unit, row.ours),
                (row.ours / then.ours - 1.0) * 100.0,
                then.ratio,
                row.ratio
            );
        }
    }
    Ok(())
}
