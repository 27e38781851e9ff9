//! The commands on queues, each tried with the real binary: what they print, how they end, and that nothing is lost.

mod endings;
mod messages;
mod views;

use serde_json::Value;
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const WATCHDOG: Duration = Duration::from_secs(20);

/// A directory of queues of its own, and one name in it.
struct Shell {
    directory: PathBuf,
    name: String,
    /// Removes the directory.
    _temporary: Option<tempfile::TempDir>,
}

impl Shell {
    fn new() -> Self {
        let temporary = tempfile::tempdir_in("/dev/shm").unwrap();
        let shell = Self::at(temporary.path().to_owned());
        Self { _temporary: Some(temporary), ..shell }
    }

    fn at(directory: PathBuf) -> Self {
        Self { directory, name: format!("queue-{}", std::process::id()), _temporary: None }
    }

    /// With a queue that was made with these options.
    fn with(options: &[&str]) -> Self {
        let shell = Self::new();
        assert_eq!(shell.run(&[&["create"], options].concat()), (0, String::new(), String::new()));
        shell
    }

    /// A command on the queue: its name comes second.
    fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_multiproc"));
        command.env("MULTIPROC_DIR", &self.directory).arg(&arguments[0]).arg(&self.name).args(&arguments[1..]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// The exit code, standard output and standard error of a command.
    fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> (i32, String, String) {
        told(self.command(arguments).output().unwrap())
    }

    /// What a command prints that does what it was asked.
    fn ok<S: AsRef<OsStr>>(&self, arguments: &[S]) -> String {
        let (code, printed, errors) = self.run(arguments);
        assert_eq!((code, errors.as_str()), (0, ""), "{printed}");
        printed
    }

    /// What a command says that fails with an error.
    fn error<S: AsRef<OsStr>>(&self, arguments: &[S]) -> String {
        let (code, printed, errors) = self.run(arguments);
        assert_eq!((code, printed.as_str(), errors.lines().count()), (2, "", 1), "{errors}");
        errors
    }

    fn feed<S: AsRef<OsStr>>(&self, arguments: &[S], input: &[u8]) -> (i32, String, String) {
        let mut child = self.spawn(self.command(arguments).stdin(Stdio::piped()));
        child.stdin.take().unwrap().write_all(input).unwrap();
        told(child.wait_with_output().unwrap())
    }

    fn spawn(&self, command: &mut Command) -> Child {
        command.spawn().unwrap()
    }

    fn stat(&self) -> Value {
        serde_json::from_str(&self.ok(&["stat", "--json"])).unwrap()
    }

    /// Waits until `ls` says so of the queue.
    fn until(&self, holds: impl Fn(&Value) -> bool) {
        let end = Instant::now() + WATCHDOG;
        loop {
            let mut ls = Command::new(env!("CARGO_BIN_EXE_multiproc"));
            let listed = ls.args(["ls", "--json"]).env("MULTIPROC_DIR", &self.directory).output().unwrap();
            let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
            if holds(&listed) {
                return;
            }
            assert!(Instant::now() < end, "{listed}");
        }
    }
}

fn told(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

fn signal(child: &Child, signal: &str) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

/// The next bytes that a child prints.
fn read(child: &mut Child, len: usize) -> String {
    let mut bytes = vec![0; len];
    child.stdout.as_mut().unwrap().read_exact(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Takes everything that waits, and returns its lengths.
fn lengths(shell: &Shell) -> Vec<usize> {
    shell.ok(&["get", "--all"]).lines().map(str::len).collect()
}

/// Messages longer than a pipe holds, each of another length.
fn put_long(shell: &Shell, count: usize) -> Vec<usize> {
    let lens: Vec<usize> = (0..count).map(|n| 100_000 + n).collect();
    let input: Vec<String> = lens.iter().map(|&len| "x".repeat(len) + "\n").collect();
    assert_eq!(shell.feed(&["put"], input.concat().as_bytes()).0, 0);
    lens
}
