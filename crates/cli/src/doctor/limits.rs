//! Limits of this process, which its children have too.

use super::Finding;
use super::Mark::{Bad, Ok as Good, Warn};
use crate::proc::available_memory;
use crate::text::size;
use rustix::process::{Resource, getrlimit};
use std::fs::read_to_string;

pub(super) fn findings() -> Vec<Finding> {
    vec![files(), addresses(), file_size(), memory()]
}

fn files() -> Finding {
    let limit = getrlimit(Resource::Nofile);
    let raise = "ulimit -n 4096; LimitNOFILE= in a systemd unit";
    let Some(most) = limit.current else {
        return Finding::new("open files", Good, "no limit", "a process can have any number of queues", "");
    };
    let means = format!(
        "a queue takes 2 of them, an end of a pipe 2, a child 1: some {} queues in a process",
        most.saturating_sub(16) / 2
    );
    let mark = match most {
        0..32 => Bad,
        32..256 => Warn,
        _ => Good,
    };
    Finding::new("open files", mark, most.to_string(), means, raise)
}

fn addresses() -> Finding {
    match getrlimit(Resource::As).current {
        None => Finding::new("address space", Good, "no limit", "queues may grow as far as memory goes", ""),
        Some(most) => Finding::new(
            "address space",
            if most < 1 << 30 { Warn } else { Good },
            size(most),
            "a queue grows until a process that has it open meets this limit; then its puts wait or fail",
            "ulimit -v unlimited",
        ),
    }
}

fn file_size() -> Finding {
    match getrlimit(Resource::Fsize).current {
        None => Finding::new("file size", Good, "no limit", "queues may grow as far as memory goes", ""),
        Some(most) => Finding::new(
            "file size",
            Warn,
            size(most),
            "a queue is a file to this limit: one that has to be larger can't be made",
            "ulimit -f unlimited",
        ),
    }
}

/// What the control group of this process allows, or the machine has left.
fn memory() -> Finding {
    let groups = read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = groups.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    let limit = read_to_string(format!("/sys/fs/cgroup{}/memory.max", own.trim_end_matches('/')));
    let limit = limit.ok().and_then(|limit| limit.trim().parse::<u64>().ok());
    let available = available_memory();
    let found = match (limit, available) {
        (Some(limit), Some(available)) => format!("{} available, {} for this control group", size(available), size(limit)),
        (Some(limit), None) => format!("{} for this control group", size(limit)),
        (None, Some(available)) => format!("{} available", size(available)),
        (None, None) => "not told".to_owned(),
    };
    let is_little = [limit, available].into_iter().flatten().any(|bytes| bytes < 64 << 20);
    let means =
        "messages are in memory; where a queue has no --memory limit, the kernel may kill a process when there is no more";
    Finding::new(
        "memory",
        if is_little { Warn } else { Good },
        found,
        means,
        "multiproc create --maxsize or --memory limits a queue",
    )
}
