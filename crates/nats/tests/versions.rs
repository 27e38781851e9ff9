//! Queues of other versions of this library, and what another version finds of this one's.

mod server;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use multiproc_nats::{ConnectError, RemoteQueue};
use serde_json::{Value, json};
use std::time::Duration;

type Jobs = RemoteQueue<String>;

/// A stream as this version makes it, with another description.
fn stream(server: &server::Server, description: &str) {
    let config = json!({
        "name": "jobs", "subjects": ["multiproc.jobs.put"], "retention": "workqueue", "discard": "new", "storage": "file",
        "description": description,
    });
    let made = server.api("STREAM.CREATE.jobs", &config);
    assert!(made["error"].is_null(), "{made}");
}

#[test]
fn a_queue_of_another_layout_is_refused_and_left_alone() {
    let server = server!();
    stream(&server, "work queue of multiproc, layout 2, max_deliveries=3, more=1");
    let error = Jobs::connect(&server.url("jobs")).unwrap_err();
    assert!(
        matches!(&error, ConnectError::OtherVersion { queue, found, known: 1 } if queue == "jobs" && found == "2"),
        "{error:?}"
    );
    assert_eq!(
        error.to_string(),
        "queue \"jobs\" is of another version of multiproc: its layout is 2, and this version knows 1. \
         Drain it with that version, or take another name"
    );
    let looked = Jobs::builder().look(&server.url("jobs")).unwrap().queue.unwrap();
    assert_eq!(looked.refused, Some(error.to_string()));
    assert_eq!(server.api("STREAM.NAMES", &json!({}))["streams"], json!(["jobs"]));
    assert_eq!(server.api("CONSUMER.NAMES.jobs", &json!({}))["total"], 0);
}

#[test]
fn a_stream_that_is_no_queue_is_refused_and_left_alone() {
    let server = server!();
    stream(&server, "orders");
    let error = Jobs::connect(&server.url("jobs")).unwrap_err();
    assert!(matches!(&error, ConnectError::NoQueue { stream } if stream == "jobs"), "{error:?}");
    assert_eq!(server.api("STREAM.NAMES", &json!({}))["streams"], json!(["jobs"]));
}

/// If this fails, another version does not find what it counts on: the layout is to have another number.
#[test]
fn layout_1_is_these_streams_and_these_messages() {
    let server = server!();
    let builder = Jobs::builder().bounded(5).max_deliveries(1).lease(Duration::from_secs(2));
    let jobs = builder.connect(&server.url("jobs")).unwrap();
    let has = |what: &str, expected: Value| {
        let found = server.api(what, &json!({}))["config"].take();
        for (key, value) in expected.as_object().unwrap() {
            assert_eq!(found[key], *value, "{key} of {what}");
        }
    };
    has(
        "STREAM.INFO.jobs",
        json!({
            "description": "work queue of multiproc, layout 1, max_deliveries=1", "subjects": ["multiproc.jobs.put"],
            "retention": "workqueue", "discard": "new", "max_msgs": 5, "storage": "file",
        }),
    );
    has("STREAM.INFO.jobs-dead", json!({ "subjects": ["multiproc.jobs.dead"], "retention": "workqueue", "max_msgs": -1 }));
    has(
        "STREAM.INFO.jobs-claims",
        json!({ "subjects": ["multiproc.jobs.claim.*.*"], "retention": "limits", "max_msgs_per_subject": 1 }),
    );
    for consumer in ["jobs.workers", "jobs-dead.readers"] {
        has(
            &format!("CONSUMER.INFO.{consumer}"),
            json!({ "ack_policy": "explicit", "ack_wait": 2_000_000_000_u64, "max_deliver": -1 }),
        );
    }
    // Puts of other clients, and what they find of ours: a text is its own bytes.
    server.request("multiproc.jobs.put", b"their");
    assert_eq!(jobs.get_delivery().unwrap().done().unwrap(), "their");
    jobs.put("ours".into()).unwrap();
    jobs.get_delivery().unwrap().give_back();
    let letter = server.api("STREAM.MSG.GET.jobs-dead", &json!({ "seq": 1 }))["message"].take();
    // The payload and the headers in base64.
    assert_eq!(letter["data"], BASE64.encode("ours"));
    let headers = String::from_utf8(BASE64.decode(letter["hdrs"].as_str().unwrap()).unwrap()).unwrap();
    for header in ["Multiproc-Count: 1", "Multiproc-Id: 2", "Multiproc-Unreadable: 0"] {
        assert!(headers.contains(header), "{headers}");
    }
}
