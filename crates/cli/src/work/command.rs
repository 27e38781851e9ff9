//! From a command with placeholders to the arguments of one job.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// A command, with the places where a job's own arguments go.
#[derive(Debug)]
pub(crate) struct Template(Vec<Vec<Piece>>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    /// `None`: all arguments of the job.
    Argument(Option<usize>, Part),
    Number,
    Slot,
}

/// What is taken of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Whole,
    /// `{.}`: without the extension.
    Stem,
    /// `{/}`: without the folders.
    Name,
    /// `{//}`: the folders.
    Folder,
    /// `{/.}`: without folders and extension.
    NameStem,
}

/// What a job fills a template with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filling<'a> {
    pub(crate) arguments: &'a [&'a [u8]],
    pub(crate) number: u64,
    pub(crate) slot: usize,
}

/// An argument of a program can't hold a NUL byte.
#[derive(Debug)]
pub(crate) struct Nul;

impl Template {
    /// `replacement`: what stands for the message in place of `{}`.
    pub(crate) fn new(command: &[OsString], replacement: Option<&str>) -> Self {
        let replacement = replacement.unwrap_or("{}").as_bytes();
        Self(command.iter().map(|argument| pieces(argument.as_bytes(), replacement)).collect())
    }

    /// Whether a job's own arguments go into the command.
    pub(crate) fn takes_arguments(&self) -> bool {
        self.0.iter().flatten().any(|piece| matches!(piece, Piece::Argument(..)))
    }

    pub(crate) fn has_placeholder(&self) -> bool {
        self.0.iter().flatten().any(|piece| !matches!(piece, Piece::Text(_)))
    }

    /// Appends `{}`.
    pub(crate) fn append_arguments(&mut self) {
        self.0.push(vec![Piece::Argument(None, Part::Whole)]);
    }

    /// Returns the program and its arguments.
    pub(crate) fn fill(&self, with: Filling<'_>) -> Result<Vec<OsString>, Nul> {
        let mut filled = Vec::with_capacity(self.0.len());
        for pieces in &self.0 {
            match pieces.as_slice() {
                // A placeholder that stands alone makes an argument of each of the job's arguments.
                [Piece::Argument(None, part)] => filled.extend(with.arguments.iter().map(|argument| part.of(argument))),
                pieces => filled.push(pieces.iter().flat_map(|piece| piece.text(with)).collect()),
            }
        }
        if filled.iter().any(|argument: &Vec<u8>| argument.contains(&0)) {
            return Err(Nul);
        }
        Ok(filled.into_iter().map(OsString::from_vec).collect())
    }
}

impl Piece {
    fn text(&self, with: Filling<'_>) -> Vec<u8> {
        match self {
            Self::Text(text) => text.clone(),
            Self::Argument(Some(which), part) => {
                with.arguments.get(which - 1).map_or_else(Vec::new, |argument| part.of(argument))
            }
            Self::Argument(None, part) => with.arguments.iter().map(|argument| part.of(argument)).collect::<Vec<_>>().join(&b' '),
            Self::Number => with.number.to_string().into(),
            Self::Slot => with.slot.to_string().into(),
        }
    }
}

impl Part {
    fn of(self, argument: &[u8]) -> Vec<u8> {
        match self {
            Self::Whole => argument,
            Self::Stem => stem(argument),
            Self::Name => name(argument),
            Self::Folder => folder(argument),
            Self::NameStem => stem(name(argument)),
        }
        .to_vec()
    }
}

fn name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

/// As `dirname` has it.
fn folder(path: &[u8]) -> &[u8] {
    let trimmed = without_slashes(path);
    let folder = without_slashes(&trimmed[..trimmed.len() - name(trimmed).len()]);
    match folder {
        [] if path.starts_with(b"/") => b"/",
        [] => b".",
        folder => folder,
    }
}

fn without_slashes(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    &path[..end]
}

/// The extension is a dot and what follows it in the name, if anything does.
fn stem(path: &[u8]) -> &[u8] {
    let name = name(path);
    match name.iter().rposition(|byte| *byte == b'.') {
        Some(dot) if dot + 1 < name.len() => &path[..path.len() - name.len() + dot],
        _ => path,
    }
}

