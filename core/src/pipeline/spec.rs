use std::fmt;
use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pipeline::In;
use crate::{
    Artifact, ArtifactKind, Balancer, Configurator, Connector, Deployer, Gate, Host, ImageBuilder, Inventory, Json,
    LogSink, Monitor, Observation, Provisioner, Release,
};

/// The kinds of providers that a registry makes: the `dyn` type of each trait.
pub trait ProviderKind: Send + Sync + 'static {
    /// Which one it is.
    const ROLE: Role;
}

/// The kinds of providers by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// [`Provisioner`].
    Provisioner,
    /// [`Configurator`].
    Configurator,
    /// [`ImageBuilder`].
    ImageBuilder,
    /// [`Deployer`].
    Deployer,
    /// [`Monitor`].
    Monitor,
    /// [`LogSink`].
    LogSink,
    /// [`Balancer`].
    Balancer,
    /// [`Connector`].
    Connector,
}

impl Role {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Provisioner,
        Self::Configurator,
        Self::ImageBuilder,
        Self::Deployer,
        Self::Monitor,
        Self::LogSink,
        Self::Balancer,
        Self::Connector,
    ];

    /// Its name in files: `image_builder`.
    pub fn key(self) -> String {
        self.as_str().replace(' ', "_")
    }

    /// Its name in errors: `image builder`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provisioner => "provisioner",
            Self::Configurator => "configurator",
            Self::ImageBuilder => "image builder",
            Self::Deployer => "deployer",
            Self::Monitor => "monitor",
            Self::LogSink => "log sink",
            Self::Balancer => "balancer",
            Self::Connector => "connector",
        }
    }
}

macro_rules! kinds {
    ($($object:ident),*) => { $(impl ProviderKind for dyn $object { const ROLE: Role = Role::$object; })* };
}
kinds!(Provisioner, Configurator, ImageBuilder, Deployer, Monitor, LogSink, Balancer, Connector);

/// A provider by name, with its config, before it is made. Provider crates convert their builders into it:
/// `impl From<Local> for ProviderSpec<dyn Provisioner>`.
pub struct ProviderSpec<K: ?Sized> {
    /// The provider's name in the registry.
    pub provider: String,
    /// Its config.
    pub config: Json,
    kind: PhantomData<fn(&K)>,
}

impl<K: ?Sized> ProviderSpec<K> {
    /// Names a provider; its config is checked with the pipeline.
    pub fn new(provider: impl Into<String>, config: Json) -> Self {
        Self { provider: provider.into(), config, kind: PhantomData }
    }

    /// The same as part of an input.
    pub fn to_ref(&self) -> ProviderRef {
        ProviderRef { provider: self.provider.clone(), config: self.config.clone() }
    }
}

impl<K: ?Sized> Clone for ProviderSpec<K> {
    fn clone(&self) -> Self {
        Self::new(self.provider.clone(), self.config.clone())
    }
}

impl<K: ?Sized> fmt::Debug for ProviderSpec<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProviderSpec({} {})", self.provider, self.config)
    }
}

/// A provider named inside an input: the balancer of a rollout, a configurator of an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderRef {
    /// Its name in the registry.
    pub provider: String,
    /// Its config.
    #[serde(default)]
    pub config: Json,
}

/// The input `image` of a `build_image` step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageInput {
    /// Its name: `web`.
    pub name: String,
    /// Where it starts.
    pub base: BaseInput,
    /// What is done to the base, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub configure: Vec<ProviderRef>,
    /// The artifacts wanted.
    pub artifacts: Vec<ArtifactKind>,
    /// Labels that go into the provenance.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub labels: std::collections::BTreeMap<String, String>,
}

/// Where an image starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum BaseInput {
    /// A host of an inventory, as it is now: its configured tree is baked.
    HostOf {
        /// The inventory.
        inventory: Inventory,
        /// The host's name; the first one if not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<String>,
    },
    /// A host, as it is now.
    Host(Box<Host>),
    /// A named image of the builder: a Docker reference, an AMI filter.
    Image(String),
    /// An artifact made earlier.
    Artifact(Box<Artifact>),
}

