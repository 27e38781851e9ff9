//! Signals that ask for the end: SIGINT, SIGTERM and SIGHUP.
//!
//! The first one is noticed between two steps, by whatever the command waits for. So nothing is left half done, and what is in hand is
//! given back. A second one of the same kind ends the process at once: what was in hand is delivered again as after a death.

use crate::exit::Stop;
use crate::proc;
use anyhow::Context;
use multiproc::Readable;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The signals of this process, from now on.
#[derive(Debug)]
pub(crate) struct Signals {
    /// Readable once a signal came. Nothing is ever read from it.
    bell: UnixStream,
    came: Arc<AtomicUsize>,
}

impl Signals {
    /// Watches for the signals that this process [heeds](heeded).
    pub(crate) fn watch() -> anyhow::Result<Self> {
        let came = Arc::new(AtomicUsize::new(0));
        let (bell, ringer) = UnixStream::pair().context("can't watch for signals")?;
        for signal in heeded([SIGINT, SIGTERM, SIGHUP]) {
            let register = || -> io::Result<()> {
                let before = Arc::new(AtomicBool::new(false));
                flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&before))?;
                flag::register(signal, before)?;
                flag::register_usize(signal, Arc::clone(&came), signal as usize)?;
                low_level::pipe::register(signal, ringer.try_clone()?)?;
                Ok(())
            };
            register().context("can't watch for signals")?;
        }
        Ok(Self { bell, came })
    }

    /// Ends what is done, if a signal came.
    pub(crate) fn check(&self) -> Result<(), Stop> {
        match self.came.load(Ordering::Relaxed) {
            0 => Ok(()),
            signal => Err(Stop::Signal(signal as u8)),
        }
    }

    /// What to wait for beside other things.
    pub(crate) fn source(&self) -> Readable<&UnixStream> {
        Readable(&self.bell)
    }

    /// Waits until the descriptor is ready for `events` or has lost its other side. Returns what it is ready for. The error holds a
    /// [`Stop`] if a signal came.
    pub(crate) fn wait_beside(&self, descriptor: BorrowedFd<'_>, events: PollFlags) -> io::Result<PollFlags> {
        loop {
            self.check().map_err(io::Error::other)?;
            let mut both = [PollFd::from_borrowed_fd(descriptor, events), PollFd::new(&self.bell, PollFlags::IN)];
            match poll(&mut both, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let ready = both[0].revents();
            if !ready.is_empty() && both[1].revents().is_empty() {
                return Ok(ready);
            }
        }
    }
}

/// Those of some signals that this process was not started with to ignore: `nohup` has it ignore SIGHUP, and a shell has its background
/// jobs ignore SIGINT. Where `/proc` is missing: all.
pub(crate) fn heeded(signals: impl IntoIterator<Item = i32>) -> impl Iterator<Item = i32> {
    let ignored = proc::signals(&proc::own_status(), "SigIgn");
    signals.into_iter().filter(move |signal| ignored >> (signal - 1) & 1 == 0)
}
