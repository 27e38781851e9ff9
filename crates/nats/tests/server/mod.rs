//! A nats-server of the test's own: on a free loopback port, in a directory of its own, ended by its id.
//!
//! `NATS_SERVER` names another binary than the `nats-server` that is installed.

#![allow(dead_code, reason = "each test uses some of it")]

pub(crate) mod cluster;
pub(crate) mod crew;
pub(crate) mod disk;
pub(crate) mod proxy;

use serde_json::{Value, json};
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) struct Server {
    child: Option<Child>,
    pub(crate) port: u16,
    pub(crate) directory: tempfile::TempDir,
    config: String,
    /// Where the store is, and its limit as the configuration has it.
    store: (&'static str, String),
    pub(crate) disk: Option<disk::Disk>,
}

/// The binary, or `None` after a line that says that the test did not run.
pub(crate) fn binary() -> Option<PathBuf> {
    let named = std::env::var_os("NATS_SERVER").map(PathBuf::from);
    let found = named.or_else(|| {
        let path = std::env::var_os("PATH")?;
        let usual = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
        std::env::split_paths(&path).chain(usual).map(|directory| directory.join("nats-server")).find(|file| file.is_file())
    });
    if found.is_none() {
        let name = std::thread::current().name().unwrap_or("test").to_string();
        eprintln!("{name}: not run: nats-server is not installed");
    }
    found
}

impl Server {
    /// `None`: there is no nats-server.
    pub(crate) fn start() -> Option<Self> {
        Self::with("")
    }

    /// With more lines of configuration.
    pub(crate) fn with(config: &str) -> Option<Self> {
        binary()?;
        let mut server = Self::planned(free_port(), config);
        server.restart();
        Some(server)
    }

    /// Not running yet.
    fn planned(port: u16, config: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("multiproc-nats-").tempdir().unwrap();
        Self { child: None, port, directory, config: config.into(), store: ("store", String::new()), disk: None }
    }

    pub(crate) fn url(&self, queue: &str) -> String {
        format!("nats://127.0.0.1:{}/{queue}", self.port)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// As `kill -9` of the server.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Ends it as an operator does: it writes all its state before.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts it on the same port, with what it had stored.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let config = self.path("server.conf");
        let store = self.path(self.store.0);
        fs::write(
            &config,
            format!(
                "listen: \"127.0.0.1:{}\"\njetstream {{ store_dir: {store:?}{} }}\n{}\n",
                self.port, self.store.1, self.config
            ),
        )
        .unwrap();
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap();
        let binary = binary().unwrap();
        let mut command = self.disk.as_ref().map_or_else(|| Command::new(&binary), |disk| disk.run(&binary));
        command.arg("-c").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().unwrap());
        let begin = Instant::now();
        while !greets(self.port) {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none() && begin.elapsed() < Duration::from_secs(30), "nats-server does not start: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Starts it again with a store of this size.
    pub(crate) fn limit_store(&mut self, size: &str) {
        self.keep_in("store", size);
    }

    /// Starts it again with a store elsewhere, of this size.
    pub(crate) fn keep_in(&mut self, store: &'static str, size: &str) {
        self.store = (store, format!(", max_file_store: {size}"));
        self.restart();
    }

    /// Starts it again with another configuration.
    pub(crate) fn configure(&mut self, config: &str) {
        self.config = config.into();
        self.restart();
    }

    /// What the server says of a consumer, for a test that fails.
    pub(crate) fn consumer(&self, stream: &str, consumer: &str) -> String {
        let what = [format!("CONSUMER.INFO.{stream}.{consumer}"), format!("STREAM.INFO.{stream}")];
        what.map(|what| self.api(&what, &json!({})).to_string()).join("\n")
    }

    /// Asks JetStream as another client would.
    pub(crate) fn api(&self, what: &str, body: &Value) -> Value {
        serde_json::from_slice(&self.request(&format!("$JS.API.{what}"), body.to_string().as_bytes())).unwrap()
    }

    /// Asks JetStream as another client would. `None`: there is no answer now.
    pub(crate) fn try_api(&self, what: &str) -> Option<Value> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let asking = async {
            let client = async_nats::connect(format!("127.0.0.1:{}", self.port)).await.ok()?;
            client.request(format!("$JS.API.{what}"), "".into()).await.ok()
        };
        let answer = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(2), asking).await });
        serde_json::from_slice(&answer.ok()??.payload).ok()
    }

    /// Sends a message as another client would, and returns the answer.
    pub(crate) fn request(&self, subject: &str, message: &[u8]) -> Vec<u8> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let client = async_nats::connect(format!("127.0.0.1:{}", self.port)).await.unwrap();
            client.request(subject.to_string(), message.to_vec().into()).await.unwrap().payload.to_vec()
        })
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn greets(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let mut first = [0; 4];
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.read_exact(&mut first).is_ok() && &first == b"INFO"
}

/// A port that nobody listens at, below those that the system gives to connections: one of them that a client makes, as to a server that
/// is away just now, could take the server's port meanwhile.
pub(crate) fn free_port() -> u16 {
    let mut ports = std::iter::repeat_with(|| 10_000 + (RandomState::new().hash_one(0) % 20_000) as u16);
    ports.find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok()).unwrap()
}

/// Starts a server, or ends the test with a line that says so.
#[macro_export]
macro_rules! server {
    ($($config:expr)?) => {{
        #[allow(unused_mut, unused_assignments)]
        let mut config = String::new();
        $( config = String::from($config); )?
        match server::Server::with(&config) {
            Some(server) => server,
            None => return,
        }
    }};
}
