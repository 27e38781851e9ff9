//! A program has more rights than the user who starts it. The user prepares everything for it as the library does for its own
//! children. The program must not run a function of that user's choice, and must not run `main` a second time.
//!
//! The user (`--attack`) starts a process with the library. `ptrace` makes it run another program: the same file, under a path
//! where it gives more rights. So the socket, the environment and the orders are those of a real child.

use crate::Failure;
use crate::make::{NOBODY, become_user, c_path, mount, report};
use crate::programs::{Program, text};
use multiproc::Process;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) const PROGRAMS: [&Program; 3] = [
    &Program { name: "set-gid", run: || prepared(|file| with_mode(file, None, Some(12_345), 0o2755)) },
    &Program { name: "set-uid", run: || prepared(|file| with_mode(file, Some(12_345), None, 0o4755)) },
    &Program { name: "capability", run: || prepared(with_capability) },
];

fn with_mode(file: &Path, user: Option<u32>, group: Option<u32>, mode: u32) -> std::io::Result<()> {
    chown(file, user, group)?;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode))
}

/// Gives a file the right to make raw sockets, in effect from the start.
fn with_capability(file: &Path) -> std::io::Result<()> {
    let words = [0x0200_0001_u32, 1 << 13, 0, 0, 0].map(u32::to_le_bytes);
    let (path, value) = (c_path(file)?, words.as_flattened());
    // SAFETY: path, name and value outlive the call.
    match unsafe { libc::setxattr(path.as_ptr(), c"security.capability".as_ptr(), value.as_ptr().cast(), value.len(), 0) } {
        -1 => Err(std::io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Ends with exit code 0 if the system says that this program has more rights than its starter.
pub(crate) fn say_whether_secure() -> Result<(), Failure> {
    // SAFETY: a number only.
    let secure = unsafe { libc::getauxval(libc::AT_SECURE) } != 0;
    if secure { Ok(()) } else { Err("no more rights than its starter".into()) }
}

/// The attacking user: starts a process with the library.
pub(crate) fn attack(evidence: &str) -> Result<(), Failure> {
    if std::env::var_os("WORLDS_ATTACK").is_some() {
        std::fs::write(format!("{evidence}.main"), "")?;
        return Err("main ran a second time".into());
    }
    // SAFETY: no other thread reads the environment.
    unsafe { std::env::set_var("WORLDS_ATTACK", "1") };
    let process = Process::spawn(chosen, evidence.to_owned())?;
    process.join()?;
    Ok(())
}

/// The function of the user's choice.
fn chosen(evidence: String) -> Result<(), String> {
    std::fs::write(evidence, "it ran").map_err(text)
}

/// Attacks a file that gives no rights under one path, and the rights of `give` under another.
fn prepared(give: fn(&Path) -> std::io::Result<()>) -> Result<String, String> {
    let place = std::env::current_exe().map_err(text)?.with_file_name(format!("rights-{}", std::process::id()));
    let done = prepare(&place).and_then(|file| try_with(&place, &file, give));
    if let Ok(bound) = c_path(&place.join("nosuid")) {
        // SAFETY: a string that outlives the call.
        unsafe { libc::umount2(bound.as_ptr(), libc::MNT_DETACH) };
    }
    let _ = std::fs::remove_dir_all(&place);
    done
}

fn prepare(place: &Path) -> Result<PathBuf, String> {
    for (name, mode) in [("", 0o755), ("suid", 0o755), ("nosuid", 0o755), ("evidence", 0o1777)] {
        std::fs::create_dir_all(place.join(name)).map_err(text)?;
        std::fs::set_permissions(place.join(name), std::fs::Permissions::from_mode(mode)).map_err(text)?;
    }
    let file = place.join("suid/program");
    std::fs::copy(std::env::current_exe().map_err(text)?, &file).map_err(text)?;
    let [suid, nosuid] = ["suid", "nosuid"].map(|name| c_path(&place.join(name)));
    let (suid, nosuid) = (suid.map_err(text)?, nosuid.map_err(text)?);
    let again = libc::MS_REMOUNT | libc::MS_BIND | libc::MS_NOSUID;
    let bound = mount(&suid, &nosuid, c"", libc::MS_BIND, c"").and_then(|()| mount(c"", &nosuid, c"", again, c""));
    if let Err(error) = bound {
        report(&format!("NOT RUN: can't mount: {error}"));
    }
    Ok(file)
}

fn try_with(place: &Path, file: &Path, give: fn(&Path) -> std::io::Result<()>) -> Result<String, String> {
    let evidence = place.join("evidence/it");
    let not_run = |why: &str| {
        report(&format!("NOT RUN: {why}"));
        Ok(String::new())
    };
    // Without more rights the attack works. Otherwise its failure would prove nothing.
    trace::start_and_replace(&place.join("nosuid/program"), file, &evidence)?;
    if !evidence.exists() {
        return not_run("the program that was put in place does not run the function even without more rights");
    }
    std::fs::remove_file(&evidence).map_err(text)?;
    give(file).map_err(text)?;
    let mut asks = Command::new(file);
    // SAFETY: the copy of this process only changes its user.
    unsafe { asks.arg("--secure").pre_exec(|| become_user(NOBODY)) };
    if !asks.status().map_err(text)?.success() {
        return not_run("files give no rights here");
    }
    trace::start_and_replace(&place.join("nosuid/program"), file, &evidence)?;
    if evidence.exists() {
        return Err("a program with more rights ran a function of its starter's choice".into());
    }
    if evidence.with_file_name("it.main").exists() {
        return Err("main ran a second time".into());
    }
    Ok(String::new())
}

#[cfg(target_arch = "x86_64")]
mod trace {
    use super::{NOBODY, become_user, c_path, text};
    use crate::programs::PATIENCE;
    use std::ffi::CStr;
    use std::os::unix::process::CommandExt;
    use std::path::Path;
    use std::process::Command;
    use std::time::Instant;

    /// Runs the user's program. The process that it starts becomes `replacement`, which runs untraced.
    pub(super) fn start_and_replace(program: &Path, replacement: &Path, evidence: &Path) -> Result<(), String> {
        let replacement = c_path(replacement).map_err(text)?;
        let mut command = Command::new(program);
        command.arg("--attack").arg(evidence);
        // SAFETY: the copy of this process changes its user and asks to be traced.
        unsafe {
            command.pre_exec(|| {
                become_user(NOBODY)?;
                libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
                Ok(())
            });
        }
        let user = command.spawn().map_err(text)?.id() as i32;
        let begin = Instant::now();
        let mut known = Vec::new();
        loop {
            let mut status = 0;
            // SAFETY: asks about our own child and the process that it starts; `status` outlives the call.
            let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::__WALL) };
            if pid == user && !libc::WIFSTOPPED(status) {
                return Ok(());
            }
            if pid < 0 || begin.elapsed() > PATIENCE {
                // SAFETY: our own child, not waited for.
                unsafe { libc::kill(user, libc::SIGKILL) };
                return Err("the program that starts the other one hung".into());
            }
            if pid > 0 && libc::WIFSTOPPED(status) {
                let first = !known.contains(&pid);
                if first {
                    known.push(pid);
                }
                go_on(pid, user, status, first, &replacement);
            } else if pid == 0 {
                std::thread::yield_now();
            }
        }
    }

    /// Lets a stopped process go on to its next system call. If that call runs a program, replaces the program and stops tracing.
    fn go_on(pid: i32, user: i32, status: i32, first: bool, replacement: &CStr) {
        let signal = match libc::WSTOPSIG(status) {
            libc::SIGTRAP | libc::SIGSTOP => 0,
            stop if stop == libc::SIGTRAP | 0x80 => {
                if pid != user && replace(pid, replacement) {
                    // SAFETY: traced and stopped.
                    unsafe { libc::ptrace(libc::PTRACE_DETACH, pid, 0, 0) };
                    return;
                }
                0
            }
            other => other,
        };
        // SAFETY: traced and stopped.
        unsafe {
            if first && pid == user {
                let follow = libc::PTRACE_O_TRACEFORK | libc::PTRACE_O_TRACEVFORK | libc::PTRACE_O_TRACECLONE;
                let options = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_EXITKILL | follow;
                libc::ptrace(libc::PTRACE_SETOPTIONS, pid, 0, options);
            }
            libc::ptrace(libc::PTRACE_SYSCALL, pid, 0, signal);
        }
    }

    /// Whether the process is about to run a program. If so, it runs the replacement.
    fn replace(pid: i32, replacement: &CStr) -> bool {
        // SAFETY: plain integers, which the kernel fills in; the process is traced and stopped.
        let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
        // SAFETY: as above.
        unsafe { libc::ptrace(libc::PTRACE_GETREGS, pid, 0, &raw mut registers) };
        let entering = registers.rax as i64 == -i64::from(libc::ENOSYS);
        match registers.orig_rax as i64 {
            libc::SYS_execve if entering => {}
            libc::SYS_execveat if entering => {
                registers.orig_rax = libc::SYS_execve as u64;
                (registers.rsi, registers.rdx) = (registers.rdx, registers.r10);
            }
            _ => return false,
        }
        // The path goes below its stack, where nothing is.
        registers.rdi = (registers.rsp - 4096) & !7;
        let mut bytes = replacement.to_bytes_with_nul().to_vec();
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        for (at, word) in bytes.chunks_exact(8).enumerate() {
            let word = u64::from_ne_bytes([word[0], word[1], word[2], word[3], word[4], word[5], word[6], word[7]]);
            // SAFETY: as above.
            unsafe { libc::ptrace(libc::PTRACE_POKEDATA, pid, registers.rdi + 8 * at as u64, word) };
        }
        // SAFETY: as above.
        unsafe { libc::ptrace(libc::PTRACE_SETREGS, pid, 0, &raw const registers) };
        true
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod trace {
    pub(super) fn start_and_replace(_: &std::path::Path, _: &std::path::Path, _: &std::path::Path) -> Result<(), String> {
        // The control finds that nothing ran.
        Ok(())
    }
}
