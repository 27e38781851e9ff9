//! A proxy between a client and the server that delays, stalls and cuts.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Mode {
    Pass,
    /// Each piece is this late.
    Delay(Duration),
    /// Nothing goes through, and nobody is told.
    Stall,
    /// Connections are closed, and new ones too.
    Cut,
}

/// When a stream was made, as a server of 2.9 says it to others while it makes the stream.
const UNBORN: &[u8] = b"\"created\":\"0001-01-01T00:00:00Z\"";

struct Shared {
    mode: Mutex<Mode>,
    changed: Condvar,
    open: Mutex<Vec<TcpStream>>,
    seen: Mutex<Vec<u8>>,
    births_to_hide: Mutex<usize>,
}

pub(crate) struct Proxy {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

impl Proxy {
    pub(crate) fn to(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            mode: Mutex::new(Mode::Pass),
            changed: Condvar::new(),
            open: Mutex::default(),
            seen: Mutex::default(),
            births_to_hide: Mutex::default(),
        });
        let here = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let server = TcpStream::connect(("127.0.0.1", server));
                let (Ok(server), false) = (server, *here.mode.lock().unwrap() == Mode::Cut) else { continue };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    here.open.lock().unwrap().push(from.try_clone().unwrap());
                    let (from, to, here) = (from.try_clone().unwrap(), to.try_clone().unwrap(), Arc::clone(&here));
                    std::thread::spawn(move || carry(from, to, &here));
                }
            }
        });
        Self { port, shared }
    }

    pub(crate) fn url(&self, queue: &str) -> String {
        format!("nats://127.0.0.1:{}/{queue}", self.port)
    }

    /// All that went through, both ways.
    pub(crate) fn seen(&self) -> Vec<u8> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// So many of the next things that the server describes look as if it made them just now.
    pub(crate) fn hide_births(&self, times: usize) {
        *self.shared.births_to_hide.lock().unwrap() = times;
    }

    pub(crate) fn set(&self, mode: Mode) {
        *self.shared.mode.lock().unwrap() = mode;
        self.shared.changed.notify_all();
        if mode == Mode::Cut {
            for stream in self.shared.open.lock().unwrap().drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, shared: &Shared) {
    let mut piece = [0; 64 * 1024];
    while let Ok(len @ 1..) = from.read(&mut piece) {
        let mode = shared.changed.wait_while(shared.mode.lock().unwrap(), |mode| *mode == Mode::Stall).unwrap();
        let mode = *mode;
        if let Mode::Delay(delay) = mode {
            std::thread::sleep(delay);
        }
        hide_births(&mut piece[..len], &mut shared.births_to_hide.lock().unwrap());
        shared.seen.lock().unwrap().extend_from_slice(&piece[..len]);
        if to.write_all(&piece[..len]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

/// Puts another time where a message says when something was made. It stays as long as it was.
fn hide_births(piece: &mut [u8], times: &mut usize) {
    const KEY: &[u8] = b"\"created\":\"";
    for place in 0..piece.len() {
        let Some(time) = piece[place..].strip_prefix(KEY).filter(|_| *times > 0) else { continue };
        let Some(end) = time.iter().position(|&byte| byte == b'"') else { continue };
        let all = &mut piece[place..=place + KEY.len() + end];
        all.fill(b' ');
        all[..UNBORN.len()].copy_from_slice(UNBORN);
        *times -= 1;
    }
}
