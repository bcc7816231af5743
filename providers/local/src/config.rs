use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use towpath_core::{Json, Vars};

/// Settings of the `local` provisioner: hosts on this machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LocalConfig {
    /// How many hosts there are.
    #[schemars(range(min = 1, max = 200))]
    pub hosts: u32,

    /// Lets plain hosts run where the kernel can't keep them from writing this machine's files (no Landlock). Then nothing
    /// but the commands' own restraint does. `false` by default: such hosts are refused.
    #[serde(default)]
    pub unguarded: bool,

    /// What hosts are called: `web` makes `web-1`, `web-2`, ... `host` by default. Lower-case letters, digits and `-`.
    #[serde(default = "default_name")]
    pub name: String,

    /// How a host is kept apart from this machine. `auto` by default.
    #[serde(default)]
    pub mode: LocalMode,

    /// Names of variables that hold a free loopback port of each host, since all hosts share this machine's network:
    /// `["http_port"]`.
    #[serde(default)]
    pub ports: Vec<String>,

    /// Labels of every host.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,

    /// Variables of every host.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Json>")]
    pub vars: Vars,

    /// Groups that every host belongs to.
    #[serde(default)]
    pub groups: Vec<String>,

    /// Folder for keys, trees and process records of the environment; made with mode 0700.
    /// `.towpath/local/<environment>` in the working directory by default.
    #[serde(default)]
    pub state_dir: Option<PathBuf>,

    /// A balancer in front of the hosts, started and ended with them. Its address is the output `balancer`.
    #[serde(default)]
    pub balancer: Option<LocalBalancerConfig>,

    /// Longest time that a host may take to start, in seconds. `20` by default.
    #[serde(default = "default_start_timeout_s")]
    #[schemars(range(min = 1, max = 600))]
    pub start_timeout_s: u32,
}

fn default_name() -> String {
    "host".to_owned()
}

fn default_start_timeout_s() -> u32 {
    20
}

/// How a local host is kept apart from this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LocalMode {
    /// `namespace` where this kernel allows it, else `plain`.
    #[default]
    Auto,
    /// A private copy-on-write view of this machine (Linux user, mount and process namespaces, overlays). Needs no root.
    /// Fails where the kernel does not allow it.
    Namespace,
    /// A plain folder. The kernel (Landlock) refuses to write any file outside it, whatever a command names or computes.
    /// Fails where the kernel can't, unless `unguarded` is set.
    Plain,
}

impl LocalMode {
    /// The mode's name as it stands in a config.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Namespace => "namespace",
            Self::Plain => "plain",
        }
    }
}

impl LocalConfig {
    /// `n` hosts, everything else by default.
    pub fn hosts(n: u32) -> Self {
        Self {
            hosts: n,
            unguarded: false,
            name: default_name(),
            mode: LocalMode::Auto,
            ports: Vec::new(),
            labels: BTreeMap::new(),
            vars: Vars::new(),
            groups: Vec::new(),
            state_dir: None,
            balancer: None,
            start_timeout_s: default_start_timeout_s(),
        }
    }

    /// Calls the hosts `name-1`, `name-2`, ...
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Chooses how hosts are kept apart from this machine.
    #[must_use]
    pub fn mode(mut self, mode: LocalMode) -> Self {
        self.mode = mode;
        self
    }

    /// Gives each host a free loopback port in the variable `name`.
    #[must_use]
    pub fn port(mut self, name: impl Into<String>) -> Self {
        self.ports.push(name.into());
        self
    }

    /// Gives every host a label.
    #[must_use]
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// Gives every host a variable.
    #[must_use]
    pub fn var(mut self, name: impl Into<String>, value: impl Into<Json>) -> Self {
        self.vars.insert(name.into(), value.into());
        self
    }

    /// Puts every host into a group.
    #[must_use]
    pub fn group(mut self, name: impl Into<String>) -> Self {
        self.groups.push(name.into());
        self
    }

    /// Keeps keys, trees and process records there.
    #[must_use]
    pub fn state_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.state_dir = Some(dir.into());
        self
    }

    /// Starts and ends a balancer with the hosts.
    #[must_use]
    pub fn balancer(mut self, balancer: LocalBalancerConfig) -> Self {
        self.balancer = Some(balancer);
        self
    }

    /// The names of the hosts, in their order.
    pub fn host_names(&self) -> Vec<String> {
        (1..=self.hosts).map(|n| format!("{}-{n}", self.name)).collect()
    }
}

/// Settings of the `local` balancer: a detached process that listens on a loopback port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LocalBalancerConfig {
    /// Its name, unique in the environment. `front` by default. Lower-case letters, digits and `-`.
    #[serde(default = "default_balancer")]
    pub name: String,

    /// What it understands of the traffic. `http` by default.
    #[serde(default)]
    pub mode: BalancerMode,

    /// Which backend is next. `round_robin` by default.
    #[serde(default)]
    pub policy: BalancerPolicy,

    /// The port on 127.0.0.1 that it listens on. A free one, kept over restarts, by default.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub port: Option<u16>,

    /// Longest time of one attempt to connect to a backend, in milliseconds. `2000` by default.
    #[serde(default = "default_connect_timeout_ms")]
    #[schemars(range(min = 1, max = 60000))]
    pub connect_timeout_ms: u32,

    /// How long a request or connection is held while no backend takes it, in milliseconds, before it fails. `5000` by default.
    #[serde(default = "default_hold_ms")]
    #[schemars(range(max = 600000))]
    pub hold_ms: u32,

    /// State folder of the environment, as the provisioner's.
    #[serde(default)]
    pub state_dir: Option<PathBuf>,
}

fn default_balancer() -> String {
    "front".to_owned()
}
fn default_connect_timeout_ms() -> u32 {
    2_000
}
fn default_hold_ms() -> u32 {
    5_000
}

/// What a balancer understands of the traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BalancerMode {
    /// HTTP/1.1: every request is balanced by itself, so that a drained backend is idle when its last request is answered,
    /// whatever connections clients keep.
    #[default]
    Http,
    /// TCP: every connection is balanced. A connection that a client keeps open stays with its backend through a drain,
    /// until one of them closes it.
    Tcp,
}

/// Which backend is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BalancerPolicy {
    /// Each in its turn.
    #[default]
    RoundRobin,
    /// The one with the fewest requests (in TCP mode: connections) at the moment.
    LeastConnections,
}

impl Default for LocalBalancerConfig {
    fn default() -> Self {
        Self {
            name: default_balancer(),
            mode: BalancerMode::default(),
            policy: BalancerPolicy::default(),
            port: None,
            connect_timeout_ms: default_connect_timeout_ms(),
            hold_ms: default_hold_ms(),
            state_dir: None,
        }
    }
}
