//! What parent and new process tell each other, packet by packet.
//!
//! The child speaks first: [`Reply::Here`]. The parent answers with a word of welcome, whose sender the child checks, then with
//! [`Hello`], then with the arguments. The child's last word is [`Reply::Ready`], or the reason why it can't run the function.

use crate::target::Entry;
use multiproc_travel::pass::{decode_plain, encode_plain};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Descriptors that arguments can hold.
pub(crate) const MAX_DESCRIPTORS: usize = 1 << 16;
/// Bytes that arguments can take, encoded.
pub(crate) const MAX_ARGS: usize = 1 << 30;
/// Bytes that a process's name can take.
pub(crate) const MAX_NAME: usize = 1 << 16;
/// Bytes of [`Hello`]: its name, and numbers.
pub(crate) const MAX_HELLO: usize = MAX_NAME + (1 << 20);
/// Bytes of a [`Reply`].
pub(crate) const MAX_REPLY: usize = 1 << 16;

/// What the parent says before its orders. Only its sender matters.
pub(crate) const WELCOME: &[u8] = b"welcome";

/// What a new process is told, but for the arguments.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) entry: Entry,
    /// Run the function before `main`, since the parent's `main` did not call `init` either.
    pub(crate) early: bool,
    pub(crate) daemon: bool,
    /// Ignore SIGINT.
    pub(crate) ignore_interrupts: bool,
    /// Keep the socket open until the end, because the parent has nothing else to watch.
    pub(crate) stay_connected: bool,
    /// The last descriptor beside this packet is the standard input.
    pub(crate) has_stdin: bool,
    pub(crate) parent: u32,
    pub(crate) name: String,
    pub(crate) numbers: Vec<u32>,
}

impl Hello {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        to_bytes(self)
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        decode_plain(bytes).ok()
    }
}

/// What a new process says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// It runs and asks for its orders.
    Here,
    /// It is about to call the function.
    Ready,
    /// The arguments can't be decoded.
    Undecodable(String),
    /// It can't begin, or may not.
    Refused(String),
}

impl Reply {
    pub(crate) fn undecodable(why: &str) -> Self {
        Self::Undecodable(short(why))
    }

    pub(crate) fn refused(why: &str) -> Self {
        Self::Refused(short(why))
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        to_bytes(self)
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        decode_plain(bytes).ok()
    }
}

fn to_bytes<T: Serialize + DeserializeOwned>(value: &T) -> Vec<u8> {
    let mut encoded = Vec::new();
    // Numbers and strings always have an encoding.
    let _ = encode_plain(value, &mut encoded);
    encoded
}

/// The program's own text may have any length: a character takes up to 4 bytes.
fn short(text: &str) -> String {
    text.chars().take(MAX_REPLY / 8).collect()
}
