//! The supervisor of a group of processes: it starts them, notices ends, and replaces what died.
//!
//! It is one thread. It sleeps until a socket of a member hangs up, a member is due to start, its policy wants to look, or somebody rings.

use crate::member::{Member, NotStarted};
use multiproc_prim::{stamp, with_signals_blocked};
use multiproc_process::{Exit, Process};
use multiproc_travel::{Link, Readiness};
use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long the supervisor sleeps at most. A member's forked copy may keep its socket open, so that nothing tells of its end.
const PERIOD: Duration = Duration::from_secs(1);
/// How long a member has to end after SIGTERM before SIGKILL.
const GRACE: Duration = Duration::from_millis(500);
/// How long the end of a process may come after its socket has hung up.
const ENDING: Duration = Duration::from_millis(200);
/// Ends that a group remembers.
const HISTORY: usize = 1000;

/// How a process of a group ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerEnd {
    /// The number of the worker, from 0. Its replacement has the same one.
    pub worker: usize,
    /// The process id.
    pub pid: u32,
    /// How it ended.
    pub exit: Exit,
    /// How long it lived.
    pub lived: Duration,
}

/// What a group does about an end.
pub(crate) enum Verdict {
    /// The member is finished.
    Finished,
    /// Another one starts in its place, after a pause.
    Replace(Duration),
    /// The whole group ends, and why.
    GiveUp(String),
}

/// What those who run a group want of it.
pub(crate) trait Policy: Send {
    fn start(&mut self, worker: usize) -> Result<Member, NotStarted>;

    /// A member ended. `draining`: members are expected to end.
    fn ended(&mut self, end: &WorkerEnd, draining: bool) -> Verdict;

    fn not_started(&mut self, failure: &NotStarted) -> Verdict;

    /// Looks at the members, and kills those that it names. Returns when to look again; `None`: when somebody rings.
    fn look(&mut self, _kill: &mut dyn FnMut(usize)) -> Option<Duration> {
        None
    }

    /// The group has ended, and why if it gave up.
    fn over(&mut self, _why: Option<&str>) {}
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mode {
    Running,
    Draining,
    Ending,
}

struct State {
    mode: Mode,
    processes: Vec<Option<Process>>,
    history: VecDeque<WorkerEnd>,
    replaced: u64,
    /// Set when no member is left: `Some(why)` if the group gave up.
    over: Option<Option<String>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    bell: Readiness,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A group and its supervisor. Dropping it ends the members, except in a forked copy of the process.
pub(crate) struct Group {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    stamp: u64,
}

/// A place for a member in the supervisor's hands.
struct Seat {
    member: Option<Member>,
    began: Instant,
    /// When to start the next member.
    due: Option<Instant>,
}

impl Group {
    /// Starts `count` members, then their supervisor.
    pub(crate) fn start(count: usize, name: &str, mut policy: impl Policy + 'static) -> Result<Self, GroupError> {
        let bell = Readiness::new()?;
        let waits = Link::from_descriptor(bell.as_fd().try_clone_to_owned()?);
        let mut seats: Vec<Seat> = Vec::new();
        for worker in 0..count {
            let started = policy.start(worker).map_err(GroupError::from);
            let watched = started.and_then(|member| Ok(bell.watch(&member.wire).map(|()| member)?));
            match watched {
                Ok(member) => seats.push(Seat { member: Some(member), began: Instant::now(), due: None }),
                Err(error) => {
                    kill(&mut seats);
                    return Err(error);
                }
            }
        }
        let processes = seats.iter().map(|seat| seat.member.as_ref().map(|member| member.process.clone())).collect();
        let state = State { mode: Mode::Running, processes, history: VecDeque::new(), replaced: 0, over: None };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new(), bell });
        let supervisor = Supervisor { shared: Arc::clone(&shared), seats, policy: Box::new(policy), kill_at: None };
        let thread = std::thread::Builder::new().name(format!("{name}-supervisor"));
        let thread = with_signals_blocked(|| thread.spawn(move || supervisor.run(&waits)))?;
        Ok(Self { shared, thread: Some(thread), stamp: stamp() })
    }

    pub(crate) fn is_inherited(&self) -> bool {
        self.stamp != stamp()
    }

    fn enter(&self, mode: Mode) {
        let mut state = self.shared.lock();
        state.mode = state.mode.max(mode);
        drop(state);
        self.ring();
    }

    /// Lets members end, and replaces only those that die.
    pub(crate) fn drain(&self) {
        self.enter(Mode::Draining);
    }

    /// Ends all members.
    pub(crate) fn terminate(&self) {
        self.enter(Mode::Ending);
    }

    /// Has the supervisor look around.
    pub(crate) fn ring(&self) {
        self.shared.bell.set(true);
    }

