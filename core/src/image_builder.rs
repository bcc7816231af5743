use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::equivalence::Contents;
use crate::{
    Artifact, ArtifactKind, Capabilities, Configurator, Connector, Context, Error, ErrorKind, Host, Plan, Preflight,
    Result,
};

/// Bakes artifacts that hosts are made from.
#[async_trait]
pub trait ImageBuilder: fmt::Debug + Send + Sync {
    /// What it can do: `plan`, `build`, `probe`, `remove`, and the artifact kinds it can make (`archive`, `docker_image`, ...).
    fn capabilities(&self) -> Capabilities;

    /// Checks tool, version and credentials.
    async fn preflight(&self, cx: &Context) -> Result<Preflight>;

    /// Says for each artifact whether it would be built, or whether one with the same content key exists.
    async fn plan(&self, cx: &Context, image: &ImageDefinition) -> Result<Plan>;

    /// Builds what is missing. An artifact with the same content key is reused.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](crate::ErrorKind::Unsupported): an artifact kind that it can't make.
    async fn build(&self, cx: &Context, image: &ImageDefinition) -> Result<Built>;

    /// Looks whether an artifact exists and is whole: its digest is computed again. `None`: it does not exist.
    ///
    /// # Errors
    ///
    /// [`Conflict`](crate::ErrorKind::Conflict): it exists, with another content than its digest says.
    async fn probe(&self, cx: &Context, artifact: &Artifact) -> Result<Option<Artifact>>;

    /// Removes an artifact. Gives `false` if it did not exist.
    async fn remove(&self, cx: &Context, artifact: &Artifact) -> Result<bool>;

    /// Reads what is in an artifact: from itself, or from a copy that is started for it and removed again. `connector` reaches such a copy.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](crate::ErrorKind::Unsupported): it can't, as long as a builder does not say otherwise (capability `contents`), or its
    /// artifacts are no whole systems. [`NotFound`](crate::ErrorKind::NotFound): there is no such artifact.
    async fn contents(&self, cx: &Context, artifact: &Artifact, connector: &Arc<dyn Connector>) -> Result<Contents> {
        let (_, _) = (cx, connector);
        let kind = serde_json::to_value(artifact.kind).ok().and_then(|v| v.as_str().map(str::to_owned));
        let message = format!("this builder can't read what is in its {}", kind.unwrap_or_default());
        Err(Error::new(ErrorKind::Unsupported, "core", "contents", message).with("artifact", &artifact.id))
    }
}

/// What an image is made from, and what is wanted of it.
#[derive(Debug, Clone)]
pub struct ImageDefinition {
    /// Its name: `web`.
    pub name: String,
    /// Where it starts.
    pub base: Base,
    /// What is done to the base, in this order.
    pub configure: Vec<Arc<dyn Configurator>>,
    /// The artifacts wanted.
    pub artifacts: Vec<ArtifactKind>,
    /// Reaches the host that is baked.
    pub connector: Arc<dyn Connector>,
    /// Labels that go into the provenance.
    pub labels: BTreeMap<String, String>,
}

/// Where an image starts.
#[derive(Debug, Clone)]
pub enum Base {
    /// A host as it is now: its configured tree is baked.
    Host(Box<Host>),
    /// A named image of the builder: a Docker reference, an AMI filter.
    Image(String),
    /// An artifact made earlier.
    Artifact(Box<Artifact>),
}

/// What [`ImageBuilder::build`] did.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Built {
    /// The artifacts, in the order in which they were wanted.
    pub artifacts: Vec<Artifact>,
    /// How many were built and not reused.
    pub changed: usize,
}
