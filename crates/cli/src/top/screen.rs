//! The screen: a function of what there is and what the user looks at.

use super::snapshot::{DeadLetter, Holder, Row, Snapshot};
use super::table::{self, Column, Line, width_of};
use super::view::{Footer, Pane, View};
use crate::text::{Text, age, count, rate, size};
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Style, Stylize};
use ratatui::text::{Line as Words, Span};
use ratatui::widgets::{Paragraph, Widget, Wrap};

/// Below this nothing useful fits.
pub(crate) const LEAST: (u16, u16) = (40, 8);
const HELP: &str = include_str!("help.txt");
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Draws everything.
pub(crate) fn draw(snapshot: &Snapshot, view: &View, area: Rect, buffer: &mut Buffer) {
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let words =
            format!("multiproc top needs {} columns and {} lines: here are {} and {}", LEAST.0, LEAST.1, area.width, area.height);
        Paragraph::new(words).wrap(Wrap { trim: true }).render(area, buffer);
        return;
    }
    let [title, body, footer] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1), Constraint::Length(1)]).areas(area);
    draw_title(snapshot, view, title, buffer);
    draw_footer(view, footer, buffer);
    if view.is_help {
        Paragraph::new(HELP).render(body, buffer);
    } else if let Some(trouble) = &snapshot.trouble {
        Paragraph::new(trouble.as_str()).red().wrap(Wrap { trim: true }).render(body, buffer);
    } else if snapshot.queues.is_empty() {
        let words = "There is no queue with a name. Make one in another terminal:\n\n  multiproc create jobs --joinable\n  seq 10 | multiproc put jobs";
        Paragraph::new(words).render(body, buffer);
    } else {
        // The heading and the rows: at most half of the room, the lower pane has the rest.
        let most = (body.height / 2).saturating_sub(1).max(1);
        let rows = u16::try_from(snapshot.queues.len()).unwrap_or(u16::MAX).min(most);
        let [above, divider, below] =
            Layout::vertical([Constraint::Length(rows + 1), Constraint::Length(1), Constraint::Fill(1)]).areas(body);
        draw_queues(snapshot, view, above, buffer);
        if let Some(row) = view.queue.as_ref().and_then(|name| snapshot.row(name)) {
            draw_divider(row, view, divider, buffer);
            draw_messages(row, view, below, buffer);
        }
    }
}

/// A screen as text, as long as it needs to be.
pub(crate) fn page(snapshot: &Snapshot, view: &View, width: u16) -> Vec<String> {
    let queue = view.queue.as_ref().and_then(|name| snapshot.row(name)?.queue.as_ref().ok());
    let messages = queue.map_or(1, |queue| queue.holders.len().max(1));
    // The upper pane has half of the body at most. A buffer has no more than 65,535 cells.
    let height = (2 * snapshot.queues.len().max(6) + messages + 6).min(usize::from(u16::MAX / width));
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, height as u16));
    draw(snapshot, view, buffer.area, &mut buffer);
    let mut lines = plain(&buffer);
    lines.truncate(lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1));
    lines
}

fn draw_title(snapshot: &Snapshot, view: &View, area: Rect, buffer: &mut Buffer) {
    let queues = match snapshot.queues.len() {
        1 => "1 queue".to_owned(),
        many => format!("{many} queues"),
    };
    let right = format!("{queues} · every {} s", view.interval);
    Words::from(Span::from("multiproc top").bold()).render(area, buffer);
    Words::from(right).right_aligned().render(area, buffer);
}

fn draw_footer(view: &View, area: Rect, buffer: &mut Buffer) {
    let line = match &view.footer {
        Footer::Question(question) => Words::from(format!("{question}  [y/n]")).bold().yellow(),
        Footer::Notice(notice) => Words::from(notice.as_str()).bold(),
        Footer::Keys if view.is_help => Words::from("any key: back"),
        Footer::Keys => {
            let keys: &[&str] = match (view.is_below, view.pane) {
                (false, Pane::Holders) => &["↑↓ select", "Tab in hand", "d dead", "? help", "q quit"],
                (false, Pane::Dead) => &["↑↓ select", "Tab dead letters", "d in hand", "? help", "q quit"],
                (true, Pane::Holders) => &["↑↓ select", "k kill", "g give back", "Tab queues", "d dead", "? help", "q quit"],
                (true, Pane::Dead) => &["↑↓ select", "Tab queues", "d in hand", "? help", "q quit"],
            };
            let words = keys.iter().flat_map(|key| {
                let (key, what) = key.split_once(' ').unwrap_or((key, ""));
                [Span::from(key).bold(), Span::from(format!(" {what}  "))]
            });
            Words::from_iter(words)
        }
    };
    line.render(area, buffer);
}

