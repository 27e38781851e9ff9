//! A small disk in memory that one process sees, and those that it is told to show it to.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

pub(crate) struct Disk {
    /// It keeps the disk mounted until its input ends.
    keeper: Child,
    input: Option<ChildStdin>,
    at: PathBuf,
}

impl Disk {
    /// `None` after a line that says so: this user may mount none.
    pub(crate) fn mount(at: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let script = r#"mount -t tmpfs -o size="$1" tmpfs "$2" && echo mounted && exec cat"#;
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-c", script, "sh", size]).arg(at);
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut line = String::new();
        if let Ok(mut keeper) = started {
            BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut line).unwrap();
            let input = keeper.stdin.take();
            let disk = Self { keeper, input, at: at.into() };
            if line.trim() == "mounted" {
                return Some(disk);
            }
        }
        eprintln!("not run: this user can mount no disk in memory");
        None
    }

    /// A command that sees the disk.
    pub(crate) fn run(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--preserve-credentials", "-U", "-m", "-t", &self.keeper.id().to_string()]).arg(program.as_ref());
        command
    }

    pub(crate) fn grow(&self, size: &str) {
        let mut mount = self.run("mount");
        assert!(mount.args(["-o", &format!("remount,size={size}")]).arg(&self.at).status().unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.keeper.wait();
    }
}
