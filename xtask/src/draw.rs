//! `cargo xtask bench draw`: a picture beside each file of measured numbers. Measuring takes long and needs a quiet machine; drawing needs
//! neither.
//!
//! A file is `docs/curves/NAME.csv`. Lines `# key: value` say what the picture says: `title`, the axes `x` and `y` as `label; unit`, and
//! `taken` for the caption: machine, state and day. Every other line is a point: `curve;x;y`.

mod axis;
mod svg;

use anyhow::{Context, bail, ensure};
use axis::{Axis, Unit};
use std::fs;
use std::path::Path;

/// Where the numbers and the pictures are.
pub(crate) const CURVES: &str = "docs/curves";

/// What a file of numbers holds.
struct Picture {
    title: String,
    x: (String, Unit),
    y: (String, Unit),
    taken: String,
    curves: Vec<Curve>,
}

struct Curve {
    name: String,
    points: Vec<(f64, f64)>,
}

/// Draws every file of a directory.
pub(crate) fn draw(directory: &Path) -> anyhow::Result<()> {
    for (path, picture) in pictures(directory)? {
        fs::write(&path, picture).with_context(|| format!("can't write {}", path.display()))?;
        println!("drawn: {}", path.display());
    }
    Ok(())
}

/// The place and the text of the picture for every file of numbers in a directory.
fn pictures(directory: &Path) -> anyhow::Result<Vec<(std::path::PathBuf, String)>> {
    let mut drawn = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| format!("can't read {}", directory.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "csv") {
            let picture = Picture::read(&fs::read_to_string(&path)?).with_context(|| format!("{}", path.display()))?;
            drawn.push((path.with_extension("svg"), picture.svg()));
        }
    }
    ensure!(!drawn.is_empty(), "{} has no file of numbers", directory.display());
    Ok(drawn)
}

impl Picture {
    fn read(text: &str) -> anyhow::Result<Self> {
        let key = |key: &str| {
            let found = text.lines().find_map(|line| line.strip_prefix("# ")?.strip_prefix(key)?.strip_prefix(": "));
            found.with_context(|| format!("there is no line \"# {key}: …\""))
        };
        let axis = |name: &str| -> anyhow::Result<(String, Unit)> {
            let (label, unit) = key(name)?.split_once("; ").with_context(|| format!("axis {name} has no unit"))?;
            Ok((label.to_owned(), Unit::read(unit)?))
        };
        let mut curves: Vec<Curve> = Vec::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let [name, x, y] = line.split(';').collect::<Vec<_>>()[..] else { bail!("{line:?} is not curve;x;y") };
            let number = |word: &str| -> anyhow::Result<f64> {
                let number: f64 = word.trim().parse().with_context(|| format!("{word:?} in {line:?}"))?;
                ensure!(number.is_finite() && number > 0.0, "{line:?} can't be drawn");
                Ok(number)
            };
            let point = (number(x)?, number(y)?);
            match curves.iter_mut().find(|curve| curve.name == name) {
                Some(curve) => curve.points.push(point),
                None => curves.push(Curve { name: name.to_owned(), points: vec![point] }),
            }
        }
        ensure!(!curves.is_empty(), "there is no point");
        Ok(Self { title: key("title")?.to_owned(), x: axis("x")?, y: axis("y")?, taken: key("taken")?.to_owned(), curves })
    }

    fn svg(&self) -> String {
        let points = || self.curves.iter().flat_map(|curve| curve.points.iter().copied());
        let x = Axis::logarithmic(self.x.1, &points().map(|point| point.0).collect::<Vec<_>>());
        let y = Axis::of_costs(self.y.1, &points().map(|point| point.1).collect::<Vec<_>>());
        let mut page = svg::Page::new(&self.title, &self.taken);
        page.axes(&self.x.0, &x, &self.y.0, &y);
        let lines = self.curves.iter().map(|curve| {
            let points = curve.points.iter().map(|point| (x.place(point.0), y.place(point.1))).collect();
            (curve.name.as_str(), points)
        });
        page.lines(lines.collect());
        page.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pictures_show_the_numbers_beside_them() {
        let curves = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(CURVES);
        for (path, picture) in pictures(&curves).unwrap() {
            let there = fs::read_to_string(&path).unwrap_or_default();
            assert!(there == picture, "{} is not what `cargo xtask bench draw` draws", path.display());
        }
    }
}
