//! What goes between a pool and the machines that serve it.

use super::error::RemoteTaskError;
use serde::{Deserialize, Serialize};
use std::any::type_name;

/// A call of a function, as it waits in the queue: what a [`RemotePool`](crate::RemotePool) puts and [`Tasks`](crate::Tasks) carry out.
///
/// A program names the type alone, where it opens the queue: `RemoteQueue::<Call>::builder()`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Call {
    /// As [`name_of`] has it.
    pub(super) function: String,
    /// Its number in its pool.
    pub(super) task: u64,
    /// The subject that its pool listens to.
    pub(super) pool: String,
    /// Encoded.
    pub(super) arguments: Vec<u8>,
}

/// What a machine says to a pool. The answer is [`GO`] or [`STOP`].
#[derive(Serialize, Deserialize)]
pub(super) enum Word {
    /// May it begin?
    Begins { task: u64 },
    /// The result, encoded.
    Ended { task: u64, outcome: Result<Vec<u8>, RemoteTaskError> },
}

pub(super) const GO: &[u8] = b"go";
pub(super) const STOP: &[u8] = b"stop";

/// The path of a function, which names it on other machines. `None`: closures, and what stands in one, have none of their own.
pub(super) fn name_of<F>() -> Option<&'static str> {
    Some(type_name::<F>()).filter(|name| !name.contains("{{closure}}"))
}

/// Whether a subject is an inbox. Any other one would do things on the server in the name of this process, and one that is too long would
/// cost it its connection.
pub(super) fn is_inbox(subject: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let mut parts = subject.split('.');
    subject.len() <= 200
        && parts.next() == Some("_INBOX")
        && parts.clone().count() > 0
        && parts.all(|part| !part.is_empty() && part.chars().all(good))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(n: u64) -> u64 {
        n * n
    }

    fn name<F>(_: F) -> Option<&'static str> {
        name_of::<F>()
    }

    #[test]
    fn a_function_is_named_by_its_path_and_a_closure_by_nothing() {
        assert!(name(square).is_some_and(|name| name.ends_with("::square")));
        assert_eq!(name(|n: u64| n), None);
    }

    #[test]
    fn only_inboxes_are_told_results() {
        assert!(is_inbox("_INBOX.0f-1-1.abc"));
        let long = format!("_INBOX.{}", "a".repeat(200));
        let others = [
            "$JS.API.STREAM.DELETE.jobs",
            "_INBOX.>",
            "_INBOX.*",
            "_INBOX.a b",
            "multiproc.jobs.put",
            "",
            "_INBOX",
            "_INBOX.",
            "_INBOX..a",
            &long,
        ];
        for other in others {
            assert!(!is_inbox(other), "{other}");
        }
    }
}
