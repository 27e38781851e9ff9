//! How far the libraries reach: the oldest compiler, which is Debian 12's `rustc-web`, and the other processor, under `qemu-aarch64`.
//!
//! The tools are Debian's packages, unpacked below `target/reach`: nothing is installed. A list of packages of its own knows arm64 too.

use crate::ci::CRATES;
use crate::step::{Outcome, Step, cargo, program};
use anyhow::{Context, ensure};
use std::fs;
use std::path::{Path, PathBuf};

/// The compiler that the manifests name.
const RUST: &str = "1.85";
/// Crates whose dependencies ask for a newer one.
const NEWER: [&str; 2] = ["multiproc-nats", "multiproc-cli"];
const PLACE: &str = "target/reach";
const COMPILER: [&str; 4] = ["rustc-web=1.85.*", "libstd-rust-web-1.85", "libstd-rust-web-dev=1.85.*", "libllvm19"];
const CROSS: [&str; 11] = [
    "libstd-rust-web-dev:arm64=1.85.*",
    "gcc-12-aarch64-linux-gnu",
    "cpp-12-aarch64-linux-gnu",
    "binutils-aarch64-linux-gnu",
    "libgcc-12-dev-arm64-cross",
    "libgcc-s1-arm64-cross",
    "libc6-arm64-cross",
    "libc6-dev-arm64-cross",
    "linux-libc-dev-arm64-cross",
    "qemu-user",
    "libcapstone4",
];
const ARM: &str = "aarch64-unknown-linux-gnu";
/// What runs on the other processor.
const TESTED: [&[&str]; 2] = [
    &["--package", "multiproc-prim", "--package", "multiproc-ring", "--package", "multiproc-sync", "--lib", "--tests"],
    &["--package", "multiproc-pipe", "--test", "contract", "--test", "lent", "--test", "room"],
];
/// Tests that start their own file again. Under `qemu-aarch64` that file is the emulator's.
const START_PROCESSES: [&str; 6] = [
    "a_killed_peer_is_the_end_at_once",
    "a_sender_that_waits_for_room_learns_of_a_death",
    "messages_of_16_mib_go_to_another_process",
    "a_hundred_clients_fit_the_usual_limit_of_descriptors",
    "a_message_whose_descriptors_find_no_room_waits_for_it",
    "the_bytes_of_a_message_whose_descriptors_find_no_room",
];

/// The tool that is missing, if Debian's compiler can't be had here.
pub(crate) fn missing() -> Option<&'static str> {
    if !program("apt-get", &["--version"]).answers() || !program("dpkg", &["--version"]).answers() {
        return Some("apt-get with dpkg, for rustc-web 1.85,");
    }
    unpack("compiler", &COMPILER).is_err().then_some("Debian's rustc-web 1.85")
}

/// Checks every library crate with the oldest compiler.
pub(crate) fn oldest_compiler() -> anyhow::Result<Outcome> {
    let root = unpack("compiler", &COMPILER)?;
    let libraries = CRATES.iter().filter(|name| !NEWER.contains(name)).flat_map(|name| ["--package", name]);
    let step = libraries.fold(cargo(&["check", "--quiet", "--target-dir", PLACE]), Step::arg);
    with_compiler(step, &root).run(&format!("libraries with Rust {RUST}"))
}

/// Checks the libraries with the oldest compiler, and runs the tests of the lower crates on the other processor.
pub(crate) fn reach(short: bool) -> anyhow::Result<Outcome> {
    if let Some(tool) = missing() {
        println!("reach NOT RUN: {tool} is not here");
        return Ok(Outcome { skipped: 1, ..Outcome::default() });
    }
    let mut total = oldest_compiler()?;
    if short {
        return Ok(total);
    }
    let Ok(root) = unpack("compiler", &COMPILER).and_then(|_| unpack("cross", &CROSS)) else {
        println!("reach NOT RUN: gcc-12-aarch64-linux-gnu, libstd-rust-web-dev:arm64 or qemu-user is not here");
        total.skipped += 1;
        return Ok(total);
    };
    let at = |path: &str| root.join(path).to_string_lossy().into_owned();
    let name = |what: &str| format!("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_{what}");
    let runner = format!("{} -L {}", at("usr/bin/qemu-aarch64"), at("usr/aarch64-linux-gnu"));
    for tested in TESTED {
        let step =
            tested.iter().fold(cargo(&["test", "--target", ARM, "--target-dir", PLACE]), |step, argument| step.arg(argument));
        let step = START_PROCESSES.iter().fold(step.arg("--"), |step, name| step.arg("--skip").arg(name));
        let step = step.env(&name("LINKER"), &at("usr/bin/aarch64-linux-gnu-gcc-12")).env(&name("RUNNER"), &runner);
        // The C library's linker script names files from the root on.
        let step = step.env(&name("RUSTFLAGS"), &format!("-C link-arg=--sysroot={}", root.display()));
        total += with_compiler(step, &root).run("tests under qemu-aarch64")?;
    }
    Ok(total)
}

fn with_compiler(step: Step, root: &Path) -> Step {
    let at = |path: &str| root.join(path).to_string_lossy().into_owned();
    step.env("RUSTC", &at("usr/bin/rustc")).env("LD_LIBRARY_PATH", &at("usr/lib/x86_64-linux-gnu"))
}

/// A `nats-server` to test with: the one that `NATS_SERVER` names or that is installed, else Debian's, unpacked.
pub(crate) fn nats_server() -> Option<String> {
    let named = std::env::var("NATS_SERVER").unwrap_or_else(|_| "nats-server".into());
    if program(&named, &["--version"]).answers() {
        return Some(named);
    }
    let root = unpack("nats-server", &["nats-server"]).ok()?;
    let places = ["usr/sbin/nats-server", "usr/bin/nats-server"].map(|place| root.join(place));
    places.iter().find(|place| place.is_file()).map(|place| place.to_string_lossy().into_owned())
}

/// Downloads packages and unpacks them over each other, unless that was done before. Returns where they are.
fn unpack(name: &str, packages: &[&str]) -> anyhow::Result<PathBuf> {
    let place = std::path::absolute(PLACE)?;
    let (root, apt, done) = (place.join("root"), place.join("apt"), place.join(format!("{name}.unpacked")));
    if done.exists() {
        return Ok(root);
    }
    let fresh = |path: PathBuf| fs::create_dir_all(&path).with_context(|| format!("make {}", path.display())).map(|()| path);
    fresh(root.clone())?;
    fresh(apt.join("lists/partial"))?;
    fresh(apt.join("archives/partial"))?;
    let debs = fresh(place.join(name))?;
    let settings = [
        "APT::Architectures=amd64,arm64".to_owned(),
        format!("Dir::State::lists={}", apt.join("lists").display()),
        format!("Dir::Cache={}", apt.display()),
    ];
    let apt_get = |command: &str| {
        let step = settings.iter().fold(program("apt-get", &["-qq"]), |step, setting| step.arg("-o").arg(setting));
        step.dir(&debs.to_string_lossy()).arg(command)
    };
    apt_get("update").run("look for Debian's packages")?;
    packages.iter().fold(apt_get("download"), |step, package| step.arg(package)).run("download Debian's packages")?;
    let mut count = 0;
    for entry in fs::read_dir(&debs)? {
        let path = entry?.path();
        program("dpkg", &["-x"]).arg(&path.to_string_lossy()).arg(&root.to_string_lossy()).run("unpack a package")?;
        count += 1;
    }
    ensure!(count >= packages.len(), "apt-get downloaded {count} of {} packages", packages.len());
    fs::write(done, "")?;
    Ok(root)
}
