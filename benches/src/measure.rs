//! Rounds that alternate, medians, and one row per comparison.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// One side of a comparison. It does so many operations, and returns the cost of one in the scenario's unit.
pub type Side = fn(u64) -> Result<f64>;

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
}

/// What is compared, and with whom.
pub struct Scenario {
    pub name: &'static str,
    pub operations: u64,
    pub ours: Side,
    pub peers: Vec<Peer>,
    pub unit: Unit,
}

/// A peer, and the target for the ratio of its cost to ours. For a `limit`, the ratio is our cost to its.
pub struct Peer {
    pub name: &'static str,
    pub operations: u64,
    pub side: Side,
    pub target: f64,
    pub limit: bool,
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
    pub fn timed(name: &'static str, operations: u64, ours: Side, peers: Vec<Peer>) -> Self {
        Self { name, operations, ours, peers, unit: Unit::Seconds }
    }

    pub fn run(&self, rounds: usize, scale: u64) -> Result<Vec<Row>> {
        let few = |operations: u64| (operations / scale).max(1);
        let mut ours = Vec::new();
        let mut theirs = vec![Vec::new(); self.peers.len()];
        for _ in 0..rounds {
            ours.push((self.ours)(few(self.operations))?);
            for (peer, costs) in self.peers.iter().zip(&mut theirs) {
                costs.push((peer.side)(few(peer.operations))?);
            }
        }
        Ok(self.peers.iter().zip(&theirs).map(|(peer, theirs)| self.row(peer, &ours, theirs)).collect())
    }

    fn row(&self, peer: &Peer, ours: &[f64], theirs: &[f64]) -> Row {
        let over = |ours: f64, theirs: f64| if peer.limit { ours / theirs } else { theirs / ours };
        let ratio = over(median(ours), median(theirs));
        let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(ours, theirs)| over(*ours, *theirs)).collect();
        let (least, most) = ratios.iter().fold((f64::MAX, 0f64), |(least, most), ratio| (least.min(*ratio), most.max(*ratio)));
        Row {
            scenario: self.name.to_owned(),
            unit: self.unit,
            ours: median(ours),
            peer: median(theirs),
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

/// The machine and its state, for the caption of a picture.
pub fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("", |(_, model)| model);
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let release = read("/proc/sys/kernel/osrelease");
    // Without what a distribution appends.
    let release = release.split(['-', '+', '\n']).next().unwrap_or("?");
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or("?");
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
