//! What happens to `top`: keys, a new size, signals. Each source has a thread, which ends with the process.

use anyhow::Context;
use ratatui::crossterm::event::{self, Event, KeyEvent};
use ratatui::crossterm::terminal::disable_raw_mode;
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGTSTP};
use signal_hook::iterator::Signals;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

#[derive(Debug)]
pub(crate) enum Happened {
    Key(KeyEvent),
    Resized,
    /// SIGTERM, SIGHUP or SIGINT, which ends `top`.
    Ended(u8),
    /// SIGTSTP.
    Stopped,
    /// SIGCONT: the shell may have changed the terminal meanwhile.
    Continued,
    /// The terminal can't be read any more.
    Lost(io::Error),
}

/// Listens to signals, before anything is done to the terminal.
pub(crate) fn signals() -> anyhow::Result<(Sender<Happened>, Receiver<Happened>)> {
    let (sender, receiver) = channel();
    let mut signals = Signals::new([SIGTERM, SIGHUP, SIGINT, SIGTSTP, SIGCONT]).context("can't watch for signals")?;
    let teller = sender.clone();
    let listen = move || {
        let mut is_ended = false;
        for signal in &mut signals {
            let told = match signal {
                SIGTSTP => Happened::Stopped,
                SIGCONT => Happened::Continued,
                // The first one was not heeded: a terminal that takes no output holds everything up.
                _ if std::mem::replace(&mut is_ended, true) => {
                    let _ = disable_raw_mode();
                    std::process::exit(128 + signal);
                }
                other => Happened::Ended(other as u8),
            };
            let _ = teller.send(told);
        }
    };
    thread::Builder::new().name("signals".into()).spawn(listen).context("can't watch for signals")?;
    Ok((sender, receiver))
}

/// Listens to keys, once the terminal gives each at once.
pub(crate) fn keys(teller: Sender<Happened>) -> anyhow::Result<()> {
    // The first question sets up the handler of SIGWINCH. In the thread it could come after the first screen, and miss a new size. If it
    // fails, so does the thread's, which tells of it.
    let _ = event::poll(Duration::ZERO);
    let listen = move || {
        loop {
            let told = match event::read() {
                Ok(Event::Key(key)) => Happened::Key(key),
                Ok(Event::Resize(..)) => Happened::Resized,
                Ok(_) => continue,
                Err(error) => Happened::Lost(error),
            };
            let is_last = matches!(told, Happened::Lost(_));
            if teller.send(told).is_err() || is_last {
                return;
            }
        }
    };
    thread::Builder::new().name("keys".into()).spawn(listen).context("can't read keys")?;
    Ok(())
}
