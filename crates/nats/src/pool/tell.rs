//! Telling a pool of its tasks, and what is known of pools that don't answer.

use super::call::{GO, Word};
use crate::core::Core;
use crate::link::Unheard;
use crate::runtime::wait;
use crate::until::Until;
use bytes::Bytes;
use multiproc_travel::pass;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long one attempt to reach a pool takes.
const ATTEMPT: Duration = Duration::from_secs(2);
/// The same for a pool that was silent when it was asked last, so that its calls hold up no others.
const SHORT_ATTEMPT: Duration = Duration::from_millis(500);
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

/// Which pools don't answer.
#[derive(Default)]
pub(super) struct Pools(Mutex<HashMap<String, Silence>>);

#[derive(Clone, Copy)]
struct Silence {
    since: Instant,
    last: Instant,
    /// It counts over one connection of this process: another one may reach the pool.
    connection: u64,
}

impl Silence {
    /// Whether it goes on: it was asked for again and again.
    fn goes_on(&self, connection: u64) -> bool {
        self.connection == connection && self.last.elapsed() < 2 * LONGEST_AWAY
    }
}

impl Pools {
    pub(super) fn tell(&self, core: &Core, pool: &str, word: &Word) -> Said {
        let mut bytes = Vec::new();
        if pass::encode_plain(word, &mut bytes).is_err() {
            // Numbers, bytes and texts always have an encoding.
            return Said::Stop;
        }
        let bytes = Bytes::from(bytes);
        let connection = core.link.connection();
        let was_silent = self.lock().get(pool).is_some_and(|silence| silence.goes_on(connection));
        let until = Until::after(if was_silent { SHORT_ATTEMPT } else { ATTEMPT });
        loop {
            match wait(core.link.ask(pool, None, &bytes, until)) {
                Ok(answer) => {
                    self.lock().remove(pool);
                    return if answer.payload == GO { Said::Go } else { Said::Stop };
                }
                Err(Unheard::Nobody) if !was_silent && !until.is_over() => std::thread::sleep(until.left(AGAIN)),
                Err(Unheard::TooLong) => return Said::TooLong(core.link.client().max_payload()),
                // The server says so, or was there all the time.
                Err(Unheard::Nobody | Unheard::Late) if core.link.is_connected() && core.link.connection() == connection => {
                    return self.is_silent(pool, connection);
                }
                Err(_) => return Said::Away(ATTEMPT),
            }
        }
    }

    fn is_silent(&self, pool: &str, connection: u64) -> Said {
        let mut silent = self.lock();
        silent.retain(|_, silence| silence.goes_on(connection));
        let now = Instant::now();
        let silence = silent.entry(pool.into()).or_insert(Silence { since: now, last: now, connection });
        silence.last = now;
        let lasts = silence.since.elapsed();
        if lasts < GONE { Said::Away(lasts.clamp(ATTEMPT, LONGEST_AWAY)) } else { Said::Gone }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Silence>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
