//! Rounds that alternate, medians, and one line per comparison.

use anyhow::Result;
use std::time::Instant;

/// One side of a comparison: does so many operations, returns seconds per operation.
pub type Side = fn(u64) -> Result<f64>;

/// What is compared, and with whom.
pub struct Scenario {
    pub name: &'static str,
    pub operations: u64,
    pub ours: Side,
    pub peers: Vec<Peer>,
}

/// A peer, and the ratio of its time to ours that is aimed at. For limits (`limit`), the ratio of our time to it.
pub struct Peer {
    pub name: &'static str,
    pub operations: u64,
    pub side: Side,
    pub target: f64,
    pub limit: bool,
}

impl Scenario {
    pub fn run(&self, rounds: usize, scale: u64) -> Result<()> {
        let mut ours = Vec::new();
        let mut theirs = vec![Vec::new(); self.peers.len()];
        for _ in 0..rounds {
            ours.push((self.ours)(self.operations / scale)?);
            for (peer, times) in self.peers.iter().zip(&mut theirs) {
                times.push((peer.side)(peer.operations / scale)?);
            }
        }
        for (peer, times) in self.peers.iter().zip(&theirs) {
            let ratios = ours.iter().zip(times).map(|(ours, peer_s)| if peer.limit { ours / peer_s } else { peer_s / ours });
            let ratio = if peer.limit { median(&ours) / median(times) } else { median(times) / median(&ours) };
            let ratios: Vec<f64> = ratios.collect();
            let spread = (ratios.iter().copied().fold(0.0, f64::max) - ratios.iter().copied().fold(f64::MAX, f64::min)) / 2.0;
            let met = if peer.limit { ratio <= peer.target } else { ratio >= peer.target };
            let sign = if peer.limit { "≤" } else { "≥" };
            println!(
                "{:<44} {:>14} {:>14} {:>7.2} {:>7} {:>7}  {}",
                format!("{}, {}", self.name, peer.name),
                show(median(&ours)),
                show(median(times)),
                ratio,
                format!("±{spread:.2}"),
                format!("{sign}{}", peer.target),
                if met { "yes" } else { "no" }
            );
        }
        Ok(())
    }
}

fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn show(seconds: f64) -> String {
    if seconds < 1e-6 {
        format!("{:.1} ns", seconds * 1e9)
    } else if seconds < 1e-3 {
        format!("{:.2} µs", seconds * 1e6)
    } else {
        format!("{:.2} ms", seconds * 1e3)
    }
}

/// Seconds per operation of `work`.
pub fn per_operation(operations: u64, work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let begin = Instant::now();
    work()?;
    Ok(begin.elapsed().as_secs_f64() / operations as f64)
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