const QUEUES: [Column; 11] = [
    Column::fill("QUEUE", 10, 0),
    Column::left("KIND", 8, 5),
    Column::right("WAIT", 5, 0),
    Column::right("HAND", 5, 1),
    Column::right("IN/S", 5, 2),
    Column::fill("", 4, 7),
    Column::right("OUT/S", 5, 2),
    Column::fill("", 4, 7),
    Column::right("DEAD", 5, 3),
    Column::right("LOST", 5, 6),
    Column::right("PROC", 4, 4),
];
const MEMORY: Column = Column::right("MEM", 5, 8);

fn draw_queues(snapshot: &Snapshot, view: &View, area: Rect, buffer: &mut Buffer) {
    let columns: Vec<Column> = QUEUES.into_iter().chain([MEMORY]).collect();
    let widths = table::widths(&columns, area.width);
    let lines = snapshot.queues.iter().map(|row| {
        let is_selected = view.queue.as_ref() == Some(&row.name);
        queue_line(row, &widths).selected(is_selected)
    });
    table::draw(&columns, &widths, &lines.collect::<Vec<_>>(), !view.is_below, area, buffer);
}

/// The cells of a queue, or its name with the reason why there are none.
fn queue_line(row: &Row, widths: &[u16]) -> Line {
    let queue = match &row.queue {
        Ok(queue) => queue,
        Err(reason) => return Line::sentence(row.name.to_string(), reason.to_string(), Style::new().red()),
    };
    let plain = Style::new();
    let warn = |number: u64| if number > 0 { Style::new().red() } else { plain };
    let is_full = queue.capacity.is_some_and(|capacity| queue.depth >= capacity);
    let depth = if is_full { Style::new().yellow() } else { plain };
    let most = queue.rate_in.iter().chain(&queue.rate_out).copied().fold(0.0, f64::max);
    let last = |rates: &[f64]| rate(rates.last().copied().unwrap_or(0.0));
    let kind = if queue.is_shut_down { "shut".to_owned() } else { queue.kind.to_string() };
    Line::cells([
        (row.name.to_string(), plain),
        (kind, plain),
        (count(queue.depth), depth),
        (count(queue.in_hand), plain),
        (last(&queue.rate_in), plain),
        (bars(&queue.rate_in, widths[5], most), Style::new().green()),
        (last(&queue.rate_out), plain),
        (bars(&queue.rate_out, widths[7], most), Style::new().cyan()),
        (count(queue.dead), warn(queue.dead)),
        (count(queue.lost), warn(queue.lost)),
        (count(queue.participants), plain),
        (size(queue.memory), plain),
    ])
}

/// The newest rates that fit, as bars. The highest stands for `most`, and nothing for nothing.
fn bars(rates: &[f64], width: u16, most: f64) -> String {
    let newest = &rates[rates.len().saturating_sub(width.into())..];
    let bar = |rate: &f64| {
        if *rate <= 0.0 {
            return ' ';
        }
        let height = (rate / most * 8.0).ceil() as usize;
        BARS[height.clamp(1, 8) - 1]
    };
    let drawn: String = newest.iter().map(bar).collect();
    format!("{drawn:>width$}", width = width.into())
}

fn draw_divider(row: &Row, view: &View, area: Rect, buffer: &mut Buffer) {
    let (in_hand, dead) = row.queue.as_ref().map_or((0, 0), |queue| (queue.in_hand, queue.dead));
    let tab = |pane: Pane, words: String| {
        if view.pane == pane { Span::from(format!("[{words}]")).bold() } else { Span::from(format!(" {words} ")) }
    };
    let line = Words::from_iter([
        Span::from("── "),
        Span::from(row.name.to_string()).bold(),
        Span::from(" ── "),
        tab(Pane::Holders, format!("in hand {}", count(in_hand))),
        Span::from(" "),
        tab(Pane::Dead, format!("dead {}", count(dead))),
        Span::from(" ").not_bold(),
    ]);
    let used = u16::try_from(line.width()).unwrap_or(u16::MAX);
    line.render(area, buffer);
    for x in area.x.saturating_add(used)..area.right() {
        buffer[(x, area.y)].set_symbol("─");
    }
}

