//! Queues past one machine: `nats://host/name` in place of a name.

mod commands;
mod read;
mod supply;

use crate::Command;
use crate::exit::Exit;
use crate::signals::Signals;
use anyhow::{Context, anyhow, bail};
use multiproc_nats::{Builder, RemoteQueue};
use rustix::event::PollFlags;
use std::env::var;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;

/// Runs a command that names an address.
pub(crate) fn run(command: Command, address: &str) -> anyhow::Result<Exit> {
    match command {
        Command::Create(create) => commands::create(address, &create.shape),
        Command::Put(put) => commands::put(address, &put),
        Command::Get(get) => read::get(address, &get),
        Command::Dead(dead) => read::dead(address, &dead),
        Command::Peek(_) => bail!("a server shows no message that waits: stat counts them, and get takes one"),
        Command::Clear(_) | Command::Rm(_) => {
            bail!("a queue on a server is removed there: nats stream rm NAME, and the same for NAME-dead and NAME-claims")
        }
        Command::Work(work) => commands::work(address, work),
        Command::Join(join) => commands::join(address, join.timeout),
        Command::Stat(stat) => commands::stat(address, stat.json),
        Command::Shutdown(_) => commands::shutdown(address),
        Command::Doctor(doctor) => doctor.tell_of_server(builder().look(address)),
        _ => bail!(
            "of the commands, create, put, get, dead, work, join, stat, shutdown and doctor take a nats:// address; the others are for this \
             machine"
        ),
    }
}

/// A queue whose messages are bytes.
type Remote = RemoteQueue<Vec<u8>>;

/// Opens a queue, or makes it.
fn open(address: &str) -> anyhow::Result<Remote> {
    open_with(address, builder())
}

/// Begins a queue. The login is in the variables that the `nats` command reads: no secret is an argument, which everybody on the machine
/// could read.
fn builder() -> Builder<Vec<u8>> {
    let mut builder = Remote::builder();
    if let Ok(file) = var("NATS_CREDS") {
        builder = builder.credentials_file(file);
    } else if let Ok(file) = var("NATS_NKEY") {
        builder = builder.nkey_file(file);
    } else if let (Ok(user), Ok(password)) = (var("NATS_USER"), var("NATS_PASSWORD")) {
        builder = builder.user(user, password);
    } else if let Ok(token) = var("NATS_TOKEN") {
        builder = builder.token(token);
    }
    if let Ok(file) = var("NATS_CA") {
        builder = builder.root_certificates(file);
    }
    if let (Ok(certificate), Ok(key)) = (var("NATS_CERT"), var("NATS_KEY")) {
        builder = builder.client_certificate(certificate, key);
    }
    builder
}

/// Opens a queue with these choices.
fn open_with(address: &str, builder: Builder<Vec<u8>>) -> anyhow::Result<Remote> {
    // An address that is refused may hold a password.
    let shown = || if address.contains('@') { "the queue" } else { address };
    builder.connect(address).with_context(|| format!("can't open {}", shown()))
}

/// Does something in a thread of its own, and waits for its end or for a signal.
fn beside<R: Send + 'static>(signals: &Signals, work: impl FnOnce() -> R + Send + 'static) -> anyhow::Result<R> {
    let (bell, ringer) = UnixStream::pair().context("can't wait for the server")?;
    let work = move || {
        let result = work();
        drop(ringer);
        result
    };
    let thread = thread::Builder::new().name("server".into()).spawn(work).context("can't start a thread")?;
    if let Err(error) = signals.wait_beside(bell.as_fd(), PollFlags::IN) {
        signals.check()?;
        return Err(error).context("can't wait for the server");
    }
    thread.join().map_err(|_| anyhow!("the thread that talks to the server has panicked"))
}
