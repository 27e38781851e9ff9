//! The kernel, and the calls of it that multiproc is faster or safer with.

use super::Finding;
use super::Mark::{Bad, Ok as Good, Warn};
use rustix::fs::{MemfdFlags, inotify, memfd_create};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, getpid, pidfd_open};
use rustix::thread::futex::{WaitvFlags, waitv};
use rustix::thread::{ClockId, MembarrierCommand, membarrier};

pub(super) fn findings() -> Vec<Finding> {
    vec![kernel(), memory_file(), barrier(), many(), pidfd(), notices()]
}

/// What a sandbox has to be told, where the kernel knows the call.
const ALLOW: &str = "allow the call in the sandbox (docker: a newer engine, or --security-opt seccomp=FILE)";

fn kernel() -> Finding {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy().into_owned();
    let found = format!("Linux {release} on {}", name.machine().to_string_lossy());
    let version = version(&release);
    let (mark, means) = match version {
        Some(version) if version < (5, 3) => (Warn, "there are no pidfds and no futex_waitv: see below"),
        Some(version) if version < (5, 16) => (Warn, "there is no futex_waitv: see below"),
        _ => (Good, "new enough for everything that multiproc uses"),
    };
    Finding::new("kernel", mark, found, means, if mark == Good { "" } else { "Linux 5.16 or newer" })
}

/// The first two numbers of a release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn refused(error: Errno) -> String {
    format!("refused: {}", std::io::Error::from(error))
}

fn memory_file() -> Finding {
    let means = "queues without a name and pipes are sealed memory files";
    match memfd_create("multiproc-doctor", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING) {
        Ok(_) => Finding::new("memfd_create", Good, "there", means, ""),
        Err(error) => Finding::new("memfd_create", Bad, refused(error), format!("{means}: none can be made"), ALLOW),
    }
}

fn barrier() -> Finding {
    match membarrier(MembarrierCommand::GlobalExpedited) {
        Ok(()) => Finding::new("membarrier", Good, "there", "puts and gets need no fence while nobody sleeps", ""),
        Err(error) => {
            let means = "every put and get runs a full fence, and a process takes a millisecond more to fall asleep";
            Finding::new("membarrier", Warn, refused(error), means, ALLOW)
        }
    }
}

fn many() -> Finding {
    // Without a word to wait for, a kernel that has the call says that this is no list.
    match waitv(&[], WaitvFlags::empty(), None, ClockId::Monotonic) {
        Ok(_) | Err(Errno::INVAL) => {
            Finding::new("futex_waitv", Good, "there", "waiting for several queues at once costs nothing", "")
        }
        Err(error) => {
            let means = "waiting for several queues at once looks at them once a millisecond";
            Finding::new("futex_waitv", Warn, refused(error), means, format!("Linux 5.16 or newer; {ALLOW}"))
        }
    }
}

fn pidfd() -> Finding {
    match pidfd_open(getpid(), PidfdFlags::empty()) {
        Ok(_) => Finding::new(
            "pidfd_open",
            Good,
            "there",
            "the death of a process is known at once, and \"top\" kills the right one",
            "",
        ),
        Err(error) => {
            let means = "processes look for deaths every 50 ms instead of being told, and \"top\" can't kill";
            Finding::new("pidfd_open", Warn, refused(error), means, format!("Linux 5.3 or newer; {ALLOW}"))
        }
    }
}

fn notices() -> Finding {
    let file = "/proc/sys/fs/inotify/max_user_instances";
    let most = std::fs::read_to_string(file).unwrap_or_default();
    let most = most.trim();
    match inotify::init(inotify::CreateFlags::CLOEXEC) {
        Ok(_) => Finding::new(
            "inotify",
            Good,
            format!("there, {most} for each user"),
            "deaths are noticed by two processes of each queue, which take one each; the others sleep",
            format!("sysctl fs.inotify.max_user_instances=1024, if a user has more than {most} queues with sleepers"),
        ),
        Err(error) => Finding::new(
            "inotify",
            Warn,
            refused(error),
            "processes look for deaths every 50 ms instead of being told",
            format!("sysctl fs.inotify.max_user_instances=1024 (it is {most})"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn releases_have_two_numbers() {
        assert_eq!(version("6.18.44-fc-v657"), Some((6, 18)));
        assert_eq!(version("5.4-rc1+"), Some((5, 4)));
        assert_eq!(version("weird"), None);
    }
}
