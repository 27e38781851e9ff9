//! The examples of all crates, each run to its end.

use crate::step::{Outcome, built, cargo};
use anyhow::{Context, ensure};
use std::fs::read_dir;

/// Runs all examples that there are. Each that ends well counts as a test passed.
pub(crate) fn run() -> anyhow::Result<Outcome> {
    let mut total = cargo(&["build", "--quiet", "--workspace", "--all-features", "--examples"]).run("build the examples")?;
    for name in names()? {
        println!("-- {name}");
        // No two examples have the same name.
        total += built(&format!("debug/examples/{name}"), &[]).run(&name)?;
        total.passed += 1;
    }
    ensure!(total.passed > 0, "there is no example");
    Ok(total)
}

fn names() -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in read_dir("crates").context("can't list the crates")? {
        let place = entry?.path();
        // Its examples need a server.
        if place.ends_with("nats") {
            continue;
        }
        let Ok(examples) = read_dir(place.join("examples")) else { continue };
        for example in examples {
            let path = example?.path();
            if path.extension().is_some_and(|ending| ending == "rs") {
                let name = path.file_stem().context("an example without a name")?;
                found.push(name.to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}
