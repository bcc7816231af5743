use std::path::Path;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use towpath_core::pipeline::ProviderSpec;
use towpath_core::{Balancer, BecomeChoice, Error, ErrorKind, Host, Json, Result};

use crate::provider::NGINX;

/// Settings of the balancer `nginx`: one upstream, whose servers stand in a file of their own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NginxConfig {
    /// The file that the upstream includes: `upstream web { include /etc/nginx/towpath/web.conf; }`. towpath keeps it: nothing else
    /// may be in it.
    pub file: String,

    /// The host that nginx runs on; this machine if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<Box<Host>>,

    /// Whom the commands there become: `true` for root through sudo. What the host's connection says if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#become: Option<BecomeChoice>,

    /// nginx's main configuration, as `-c` takes it; the one that nginx was built for if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conf: Option<String>,

    /// The file that has the number of nginx's master process, as `pid` in its configuration says.
    #[serde(default = "default_pid_file")]
    pub pid_file: String,

    /// The command that checks the configuration, and its arguments. `nginx -t` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<Vec<String>>,

    /// The command that reloads nginx, and its arguments. `nginx -s reload` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reload: Option<Vec<String>>,

    /// Options of a server that is added.
    #[serde(default, skip_serializing_if = "ServerOptions::is_plain")]
    pub server: ServerOptions,

    /// Longest time until new workers serve after a reload, in seconds. 30 by default.
    #[serde(default = "default_reload_limit_s")]
    #[schemars(range(min = 1))]
    pub reload_limit_s: u32,

    /// Longest wait for another process that changes the file, in seconds. 60 by default.
    #[serde(default = "default_lock_limit_s")]
    #[schemars(range(min = 1))]
    pub lock_limit_s: u32,
}

/// Options of a server. What is not given is as nginx has it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerOptions {
    /// Its share of the requests. 1 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub weight: Option<u32>,

    /// Most connections that each worker opens to it (all together, where the upstream has a `zone`). No limit if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_conns: Option<u32>,

    /// Failed attempts within `fail_timeout_s` after which it is left alone for that time; `0`: never. 1 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_fails: Option<u32>,

    /// In seconds. 10 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail_timeout_s: Option<u32>,
}

fn default_pid_file() -> String {
    "/run/nginx.pid".to_owned()
}

fn default_reload_limit_s() -> u32 {
    30
}

fn default_lock_limit_s() -> u32 {
    60
}

impl ServerOptions {
    fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// As nginx reads them.
    pub(crate) fn options(&self) -> Vec<String> {
        let number = |key: &str, value: Option<u32>| value.map(|v| format!("{key}={v}"));
        let timeout = self.fail_timeout_s.map(|s| format!("fail_timeout={s}s"));
        [
            number("weight", self.weight),
            number("max_conns", self.max_conns),
            number("max_fails", self.max_fails),
            timeout,
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

impl NginxConfig {
    /// The upstream of the nginx on this machine that includes this file.
    pub fn new(file: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            on: None,
            r#become: None,
            conf: None,
            pid_file: default_pid_file(),
            test: None,
            reload: None,
            server: ServerOptions::default(),
            reload_limit_s: default_reload_limit_s(),
            lock_limit_s: default_lock_limit_s(),
        }
    }

    pub(crate) fn based(mut self, dir: &Path) -> Self {
        if self.on.is_none() {
            let based = |path: &str| dir.join(path).to_string_lossy().into_owned();
            self.file = based(&self.file);
            self.pid_file = based(&self.pid_file);
            self.conf = self.conf.map(|conf| based(&conf));
        }
        self
    }

    /// What nginx is called with, and `arguments`.
    fn nginx(&self, arguments: &[&str]) -> Vec<String> {
        let conf = self.conf.iter().flat_map(|conf| ["-c", conf.as_str()]);
        ["nginx"].into_iter().chain(conf).chain(arguments.iter().copied()).map(str::to_owned).collect()
    }

    pub(crate) fn test_command(&self) -> Vec<String> {
        self.test.clone().unwrap_or_else(|| self.nginx(&["-t"]))
    }

    pub(crate) fn reload_command(&self) -> Vec<String> {
        self.reload.clone().unwrap_or_else(|| self.nginx(&["-s", "reload"]))
    }

    /// Longest time of one script: a wait for the lock, a test, a reload.
    pub(crate) fn limit(&self) -> Duration {
        Duration::from_secs(60 + u64::from(self.reload_limit_s) + u64::from(self.lock_limit_s))
    }

    /// Refuses what can't be a file or a command.
    pub(crate) fn validate(&self) -> Result<()> {
        let paths = [("file", Some(&self.file)), ("pid_file", Some(&self.pid_file)), ("conf", self.conf.as_ref())];
        for (key, path) in paths.into_iter().filter_map(|(key, path)| Some((key, path?))) {
            // A relative one would start somewhere else for each of the programs that read it.
            if !path.starts_with('/') || path.ends_with('/') || path.contains(['\0', '\n']) {
                return Err(bad(key, "it must be the path of a file, and begin with `/`"));
            }
        }
        for (key, command) in [("test", &self.test), ("reload", &self.reload)] {
            let Some(command) = command else { continue };
            if command.first().is_none_or(String::is_empty) || command.iter().any(|w| w.contains('\0')) {
                return Err(bad(key, "it must be a command and its arguments"));
            }
        }
        if self.reload_limit_s == 0 || self.lock_limit_s == 0 {
            return Err(bad("reload_limit_s` and `lock_limit_s", "they must be 1 or more"));
        }
        if self.server.weight == Some(0) || self.server.max_conns == Some(0) {
            return Err(bad("server", "`weight` and `max_conns` must be 1 or more"));
        }
        if self.on.is_none() && matches!(&self.r#become, Some(choice) if *choice != BecomeChoice::Switch(false)) {
            return Err(bad(
                "become",
                "on this machine commands run as this user; name the host in `on` to become another one",
            ));
        }
        Ok(())
    }
}

fn bad(key: &str, message: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, NGINX, "config", format!("`{key}`: {message}"))
}

impl From<NginxConfig> for ProviderSpec<dyn Balancer> {
    fn from(config: NginxConfig) -> Self {
        // Plain fields only: it can always be written.
        Self::new(NGINX, serde_json::to_value(config).unwrap_or(Json::Null))
    }
}
