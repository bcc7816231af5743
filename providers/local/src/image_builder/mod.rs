//! An image builder that bakes a host's configured tree into an archive.

mod exclude;
mod fetch;
mod store;
mod tree;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use towpath_core::{
    Action, Artifact, ArtifactKind, Base, BecomeSpec, Built, Capabilities, Change, Context, Error, ErrorKind, Host,
    ImageBuilder, ImageDefinition, Inventory, Plan, Preflight, Provenance, Result, Targets, digest_json,
};

use self::exclude::Selection;
pub(crate) use self::fetch::CHANGES;
use self::store::Store;
use self::tree::{Digesting, Tree};

/// Name of the image builder in the registry and in errors.
pub(crate) const LOCAL_ARCHIVE: &str = "local-archive";

/// Part of every content key: another normal form of trees gives other archives.
const FORM: u32 = 1;

/// Settings of the image builder `local-archive`: a host's configured tree as a file `tar.zst`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LocalArchiveConfig {
    /// Folder of the archives, made with mode 0700. `.towpath/images` in the working directory by default.
    #[serde(default = "default_dir")]
    pub dir: PathBuf,

    /// The absolute paths that are baked. By default, of a host of `local` all that it changed over this machine's own
    /// files, and of any other host `/etc`, `/home`, `/opt`, `/root`, `/srv`, `/usr/local` and `/var/www`.
    #[serde(default)]
    pub paths: Vec<String>,

    /// What is left out beside the usual: an absolute path with all below it, or a name anywhere. `*` and `?` stand for
    /// characters of one name: `/srv/web/releases`, `*.cache`.
    #[serde(default)]
    pub exclude: Vec<String>,

    /// Keeps the numeric owners of files. `false` by default: all belong to 0:0.
    #[serde(default)]
    pub keep_owners: bool,

    /// Most bytes that a tree may have, before it is compressed. `4294967296` (4 GiB) by default.
    #[serde(default = "default_max_bytes")]
    #[schemars(range(min = 1))]
    pub max_bytes: u64,

    /// The user who reads the tree. The one of the host's `become` by default, else the one who logs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#become: Option<BecomeSpec>,
}

fn default_dir() -> PathBuf {
    PathBuf::from(".towpath").join("images")
}
fn default_max_bytes() -> u64 {
    4 << 30
}

impl Default for LocalArchiveConfig {
    fn default() -> Self {
        Self {
            dir: default_dir(),
            paths: Vec::new(),
            exclude: Vec::new(),
            keep_owners: false,
            max_bytes: default_max_bytes(),
            r#become: None,
        }
    }
}

impl LocalArchiveConfig {
    /// Keeps the archives there, everything else by default.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), ..Self::default() }
    }

    /// Bakes this path, and of all others only those that are named too.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.paths.push(path.into());
        self
    }

    /// Leaves something more out.
    #[must_use]
    pub fn exclude(mut self, pattern: impl Into<String>) -> Self {
        self.exclude.push(pattern.into());
        self
    }
}

/// Bakes the configured tree of a host into a content-addressed archive.
///
/// It reads the tree over the connector of the definition, so that any host can be baked, and brings it into a normal form:
/// the same tree gives the same archive. The content key is the digest of that form with the image's name; an archive
/// that has it is reused. See the crate's documentation for what is in an archive and what is not.
#[derive(Debug, Clone)]
pub struct LocalArchive {
    config: Arc<LocalArchiveConfig>,
    selection: Arc<Selection>,
}

