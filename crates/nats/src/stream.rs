//! What a queue is on the server: three streams, their configuration, and their state.
//!
//! | stream | subject | what it holds |
//! |---|---|---|
//! | `jobs` | `multiproc.jobs.put` | the values, until they are done; one consumer, `workers` |
//! | `jobs-dead` | `multiproc.jobs.dead` | the dead letters; one consumer, `readers` |
//! | `jobs-claims` | `multiproc.jobs.claim.*.*` | for a value delivered again, which delivery is the newest |
//!
//! A shutdown gives `jobs` another subject. From then on no server takes a put, whatever client it comes from, and each client sees why.

use crate::core::Lane;
use crate::error::{ConnectError, ServerError};
use crate::link::{ApiError, Link, SETTLING, Unheard};
use crate::options::Options;
use crate::until::Until;
use async_nats::HeaderMap;
use bytes::Bytes;
use serde_json::{Value, json};
use std::time::Duration;

/// How long the server knows the ids of puts, and takes a second one with the same id for the same put.
pub(crate) const WINDOW: Duration = Duration::from_secs(120);
pub(crate) const LEASE: Duration = Duration::from_secs(5);
/// A claim matters while an older delivery of its value may still be in somebody's hands.
const CLAIMS_LAST: Duration = Duration::from_secs(7 * 24 * 3600);
/// Begins the description of a queue's stream. Not its metadata, which servers before 2.10 don't have.
const MARK: &str = "work queue of multiproc, layout ";
/// What the streams are, what their messages say, and what claims mean. A client leaves a queue of another layout alone.
const LAYOUT: u64 = 1;
/// A cluster whose servers begin may not know all of them yet for so long.
const FORMING: Duration = Duration::from_secs(10);
/// How the time begins that a server gives for what was not made yet.
const YEAR_ONE: &str = "0001-01-01T";

/// The names of a queue's parts on the server.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) queue: String,
    pub(crate) dead: String,
    pub(crate) claims: String,
}

impl Names {
    pub(crate) fn new(queue: &str) -> Self {
        Self { queue: queue.into(), dead: format!("{queue}-dead"), claims: format!("{queue}-claims") }
    }

    /// The stream of a lane, and its consumer.
    pub(crate) fn of(&self, lane: Lane) -> (&str, &'static str) {
        match lane {
            Lane::Values => (&self.queue, "workers"),
            Lane::Dead => (&self.dead, "readers"),
        }
    }

    pub(crate) fn subject(&self, part: &str) -> String {
        format!("multiproc.{}.{part}", self.queue)
    }
}

/// What all clients of a queue agree on, since the server keeps it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shape {
    pub(crate) capacity: Option<u64>,
    /// 0: no limit.
    pub(crate) max_deliveries: u64,
    pub(crate) lease: Duration,
    /// When the stream was made, which tells two streams of the same name apart.
    pub(crate) born: String,
}

/// What a stream holds now.
#[derive(Clone, Debug)]
pub(crate) struct State {
    /// When the stream was made.
    pub(crate) born: String,
    pub(crate) messages: u64,
    /// The place of the oldest message, or of the next one if there is none.
    #[cfg(feature = "pool")]
    pub(crate) first: u64,
    /// The place of the newest message that there ever was.
    #[cfg(feature = "pool")]
    pub(crate) last: u64,
    pub(crate) shut_down: bool,
}

/// Opens the queue, or makes it, and tells how it stands.
///
/// Others may make it at the same moment, or delete it: then it begins again.
pub(crate) async fn open(link: &Link, names: &Names, options: &Options, until: Until) -> Result<(Shape, State), ConnectError> {
    options.check()?;
    loop {
        match open_once(link, names, options, until).await {
            Err(ConnectError::Server(why)) if matches!(*why, ServerError::Gone { .. }) && !until.is_over() => {
                tokio::time::sleep(until.left(SETTLING)).await;
            }
            Err(ConnectError::Server(why)) if matches!(*why, ServerError::Gone { .. }) => {
                let why = "its streams do not stay there for as long as an open takes: look who deletes them".into();
                return Err(ConnectError::Refused { queue: names.queue.clone(), why });
            }
            opened => return opened,
        }
    }
}

