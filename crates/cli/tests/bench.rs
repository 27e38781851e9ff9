//! `multiproc bench` measures everything that it names.

use serde_json::Value;
use std::process::Command;

#[test]
fn every_figure_is_measured_and_tells_its_spread() {
    let output = Command::new(env!("CARGO_BIN_EXE_multiproc")).args(["bench", "--seconds", "1", "--json"]).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines[0]["processors"].as_u64().unwrap() > 0 && lines[0]["load"].is_number(), "{}", lines[0]);
    assert_eq!(lines.len(), 10);
    for line in &lines[1..] {
        let number = |key: &str| line[key].as_f64().unwrap_or(f64::NAN);
        assert!(0.0 < number("least") && number("least") <= number("nanoseconds"), "{line}");
        assert!(number("nanoseconds") <= number("most") && number("rounds") >= 3.0, "{line}");
    }
}

#[test]
fn a_time_that_makes_no_sense_is_refused() {
    for bad in ["0", "nan", "-1", "1e9", "x"] {
        let output = Command::new(env!("CARGO_BIN_EXE_multiproc")).args(["bench", "--seconds", bad]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{bad}");
    }
}
