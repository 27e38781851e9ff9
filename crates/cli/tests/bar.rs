//! `--bar` on a terminal.

mod shell;
mod terminal;

use shell::Gate;
use terminal::Terminal;

#[test]
fn a_bar_shows_how_many_jobs_have_ended_and_keeps_out_of_their_output() {
    let mut gate = Gate::new();
    let script = format!("read x < {}; echo job $1; [ $1 != 2 ]", gate.path().display());
    let arguments = ["run", "-j1", "--bar", "--", "sh", "-c", &script, "sh", "{}", ":::", "1", "2"];
    let terminal = Terminal::start(&arguments, std::path::Path::new("/dev/shm"), (80, 24));
    terminal.wait_for("0/2");
    gate.let_go(1);
    let screen = terminal.wait_for("1/2");
    assert!(screen.lines().any(|line| line == "job 1"), "{screen}");
    gate.let_go(1);
    let screen = terminal.wait_for("1 job failed");
    assert!(screen.lines().any(|line| line == "job 2"), "{screen}");
    assert_eq!(terminal.end(), 1);
}

#[test]
fn what_the_worker_says_has_a_line_of_its_own_above_the_bar() {
    let mut gate = Gate::new();
    let script = format!("kill -TERM $PPID; read x < {}", gate.path().display());
    let arguments = ["run", "-j1", "--bar", "--", "sh", "-c", &script, "sh", "{}", ":::", "1", "2"];
    let terminal = Terminal::start(&arguments, std::path::Path::new("/dev/shm"), (80, 24));
    let screen = terminal.wait_for("still running");
    assert!(screen.lines().any(|line| line == "multiproc: no new jobs; 1 still running: once more ends them"), "{screen}");
    gate.let_go(1);
    assert_eq!(terminal.end(), 143);
}

#[test]
fn output_without_a_line_end_stays_on_the_screen() {
    let mut gate = Gate::new();
    let script = format!("read x < {}; printf RESULT-$1", gate.path().display());
    let arguments = ["run", "-j1", "--bar", "--", "sh", "-c", &script, "sh", "{}", ":::", "1", "2"];
    let terminal = Terminal::start(&arguments, std::path::Path::new("/dev/shm"), (80, 24));
    terminal.wait_for("0/2");
    gate.let_go(1);
    let screen = terminal.wait_for("1/2");
    assert!(screen.lines().any(|line| line == "RESULT-1"), "{screen}");
    gate.let_go(1);
    let screen = terminal.wait_for("RESULT-2");
    assert!(screen.lines().any(|line| line == "RESULT-2"), "{screen}");
    assert_eq!(terminal.end(), 0);
}
