//! A nats-server of the test's own: on a free loopback port, in a directory of its own, ended by its id.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) struct Server {
    child: Child,
    port: u16,
    _store: tempfile::TempDir,
}

impl Server {
    /// `None`, after a line that says so: there is no nats-server. `NATS_SERVER` names one.
    pub(crate) fn start() -> Option<Self> {
        let binary = std::env::var_os("NATS_SERVER").unwrap_or_else(|| "nats-server".into());
        let store = tempfile::tempdir().unwrap();
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let mut command = Command::new(binary);
        command.args(["-js", "-a", "127.0.0.1", "-p", &port.to_string(), "-sd"]).arg(store.path());
        let started = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let Ok(child) = started else {
            eprintln!("not run: nats-server is not installed");
            return None;
        };
        let server = Self { child, port, _store: store };
        let begin = Instant::now();
        while !server.greets() {
            assert!(begin.elapsed() < Duration::from_secs(30), "nats-server does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(server)
    }

    pub(crate) fn url(&self, queue: &str) -> String {
        format!("nats://127.0.0.1:{}/{queue}", self.port)
    }

    fn greets(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let mut first = [0; 4];
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.read_exact(&mut first).is_ok() && &first == b"INFO"
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
