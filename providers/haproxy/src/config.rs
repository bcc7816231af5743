use std::path::Path;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use towpath_core::pipeline::ProviderSpec;
use towpath_core::{Balancer, Endpoint, Error, ErrorKind, Host, Json, Result};

use crate::command;
use crate::provider::HAPROXY;

/// Settings of the balancer `haproxy`: one backend section of a running HAProxy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HaProxyConfig {
    /// Name of the backend section: `web`.
    pub backend: String,

    /// Where the runtime API listens, with `level admin`: the path of a Unix socket, or `127.0.0.1:9999`.
    #[serde(default = "default_socket")]
    pub socket: String,

    /// The host that HAProxy runs on; this machine if not given. The socket is opened there, as the user that logs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<Box<Host>>,

    /// How a server is added that HAProxy's configuration does not have.
    #[serde(default, skip_serializing_if = "AddedServer::is_plain")]
    pub server: AddedServer,

    /// File, on HAProxy's machine, that gets the state of all servers after each change: the one that `server-state-file` names in
    /// HAProxy's configuration. Its folder must exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_file: Option<String>,

    /// Longest time until HAProxy's checks have seen an added server up, in seconds. 30 by default.
    #[serde(default = "default_up_limit_s")]
    #[schemars(range(min = 0))]
    pub up_limit_s: f64,

    /// Longest time for one answer of HAProxy, in seconds. 10 by default.
    #[serde(default = "default_reply_limit_s")]
    #[schemars(range(min = 0))]
    pub reply_limit_s: f64,
}

/// How a server is added. Nothing of a `default-server` line holds for it: HAProxy does not let added servers inherit.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddedServer {
    /// Lets HAProxy check the server: by a TCP connection, or as the backend section's `option httpchk` says. Not checked if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<ServerCheck>,

    /// Its share of the requests, 1 to 256. 1 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 256))]
    pub weight: Option<u16>,

    /// Most connections that HAProxy opens to it; further requests wait. No limit if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub maxconn: Option<u32>,

    /// Speaks TLS with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssl: Option<ServerTls>,
}

/// How HAProxy checks a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerCheck {
    /// Time between two checks, in milliseconds. 2000 by default.
    #[serde(default = "default_inter_ms")]
    #[schemars(range(min = 1))]
    pub inter_ms: u32,

    /// Good checks in a row after which it is up. 2 by default.
    #[serde(default = "default_rise")]
    #[schemars(range(min = 1))]
    pub rise: u16,

    /// Bad checks in a row after which it is down. 3 by default.
    #[serde(default = "default_fall")]
    #[schemars(range(min = 1))]
    pub fall: u16,
}

/// How HAProxy speaks TLS with a server. All files are on HAProxy's machine, and must be loaded by its configuration already:
/// HAProxy opens no new ones once it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerTls {
    /// File of the authorities that may have signed the server's certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,

    /// Takes any certificate: whoever is between HAProxy and the server can read and change everything.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub accept_any_certificate: bool,

    /// Name that the certificate must have, sent as server name, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,

    /// File of the certificate and key that HAProxy shows to the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crt: Option<String>,
}

fn default_socket() -> String {
    "/run/haproxy/admin.sock".to_owned()
}

fn default_up_limit_s() -> f64 {
    30.0
}

fn default_reply_limit_s() -> f64 {
    10.0
}

fn default_inter_ms() -> u32 {
    2000
}

fn default_rise() -> u16 {
    2
}

fn default_fall() -> u16 {
    3
}

impl Default for ServerCheck {
    fn default() -> Self {
        Self { inter_ms: default_inter_ms(), rise: default_rise(), fall: default_fall() }
    }
}

impl AddedServer {
    fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

impl HaProxyConfig {
    /// The backend section `backend` of the HAProxy on this machine.
    pub fn new(backend: impl Into<String>) -> Self {
        Self {
            backend: backend.into(),
            socket: default_socket(),
            on: None,
            server: AddedServer::default(),
            state_file: None,
            up_limit_s: default_up_limit_s(),
            reply_limit_s: default_reply_limit_s(),
        }
    }

