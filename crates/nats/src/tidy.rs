//! What a server that was killed has wrong of a queue, and how its clients put it right.

use crate::core::{Core, Lane};
use crate::error::ServerError;
use crate::stream::{WINDOW, consumer_of, gone_or, info, read};
use crate::until::Until;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

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
    // All that is there is in hand, and the oldest of both is the same. Their numbers alone can agree by chance: as many values are there
    // again as the consumer takes others for undone. Where only the oldest is the same, that shows once it is done.
    let agree = *in_hand == state["messages"] && number(&consumer["ack_floor"]["stream_seq"]) + 1 == number(&state["first_seq"]);
    if are_all_done || !agree || *in_hand == consumer["num_redelivered"] {
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
    // In a cluster a server that leads the stream since a moment ago may not have all of it together. What it does not know of yet is not
    // what is done.
    if number(&state["last_seq"]) < last {
        return Err(ServerError::Unanswered);
    }
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
