//! Commands as text that a shell reads back.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// One line that a shell such as bash runs as this command.
pub(crate) fn command(arguments: &[OsString]) -> Vec<u8> {
    arguments.iter().map(|argument| word(argument.as_bytes())).collect::<Vec<_>>().join(&b' ')
}

/// The text itself if it is one line, else as a shell reads it.
pub(crate) fn line(text: &[u8]) -> Vec<u8> {
    if text.iter().any(u8::is_ascii_control) { escaped(text) } else { text.to_vec() }
}

fn word(text: &[u8]) -> Vec<u8> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || !byte.is_ascii() || b"%+,-./:@_".contains(byte);
    if text.iter().any(u8::is_ascii_control) {
        escaped(text)
    } else if !text.is_empty() && text.iter().all(is_plain) {
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

/// `$'…'`, which takes one line whatever is in it.
fn escaped(text: &[u8]) -> Vec<u8> {
    let mut escaped = b"$'".to_vec();
    for byte in text {
        match byte {
            b'\n' => escaped.extend_from_slice(b"\\n"),
            b'\t' => escaped.extend_from_slice(b"\\t"),
            b'\'' | b'\\' => escaped.extend_from_slice(&[b'\\', *byte]),
            control if control.is_ascii_control() => escaped.extend_from_slice(format!("\\{control:03o}").as_bytes()),
            other => escaped.push(*other),
        }
    }
    escaped.push(b'\'');
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_a_command_back() {
        let arguments =
            ["printf", "%s|", "plain", "", "it's", "a b", "new\nline", "tab\t'\\", "\u{1}", "*~$x"].map(OsString::from);
        let line = String::from_utf8(command(&arguments)).unwrap();
        let printed = std::process::Command::new("bash").args(["-c", &line]).output().unwrap().stdout;
        assert_eq!(String::from_utf8(printed).unwrap(), "plain||it's|a b|new\nline|tab\t'\\|\u{1}|*~$x|");
    }
}
