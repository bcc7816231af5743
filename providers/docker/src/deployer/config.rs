use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use towpath_core::pipeline::ProviderSpec;
use towpath_core::{Deployer, Json, SecretRef};

use crate::PROVIDER;
use crate::environment::{Healthcheck, MountSpec, Restart};
use crate::image::Pull;

/// Settings of the deployer `docker`: one service, as a container on each host, by the digest of its image.
///
/// In `name`, `host`, `socket`, `container.ports` and everything of `switch`, `{{ name }}` is replaced by the host's variable of this
/// name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DockerDeployConfig {
    /// The service whose releases these are: `web`. Releases of another one are refused.
    pub service: String,

    /// The engine, where this machine reaches it without the target's connection: `unix:///path` or `tcp://host:port` (without TLS). By
    /// default it is reached on each target at `socket`, through the target's own connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,

    /// Path of the engine's socket on the target. `/var/run/docker.sock` by default; the user who logs in must be allowed to open it.
    #[serde(default = "default_socket")]
    pub socket: String,

    /// Name of the container that serves. `towpath-<environment>-<service>-<host>` by default. Those of former versions have it too,
    /// with version and a digest appended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,

    /// How the container is made.
    #[serde(default)]
    pub container: ServiceContainer,

    /// How one version takes the place of another. `recreate` by default.
    #[serde(default)]
    pub switch: Switch,

    /// When a started container counts as working.
    #[serde(default)]
    pub ready: Ready,

    /// Whether an image that the target's engine does not have is pulled. `missing` by default.
    #[serde(default)]
    pub pull: Pull,

    /// The account at the registry that images are pulled from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<RegistryLogin>,

    /// Copies images from an engine that this machine reaches (`docker save`, `docker load`) instead of pulling them, so that no registry
    /// is needed. `false` by default.
    #[serde(default)]
    pub transfer: bool,

    /// The engine that images are copied from: `unix:///path` or `tcp://host:port`. `DOCKER_HOST` by default, else
    /// `unix:///var/run/docker.sock`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer_from: Option<String>,

    /// Stopped containers of former versions that are kept, so that going back only starts one. Older ones are removed after an
    /// activate, with their images if nothing else names those. `1` by default.
    #[serde(default = "default_keep")]
    pub keep: u32,
}

/// How a service's container is made.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ServiceContainer {
    /// Command, or arguments of the entrypoint. The image's by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,

    /// The program that runs. The image's by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,

    /// Environment variables. Those of the release come on top.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,

    /// Environment variables whose values are secrets. They are resolved when the container is made; the engine keeps and shows them, as
    /// it does all variables. A new value of a secret alone does not replace the container.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub secret_env: BTreeMap<String, SecretRef>,

    /// Published ports: `8080:80`, `0.0.0.0:8080:80`, `127.0.0.1:5353:53/udp`. On 127.0.0.1 unless an address is given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<String>,

    /// Volumes (by their names in the engine; made if they are not there, never removed), folders of the engine's machine and memory
    /// that it sees.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<MountSpec>,

    /// Networks that it is in, by their names in the engine. They must be there. It is found in them under the service's name; with
    /// `switch: beside` under the service's name and its slot: `web-a`, `web-b`. The engine's default network if none is given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,

    /// How the engine checks that it works. The image's check by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,

    /// The user that it runs as. The image's by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,

    /// The directory that it starts in. The image's by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,

    /// What the engine does when it ends: `no` or `unless-stopped`, the default. The others are refused: with them the engine would
    /// start former versions again when it is itself restarted.
    pub restart: Restart,

    /// Most bytes of memory that it may use. No limit by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 6291456))]
    pub memory_bytes: Option<u64>,

    /// How many processors it may use: `0.5`. No limit by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.01))]
    pub cpus: Option<f64>,

    /// Most processes that it may have. No limit by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub pids_limit: Option<u32>,

    /// It can't write its own file system. `false` by default.
    pub read_only: bool,

    /// Runs a small init that forwards signals and collects children. `false` by default.
    pub init: bool,

    /// Capabilities of the kernel that it gets: `NET_ADMIN`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cap_add: Vec<String>,

    /// Capabilities of the kernel that are taken from it: `ALL`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cap_drop: Vec<String>,

    /// Security options of the engine: `no-new-privileges`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub security_opt: Vec<String>,

    /// More names that it knows: `db:10.0.0.1`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra_hosts: Vec<String>,

    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,

    /// The signal that asks it to end. The image's by default, else `TERM`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,

    /// Seconds that it has to end before it is killed. `10` by default.
    pub stop_timeout_s: u32,
}

/// How one version takes the place of another.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Switch {
    /// The old container is stopped, the new one started, on the same ports. Nothing answers in between: for targets that a rollout has
    /// drained, behind its balancer.
    #[default]
    Recreate,
    /// The new container is started beside the old one on another port, and the old one stopped when whatever spreads the requests on the
    /// host has been told: for a host with a reverse proxy of its own and no balancer before it.
    Beside(Beside),
}

