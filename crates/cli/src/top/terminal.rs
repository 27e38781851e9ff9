//! The terminal: taken when `top` begins, and left as it was, however `top` ends.

use anyhow::Context;
use ratatui::backend::CrosstermBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, enable_raw_mode, size};
use ratatui::layout::Rect;
use ratatui::{DefaultTerminal, Terminal};
use rustix::process::{Signal, getpgrp, getsid, kill_current_process_group};
use std::io::{IsTerminal, stdout};
use std::mem::ManuallyDrop;

/// The whole terminal. Dropping it gives it back; a panic does so before its message is printed.
#[derive(Debug)]
pub(crate) struct Screen {
    /// Never dropped: its own end prints, and panics where standard error is closed.
    terminal: ManuallyDrop<DefaultTerminal>,
}

impl Screen {
    pub(crate) fn enter() -> anyhow::Result<Self> {
        let entered = ratatui::try_init();
        if entered.is_err() {
            // It may have gone half the way.
            leave();
        }
        Ok(Self { terminal: ManuallyDrop::new(entered.context("can't use this terminal")?) })
    }

    pub(crate) fn draw(&mut self, draw: impl FnOnce(Rect, &mut Buffer)) -> anyhow::Result<()> {
        self.terminal.draw(|frame| draw(frame.area(), frame.buffer_mut())).context("can't write to the terminal")?;
        Ok(())
    }

    /// Gives the terminal back and stops this job, as Ctrl-Z does elsewhere. Returns when the job goes on. `false`: no shell is there that
    /// could let it go on.
    pub(crate) fn stop(&mut self) -> anyhow::Result<bool> {
        // A shell with job control gives each job a process group of its own.
        if getsid(None)? == getpgrp() {
            return Ok(false);
        }
        leave();
        kill_current_process_group(Signal::STOP)?;
        self.take_again()?;
        Ok(true)
    }

    /// Takes the terminal again, after another program has used it.
    pub(crate) fn take_again(&mut self) -> anyhow::Result<()> {
        leave();
        enable_raw_mode().context("can't use this terminal")?;
        execute!(stdout(), EnterAlternateScreen).context("can't write to the terminal")?;
        self.terminal = ManuallyDrop::new(Terminal::new(CrosstermBackend::new(stdout()))?);
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The screen was given back before the panic's message. A second time would move the cursor onto it.
            let _ = execute!(stdout(), Show);
        } else {
            leave();
        }
    }
}

/// Leaves the terminal as it was. Where it is gone, nothing is left to do.
fn leave() {
    let _ = ratatui::try_restore();
    let _ = execute!(stdout(), Show);
}

/// Columns for text: the terminal's, those that `COLUMNS` tells, or 100.
pub(crate) fn columns() -> u16 {
    let told = || std::env::var("COLUMNS").ok()?.parse().ok();
    let terminal = stdout().is_terminal().then(|| size().ok()).flatten();
    terminal.map(|(columns, _)| columns).or_else(told).unwrap_or(100).clamp(super::screen::LEAST.0, 1000)
}
