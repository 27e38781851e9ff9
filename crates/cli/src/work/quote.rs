//! Commands as text that a shell reads back.

use crate::text::is_plain;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// One line that a shell such as bash runs as this command.
pub(crate) fn command(arguments: &[OsString]) -> Vec<u8> {
    arguments.iter().map(|argument| word(argument.as_bytes())).collect::<Vec<_>>().join(&b' ')
}

/// The text itself if a terminal shows it in one line, else as a shell reads it.
pub(crate) fn line(text: &[u8]) -> Vec<u8> {
    if is_shown(text) { text.to_vec() } else { escaped(text) }
}

fn is_shown(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| text.chars().all(is_plain))
}

fn word(text: &[u8]) -> Vec<u8> {
    let needs_no_quotes = |byte: &u8| byte.is_ascii_alphanumeric() || !byte.is_ascii() || b"%+,-./:@_".contains(byte);
    if !is_shown(text) {
        escaped(text)
    } else if !text.is_empty() && text.iter().all(needs_no_quotes) {
        text.to_vec()
    } else {
        let mut quoted = b"'".to_vec();
        for byte in text {
            match byte {
                b'\'' => quoted.extend_from_slice(b"'\\''"),
                other => quoted.push(*other),
            }
        }
        quoted.push(b'\'');
        quoted
    }
}

/// `$'…'`, which takes one line whatever is in it. A byte has three octal digits, so it means the same in any locale.
fn escaped(text: &[u8]) -> Vec<u8> {
    let mut escaped = b"$'".to_vec();
    let octal = |bytes: &[u8]| bytes.iter().flat_map(|byte| format!("\\{byte:03o}").into_bytes()).collect::<Vec<u8>>();
    for chunk in text.utf8_chunks() {
        for letter in chunk.valid().chars() {
            let mut bytes = [0; 4];
            let bytes = letter.encode_utf8(&mut bytes).as_bytes();
            match letter {
                '\n' => escaped.extend_from_slice(b"\\n"),
                '\t' => escaped.extend_from_slice(b"\\t"),
                '\'' | '\\' => escaped.extend_from_slice(&[b'\\', letter as u8]),
                plain if is_plain(plain) => escaped.extend_from_slice(bytes),
                _ => escaped.extend(octal(bytes)),
            }
        }
        escaped.extend(octal(chunk.invalid()));
    }
    escaped.push(b'\'');
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    #[test]
    fn nothing_in_a_command_speaks_to_a_terminal_and_a_shell_reads_it_back() {
        let hostile = "a\u{9b}2J\u{202e}\u{200b}é'\\\x1b]0;x\x07".as_bytes();
        let argument = [hostile, b"\xff\xc3"].concat();
        let arguments = ["printf".into(), "%s".into(), OsString::from_vec(argument.clone())];
        let shown = String::from_utf8(command(&arguments)).unwrap();
        assert!(shown.chars().all(is_plain), "{shown:?}");
        assert!(String::from_utf8(line(&argument)).unwrap().chars().all(is_plain));
        let printed = std::process::Command::new("bash").args(["-c", &shown]).output().unwrap().stdout;
        assert_eq!(printed, argument);
    }

    #[test]
    fn a_shell_reads_a_command_back() {
        let arguments =
            ["printf", "%s|", "plain", "", "it's", "a b", "new\nline", "tab\t'\\", "\u{1}", "*~$x"].map(OsString::from);
        let line = String::from_utf8(command(&arguments)).unwrap();
        let printed = std::process::Command::new("bash").args(["-c", &line]).output().unwrap().stdout;
        assert_eq!(String::from_utf8(printed).unwrap(), "plain||it's|a b|new\nline|tab\t'\\|\u{1}|*~$x|");
    }
}