/// Opens the queue. [`ServerError::Gone`]: a part of it is not there, or not yet.
async fn open_once(link: &Link, names: &Names, options: &Options, until: Until) -> Result<(Shape, State), ConnectError> {
    let created = names.queue.as_str();
    let info = found_or_made(link, names, created, values_config(names, options), until).await?;
    let config = &info["config"];
    let max_deliveries = max_deliveries(created, config)?;
    let found = |what: &str, found: &Value, expected: &Value| match found == expected {
        true => Ok(()),
        false => Err(differs(created, what, found, expected)),
    };
    found("the retention", &config["retention"], &json!("workqueue"))?;
    found("the discard policy", &config["discard"], &json!("new"))?;
    let capacity = config["max_msgs"].as_i64().and_then(|most| u64::try_from(most).ok()).filter(|&most| most > 0);
    if let Some(asked) = options.capacity {
        found("the capacity", &json!(capacity), &json!(asked))?;
    }
    if let Some(asked) = options.max_deliveries {
        found("max_deliveries", &json!(max_deliveries), &json!(asked))?;
    }
    if let Some(asked) = options.replicas {
        found("replicas", &config["num_replicas"], &json!(asked))?;
    }
    consumer(link, names, created, "workers", options.lease, until).await?;
    for (stream, config) in [(&names.dead, dead_config(names, config)), (&names.claims, claims_config(names, config))] {
        found_or_made(link, names, stream, config, until).await?;
    }
    // Looked at again: of several clients that made it at once, the last one set the lease.
    let lease = consumer(link, names, created, "workers", options.lease, until).await?;
    consumer(link, names, &names.dead, "readers", Some(lease), until).await?;
    // In a cluster only a stream whose consumer is there surely shows when it was made.
    let state = state(link, names, created, until).await?;
    Ok((Shape { capacity, max_deliveries, lease, born: state.born.clone() }, state))
}

/// A stream of the queue, made if it is not there.
async fn found_or_made(link: &Link, names: &Names, stream: &str, config: Value, until: Until) -> Result<Value, ConnectError> {
    let info = match info(link, stream, until).await? {
        Err(error) if error.code == ApiError::NO_STREAM => make(link, names, stream, config, until).await?,
        info => info.map_err(|error| gone_or(names, error))?,
    };
    // A server of 2.9 shows others a stream that it makes just now. It has no store yet, and nothing works with it.
    if info["created"].as_str().is_some_and(|created| created.starts_with(YEAR_ONE)) {
        return Err(ServerError::Gone { queue: names.queue.clone() }.into());
    }
    Ok(info)
}

/// Reads what the description of a queue's stream says: `work queue of multiproc, layout 1, max_deliveries=0`.
///
/// # Errors
///
/// The stream is no queue, or is one of another version of this library.
pub(crate) fn max_deliveries(queue: &str, config: &Value) -> Result<u64, ConnectError> {
    let description = config["description"].as_str().unwrap_or_default();
    let rest = description.strip_prefix(MARK).ok_or_else(|| ConnectError::NoQueue { stream: queue.into() })?;
    let (layout, rest) = rest.split_once(',').unwrap_or((rest, ""));
    let limit = rest.trim_start().strip_prefix("max_deliveries=").and_then(|number| number.parse().ok());
    limit.filter(|_| layout == LAYOUT.to_string()).ok_or_else(|| ConnectError::OtherVersion {
        queue: queue.into(),
        found: layout.into(),
        known: LAYOUT,
    })
}

/// When a stream was made, as a part of a subject.
fn born(info: &Value) -> String {
    info["created"].as_str().unwrap_or_default().replace(['.', ':'], "-")
}

fn values_config(names: &Names, options: &Options) -> Value {
    json!({
        "name": names.queue, "subjects": [names.subject("put")], "retention": "workqueue", "discard": "new",
        "max_msgs": options.capacity.map_or(-1, |most| most as i64), "max_bytes": -1, "max_age": 0, "max_consumers": -1,
        "storage": if options.in_memory { "memory" } else { "file" }, "num_replicas": options.replicas.unwrap_or(1),
        "duplicate_window": WINDOW.as_nanos() as u64,
        "description": format!("{MARK}{LAYOUT}, max_deliveries={}", options.max_deliveries.unwrap_or(0)),
    })
}

fn dead_config(names: &Names, values: &Value) -> Value {
    json!({
        "name": names.dead, "subjects": [names.subject("dead")], "retention": "workqueue", "discard": "new",
        "max_msgs": -1, "max_bytes": -1, "max_age": 0, "max_consumers": -1,
        "storage": values["storage"], "num_replicas": values["num_replicas"], "duplicate_window": WINDOW.as_nanos() as u64,
    })
}

