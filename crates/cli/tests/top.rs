//! `multiproc top` in a real terminal, with real queues and real processes that have messages in hand.

mod picture;
mod terminal;

use multiproc::{JoinableQueue, Process, Queue, remove_queue};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use terminal::Terminal;

/// For waits that must end much sooner.
const WATCHDOG: Duration = Duration::from_secs(60);
const USUAL: (u16, u16) = (80, 24);

/// A place for the queues of one test.
fn place() -> TempDir {
    tempfile::Builder::new().prefix("multiproc-top-").tempdir_in("/dev/shm").unwrap()
}

type Ready = Queue<()>;

/// Runs a function in a process whose queues are in `place`, until it says that it is ready.
fn with<F, S: 'static>(place: &Path, function: F, name: &str) -> Process
where
    F: multiproc::Target<(String, Ready), S, Returned: multiproc::Ending>,
{
    let ready = Ready::bounded(1).unwrap();
    let arguments = (name.to_owned(), ready.clone());
    let process = Process::builder().daemon(true).env("MULTIPROC_DIR", place).spawn(function, arguments).unwrap();
    ready.get_timeout(WATCHDOG).unwrap();
    process
}

fn jobs(name: &str) -> JoinableQueue<Vec<u8>> {
    JoinableQueue::builder().named(name).open_or_create().unwrap()
}

/// Puts three jobs, one of them with what a terminal would obey, and has the first one in hand for ever.
fn hold((name, ready): (String, Ready)) {
    let jobs = jobs(&name);
    for job in ["a\x1b]0;stolen\x07\x1b[2Jfile\n.wav", "second.wav", "third.wav"] {
        jobs.put(job.as_bytes().to_vec()).unwrap();
    }
    let _job = jobs.get_delivery().unwrap();
    ready.put(()).unwrap();
    loop {
        std::thread::park();
    }
}

/// Ends once the first job was delivered a second time.
fn take_over((name, ready): (String, Ready)) {
    let jobs = jobs(&name);
    ready.put(()).unwrap();
    loop {
        let job = jobs.get_delivery_timeout(WATCHDOG).unwrap();
        let count = job.count();
        job.done();
        if count == 2 {
            return;
        }
    }
}

fn make((name, ready): (String, Ready)) {
    let queue: Queue<String> = Queue::builder().named(name).bounded(9).build().unwrap();
    (0..7).for_each(|n| queue.put(n.to_string()).unwrap());
    ready.put(()).unwrap();
}

fn remove((name, ready): (String, Ready)) {
    remove_queue(&name).unwrap();
    ready.put(()).unwrap();
}

fn make_anew((name, ready): (String, Ready)) {
    remove_queue(&name).unwrap();
    let queue: Queue<String> = Queue::builder().named(name).build().unwrap();
    queue.put("one".into()).unwrap();
    ready.put(()).unwrap();
}

/// Kills one job's holder, and puts aside the others after one delivery.
fn leave_dead((name, ready): (String, Ready)) {
    let jobs: JoinableQueue<Vec<u8>> = JoinableQueue::builder().named(name).max_deliveries(1).build().unwrap();
    jobs.put(b"broken.wav".to_vec()).unwrap();
    jobs.get_delivery().unwrap().give_back_noting(7);
    ready.put(()).unwrap();
}

/// The words of the line that begins with a name, marked or not.
fn row<'a>(screen: &'a str, name: &str) -> Vec<&'a str> {
    let line = screen.lines().find(|line| line.trim_start_matches(['›', ' ']).starts_with(&format!("{name} ")));
    line.unwrap_or_default().trim_start_matches('›').split_whitespace().collect()
}

fn top(place: &TempDir, size: (u16, u16)) -> Terminal {
    Terminal::start(&["top", "--interval", "0.1"], place.path(), size)
}

