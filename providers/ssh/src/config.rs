use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use towpath_core::pipeline::nearest;
use towpath_core::{Error, ErrorKind, Host, Json, Result};

use crate::ssh_config::{self, Proxy};
use crate::{PROVIDER, home_dir};

/// Settings of the connector `ssh`. Every key may also stand in a host's `connection.options`, where it wins.
///
/// What is given nowhere comes from `~/.ssh/config`, then from the defaults named here.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SshConfig {
    /// Accepts and records the key of a host that is in no `known_hosts`. A *changed* key is refused even so.
    /// `false` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accept_new: Option<bool>,
    /// File of known host keys; the first one of several is written to. `~/.ssh/known_hosts` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known_hosts: Option<PathBuf>,
    /// The only key that the host may show, as in a `.pub` file. With it `known_hosts` is not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_key: Option<String>,
    /// Private key to log in with. `~/.ssh/id_ed25519`, `id_ecdsa` and `id_rsa` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity_file: Option<PathBuf>,
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
    /// OpenSSH client configuration to read; `none` for none. `~/.ssh/config` by default, if it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssh_config: Option<PathBuf>,
}

/// The keys of [`SshConfig`].
const KEYS: &[&str] = &[
    "accept_new",
    "known_hosts",
    "host_key",
    "identity_file",
    "certificate_file",
    "identities_only",
    "identity_agent",
    "proxy_jump",
    "connect_timeout_s",
    "keepalive_s",
    "idle_s",
    "ssh_config",
];

impl SshConfig {
    /// These settings with a host's own on top.
    fn for_host(&self, host: &Host) -> Result<Self> {
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

/// Everything needed to reach one host; equal settings share a transport.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    pub(crate) address: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    /// The name under which `known_hosts` knows it.
    pub(crate) key_name: String,
    pub(crate) known_hosts: Vec<PathBuf>,
    pub(crate) host_key: Option<String>,
    pub(crate) accept_new: bool,
    /// Checking was turned off in `ssh_config`.
    pub(crate) unchecked: bool,
    pub(crate) identities: Vec<PathBuf>,
    pub(crate) certificates: Vec<PathBuf>,
    pub(crate) identities_only: bool,
    pub(crate) agent: Option<PathBuf>,
    pub(crate) password: Option<towpath_core::SecretRef>,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) connect_timeout_s: u64,
    pub(crate) keepalive_s: u64,
    pub(crate) idle_s: u64,
}

pub(crate) fn expand(path: &str) -> PathBuf {
    match path.strip_prefix("~/") {
        Some(rest) => home_dir().join(rest),
        None => PathBuf::from(path),
    }
}

fn expand_path(path: &std::path::Path) -> PathBuf {
    expand(&path.to_string_lossy())
}

impl Settings {
    /// Puts together what the host, the config and `~/.ssh/config` say, in this order.
    pub(crate) fn of(config: &SshConfig, host: &Host) -> Result<Self> {
        let own = config.for_host(host)?;
        let c = &host.connection;
        let asked = c.address.clone().unwrap_or_else(|| host.name.clone());
        let found = match &own.ssh_config {
            Some(path) if path.as_os_str() == "none" => ssh_config::Found::default(),
            Some(path) => ssh_config::read(&expand_path(path), &asked, c.user.as_deref(), true)?,
            None => ssh_config::read(&home_dir().join(".ssh/config"), &asked, c.user.as_deref(), false)?,
        };
        let user = c.user.clone().or(found.user).unwrap_or_else(ssh_config::local_user);
        let port = c.port.or(found.port).unwrap_or(22);
        let address = found.host_name.unwrap_or_else(|| asked.clone());
        let tokens = ssh_config::Tokens { address: &address, port, user: &user, asked: &asked };
        let files = |list: Vec<String>| list.iter().map(|f| expand(&tokens.fill(f))).collect::<Vec<_>>();
        let home = home_dir();
        let mut identities: Vec<PathBuf> = own.identity_file.iter().map(|p| expand_path(p)).collect();
        if identities.is_empty() {
            identities = files(found.identity_files);
        }
        if identities.is_empty() {
            identities = ["id_ed25519", "id_ecdsa", "id_rsa"].iter().map(|n| home.join(".ssh").join(n)).collect();
        }
        let mut certificates: Vec<PathBuf> = own.certificate_file.iter().map(|p| expand_path(p)).collect();
        certificates.extend(files(found.certificate_files));
        let known_hosts = match (&own.known_hosts, found.known_hosts) {
            (Some(path), _) => vec![expand_path(path)],
            (None, Some(list)) => files(list),
            (None, None) => vec![home.join(".ssh/known_hosts"), PathBuf::from("/etc/ssh/ssh_known_hosts")],
        };
        let agent = match own.identity_agent.or(found.identity_agent).as_deref() {
            Some("none") => None,
            None | Some("SSH_AUTH_SOCK") => std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from),
            Some(path) => Some(expand(&tokens.fill(path))),
        };
        let proxy = match own.proxy_jump.as_deref() {
            Some("none") => None,
            Some(jump) => Some(Proxy::Jump(jump.to_owned())),
            None => match found.proxy {
                Some(Proxy::Command(c)) => Some(Proxy::Command(tokens.fill(&c))),
                other => other.filter(|p| *p != Proxy::None),
            },
        };
        Ok(Self {
            key_name: found.host_key_alias.unwrap_or_else(|| {
                let name = address.to_lowercase();
                if port == 22 { name } else { format!("[{name}]:{port}") }
            }),
            address,
            port,
            user,
            known_hosts,
            host_key: own.host_key,
            accept_new: own.accept_new.or(found.accept_new).unwrap_or(false),
            unchecked: own.accept_new.is_none() && found.unchecked,
            identities,
            certificates,
            identities_only: own.identities_only.or(found.identities_only).unwrap_or(false),
            agent,
            password: c.password.clone(),
            proxy,
            connect_timeout_s: own.connect_timeout_s.or(found.connect_timeout_s).unwrap_or(10),
            keepalive_s: own.keepalive_s.unwrap_or(15),
            idle_s: own.idle_s.unwrap_or(60),
        })
    }
}
