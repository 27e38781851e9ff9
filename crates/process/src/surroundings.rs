//! What a new process gets from the system: streams, environment, current directory.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

/// Changes to what a new process would get from its parent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    /// It travels with the orders, since the socket is what the new process finds as its standard input.
    pub(crate) stdin: Option<Arc<OwnedFd>>,
    pub(crate) stdout: Option<Arc<OwnedFd>>,
    pub(crate) stderr: Option<Arc<OwnedFd>>,
    pub(crate) without_variables: bool,
    /// A variable without a value is removed.
    pub(crate) variables: Vec<(OsString, Option<OsString>)>,
    pub(crate) directory: Option<PathBuf>,
}

impl Surroundings {
    /// Prepares everything but standard input.
    pub(crate) fn apply_to(&self, command: &mut Command) -> io::Result<()> {
        if let Some(stdout) = &self.stdout {
            command.stdout(stdout.try_clone()?);
        }
        if let Some(stderr) = &self.stderr {
            command.stderr(stderr.try_clone()?);
        }
        if self.without_variables {
            command.env_clear();
        }
        for (name, value) in &self.variables {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        Ok(())
    }
}
