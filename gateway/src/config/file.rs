//! The configuration file of a gateway that runs as a program of its own.
//!
//! JSON, since the controller writes it and people only read it. A field that is not known is refused: a
//! setting that is misspelt must not silently be the default. The file holds no secret, it names files that
//! do. Every field is explained in `docs/reference/gateway.md`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};
use tidegate_core::Cidr;

#[cfg(test)]
mod tests;

/// Longest configuration file that is read.
const FILE_BYTES_MAX: u64 = 256 * 1024;
/// Endpoints of etcd at most.
const ENDPOINTS_MAX: usize = 16;
/// Networks of balancers at most.
const TRUSTED_MAX: usize = 64;
/// Longest time any part of a drain may take.
const DRAIN_MAX_S: u32 = 600;
/// Longest a cut-off gateway may go on: a week.
const STALENESS_MAX_S: u32 = 7 * 24 * 3_600;
/// Shards at most.
const SHARDS_MAX: usize = 64;
/// Longest name of a pool; it is part of keys in etcd and of host names.
const POOL_MAX: usize = 40;
/// Longest name of a gateway.
const ID_MAX: usize = 64;

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct File {
    /// The pool this gateway belongs to: the name of its VpnGateway.
    pub pool: String,
    /// Its name towards the controller; unique among all gateways of the pool.
    pub id: Option<String>,
    /// The name people type; systems are at `<resource>-<code>.<host>`.
    pub host: String,
    /// The port people type.
    #[serde(default = "public_port")]
    pub public_port: u16,
    /// Where people's connections arrive.
    #[serde(default = "listen")]
    pub listen: SocketAddr,
    /// Where `/metrics`, `/healthz` and `/readyz` are, without TLS.
    #[serde(default = "metrics_listen")]
    pub metrics_listen: SocketAddr,
    /// How many shards; absent takes one for each processor this process may use.
    pub shards: Option<usize>,
    /// Where the configuration comes from.
    pub etcd: Etcd,
    /// The folder of the pool's keys, as a Secret volume mounts them.
    pub keys_directory: PathBuf,
    /// The certificate people see.
    pub tls: KeyPair,
    /// Authorities that vouch for upstreams with neither `ca` nor `pin`; absent takes the system's.
    pub upstream_ca_file: Option<PathBuf>,
    /// The sealed copy of what was published, for a start without etcd; absent keeps none.
    pub snapshot_file: Option<PathBuf>,
    /// How long a gateway that is cut off from etcd goes on.
    #[serde(default)]
    pub staleness: Staleness,
    /// How long the steps of an orderly end take.
    #[serde(default)]
    pub drain: Drain,
    /// Balancers that say whose connection they pass on.
    #[serde(default)]
    pub proxy_protocol: ProxyProtocol,
    /// Where audit records go.
    pub audit: Audit,
}

/// How etcd is reached.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Etcd {
    /// The members, as `https://host:2379`.
    pub endpoints: Vec<String>,
    /// The authority of the members' certificates.
    pub ca_file: Option<PathBuf>,
    /// The certificate of the pool, with its chain.
    pub certificate_file: Option<PathBuf>,
    /// Its key.
    pub key_file: Option<PathBuf>,
}

/// A certificate with its chain, and its key, both PEM.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyPair {
    /// The certificate first, then whatever leads to an authority.
    pub certificate_file: PathBuf,
    /// The private key.
    pub key_file: PathBuf,
}

/// How long a gateway that is cut off from etcd goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Staleness {
    /// Seconds after which nobody may log in any more.
    pub new_logins_seconds: u32,
    /// Seconds after which open sessions end.
    pub end_sessions_seconds: u32,
}

/// How long the steps of an orderly end take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Drain {
    /// Seconds for which connections are still accepted after readiness failed.
    pub settle_seconds: u32,
    /// Seconds over which tunnels and WebSockets are closed, one after the other.
    pub tunnels_seconds: u32,
    /// Seconds that requests under way are waited for.
    pub requests_seconds: u32,
}

/// Balancers that say whose connection they pass on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ProxyProtocol {
    /// The networks from which every connection must begin with a PROXY header, version 2.
    #[serde(deserialize_with = "cidrs")]
    pub trusted: Vec<Cidr>,
}

/// Where audit records go.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Audit {
    /// The folder of the spool, bounded.
    pub directory: PathBuf,
    /// Whether records are printed to standard output as well.
    #[serde(default = "yes")]
    pub stdout: bool,
}

impl Default for Staleness {
    fn default() -> Self {
        Self { new_logins_seconds: 15 * 60, end_sessions_seconds: 60 * 60 }
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self { settle_seconds: 15, tunnels_seconds: 10, requests_seconds: 10 }
    }
}

fn public_port() -> u16 {
    443
}

fn listen() -> SocketAddr {
    SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 8_443))
}

fn metrics_listen() -> SocketAddr {
    SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 9_090))
}

fn yes() -> bool {
    true
}

