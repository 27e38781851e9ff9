//! Text that is safe to show, and numbers in few letters.
//!
//! Names, messages and commands are written by others. What a terminal would obey is shown as an escape here, in one place.

use std::fmt::Write;
use std::time::Duration;

/// Bytes of a message or command that are looked at: more than a screen is wide.
pub(crate) const MOST_BYTES: usize = 1024;

/// Whether a character is shown as it is. A terminal would obey the others: control characters, invisible ones, and those that turn the
/// direction of writing.
pub(crate) fn is_plain(letter: char) -> bool {
    if letter.is_ascii() {
        return !letter.is_ascii_control();
    }
    // After another letter: a combining mark is escaped only at the beginning of a text.
    ['a', letter].iter().collect::<String>().escape_debug().count() == 2
}

/// The same text, with escapes for what is not [plain](is_plain).
pub(crate) fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_plain(letter) { shown.push(letter) } else { shown.extend(letter.escape_debug()) }
    }
    shown
}

/// Text without anything that a terminal obeys: no control character, no invisible one, none that turns the direction of writing.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Text(String);

impl Text {
    /// The beginning of some bytes, at most [`MOST_BYTES`] of them. Bytes that are no UTF-8 are shown as `\xff`, control characters as
    /// `\n` or `\u{9b}`, and a backslash as two.
    pub(crate) fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self::beginning(bytes.as_ref(), MOST_BYTES)
    }

    /// The same of at most so many bytes.
    pub(crate) fn beginning(bytes: &[u8], most: usize) -> Self {
        let (begin, cut) = (&bytes[..bytes.len().min(most)], bytes.len() > most);
        let mut shown = String::with_capacity(begin.len());
        let mut chunks = begin.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            for letter in chunk.valid().chars() {
                if is_plain(letter) && letter != '\\' { shown.push(letter) } else { shown.extend(letter.escape_debug()) }
            }
            // The cut may have parted a character: its first bytes are no flaw of the message.
            if !(cut && chunks.peek().is_none()) {
                for byte in chunk.invalid() {
                    // Writing to a string can't fail.
                    let _ = write!(shown, "\\x{byte:02x}");
                }
            }
        }
        if cut {
            shown.push('…');
        }
        Self(shown)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

/// A number in at most five letters: `9999`, `12.3k`, `4.56M`.
pub(crate) fn count(number: u64) -> String {
    if number < 10_000 {
        return number.to_string();
    }
    let mut scaled = number as f64;
    for unit in ["k", "M", "G", "T", "P"] {
        scaled /= 1000.0;
        // A number that would be rounded up to the next unit belongs there.
        if scaled < 999.5 {
            return format!("{}{unit}", three_digits(scaled));
        }
    }
    ">999P".into()
}

/// Things a second in at most five letters: `0.5`, `1234`, `12.3k`.
pub(crate) fn rate(per_second: f64) -> String {
    match per_second {
        none if none < 0.05 => "0".into(),
        few if few < 9.95 => format!("{few:.1}"),
        many => count(many.round() as u64),
    }
}

/// A number of bytes in at most five letters, as `du -h` has it: `512B`, `4.0K`, `1.5G`.
pub(crate) fn size(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let mut scaled = bytes as f64;
    for unit in ["K", "M", "G", "T", "P"] {
        scaled /= 1024.0;
        if scaled < 9.95 {
            return format!("{scaled:.1}{unit}");
        }
        if scaled < 1023.5 {
            return format!("{scaled:.0}{unit}");
        }
    }
    ">1E".into()
}

/// A time in at most six letters: `0.3s`, `42s`, `3m12s`, `2h05m`, `3d04h`.
pub(crate) fn age(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..10 => format!("{}.{}s", seconds, time.subsec_millis() / 100),
        10..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        86_400..8_640_000 => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn three_digits(scaled: f64) -> String {
    let decimals = if scaled < 9.995 { 2 } else { usize::from(scaled < 99.95) };
    format!("{scaled:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_shown() {
        let hostile = "a\x1b[2J\x07\r\nb\u{9b}31m\u{202e}c\u{200b}\u{feff}\\ \"d\" é 日本";
        let shown = Text::of(hostile);
        assert_eq!(shown.as_str(), "a\\u{1b}[2J\\u{7}\\r\\nb\\u{9b}31m\\u{202e}c\\u{200b}\\u{feff}\\\\ \"d\" é 日本");
        for byte in 0..=255u8 {
            let shown = Text::of([byte, 0x9b, byte]);
            assert!(!shown.as_str().chars().any(char::is_control), "{byte}: {shown:?}");
        }
    }

    #[test]
    fn a_sentence_keeps_what_is_plain_and_escapes_the_rest() {
        assert_eq!(shown("can't read \"a\\b\": é\n\u{9b}2J\u{202e}\x7f"), "can't read \"a\\b\": é\\n\\u{9b}2J\\u{202e}\\u{7f}");
    }

    #[test]
    fn a_combining_mark_stays_with_its_letter() {
        assert_eq!(Text::of("Ouvertu\u{308}re").as_str(), "Ouvertu\u{308}re");
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_as_numbers() {
        assert_eq!(Text::of(b"ok\xff\xfe\xc3").as_str(), "ok\\xff\\xfe\\xc3");
        assert_eq!(Text::of(b"").as_str(), "");
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let shown = Text::of("é".repeat(MOST_BYTES));
        assert_eq!(shown.as_str(), format!("{}…", "é".repeat(MOST_BYTES / 2)));
        let odd = Text::of(format!("x{}", "é".repeat(MOST_BYTES)));
        assert_eq!(odd.as_str(), format!("x{}…", "é".repeat(MOST_BYTES / 2 - 1)));
    }

    #[test]
    fn numbers_fit_five_letters() {
        for shift in 0..64 {
            for number in [1u64 << shift, (1u64 << shift) - 1, u64::MAX >> shift, 999_949, 999_950, 9_999, 99_950] {
                assert!(count(number).len() <= 5 && size(number).len() <= 5, "{number}: {} {}", count(number), size(number));
                assert!(rate(number as f64 / 7.0).len() <= 5, "{number}");
                assert!(age(Duration::from_secs(number % 100_000_000)).len() <= 6, "{number}");
            }
        }
        assert_eq!(
            [count(0), count(9999), count(12_345), count(4_560_000), count(999_999)],
            ["0", "9999", "12.3k", "4.56M", "1.00M"]
        );
        assert_eq!([rate(0.0), rate(0.5), rate(9.97), rate(1234.4)], ["0", "0.5", "10", "1234"]);
        assert_eq!([size(0), size(4096), size(1536 << 20), size(24 << 20)], ["0B", "4.0K", "1.5G", "24M"]);
        let times = [0.35, 42.9, 192.0, 7500.0, 273_600.0].map(|seconds| age(Duration::from_secs_f64(seconds)));
        assert_eq!(times, ["0.3s", "42s", "3m12s", "2h05m", "3d04h"]);
    }
}
