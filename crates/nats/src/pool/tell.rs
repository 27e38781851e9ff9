//! Telling a pool of its tasks, and what is known of pools that don't answer.

use super::call::{GO, Word};
use crate::core::Core;
use crate::link::Unheard;
use crate::runtime::wait;
use crate::until::Until;
use bytes::Bytes;
use multiproc_travel::pass;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long one attempt to reach a pool takes.
const ATTEMPT: Duration = Duration::from_secs(2);
/// The server may not know of a pool's subject for a moment: after a cut, and in a cluster.
const AGAIN: Duration = Duration::from_millis(50);
/// After this time without a word, a pool is gone, and its calls are dropped.
const GONE: Duration = Duration::from_secs(600);
/// A call of a pool that is away comes back after this at the latest.
const LONGEST_AWAY: Duration = Duration::from_secs(60);

/// What a pool said.
pub(super) enum Said {
    Go,
    /// It does not want the call any more.
    Stop,
    /// It can't be reached. The call may come back after this time.
    Away(Duration),
    /// It could not be reached for ten minutes.
    Gone,
    /// The word is too long for the server, which takes so many bytes.
    TooLong(usize),
}

/// Since when which pools don't answer.
#[derive(Default)]
pub(super) struct Pools(Mutex<HashMap<String, Instant>>);

impl Pools {
    pub(super) fn tell(&self, core: &Core, pool: &str, word: &Word) -> Said {
        let mut bytes = Vec::new();
        if pass::encode_plain(word, &mut bytes).is_err() {
            // Numbers, bytes and texts always have an encoding.
            return Said::Stop;
        }
        let bytes = Bytes::from(bytes);
        // Who was away a moment ago is asked once, so that calls of a pool that is gone hold up no others.
        let until = Until::after(if self.lock().contains_key(pool) { Duration::ZERO } else { ATTEMPT });
        loop {
            match wait(core.link.ask(pool, None, &bytes, until)) {
                Ok(answer) => {
                    self.lock().remove(pool);
                    return if answer.payload == GO { Said::Go } else { Said::Stop };
                }
                Err(Unheard::Nobody) if !until.is_over() => std::thread::sleep(until.left(AGAIN)),
                Err(Unheard::TooLong) => return Said::TooLong(core.link.client().max_payload()),
                Err(_) => return self.is_silent(pool),
            }
        }
    }

    fn is_silent(&self, pool: &str) -> Said {
        let mut silent = self.lock();
        silent.retain(|_, since| since.elapsed() < 2 * GONE);
        let since = silent.entry(pool.into()).or_insert_with(Instant::now).elapsed();
        if since < GONE { Said::Away(since.clamp(ATTEMPT, LONGEST_AWAY)) } else { Said::Gone }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
