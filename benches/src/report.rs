//! What becomes of the rows: a table, a file, a picture, and what has changed since they were last saved.

use crate::measure::{Row, Unit};
use anyhow::{Context, Result};
use plotters::prelude::*;
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
        Unit::Bytes => format!("{:.0} KiB", value / 1024.0),
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

const ROW_HEIGHT: u32 = 26;
const NAMES: f64 = 560.0;

/// How far each row is beyond its target (to the right) or short of it (to the left), on a logarithmic scale.
pub fn draw(path: &Path, rows: &[Row]) -> Result<()> {
    let height = ROW_HEIGHT * rows.len() as u32 + 90;
    let area = SVGBackend::new(path, (1200, height)).into_drawing_area();
    area.fill(&WHITE)?;
    let (names, bars) = area.split_horizontally(NAMES);
    let reached = |row: &Row| if row.limit { row.target / row.ratio } else { row.ratio / row.target };
    let scale = (0.1f64..10.0).log_scale();
    let mut chart =
        ChartBuilder::on(&bars).margin(10).x_label_area_size(40).build_cartesian_2d(scale, 0f64..rows.len() as f64)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .x_desc("target reached: 1 is the target, to the right is better")
        .draw()?;
    for (index, row) in rows.iter().enumerate() {
        let bottom = (rows.len() - 1 - index) as f64;
        let colour = if row.met { GREEN } else { RED };
        let bar = [(1.0, bottom + 0.2), (reached(row).clamp(0.1, 10.0), bottom + 0.8)];
        chart.draw_series([Rectangle::new(bar, colour.mix(0.6).filled())])?;
        let y = 10 + (index as f64 * f64::from(height - 60) / rows.len() as f64) as i32;
        names.draw(&Text::new(format!("{}: {:.2}", name(row), row.ratio), (8, y), ("sans-serif", 13)))?;
    }
    chart.draw_series([PathElement::new(vec![(1.0, 0.0), (1.0, rows.len() as f64)], BLACK.stroke_width(2))])?;
    area.present()?;
    Ok(())
}

/// One curve: a cost by what it grows with.
pub struct Curve {
    pub name: &'static str,
    pub points: Vec<(f64, f64)>,
}

/// Curves over each other, both axes logarithmic.
pub fn draw_curves(path: &Path, title: &str, x: &str, y: &str, curves: &[Curve]) -> Result<()> {
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let bounds = |pick: fn(&(f64, f64)) -> f64| {
        points().map(pick).fold((f64::MAX, f64::MIN), |(least, most), value| (least.min(value), most.max(value)))
    };
    let ((left, right), (bottom, top)) = (bounds(|point| point.0), bounds(|point| point.1));
    let area = SVGBackend::new(path, (760, 420)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut builder = ChartBuilder::on(&area);
    builder.caption(title, ("sans-serif", 18)).margin(12).x_label_area_size(40).y_label_area_size(70);
    let mut chart = builder.build_cartesian_2d((left..right * 1.01).log_scale(), (bottom / 2.0..top * 2.0).log_scale())?;
    chart.configure_mesh().x_desc(x).y_desc(y).draw()?;
    for (curve, colour) in curves.iter().zip([BLUE, RED, GREEN, MAGENTA]) {
        let drawn = chart.draw_series(LineSeries::new(curve.points.iter().copied(), colour.stroke_width(2)).point_size(3))?;
        drawn.label(curve.name).legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour));
    }
    chart.configure_series_labels().background_style(WHITE).border_style(BLACK).draw()?;
    area.present()?;
    Ok(())
}
