use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use towpath_core::{Error, ErrorKind, Result, SecretRef};

use super::VAGRANT;

/// Settings of the provisioner `vagrant`: either a `dir` with a Vagrantfile of yours, or `machines` that one is made of.
///
/// Relative paths start at the folder of the pipeline file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VagrantConfig {
    /// A folder with a Vagrantfile, which is run unmodified. It is one environment, whatever the run's environment is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,

    /// Only these machines of `dir`. All by default, those with `autostart: false` too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,

    /// The machines by name, from which a Vagrantfile is made.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    #[schemars(with = "BTreeMap<String, MachineSpec>")]
    pub machines: IndexMap<String, MachineSpec>,

    /// Where the Vagrantfile of `machines` is kept: a folder in it for each environment. `.towpath/vagrant` by default.
    #[serde(default = "default_state_dir")]
    pub state_dir: PathBuf,

    /// The Vagrant provider (`--provider`): `docker`, `libvirt`, `virtualbox`. Vagrant's own choice by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,

    /// Boxes that are added from catalogues before the machines start. They stay when the machines are destroyed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub boxes: Vec<BoxSource>,

    /// Runs the Vagrantfile's own provisioners at `up`. `true` by default; `false` (`--no-provision`) leaves it to later steps.
    #[serde(default = "yes")]
    pub provision: bool,

    /// Vagrant's own folder of boxes and plugins (`VAGRANT_HOME`). `~/.vagrant.d` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<PathBuf>,

    /// The program. `vagrant`, searched in `PATH`, by default.
    #[serde(default = "default_program")]
    pub program: PathBuf,

    /// More environment variables for Vagrant and what it starts. No secrets: name those in `secret_env`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,

    /// Environment variables whose values are secret: resolved when Vagrant runs, masked in all output.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secret_env: BTreeMap<String, SecretRef>,

    /// How long Vagrant may take to stop after a cancel, in seconds. It is never killed: then a machine would be left that it
    /// does not know. `300` by default.
    #[serde(default = "default_interrupt")]
    #[schemars(range(min = 1, max = 86_400))]
    pub interrupt_s: u32,
}

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "VagrantMachine")]
pub struct MachineSpec {
    /// The box that it is made from (`config.vm.box`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#box: Option<String>,

    /// The version of the box, or a constraint: `~> 1.0`. Any by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub box_version: Option<String>,

    /// Its host name. The box's by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,

    /// Who logs in. `vagrant` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_user: Option<String>,

    /// Ports of the machine that are reached on this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<ForwardedPort>,

    /// Folders of this machine that it sees. None by default, Vagrant's own `/vagrant` neither.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub folders: Vec<SharedFolder>,

    /// Memory in MiB, for `libvirt` and `virtualbox`. The box's by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 64))]
    pub memory_mib: Option<u32>,

    /// Processors, for `libvirt` and `virtualbox`. The box's by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub cpus: Option<u32>,

    /// How it is with the provider `docker`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docker: Option<DockerSpec>,
}

/// A port of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "VagrantForwardedPort")]
pub struct ForwardedPort {
    /// The port in the machine.
    pub guest: u16,
    /// The port on 127.0.0.1 of this machine. Another one is taken if it is in use.
    pub host: u16,
}

/// A folder that a machine sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "VagrantSharedFolder")]
pub struct SharedFolder {
    /// The folder on this machine.
    pub host: PathBuf,
    /// The absolute path in the machine.
    pub guest: String,
}

/// A machine that is a container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "VagrantDocker")]
pub struct DockerSpec {
    /// The image. The one that the box names by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,

    /// The command and its arguments. The image's by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,

    /// Environment variables of the container. No secrets: they stand in the Vagrantfile.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,

    /// It runs an SSH server that accepts Vagrant's key, so it is a host that can be reached. `false` by default: then it is a
    /// resource only.
    #[serde(default)]
    pub has_ssh: bool,
}

