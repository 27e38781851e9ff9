//! A table that makes do with the width there is: columns that matter least go first.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line as Words;

/// A column. `rank` 0 always stays; of the others the highest goes first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    heading: &'static str,
    least: u16,
    rank: u8,
    is_right: bool,
    is_fill: bool,
}

impl Column {
    pub(crate) const fn left(heading: &'static str, width: u16, rank: u8) -> Self {
        Self { heading, least: width, rank, is_right: false, is_fill: false }
    }

    pub(crate) const fn right(heading: &'static str, width: u16, rank: u8) -> Self {
        Self { heading, least: width, rank, is_right: true, is_fill: false }
    }

    /// A column that takes what others leave.
    pub(crate) const fn fill(heading: &'static str, least: u16, rank: u8) -> Self {
        Self { heading, least, rank, is_right: false, is_fill: true }
    }
}

/// A line of a table.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    cells: Vec<(String, Style)>,
    /// Instead of all cells but the first.
    sentence: Option<(String, Style)>,
    is_selected: bool,
}

impl Line {
    pub(crate) fn selected(self, is_selected: bool) -> Self {
        Self { is_selected, ..self }
    }

    pub(crate) fn cells(cells: impl IntoIterator<Item = (String, Style)>) -> Self {
        Self { cells: cells.into_iter().collect(), sentence: None, is_selected: false }
    }

    pub(crate) fn sentence(first: String, rest: String, style: Style) -> Self {
        Self { cells: vec![(first, style)], sentence: Some((rest, style)), is_selected: false }
    }
}

/// The mark before the selected line.
const MARK: u16 = 2;

/// The width of every column; 0: there is no room for it.
pub(crate) fn widths(columns: &[Column], width: u16) -> Vec<u16> {
    let room = width.saturating_sub(MARK);
    let mut kept: Vec<bool> = vec![true; columns.len()];
    let needed = |kept: &[bool]| -> u16 {
        columns.iter().zip(kept).filter(|(_, kept)| **kept).map(|(column, _)| column.least + 1).sum::<u16>().saturating_sub(1)
    };
    while needed(&kept) > room {
        let Some(rank) =
            columns.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(column, _)| column.rank).max().filter(|rank| *rank > 0)
        else {
            break;
        };
        for (column, kept) in columns.iter().zip(&mut kept) {
            *kept &= column.rank != rank;
        }
    }
    let spare = room.saturating_sub(needed(&kept));
    let takers = columns.iter().zip(&kept).filter(|(column, kept)| **kept && column.is_fill).count() as u16;
    let mut given = 0;
    columns
        .iter()
        .zip(&kept)
        .map(|(column, kept)| match (kept, column.is_fill) {
            (false, _) => 0,
            (true, false) => column.least,
            (true, true) => {
                // The first one gets half and what does not divide, the others the same each.
                let share = if takers > 1 { spare / 2 / (takers - 1) } else { 0 };
                let extra = if given == 0 { spare - share * (takers - 1) } else { share };
                given += 1;
                column.least + extra
            }
        })
        .collect()
}

/// Draws the headings, and as many lines as fit, with the selected one among them.
pub(crate) fn draw(columns: &[Column], widths: &[u16], lines: &[Line], has_keys: bool, area: Rect, buffer: &mut Buffer) {
    let headings: Vec<_> =
        columns.iter().map(|column| (column.heading.to_owned(), Style::new().add_modifier(Modifier::BOLD))).collect();
    draw_cells(columns, widths, &headings, Rect { height: 1, ..area }, buffer);
    let rows = usize::from(area.height.saturating_sub(1));
    let selected = lines.iter().position(|line| line.is_selected).unwrap_or(0);
    let first = (selected + 1).saturating_sub(rows);
    for (line, y) in lines.iter().skip(first).take(rows).zip(area.y + 1..) {
        let place = Rect { y, height: 1, ..area };
        match &line.sentence {
            None => draw_cells(columns, widths, &line.cells, place, buffer),
            Some((words, style)) => {
                draw_cells(columns, widths, &line.cells, place, buffer);
                let x = area.x + MARK + widths.first().copied().unwrap_or(0) + 1;
                let cut = Rect { x, width: area.right().saturating_sub(x), ..place };
                put(words, *style, false, cut, buffer);
            }
        }
        if line.is_selected {
            buffer.set_string(area.x, y, "›", Style::new());
            // Reversed colours of bars would be blocks.
            let style = if has_keys { Style::new().fg(Color::Reset).reversed() } else { Style::new().bold() };
            buffer.set_style(place, style);
        }
    }
}

fn draw_cells(columns: &[Column], widths: &[u16], cells: &[(String, Style)], area: Rect, buffer: &mut Buffer) {
    let mut x = area.x + MARK;
    for ((column, width), (text, style)) in columns.iter().zip(widths).zip(cells) {
        if *width > 0 {
            let width = (*width).min(area.right().saturating_sub(x));
            put(text, *style, column.is_right, Rect { x, width, ..area }, buffer);
            x += width + 1;
        }
    }
}

/// Text in its place, cut with an ellipsis where it is too long.
fn put(text: &str, style: Style, is_right: bool, area: Rect, buffer: &mut Buffer) {
    let room = usize::from(area.width);
    if room == 0 {
        return;
    }
    let whole = Words::from(text);
    let width = whole.width();
    if width <= room {
        let shift = if is_right { room - width } else { 0 };
        buffer.set_stringn(area.x + shift as u16, area.y, text, room, style);
    } else {
        let (end, _) = buffer.set_stringn(area.x, area.y, text, room - 1, style);
        buffer.set_string(end, area.y, "…", style);
    }
}

/// Cells that a text takes.
pub(crate) fn width_of(text: &str) -> u16 {
    u16::try_from(Words::from(text).width()).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] =
        [Column::fill("a", 10, 0), Column::right("b", 5, 1), Column::left("c", 5, 2), Column::fill("d", 5, 3)];

    #[test]
    fn what_matters_least_goes_first() {
        assert_eq!(widths(&COLUMNS, 40), [15, 5, 5, 10]);
        assert_eq!(widths(&COLUMNS, 30), [10, 5, 5, 5]);
        assert_eq!(widths(&COLUMNS, 29), [15, 5, 5, 0]);
        assert_eq!(widths(&COLUMNS, 20), [12, 5, 0, 0]);
        assert_eq!(widths(&COLUMNS, 13), [11, 0, 0, 0]);
        assert_eq!(widths(&COLUMNS, 0), [10, 0, 0, 0]);
    }

    #[test]
    fn a_wide_character_is_not_parted() {
        let area = Rect::new(0, 0, 4, 1);
        let mut buffer = Buffer::empty(area);
        put("日本語", Style::new(), false, area, &mut buffer);
        assert_eq!(super::super::screen::plain(&buffer), ["日…"]);
    }
}