/// Splits one argument of a command at its placeholders.
fn pieces(argument: &[u8], replacement: &[u8]) -> Vec<Piece> {
    let (mut pieces, mut text, mut rest) = (Vec::new(), Vec::new(), argument);
    while let Some((first, after)) = rest.split_first() {
        let found = match rest.strip_prefix(replacement) {
            Some(behind) => Some((Piece::Argument(None, Part::Whole), behind)),
            None => in_braces(rest),
        };
        match found {
            Some((piece, behind)) => {
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                }
                pieces.push(piece);
                rest = behind;
            }
            None => {
                text.push(*first);
                rest = after;
            }
        }
    }
    if !text.is_empty() || pieces.is_empty() {
        pieces.push(Piece::Text(text));
    }
    pieces
}

/// A placeholder in braces at the beginning of a text, and what follows it. `{}` is the caller's.
fn in_braces(text: &[u8]) -> Option<(Piece, &[u8])> {
    let after = text.strip_prefix(b"{")?;
    let end = after.iter().position(|byte| *byte == b'}').filter(|end| *end > 0)?;
    Some((placeholder(&after[..end])?, &after[end + 1..]))
}

/// What stands between two braces, if it is a placeholder.
fn placeholder(inside: &[u8]) -> Option<Piece> {
    let digits = inside.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, part) = inside.split_at(digits);
    let part = match part {
        b"" => Part::Whole,
        b"." => Part::Stem,
        b"/" => Part::Name,
        b"//" => Part::Folder,
        b"/." => Part::NameStem,
        b"#" if number.is_empty() => return Some(Piece::Number),
        b"%" if number.is_empty() => return Some(Piece::Slot),
        _ => return None,
    };
    if number.is_empty() {
        return Some(Piece::Argument(None, part));
    }
    let which = std::str::from_utf8(number).ok()?.parse().ok().filter(|which| *which > 0)?;
    Some(Piece::Argument(Some(which), part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(command: &[&str], arguments: &[&[u8]]) -> Vec<String> {
        let command: Vec<OsString> = command.iter().map(OsString::from).collect();
        let filled = Template::new(&command, None).fill(Filling { arguments, number: 7, slot: 2 }).unwrap();
        filled.into_iter().map(|argument| argument.into_string().unwrap()).collect()
    }

    #[test]
    fn placeholders_are_those_of_gnu_parallel() {
        let all = ["{}", "{.}", "{/}", "{//}", "{/.}"];
        let rows: [(&str, [&str; 5]); 8] = [
            ("a/b.c.d", ["a/b.c.d", "a/b.c", "b.c.d", "a", "b.c"]),
            ("x", ["x", "x", "x", ".", "x"]),
            (".hid", [".hid", "", ".hid", ".", ""]),
            ("a.b/c", ["a.b/c", "a.b/c", "c", "a.b", "c"]),
            ("q.", ["q.", "q.", "q.", ".", "q."]),
            ("", ["", "", "", ".", ""]),
            ("/x/y.z/", ["/x/y.z/", "/x/y.z/", "", "/x", ""]),
            ("/x", ["/x", "/x", "x", "/", "x"]),
        ];
        for (message, expected) in rows {
            assert_eq!(filled(&all, &[message.as_bytes()]), expected, "{message:?}");
        }
        assert_eq!(filled(&["{#}:{%}", "{other} {", "{1}{}", "a{0}", ""], &[b"x"]), ["7:2", "{other} {", "xx", "a{0}", ""]);
    }

    #[test]
    fn many_arguments_are_one_each_where_the_placeholder_stands_alone() {
        assert_eq!(filled(&["e", "{}", "<{/}>", "{2}", "{3}"], &[b"a/b", b"c d"]), ["e", "a/b", "c d", "<b c d>", "c d", ""]);
    }

    #[test]
    fn another_word_can_stand_for_the_message() {
        let command = ["e", "<FILE>", "{}", "{.}", "FILEFILE"].map(OsString::from);
        let with = Filling { arguments: &[b"a.b"], number: 7, slot: 2 };
        let filled = Template::new(&command, Some("FILE")).fill(with).unwrap();
        assert_eq!(filled, ["e", "<a.b>", "{}", "a", "a.ba.b"]);
    }
}
