//! What a server past this machine allows.

use super::Finding;
use super::Mark::{Bad, Ok as Good, Warn};
use crate::text::size;
use multiproc_nats::{ConnectError, JetStreamReport, QueueReport, ServerReport};

/// The oldest server that queues are tested with.
const OLDEST: [u64; 3] = [2, 9, 10];

/// `looked`: what a look at the server came to.
pub(super) fn findings(looked: Result<ServerReport, ConnectError>) -> Vec<Finding> {
    let report = match looked {
        Ok(report) => report,
        Err(error) => {
            let change =
                "start it (nats-server --jetstream), or give the address and the login (multiproc help create tells how)";
            return vec![Finding::new("server", Bad, format!("{error:#}"), "no queue there can be used", change)];
        }
    };
    let mut findings = vec![version(&report), message(&report), jet_stream(report.jet_stream.as_ref())];
    findings.extend(report.queue.iter().flat_map(|queue| {
        [usable(queue), Some(kept(queue, report.cluster.as_deref())), sync(queue), lease(queue)].into_iter().flatten()
    }));
    if report.queue.is_none() && report.jet_stream.is_some() {
        findings.push(Finding::new("queue", Good, "not there", "create makes it, and so does the first put", ""));
    }
    findings
}

fn version(report: &ServerReport) -> Finding {
    let numbers: Vec<u64> = report.version.split('.').map_while(|part| part.parse().ok()).collect();
    let is_new = numbers.as_slice() >= OLDEST.as_slice();
    let found = format!("nats-server {} ({})", report.version, report.cluster.as_deref().unwrap_or("no cluster"));
    let means = "everything of multiproc works with nats-server 2.9.10 and newer";
    Finding::new("server", if is_new { Good } else { Bad }, found, means, "run a newer nats-server")
}

fn message(report: &ServerReport) -> Finding {
    let found = format!("{} is the longest", size(report.max_payload as u64));
    Finding::new("message", Good, found, "a longer one is refused at its put: max_payload in the server's configuration", "")
}

fn jet_stream(account: Option<&JetStreamReport>) -> Finding {
    let Some(account) = account else {
        let change = "start the server with --jetstream, and allow JetStream for this login's account";
        return Finding::new("JetStream", Bad, "not there, or not for this login", "there can be no queue", change);
    };
    let most = |most: Option<u64>| most.map_or("any number".to_owned(), |most| most.to_string());
    let room = account.most_storage.map_or("no limit of the login's own".to_owned(), |most| format!("at most {}", size(most)));
    let found =
        format!("{} on the disk, {room}; {} streams of {}", size(account.storage), account.streams, most(account.most_streams));
    let is_full = account.most_storage.is_some_and(|most| account.storage >= most / 10 * 9)
        || account.most_streams.is_some_and(|most| account.streams + 3 > most);
    let means =
        if is_full { "there is little room: puts, or new queues, will wait or fail" } else { "a queue has three streams" };
    Finding::new("JetStream", if is_full { Warn } else { Good }, found, means, "raise the limits of the login's account")
}

fn usable(queue: &QueueReport) -> Option<Finding> {
    let change = "take another name, or the version of multiproc that made it";
    Some(Finding::new("queue", Bad, queue.refused.clone()?, "this multiproc can't use it", change))
}

fn kept(queue: &QueueReport, cluster: Option<&str>) -> Finding {
    let QueueReport { replicas, current, .. } = queue;
    if queue.in_memory {
        let change = "make the queue anew without in_memory";
        return Finding::new("kept", Warn, "in the server's memory", "every value is gone when the server ends", change);
    }
    if *replicas > 1 {
        let is_whole = current + 1 >= *replicas;
        let found = format!("on the disks of {replicas} servers, {} of them up to date", current + 1);
        let means = format!("values outlive the loss of {} servers", (replicas - 1) / 2);
        return Finding::new("kept", if is_whole { Good } else { Warn }, found, means, "bring the other servers back");
    }
    let (means, change) = match cluster {
        Some(_) => ("values are gone with that disk", "make the queue anew with 3 replicas"),
        None => (
            "values outlive the server's end, and are gone with that disk",
            "run three servers, and make the queue with 3 replicas",
        ),
    };
    Finding::new("kept", Warn, "on one server's disk", means, change)
}

fn sync(queue: &QueueReport) -> Option<Finding> {
    if queue.in_memory {
        return None;
    }
    if queue.replicas > 1 {
        let means =
            "a put is acknowledged by most of the servers, not by their disks: all would have to lose their power at once";
        return Some(Finding::new("power cut", Good, "no client can see sync_interval", means, ""));
    }
    let means = "the server acknowledges a put before it is on the disk: a power cut can lose those of the last sync_interval, 2 minutes by default";
    let change = "\"sync_interval: always\" in the jetstream block of its configuration (slower), or 3 replicas";
    Some(Finding::new("power cut", Warn, "no client can see sync_interval", means, change))
}

fn lease(queue: &QueueReport) -> Option<Finding> {
    let found = format!("{:?}; ids of puts are known for {:?}", queue.lease?, queue.window);
    let means = "a dead worker's values come back after the lease; a put that is tried again later than that is a second one";
    Some(Finding::new("lease", Good, found, means, ""))
}
