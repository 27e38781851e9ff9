//! Runs small programs in worlds: environments made for the purpose. Each program works there, or says clearly why it can't. None
//! hangs, panics, runs `main` twice or leaves a process behind.
//!
//! `cargo run --release -p multiproc-proofs --bin worlds` tries every program in every world, `worlds -- short` the most telling
//! ones. More arguments choose: `worlds -- full "umask 0177" named`. `worlds -- list` says what is expected where.
//!
//! Three processes take part in a case. The watcher (this program, without a switch) starts the maker (`--make`). The maker makes
//! the world and starts the program in it (`--inside`). The watcher reads what that program reports, judges it, and ends what
//! hangs.

mod limits;
mod make;
mod pools;
mod programs;
mod rights;
mod table;
mod views;
mod watch;

use std::time::Instant;
use table::{World, worlds};
use watch::Verdict;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // The maker does not call `init`, which could start something before the world is made.
    if let ["--make", rest @ ..] = &arguments[..] {
        return make::make_and_run(rest);
    }
    let _main = multiproc::init();
    match arguments[..] {
        ["--inside", world, program, _] => programs::inside(world, program),
        ["--attack", evidence] => rights::attack(evidence),
        ["--secure"] => rights::say_whether_secure(),
        ["list"] => list(),
        [] => all(false, None, None),
        [form @ ("short" | "full")] => all(form == "short", None, None),
        [form @ ("short" | "full"), world] => all(form == "short", Some(world), None),
        [form @ ("short" | "full"), world, program] => all(form == "short", Some(world), Some(program)),
        _ => Err("usage: worlds [list | short | full [WORLD [PROGRAM]]]".into()),
    }
}

fn list() -> Result<(), Failure> {
    for world in worlds() {
        println!("{:<48} {}", world.name, world.expectation());
    }
    Ok(())
}

/// Tries every world, or the worlds whose names start with `only`.
fn all(short: bool, only: Option<&str>, program: Option<&str>) -> Result<(), Failure> {
    let begin = Instant::now();
    let watcher = watch::Watcher::new()?;
    let (mut cases, mut failed, mut skipped) = (0, 0, 0);
    for world in worlds().iter().filter(|world| only.is_none_or(|only| world.name.starts_with(only))) {
        let tried = try_world(&watcher, world, short, program)?;
        (cases, failed, skipped) = (cases + tried.0, failed + tried.1, skipped + tried.2);
    }
    println!("in {:.0} s; {skipped} worlds could not be made", begin.elapsed().as_secs_f64());
    println!("worlds: {cases} cases, {failed} failed");
    if failed > 0 { Err("some programs did not do what they must: each one is named above".into()) } else { Ok(()) }
}

/// Runs the programs of one world and prints its line. Returns cases, failures, and 1 if the machine can't make the world.
fn try_world(watcher: &watch::Watcher, world: &World, short: bool, only: Option<&str>) -> Result<(usize, usize, usize), Failure> {
    let (mut well, mut failed, mut notes) = (0, 0, Vec::new());
    // Programs that say the same share a line.
    let mut reasons: Vec<(String, Vec<&str>)> = Vec::new();
    let chosen = |name: &str| only.map_or(!short || world.is_telling(name), |only| only == name);
    for program in world.programs.iter().filter(|program| chosen(program.name)) {
        match watcher.run(world, program, short)? {
            Verdict::AsExpected(note) => {
                well += 1;
                notes.extend(note);
            }
            Verdict::NotRun(why) => {
                println!("{:<48} NOT RUN: {why}", world.name);
                return Ok((well + failed, failed, 1));
            }
            Verdict::Failed(why) => {
                failed += 1;
                match reasons.iter_mut().find(|(reason, _)| *reason == why) {
                    Some((_, names)) => names.push(program.name),
                    None => reasons.push((why, vec![program.name])),
                }
            }
        }
    }
    println!("{:<48} {well:>2} as expected, {failed} failed. {}", world.name, notes.join("; "));
    for (why, names) in reasons {
        println!("    {}: {why}", names.join(", "));
    }
    Ok((well + failed, failed, 0))
}
