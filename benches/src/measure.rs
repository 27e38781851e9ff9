//! Rounds that alternate, medians, and one row per comparison.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// One side of a comparison. It does so many operations, and returns the cost of one in the scenario's unit.
pub type Side = Box<dyn Fn(u64) -> Result<f64>>;

/// What a side returns.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Seconds per operation.
    Seconds,
    /// Bytes.
    Bytes,
    /// A part of the whole.
    Share,
    /// How many there can be: the more the better.
    Count,
}

/// What is compared, and with whom.
pub struct Scenario {
    name: &'static str,
    operations: u64,
    ours: Side,
    peers: Vec<Peer>,
    unit: Unit,
    most_rounds: usize,
}

/// A peer, and the target for the ratio of its cost to ours. For a limit, the ratio is our cost to its.
pub struct Peer {
    name: &'static str,
    operations: u64,
    side: Side,
    target: f64,
    limit: bool,
    /// It takes part in every round whose number this divides.
    every: usize,
}

impl Peer {
    /// A peer whose cost is to be at least `target` times ours.
    pub fn new(name: &'static str, operations: u64, side: impl Fn(u64) -> Result<f64> + 'static, target: f64) -> Self {
        Self { name, operations, side: Box::new(side), target, limit: false, every: 1 }
    }

    /// A limit: our cost is to be at most `target` times its cost.
    pub fn limit(name: &'static str, operations: u64, side: impl Fn(u64) -> Result<f64> + 'static, target: f64) -> Self {
        Self { limit: true, ..Self::new(name, operations, side, target) }
    }

    /// A figure that ours is to be at most.
    pub fn at_most(name: &'static str, figure: f64) -> Self {
        Self::limit(name, 1, move |_| Ok(figure), 1.0)
    }

    /// Takes part in a third of the rounds, since it is slow and far from its target.
    pub fn seldom(self) -> Self {
        Self { every: 3, ..self }
    }
}

/// One comparison, measured.
#[derive(Serialize, Deserialize)]
pub struct Row {
    pub scenario: String,
    pub unit: Unit,
    /// Medians.
    pub ours: f64,
    pub peer: f64,
    pub peer_name: String,
    pub ratio: f64,
    /// Half the distance between the largest and the smallest ratio of a round.
    pub spread: f64,
    pub target: f64,
    /// Whether the ratio is to be at most the target, not at least.
    pub limit: bool,
    pub met: bool,
}

impl Scenario {
    pub fn timed(
        name: &'static str,
        operations: u64,
        ours: impl Fn(u64) -> Result<f64> + 'static,
        peers: impl IntoIterator<Item = Peer>,
    ) -> Self {
        let peers = peers.into_iter().collect();
        Self { name, operations, ours: Box::new(ours), peers, unit: Unit::Seconds, most_rounds: usize::MAX }
    }

    /// What is not a time.
    pub fn unit(self, unit: Unit) -> Self {
        Self { unit, ..self }
    }

    /// A figure that is nearly the same each time, or that takes long to find out.
    pub fn most_rounds(self, most_rounds: usize) -> Self {
        Self { most_rounds, ..self }
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    pub fn run(&self, rounds: usize, scale: u64) -> Result<Vec<Row>> {
        let few = |operations: u64| (operations / scale).max(1);
        let mut ours = Vec::new();
        // With our own cost of the same round.
        let mut theirs = vec![Vec::new(); self.peers.len()];
        for round in 0..rounds.min(self.most_rounds) {
            let cost = (self.ours)(few(self.operations)).with_context(|| self.name)?;
            ours.push(cost);
            for (peer, costs) in self.peers.iter().zip(&mut theirs).filter(|(peer, _)| round % peer.every == 0) {
                match (peer.side)(few(peer.operations)) {
                    Ok(theirs) => costs.push((cost, theirs)),
                    Err(error) => println!("{}, {}: a round is left out: {error:#}", self.name, peer.name),
                }
            }
        }
        let measured = self.peers.iter().zip(&theirs).filter(|(_, theirs)| !theirs.is_empty());
        Ok(measured.map(|(peer, theirs)| self.row(peer, &ours, theirs)).collect())
    }

    fn row(&self, peer: &Peer, ours: &[f64], rounds: &[(f64, f64)]) -> Row {
        let ours_first = peer.limit || self.unit == Unit::Count;
        let over = |ours: f64, theirs: f64| if ours_first { ours / theirs } else { theirs / ours };
        let theirs: Vec<f64> = rounds.iter().map(|(_, theirs)| *theirs).collect();
        let ratio = over(median(ours), median(&theirs));
        let ratios = rounds.iter().map(|(ours, theirs)| over(*ours, *theirs));
        let (least, most) = ratios.fold((f64::MAX, 0f64), |(least, most), ratio| (least.min(ratio), most.max(ratio)));
        Row {
            scenario: self.name.to_owned(),
            unit: self.unit,
            ours: median(ours),
            peer: median(&theirs),
            peer_name: peer.name.to_owned(),
            ratio,
            spread: (most - least) / 2.0,
            target: peer.target,
            limit: peer.limit,
            met: if peer.limit { ratio <= peer.target } else { ratio >= peer.target },
        }
    }
}

fn median(costs: &[f64]) -> f64 {
    let mut sorted = costs.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// Seconds per operation of `work`.
pub fn per_operation(operations: u64, work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let begin = Instant::now();
    work()?;
    Ok(begin.elapsed().as_secs_f64() / operations as f64)
}

/// How many processes wanted to run at once of late.
pub fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or("?").to_owned()
}

/// The machine and its state, for the caption of a picture.
pub fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("", |(_, model)| model);
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let release = read("/proc/sys/kernel/osrelease");
    // Without what a distribution appends.
    let release = release.split(['-', '+', '\n']).next().unwrap_or("?");
    let load = load();
    let today = std::process::Command::new("date").arg("+%-d %B %Y").env("LC_ALL", "C").output();
    let today = today.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    format!("{count} processors ({}), Linux {release}, load {load} at the start. {today}.", model.trim())
}

/// Keeps the calling thread on one processor, if there is more than one.
pub fn pin(processor: usize) {
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let mut set = rustix::thread::CpuSet::new();
    set.set(processor % count);
    let _ = rustix::thread::sched_setaffinity(None, &set);
}

/// Lets the calling thread run anywhere again.
pub fn unpin() {
    let mut set = rustix::thread::CpuSet::new();
    (0..rustix::thread::CpuSet::MAX_CPU).for_each(|processor| set.set(processor));
    let _ = rustix::thread::sched_setaffinity(None, &set);
}
