//! The watcher: runs one program in one world, ends what hangs, and judges.

use crate::make::REPORT;
use crate::programs::Program;
use crate::table::{Must, World};
use std::io::{self, PipeReader, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Longer than a case takes on any machine.
const HANGS: Duration = Duration::from_secs(30);
/// The time in which a process finds out that its parent is gone.
const SETTLES: Duration = Duration::from_secs(3);

pub(crate) enum Verdict {
    /// With the program's note, if it has one.
    AsExpected(Option<String>),
    Failed(String),
    /// The machine can't make this world.
    NotRun(String),
}

/// Runs cases, one at a time.
pub(crate) struct Watcher {
    /// A copy of this program where every user can run it.
    file: PathBuf,
}

/// How a case ended.
struct Ended {
    report: String,
    output: String,
    /// `None` if the program hung and was killed.
    status: Option<ExitStatus>,
    left: usize,
}

impl Watcher {
    pub(crate) fn new() -> io::Result<Self> {
        // A process that a program leaves behind becomes our child, so that we know of it.
        // SAFETY: numbers only.
        unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
        let directory = std::env::temp_dir().join(format!("multiproc-worlds-{}", std::process::id()));
        std::fs::create_dir(&directory)?;
        std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o755))?;
        let file = directory.join("worlds");
        std::fs::copy(std::env::current_exe()?, &file)?;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755))?;
        Ok(Self { file })
    }

    pub(crate) fn run(&self, world: &World, program: &Program, short: bool) -> io::Result<Verdict> {
        let arguments = ["--make", &world.name, program.name, if short { "short" } else { "full" }];
        Ok(judge(&watch(&self.file, &arguments)?, world.must(program)))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if let Some(directory) = self.file.parent() {
            let _ = std::fs::remove_dir_all(directory);
        }
    }
}

fn watch(file: &PathBuf, arguments: &[&str]) -> io::Result<Ended> {
    let ((mut reports, told), (mut outputs, printed)) = (io::pipe()?, io::pipe()?);
    let mut command = Command::new(file);
    command.args(arguments).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::from(printed.try_clone()?)).stderr(Stdio::from(printed));
    let descriptor = told.as_raw_fd();
    // SAFETY: the copy of this process only gives a descriptor of its own another number.
    unsafe {
        command.pre_exec(move || match libc::dup2(descriptor, REPORT) {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        });
    }
    let maker = command.spawn()?.id() as i32;
    // The command holds our copies of the ends that others write to.
    drop((command, told));
    let (mut report, mut output) = (Vec::new(), Vec::new());
    let begin = Instant::now();
    let status = loop {
        let news = read_what_is_there(&mut reports, &mut report) | read_what_is_there(&mut outputs, &mut output);
        match wait_for(maker) {
            Some(status) => break Some(status),
            None if begin.elapsed() > HANGS || count(&report, "main\n") > 1 => break None,
            None if news => {}
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    if status.is_none() {
        // SAFETY: the group of the process that we started, which was not waited for.
        unsafe { libc::killpg(maker, libc::SIGKILL) };
    }
    let left = end_those_left(if status.is_none() { Duration::ZERO } else { SETTLES })?;
    // No process is left that could write.
    reports.read_to_end(&mut report)?;
    outputs.read_to_end(&mut output)?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Ended { report: text(report), output: text(output), status, left: if status.is_none() { 0 } else { left } })
}

fn count(text: &[u8], line: &str) -> usize {
    text.windows(line.len()).filter(|window| *window == line.as_bytes()).count()
}

/// Reads what is in a pipe now. Returns whether there was anything.
fn read_what_is_there(pipe: &mut PipeReader, to: &mut Vec<u8>) -> bool {
    let mut entry = libc::pollfd { fd: pipe.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one entry, which outlives the call.
    let ready = unsafe { libc::poll(&raw mut entry, 1, 0) } == 1 && entry.revents & libc::POLLIN != 0;
    let mut buffer = [0; 4096];
    match ready.then(|| pipe.read(&mut buffer)) {
        Some(Ok(len @ 1..)) => {
            to.extend_from_slice(&buffer[..len]);
            true
        }
        _ => false,
    }
}

/// How a child of ours ended. `None` if it still runs.
fn wait_for(pid: i32) -> Option<ExitStatus> {
    let mut status = 0;
    // SAFETY: asks about our own child; `status` outlives the call.
    (unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG | libc::__WALL) } == pid).then(|| ExitStatus::from_raw(status))
}

/// Waits until the processes that the case left behind have ended, and kills them after `patience`. Returns how many it killed.
fn end_those_left(patience: Duration) -> io::Result<usize> {
    let (mut left, begin) = (0, Instant::now());
    loop {
        let mut status = 0;
        // SAFETY: asks about our own children, which the processes left behind are; `status` outlives the call.
        match unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::__WALL) } {
            -1 => return Ok(left),
            0 if begin.elapsed() > patience => {
                for pid in children()? {
                    left += 1;
                    // SAFETY: a child of ours, not waited for.
                    unsafe { libc::kill(pid, libc::SIGKILL) };
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            0 => std::thread::sleep(Duration::from_millis(1)),
            _ => {}
        }
    }
}

/// Our children that still run.
fn children() -> io::Result<Vec<i32>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let mut fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
        let running = fields.next().is_some_and(|state| state != "Z" && state != "X");
        if running && fields.next().is_some_and(|parent| parent == std::process::id().to_string()) {
            found.push(pid);
        }
    }
    Ok(found)
}

fn judge(ended: &Ended, must: &Must) -> Verdict {
    let failed = |why: String| {
        let said: Vec<&str> = ended.output.lines().filter(|line| !line.contains("on purpose")).take(3).collect();
        Verdict::Failed(if said.is_empty() { why } else { format!("{why} (it printed: {})", said.join(" | ")) })
    };
    let last = ended.report.lines().rfind(|line| *line != "main").unwrap_or("nothing");
    if let Some(why) = ended.report.lines().find_map(|line| line.strip_prefix("NOT RUN: ")) {
        return Verdict::NotRun(why.into());
    }
    if count(ended.report.as_bytes(), "main\n") > 1 {
        return failed("main ran a second time".into());
    }
    // One program panics on purpose, and says so.
    let lines: Vec<&str> = ended.output.lines().collect();
    if lines.windows(2).any(|pair| pair[0].contains("panicked at") && !pair[1].contains("on purpose")) {
        return failed(format!("a panic; {last}"));
    }
    match ended.status {
        None => return failed(format!("hung for {} s; last word: {last}", HANGS.as_secs())),
        Some(status) if !status.success() => return failed(format!("ended with {status}; last word: {last}")),
        Some(_) if ended.left > 0 => return failed(format!("{} processes left behind; last word: {last}", ended.left)),
        Some(_) => {}
    }
    let names = |texts: &[&str], error: &str| texts.iter().any(|text| error.to_lowercase().contains(&text.to_lowercase()));
    match (last.strip_prefix("works"), last.strip_prefix("error: "), must) {
        (Some(note), _, Must::Work | Must::WorkOr(_)) => {
            Verdict::AsExpected(Some(note.trim().into()).filter(|note: &String| !note.is_empty()))
        }
        (_, Some(error), Must::Fail(texts) | Must::WorkOr(texts)) if names(texts, error) => Verdict::AsExpected(None),
        (_, _, must) => failed(format!("must {must}, but: {last}")),
    }
}
