//! Where named queues are: room, rights, and who clears it.

use super::Finding;
use super::Mark::{Bad, Ok as Good, Warn};
use crate::place;
use crate::text::size;
use rustix::fs::{Access, access, statfs, statvfs};
use rustix::process::geteuid;
use std::fs::{read_dir, read_to_string};
use std::path::{Path, PathBuf};

/// `tmpfs`, in the kernel's list of file systems.
const TMPFS: u64 = 0x0102_1994;
const MIB: u64 = 1 << 20;

pub(super) fn findings() -> Vec<Finding> {
    let place = place::parent();
    let mut findings = vec![room(&place), rights()];
    findings.extend(removal(&place));
    findings
}

fn is_in_memory(place: &Path) -> bool {
    statfs(place).is_ok_and(|system| system.f_type as u64 == TMPFS)
}

/// Another directory that this user could name.
fn elsewhere() -> String {
    let own = PathBuf::from(format!("/run/user/{}", geteuid().as_raw()));
    let candidates = [(PathBuf::from("/dev/shm"), ""), (own, " (gone when you log out, and small)")];
    let is_right = |place: &Path| {
        let may_make = access(place, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK).is_ok();
        place != place::parent() && may_make && is_in_memory(place)
    };
    match candidates.iter().find(|(place, _)| is_right(place)) {
        Some((place, note)) if place == Path::new("/dev/shm") => {
            format!("unset MULTIPROC_DIR: {} is there{note}", place.display())
        }
        Some((place, note)) => format!("export MULTIPROC_DIR={}{note}", place.display()),
        None => "mount a tmpfs (mount -t tmpfs -o mode=1777 tmpfs DIRECTORY, as root) and export MULTIPROC_DIR=DIRECTORY".into(),
    }
}

fn room(place: &Path) -> Finding {
    let name = place.display();
    let system = match statvfs(place) {
        Ok(system) => system,
        Err(error) => {
            let found = format!("{name}: {}", std::io::Error::from(error));
            return Finding::new("directory", Bad, found, "queues with a name can't be made", elsewhere());
        }
    };
    let (whole, free) = (system.f_blocks * system.f_frsize, system.f_bavail * system.f_frsize);
    let is_memory = is_in_memory(place);
    let found =
        format!("{name}: {} free of {}{}", size(free), size(whole), if is_memory { ", in memory" } else { ", on a disk" });
    let larger = match is_memory {
        true => format!(
            "mount -o remount,size=4G {name}, as root; docker run --shm-size=4g; Kubernetes: an emptyDir with medium Memory"
        ),
        false => elsewhere(),
    };
    let (mark, means, change) = if free < MIB {
        (
            Bad,
            "it is full: puts into named queues wait, or fail",
            format!("multiproc ls tells what is large, multiproc rm removes it; {larger}"),
        )
    } else if free < 64 * MIB {
        (Warn, "named queues have little room: a put waits when it is used up", larger)
    } else if !is_memory {
        (Warn, "messages may be written to a disk, which is slow and wears it", larger)
    } else {
        (Good, "messages in named queues may take so much", larger)
    };
    Finding::new("directory", mark, found, means, change)
}

/// The directory's own rights, and those of the user's directory in it.
fn rights() -> Finding {
    let (parent, own) = (place::parent(), place::own());
    if let Some(flaw) = place::flaw(true) {
        return Finding::new("rights", Bad, flaw.found, "queues with a name can't be made or used", flaw.change);
    }
    let (found, means) = match own.is_dir() {
        true => (format!("{} is yours alone", own.display()), "only your programs can open your queues"),
        false => {
            let found = format!("{} can be made in {}", own.file_name().unwrap_or_default().display(), parent.display());
            (found, "it will be yours alone, so only your programs can open your queues")
        }
    };
    Finding::new("rights", Good, found, means, "")
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
