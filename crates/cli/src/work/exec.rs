//! What stands between the worker and a command: this program itself, for a moment.
//!
//! `multiproc __exec PARENT COMMAND…` becomes the command after it has asked the kernel to kill it together with its parent. So a worker
//! that is killed leaves no command running beside the next delivery of the same message.

use crate::exit::say;
use crate::work::guard;
use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

/// A program that is not there, as in the shell.
pub(crate) const NOT_FOUND: u8 = 127;
/// A program that can't be run, as in the shell.
pub(crate) const NOT_RUN: u8 = 126;

/// Does what a process behind a job has to do, if this is one.
pub(crate) fn behind_a_job(mut arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    match arguments.nth(1)?.to_str()? {
        "__exec" => Some(become_command(arguments)),
        "__guard" => Some(guard::stand()),
        _ => None,
    }
}

/// A command that dies with this thread, which has to live as long as the process.
pub(crate) fn bound_command(arguments: &[OsString]) -> Command {
    let mut command = this_program("__exec");
    command.arg(getpid().to_string()).args(arguments);
    command
}

/// The very file of this process, also after an upgrade has replaced it.
pub(crate) fn this_program(task: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("multiproc").arg(task);
    command
}

fn become_command(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let parent = arguments.next().and_then(|pid| Pid::from_raw(pid.to_str()?.parse().ok()?));
    let Some(program) = arguments.next() else { return ExitCode::from(NOT_RUN) };
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        say!("can't bind a command to its worker: {error}");
        return ExitCode::from(NOT_RUN);
    }
    // The parent may have died before the kernel was asked.
    if getppid() != parent {
        return ExitCode::from(NOT_RUN);
    }
    let error = Command::new(&program).args(arguments).exec();
    say!("{}", not_run(&program, &error));
    ExitCode::from(if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_RUN })
}

fn not_run(program: &OsStr, error: &io::Error) -> String {
    let name = program.to_string_lossy();
    if error.kind() != io::ErrorKind::NotFound {
        return format!("can't run {name:?}: {error}");
    }
    let hint =
        if name.contains([' ', '|', ';', '>']) { "; what a shell understands goes through one: -- sh -c '…'" } else { "" };
    format!("can't run {name:?}: there is no such program{hint}")
}
