//! The examples of all crates, each run to its end.

use crate::step::{Outcome, cargo};
use anyhow::{Context, ensure};
use std::fs::read_dir;

/// Runs all examples that there are. Each that ends well counts as a test passed.
pub(crate) fn run() -> anyhow::Result<Outcome> {
    let mut total = cargo(&["build", "--quiet", "--workspace", "--examples"]).run("build the examples")?;
    for (package, example) in all()? {
        println!("-- {package}: {example}");
        total += cargo(&["run", "--quiet", "--package", &package, "--example", &example]).run(&example)?;
        total.passed += 1;
    }
    ensure!(total.passed > 0, "there is no example");
    Ok(total)
}

/// Packages and their examples.
fn all() -> anyhow::Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for entry in read_dir("crates").context("can't list the crates")? {
        let directory = entry?.path();
        let Ok(examples) = read_dir(directory.join("examples")) else { continue };
        let manifest = std::fs::read_to_string(directory.join("Cargo.toml"))?;
        let package = manifest.lines().find_map(|line| line.strip_prefix("name = ")).context("a crate without a name")?;
        for example in examples {
            let path = example?.path();
            if path.extension().is_some_and(|ending| ending == "rs") {
                let name = path.file_stem().context("an example without a name")?;
                found.push((package.trim_matches('"').to_owned(), name.to_string_lossy().into_owned()));
            }
        }
    }
    found.sort();
    Ok(found)
}