/// Writes an [`ImageInput`] whose parts may come from other steps.
#[derive(Debug, Clone)]
pub struct ImageSpec {
    name: String,
    base: Json,
    configure: Vec<ProviderRef>,
    artifacts: Vec<ArtifactKind>,
    labels: std::collections::BTreeMap<String, String>,
}

impl ImageSpec {
    fn new(name: impl Into<String>, base: Json) -> Self {
        Self {
            name: name.into(),
            base,
            configure: Vec::new(),
            artifacts: Vec::new(),
            labels: std::collections::BTreeMap::new(),
        }
    }

    /// Bakes the first host of an inventory as it is.
    pub fn of_first_host(name: impl Into<String>, inventory: impl Into<In<Inventory>>) -> Self {
        Self::new(name, serde_json::json!({ "host_of": { "inventory": inventory.into().json } }))
    }

    /// Bakes a host of an inventory as it is.
    pub fn of_host(name: impl Into<String>, inventory: impl Into<In<Inventory>>, host: &str) -> Self {
        Self::new(name, serde_json::json!({ "host_of": { "inventory": inventory.into().json, "host": host } }))
    }

    /// Starts from a named image of the builder.
    pub fn from_image(name: impl Into<String>, image: impl Into<In<String>>) -> Self {
        Self::new(name, serde_json::json!({ "image": image.into().json }))
    }

    /// Starts from an artifact.
    pub fn from_artifact(name: impl Into<String>, artifact: impl Into<In<Artifact>>) -> Self {
        Self::new(name, serde_json::json!({ "artifact": artifact.into().json }))
    }

    /// Adds a configurator; they run in the order in which they were added.
    #[must_use]
    pub fn configure(mut self, with: impl Into<ProviderSpec<dyn Configurator>>) -> Self {
        self.configure.push(with.into().to_ref());
        self
    }

    /// Wants an artifact of this kind.
    #[must_use]
    pub fn artifact(mut self, kind: ArtifactKind) -> Self {
        self.artifacts.push(kind);
        self
    }

    /// Adds a label to the provenance.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }
}

impl From<ImageSpec> for In<ImageInput> {
    fn from(image: ImageSpec) -> Self {
        Self::template(serde_json::json!({
            "name": image.name,
            "base": image.base,
            "configure": image.configure,
            "artifacts": image.artifacts,
            "labels": image.labels,
        }))
    }
}

/// Writes a [`Release`] whose version or artifact may come from a parameter or another step.
#[derive(Debug, Clone)]
pub struct ReleaseSpec(serde_json::Map<String, Json>);

impl ReleaseSpec {
    /// A version of a service.
    pub fn new(service: impl Into<In<String>>, version: impl Into<In<String>>) -> Self {
        let mut map = serde_json::Map::new();
        map.insert("service".into(), service.into().json);
        map.insert("version".into(), version.into().json);
        Self(map)
    }

    /// Ships an artifact.
    #[must_use]
    pub fn artifact(mut self, artifact: impl Into<In<Artifact>>) -> Self {
        self.0.insert("artifact".into(), artifact.into().json);
        self
    }

    /// Hands an environment variable to the service.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<In<String>>) -> Self {
        let env = self.0.entry("env").or_insert_with(|| Json::Object(serde_json::Map::new()));
        if let Some(env) = env.as_object_mut() {
            env.insert(name.into(), value.into().json);
        }
        self
    }
}

impl From<ReleaseSpec> for In<Release> {
    fn from(release: ReleaseSpec) -> Self {
        Self::template(Json::Object(release.0))
    }
}

/// The input `files` of a `ship_logs` step: one file on every host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogFile {
    /// Its path on the host. `{{ name }}` is replaced by the host's variable. A file that is not there has no lines.
    pub path: String,
    /// The program or service that wrote it; the path if not given.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
}

/// The input `observations` of a `record` step.
pub type Observations = Vec<Observation>;

/// The input `gate` of a `gate` step.
pub type GateInput = Gate;