fn claims_config(names: &Names, values: &Value) -> Value {
    json!({
        "name": names.claims, "subjects": [names.subject("claim.*.*")], "retention": "limits", "discard": "old",
        "max_msgs": -1, "max_bytes": -1, "max_msgs_per_subject": 1, "max_age": CLAIMS_LAST.as_nanos() as u64, "max_consumers": -1,
        "storage": values["storage"], "num_replicas": values["num_replicas"],
    })
}

/// Makes a stream. Another client may make it at the same moment: then its configuration counts.
async fn make(link: &Link, names: &Names, stream: &str, config: Value, until: Until) -> Result<Value, ConnectError> {
    let forming = until.within(FORMING);
    loop {
        match link.api(&format!("STREAM.CREATE.{stream}"), &config, until).await? {
            Ok(made) => return check_echo(stream, &config, &made["config"]).map(|()| made),
            Err(error) if ApiError::NOT_ENABLED.contains(&error.code) => return Err(ServerError::NoJetStream.into()),
            Err(error) if error.code == ApiError::NO_PEERS && !forming.is_over() => tokio::time::sleep(SETTLING).await,
            Err(mut error) if error.code == ApiError::NO_PEERS => {
                error.text += ": start as many servers of the cluster as replicas asks for, or ask for fewer";
                return Err(refused(names, error));
            }
            // The other one's subjects are in the way of this one's, or its configuration is.
            Err(error) => return info(link, stream, until).await?.map_err(|_| refused(names, error)),
        }
    }
}

/// An old server ignores what it does not know. So each part of a configuration has to come back.
fn check_echo(stream: &str, sent: &Value, echoed: &Value) -> Result<(), ConnectError> {
    for (key, value) in sent.as_object().into_iter().flatten() {
        if echoed.get(key) != Some(value) {
            return Err(differs(stream, key, &echoed[key], value));
        }
    }
    Ok(())
}

/// Opens a stream's consumer, or makes it, and returns its lease. The server would silently change one that is there.
async fn consumer(
    link: &Link,
    names: &Names,
    stream: &str,
    name: &str,
    lease: Option<Duration>,
    until: Until,
) -> Result<Duration, ConnectError> {
    let found = match link.api(&format!("CONSUMER.INFO.{stream}.{name}"), &json!({}), until).await? {
        Ok(found) => found,
        Err(error) if error.code == ApiError::NO_CONSUMER => {
            let config = json!({
                "durable_name": name, "ack_policy": "explicit", "deliver_policy": "all", "replay_policy": "instant",
                "ack_wait": lease.unwrap_or(LEASE).as_nanos() as u64, "max_deliver": -1, "max_ack_pending": -1, "max_waiting": 65536,
            });
            let body = json!({ "stream_name": stream, "config": config });
            let made = link.api(&format!("CONSUMER.DURABLE.CREATE.{stream}.{name}"), &body, until).await?;
            let made = made.map_err(|error| not_yet_or(names, error))?;
            check_echo(stream, &config, &made["config"])?;
            made
        }
        Err(error) => return Err(not_yet_or(names, error).into()),
    };
    let ack_wait = Duration::from_nanos(found["config"]["ack_wait"].as_u64().unwrap_or_default());
    match lease {
        Some(asked) if asked != ack_wait => {
            Err(differs(stream, "the lease", &json!(format!("{ack_wait:?}")), &json!(format!("{asked:?}"))))
        }
        _ => Ok(ack_wait),
    }
}

pub(crate) async fn info(link: &Link, stream: &str, until: Until) -> Result<Result<Value, ApiError>, ServerError> {
    link.api(&format!("STREAM.INFO.{stream}"), &json!({}), until).await
}

/// What the server knows of the consumer of a lane.
pub(crate) async fn consumer_of(
    link: &Link,
    names: &Names,
    lane: Lane,
    until: Until,
) -> Result<Result<Value, ApiError>, ServerError> {
    let (stream, name) = names.of(lane);
    link.api(&format!("CONSUMER.INFO.{stream}.{name}"), &json!({}), until).await
}

/// The lease of a queue; `None`: it has no consumer yet.
pub(crate) async fn lease(link: &Link, names: &Names, until: Until) -> Result<Option<Duration>, ServerError> {
    let found = consumer_of(link, names, Lane::Values, until).await?;
    Ok(found.ok().and_then(|found| found["config"]["ack_wait"].as_u64()).map(Duration::from_nanos))
}

