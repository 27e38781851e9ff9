//! What a server and a queue on it are like, looked at without making anything.

use crate::error::{ConnectError, ServerError};
use crate::link::{ApiError, Link};
use crate::stream::{self, Names};
use crate::until::Until;
use serde_json::{Value, json};
use std::time::Duration;

/// What [`Builder::look`](crate::Builder::look) found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerReport {
    /// As the server gives it, such as `2.10.7`.
    pub version: String,
    /// The server's name, which is its id unless it was given one.
    pub name: String,
    /// The name of its cluster, if it is in one.
    pub cluster: Option<String>,
    /// The longest message that it takes, in bytes, with its headers.
    pub max_payload: usize,
    /// Whether it insists on TLS.
    pub requires_tls: bool,
    /// `None`: it has no JetStream, or not for this login. Then there can be no queue.
    pub jet_stream: Option<JetStreamReport>,
    /// `None`: the queue is not there.
    pub queue: Option<QueueReport>,
}

/// What a login has of JetStream: what is used, and the most that may be. `None`: no limit of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JetStreamReport {
    /// Bytes on the disk.
    pub storage: u64,
    /// The most bytes on the disk.
    pub most_storage: Option<u64>,
    /// Streams. A queue has three.
    pub streams: u64,
    /// The most streams.
    pub most_streams: Option<u64>,
}

/// How the server keeps a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueReport {
    /// Why this version of the library can't use it; `None`: it can.
    pub refused: Option<String>,
    /// Whether it is in memory alone, and gone when the server ends.
    pub in_memory: bool,
    /// How many servers of the cluster have it.
    pub replicas: u64,
    /// How many of the others are up to date.
    pub current: u64,
    /// How long the server waits for a word of a consumer; `None`: nobody has made the consumer yet.
    pub lease: Option<Duration>,
    /// How long it knows the ids of puts.
    pub window: Duration,
    /// Values that are not done.
    pub unfinished: u64,
}

pub(crate) async fn report(link: &Link, names: &Names) -> Result<ServerReport, ConnectError> {
    let until = Until::now();
    let server = link.client().server_info();
    let jet_stream = jet_stream(link, until).await?;
    let queue = match &jet_stream {
        Some(_) => queue(link, names, until).await?,
        None => None,
    };
    Ok(ServerReport {
        version: server.version,
        name: server.server_name,
        cluster: server.cluster,
        max_payload: server.max_payload,
        requires_tls: server.tls_required,
        jet_stream,
        queue,
    })
}

async fn jet_stream(link: &Link, until: Until) -> Result<Option<JetStreamReport>, ConnectError> {
    let account = match link.api("INFO", &json!({}), until).await {
        Ok(Ok(account)) => account,
        Ok(Err(_)) | Err(ServerError::NoJetStream) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // An account with tiers has none of its own, and says 0.
    let number = |value: &Value| value.as_u64().filter(|number| *number > 0);
    Ok(Some(JetStreamReport {
        storage: number(&account["storage"]).unwrap_or_default(),
        most_storage: number(&account["limits"]["max_storage"]),
        streams: number(&account["streams"]).unwrap_or_default(),
        most_streams: number(&account["limits"]["max_streams"]),
    }))
}

async fn queue(link: &Link, names: &Names, until: Until) -> Result<Option<QueueReport>, ConnectError> {
    let stream = match stream::info(link, &names.queue, until).await? {
        Ok(stream) => stream,
        Err(error) if error.code == ApiError::NO_STREAM => return Ok(None),
        Err(error) => return Err(ServerError::from(error).into()),
    };
    let others = stream["cluster"]["replicas"].as_array().map(Vec::as_slice).unwrap_or_default();
    let duration = |value: &Value| Duration::from_nanos(value.as_u64().unwrap_or_default());
    let lease = stream::lease(link, names, until).await?;
    Ok(Some(QueueReport {
        refused: stream::max_deliveries(&names.queue, &stream["config"]).err().map(|error| error.to_string()),
        in_memory: stream["config"]["storage"] == "memory",
        replicas: stream["config"]["num_replicas"].as_u64().unwrap_or(1),
        current: others.iter().filter(|other| other["current"] == true).count() as u64,
        lease,
        window: duration(&stream["config"]["duplicate_window"]),
        unfinished: stream["state"]["messages"].as_u64().unwrap_or_default(),
    }))
}
