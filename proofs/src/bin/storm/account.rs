//! Compares what was put with what was delivered, value by value.

use std::fmt;

/// The sums of all rounds that went well.
#[derive(Default)]
pub(crate) struct Total {
    pub(crate) rounds: u64,
    pub(crate) jobs: u64,
    /// Deliveries beyond the first.
    pub(crate) again: u64,
    pub(crate) killed: u64,
    pub(crate) stopped: u64,
    /// Processes that ended by themselves: exit, return, panic.
    pub(crate) left: u64,
    /// The longest backlog of a queue that grew.
    pub(crate) backlog: u64,
}

impl std::ops::AddAssign for Total {
    fn add_assign(&mut self, other: Self) {
        self.rounds += other.rounds;
        self.jobs += other.jobs;
        self.again += other.again;
        self.killed += other.killed;
        self.stopped += other.stopped;
        self.left += other.left;
        self.backlog = self.backlog.max(other.backlog);
    }
}

impl fmt::Display for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rounds, jobs, again, killed, stopped, left, backlog } = self;
        write!(f, "{rounds} rounds, {jobs} jobs, {again} of them delivered again; {killed} killed, {stopped} stopped, ")?;
        write!(f, "{left} exits, returns and panics; longest backlog {backlog}")
    }
}

/// What is known of a producer from outside the queue.
pub(crate) struct Put {
    /// Puts that returned Ok.
    pub(crate) logged: u64,
    /// The producer may have put one more value without counting it.
    pub(crate) killed: bool,
}

/// Checks deliveries against puts. Returns how many jobs there were, and how many deliveries beyond the first.
pub(crate) fn settle(mut delivered: Vec<(u64, u16)>, put: &[Put]) -> Result<(u64, u64), String> {
    delivered.sort_unstable();
    let doubled = delivered.windows(2).filter(|pair| pair[0] == pair[1]).count();
    let deliveries = delivered.len() as u64;
    delivered.dedup_by_key(|(job, _)| *job);
    let mut rest = &delivered[..];
    let (mut lost, mut invented, mut jobs) = (0, 0, 0);
    for (number, Put { logged, killed }) in put.iter().enumerate() {
        let of_this = rest.iter().take_while(|(job, _)| job >> 32 == number as u64).count();
        let counts: Vec<u64> = rest[..of_this].iter().map(|(job, _)| job & u64::from(u32::MAX)).collect();
        rest = &rest[of_this..];
        let most = logged + u64::from(*killed);
        lost += logged - counts.iter().filter(|&count| count < logged).count() as u64;
        invented += counts.iter().filter(|&&count| count >= most).count();
        jobs += of_this as u64;
    }
    if lost > 0 || doubled > 0 || invented > 0 || !rest.is_empty() {
        let strange = invented + rest.len();
        return Err(format!("{lost} jobs lost, {doubled} doubled without a raised count, {strange} that nobody put"));
    }
    Ok((jobs, deliveries - jobs))
}
