//! How long a lease should be: a simulation of workers that die, stall and lose their server, for leases of half a second to five minutes.
//!
//! A worker that holds a job renews its lease four times in its length. A dead worker's job waits for the rest of the lease. A living
//! worker that is silent for longer than the rest loses its job to another, and both do it. Short leases waste work, long ones waste time,
//! and each renewal is a message to the server.
//!
//! `cargo run --release -p multiproc-proofs --bin leases` prints the table of docs/scale.md. With a directory behind it, it writes the
//! numbers of the picture there.

use anyhow::Context;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, Exp, LogNormal, Pareto, Poisson};
use std::fmt::Write;

const LEASES: [f64; 10] = [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0];
/// How many workers there are.
const WORKERS: [u64; 5] = [10, 100, 1_000, 10_000, 100_000];
/// Renewals in the length of a lease.
const RENEWALS: f64 = 4.0;
const DAY: f64 = 86_400.0;
/// What is simulated, so that small numbers of workers have enough events, too.
const WORKER_DAYS: u64 = 100_000;

/// What happens to a worker, which always has a job in hand.
struct World {
    /// Seconds that a job takes.
    job: Exp<f64>,
    /// Deaths of a worker in a day: deployments, memory, machines that are taken away.
    deaths: f64,
    /// Pauses of a worker in a day: collections of garbage, swap, migrations, networks.
    stalls: f64,
    /// Seconds of a pause: most are short, and a few are very long.
    stall: Pareto<f64>,
    /// Absences of the server in a day, which hit all workers at once: restarts, elections of a leader.
    absences: f64,
    /// Seconds of an absence.
    absence: LogNormal<f64>,
}

/// What a lease costs, for each worker and day.
#[derive(Default)]
struct Cost {
    /// Jobs that two workers did.
    doubled: f64,
    /// Seconds of work that was done for nothing.
    wasted: f64,
    /// Seconds that jobs of dead workers waited.
    waited: f64,
}

impl World {
    fn usual() -> anyhow::Result<Self> {
        Ok(Self {
            job: Exp::new(1.0 / 30.0)?,
            deaths: 1.0,
            stalls: 24.0,
            stall: Pareto::new(0.1, 1.1)?,
            absences: 1.0 / 30.0,
            absence: LogNormal::new(5f64.ln(), 1.0)?,
        })
    }

    fn simulate(&self, workers: u64, lease: f64, rng: &mut StdRng) -> anyhow::Result<Cost> {
        let mut cost = Cost::default();
        let days = WORKER_DAYS / workers;
        for _ in 0..days {
            let all = workers as f64;
            for _ in 0..count(self.deaths * all, rng)? {
                // The rest of the lease, counted from the last renewal; what was done of the job is lost with any lease.
                cost.waited += lease - self.since_renewal(lease, rng);
            }
            for _ in 0..count(self.stalls * all, rng)? {
                let silent = self.stall.sample(rng).min(DAY);
                self.lose(silent, lease, &mut cost, rng);
            }
            for _ in 0..count(self.absences, rng)? {
                let silent = self.absence.sample(rng);
                for _ in 0..workers {
                    self.lose(silent, lease, &mut cost, rng);
                }
            }
        }
        let each = 1.0 / (days * workers) as f64;
        Ok(Cost { doubled: cost.doubled * each, wasted: cost.wasted * each, waited: cost.waited * each })
    }

    fn since_renewal(&self, lease: f64, rng: &mut StdRng) -> f64 {
        rng.random_range(0.0..lease / RENEWALS)
    }

    /// A worker that lives is silent for so long: another one does the job, too, if the lease ends meanwhile.
    fn lose(&self, silent: f64, lease: f64, cost: &mut Cost, rng: &mut StdRng) {
        if silent > lease - self.since_renewal(lease, rng) {
            cost.doubled += 1.0;
            // Memoryless: what the other one does again takes as long as any job.
            cost.wasted += self.job.sample(rng);
        }
    }
}

/// How many events there are where so many are expected.
fn count(expected: f64, rng: &mut StdRng) -> anyhow::Result<u64> {
    Ok(Poisson::new(expected)?.sample(rng) as u64)
}

fn main() -> anyhow::Result<()> {
    let world = World::usual()?;
    let mut picture = String::new();
    println!(
        "{:>7}  {:>9}  {:>16}  {:>14}  {:>14}  {:>12}",
        "workers", "lease", "doubled, a day", "wasted, a day", "waited, a day", "renewals, a s"
    );
    for workers in WORKERS {
        for (number, lease) in LEASES.into_iter().enumerate() {
            let mut rng = StdRng::seed_from_u64(number as u64);
            let Cost { doubled, wasted, waited } = world.simulate(workers, lease, &mut rng)?;
            let all = workers as f64;
            println!(
                "{workers:>7}  {lease:>7} s  {:>16.1}  {:>12.0} s  {:>12.0} s  {:>12.1}",
                doubled * all,
                wasted * all,
                waited * all,
                all * RENEWALS / lease
            );
            if workers == WORKER_DAYS {
                writeln!(picture, "work done twice;{lease};{wasted}\ndead workers' jobs wait;{lease};{waited}")?;
            }
        }
    }
    if let Some(directory) = std::env::args().nth(1) {
        let text = format!(
            "# title: How long should a lease be?\n# x: length of the lease; seconds\n# y: lost for each worker and day; seconds\n\
             # taken: Simulated by proofs/src/bin/leases.rs: jobs of 30 s; a death a day, a pause an hour, an absence of the server a month.\n{picture}"
        );
        let path = std::path::Path::new(&directory).join("leases.csv");
        std::fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))?;
    }
    println!("leases: {} cases, 0 failed", LEASES.len() * WORKERS.len());
    Ok(())
}
