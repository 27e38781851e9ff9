//! A cluster of three nats-servers.

use super::{Server, binary, free_port};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A watchdog. An election takes up to 9 seconds.
const SOON: Duration = Duration::from_secs(60);

pub(crate) struct Cluster {
    pub(crate) servers: Vec<Server>,
}

impl Cluster {
    /// `None`: there is no nats-server.
    pub(crate) fn start() -> Option<Self> {
        binary()?;
        let ports = [(); 3].map(|()| free_port());
        let routes = ports.map(|port| format!("nats://127.0.0.1:{port}")).join(", ");
        let plan = |(n, port): (usize, &u16)| {
            let cluster = format!("cluster {{ name: c, listen: \"127.0.0.1:{port}\", routes: [{routes}] }}");
            Server::planned(free_port(), &format!("server_name: s{n}\n{cluster}"))
        };
        let mut cluster = Self { servers: ports.iter().enumerate().map(plan).collect() };
        cluster.servers.iter_mut().for_each(Server::restart);
        Some(cluster)
    }

    /// Names all three.
    pub(crate) fn url(&self, queue: &str) -> String {
        let servers: Vec<_> = self.servers.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
        format!("nats://{}/{queue}", servers.join(","))
    }

    fn ask(&self, what: &str) -> Option<Value> {
        self.servers.iter().filter(|server| server.is_running()).find_map(|server| server.try_api(what))
    }

    /// Waits until the cluster says something that holds.
    fn wait_for<T>(&self, what: &str, mut holds: impl FnMut(&Value) -> Option<T>) -> T {
        let begin = Instant::now();
        loop {
            let answer = self.ask(what);
            if let Some(found) = answer.as_ref().and_then(&mut holds) {
                return found;
            }
            assert!(begin.elapsed() < SOON, "{what}: {answer:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The server that leads a stream.
    pub(crate) fn leader_of(&self, stream: &str) -> usize {
        self.leader(&format!("STREAM.INFO.{stream}"))
    }

    /// The server that knows what workers have in hand.
    pub(crate) fn leader_of_workers(&self, queue: &str) -> usize {
        self.leader(&format!("CONSUMER.INFO.{queue}.workers"))
    }

    fn leader(&self, what: &str) -> usize {
        self.wait_for(what, |info| {
            info["cluster"]["leader"].as_str()?.strip_prefix('s')?.parse().ok().filter(|&n: &usize| self.servers[n].is_running())
        })
    }

    /// Lets elections go on until this server leads a stream.
    pub(crate) fn let_lead(&self, server: usize, stream: &str) {
        while self.leader_of(stream) != server {
            self.ask(&format!("STREAM.LEADER.STEPDOWN.{stream}"));
        }
    }

    /// Waits until all three servers have what a queue's values and its consumer need.
    pub(crate) fn wait_until_whole(&self, queue: &str) {
        for what in [format!("STREAM.INFO.{queue}"), format!("CONSUMER.INFO.{queue}.workers")] {
            self.wait_for(&what, |info| {
                let others = info["cluster"]["replicas"].as_array()?;
                let is_current = |other: &Value| other["current"] == true && other.get("offline") != Some(&json!(true));
                (others.len() == 2 && others.iter().all(is_current)).then_some(())
            });
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // What the servers say is gone with their directories.
        if std::thread::panicking() {
            self.servers.iter().enumerate().for_each(|(n, server)| eprintln!("server {n}:\n{}", server.log()));
        }
    }
}
