//! The page: a white card, which a dark page leaves readable, with lines that are told apart by colour, dash and a label beside them.

use super::axis::Axis;
use std::fmt::Write;

const WIDTH: f64 = 760.0;
/// The plot, inside the room for names of numbers, labels of lines and the caption.
const LEFT: f64 = 78.0;
const RIGHT: f64 = 590.0;
const TOP: f64 = 76.0;
const BOTTOM: f64 = 350.0;

const INK: &str = "#1f2328";
const PALE: &str = "#59636e";
const GRID: &str = "#e4e8ec";
/// Colours that stay apart for every kind of colour blindness (after Okabe and Ito, darker where white would swallow them), with a dash each.
const STYLES: [(&str, &str); 6] =
    [("#0072b2", ""), ("#c44e00", ""), ("#00795a", "7 4"), ("#8a3d7d", "2 4"), ("#7a5c00", "9 3 2 3"), ("#4d4d4d", "4 2")];
/// Between the base lines of two lines of small text.
const LINE: f64 = 16.0;
/// Letters in a line of the caption, and in a label of a line.
const CAPTION: usize = 122;
const LABEL: usize = 24;

pub(super) struct Page(String);

impl Page {
    pub(super) fn new(title: &str, caption: &str) -> Self {
        let caption = wrapped(caption, CAPTION);
        let height = BOTTOM + 58.0 + caption.len() as f64 * LINE;
        let mut page = Self(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
             font-family=\"system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif\" role=\"img\">\n<title>{}</title>\n",
            escaped(title)
        ));
        page.add(format_args!(
            "<rect x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"8\" fill=\"#ffffff\" stroke=\"#d0d7de\"/>",
            WIDTH - 1.0,
            height - 1.0
        ));
        page.text((20.0, 32.0), "start", (17, INK), title);
        for (number, line) in caption.iter().enumerate() {
            page.text((20.0, BOTTOM + 62.0 + number as f64 * LINE), "start", (11, PALE), line);
        }
        page
    }

    pub(super) fn axes(&mut self, x_label: &str, x: &Axis, y_label: &str, y: &Axis) {
        for (place, name) in y.ticks() {
            let at = across(place);
            self.add(format_args!("<path d=\"M{LEFT} {at:.1}H{RIGHT}\" stroke=\"{GRID}\"/>"));
            self.text((LEFT - 8.0, at + 4.0), "end", (12, INK), &name);
        }
        self.add(format_args!("<path d=\"M{LEFT} {BOTTOM}H{RIGHT}\" stroke=\"{PALE}\"/>"));
        for (place, name) in x.ticks() {
            let at = along(place);
            self.add(format_args!("<path d=\"M{at:.1} {BOTTOM}v5\" stroke=\"{PALE}\"/>"));
            self.text((at, BOTTOM + 20.0), "middle", (12, INK), &name);
        }
        self.text((20.0, 54.0), "start", (12, PALE), y_label);
        self.text(((LEFT + RIGHT) / 2.0, BOTTOM + 40.0), "middle", (12, PALE), x_label);
    }

    /// Lines through places between 0 and 1, each with its name at its end.
    pub(super) fn lines(&mut self, lines: Vec<(&str, Vec<(f64, f64)>)>) {
        let mut labels = Vec::new();
        for ((name, points), (colour, dash)) in lines.iter().zip(STYLES.iter().cycle()) {
            let points: Vec<(f64, f64)> = points.iter().map(|point| (along(point.0), across(point.1))).collect();
            let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
            self.add(format_args!(
                "<path d=\"M{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2.5\" stroke-dasharray=\"{dash}\"/>",
                path.join("L")
            ));
            for (x, y) in &points {
                self.add(format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"/>"));
            }
            labels.extend(points.last().map(|end| (*end, wrapped(name, LABEL), *colour)));
        }
        // From the top down, each below the one before.
        labels.sort_by(|a, b| a.0.1.total_cmp(&b.0.1));
        let mut free = f64::MIN;
        for ((x, y), words, colour) in labels {
            let mut at = (y + 4.0 - (words.len() - 1) as f64 * LINE / 2.0).max(free);
            for line in words {
                self.text((x + 10.0, at), "start", (12, colour), &line);
                at += LINE;
            }
            free = at + 2.0;
        }
    }

    pub(super) fn end(mut self) -> String {
        self.0.push_str("</svg>\n");
        self.0
    }

    fn text(&mut self, (x, y): (f64, f64), anchor: &str, (size, colour): (u32, &str), words: &str) {
        let weight = if size > 12 { 600 } else { 400 };
        self.add(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\" font-weight=\"{weight}\" fill=\"{colour}\">{}</text>",
            escaped(words)
        ));
    }

    fn add(&mut self, element: std::fmt::Arguments) {
        // Writing to a string can't fail.
        let _ = writeln!(self.0, "{element}");
    }
}

fn along(place: f64) -> f64 {
    LEFT + place * (RIGHT - LEFT)
}

fn across(place: f64) -> f64 {
    BOTTOM - place * (BOTTOM - TOP)
}

fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Words in lines of at most so many letters.
fn wrapped(words: &str, most: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in words.split(' ') {
        let last = lines.len() - 1;
        if !lines[last].is_empty() && lines[last].chars().count() + 1 + word.chars().count() > most {
            lines.push(word.to_owned());
        } else {
            if !lines[last].is_empty() {
                lines[last].push(' ');
            }
            lines[last].push_str(word);
        }
    }
    lines
}
