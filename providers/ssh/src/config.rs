use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use towpath_core::pipeline::nearest;
use towpath_core::{Error, ErrorKind, Host, Json, Result, SecretRef};

use crate::files::Files;
use crate::{PROVIDER, home_dir};

/// Which keys of hosts are trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HostKeys {
    /// Only those that `known_hosts` has.
    #[default]
    Strict,
    /// Also that of a host which is in no `known_hosts`: it is recorded. A *changed* key is refused.
    AcceptNew,
    /// Any, but one marked as revoked. Somebody in between is not noticed, so each run warns once. New keys are recorded; to
    /// a host whose key has changed no password is sent.
    Off,
}

/// Settings of the connector `ssh`. Every key may also stand in a host's `connection.options`, where it wins.
///
/// What is given nowhere comes from `~/.ssh/config`, then `/etc/ssh/ssh_config`, then from the defaults named here.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SshConfig {
    /// Which keys of hosts are trusted. `strict` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_keys: Option<HostKeys>,
    /// File of known host keys; the first one of several is written to. `~/.ssh/known_hosts` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known_hosts: Option<PathBuf>,
    /// The only key that the host may show, as in a `.pub` file. With it `known_hosts` is not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_key: Option<String>,
    /// Private key to log in with. `~/.ssh/id_ed25519`, `id_ecdsa` and `id_rsa` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity_file: Option<PathBuf>,
    /// Passphrase of private keys that have one. Without it such a key is used through the agent only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<SecretRef>,
    /// Certificate that goes with the key. `<identity_file>-cert.pub` is used by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_file: Option<PathBuf>,
    /// Uses no other key that the agent holds. `false` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identities_only: Option<bool>,
    /// Socket of the agent; `none` for no agent. `SSH_AUTH_SOCK` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity_agent: Option<String>,
    /// Host to go through: `[user@]host[:port]`, several with commas; `none` for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_jump: Option<String>,
    /// Command whose streams are the connection, as OpenSSH's `ProxyCommand`. Counts where `proxy_jump` is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_command: Option<String>,
    /// How files travel. `auto` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<Files>,
    /// Longest wait for connecting and logging in, in seconds. 10 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_timeout_s: Option<u64>,
    /// Seconds of silence after which the host is asked whether it is still there; three times without an answer end the
    /// connection. 15 by default, `0` never asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keepalive_s: Option<u64>,
    /// Seconds that a transport is kept after its last use. 60 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_s: Option<u64>,
    /// OpenSSH client configuration to read; `none` for none. `~/.ssh/config`, then `/etc/ssh/ssh_config` by default, as far
    /// as they are there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssh_config: Option<PathBuf>,
}

/// The keys of [`SshConfig`].
const KEYS: &[&str] = &[
    "host_keys",
    "known_hosts",
    "host_key",
    "identity_file",
    "passphrase",
    "certificate_file",
    "identities_only",
    "identity_agent",
    "proxy_jump",
    "proxy_command",
    "files",
    "connect_timeout_s",
    "keepalive_s",
    "idle_s",
    "ssh_config",
];

impl SshConfig {
    /// These settings with a host's own on top.
    pub(crate) fn for_host(&self, host: &Host) -> Result<Self> {
        let bad = |message: String| {
            Error::new(ErrorKind::InvalidInput, PROVIDER, "connect", message).with("host", &host.name)
        };
        let options = &host.connection.options;
        if let Some(key) = options.keys().find(|k| !KEYS.contains(&k.as_str())) {
            let hint = match nearest(key, KEYS.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there are: {}", KEYS.join(", ")),
            };
            return Err(bad(format!("there is no connection option `{key}`; {hint}")));
        }
        let mut all = serde_json::to_value(self).unwrap_or_default();
        if let Json::Object(map) = &mut all {
            map.extend(options.clone());
        }
        serde_json::from_value(all).map_err(|e| bad(format!("a connection option is wrong: {e}")))
    }
}

pub(crate) fn expand(path: &str) -> PathBuf {
    match path.strip_prefix("~/") {
        Some(rest) => home_dir().join(rest),
        None => PathBuf::from(path),
    }
}

pub(crate) fn expand_path(path: &Path) -> PathBuf {
    expand(&path.to_string_lossy())
}
