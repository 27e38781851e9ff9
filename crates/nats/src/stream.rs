//! What a queue is on the server: three streams, their configuration, and their state.
//!
//! | stream | subject | what it holds |
//! |---|---|---|
//! | `jobs` | `multiproc.jobs.put` | the values, until they are done; one consumer, `workers` |
//! | `jobs-dead` | `multiproc.jobs.dead` | the dead letters; one consumer, `readers` |
//! | `jobs-claims` | `multiproc.jobs.claim.*.*` | for a value delivered again, which delivery is the newest |
//!
//! A shutdown gives `jobs` another subject. From then on no server takes a put, whatever client it comes from, and each client sees why.

use crate::core::{Core, Lane};
use crate::error::{ConnectError, ServerError};
use crate::link::{ApiError, Link};
use crate::options::Options;
use crate::until::Until;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
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
    pub(crate) shut_down: bool,
}

/// Opens the queue, or makes it.
pub(crate) async fn open(link: &Link, names: &Names, options: &Options, until: Until) -> Result<Shape, ConnectError> {
    options.check()?;
    let info = match info(link, &names.queue, until).await? {
        Ok(found) => found,
        Err(error) if error.code == ApiError::NO_STREAM => {
            make(link, names, &names.queue, values_config(names, options), until).await?
        }
        Err(error) => return Err(ServerError::from(error).into()),
    };
    let created = names.queue.as_str();
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
    let lease = consumer(link, &names.queue, "workers", options.lease, until).await?;
    for (stream, config) in [(&names.dead, dead_config(names, config)), (&names.claims, claims_config(names, config))] {
        if let Err(error) = self::info(link, stream, until).await? {
            match error.code {
                ApiError::NO_STREAM => drop(make(link, names, stream, config, until).await?),
                _ => return Err(ServerError::from(error).into()),
            }
        }
    }
    consumer(link, &names.dead, "readers", Some(lease), until).await?;
    Ok(Shape { capacity, max_deliveries, lease, born: born(&info) })
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
    match link.api(&format!("STREAM.CREATE.{stream}"), &config, until).await? {
        Ok(made) => check_echo(stream, &config, &made["config"]).map(|()| made),
        Err(error) if error.code == ApiError::OTHER_CONFIG => {
            info(link, stream, until).await?.map_err(|error| refused(names, error))
        }
        Err(error) if ApiError::NOT_ENABLED.contains(&error.code) => Err(ServerError::NoJetStream.into()),
        Err(error) => Err(refused(names, error)),
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
            let made = made.map_err(ServerError::from)?;
            check_echo(stream, &config, &made["config"])?;
            made
        }
        Err(error) => return Err(ServerError::from(error).into()),
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
async fn consumer_of(link: &Link, names: &Names, lane: Lane, until: Until) -> Result<Result<Value, ApiError>, ServerError> {
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

/// A message of a stream, read without being taken: its headers and its payload, both in base64.
pub(crate) async fn read(link: &Link, stream: &str, which: Value, until: Until) -> Result<Option<Value>, ServerError> {
    match link.api(&format!("STREAM.MSG.GET.{stream}"), &which, until).await? {
        Ok(mut found) => Ok(Some(found["message"].take())),
        Err(error) if matches!(error.code, ApiError::NO_MESSAGE | ApiError::NO_STREAM) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Frees the consumer of a lane if it is held up: values wait, and a request for them came back with nothing.
///
/// A server before 2.10.25 that was killed may take values for undone that were done and removed. After each lease it tries all of those
/// again before anything else. At each one that it does not find it stops until something happens, as another request.
pub(crate) async fn free(core: &Core, lane: Lane, until: Until) -> Result<(), ServerError> {
    let Core { link, names, .. } = core;
    let consumer = consumer_of(link, names, lane, until).await?.map_err(|error| gone_or(names, error))?;
    if consumer["num_pending"] != 0 && consumer["num_redelivered"] != 0 {
        acknowledge(core, lane, &consumer, false, until).await?;
    }
    Ok(())
}

/// Makes the stream and the consumer of the values agree when no value waits.
///
/// A server of 2.9 that was killed may have values in the stream again that its consumer knows as done: nobody gets them, and a join would
/// wait for ever. They are taken out only when the consumer has acknowledged everything up to the last message of this very stream. Before
/// that, it may have to forget what it takes for undone and is not there, as in [`free`].
pub(crate) async fn tidy(core: &Core, until: Until) -> Result<(), ServerError> {
    let Core { link, names, .. } = core;
    let consumer = consumer_of(link, names, Lane::Values, until).await?.map_err(|error| gone_or(names, error))?;
    // Asked second: a put in between makes the two differ.
    let state = info(link, &names.queue, until).await?.map_err(|error| gone_or(names, error))?["state"].take();
    if consumer["num_pending"] != 0 || state["messages"] == 0 {
        return Ok(());
    }
    let in_hand = &consumer["num_ack_pending"];
    let are_all_done = *in_hand == 0 && consumer["ack_floor"]["stream_seq"] == state["last_seq"];
    if are_all_done || *in_hand != state["messages"] || *in_hand == consumer["num_redelivered"] {
        acknowledge(core, Lane::Values, &consumer, are_all_done, until).await?;
    }
    Ok(())
}

/// Acknowledges of what was handed out what is in the stream no more, or everything that is left there.
///
/// Only what is done leaves the stream, so nothing depends on an acknowledgement of what is not there. The server does not say which of
/// those it takes for undone, and they can be a hundred thousand. So it is told once in a connection: it forgets only when it is killed.
async fn acknowledge(core: &Core, lane: Lane, consumer: &Value, everything: bool, until: Until) -> Result<(), ServerError> {
    // Of a thousand clients that see the need at the same moment, a few do it.
    let is_enough = !RandomState::new().hash_one(0).is_multiple_of(number(&consumer["num_waiting"]) / 4 + 1);
    let connection = core.link.connection();
    if is_enough || !everything && !core.begin_to_free(lane, connection) {
        return Ok(());
    }
    let (stream, name) = core.names.of(lane);
    let all = async {
        for place in handed_out(core, stream, number(&consumer["delivered"]["stream_seq"]), everything, until).await? {
            // Its number among the deliveries is 0. From another one the server may conclude that all before it are acknowledged.
            let subject = format!("$JS.ACK.{stream}.{name}.1.{place}.0.0.0");
            // One that is lost was lost with the connection.
            let _ = core.link.client().publish(subject, "+ACK".into()).await;
        }
        Ok(())
    };
    let ended = tokio::time::timeout(until.left(WINDOW), all).await.unwrap_or(Err(ServerError::Unanswered));
    if ended.is_err() {
        core.is_not_free(lane);
    }
    ended
}

/// What was handed out up to a place and is there no more, or all that may be there, with one before the first that is there. With nothing
/// in hand, an acknowledgement of that one tells the server that all are acknowledged.
async fn handed_out(core: &Core, stream: &str, last: u64, everything: bool, until: Until) -> Result<Vec<u64>, ServerError> {
    let details = json!({ "deleted_details": true });
    let state = core.link.api(&format!("STREAM.INFO.{stream}"), &details, until).await?;
    let state = state.map_err(|error| gone_or(&core.names, error))?["state"].take();
    let first = number(&state["first_seq"]);
    let before = first.saturating_sub(1);
    let removed: HashSet<u64> = state["deleted"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
    if everything {
        return Ok((before..=last).filter(|place| !removed.contains(place)).collect());
    }
    // An old server does not list what it removed at the beginning of a file, nor what was in a file that it removed.
    let is_complete = number(&state["last_seq"]) == before + number(&state["messages"]) + removed.len() as u64;
    let (mut missing, mut place, mut there) = (vec![before], first, 0);
    while place <= last {
        let next = match () {
            () if removed.contains(&place) => place + 1,
            () if is_complete => place,
            () => match read(&core.link, stream, json!({ "seq": place, "next_by_subj": ">" }), until).await? {
                Some(next) => number(&next["seq"]).min(last + 1),
                // The server says the same when it can't read one. So it counts only if all that are there were seen.
                None if there == number(&state["messages"]) => last + 1,
                None => break,
            },
        };
        missing.extend(place..next);
        there += u64::from(next == place);
        place = next.max(place + 1);
    }
    Ok(missing)
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
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

fn gone_or(names: &Names, error: ApiError) -> ServerError {
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
