//! Logins, and that no secret is shown.

mod server;

use multiproc_nats::{ConnectError, RemoteQueue};
use std::fs;

type Jobs = RemoteQueue<String>;

const USERS: &str = r#"authorization { users = [ { user: "ann", password: "hunter2-secret" } ] }"#;

#[test]
fn a_password_logs_in_from_memory_and_from_a_file() {
    let server = server!(USERS);
    let file = server.path("password");
    fs::write(&file, "hunter2-secret\n").unwrap();
    let from_memory: Jobs = RemoteQueue::builder().user("ann", "hunter2-secret").connect(&server.url("jobs")).unwrap();
    let from_file: Jobs = RemoteQueue::builder().password_file("ann", &file).connect(&server.url("jobs")).unwrap();
    from_memory.put("job".into()).unwrap();
    assert_eq!(from_file.get_delivery().unwrap().done().unwrap(), "job");
    for queue in [&from_memory, &from_file] {
        assert!(!format!("{queue:?}").contains("hunter2"), "{queue:?}");
    }
}

#[test]
fn a_wrong_password_is_named_as_such_and_not_shown() {
    let server = server!(USERS);
    for builder in [Jobs::builder().user("ann", "wrong-secret"), Jobs::builder().token("wrong-secret"), Jobs::builder()] {
        let shown = format!("{builder:?}");
        let error = builder.connect(&server.url("jobs")).unwrap_err();
        assert!(matches!(error, ConnectError::LoginRefused { .. }), "{error:?}");
        assert!(!format!("{shown} {error:?} {error:#}").contains("wrong-secret"), "{shown} {error:?}");
    }
}

#[test]
fn a_token_logs_in() {
    let server = server!(r#"authorization { token: "s3cret-token" }"#);
    let file = server.path("token");
    fs::write(&file, "s3cret-token").unwrap();
    Jobs::builder().token("s3cret-token").connect(&server.url("jobs")).unwrap();
    Jobs::builder().token_file(&file).connect(&server.url("jobs")).unwrap();
}

#[test]
fn an_nkey_logs_in() {
    // The pair in the documentation of NATS.
    const SEED: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
    const PUBLIC: &str = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";
    let server = server!(format!("authorization {{ users = [ {{ nkey: {PUBLIC} }} ] }}"));
    let file = server.path("seed");
    fs::write(&file, SEED).unwrap();
    let jobs = Jobs::builder().nkey_file(&file).connect(&server.url("jobs")).unwrap();
    let other = Jobs::builder().nkey(SEED).connect(&server.url("jobs")).unwrap();
    assert!(!format!("{jobs:?}{other:?}").contains("SUACSSL3"));
}

#[test]
fn a_login_travels_as_its_file_and_never_as_its_secret() {
    let server = server!(USERS);
    let file = server.path("password");
    fs::write(&file, "hunter2-secret").unwrap();
    let jobs: Jobs = RemoteQueue::builder().password_file("ann", &file).connect(&server.url("jobs")).unwrap();
    let parcel = multiproc_travel::pass::encode(&jobs).unwrap();
    assert!(!parcel.bytes.windows(7).any(|window| window == b"hunter2"));
    let arrived: Jobs = multiproc_travel::pass::decode(&parcel.bytes, Vec::new()).unwrap();
    arrived.put("job".into()).unwrap();
    let held: Jobs = RemoteQueue::builder().user("ann", "hunter2-secret").connect(&server.url("jobs")).unwrap();
    let error = multiproc_travel::pass::encode(&held).unwrap_err().to_string();
    assert!(error.contains("password_file") && !error.contains("hunter2"), "{error}");
}

#[test]
fn an_address_with_a_secret_is_refused_and_not_repeated() {
    for address in ["nats://ann:hunter2-secret@localhost/jobs", "nats://hunter2-secret@localhost/jobs"] {
        let error = Jobs::connect(address).unwrap_err();
        assert!(!format!("{error:?} {error:#}").contains("hunter2"), "{error:?}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let error = Jobs::builder().token_file("/nonexistent/token").connect("nats://localhost/jobs").unwrap_err();
    assert!(matches!(&error, ConnectError::File { path, .. } if path.ends_with("token")), "{error:?}");
}

#[test]
fn a_plain_server_is_refused_where_encryption_is_required() {
    let server = server!();
    let tls = server.url("jobs").replace("nats://", "tls://");
    for connected in [Jobs::connect(&tls), Jobs::builder().require_tls().connect(&server.url("jobs"))] {
        let error = connected.unwrap_err();
        assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
    }
}