const HOLDERS: [Column; 6] = [
    Column::left("ID", 6, 3),
    Column::right("PID", 7, 0),
    Column::right("SINCE", 6, 1),
    Column::right("TIME", 4, 2),
    Column::fill("PROCESS", 12, 0),
    Column::fill("MESSAGE", 12, 0),
];
const DEAD: [Column; 4] =
    [Column::left("ID", 6, 2), Column::right("TIMES", 5, 1), Column::fill("REASON", 16, 0), Column::fill("MESSAGE", 12, 0)];

fn draw_messages(row: &Row, view: &View, area: Rect, buffer: &mut Buffer) {
    let queue = match &row.queue {
        Ok(queue) => queue,
        Err(reason) => return Paragraph::new(reason.as_str()).wrap(Wrap { trim: true }).red().render(area, buffer),
    };
    let is_selected = |id: &Text| view.is_below && view.message.as_ref() == Some(id);
    let (columns, lines): (&[Column], Vec<Line>) = match view.pane {
        Pane::Holders => {
            let line = |holder: &Holder| holder_line(holder).selected(is_selected(&holder.id));
            (&HOLDERS, queue.holders.iter().map(line).collect())
        }
        Pane::Dead => {
            let line = |letter: &DeadLetter| dead_line(letter).selected(is_selected(&letter.id));
            (&DEAD, queue.dead_letters.iter().map(line).collect())
        }
    };
    if lines.is_empty() {
        let words = match (view.pane, queue.dead, queue.in_hand) {
            (Pane::Dead, 0, _) => "No message of this queue is dead.",
            (Pane::Dead, ..) => "",
            (Pane::Holders, ..) if !queue.knows_holders => {
                "A queue of this kind does not note who has a message: \"create --joinable\" makes one that does."
            }
            (Pane::Holders, _, 0) => "No process has a message of this queue in hand.",
            (Pane::Holders, ..) => "",
        };
        return Paragraph::new(words).wrap(Wrap { trim: true }).render(area, buffer);
    }
    let widths = table::widths(columns, area.width);
    table::draw(columns, &widths, &lines, view.is_below, area, buffer);
}

fn holder_line(holder: &Holder) -> Line {
    let plain = Style::new();
    let of_process = if holder.is_alive { plain } else { plain.red() };
    let process = match &holder.command {
        _ if !holder.is_alive => "(has died)".to_owned(),
        Some(command) => command.to_string(),
        None => "(not to be seen from here)".to_owned(),
    };
    let message = holder.message.as_ref().map_or(String::new(), Text::to_string);
    Line::cells([
        (holder.id.to_string(), plain),
        (holder.pid.to_string(), of_process),
        (age(holder.held_for), plain),
        (ordinal(holder.deliveries), if holder.deliveries > 1 { plain.yellow() } else { plain }),
        (process, of_process),
        (message, plain),
    ])
}

fn dead_line(letter: &DeadLetter) -> Line {
    let cells = [letter.id.to_string(), letter.deliveries.to_string(), letter.reason.to_string(), letter.message.to_string()];
    Line::cells(cells.map(|cell| (cell, Style::new())))
}

/// `1st`, `2nd`, `11th`: which delivery this is.
fn ordinal(number: u16) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

/// The lines of a drawn screen as text, for a pipe or a test.
pub(crate) fn plain(buffer: &Buffer) -> Vec<String> {
    let area = buffer.area;
    let line = |y| {
        let mut text = String::new();
        let mut x = area.x;
        while x < area.right() {
            let symbol = buffer[(x, y)].symbol();
            text.push_str(symbol);
            // A wide character takes two cells.
            x += width_of(symbol).max(1);
        }
        text.trim_end().to_owned()
    };
    (area.y..area.bottom()).map(line).collect()
}

#[cfg(test)]
mod tests;
