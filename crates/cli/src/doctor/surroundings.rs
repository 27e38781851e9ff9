//! What is around the processes: processors, namespaces, and who may look into them.

use super::Finding;
use super::Mark::{Bad, Ok as Good, Warn};
use crate::proc::{own_status, value};
use rustix::process::{Resource, getrlimit};
use std::fs::{read_link, read_to_string};
use std::thread::available_parallelism;

pub(super) fn findings() -> Vec<Finding> {
    vec![processors(), proc(), numbers(), filter(), tracing(), cores()]
}

fn processors() -> Finding {
    let found = available_parallelism().map_or(1, usize::from);
    let (mark, means) = match found {
        1 => (Warn, "two processes take turns, so every message may cost a switch between them"),
        _ => (Good, "so many processes run at once"),
    };
    let change = "taskset, a container's --cpus, or a larger machine";
    Finding::new("processors", mark, found.to_string(), means, if mark == Good { "" } else { change })
}

fn proc() -> Finding {
    match read_link("/proc/self/exe") {
        Ok(_) => Finding::new("/proc", Good, "mounted", "named queues and child processes are made through it", ""),
        Err(error) => Finding::new(
            "/proc",
            Bad,
            error.to_string(),
            "named queues can't be made, and no child can be started",
            "mount -t proc proc /proc",
        ),
    }
}

/// The inode of the first pid namespace of every machine.
const FIRST: &str = "pid:[4026531836]";

fn numbers() -> Finding {
    let namespace = read_link("/proc/self/ns/pid").unwrap_or_default();
    if namespace.as_os_str() == FIRST {
        return Finding::new(
            "pid namespace",
            Good,
            "the machine's own",
            "numbers of processes mean the same everywhere here",
            "",
        );
    }
    Finding::new(
        "pid namespace",
        Good,
        "a container's",
        "queues work across containers that share /dev/shm; \"top\" can kill only processes of this one",
        "docker run --pid=host, where numbers have to mean the same",
    )
}

fn filter() -> Finding {
    let found = match value(&own_status(), "Seccomp") {
        Some("0") | None => "off",
        Some("1") => "strict",
        _ => "a filter is on",
    };
    Finding::new("seccomp", Good, found, "what a filter refuses is marked above, call by call", "")
}

fn tracing() -> Finding {
    let scope = read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    let found = match scope.trim() {
        "" => "no yama: processes of one user may trace each other",
        "0" => "0: processes of one user may trace each other",
        "1" => "1: only parents may trace",
        "2" => "2: only root may trace",
        _ => "3: nobody may trace",
    };
    let means = "multiproc does not trace; this decides whether gdb -p or strace -p can look into a worker that hangs";
    Finding::new("ptrace", Good, found, means, "sysctl kernel.yama.ptrace_scope=0, while you look")
}

fn cores() -> Finding {
    let pattern = read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    let pattern = pattern.trim();
    if getrlimit(Resource::Core).current == Some(0) && !pattern.starts_with('|') {
        return Finding::new(
            "core dumps",
            Good,
            format!("off (pattern {pattern})"),
            "a crash leaves no copy of messages on a disk",
            "ulimit -c unlimited, to look into a crash",
        );
    }
    let means = "a process that crashes writes its memory there, with the messages of its queues";
    Finding::new("core dumps", Good, format!("on: {pattern}"), means, "ulimit -c 0, where messages are secret")
}