/// Two containers beside each other while one takes the place of the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Beside {
    /// The port that the service listens on in its container.
    pub port: u16,

    /// The two ports of the host on which it is published in turns: those of the slots `a` and `b`.
    pub host_ports: [u16; 2],

    /// Address of the host on which it is published. `127.0.0.1` by default.
    #[serde(default = "default_address")]
    pub address: String,

    /// Tells the proxy. Also when nothing has changed, so it must do no harm then.
    pub on_switch: OnSwitch,

    /// Seconds between telling the proxy and asking the old container to end, for requests that are under way. `5` by default.
    #[serde(default = "default_linger_s")]
    pub linger_s: u32,
}

/// How a proxy on the target learns where the service is. In all texts `{{ towpath_port }}` is the port of the host, `{{ towpath_slot }}`
/// `a` or `b`, `{{ towpath_container }}` the container's id, `{{ towpath_version }}` the version.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OnSwitch {
    /// A file on the target that is written first, whole or not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<SwitchFile>,

    /// Program and arguments that run on the target then, as the user of the host's `become` if it has one. Must return when the proxy
    /// sends no new request to the old port: `[systemctl, reload, nginx]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
}

/// A file that says where the service is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SwitchFile {
    /// Its absolute path on the target; the folder must be there.
    pub path: String,

    /// What is in it: `server 127.0.0.1:{{ towpath_port }};`.
    pub content: String,
}

/// When a started container counts as working. If it has a health check, that must pass, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ready {
    /// A port of the container on which something must listen. Asked from the target's host, where it is published, else at the
    /// container's own address. With `switch: beside` its port by default, else none: then it must run on for a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,

    /// A path that must answer on this port with an HTTP status from 200 to 399: `/healthz`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,

    /// Longest wait, in seconds. `60` by default.
    #[schemars(range(min = 1, max = 86400))]
    pub timeout_s: u32,
}

/// An account at a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegistryLogin {
    /// The user.
    pub username: String,

    /// The password or access token. Resolved when an image is pulled, and handed to the target's engine with that request only.
    pub password: SecretRef,
}

fn default_socket() -> String {
    "/var/run/docker.sock".into()
}

fn default_keep() -> u32 {
    1
}

fn default_address() -> String {
    "127.0.0.1".into()
}

fn default_linger_s() -> u32 {
    5
}

impl Default for Ready {
    fn default() -> Self {
        Self { port: None, path: None, timeout_s: 60 }
    }
}

impl Default for ServiceContainer {
    fn default() -> Self {
        Self {
            command: None,
            entrypoint: None,
            env: BTreeMap::new(),
            secret_env: BTreeMap::new(),
            ports: Vec::new(),
            mounts: Vec::new(),
            networks: Vec::new(),
            healthcheck: None,
            user: None,
            workdir: None,
            restart: Restart::UnlessStopped,
            memory_bytes: None,
            cpus: None,
            pids_limit: None,
            read_only: false,
            init: false,
            cap_add: Vec::new(),
            cap_drop: Vec::new(),
            security_opt: Vec::new(),
            extra_hosts: Vec::new(),
            labels: BTreeMap::new(),
            stop_signal: None,
            stop_timeout_s: 10,
        }
    }
}

impl fmt::Debug for ServiceContainer {
    /// Without the values of its variables, which may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = self.env.keys().map(|name| (name.clone(), "***".to_owned())).collect();
        // What it may hold is text, numbers and maps by text.
        let shown = serde_json::to_value(Self { env: hidden, ..self.clone() }).unwrap_or_default();
        f.debug_tuple("ServiceContainer").field(&shown.to_string()).finish()
    }
}

impl DockerDeployConfig {
    /// Starts with the service's name, everything else by default.
    pub fn new(service: impl Into<String>) -> Self {
        Self {
            service: service.into(),
            host: None,
            socket: default_socket(),
            name: None,
            container: ServiceContainer::default(),
            switch: Switch::Recreate,
            ready: Ready::default(),
            pull: Pull::default(),
            registry: None,
            transfer: false,
            transfer_from: None,
            keep: default_keep(),
        }
    }

    /// Publishes a port: `8080:80`.
    #[must_use]
    pub fn port(mut self, port: impl Into<String>) -> Self {
        self.container.ports.push(port.into());
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.container.env.insert(name.into(), value.into());
        self
    }

    /// Counts as working when this path answers on this port of the container.
    #[must_use]
    pub fn ready_at(mut self, port: u16, path: impl Into<String>) -> Self {
        self.ready = Ready { port: Some(port), path: Some(path.into()), ..self.ready };
        self
    }

    /// Starts versions beside each other.
    #[must_use]
    pub fn beside(mut self, beside: Beside) -> Self {
        self.switch = Switch::Beside(beside);
        self
    }

    /// Copies images from this machine's engine instead of pulling them.
    #[must_use]
    pub fn transfer(mut self) -> Self {
        self.transfer = true;
        self
    }
}

impl From<DockerDeployConfig> for ProviderSpec<dyn Deployer> {
    fn from(config: DockerDeployConfig) -> Self {
        // Strings, numbers and maps by text only, which JSON always has a form for.
        ProviderSpec::new(PROVIDER, serde_json::to_value(&config).unwrap_or(Json::Null))
    }
}
