//! `Process::spawn`, and the settings of a process before it starts.

use crate::current::{current_process, next_child};
use crate::error::{SpawnError, SpawnErrorKind};
use crate::family;
use crate::handle::Process;
use crate::hello::{Hello, MAX_ARGS, MAX_DESCRIPTORS, MAX_NAME};
use crate::init;
use crate::start::start;
use crate::surroundings::Surroundings;
use crate::target::{Ending, Entry, Target};
use multiproc_travel::pass;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long each step of a new process may take on its way to `init()`, unless the builder says otherwise.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest time-out that the system takes for a socket, or nearly.
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

impl Process {
    /// Runs `target` with `args` in a new process (Python: `Process(target=…, args=…)` and `start`).
    ///
    /// The function takes one argument, a tuple for instance, or none: then `args` is `()`. The arguments are serialised; queues, connections
    /// and descriptors may be anywhere inside them. The call returns when the new process has decoded them and is about to call the function.
    ///
    /// ```
    /// # use multiproc_process as multiproc;
    /// use multiproc::Process;
    ///
    /// fn greet((number, name): (u32, String)) {
    ///     println!("{number}: hello {name}");
    /// }
    ///
    /// fn check() -> Result<(), std::io::Error> {
    ///     Ok(())
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let _main = multiproc::init();
    /// assert!(Process::spawn(greet, (7, "world".into()))?.join()?.success());
    /// assert!(Process::spawn(check, ())?.join()?.success());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// A function of another shape does not compile:
    ///
    /// ```compile_fail
    /// # use multiproc_process as multiproc;
    /// fn two(number: u32, name: String) {}
    /// multiproc::Process::spawn(two, (7, String::new()));
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`ProcessBuilder::spawn`], with the arguments.
    pub fn spawn<T, A, S>(target: T, args: A) -> Result<Self, SpawnError<A>>
    where
        T: Target<A, S, Returned: Ending>,
        A: Serialize + DeserializeOwned + 'static,
        S: 'static,
    {
        Self::builder().spawn(target, args)
    }

    /// Begins with the settings of a process that starts later: its name, its streams, its environment.
    pub fn builder() -> ProcessBuilder {
        ProcessBuilder {
            name: None,
            daemon: false,
            ignore_interrupts: false,
            patience: PATIENCE,
            surroundings: Surroundings::default(),
        }
    }
}

/// Settings of a [`Process`] before it starts: a name, a daemon, streams, environment, directory.
///
/// The new process has this process's output streams, environment and directory unless they are set here, as in `std::process::Command`. Its
/// standard input is empty unless it is set.
///
/// ```
/// # use multiproc_process as multiproc;
/// use multiproc::Process;
/// use std::io::{Read, Seek};
///
/// fn shout() {
///     println!("{}", std::env::var("WORD").unwrap());
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let _main = multiproc::init();
/// let mut file = tempfile::tempfile()?;
/// let process = Process::builder().name("shouter").env("WORD", "hello").stdout(file.try_clone()?).spawn(shout, ())?;
/// assert!(process.join()?.success());
/// let mut text = String::new();
/// file.rewind()?;
/// file.read_to_string(&mut text)?;
/// assert!(text.ends_with("hello\n"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder starts nothing before spawn()"]
pub struct ProcessBuilder {
    name: Option<String>,
    daemon: bool,
    ignore_interrupts: bool,
    patience: Duration,
    surroundings: Surroundings,
}

impl ProcessBuilder {
    /// A name other than `Process-N` (Python: `name=`). At most 65,536 bytes.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Whether the process ends with this one, however that ends (Python: `daemon=`).
    pub fn daemon(mut self, daemon: bool) -> Self {
        self.daemon = daemon;
        self
    }

    /// Whether the process ignores `SIGINT` from its first moment, before any of its code runs (Python: `signal.signal(SIGINT, SIG_IGN)` in a
    /// pool's initializer). Ctrl-C in a terminal goes to every process of a program, and its main process should decide what happens.
    ///
    /// The programs and processes that it starts inherit that. Without it, a signal that comes while the process starts ends it, and
    /// `spawn` says [`EndedEarly`](SpawnErrorKind::EndedEarly) with that signal.
    pub fn ignore_interrupts(mut self, ignore: bool) -> Self {
        self.ignore_interrupts = ignore;
        self
    }

    /// How long the process may take for each step of its start: to come up, to receive its arguments, to reach
    /// [`init`](crate::init). A process that takes longer is killed. 60 seconds by default, at least 1 ms, at most a year (Python: no limit).
    pub fn start_timeout(mut self, limit: Duration) -> Self {
        self.patience = limit.clamp(Duration::from_millis(1), YEAR);
        self
    }