impl LocalArchive {
    /// A builder with this config.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): a path that is not absolute, an empty pattern, `max_bytes` of 0.
    pub fn new(config: LocalArchiveConfig) -> Result<Self> {
        let invalid = |message: String| Err(Error::new(ErrorKind::InvalidInput, LOCAL_ARCHIVE, "config", message));
        let climbs = |p: &str| p.split('/').any(|part| part == ".." || part == ".") || p.contains('\0');
        if let Some(path) = config.paths.iter().find(|p| !p.starts_with('/') || climbs(p)) {
            return invalid(format!("`paths` must be absolute and without `..`, not {path:?}"));
        }
        let bad =
            |p: &&String| p.trim_end_matches('/').is_empty() || climbs(p) || p.contains('/') && !p.starts_with('/');
        if let Some(pattern) = config.exclude.iter().find(bad) {
            return invalid(format!("`exclude` must be absolute paths or names without `/`, not {pattern:?}"));
        }
        if config.max_bytes == 0 {
            return invalid("`max_bytes` must be at least 1".into());
        }
        let selection = Arc::new(Selection::new(&config.paths, &config.exclude));
        Ok(Self { config: Arc::new(config), selection })
    }

    /// The config.
    pub fn config(&self) -> &LocalArchiveConfig {
        &self.config
    }

    fn store(&self, operation: &'static str, image: &str) -> Result<Store> {
        Store::new(&self.config.dir, image, operation)
    }

    /// Reads the host's tree. Gives it with its content key.
    async fn tree(&self, cx: &Context, store: &Store, image: &ImageDefinition, host: &Host) -> Result<(Tree, String)> {
        let spool = store.spool("build")?;
        let spool = fetch::fetch(cx, &self.config, image.connector.as_ref(), host, spool).await?;
        let (selection, keep_owners) = (Arc::clone(&self.selection), self.config.keep_owners);
        let read = blocking(move || {
            let tree = Tree::read(spool, &selection, keep_owners)?;
            let mut digest = Digesting::new(std::io::sink());
            tree.write(&mut digest)?;
            Ok((tree, digest.finish().1))
        })
        .await;
        let (tree, digest) = read.map_err(|e| {
            Error::new(ErrorKind::Protocol, LOCAL_ARCHIVE, "build", "the host's tree can't be read as an archive")
                .with("host", &host.name)
                .caused_by(e)
        })?;
        let key = digest_json(&json!({"form": FORM, "name": image.name, "tree": digest}));
        Ok((tree, key))
    }
}

/// Runs file work where it may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}

/// The host to bake; checks the rest of the definition.
fn host<'a>(operation: &'static str, image: &'a ImageDefinition) -> Result<&'a Host> {
    let unsupported = |message: &str| {
        Error::new(ErrorKind::Unsupported, LOCAL_ARCHIVE, operation, message).with("image", &image.name)
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    if image.name.is_empty() || image.name.starts_with(['.', '-']) || !image.name.chars().all(plain) {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            LOCAL_ARCHIVE,
            operation,
            "an image's name is a folder's: letters, digits and `._+-`, not `.` or `-` first",
        )
        .with("image", &image.name));
    }
    if let Some(kind) = image.artifacts.iter().find(|k| **k != ArtifactKind::Archive) {
        let kind = serde_json::to_value(kind).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
        return Err(unsupported(&format!("it makes `archive` only, not `{kind}`")));
    }
    match &image.base {
        Base::Host(host) => Ok(host),
        Base::Image(_) | Base::Artifact(_) => {
            Err(unsupported("it bakes hosts only: provision one from the image, configure it, and name it as the base"))
        }
    }
}

fn targets(image: &ImageDefinition, host: &Host) -> Targets {
    let inventory = Inventory { hosts: vec![host.clone()], ..Inventory::default() };
    Targets::new(inventory, Arc::clone(&image.connector))
}

fn artifact(image: &ImageDefinition, host: &Host, store: &Store, key: String, digest: &str) -> Artifact {
    Artifact {
        name: image.name.clone(),
        kind: ArtifactKind::Archive,
        id: store.archive(digest).display().to_string(),
        digest: format!("sha256:{digest}"),
        provenance: Provenance { content_key: key, base: format!("host {}", host.name), labels: image.labels.clone() },
    }
}