    /// Waits until all members have ended; `None` at the time-out. Returns why the group gave up, if it did.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> Option<Option<String>> {
        let begin = Instant::now();
        let mut state = self.shared.lock();
        loop {
            if let Some(over) = &state.over {
                return Some(over.clone());
            }
            state = match timeout.map(|timeout| timeout.saturating_sub(begin.elapsed())) {
                Some(Duration::ZERO) => return None,
                Some(left) => self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    pub(crate) fn processes(&self) -> Vec<Process> {
        self.shared.lock().processes.iter().flatten().cloned().collect()
    }

    pub(crate) fn history(&self) -> Vec<WorkerEnd> {
        self.shared.lock().history.iter().cloned().collect()
    }

    pub(crate) fn replaced(&self) -> u64 {
        self.shared.lock().replaced
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A forked copy has no such members, and no such thread: another thread may have held the lock at the fork.
        if self.is_inherited() {
            return;
        }
        self.terminate();
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Why a group did not start.
pub(crate) enum GroupError {
    Member(NotStarted),
    System(io::Error),
}

impl From<NotStarted> for GroupError {
    fn from(failure: NotStarted) -> Self {
        Self::Member(failure)
    }
}

impl From<io::Error> for GroupError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

fn kill(seats: &mut [Seat]) {
    let members: Vec<Member> = seats.iter_mut().filter_map(|seat| seat.member.take()).collect();
    for member in &members {
        let _ = member.process.kill();
    }
    for member in &members {
        let _ = member.process.join();
    }
}

struct Supervisor {
    shared: Arc<Shared>,
    seats: Vec<Seat>,
    policy: Box<dyn Policy>,
    /// When to kill what SIGTERM has not ended.
    kill_at: Option<Instant>,
}

impl Supervisor {
    fn run(mut self, bell: &Link) {
        let mut why = None;
        loop {
            self.shared.bell.clear();
            self.shared.bell.set(false);
            let mode = self.shared.lock().mode;
            if mode == Mode::Ending {
                self.end_all();
            }
            for worker in 0..self.seats.len() {
                if let Some(reason) = self.look_at(worker, mode) {
                    why.get_or_insert(reason);
                }
            }
            if why.is_some() {
                self.end_all();
            }
            if self.seats.iter().all(|seat| seat.member.is_none() && seat.due.is_none()) {
                break;
            }
            let limit = self.pause();
            // A signal or a refusal of the system: look around.
            let _ = bell.wait_readable(limit);
        }
        self.end(why);
    }

    /// Tells everyone that no member is left.
    fn end(&mut self, why: Option<String>) {
        self.policy.over(why.as_deref());
        self.shared.lock().over = Some(why);
        self.shared.changed.notify_all();
    }

    /// How long there is nothing to do but to wait for a hang-up or a ring.
    fn pause(&mut self) -> Duration {
        let Self { seats, policy, .. } = self;
        let mut kill = |worker: usize| {
            if let Some(member) = seats.get(worker).and_then(|seat| seat.member.as_ref()) {
                let _ = member.process.kill();
            }
        };
        let look = policy.look(&mut kill);
        // Once they were killed, the end of each member rings.
        let kill_at = self.kill_at.filter(|at| *at > Instant::now());
        let due = seats.iter().filter_map(|seat| seat.due).chain(kill_at).min();
        let due = due.map(|due| due.saturating_duration_since(Instant::now()));
        due.into_iter().chain(look).fold(PERIOD, Duration::min)
    }

    /// Notices the end of a member, and starts the next one. Returns why the group gives up, if it does.
    fn look_at(&mut self, worker: usize, mode: Mode) -> Option<String> {
        let shared = Arc::clone(&self.shared);
        let seat = &mut self.seats[worker];
        if let Some(member) = &seat.member {
            let exit = match member.process.exit_code() {
                // It closes its descriptors a moment before its end can be waited for.
                None if member.wire.is_hung_up() => member.process.join_timeout(ENDING).ok().flatten(),
                exit => exit,
            };
            let exit = exit?;
            let end = WorkerEnd { worker, pid: member.process.pid(), exit, lived: seat.began.elapsed() };
            shared.bell.forget(&member.wire);
            seat.member = None;
            let verdict = self.policy.ended(&end, mode >= Mode::Draining);
            let mut state = shared.lock();
            state.processes[worker] = None;
            if state.history.len() == HISTORY {
                state.history.pop_front();
            }
            state.history.push_back(end);
            drop(state);
            if let Some(why) = self.follow(worker, verdict, mode) {
                return Some(why);
            }
        }
        let seat = &mut self.seats[worker];
        if seat.due.is_none_or(|due| due > Instant::now()) {
            return None;
        }
        let started = self.policy.start(worker).and_then(|member| {
            let watched = shared.bell.watch(&member.wire);
            watched.map(|()| member).map_err(NotStarted::from)
        });
        let seat = &mut self.seats[worker];
        seat.due = None;
        match started {
            Ok(member) => {
                let mut state = shared.lock();
                state.processes[worker] = Some(member.process.clone());
                state.replaced += 1;
                drop(state);
                (seat.member, seat.began) = (Some(member), Instant::now());
                None
            }
            Err(failure) => {
                let verdict = self.policy.not_started(&failure);
                self.follow(worker, verdict, mode)
            }
        }
    }

    fn follow(&mut self, worker: usize, verdict: Verdict, mode: Mode) -> Option<String> {
        match verdict {
            Verdict::Replace(pause) if mode < Mode::Ending => self.seats[worker].due = Some(Instant::now() + pause),
            Verdict::Replace(_) | Verdict::Finished => {}
            Verdict::GiveUp(why) => return Some(why),
        }
        None
    }

    /// Asks all members to end, and kills them later.
    fn end_all(&mut self) {
        self.shared.lock().mode = Mode::Ending;
        self.seats.iter_mut().for_each(|seat| seat.due = None);
        let members = self.seats.iter().filter_map(|seat| seat.member.as_ref());
        match self.kill_at {
            None => {
                members.for_each(|member| drop(member.process.terminate()));
                self.kill_at = Some(Instant::now() + GRACE);
            }
            Some(at) if at <= Instant::now() => members.for_each(|member| drop(member.process.kill())),
            Some(_) => {}
        }
    }
}

/// Nobody waits for ever for a supervisor that panicked.
impl Drop for Supervisor {
    fn drop(&mut self) {
        if std::thread::panicking() {
            kill(&mut self.seats);
            self.end(Some("its supervisor panicked".into()));
        }
    }
}
