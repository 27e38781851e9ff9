//! Where named queues are: room, rights, and who clears it.

use super::Finding;
use super::Mark::{Bad, Ok as Good, Warn};
use crate::text::size;
use rustix::fs::{Access, access, stat, statfs, statvfs};
use rustix::process::geteuid;
use std::fs::{read_dir, read_to_string};
use std::path::{Path, PathBuf};

/// `tmpfs`, in the kernel's list of file systems.
const TMPFS: u64 = 0x0102_1994;
const MIB: u64 = 1 << 20;

pub(super) fn findings() -> Vec<Finding> {
    let place = std::env::var_os("MULTIPROC_DIR").map_or_else(|| PathBuf::from("/dev/shm"), PathBuf::from);
    let mut findings = vec![room(&place), rights(&place)];
    findings.extend(removal(&place));
    findings
}

fn room(place: &Path) -> Finding {
    let name = place.display();
    let system = match statvfs(place) {
        Ok(system) => system,
        Err(error) => {
            let found = format!("{name}: {}", std::io::Error::from(error));
            let change = "mount a tmpfs there (mount -t tmpfs tmpfs /dev/shm), or name another directory: export MULTIPROC_DIR=/run/user/$UID";
            return Finding::new("directory", Bad, found, "queues with a name can't be made", change);
        }
    };
    let (whole, free) = (system.f_blocks * system.f_frsize, system.f_bavail * system.f_frsize);
    let is_memory = statfs(place).is_ok_and(|system| system.f_type as u64 == TMPFS);
    let found =
        format!("{name}: {} free of {}{}", size(free), size(whole), if is_memory { ", in memory" } else { ", on a disk" });
    let larger = format!("mount -o remount,size=4G {name}; docker run --shm-size=4g; Kubernetes: an emptyDir with medium Memory");
    let (mark, means, change) = if free < MIB {
        (
            Bad,
            "it is full: puts into named queues wait, or fail",
            format!("multiproc ls tells what is large, multiproc rm removes it; {larger}"),
        )
    } else if free < 64 * MIB {
        (Warn, "named queues have little room: a put waits when it is used up", larger)
    } else if !is_memory {
        (
            Warn,
            "messages may be written to a disk, which is slow and wears it",
            "unset MULTIPROC_DIR, or name a directory on a tmpfs".into(),
        )
    } else {
        (Good, "messages in named queues may take so much", larger)
    };
    Finding::new("directory", mark, found, means, change)
}

/// The directory's own rights, and those of the user's directory in it.
fn rights(place: &Path) -> Finding {
    let me = geteuid().as_raw();
    let own = place.join(format!("multiproc-{me}"));
    let may_make = access(place, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK);
    match (stat(&own), may_make) {
        (Ok(there), _) if there.st_uid != me => Finding::new(
            "rights",
            Bad,
            format!("{} belongs to user {}", own.display(), there.st_uid),
            "named queues can't be made: their directory has to be yours",
            format!("have user {} or root remove it, or use another place: export MULTIPROC_DIR=/run/user/{me}", there.st_uid),
        ),
        (Ok(there), _) if there.st_mode & 0o077 != 0 => Finding::new(
            "rights",
            Bad,
            format!("{} has mode {:o}", own.display(), there.st_mode & 0o777),
            "named queues are refused: others could put files there",
            format!("chmod 700 {}", own.display()),
        ),
        (Ok(_), _) => Finding::new(
            "rights",
            Good,
            format!("{} is yours alone", own.display()),
            "only your programs can open your queues",
            "",
        ),
        (Err(_), Ok(())) => Finding::new(
            "rights",
            Good,
            format!("{} can be made in it", own.display()),
            "it will be yours alone, so only your programs can open your queues",
            "",
        ),
        (Err(_), Err(error)) => Finding::new(
            "rights",
            Bad,
            format!("{}: {}", place.display(), std::io::Error::from(error)),
            "named queues can't be made",
            "chmod 1777 it as root, or name a directory of your own: export MULTIPROC_DIR=/run/user/$UID",
        ),
    }
}

/// Whether systemd removes a user's files in /dev/shm at the end of the last session.
fn removal(place: &Path) -> Option<Finding> {
    if !Path::new("/run/systemd/system").exists() || !place.starts_with("/dev/shm") {
        return None;
    }
    let me = geteuid().as_raw();
    let user = std::env::var("USER").unwrap_or_default();
    let stays = me < 1000 || Path::new("/var/lib/systemd/linger").join(&user).exists();
    Some(if !removes(&settings()) {
        Finding::new("RemoveIPC", Good, "no", "your queues stay when you log out", "")
    } else if stays {
        Finding::new("RemoveIPC", Good, "yes, but not for this user", "your queues stay when you log out", "")
    } else {
        Finding::new(
            "RemoveIPC",
            Warn,
            "yes: systemd removes your files in /dev/shm when your last session ends",
            "named queues vanish when you log out, with all that waits in them",
            "loginctl enable-linger, or RemoveIPC=no in /etc/systemd/logind.conf",
        )
    })
}

/// The settings of logind, the most important ones last.
fn settings() -> String {
    let mut text = read_to_string("/etc/systemd/logind.conf").unwrap_or_default();
    for directory in ["/usr/lib/systemd/logind.conf.d", "/run/systemd/logind.conf.d", "/etc/systemd/logind.conf.d"] {
        let entries = read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|ending| ending == "conf")).collect();
        files.sort();
        for file in files {
            text.push('\n');
            text += &read_to_string(file).unwrap_or_default();
        }
    }
    text
}

fn removes(settings: &str) -> bool {
    let mut values = settings.lines().filter_map(|line| line.trim().strip_prefix("RemoveIPC")?.trim_start().strip_prefix('='));
    let last = values.next_back().map(|value| value.trim().to_ascii_lowercase());
    // It is the default.
    last.is_none_or(|value| !matches!(value.as_str(), "no" | "false" | "off" | "0"))
}

#[cfg(test)]
mod tests {
    use super::removes;

    #[test]
    fn the_last_setting_counts_and_none_means_yes() {
        assert!(removes(""));
        assert!(removes("[Login]\n#RemoveIPC=no\n"));
        assert!(!removes("[Login]\nRemoveIPC=yes\nRemoveIPC = no\n"));
        assert!(removes("RemoveIPC=no\nRemoveIPC=yes"));
    }
}