#[async_trait]
impl ImageBuilder for LocalArchive {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&["archive", "build", "plan", "probe", "remove"])
    }

    async fn preflight(&self, cx: &Context) -> Result<Preflight> {
        cx.check(LOCAL_ARCHIVE, "preflight")?;
        let dir = store::writable(&self.config.dir)?;
        Ok(Preflight { ok: vec![format!("archives: {}", dir.display())], warnings: Vec::new() })
    }

    /// Reads the tree as [`build`](ImageBuilder::build) does, so the plan is certain unless a configurator has work left.
    async fn plan(&self, cx: &Context, image: &ImageDefinition) -> Result<Plan> {
        cx.check(LOCAL_ARCHIVE, "plan")?;
        let host = host("plan", image)?;
        let subject = format!("archive {}", image.name);
        let mut plan = Plan::default();
        let mut open = false;
        for configurator in &image.configure {
            let part = configurator.plan(cx, &targets(image, host)).await?;
            open |= !part.is_empty();
            plan.warnings.extend(part.warnings);
        }
        let create = || Change::will(&image.name, &subject, Action::Create);
        let change = if open {
            let why = "the host is configured first; the archive is made of what comes out";
            Change::cannot_know(&image.name, &subject, Action::Create, why)
        } else {
            let store = self.store("plan", &image.name)?;
            let (_, key) = self.tree(cx, &store, image, host).await?;
            match store.find("plan", &key).await? {
                Some(digest) => Change::will_not(&image.name, &subject)
                    .from_to(Some(json!({"digest": format!("sha256:{digest}")})), None),
                None => create().from_to(None, Some(json!({"content_key": key}))),
            }
        };
        // One archive per wanted artifact, all the same one.
        plan.changes.extend(image.artifacts.iter().map(|_| change.clone()));
        Ok(plan)
    }

    async fn build(&self, cx: &Context, image: &ImageDefinition) -> Result<Built> {
        cx.check(LOCAL_ARCHIVE, "build")?;
        let host = host("build", image)?;
        let store = self.store("build", &image.name)?;
        for (n, configurator) in image.configure.iter().enumerate() {
            configurator.apply(&cx.scoped(&format!("configure/{n}")), &targets(image, host)).await?;
        }
        if image.artifacts.is_empty() {
            return Ok(Built { artifacts: Vec::new(), changed: 0 });
        }
        let (tree, key) = self.tree(cx, &store, image, host).await?;
        let (digest, changed) = match store.find("build", &key).await? {
            Some(digest) => (digest, 0),
            None => {
                cx.check(LOCAL_ARCHIVE, "build")?;
                let intent = json!({"archive": image.name, "content_key": key, "entries": tree.len()});
                let (store, tree, key) = (&store, Arc::new(tree), &key);
                let written: String = cx
                    .effect_idempotent(&format!("archive/{key}"), intent, |_| store.save(Arc::clone(&tree), key))
                    .await?;
                // A finished effect is replayed, though somebody may have removed the archive since.
                let digest = match store.find("build", key).await? {
                    Some(_) => written,
                    None => store.save(tree, key).await?,
                };
                (digest, image.artifacts.len())
            }
        };
        let artifact = artifact(image, host, &store, key, &digest);
        Ok(Built { artifacts: vec![artifact; image.artifacts.len()], changed })
    }

    async fn probe(&self, cx: &Context, artifact: &Artifact) -> Result<Option<Artifact>> {
        cx.check(LOCAL_ARCHIVE, "probe")?;
        let path = store::own(&self.config.dir, "probe", artifact)?;
        let Some(found) = store::digest_of("probe", path.clone()).await? else { return Ok(None) };
        if artifact.digest == format!("sha256:{found}") {
            return Ok(Some(artifact.clone()));
        }
        Err(Error::new(
            ErrorKind::Conflict,
            LOCAL_ARCHIVE,
            "probe",
            "the archive is not what its digest says; remove it and build the image again",
        )
        .with("path", path.display())
        .with("expected", &artifact.digest)
        .with("found", format!("sha256:{found}")))
    }

    async fn remove(&self, cx: &Context, artifact: &Artifact) -> Result<bool> {
        cx.check(LOCAL_ARCHIVE, "remove")?;
        let path = store::own(&self.config.dir, "remove", artifact)?;
        self.store("remove", &artifact.name)?.remove(&path).await
    }
}
