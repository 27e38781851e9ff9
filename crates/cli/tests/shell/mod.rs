//! The command as a shell runs it, and what tests steer its jobs with.

#![allow(dead_code, reason = "each test program uses a part of it")]

use multiproc::{JoinableQueue, remove_queue};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The command, without arguments.
pub(crate) fn multiproc() -> Command {
    watch();
    let mut command = Command::new(env!("CARGO_BIN_EXE_multiproc"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub(crate) fn multiproc_with(arguments: &[&str]) -> Command {
    let mut command = multiproc();
    command.args(arguments);
    command
}

/// Ends a test that hangs.
fn watch() {
    static WATCH: std::sync::Once = std::sync::Once::new();
    WATCH.call_once(|| {
        std::thread::spawn(|| {
            std::thread::sleep(Duration::from_secs(120));
            eprintln!("the test hangs");
            std::process::abort();
        });
    });
}

/// A queue of its own for a test, which goes with it.
pub(crate) struct Jobs {
    pub(crate) name: String,
    pub(crate) queue: JoinableQueue<Vec<u8>>,
}

impl Jobs {
    pub(crate) fn new(messages: &[&str]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test-work-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let queue = JoinableQueue::builder().named(&name).build().unwrap();
        let jobs = Self { name, queue };
        messages.iter().for_each(|message| jobs.put(message.as_bytes()));
        jobs
    }

    pub(crate) fn put(&self, message: &[u8]) {
        self.queue.put(message.to_vec()).unwrap();
    }

    /// `multiproc work NAME` with these options and this command.
    pub(crate) fn work(&self, options: &[&str], command: &[&str]) -> Command {
        let mut work = multiproc_with(&["work", &self.name]);
        work.args(options).arg("--").args(command);
        work
    }

    /// The same with a script of the shell, whose `$1` is the message.
    pub(crate) fn work_script(&self, options: &[&str], script: &str) -> Command {
        self.work(options, &["sh", "-c", script, "sh", "{}"])
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        let _ = remove_queue(&self.name);
    }
}

/// The lines that a command prints. It must end with `code`.
pub(crate) fn lines_of(command: &mut Command, code: i32) -> Vec<String> {
    let output = command.output().unwrap();
    check(&output, code);
    text(&output.stdout).lines().map(str::to_owned).collect()
}

pub(crate) fn check(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

/// A running command whose output is read line by line.
pub(crate) struct Running {
    pub(crate) child: Child,
    stdout: BufReader<std::process::ChildStdout>,
    stderr: BufReader<std::process::ChildStderr>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { child, stdout, stderr }
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// The next bytes that it prints.
    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.stdout.read_exact(&mut bytes).unwrap();
        bytes
    }

    pub(crate) fn error_line(&mut self) -> String {
        let mut line = String::new();
        self.stderr.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// What it prints until no process has its standard output any more, and how it ended.
    pub(crate) fn rest(&mut self) -> (String, Option<i32>) {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        (rest, self.child.wait().unwrap().code())
    }

    pub(crate) fn signal(&self, signal: &str) {
        kill(signal, self.child.id());
    }
}

pub(crate) fn kill(signal: &str, pid: u32) {
    let status = Command::new("kill").args(["-s", signal, &pid.to_string()]).status().unwrap();
    assert!(status.success(), "kill -s {signal} {pid}");
}

/// Where jobs wait until the test lets them go on: each `read x < PATH` takes one line.
pub(crate) struct Gate {
    path: PathBuf,
    fifo: File,
    _folder: tempfile::TempDir,
}

impl Gate {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gate");
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        // With both ends here, nobody waits for the other end.
        let fifo = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        Self { path, fifo, _folder: folder }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until a job writes a line to it.
    pub(crate) fn wait(&mut self) {
        self.fifo.read_exact(&mut [0]).unwrap();
    }

    pub(crate) fn let_go(&mut self, jobs: usize) {
        self.fifo.write_all("\n".repeat(jobs).as_bytes()).unwrap();
    }
}