#[test]
fn the_holder_of_a_message_is_shown_and_killed_and_the_message_goes_on() {
    let place = place();
    let holder = with(place.path(), hold, "jobs");
    let mut top = top(&place, USUAL);
    let screen = top.wait_for("in hand 1");
    assert_eq!(row(&screen, "jobs")[..4], ["jobs", "joinable", "2", "1"], "{screen}");
    assert!(screen.contains(&holder.pid().to_string()) && screen.contains("1st"), "{screen}");
    assert!(screen.contains(r"a\u{1b}]0;stol"), "{screen}");

    top.press("\tk");
    top.wait_for(&format!("Kill process {}", holder.pid()));
    top.press("n");
    top.wait_for("k kill");
    assert!(holder.is_alive());

    top.press("k");
    top.wait_for(&format!("Kill process {}", holder.pid()));
    top.press("y");
    top.wait_for("was killed");
    assert_eq!(holder.join().unwrap().to_string(), "signal 9");
    let other = with(place.path(), take_over, "jobs");
    assert!(other.join().unwrap().success());
    top.wait(|screen| row(screen, "jobs").get(2..4) == Some(&["2", "0"]));
    let bytes = top.bytes();
    top.press("q");
    assert_eq!(top.end(), 0);
    let hostile = b"\x1b]0;stolen";
    assert!(!bytes.windows(hostile.len()).any(|window| window == hostile), "a message spoke to the terminal");
}

#[test]
fn a_process_that_does_not_give_back_is_not_told_to() {
    let place = place();
    let holder = with(place.path(), hold, "jobs");
    let mut top = top(&place, USUAL);
    top.wait_for("in hand 1");
    top.press("\tg");
    top.wait_for("is no \"multiproc work\"");
    top.press("q");
    assert_eq!(top.end(), 0);
    assert!(holder.is_alive());
}

#[test]
fn the_holder_of_a_queue_that_has_the_programs_name_is_found_and_killed() {
    let place = place();
    // Every process that runs the command has another file of this name in its memory: the program.
    with(place.path(), put_one, "multiproc");
    let mut work = Command::new(env!("CARGO_BIN_EXE_multiproc"));
    work.args(["work", "multiproc", "--", "sleep", "60"]).env("MULTIPROC_DIR", place.path()).stdin(Stdio::null());
    let mut work = work.spawn().unwrap();
    let mut top = top(&place, USUAL);
    top.wait_for("multiproc work multiproc");
    top.press("\tk");
    top.wait_for(&format!("Kill process {}", work.id()));
    top.press("y");
    top.wait_for("was killed");
    work.wait().unwrap();
    top.press("q");
    assert_eq!(top.end(), 0);
}

/// Puts one job, for a worker that is a command.
fn put_one((name, ready): (String, Ready)) {
    jobs(&name).put(b"slow.wav".to_vec()).unwrap();
    ready.put(()).unwrap();
}

#[test]
fn a_worker_gives_back_what_it_has_and_goes_on() {
    let place = place();
    with(place.path(), put_one, "jobs");
    let mut work = Command::new(env!("CARGO_BIN_EXE_multiproc"));
    work.args(["work", "jobs", "--", "sleep", "60"]).env("MULTIPROC_DIR", place.path()).stdin(Stdio::null());
    let mut work = work.spawn().unwrap();
    let mut top = top(&place, USUAL);
    let screen = top.wait_for("in hand 1");
    assert!(screen.contains("multiproc work jobs") && screen.contains("1st"), "{screen}");
    top.press("\tg");
    top.wait_for(&format!("Have process {} give back", work.id()));
    top.press("y");
    // It takes the message again, since nobody else does.
    top.wait_for("2nd");
    assert!(work.try_wait().unwrap().is_none());
    top.press("q");
    assert_eq!(top.end(), 0);
    work.kill().unwrap();
    work.wait().unwrap();
}

