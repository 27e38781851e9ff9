//! The thread that keeps watch for a process: it sleeps until the kernel tells it that a description was closed or a lookout ended.

use crate::lookout::{Charge, Standing, State, WATCHER, Watched};
use crate::private::PrivateFd;
use multiproc_prim::background;
use rustix::event::{Timespec, epoll};
use rustix::fs::inotify::Reader;
use std::mem::MaybeUninit;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// The number of inotify in the epoll set. A membership's number is never 0.
pub(crate) const EAR: u64 = 0;

/// The kernel dropped events: any segment may be meant.
const ANY: i32 = -1;

/// Pauses before the looks that follow the end of a description.
///
/// The kernel tells of the end *before* it frees the locks, and the dying process may not run for a while: one look is not
/// enough. More ends during the pauses add looks, but do not wake the thread: processes that come and go cost little.
const LOOKS: [Duration; 4] = [Duration::ZERO, Duration::from_millis(5), Duration::from_millis(15), Duration::from_millis(60)];
/// Pause before this process looks again for the word of a new lookout.
const RETRY: Duration = Duration::from_millis(3);
/// Events read at once.
const MOST_EVENTS: usize = 1000;

/// What the thread does after it has unlocked the state.
pub(crate) enum Act {
    Look(Weak<dyn Watched>),
    WakeEveryone(Weak<dyn Watched>),
}

impl Act {
    fn run(self) {
        match self {
            Self::Look(watched) => drop(watched.upgrade().inspect(|watched| watched.look())),
            Self::WakeEveryone(watched) => drop(watched.upgrade().inspect(|watched| watched.wake_everyone())),
        }
    }
}

/// Starts the thread, unless it runs.
pub(crate) fn start(state: &mut State) -> Option<()> {
    if state.bells.is_none() {
        let bells = Arc::new(PrivateFd::open(|| epoll::create(epoll::CreateFlags::CLOEXEC)).ok()?);
        let theirs = Arc::clone(&bells);
        background("multiproc-watch", move || run(&theirs)).ok()?;
        state.bells = Some(bells);
    }
    Some(())
}

/// Segments of which a description was closed, and when to look at them next.
struct Alarm {
    heard: Vec<i32>,
    step: usize,
    at: Instant,
}

fn run(bells: &PrivateFd) {
    let mut alarm: Option<Alarm> = None;
    let mut retry: Option<Instant> = None;
    let mut rung = Vec::with_capacity(16);
    while let Some(epoll) = bells.get() {
        let next = [alarm.as_ref().map(|alarm| alarm.at), retry].into_iter().flatten().min();
        let pause = next.and_then(|next| Timespec::try_from(next.saturating_duration_since(Instant::now())).ok());
        rung.clear();
        let waited = epoll::wait(epoll, rustix::buffer::spare_capacity(&mut rung), pause.as_ref());
        if waited.is_err_and(|error| error != rustix::io::Errno::INTR) {
            // Not to be expected. The sleepers look for themselves when they wake up, and this thread must not spin.
            std::thread::sleep(LOOKS[3]);
        }
        let now = Instant::now();
        let mut gone: Vec<u64> = rung.iter().map(|event| event.data.u64()).filter(|&data| data != EAR).collect();
        if gone.len() < rung.len() {
            alarm.get_or_insert_with(|| Alarm { heard: Vec::new(), step: 0, at: now });
        }
        let mut state = WATCHER.get().lock();
        if retry.is_some_and(|at| at <= now) {
            gone.extend(state.seeking());
        }
        let mut acts: Vec<Act> = gone.into_iter().filter_map(|number| state.replace(number)).collect();
        if acts.iter().any(|act| matches!(act, Act::Look(_))) {
            // The kernel may have told a new lookout of an end too late: it looks again as if it had been told now.
            let heard = alarm.map_or_else(Vec::new, |alarm| alarm.heard);
            alarm = Some(Alarm { heard: [heard, vec![ANY]].concat(), step: 0, at: now });
        }
        retry = state.seeking().next().is_some().then(|| now + RETRY);
        alarm = alarm.and_then(|alarm| if alarm.at <= now { alarm.go_on(&mut state, now, &mut acts) } else { Some(alarm) });
        drop(state);
        acts.into_iter().for_each(Act::run);
    }
}

impl Alarm {
    /// Has those segments looked at. `None`: that was the last look.
    fn go_on(mut self, state: &mut State, now: Instant, acts: &mut Vec<Act>) -> Option<Self> {
        if state.hear(&mut self.heard) && self.step > 0 {
            self.step = 1;
        }
        for charge in &state.charges {
            let concerned = |heard_as: i32| self.heard.iter().any(|&heard| heard == heard_as || heard == ANY);
            if matches!(charge.standing, Standing::Lookout { heard_as, .. } if concerned(heard_as)) {
                acts.push(Act::Look(charge.watched.clone()));
                if charge.is_left_alone() {
                    acts.push(Act::WakeEveryone(charge.watched.clone()));
                }
            }
        }
        self.step += 1;
        match LOOKS.get(self.step) {
            Some(pause) => Some(Self { at: now + *pause, ..self }),
            None => {
                state.listen_again();
                None
            }
        }
    }
}

impl State {
    fn seeking(&self) -> impl Iterator<Item = u64> {
        let seeking = |charge: &&Charge| matches!(charge.standing, Standing::Seeking { .. });
        self.charges.iter().filter(seeking).map(Charge::number)
    }

    /// Collects the numbers of segments of which a description was closed. Returns whether there were any.
    fn hear(&self, heard: &mut Vec<i32>) -> bool {
        let Some(ear) = self.ear.as_ref().and_then(PrivateFd::get) else { return false };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(ear, &mut buffer);
        let mut any = false;
        // Bounded, since another process may go on opening and closing. The rest rings again.
        for _ in 0..MOST_EVENTS {
            let Ok(event) = reader.next() else { break };
            any = true;
            if !heard.contains(&event.wd()) {
                heard.push(event.wd());
            }
        }
        any
    }

    /// Inotify rings the thread once. From here on it does so again, at once if an event came meanwhile.
    fn listen_again(&self) {
        let (Some(bells), Some(ear)) =
            (self.bells.as_ref().and_then(|bells| bells.get()), self.ear.as_ref().and_then(PrivateFd::get))
        else {
            return;
        };
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ONESHOT;
        let _ = epoll::modify(bells, ear, epoll::EventData::new_u64(EAR), flags);
    }
}
