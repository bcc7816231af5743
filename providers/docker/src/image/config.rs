use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use towpath_core::pipeline::ProviderSpec;
use towpath_core::{Error, ErrorKind, ImageBuilder, Json, Result};

use crate::PROVIDER;
use crate::engine::{address, check_address, is_name};
use crate::reference;

/// Settings of the image builder `docker`.
///
/// What is not given here stays as the base image has it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DockerImageConfig {
    /// Where the engine listens: `unix:///path` or `tcp://host:port` (without TLS). `DOCKER_HOST` by default, else
    /// `unix:///var/run/docker.sock`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,

    /// Names that the image gets: `registry.example/web:1.4`. `towpath/<name>:<first 12 digits of its content key>` by default.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,

    /// Whether a base that the engine does not have is pulled. `missing` by default.
    pub pull: Pull,

    /// Network of the containers in which it is configured: `bridge`, `host`, `none` or the name of one. The engine's
    /// default if not given. What comes out does not depend on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,

    /// Groups of the inventory that the container is in while it is configured, so that plays for `hosts: web` see it. The
    /// host itself has the name of the image's definition.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,

    /// The program that a container of the image runs, and its arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,

    /// The command, or arguments of the entrypoint. As in a Dockerfile, a new entrypoint drops the base's command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,

    /// Environment variables on top of those of the base. They stand readable in the image: no place for a secret.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,

    /// Ports that it listens on: `8080`, `53/udp`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub expose: Vec<String>,

    /// The user that its containers run as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,

    /// The directory that its containers start in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,

    /// Builds from a Dockerfile, instead of configurators.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dockerfile: Option<DockerfileConfig>,
}

/// Whether an image that the engine does not have is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pull {
    /// It is pulled, without credentials.
    #[default]
    Missing,
    /// It is an error.
    Never,
}

/// A Dockerfile and what it is built with, by the engine's own (classic) builder.
///
/// The base of the image's definition is the build argument `BASE`, for a Dockerfile that says `ARG BASE` and `FROM ${BASE}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DockerfileConfig {
    /// Folder whose files the Dockerfile may copy, without what its `.dockerignore` names.
    #[serde(default = "here")]
    pub context: PathBuf,

    /// The Dockerfile, relative to the context.
    #[serde(default = "dockerfile")]
    pub path: PathBuf,

    /// Build arguments. They stand readable in the image's history: no place for a secret.
    #[serde(default)]
    pub args: BTreeMap<String, String>,

    /// The stage that is wanted; the last one if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

fn here() -> PathBuf {
    ".".into()
}

fn dockerfile() -> PathBuf {
    "Dockerfile".into()
}

impl Default for DockerfileConfig {
    fn default() -> Self {
        Self { context: here(), path: dockerfile(), args: BTreeMap::new(), target: None }
    }
}

impl From<DockerImageConfig> for ProviderSpec<dyn ImageBuilder> {
    fn from(config: DockerImageConfig) -> Self {
        // Strings and paths only; a path that is no text can't be part of a pipeline.
        ProviderSpec::new(PROVIDER, serde_json::to_value(&config).unwrap_or(Json::Null))
    }
}

impl DockerImageConfig {
    /// Gives the image this name.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Sets the command.
    #[must_use]
    pub fn cmd<S: Into<String>>(mut self, cmd: impl IntoIterator<Item = S>) -> Self {
        self.cmd = Some(cmd.into_iter().map(Into::into).collect());
        self
    }

    /// Builds from a Dockerfile.
    #[must_use]
    pub fn dockerfile(mut self, dockerfile: DockerfileConfig) -> Self {
        self.dockerfile = Some(dockerfile);
        self
    }

    /// Relative paths start there.
    pub(crate) fn based(mut self, dir: &Path) -> Self {
        if let Some(d) = &mut self.dockerfile {
            d.context = dir.join(&d.context);
        }
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        let invalid = |message: String| Err(Error::new(ErrorKind::InvalidInput, PROVIDER, "config", message));
        check_address("config", &address(self.host.as_deref()))?;
        for tag in &self.tags {
            let why = match reference::parse(tag) {
                Ok(found) if found.digest.is_some() => "a digest can't be given".to_owned(),
                Ok(_) => continue,
                Err(why) => why,
            };
            return invalid(format!(
                "`tags` has {tag:?}, which is no name of an image (`registry/name:version`): {why}"
            ));
        }
        if let Some(network) = self.network.as_ref().filter(|n| !is_name(n)) {
            return invalid(format!("`network` is no name of a network: {network:?}"));
        }
        if let Some(name) = self.env.keys().find(|n| n.is_empty() || n.contains(['=', '\0'])) {
            return invalid(format!("`env` has {name:?}, which is no name of a variable"));
        }
        for port in &self.expose {
            let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
            let good = number.parse::<u16>().is_ok_and(|n| n > 0) && ["tcp", "udp", "sctp"].contains(&protocol);
            if !good {
                return invalid(format!("`expose` has {port:?}, which is no port: `8080` or `53/udp`"));
            }
        }
        if self.workdir.as_ref().is_some_and(|d| !d.starts_with('/')) {
            return invalid("`workdir` must be an absolute path".into());
        }
        if let Some(d) = &self.dockerfile {
            let inside = |c: std::path::Component<'_>| matches!(c, std::path::Component::Normal(_));
            if d.path.as_os_str().is_empty() || !d.path.components().all(inside) {
                return invalid(format!(
                    "`dockerfile.path` must lead to a file inside the context, not {}",
                    d.path.display()
                ));
            }
        }
        Ok(())
    }

    /// What of it decides what an image is.
    pub(super) fn content(&self) -> Json {
        serde_json::json!({
            "entrypoint": self.entrypoint,
            "cmd": self.cmd,
            "env": self.env,
            "expose": self.expose,
            "user": self.user,
            "workdir": self.workdir,
        })
    }
}