fn cidrs<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<Cidr>, D::Error> {
    let texts = Vec::<String>::deserialize(input)?;
    let parse = |text: &String| {
        text.parse().map_err(|error| serde::de::Error::custom(format_args!("`{text}` is {error}")))
    };
    texts.iter().map(parse).collect()
}

/// Why a configuration file is refused.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read {file}: {error}")]
    Io {
        /// Which.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It is no JSON, lacks a field, or has one that does not exist.
    #[error("{file}: {error}")]
    Syntax {
        /// Which.
        file: PathBuf,
        /// Where and why.
        error: serde_json::Error,
    },
    /// A value does not make sense.
    #[error("{file}: {field}: {problem}")]
    Value {
        /// Which file.
        file: PathBuf,
        /// Which field.
        field: &'static str,
        /// What to write instead.
        problem: String,
    },
}

impl File {
    /// Reads and checks `file`. `own_id` names the gateway when the file does not.
    ///
    /// # Errors
    /// When it cannot be read, has unknown or missing fields, or values that make no sense.
    pub fn read(file: &Path, own_id: Option<String>) -> Result<Self, FileError> {
        let failed = |error| FileError::Io { file: file.into(), error };
        let size = std::fs::metadata(file).map_err(failed)?.len();
        if size > FILE_BYTES_MAX {
            return Err(failed(std::io::Error::other(format!("it is longer than {FILE_BYTES_MAX} bytes"))));
        }
        let text = std::fs::read_to_string(file).map_err(failed)?;
        let mut this: Self =
            serde_json::from_str(&text).map_err(|error| FileError::Syntax { file: file.into(), error })?;
        this.id = this.id.or(own_id);
        match this.problem() {
            None => Ok(this),
            Some((field, problem)) => Err(FileError::Value { file: file.into(), field, problem }),
        }
    }

    /// The first value that makes no sense.
    fn problem(&self) -> Option<(&'static str, String)> {
        if !is_label(&self.pool, POOL_MAX) {
            return Some((
                "pool",
                format!("write the name of the VpnGateway, at most {POOL_MAX} characters"),
            ));
        }
        let id = self.id.as_deref().unwrap_or_default();
        if !is_label(id, ID_MAX) {
            let form = "1 to 64 lower-case letters, digits and hyphens";
            return Some(("id", format!("write {form}, or set POD_UID")));
        }
        if !is_host(&self.host) {
            return Some(("host", "write the name people type, without scheme and port".into()));
        }
        if self.public_port == 0 {
            return Some(("publicPort", "write the port people type, for example 443".into()));
        }
        if self.shards.is_some_and(|shards| !(1..=SHARDS_MAX).contains(&shards)) {
            return Some(("shards", format!("write 1 to {SHARDS_MAX}, or leave it out")));
        }
        if self.proxy_protocol.trusted.len() > TRUSTED_MAX {
            return Some(("proxyProtocol.trusted", format!("write at most {TRUSTED_MAX} networks")));
        }
        self.etcd.problem().or_else(|| self.staleness.problem()).or_else(|| self.drain.problem())
    }
}

impl Etcd {
    fn problem(&self) -> Option<(&'static str, String)> {
        let endpoints = &self.endpoints;
        if endpoints.is_empty() || endpoints.len() > ENDPOINTS_MAX {
            return Some(("etcd.endpoints", format!("write 1 to {ENDPOINTS_MAX} addresses")));
        }
        let files = [&self.ca_file, &self.certificate_file, &self.key_file];
        let given = files.iter().filter(|file| file.is_some()).count();
        if given != 0 && given != files.len() {
            return Some((
                "etcd",
                "caFile, certificateFile and keyFile belong together; write all of them".into(),
            ));
        }
        let scheme = if given == 0 { "http://" } else { "https://" };
        let odd = endpoints.iter().find(|endpoint| !endpoint.starts_with(scheme))?;
        let why = if given == 0 { "without certificates" } else { "with certificates" };
        Some(("etcd.endpoints", format!("`{odd}` must begin with {scheme} {why}")))
    }
}

impl Staleness {
    fn problem(self) -> Option<(&'static str, String)> {
        let (logins, sessions) = (self.new_logins_seconds, self.end_sessions_seconds);
        if logins == 0 || sessions > STALENESS_MAX_S {
            return Some(("staleness", format!("write 1 to {STALENESS_MAX_S} seconds")));
        }
        (logins > sessions).then(|| {
            let why = "sessions would end before logins stop; make endSessionsSeconds the longer one";
            ("staleness", why.into())
        })
    }
}

impl Drain {
    fn problem(self) -> Option<(&'static str, String)> {
        let longest = self.settle_seconds.max(self.tunnels_seconds).max(self.requests_seconds);
        (longest > DRAIN_MAX_S).then(|| ("drain", format!("write at most {DRAIN_MAX_S} seconds")))
    }
}

fn is_label(text: &str, most: usize) -> bool {
    let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=most).contains(&text.len())
        && text.bytes().all(inside)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// A host name, or an address.
fn is_host(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    if text.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok() {
        return true;
    }
    text.len() <= 200 && text.split('.').all(|label| is_label(&label.to_ascii_lowercase(), 63))
}
