//! Screens as they are meant to be: `top/screens/*.txt`. `UPDATE_SCREENS=1 cargo test -p multiproc-cli screen` writes them anew.

use super::super::snapshot::Queue;
use super::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use std::time::Duration;

fn wave(n: usize, most: f64) -> Vec<f64> {
    (0..n).map(|step| most * (1.0 + (step as f64 / 3.0).sin()) / 2.0).collect()
}

fn holder(id: u64, pid: u32, command: Option<&str>, seconds: f64, deliveries: u16, message: &str) -> Holder {
    Holder {
        id: Text::of(id.to_string()),
        pid,
        is_alive: true,
        command: command.map(Text::of),
        held_for: Duration::from_secs_f64(seconds),
        deliveries,
        message: Some(Text::of(message)),
    }
}

fn snapshot() -> Snapshot {
    let work = Some("multiproc work jobs -j4 -- lame {} {.}.mp3");
    let letter = |id: &str, reason: &str, message: &str| DeadLetter {
        id: Text::of(id),
        deliveries: 3,
        reason: Text::of(reason),
        message: Text::of(message),
    };
    let jobs = Queue {
        kind: Text::of("joinable"),
        knows_holders: true,
        depth: 12_345,
        in_hand: 4,
        rate_in: wave(60, 250.0),
        rate_out: wave(60, 120.0),
        dead: 2,
        participants: 6,
        memory: 24 << 20,
        holders: vec![
            holder(17, 4711, work, 0.4, 1, "./music/01 - Ouvertüre.wav"),
            holder(18, 4712, work, 75.0, 3, "./music/a\x1b[31mred\nline.wav"),
            Holder { is_alive: false, ..holder(19, 4713, None, 0.0, 1, "日本語.wav") },
            holder(1_000_020, 1_234_567, None, 90_000.0, 1, &"long/".repeat(60)),
        ],
        dead_letters: vec![letter("3", "failed: exit 1", "broken.wav"), letter("b17", "process 99 died", "huge.wav")],
        ..Queue::default()
    };
    let full = Queue {
        kind: Text::of("queue"),
        depth: 100,
        capacity: Some(100),
        lost: 1,
        participants: 2,
        memory: 4096,
        ..Queue::default()
    };
    let ended = Queue { kind: Text::of("joinable"), is_shut_down: true, ..Queue::default() };
    let row = |name: &str, queue| Row { name: Text::of(name), queue };
    Snapshot {
        queues: vec![
            row("a-very-long-name-that-nobody-would-type-twice", Ok(ended)),
            row("full", Ok(full)),
            row("jobs", Ok(jobs)),
            row("other", Err(Text::of("it belongs to the user 1000: run this as that user"))),
        ],
        trouble: None,
    }
}

fn view(queue: &str) -> View {
    View { queue: Some(Text::of(queue)), interval: 1.0, ..View::default() }
}

fn screen(snapshot: &Snapshot, view: &View, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(snapshot, view, frame.area(), frame.buffer_mut())).unwrap();
    plain(terminal.backend().buffer())
}

/// Compares a screen with the one on record.
fn expect(name: &str, lines: &[String]) {
    let path = format!("{}/src/top/screens/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let text = lines.join("\n") + "\n";
    if std::env::var_os("UPDATE_SCREENS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(text == there, "{path} differs from:\n{text}");
}

#[test]
fn a_screen_of_80_by_24() {
    let view = View { is_below: true, message: Some(Text::of("18")), ..view("jobs") };
    expect("80x24", &screen(&snapshot(), &view, 80, 24));
}

#[test]
fn a_screen_of_120_by_40() {
    expect("120x40", &screen(&snapshot(), &view("jobs"), 120, 40));
}

#[test]
fn a_small_screen_leaves_out_what_matters_least() {
    let view = View { footer: Footer::Question("Kill process 4712?".into()), ..view("jobs") };
    expect("48x10", &screen(&snapshot(), &view, 48, 10));
}

#[test]
fn dead_letters_have_a_pane_with_reasons() {
    let view = View { pane: Pane::Dead, is_below: true, message: Some(Text::of("b17")), ..view("jobs") };
    expect("dead", &screen(&snapshot(), &view, 80, 16));
}

#[test]
fn a_queue_that_cant_be_opened_says_why() {
    expect("refused", &screen(&snapshot(), &view("other"), 80, 12));
}

#[test]
fn help_fits_the_smallest_usual_screen() {
    let lines = screen(&snapshot(), &View { is_help: true, ..view("jobs") }, 80, 24);
    assert!(lines.iter().any(|line| line.contains("Ctrl-C")), "{lines:#?}");
    expect("help", &lines);
}

#[test]
fn no_queues_leave_a_hint() {
    let lines = screen(&Snapshot::default(), &View::default(), 80, 10);
    assert!(lines.iter().any(|line| line.contains("multiproc create jobs")), "{lines:#?}");
}

#[test]
fn a_tiny_screen_asks_for_room() {
    for (width, height) in [(39, 24), (80, 7), (12, 3), (1, 1)] {
        let lines = screen(&snapshot(), &view("jobs"), width, height);
        assert!(width < 20 || lines.join(" ").contains("needs 40 columns"), "{lines:#?}");
    }
}

#[test]
fn every_size_can_be_drawn() {
    for width in 1..140 {
        for height in [1, 8, 9, 12, 24, 60] {
            for pane in [Pane::Holders, Pane::Dead] {
                screen(&snapshot(), &View { pane, is_below: height % 2 == 0, ..view("jobs") }, width, height);
            }
        }
    }
}

#[test]
fn the_selected_queue_is_in_sight_among_a_thousand() {
    let queue = |n: u32| Row { name: Text::of(format!("queue-{n}")), queue: Ok(Queue::default()) };
    let many = Snapshot { queues: (0..1000).map(queue).collect(), trouble: None };
    for n in [0, 5, 500, 999] {
        let name = format!("queue-{n}");
        let lines = screen(&many, &view(&name), 80, 24);
        assert!(lines.iter().any(|line| line.starts_with(&format!("› {name} "))), "{lines:#?}");
    }
}