/// Asks what a stream holds.
pub(crate) async fn state(link: &Link, names: &Names, stream: &str, until: Until) -> Result<State, ServerError> {
    let info = info(link, stream, until).await?.map_err(|error| gone_or(names, error))?;
    let shut_down = info["config"]["subjects"] == json!([names.subject("shutdown")]);
    let number = |what: &str| info["state"][what].as_u64().unwrap_or_default();
    Ok(State {
        born: born(&info),
        messages: number("messages"),
        #[cfg(feature = "pool")]
        first: number("first_seq"),
        #[cfg(feature = "pool")]
        last: number("last_seq"),
        shut_down,
    })
}

/// How many values wait that were never delivered.
pub(crate) async fn waiting(link: &Link, names: &Names, until: Until) -> Result<u64, ServerError> {
    let info = consumer_of(link, names, Lane::Values, until).await?;
    Ok(info.map_err(|error| gone_or(names, error))?["num_pending"].as_u64().unwrap_or_default())
}

/// Takes the subject of puts away from the stream, for good.
pub(crate) async fn shut_down(link: &Link, names: &Names, until: Until) -> Result<(), ServerError> {
    let mut config = info(link, &names.queue, until).await?.map_err(|error| gone_or(names, error))?["config"].take();
    config["subjects"] = json!([names.subject("shutdown")]);
    let done = link.api(&format!("STREAM.UPDATE.{}", names.queue), &config, until).await?;
    done.map(drop).map_err(|error| gone_or(names, error))
}

/// Stores a message in a stream beside the values. The inner error is JetStream's.
///
/// In a cluster nobody takes it while the stream elects a leader. That is not as if the stream were gone.
pub(crate) async fn store(
    link: &Link,
    stream: &str,
    (subject, headers, payload): (&str, Option<&HeaderMap>, &Bytes),
    until: Until,
) -> Result<Result<(), ApiError>, ServerError> {
    loop {
        match link.ask(subject, headers, payload, until).await {
            Ok(answer) => match ApiError::of(&serde_json::from_slice(&answer.payload).unwrap_or_default()) {
                Some(error) if error.is_passing() && !until.is_over() => {}
                Some(error) => return Ok(Err(error)),
                None => return Ok(Ok(())),
            },
            Err(Unheard::Nobody) if until.is_over() => return Err(ServerError::Unanswered),
            Err(Unheard::Nobody) => {
                if let Err(error) = info(link, stream, until).await? {
                    return Ok(Err(error));
                }
            }
            Err(unheard) => return Err(unheard.into()),
        }
        tokio::time::sleep(until.left(SETTLING)).await;
    }
}

/// A message of a stream, read without being taken: its headers and its payload, both in base64.
pub(crate) async fn read(link: &Link, stream: &str, which: Value, until: Until) -> Result<Option<Value>, ServerError> {
    match link.api(&format!("STREAM.MSG.GET.{stream}"), &which, until).await? {
        Ok(mut found) => Ok(Some(found["message"].take())),
        Err(error) if matches!(error.code, ApiError::NO_MESSAGE | ApiError::NO_STREAM) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Takes a message out of a stream, whatever its consumer knows of it. One that is not there is out.
pub(crate) async fn remove(link: &Link, stream: &str, sequence: u64, until: Until) -> Result<(), ServerError> {
    let which = json!({ "seq": sequence, "no_erase": true });
    match link.api(&format!("STREAM.MSG.DELETE.{stream}"), &which, until).await? {
        Ok(_) => Ok(()),
        Err(error) if error.code == ApiError::NO_MESSAGE || ApiError::NOT_DELETED.contains(&error.code) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// For an open, a stream that is not there yet is as one that is gone: it tries again.
fn not_yet_or(names: &Names, error: ApiError) -> ServerError {
    if error.is_of_no_stream_yet() { ServerError::Gone { queue: names.queue.clone() } } else { gone_or(names, error) }
}

pub(crate) fn gone_or(names: &Names, error: ApiError) -> ServerError {
    match error.code {
        ApiError::NO_STREAM | ApiError::NO_CONSUMER => ServerError::Gone { queue: names.queue.clone() },
        _ => error.into(),
    }
}

fn refused(names: &Names, error: ApiError) -> ConnectError {
    ConnectError::Refused { queue: names.queue.clone(), why: error.text }
}

fn differs(queue: &str, what: &str, found: &Value, expected: &Value) -> ConnectError {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_string);
    ConnectError::Differs { queue: queue.into(), what: what.into(), found: text(found), expected: text(expected) }
}