    /// What the process reads as standard input: a file, a pipe's reader, a socket. By default it is empty, as in Python.
    ///
    /// For this process's own standard input pass a copy: `std::io::stdin().as_fd().try_clone_to_owned()?`. The new process finds it there
    /// before `main`, but not before libraries that are loaded earlier run their own start-up code.
    pub fn stdin(mut self, stdin: impl Into<OwnedFd>) -> Self {
        self.surroundings.stdin = Some(Arc::new(stdin.into()));
        self
    }

    /// Where the standard output of the process goes: to a file, a pipe's writer, a socket. By default to this process's own.
    ///
    /// The builder holds the descriptor until `spawn` returns, so the reader of a pipe sees the end when the process has ended.
    pub fn stdout(mut self, stdout: impl Into<OwnedFd>) -> Self {
        self.surroundings.stdout = Some(Arc::new(stdout.into()));
        self
    }

    /// Where the standard error of the process goes: to a file, a pipe's writer, a socket. By default to this process's own.
    pub fn stderr(mut self, stderr: impl Into<OwnedFd>) -> Self {
        self.surroundings.stderr = Some(Arc::new(stderr.into()));
        self
    }

    /// Sets an environment variable of the process.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.surroundings.variables.push((name.into(), Some(value.into())));
        self
    }

    /// Sets several environment variables of the process.
    pub fn envs<N: Into<OsString>, V: Into<OsString>>(mut self, variables: impl IntoIterator<Item = (N, V)>) -> Self {
        self.surroundings.variables.extend(variables.into_iter().map(|(name, value)| (name.into(), Some(value.into()))));
        self
    }

    /// Takes an environment variable away from the process.
    pub fn env_remove(mut self, name: impl Into<OsString>) -> Self {
        self.surroundings.variables.push((name.into(), None));
        self
    }

    /// Starts the process with an empty environment, but for what is set after this call.
    ///
    /// One variable is always there, `MULTIPROC_PARENT`: the new process recognises itself by it.
    pub fn env_clear(mut self) -> Self {
        self.surroundings.without_variables = true;
        self.surroundings.variables.clear();
        self
    }

    /// The directory in which the process starts. By default this process's own.
    pub fn current_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.surroundings.directory = Some(directory.into());
        self
    }

    /// Starts the process with these settings; otherwise as [`Process::spawn`] (Python: `start`).
    ///
    /// # Errors
    ///
    /// The arguments can't be encoded or decoded, or are too long; the function is not in the executable file; the new process has other
    /// rights than this one; it ends or hangs before it runs the function; the system refuses. The error has the arguments.
    pub fn spawn<T, A, S>(self, target: T, args: A) -> Result<Process, SpawnError<A>>
    where
        T: Target<A, S, Returned: Ending>,
        A: Serialize + DeserializeOwned + 'static,
        S: 'static,
    {
        // Children that have ended are waited for here, as Python does, so that no zombies gather.
        let _ = family::running();
        let (numbers, usual) = next_child();
        let name = self.name.clone().unwrap_or(usual);
        match self.spawn_named(&name, numbers, target, &args) {
            Ok(process) => Ok(process),
            Err(kind) => Err(SpawnError::new(name, kind, args)),
        }
    }

    fn spawn_named<T, A, S>(&self, name: &str, numbers: Vec<u32>, target: T, args: &A) -> Result<Process, SpawnErrorKind>
    where
        T: Target<A, S, Returned: Ending>,
        A: Serialize + DeserializeOwned + 'static,
        S: 'static,
    {
        if name.len() > MAX_NAME {
            return Err(SpawnErrorKind::NameTooLong { len: name.len(), max: MAX_NAME });
        }
        if init::is_expected() {
            return Err(SpawnErrorKind::BeforeInit);
        }
        if current_process().is_daemon() {
            return Err(SpawnErrorKind::InDaemon);
        }
        let entry = match Entry::of(target) {
            Ok(Some(entry)) => entry,
            Ok(None) => return Err(SpawnErrorKind::NotInImage),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(SpawnErrorKind::OtherProgram),
            Err(source) => {
                return Err(SpawnErrorKind::System { what: "look at this program's file (/proc/self/exe)", source });
            }
        };
        let parcel = pass::encode(args).map_err(SpawnErrorKind::Encode)?;
        let (len, count) = (parcel.bytes.len(), parcel.descriptors.len());
        if len > MAX_ARGS {
            return Err(SpawnErrorKind::TooLarge { len, max: MAX_ARGS });
        }
        if count > MAX_DESCRIPTORS {
            return Err(SpawnErrorKind::TooManyDescriptors { count, max: MAX_DESCRIPTORS });
        }
        let hello = Hello {
            entry,
            early: !init::was_called(),
            daemon: self.daemon,
            ignore_interrupts: self.ignore_interrupts,
            stay_connected: false,
            has_stdin: false,
            parent: std::process::id(),
            name: name.to_owned(),
            numbers,
        };
        let child = start(hello, &parcel, &self.surroundings, self.patience)?;
        // The new process has its own copies. The handles that moved to it are gone here.
        parcel.sent();
        Ok(Process(child))
    }
}
