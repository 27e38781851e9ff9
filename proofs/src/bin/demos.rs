//! Runs `multiproc demo` many times for each of the tutorial's scenarios, without pauses.
//!
//! `cargo run --release -p multiproc-proofs --bin demos -- 200`

use std::process::Command;

const SCENARIOS: [&str; 6] = ["pipe", "bounded", "handoff", "squares", "buns", "joinable"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let times: usize = std::env::args().nth(1).map_or(Ok(200), |n| n.parse())?;
    let command = std::env::current_exe()?.with_file_name("multiproc");
    let mut failed = 0;
    for scenario in SCENARIOS {
        for _ in 0..times {
            let output = Command::new(&command).args(["demo", scenario, "--pace", "0"]).output()?;
            if !output.status.success() || !output.stderr.is_empty() {
                failed += 1;
                eprintln!("{scenario}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
            }
        }
    }
    println!("demos: {} cases, {failed} failed", times * SCENARIOS.len());
    if failed > 0 { Err("some demos failed: each one is named above".into()) } else { Ok(()) }
}