/// A box, and the catalogue that offers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "VagrantBoxSource")]
pub struct BoxSource {
    /// The box's name, as its catalogue says it.
    pub name: String,
    /// The catalogue: a path, or a URL. Vagrant checks the box against the checksum in it.
    pub catalogue: String,
    /// The version. By default the newest, if none of this name is there yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

fn default_state_dir() -> PathBuf {
    PathBuf::from(".towpath").join("vagrant")
}
fn yes() -> bool {
    true
}
fn default_program() -> PathBuf {
    PathBuf::from("vagrant")
}
fn default_interrupt() -> u32 {
    300
}

impl VagrantConfig {
    fn empty() -> Self {
        Self {
            dir: None,
            only: Vec::new(),
            machines: IndexMap::new(),
            state_dir: default_state_dir(),
            provider: None,
            boxes: Vec::new(),
            provision: true,
            home: None,
            program: default_program(),
            env: BTreeMap::new(),
            secret_env: BTreeMap::new(),
            interrupt_s: default_interrupt(),
        }
    }

    /// Runs the Vagrantfile of this folder.
    pub fn dir(dir: impl Into<PathBuf>) -> Self {
        Self { dir: Some(dir.into()), ..Self::empty() }
    }

    /// Makes machines of this spec; more of them with [`machine`](Self::machine).
    pub fn machines(name: impl Into<String>, spec: MachineSpec) -> Self {
        Self::empty().machine(name, spec)
    }

    /// Adds a machine.
    #[must_use]
    pub fn machine(mut self, name: impl Into<String>, spec: MachineSpec) -> Self {
        self.machines.insert(name.into(), spec);
        self
    }

    /// Uses this provider of Vagrant's.
    #[must_use]
    pub fn provider(mut self, provider: impl Into<String>) -> Self {
        self.provider = Some(provider.into());
        self
    }

    /// Adds a box from a catalogue first.
    #[must_use]
    pub fn add_box(mut self, source: BoxSource) -> Self {
        self.boxes.push(source);
        self
    }

    /// Resolves relative paths against the pipeline file's folder.
    pub(crate) fn based(mut self, base: &Path) -> Self {
        for path in self.dir.iter_mut().chain(&mut self.home).chain([&mut self.state_dir]) {
            *path = base.join(&*path);
        }
        for folder in self.machines.values_mut().flat_map(|m| &mut m.folders) {
            folder.host = base.join(&folder.host);
        }
        for source in &mut self.boxes {
            if !source.catalogue.contains("://") {
                source.catalogue = base.join(&source.catalogue).display().to_string();
            }
        }
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        let invalid = |message: String| Err(Error::new(ErrorKind::InvalidInput, VAGRANT, "config", message));
        if self.dir.is_some() != self.machines.is_empty() {
            return invalid("give either `dir`, a folder with a Vagrantfile, or `machines`".into());
        }
        if !self.only.is_empty() && self.dir.is_none() {
            return invalid(
                "`only` chooses machines of `dir`: of `machines`, leave out those that are not wanted".into(),
            );
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if let Some(name) =
            self.machines.keys().find(|n| n.is_empty() || n.starts_with(['-', '.']) || !n.chars().all(plain))
        {
            return invalid(format!("a machine's name is letters, digits and `._-`, not {name:?}"));
        }
        for (name, machine) in &self.machines {
            let docker = machine.docker.as_ref().is_some_and(|d| d.image.is_some());
            if machine.r#box.is_none() && !docker {
                return invalid(format!("the machine `{name}` needs a `box`, or a `docker` with an `image`"));
            }
            if let Some(folder) = machine.folders.iter().find(|f| !f.guest.starts_with('/')) {
                return invalid(format!(
                    "the folder {:?} of the machine `{name}` must be an absolute path",
                    folder.guest
                ));
            }
        }
        if !self.boxes.is_empty() && self.provider.is_none() {
            return invalid("`boxes` need a `provider`: a catalogue has a box for each of them".into());
        }
        if let Some(name) =
            self.env.keys().chain(self.secret_env.keys()).find(|n| n.is_empty() || n.contains(['=', '\0']))
        {
            return invalid(format!("`{name}` is no name of an environment variable"));
        }
        if let Some(twice) = self.secret_env.keys().find(|name| self.env.contains_key(*name)) {
            return invalid(format!("the variable `{twice}` is both in `env` and in `secret_env`"));
        }
        if self.interrupt_s == 0 {
            return invalid("`interrupt_s` must be at least 1".into());
        }
        Ok(())
    }
}
