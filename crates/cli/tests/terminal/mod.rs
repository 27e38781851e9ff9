//! The command in a pseudo-terminal: its screen can be read, and keys be pressed.

#![allow(dead_code, reason = "each test program uses a part of it")]

use portable_pty::{Child, CommandBuilder, MasterPty, PtyPair, PtySize, native_pty_system};
use std::io::{Read, Write};
use std::num::NonZero;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// For waits that must end much sooner.
const WATCHDOG: Duration = Duration::from_secs(60);

pub(crate) struct Terminal {
    pair: PtyPair,
    keys: Box<dyn Write + Send>,
    pub(crate) child: Box<dyn Child + Send + Sync>,
    shown: Arc<(Mutex<Shown>, Condvar)>,
    before: String,
}

struct Shown {
    parser: vt100::Parser,
    /// All that was ever written.
    bytes: Vec<u8>,
}

impl Terminal {
    /// Starts the command in a terminal of `columns` and `lines`, with its queues in `directory`.
    pub(crate) fn start(arguments: &[&str], directory: &Path, (columns, lines): (u16, u16)) -> Self {
        let pair = native_pty_system().openpty(size(columns, lines)).unwrap();
        let before = modes(&*pair.master);
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_multiproc"));
        command.args(arguments);
        command.env("MULTIPROC_DIR", directory);
        command.env("TERM", "xterm-256color");
        command.env_remove("NO_COLOR");
        let child = pair.slave.spawn_command(command).unwrap();
        let keys = pair.master.take_writer().unwrap();
        let parser = vt100::Parser::new(NonZero::new(lines).unwrap(), NonZero::new(columns).unwrap(), 0);
        let shown = Arc::new((Mutex::new(Shown { parser, bytes: Vec::new() }), Condvar::new()));
        let mut reader = pair.master.try_clone_reader().unwrap();
        let told = Arc::clone(&shown);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                let mut shown = told.0.lock().unwrap();
                shown.parser.process(&buffer[..length]);
                shown.bytes.extend_from_slice(&buffer[..length]);
                told.1.notify_all();
            }
        });
        Self { pair, keys, child, shown, before }
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    pub(crate) fn resize(&self, columns: u16, lines: u16) {
        self.shown.0.lock().unwrap().parser.screen_mut().set_size(NonZero::new(lines).unwrap(), NonZero::new(columns).unwrap());
        self.pair.master.resize(size(columns, lines)).unwrap();
    }

    /// Waits until the screen is as wanted, and returns it.
    #[track_caller]
    pub(crate) fn wait(&self, wanted: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + WATCHDOG;
        let mut shown = self.shown.0.lock().unwrap();
        loop {
            let screen = shown.parser.screen().contents();
            if wanted(&screen) {
                return screen;
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the screen stays:\n{screen}");
            shown = self.shown.1.wait_timeout(shown, left).unwrap().0;
        }
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, words: &str) -> String {
        self.wait(|screen| screen.contains(words))
    }

    /// Waits for the end, and checks that the terminal is as it was. Returns the exit code.
    #[track_caller]
    pub(crate) fn end(mut self) -> u32 {
        let end = Instant::now() + WATCHDOG;
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() > end => panic!("it does not end"),
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        assert_eq!(modes(&*self.pair.master), self.before, "the modes of the terminal were changed");
        // What was written last may still be on its way.
        let shown = self.shown.0.lock().unwrap();
        let left = |shown: &mut Shown| shown.parser.screen().alternate_screen() || shown.parser.screen().hide_cursor();
        let (shown, late) = self.shown.1.wait_timeout_while(shown, WATCHDOG, left).unwrap();
        assert!(!late.timed_out(), "the screen or the cursor was not given back");
        drop(shown);
        status.exit_code()
    }

    /// All that was ever written to the terminal.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.shown.0.lock().unwrap().bytes.clone()
    }

    /// Looks at the screen with its colours.
    pub(crate) fn screen<R>(&self, look: impl FnOnce(&vt100::Screen) -> R) -> R {
        look(self.shown.0.lock().unwrap().parser.screen())
    }
}

fn size(columns: u16, lines: u16) -> PtySize {
    PtySize { rows: lines, cols: columns, pixel_width: 0, pixel_height: 0 }
}

fn modes(master: &dyn MasterPty) -> String {
    format!("{:?}", master.get_termios().unwrap())
}
