//! What the figures are taken on: processors, load, kernel.

use serde_json::{Value, json};
use std::fs::read_to_string;
use std::thread::available_parallelism;

#[derive(Debug)]
pub(super) struct Machine {
    model: String,
    /// Those that this process may use.
    processors: usize,
    /// Processes that ran or wanted to, on average of the last minute.
    load: f64,
    kernel: String,
}

impl Machine {
    pub(super) fn look() -> Self {
        let info = read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        let load = read_to_string("/proc/loadavg").unwrap_or_default();
        Self {
            model: model.map_or("unknown", |(_, model)| model.trim()).to_owned(),
            processors: available_parallelism().map_or(1, usize::from),
            load: load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        }
    }

    pub(super) fn words(&self) -> String {
        let processors = if self.processors == 1 { "1 processor".to_owned() } else { format!("{} processors", self.processors) };
        let mut words = format!(
            "multiproc {} on {processors} ({}), Linux {}, load {:.2}\n",
            env!("CARGO_PKG_VERSION"),
            self.model,
            self.kernel,
            self.load
        );
        if self.processors == 1 {
            words += "One processor: the two processes take turns. Most figures are times of the scheduler.\n";
        } else if self.load > self.processors as f64 / 2.0 {
            words += "The machine is busy: it can do better than these figures.\n";
        }
        if cfg!(debug_assertions) {
            words += "This is a debug build: a release build is faster.\n";
        }
        words
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "version": env!("CARGO_PKG_VERSION"), "processors": self.processors, "model": self.model, "kernel": self.kernel,
            "load": self.load, "is_debug": cfg!(debug_assertions),
        })
    }
}
