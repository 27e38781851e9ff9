//! Messages and queues as lines of JSON.

use super::create::Shape;
use crate::text::{Text, is_plain};
use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use multiproc::{Glimpse, Place, Unfinished};
use serde::{Deserialize, Serialize};

/// Bytes in JSON: as text where they are UTF-8.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Content<'a> {
    Text(&'a str),
    Base64(String),
}

impl<'a> Content<'a> {
    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text),
            Err(_) => Self::Base64(STANDARD.encode(bytes)),
        }
    }
}

/// A message as `peek`, `dead` and `export` print it.
#[derive(Serialize)]
pub(crate) struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    place: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    deliveries: Option<u16>,
    #[serde(flatten)]
    ended: Option<Ended>,
    #[serde(flatten)]
    content: Content<'a>,
}

impl<'a> Line<'a> {
    pub(crate) fn of(glimpse: &'a Glimpse) -> Self {
        let place = match glimpse.place {
            Place::Waiting => "waiting",
            Place::InHand { .. } => "in hand",
            Place::Dead => "dead",
            _ => "elsewhere",
        };
        Self {
            id: Some(glimpse.id.to_string()),
            place,
            deliveries: Some(glimpse.deliveries),
            ended: glimpse.ended.map(Ended::from),
            content: Content::of(&glimpse.bytes),
        }
    }

    /// A dead message on a server, which knows of its end only whether it could be read.
    #[cfg(feature = "nats")]
    pub(crate) fn dead(id: u64, deliveries: u16, unreadable: bool, bytes: &'a [u8]) -> Self {
        let ended = unreadable.then_some(Ended { reason: "unreadable", exit: None, pid: None });
        Self { id: Some(id.to_string()), place: "dead", deliveries: Some(deliveries), ended, content: Content::of(bytes) }
    }

    /// A message that was taken out of a place.
    pub(crate) fn taken(place: &'static str, bytes: &'a [u8]) -> Self {
        Self { id: None, place, deliveries: None, ended: None, content: Content::of(bytes) }
    }
}

/// How the last delivery of a message ended.
#[derive(Clone, Copy, Serialize)]
pub(crate) struct Ended {
    reason: &'static str,
    /// The exit status of the command that `multiproc work` ran: its code, or 128 and the signal that ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    exit: Option<u32>,
    /// The process that died with it in hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
}

impl From<Unfinished> for Ended {
    fn from(how: Unfinished) -> Self {
        let (reason, exit, pid) = match how {
            Unfinished::GivenBack { note: 0 } => ("given back", None, None),
            Unfinished::GivenBack { note } => ("failed", Some(note), None),
            Unfinished::Died { pid } => ("died", None, Some(pid)),
            Unfinished::Unreadable => ("unreadable", None, None),
            _ => ("unknown", None, None),
        };
        Self { reason, exit, pid }
    }
}

impl Ended {
    /// What people read, in `dead` and in `top`.
    pub(crate) fn in_words(self) -> String {
        match self {
            // As "multiproc work" notes how a job failed.
            Self { exit: Some(124), .. } => "failed: ran past its time".into(),
            Self { exit: Some(status @ 129..193), .. } => format!("failed: signal {}", status - 128),
            Self { exit: Some(status), .. } => format!("failed: exit {status}"),
            Self { pid: Some(pid), .. } => format!("process {pid} died with it"),
            Self { reason: "unreadable", .. } => "could not be read".into(),
            Self { reason, .. } => reason.into(),
        }
    }
}

/// The first line of an export: how to make the queue.
#[derive(Serialize)]
pub(crate) struct Header<'a> {
    pub(crate) queue: &'a Shape,
}

/// A line that is read: a message, or the first line of an export.
#[derive(Deserialize)]
pub(crate) struct Given {
    pub(crate) queue: Option<Shape>,
    text: Option<String>,
    base64: Option<String>,
}

impl Given {
    pub(crate) fn read(line: &[u8]) -> anyhow::Result<Self> {
        serde_json::from_slice(line)
            .with_context(|| format!("{} is no message in JSON: write {{\"text\":\"...\"}}", abridged(line)))
    }

    /// The message. `None`: the line says how to make the queue.
    pub(crate) fn message(self) -> anyhow::Result<Option<Vec<u8>>> {
        match self {
            Self { text: Some(text), base64: None, .. } => Ok(Some(text.into_bytes())),
            Self { text: None, base64: Some(code), .. } => {
                let bytes = STANDARD.decode(&code);
                bytes.map(Some).with_context(|| format!("{} is no base64", abridged(code.as_bytes())))
            }
            Self { queue: Some(_), .. } => Ok(None),
            _ => bail!("a message in JSON has either \"text\" or \"base64\""),
        }
    }
}

/// The beginning of a message, for people.
pub(crate) fn abridged(bytes: &[u8]) -> String {
    const MOST: usize = 60;
    format!("\"{}\"", Text::beginning(bytes, MOST))
}

/// A line of JSON. What a terminal would obey is an escape in it: it can only be in strings.
pub(crate) fn line(of: &impl Serialize) -> serde_json::Result<String> {
    let mut line = serde_json::to_string(of)?;
    if !line.chars().all(is_plain) {
        let mut units = [0; 2];
        let escape =
            |letter: char| letter.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect::<String>();
        line = line
            .chars()
            .scan(escape, |escape, letter| Some(if is_plain(letter) { letter.to_string() } else { escape(letter) }))
            .collect();
    }
    line.push('\n');
    Ok(line)
}

/// Each thing as a line of JSON.
pub(crate) fn lines<T: Serialize>(of: impl IntoIterator<Item = T>) -> anyhow::Result<String> {
    of.into_iter().map(|one| Ok(line(&one)?)).collect()
}
