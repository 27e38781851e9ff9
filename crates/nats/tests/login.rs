//! Logins, and that no secret is shown.

mod server;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use multiproc_nats::{ConnectError, RemoteQueue};
use nkeys::KeyPair;
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

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

/// An account on a server that trusts whoever it says.
struct Account {
    key: KeyPair,
    config: String,
}

impl Account {
    fn new() -> Self {
        let (operator, key, system) = (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_account());
        let limits = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
            "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1,
        });
        let account = |key: &KeyPair, limits: Value| {
            signed(&operator, &key.public_key(), json!({ "type": "account", "version": 2, "limits": limits }), None)
        };
        // The server's own account takes no streams.
        let without = json!({ "subs": -1, "conn": -1, "exports": -1, "imports": -1, "wildcards": true });
        let config = format!(
            "operator: {}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload {{ {}: {}, {}: {} }}",
            signed(&operator, &operator.public_key(), json!({ "type": "operator", "version": 2 }), None),
            system.public_key(),
            key.public_key(),
            account(&key, limits),
            system.public_key(),
            account(&system, without),
        );
        Self { key, config }
    }

    /// What is in a file of credentials, as `nsc` writes it; and the secret part of it.
    fn credentials(&self, ends: Option<SystemTime>) -> (String, String) {
        let user = KeyPair::new_user();
        let claims = json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1, "pub": {}, "sub": {} });
        let (token, seed) = (signed(&self.key, &user.public_key(), claims, ends), user.seed().unwrap());
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        (text, seed)
    }
}

/// What an issuer says of a key: a JWT as NATS has it.
fn signed(issuer: &KeyPair, subject: &str, claims: Value, ends: Option<SystemTime>) -> String {
    let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let mut body =
        json!({ "jti": subject, "iat": 0, "iss": issuer.public_key(), "sub": subject, "name": "test", "nats": claims });
    if let Some(ends) = ends {
        body["exp"] = json!(seconds(ends));
    }
    let part = |value: &Value| BASE64.encode(value.to_string());
    let text = format!("{}.{}", part(&json!({ "typ": "JWT", "alg": "ed25519-nkey" })), part(&body));
    let signature = BASE64.encode(issuer.sign(text.as_bytes()).unwrap());
    format!("{text}.{signature}")
}

#[test]
fn a_credentials_file_logs_in_here_and_where_the_queue_travels() {
    let account = Account::new();
    let server = server!(&*account.config);
    let (file, (text, seed)) = (server.path("jobs.creds"), account.credentials(None));
    fs::write(&file, text).unwrap();
    let jobs = Jobs::builder().credentials_file(&file).connect(&server.url("jobs")).unwrap();
    let parcel = multiproc_travel::pass::encode(&jobs).unwrap();
    assert!(!String::from_utf8_lossy(&parcel.bytes).contains(&seed) && !format!("{jobs:?}").contains(&seed));
    let arrived: Jobs = multiproc_travel::pass::decode(&parcel.bytes, Vec::new()).unwrap();
    arrived.put("job".into()).unwrap();
    assert_eq!(jobs.get_delivery().unwrap().done().unwrap(), "job");
}

#[test]
fn credentials_that_ended_or_are_another_accounts_are_refused_and_not_shown() {
    let account = Account::new();
    let server = server!(&*account.config);
    let file = server.path("jobs.creds");
    let ended = account.credentials(Some(SystemTime::now() - Duration::from_secs(60)));
    for (text, seed) in [ended, Account::new().credentials(None)] {
        fs::write(&file, text).unwrap();
        let error = Jobs::builder().credentials_file(&file).connect(&server.url("jobs")).unwrap_err();
        assert!(matches!(error, ConnectError::LoginRefused { .. }), "{error:?}");
        assert!(!format!("{error:?} {error:#}").contains(&seed), "{error:?}");
    }
    let seed = KeyPair::new_user().seed().unwrap();
    fs::write(&file, &seed).unwrap();
    let error = Jobs::builder().credentials_file(&file).connect(&server.url("jobs")).unwrap_err();
    assert!(matches!(error, ConnectError::Credentials { .. }) && !format!("{error:?} {error:#}").contains(&seed), "{error:?}");
}

/// All that this process logs.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl Write for Log {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn no_secret_is_logged_at_any_level() {
    let account = Account::new();
    let (with_users, with_account) = (server!(USERS), server!(&*account.config));
    let (file, (text, seed)) = (with_account.path("jobs.creds"), account.credentials(None));
    fs::write(&file, &text).unwrap();
    tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::TRACE).with_writer(|| Log).init();
    let jobs: Jobs = RemoteQueue::builder().user("ann", "hunter2-secret").connect(&with_users.url("jobs")).unwrap();
    jobs.put("job".into()).unwrap();
    Jobs::builder().token("hunter2-token").connect(&with_users.url("jobs")).unwrap_err();
    Jobs::builder().credentials_file(&file).connect(&with_account.url("jobs")).unwrap();
    let log = String::from_utf8_lossy(&LOG.lock().unwrap()).into_owned();
    // It is the client's log, and has what it sends.
    assert!(log.contains("write operation: CONNECT") && log.contains("multiproc jobs"), "{log}");
    let token = text.lines().nth(1).unwrap();
    for secret in ["hunter2", &seed, token] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

#[test]
fn a_login_that_is_refused_for_a_while_is_tried_again() {
    let mut server = server!(USERS);
    let jobs: Jobs = RemoteQueue::builder().user("ann", "hunter2-secret").connect(&server.url("jobs")).unwrap();
    jobs.put("before".into()).unwrap();
    server.configure(r#"authorization { users = [ { user: "ann", password: "another" } ] }"#);
    jobs.put_timeout("refused".into(), Duration::from_secs(2)).unwrap_err();
    let waiting = std::thread::spawn({
        let jobs = jobs.clone();
        move || jobs.put("after".into())
    });
    server.configure(USERS);
    waiting.join().unwrap().unwrap();
    assert_eq!(jobs.get_delivery().unwrap().done().unwrap(), "before");
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
