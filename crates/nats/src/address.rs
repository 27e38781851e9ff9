//! Where a queue is, and how a process logs in there.

use crate::error::{AddressError, ConnectError};
use async_nats::ConnectOptions;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The servers and the name of a queue: what `nats://host:port/jobs` says.
///
/// It holds no secret. A user or a password in an address is refused, since addresses stand in lists of processes and in logs.
///
/// ```
/// use multiproc_nats::Address;
///
/// let address: Address = "nats://one.example,two.example:4223/jobs".parse()?;
/// assert_eq!(address.queue(), "jobs");
/// assert_eq!(address.servers(), ["nats://one.example:4222", "nats://two.example:4223"]);
/// # Ok::<(), multiproc_nats::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Address {
    servers: Vec<String>,
    queue: String,
}

impl Address {
    /// Returns the servers, each with its scheme and its port.
    pub fn servers(&self) -> &[String] {
        &self.servers
    }

    /// Returns the name of the queue.
    pub fn queue(&self) -> &str {
        &self.queue
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = text.split_once("://").ok_or(AddressError::Scheme)?;
        if !matches!(scheme, "nats" | "tls") {
            return Err(AddressError::Scheme);
        }
        let (hosts, queue) = rest.split_once('/').ok_or(AddressError::NoQueue)?;
        if rest.contains('@') {
            return Err(AddressError::Secret);
        }
        check_name(queue)?;
        let servers = hosts.split(',').map(|host| server(scheme, host)).collect::<Result<_, _>>()?;
        Ok(Self { servers, queue: queue.into() })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, server) in self.servers.iter().enumerate() {
            // The scheme is the same for all of them.
            let shown = if index == 0 { server } else { server.split_once("://").map_or(server.as_str(), |(_, host)| host) };
            write!(f, "{}{shown}", if index == 0 { "" } else { "," })?;
        }
        write!(f, "/{}", self.queue)
    }
}

fn server(scheme: &str, host: &str) -> Result<String, AddressError> {
    // The port stands after the brackets of an IPv6 address.
    let name_end = host.rfind(']').unwrap_or(0);
    let with_port = if host[name_end..].contains(':') { host.to_string() } else { format!("{host}:4222") };
    let (name, port) = with_port.rsplit_once(':').unwrap_or_default();
    if name.is_empty() || port.parse::<u16>().is_err() {
        return Err(AddressError::Server(host.into()));
    }
    Ok(format!("{scheme}://{with_port}"))
}

/// A stream's name can have these characters in every server, and each name makes three streams.
fn check_name(queue: &str) -> Result<(), AddressError> {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    match queue {
        "" => Err(AddressError::NoQueue),
        _ if queue.len() <= 200 && queue.chars().all(good) => Ok(()),
        _ => Err(AddressError::Name(queue.into())),
    }
}

/// How to log in. A file is read when the queue is opened.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) enum Login {
    #[default]
    Nobody,
    CredentialsFile(PathBuf),
    TokenFile(PathBuf),
    PasswordFile(String, PathBuf),
    NkeyFile(PathBuf),
    Token(Secret),
    Password(String, Secret),
    Nkey(Secret),
}

/// What must be in no log, no error and no message.
#[derive(Clone)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

const STAYS: &str =
    "a secret that is held in memory doesn't travel: log in with credentials_file, token_file, password_file or nkey_file";

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom(STAYS))
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom(STAYS))
    }
}

/// How the connection is encrypted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Tls {
    pub(crate) required: bool,
    pub(crate) roots: Option<PathBuf>,
    /// Certificate and key.
    pub(crate) client: Option<(PathBuf, PathBuf)>,
}

impl Login {
    pub(crate) async fn add_to(&self, options: ConnectOptions) -> Result<ConnectOptions, ConnectError> {
        Ok(match self {
            Self::Nobody => options,
            Self::CredentialsFile(path) => {
                // The client finds a key only where a line follows it.
                let credentials = read(path)? + "\n";
                // Its own error for a bad file may quote it.
                options.credentials(&credentials).map_err(|_| ConnectError::Credentials { path: path.clone() })?
            }
            Self::TokenFile(path) => options.token(read(path)?),
            Self::PasswordFile(user, path) => options.user_and_password(user.clone(), read(path)?),
            Self::NkeyFile(path) => options.nkey(read(path)?),
            Self::Token(Secret(token)) => options.token(token.clone()),
            Self::Password(user, Secret(password)) => options.user_and_password(user.clone(), password.clone()),
            Self::Nkey(Secret(seed)) => options.nkey(seed.clone()),
        })
    }
}

impl Tls {
    pub(crate) fn add_to(&self, mut options: ConnectOptions) -> ConnectOptions {
        if self.required {
            options = options.require_tls(true);
        }
        if let Some(roots) = &self.roots {
            options = options.add_root_certificates(roots.clone());
        }
        if let Some((certificate, key)) = &self.client {
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
        options
    }
}

/// The text of a file without the end of its last line.
fn read(path: &Path) -> Result<String, ConnectError> {
    let text = std::fs::read_to_string(path).map_err(|why| ConnectError::File { path: path.into(), why })?;
    Ok(text.trim_end().into())
}
