use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use towpath_core::pipeline::ProviderSpec;
use towpath_core::{Json, Provisioner, SecretRef, Vars};

use crate::PROVIDER;
use crate::image::{DockerfileConfig, Pull};

/// Settings of the provisioner `docker`: the containers, networks and volumes of a development environment.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DockerEnvironmentConfig {
    /// Where the engine listens: `unix:///path` or `tcp://host:port` (without TLS). `DOCKER_HOST` by default, else
    /// `unix:///var/run/docker.sock`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,

    /// Whose things these are. Two projects share nothing, also where their environments and containers have the same names; nor do
    /// two steps of a pipeline. By default the `name` of the Compose file, else the folder of the Compose file or the pipeline: another
    /// checkout is another project. Set it where several machines or checkouts share one environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,

    /// A Compose file whose services, networks and volumes are part of the environment. Of Compose the common subset is understood;
    /// anything else is refused by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compose: Option<PathBuf>,

    /// Containers by name, beside those of the Compose file.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    #[schemars(with = "BTreeMap<String, ContainerSpec>")]
    pub containers: IndexMap<String, ContainerSpec>,

    /// Networks by name. Containers that name none share one called `default`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub networks: BTreeMap<String, NetworkSpec>,

    /// Volumes by name. They keep their data when a container is replaced, as do volumes without a name; `destroy` removes them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, VolumeSpec>,

    /// Whether an image that the engine does not have is pulled. `missing` by default.
    pub pull: Pull,

    /// Longest wait for one container to become healthy, in seconds. `60` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86400))]
    pub health_timeout_s: Option<u32>,
}

/// A container of an environment.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContainerSpec {
    /// The image that it is made from; with `build`, one more name of what is built.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image: String,

    /// Builds its image from a Dockerfile, when that or a file of its context has changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<DockerfileConfig>,

    /// Command, or arguments of the entrypoint. The image's by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,

    /// The program that runs. The image's by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,

    /// Environment variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,

    /// Environment variables whose values are secrets. They are resolved when the container is made; the engine keeps and shows
    /// them, as it does all variables. A new value of a secret alone does not replace the container.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secret_env: BTreeMap<String, SecretRef>,

    /// Published ports: `8080:80`, `80` (any free port), `127.0.0.1:5353:53/udp`. On 127.0.0.1 unless an address is given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<String>,

    /// Volumes, folders of the engine's machine and memory that it sees.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<MountSpec>,

    /// Networks that it is in, under its own name. `default` if none is given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,

    /// How the engine checks that it works. The image's check by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,

    /// Containers that come first, and what is waited for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub depends_on: BTreeMap<String, DependsOn>,

    /// The user that it runs as. The image's by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,

    /// The directory that it starts in. The image's by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,

    /// Its host name. Its own name by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,

    /// What the engine does when it ends. `no` by default.
    #[serde(default)]
    pub restart: Restart,

    /// It runs to its end once, which must be exit code 0: a migration. `false` by default: it stays running.
    #[serde(default)]
    pub once: bool,

    /// Runs a small init that forwards signals and collects children. `false` by default.
    #[serde(default)]
    pub init: bool,

    /// Capabilities of the kernel that it gets: `NET_ADMIN`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cap_add: Vec<String>,

    /// Security options of the engine: `seccomp=unconfined`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub security_opt: Vec<String>,

    /// Gives it all rights of the machine. `false` by default.
    #[serde(default)]
    pub privileged: bool,

    /// More names that it knows: `db:10.0.0.1`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra_hosts: Vec<String>,

    /// Labels of the container, and of its host in the inventory.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,

    /// The signal that asks it to end. The image's by default, else `TERM`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,

    /// Seconds that it has to end before it is killed. `10` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_grace_s: Option<u32>,

    /// Leaves it out of the inventory. `false` by default: it is a host that playbooks can configure.
    #[serde(default)]
    pub not_a_host: bool,

    /// Groups of the inventory that it is in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,

    /// Its variables in the inventory.
    #[serde(default, skip_serializing_if = "Vars::is_empty")]
    #[schemars(with = "BTreeMap<String, Json>")]
    pub vars: Vars,
}

/// Something that a container sees in its file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MountSpec {
    /// What it is.
    pub r#type: MountKind,

    /// The volume's name, or the folder. Relative folders start at the pipeline's or Compose file's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,

    /// Where the container sees it.
    pub target: String,

    /// It can't be written. `false` by default.
    #[serde(default)]
    pub read_only: bool,

    /// Options of a `tmpfs`, as mount(8) takes them: `exec,size=64m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<String>,
}

/// The kind of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MountKind {
    /// A volume of this environment.
    Volume,
    /// A folder or file of the engine's machine.
    Bind,
    /// Memory.
    Tmpfs,
}