#[test]
fn queues_come_and_go_and_one_made_anew_is_another_queue() {
    let place = place();
    let mut top = top(&place, USUAL);
    top.wait_for("There is no queue");
    with(place.path(), make, "letters");
    top.wait(|screen| row(screen, "letters").get(2) == Some(&"7"));
    with(place.path(), make_anew, "letters");
    top.wait(|screen| row(screen, "letters").get(2) == Some(&"1"));
    with(place.path(), make, "other");
    top.wait(|screen| row(screen, "other").get(2) == Some(&"7"));
    with(place.path(), remove, "letters");
    top.wait(|screen| row(screen, "letters").is_empty());
    top.press("q");
    assert_eq!(top.end(), 0);
}

#[test]
fn a_name_that_is_no_queue_says_why_and_disturbs_no_other() {
    let place = place();
    with(place.path(), make, "letters");
    let directory = place.path().read_dir().unwrap().next().unwrap().unwrap().path();
    std::fs::write(directory.join("bogus"), "no queue").unwrap();
    let mut top = top(&place, USUAL);
    let screen = top.wait(|screen| row(screen, "letters").get(2) == Some(&"7"));
    assert!(row(&screen, "bogus").len() > 4, "{screen}");
    top.press("q");
    assert_eq!(top.end(), 0);
}

#[test]
fn dead_letters_are_listed_with_their_reason() {
    let place = place();
    with(place.path(), leave_dead, "jobs");
    let mut top = top(&place, USUAL);
    top.wait_for("dead 1");
    top.press("d");
    let screen = top.wait_for("broken.wav");
    assert!(screen.contains("failed: exit 7"), "{screen}");
    top.press("q");
    assert_eq!(top.end(), 0);
}

#[test]
fn a_new_size_is_drawn_at_once_and_a_tiny_one_asks_for_room() {
    let place = place();
    let _holder = with(place.path(), hold, "jobs");
    let mut top = Terminal::start(&["top", "--interval", "3600"], place.path(), USUAL);
    top.wait_for("in hand 1");
    top.resize(30, 5);
    top.wait_for("needs 40 columns");
    top.resize(120, 40);
    top.wait_for("in hand 1");
    top.press("?");
    top.wait_for("select a queue");
    top.press("q");
    top.wait_for("in hand 1");
    top.press("q");
    assert_eq!(top.end(), 0);
}

#[test]
fn the_terminal_is_left_as_it_was_by_signals_and_by_ctrl_c() {
    let place = place();
    for (signal, code) in [("TERM", 143), ("HUP", 129), ("INT", 130)] {
        let top = top(&place, USUAL);
        top.wait_for("There is no queue");
        let pid = top.child.process_id().unwrap().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
        assert_eq!(top.end(), code, "{signal}");
    }
    let mut top = top(&place, USUAL);
    top.wait_for("There is no queue");
    top.press("\x03");
    assert_eq!(top.end(), 130);
}

#[test]
fn without_a_terminal_it_names_the_commands_for_scripts() {
    let output = Command::new(env!("CARGO_BIN_EXE_multiproc")).arg("top").stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("ls --json") && said.contains("stat") && output.stdout.is_empty(), "{said}");
}

#[test]
fn a_queue_that_is_not_there_is_named_with_a_way_to_make_it() {
    let place = place();
    let mut command = Command::new(env!("CARGO_BIN_EXE_multiproc"));
    let output = command.args(["top", "nobody\x1b[2J", "--once"]).env("MULTIPROC_DIR", place.path()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(r"no queue named nobody\u{1b}[2J") && said.contains("multiproc create"), "{said}");
}

#[test]
fn once_prints_a_screen_as_plain_text() {
    let place = place();
    let holder = with(place.path(), hold, "jobs");
    with(place.path(), make, "letters");
    let mut command = Command::new(env!("CARGO_BIN_EXE_multiproc"));
    command.args(["top", "jobs", "--once", "--interval", "0.1"]).env("MULTIPROC_DIR", place.path()).env("COLUMNS", "80");
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
    assert!(!text.contains('\x1b') && text.contains(&holder.pid().to_string()), "{text}");
    assert_eq!(row(&text, "letters")[..3], ["letters", "queue", "7"], "{text}");
    assert_eq!(row(&text, "jobs")[..4], ["jobs", "joinable", "2", "1"], "{text}");
}