    pub(crate) fn based(mut self, dir: &Path) -> Self {
        if self.on.is_none() {
            let based = |path: &str| dir.join(path).to_string_lossy().into_owned();
            if self.socket.contains('/') {
                self.socket = based(&self.socket);
            }
            self.state_file = self.state_file.map(|path| based(&path));
        }
        self
    }

    /// Where the runtime API listens.
    pub(crate) fn endpoint(&self) -> Result<Endpoint> {
        if self.socket.contains('/') {
            // The kernel's limit for the address of a Unix socket.
            if self.socket.len() > 107 || self.socket.contains('\0') {
                return Err(bad("socket", "a Unix socket's path has 107 bytes at most, none of them 0"));
            }
            if self.on.is_some() && !self.socket.starts_with('/') {
                return Err(bad("socket", "a path on another host must begin with `/`"));
            }
            return Ok(Endpoint::Unix(self.socket.clone()));
        }
        let parts = self.socket.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
        match parts {
            Some((host, port)) if !host.is_empty() && port != 0 => {
                let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
                Ok(Endpoint::Tcp(host.to_owned(), port))
            }
            _ => Err(bad("socket", "it must be a path that has a `/` in it, or `address:port`")),
        }
    }

    pub(crate) fn up_limit(&self) -> Duration {
        Duration::try_from_secs_f64(self.up_limit_s).unwrap_or(Duration::ZERO)
    }

    pub(crate) fn reply_limit(&self) -> Duration {
        Duration::try_from_secs_f64(self.reply_limit_s).unwrap_or(Duration::ZERO)
    }

    /// Refuses what HAProxy would refuse later, or take for something else.
    pub(crate) fn validate(&self) -> Result<()> {
        command::name("config", "backend", &self.backend)?;
        self.endpoint()?;
        for (key, value) in [("up_limit_s", self.up_limit_s), ("reply_limit_s", self.reply_limit_s)] {
            if Duration::try_from_secs_f64(value).is_err() {
                return Err(bad(key, "it must be a number of seconds from 0 on"));
            }
        }
        if self.reply_limit_s == 0.0 {
            return Err(bad("reply_limit_s", "HAProxy needs some time for an answer"));
        }
        if let Some(path) = &self.state_file {
            if path.is_empty() || path.ends_with('/') || (self.on.is_some() && !path.starts_with('/')) {
                return Err(bad(
                    "state_file",
                    "it must be the path of a file; on another host, one that begins with `/`",
                ));
            }
        }
        if self.server.weight.is_some_and(|w| !(1..=256).contains(&w)) {
            return Err(bad("server.weight", "it must be 1 to 256; a server without weight gets nothing"));
        }
        if self.server.maxconn == Some(0) {
            return Err(bad("server.maxconn", "it must be 1 or more; leave it out for no limit"));
        }
        if let Some(check) = &self.server.check
            && (check.inter_ms == 0 || check.rise == 0 || check.fall == 0)
        {
            return Err(bad("server.check", "`inter_ms`, `rise` and `fall` must be 1 or more"));
        }
        if let Some(ssl) = &self.server.ssl {
            if ssl.ca_file.is_none() != ssl.accept_any_certificate {
                let message = "give `ca_file`, or say `accept_any_certificate: true`, but not both";
                return Err(bad("server.ssl", message));
            }
            if let Some(name) = &ssl.name {
                command::host_name("config", name)?;
            }
            for file in [&ssl.ca_file, &ssl.crt].into_iter().flatten() {
                command::word("config", file)?;
            }
        }
        Ok(())
    }
}

fn bad(key: &str, message: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, HAPROXY, "config", format!("`{key}`: {message}"))
}

impl From<HaProxyConfig> for ProviderSpec<dyn Balancer> {
    fn from(config: HaProxyConfig) -> Self {
        // Plain fields only: it can always be written.
        Self::new(HAPROXY, serde_json::to_value(config).unwrap_or(Json::Null))
    }
}
