//! The Python package: built into a wheel, installed in a fresh environment, and tested there.

use crate::reach::nats_server;
use crate::step::{Outcome, Step, program};
use std::fs;
use std::path::PathBuf;

/// Interpreters that the package is for, the newest first.
const PYTHONS: [&str; 4] = ["python3.13", "python3.12", "python3.11", "python3"];
const PACKAGE: &str = "crates/python";
const PLACE: &str = "target/python";
/// What the tests need. `maturin` builds the wheel.
const TOOLS: [&str; 4] = ["maturin", "pytest", "numpy", "mypy"];

/// An environment with the tools, or what is missing for one.
pub(crate) fn environment() -> Result<Environment, &'static str> {
    let is_new = |python: &str| {
        program(python, &["-c", "import sys, test._test_multiprocessing; sys.exit(sys.version_info < (3, 11))"]).answers()
    };
    let python = PYTHONS.iter().find(|python| is_new(python)).copied().ok_or("Python 3.11 or newer with its tests")?;
    let place = std::path::absolute(PLACE).map_err(|_| "the directory of this workspace")?;
    let _ = fs::remove_dir_all(&place);
    let made = program(python, &["-m", "venv"]).arg(&place.to_string_lossy()).answers();
    let environment = Environment(place);
    let installed = made && environment.pip(&TOOLS).answers();
    if installed { Ok(environment) } else { Err("PyPI, for maturin, pytest, numpy and mypy,") }
}

/// A virtual environment of Python.
pub(crate) struct Environment(PathBuf);

impl Environment {
    fn python(&self, arguments: &[&str]) -> Step {
        program(self.0.join("bin/python"), arguments)
    }

    fn pip(&self, packages: &[&str]) -> Step {
        packages
            .iter()
            .fold(self.python(&["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]), |step, name| step.arg(name))
    }

    /// Builds the wheel, and runs our tests, the types, and CPython's own tests under each way to start a process.
    pub(crate) fn test(&self) -> anyhow::Result<Outcome> {
        let wheels = self.0.join("wheels");
        let target = self.0.with_file_name("python-build");
        let build = self.python(&["-m", "maturin", "build", "--release", "--quiet", "--out"]).arg(&wheels.to_string_lossy());
        // The environment's own maturin finds the interpreter beside it.
        let mut total = build.env("CARGO_TARGET_DIR", &target.to_string_lossy()).dir(PACKAGE).run("build the wheel")?;
        for wheel in fs::read_dir(&wheels)? {
            total += self.pip(&[&wheel?.path().to_string_lossy()]).run("install the wheel")?;
        }
        let here = |step: Step| step.dir(PACKAGE);
        let mut tests = here(self.python(&["-m", "pytest", "-q", "-p", "no:cacheprovider"]));
        if let Some(server) = nats_server() {
            tests = tests.env("NATS_SERVER", &server);
        }
        total += tests.run("tests of the Python package")?;
        let types =
            ["-m", "mypy.stubtest", "--allowlist", "tests/stubtest.txt", "--ignore-unused-allowlist", "multiproc._multiproc"];
        total += here(self.python(&types)).run("types of the Python package")?;
        for method in ["fork", "spawn", "forkserver"] {
            for theirs in ["tests/cpython.py", "tests/cpython_futures.py"] {
                total += here(self.python(&[theirs, method])).run(&format!("CPython's own tests, {theirs} {method}"))?;
            }
        }
        Ok(total)
    }
}
