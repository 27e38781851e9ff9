//! Makes every system call fail in turn, with each error that it documents. The operation succeeds anyway or gives a clear error.
//! Nothing panics or hangs, no descriptor or child is left over, and the operation works right afterwards. Then comes a storm of
//! signals.
//!
//! A forked copy of this process runs a scenario under `ptrace`, which stops it at each system call. At the chosen one the tracer
//! skips the call and puts the error in the place of its result.
//!
//! `cargo run --release -p multiproc-proofs --bin faults -- 0` tries every system call; another number N tries at most N of each
//! scenario, spread evenly. A second argument names the scenario to try.

#[cfg(target_arch = "x86_64")]
mod inject;
#[cfg(target_arch = "x86_64")]
mod scenarios;
mod signals;
#[cfg(target_arch = "x86_64")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let _main = multiproc::init();
    let most: usize = std::env::args().nth(1).map_or(Ok(20), |n| n.parse())?;
    let (mut cases, mut failed) = signals::storm(if most == 0 { 100_000 } else { 10_000 })?;
    #[cfg(target_arch = "x86_64")]
    {
        let (injected, bad) = inject::all(most, std::env::args().nth(2).as_deref())?;
        cases += injected;
        failed += bad;
    }
    println!("faults: {cases} cases, {failed} failed");
    if failed > 0 { Err("some operations did not survive a fault: each one is named above".into()) } else { Ok(()) }
}
