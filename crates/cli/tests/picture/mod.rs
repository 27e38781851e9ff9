//! The picture of `top` in the documents, from a real run:
//! `DRAW_TOP=1 cargo test -p multiproc-cli --test top picture` writes `docs/pictures/top.svg`, after half a minute of work. Without
//! the variable the run is short, and nothing is written.

use crate::terminal::Terminal;
use std::fmt::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;
use vt100::{Cell, Color, Screen};

const SIZE: (u16, u16) = (110, 16);

/// Three queues, as a user would have them.
const MAKE: &str = r#"
multiproc create encode --joinable --max-deliveries 3
multiproc create upload --joinable --maxsize 40 --max-deliveries 2
multiproc create log
seq -f 'music/track-%03g.wav' 400 | multiproc put encode
"#;
/// What goes on while the picture is taken.
const RUN: &str = r#"
multiproc work encode -j3 -- sh -c 'sleep 2' lame {} &
multiproc work encode -j2 -- sh -c 'sleep 3' flac {} &
multiproc work upload -j2 --retry-delay 0.1 -- sh -c 'sleep 0.4; test "${1##*/}" != 7.mp3' upload {} 2>/dev/null &
while sleep 0.2; do seq -f "s3://albums/%g.mp3" $((RANDOM % 8)) | tail -2; done | multiproc put upload &
while sleep 0.1; do seq $((RANDOM % 40)); done | multiproc put log &
while sleep 0.3; do multiproc get log -n 100 >/dev/null; done &
wait
"#;

#[test]
fn the_picture_of_top_shows_what_a_real_run_shows() {
    let place = tempfile::tempdir_in("/dev/shm").unwrap();
    assert!(shell(MAKE, place.path()).status().unwrap().success());
    let running = Running(shell(RUN, place.path()).process_group(0).spawn().unwrap());
    let mut top = Terminal::start(&["top", "encode", "--interval", "0.5"], place.path(), SIZE);
    let draws = std::env::var_os("DRAW_TOP").is_some();
    if draws {
        // The rates need a past.
        sleep(Duration::from_secs(25));
    }
    top.press("\tj");
    top.wait_for("give back");
    let svg = top.screen(svg);
    drop(running);
    for words in ["encode", "upload", ">back<"] {
        assert!(svg.contains(words), "{words}: {svg}");
    }
    if !draws {
        return;
    }
    let pictures = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/pictures");
    std::fs::create_dir_all(pictures).unwrap();
    std::fs::write(format!("{pictures}/top.svg"), svg).unwrap();
}

fn shell(script: &str, place: &Path) -> Command {
    let binaries = Path::new(env!("CARGO_BIN_EXE_multiproc")).parent().unwrap();
    let path = format!("{}:{}", binaries.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("bash");
    command.args(["-c", script]).env("PATH", path).env("MULTIPROC_DIR", place).stdin(Stdio::null());
    command
}

/// A script that is killed at the end, with all that it started.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["-s", "KILL", "--", &group]).status();
        let _ = self.0.wait();
    }
}

/// Cells of a letter, in the picture's own unit.
const WIDE: f64 = 8.4;
const HIGH: f64 = 18.0;
const MARGIN: f64 = 14.0;
/// A dark card: readable on a light page and on a dark one.
const PAPER: &str = "#16191d";
const INK: &str = "#d8dee4";

fn svg(screen: &Screen) -> String {
    let (lines, columns) = screen.size();
    let (lines, columns) = (lines.get(), columns.get());
    let (width, height) = (f64::from(columns) * WIDE + 2.0 * MARGIN, f64::from(lines) * HIGH + 2.0 * MARGIN);
    let mut page = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         font-family=\"ui-monospace, 'SFMono-Regular', Menlo, Consolas, 'DejaVu Sans Mono', monospace\" font-size=\"14\" role=\"img\">\n\
         <title>multiproc top: three queues, and the messages that workers have in hand</title>\n\
         <rect x=\"0.5\" y=\"0.5\" width=\"{:.0}\" height=\"{:.0}\" rx=\"8\" fill=\"{PAPER}\" stroke=\"#59636e\"/>\n",
        width - 1.0,
        height - 1.0
    );
    for line in 0..lines {
        for (begin, cells) in runs(screen, line, columns) {
            draw(&mut page, line, begin, &cells);
        }
    }
    page + "</svg>\n"
}

/// Neighbours of the same style, without the empty ends of lines.
fn runs(screen: &Screen, line: u16, columns: u16) -> Vec<(u16, Vec<&Cell>)> {
    let style = |cell: &Cell| (cell.fgcolor(), cell.bold(), cell.inverse());
    let mut runs: Vec<(u16, Vec<&Cell>)> = Vec::new();
    for column in 0..columns {
        let cell = screen.cell(line, column).unwrap();
        match runs.last_mut() {
            Some((_, run)) if style(run[0]) == style(cell) => run.push(cell),
            _ => runs.push((column, vec![cell])),
        }
    }
    runs
}

fn draw(page: &mut String, line: u16, begin: u16, cells: &[&Cell]) {
    let (x, y) = (MARGIN + f64::from(begin) * WIDE, MARGIN + f64::from(line) * HIGH);
    let length = cells.len() as f64 * WIDE;
    let colour = match cells[0].fgcolor() {
        Color::Idx(1 | 9) => "#ff7b72",
        Color::Idx(2 | 10) => "#56d364",
        Color::Idx(3 | 11) => "#e3b341",
        Color::Idx(6 | 14) => "#39c5cf",
        _ => INK,
    };
    let (ink, paper) = if cells[0].inverse() { (PAPER, Some(colour)) } else { (colour, None) };
    if let Some(paper) = paper {
        writeln!(page, "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{length:.1}\" height=\"{HIGH}\" fill=\"{paper}\"/>").unwrap();
    }
    let weight = if cells[0].bold() { " font-weight=\"700\"" } else { "" };
    let base = y + HIGH * 0.76;
    // Each word has its place, and each bar: they stand in their columns whatever the font.
    let mut place = 0;
    for word in cells.split_inclusive(|cell| !cell.has_contents() || cell.contents() == " ") {
        let x = x + place as f64 * WIDE;
        place += word.len();
        let text: String = word.iter().map(|cell| cell.contents()).collect();
        let text = text.trim_end();
        if let Some(eighths) = text.chars().map(|letter| BARS.find(letter).map(|place| place / 3 + 1)).collect::<Option<Vec<_>>>()
        {
            bars(page, (x, y), ink, &eighths);
        } else {
            let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            let length = text.chars().count() as f64 * WIDE;
            writeln!(
                page,
                "<text x=\"{x:.1}\" y=\"{base:.1}\" fill=\"{ink}\"{weight} textLength=\"{length:.1}\">{escaped}</text>"
            )
            .unwrap();
        }
    }
}

/// Three bytes each.
const BARS: &str = "▁▂▃▄▅▆▇█";

fn bars(page: &mut String, (x, y): (f64, f64), ink: &str, eighths: &[usize]) {
    for (place, eighths) in eighths.iter().enumerate() {
        let (x, height) = (x + place as f64 * WIDE, *eighths as f64 / 8.0 * (HIGH - 3.0));
        let (top, wide) = (y + HIGH - 1.0 - height, WIDE - 0.6);
        writeln!(page, "<rect x=\"{x:.1}\" y=\"{top:.1}\" width=\"{wide:.1}\" height=\"{height:.1}\" fill=\"{ink}\"/>").unwrap();
    }
}