/// How the engine checks that a container works.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Healthcheck {
    /// `["CMD", program, argument...]`, `["CMD-SHELL", command]`, or `["NONE"]` for none.
    pub test: Vec<String>,
    /// Milliseconds between two checks, and before the first one. `1000` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<u64>,
    /// Milliseconds that a check may take. The engine's default, 30 seconds, if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Failures in a row that make it unhealthy. The engine's default, 3, if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// Milliseconds from its start in which failures don't count. `0` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_period_ms: Option<u64>,
}

/// What is waited for of a container that comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DependsOn {
    /// It runs.
    #[default]
    Started,
    /// Its check says that it works.
    Healthy,
    /// It has ended with exit code 0; it is a container with `once`.
    Completed,
}

/// What the engine does when a container ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// Nothing.
    #[default]
    No,
    /// Starts it again.
    Always,
    /// Starts it again, unless somebody stopped it.
    UnlessStopped,
    /// Starts it again after a failure.
    OnFailure,
}

/// A network of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkSpec {
    /// The engine's driver. `bridge` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// It has no way out. `false` by default.
    pub internal: bool,
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// A volume of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VolumeSpec {
    /// The engine's driver. `local` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Options of the driver.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub driver_opts: BTreeMap<String, String>,
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl From<DockerEnvironmentConfig> for ProviderSpec<dyn Provisioner> {
    fn from(config: DockerEnvironmentConfig) -> Self {
        // Strings, numbers and paths only; a path that is no text can't be part of a pipeline.
        ProviderSpec::new(PROVIDER, serde_json::to_value(&config).unwrap_or(Json::Null))
    }
}

impl DockerEnvironmentConfig {
    /// An environment of what a Compose file says.
    pub fn compose(file: impl Into<PathBuf>) -> Self {
        Self { compose: Some(file.into()), ..Self::default() }
    }

    /// Adds a container.
    #[must_use]
    pub fn container(mut self, name: impl Into<String>, container: ContainerSpec) -> Self {
        self.containers.insert(name.into(), container);
        self
    }

    /// Adds a volume of the engine's own.
    #[must_use]
    pub fn volume(mut self, name: impl Into<String>) -> Self {
        self.volumes.insert(name.into(), VolumeSpec::default());
        self
    }

    /// Relative paths start there.
    pub(crate) fn based(mut self, dir: &Path) -> Self {
        self.compose = self.compose.map(|file| dir.join(file));
        for build in self.containers.values_mut().filter_map(|c| c.build.as_mut()) {
            build.context = dir.join(&build.context);
        }
        let binds = self.containers.values_mut().flat_map(|c| &mut c.mounts).filter(|m| m.r#type == MountKind::Bind);
        for source in binds.filter_map(|m| m.source.as_mut()) {
            *source = dir.join(&*source).display().to_string();
        }
        self
    }
}

impl fmt::Debug for ContainerSpec {
    /// Without the values of its variables, which may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = self.env.keys().map(|name| (name.clone(), "***".to_owned())).collect();
        // What it may hold is text, numbers and maps by text.
        let shown = serde_json::to_value(Self { env: hidden, ..self.clone() }).unwrap_or_default();
        f.debug_tuple("ContainerSpec").field(&shown.to_string()).finish()
    }
}

impl ContainerSpec {
    /// A container of this image, everything else by default.
    pub fn new(image: impl Into<String>) -> Self {
        Self { image: image.into(), ..Self::default() }
    }

    /// A container of an image that is built from a Dockerfile.
    pub fn built(dockerfile: DockerfileConfig) -> Self {
        Self { build: Some(dockerfile), ..Self::default() }
    }

    /// Sets its command.
    #[must_use]
    pub fn command<S: Into<String>>(mut self, command: impl IntoIterator<Item = S>) -> Self {
        self.command = Some(command.into_iter().map(Into::into).collect());
        self
    }

    /// Publishes a port: `8080:80`.
    #[must_use]
    pub fn port(mut self, port: impl Into<String>) -> Self {
        self.ports.push(port.into());
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Mounts a volume of the environment.
    #[must_use]
    pub fn volume(mut self, volume: impl Into<String>, target: impl Into<String>) -> Self {
        let source = Some(volume.into());
        let mount =
            MountSpec { r#type: MountKind::Volume, source, target: target.into(), read_only: false, options: None };
        self.mounts.push(mount);
        self
    }

    /// Checks with a shell command whether it works, every second.
    #[must_use]
    pub fn healthy_if(mut self, command: impl Into<String>) -> Self {
        let test = vec!["CMD-SHELL".to_owned(), command.into()];
        self.healthcheck = Some(Healthcheck { test, ..Healthcheck::default() });
        self
    }

    /// Comes after another container.
    #[must_use]
    pub fn after(mut self, other: impl Into<String>, condition: DependsOn) -> Self {
        self.depends_on.insert(other.into(), condition);
        self
    }
}
