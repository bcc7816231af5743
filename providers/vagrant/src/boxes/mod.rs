//! The image builder `vagrant-box`: boxes with a catalogue, made without Vagrant.

mod archive;
mod bake;
mod catalogue;
mod config;
mod definition;
mod fetch;
mod machine;
mod store;
mod version;

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;
use towpath_core::equivalence::Contents;
use towpath_core::{
    Action, Artifact, ArtifactKind, Built, Capabilities, Change, Connector, Context, Error, ErrorKind, ImageBuilder,
    ImageDefinition, Json, Plan, Preflight, Provenance, Provisioner, Result,
};

use self::bake::Material;
pub use self::config::{BoxProvider, VagrantBoxConfig};
use self::definition::{Source, reference_key, source, targets, tree_key};
use self::machine::{Machine, Machines};
use self::store::{Record, Store};
use crate::disk::Tools;
use crate::files::{blocking, storage};

/// Name of the image builder in the registry and in errors.
pub(crate) const VAGRANT_BOX: &str = "vagrant-box";

/// Bakes Vagrant boxes, and keeps a catalogue of them that `vagrant box add` reads.
///
/// See the crate's documentation for what is in a box, and what keys and crashes mean for it.
#[derive(Debug, Clone)]
pub struct VagrantBox {
    config: Arc<VagrantBoxConfig>,
    machines: Option<Machines>,
}

impl VagrantBox {
    /// A builder with this config.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): a version, name, URL, path or size that can't be one.
    pub fn new(config: VagrantBoxConfig) -> Result<Self> {
        config.check()?;
        Ok(Self { config: Arc::new(config), machines: None })
    }

    /// Lets it build from images: each build makes a machine from its base, configures it, bakes its tree, and destroys it.
    ///
    /// `spec` is the typed spec of a provisioner as JSON, with `{base}` where the image's base belongs; `make` makes the
    /// provisioner of a filled-in spec. It must make one host, which the definition's connector reaches.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): the spec has no `{base}`.
    pub fn with_machine(
        mut self,
        make: impl Fn(Json) -> Result<Arc<dyn Provisioner>> + Send + Sync + 'static,
        spec: Json,
    ) -> Result<Self> {
        self.machines = Some(Machines::new(Arc::new(make), spec)?);
        Ok(self)
    }

    /// The config.
    pub fn config(&self) -> &VagrantBoxConfig {
        &self.config
    }

    /// The catalogue of an image: what `vagrant box add` takes.
    ///
    /// # Errors
    ///
    /// [`Storage`](ErrorKind::Storage): the folder can't be named.
    pub fn catalogue(&self, image: &str) -> Result<std::path::PathBuf> {
        Ok(Store::new(&self.config, image, "catalogue")?.catalogue())
    }

    fn source<'a>(&self, operation: &'static str, image: &'a ImageDefinition) -> Result<(Source<'a>, Store)> {
        let source = source(operation, &self.config, image, self.machines.is_some())?;
        Ok((source, Store::new(&self.config, &image.name, operation)?))
    }

    fn artifact(&self, image: &ImageDefinition, store: &Store, key: &str, record: &Record) -> Artifact {
        let mut labels = image.labels.clone();
        labels.insert("box-version".into(), record.version.clone());
        labels.insert("box-provider".into(), record.provider.clone());
        labels.insert("catalogue".into(), store.catalogue().display().to_string());
        Artifact {
            name: image.name.clone(),
            kind: ArtifactKind::VagrantBox,
            id: store.path(record).display().to_string(),
            digest: format!("sha256:{}", record.digest),
            provenance: Provenance { content_key: key.to_owned(), base: record.base.clone(), labels },
        }
    }

    async fn reference_key(&self, cx: &Context, image: &ImageDefinition, reference: &str) -> Result<String> {
        let machine =
            self.machines.as_ref().map(Machines::spec).filter(|_| self.config.provider == BoxProvider::Libvirt);
        reference_key(cx, &self.config, image, reference, machine).await
    }

    /// The box as it is, if nothing is to be done; the lock is held. One that the catalogue lost is listed again.
    async fn existing(&self, store: &Store, key: &str) -> Result<Option<Record>> {
        let Some(record) = store.made("build", key).await? else { return Ok(None) };
        if store.find("build", key).await?.is_none() {
            store.list(&record).map_err(|e| storage("build", &store.dir, e))?;
        }
        Ok(Some(record))
    }

    /// Makes the box as an effect: after a crash it is simply made again.
    async fn bake(
        &self,
        cx: &Context,
        store: &Store,
        image: &ImageDefinition,
        key: &str,
        base: &str,
        material: Material,
    ) -> Result<Record> {
        cx.check(VAGRANT_BOX, "build")?;
        let intent = json!({"box": image.name, "content_key": key, "provider": self.config.provider});
        let name = &image.name;
        let mut material = Some(material);
        let made = {
            let material = &mut material;
            let act = |cx: Context| async move {
                let material = material.take().ok_or_else(|| internal("a tree was taken twice"))?;
                bake::bake(&cx, &self.config, store, name, key, base, material).await
            };
            cx.effect_idempotent(&format!("box/{key}"), intent, act).await?
        };
        match material {
            // A finished effect is replayed in its run, though somebody may have removed the box since.
            Some(material) if store.find("build", key).await?.is_none() => {
                bake::bake(cx, &self.config, store, name, key, base, material).await
            }
            _ => Ok(made),
        }
    }

    async fn configure(&self, cx: &Context, image: &ImageDefinition, host: &towpath_core::Host) -> Result<()> {
        for (n, configurator) in image.configure.iter().enumerate() {
            configurator.apply(&cx.scoped(&format!("configure/{n}")), &targets(image, host)).await?;
        }
        Ok(())
    }

    /// Configures a throw-away machine and reads its tree.
    async fn tree_of_machine(
        &self,
        image: &ImageDefinition,
        machine: &Machine,
        host: &towpath_core::Host,
    ) -> Result<Material> {
        let cx = machine.cx();
        self.configure(cx, image, host).await?;
        let (tree, digest) = fetch::tree(cx, &self.config, image.connector.as_ref(), host).await?;
        Ok(Material::Tree(Box::new(tree), digest))
    }
}

fn internal(message: &str) -> Error {
    Error::new(ErrorKind::Internal, VAGRANT_BOX, "build", message)
}

#[async_trait]
impl ImageBuilder for VagrantBox {
    fn capabilities(&self) -> Capabilities {
        let mut verbs = vec!["build", "plan", "probe", "remove", "vagrant_box"];
        if self.config.provider == BoxProvider::Libvirt {
            verbs.push("contents");
        }
        Capabilities::of(&verbs)
    }

    async fn preflight(&self, cx: &Context) -> Result<Preflight> {
        cx.check(VAGRANT_BOX, "preflight")?;
        let mut found = Preflight::default();
        if let Some(tools) = bake::tools(&self.config, "preflight")? {
            found.ok.push(format!("qemu-img at {}", tools.qemu_img.display()));
            found.ok.push(format!("grub-mkimage at {}", tools.grub_mkimage.display()));
            found.ok.push(format!("GRUB's parts for BIOS machines at {}", tools.grub_modules.display()));
        }
        if self.config.vagrant_user && self.config.provider == BoxProvider::Libvirt {
            found.warnings.push(
                "the box has the user `vagrant` with the key that everybody knows, until Vagrant replaces it; `vagrant_user: false` \
                 leaves it out"
                    .into(),
            );
        }
        Ok(found)
    }

    /// Starts no machine: what would be built from an image is told by its key. Of a host the tree is read, unless a configurator
    /// has work left.
    async fn plan(&self, cx: &Context, image: &ImageDefinition) -> Result<Plan> {
        cx.check(VAGRANT_BOX, "plan")?;
        let (source, store) = self.source("plan", image)?;
        let subject = format!("vagrant box {} for {}", image.name, self.config.provider.as_str());
        let mut plan = Plan::default();
        let key = match source {
            Source::Machine(reference) | Source::DockerImage(reference) => {
                Some(self.reference_key(cx, image, reference).await?)
            }
            Source::Host(host) => {
                let mut open = false;
                for configurator in &image.configure {
                    let part = configurator.plan(cx, &targets(image, host)).await?;
                    open |= !part.is_empty();
                    plan.warnings.extend(part.warnings);
                }
                if open {
                    None
                } else {
                    let (_, digest) = fetch::tree(cx, &self.config, image.connector.as_ref(), host).await?;
                    Some(tree_key(&self.config, image, &digest))
                }
            }
        };
        let change = match key {
            None => {
                let why = "the host is configured first; the box is made of what comes out";
                Change::cannot_know(&image.name, &subject, Action::Create, why)
            }
            Some(key) => match store.find("plan", &key).await? {
                Some(record) => Change::will_not(&image.name, &subject)
                    .from_to(Some(json!({"version": record.version, "digest": record.digest})), None),
                None => {
                    let version = self.config.version.as_deref();
                    let version = store.version("plan", version, self.config.provider.as_str(), &key)?;
                    let after = json!({"content_key": key, "version": version});
                    Change::will(&image.name, &subject, Action::Create).from_to(None, Some(after))
                }
            },
        };
        // One box per wanted artifact, all the same one.
        plan.changes.extend(image.artifacts.iter().map(|_| change.clone()));
        Ok(plan)
    }

    async fn build(&self, cx: &Context, image: &ImageDefinition) -> Result<Built> {
        cx.check(VAGRANT_BOX, "build")?;
        let (source, store) = self.source("build", image)?;
        // Before anything is configured or started.
        bake::tools(&self.config, "build")?;
        let finish = |key: &str, record: &Record, made: bool| {
            let artifact = self.artifact(image, &store, key, record);
            let changed = if made { image.artifacts.len() } else { 0 };
            Built { artifacts: vec![artifact; image.artifacts.len()], changed }
        };
        if let Source::Host(host) = source {
            self.configure(cx, image, host).await?;
        }
        if image.artifacts.is_empty() {
            return Ok(Built { artifacts: Vec::new(), changed: 0 });
        }
        let _lock = store.lock(cx, "build").await?;
        Machines::sweep(self.machines.as_ref(), cx, &store).await?;
        let (key, base, material) = match source {
            Source::Host(host) => {
                let (tree, digest) = fetch::tree(cx, &self.config, image.connector.as_ref(), host).await?;
                let key = tree_key(&self.config, image, &digest);
                (key, format!("host {}", host.name), Some(Material::Tree(Box::new(tree), digest)))
            }
            Source::DockerImage(reference) => {
                let key = self.reference_key(cx, image, reference).await?;
                (key, reference.to_owned(), Some(Material::DockerImage(reference.to_owned())))
            }
            Source::Machine(reference) => (self.reference_key(cx, image, reference).await?, reference.to_owned(), None),
        };
        if let Some(record) = self.existing(&store, &key).await? {
            return Ok(finish(&key, &record, false));
        }
        // Said before a machine is started for nothing.
        store.version("build", self.config.version.as_deref(), self.config.provider.as_str(), &key)?;
        let material = match (material, &self.machines) {
            (Some(material), _) => material,
            (None, Some(machines)) => {
                machines.preflight(cx, &base).await?;
                let (machine, host) = machines.start(cx, &store, &base, &key).await?;
                match self.tree_of_machine(image, &machine, &host).await {
                    Ok(material) => {
                        machine.remove().await?;
                        material
                    }
                    Err(error) => return Err(machine.remove_after(error).await),
                }
            }
            (None, None) => {
                return Err(internal("a machine that was there is gone"));
            }
        };
        let record = self.bake(cx, &store, image, &key, &base, material).await?;
        Ok(finish(&key, &record, true))
    }

    async fn probe(&self, cx: &Context, artifact: &Artifact) -> Result<Option<Artifact>> {
        cx.check(VAGRANT_BOX, "probe")?;
        let store = Store::new(&self.config, &artifact.name, "probe")?;
        let (path, ..) = store.own("probe", artifact)?;
        let at = path.clone();
        let found = blocking(move || archive::digest(&at)).await.and_then(|r| r);
        let Some(found) = found.map_err(|e| storage("probe", &path, e))? else { return Ok(None) };
        if artifact.digest == format!("sha256:{found}") {
            return Ok(Some(artifact.clone()));
        }
        Err(Error::new(
            ErrorKind::Conflict,
            VAGRANT_BOX,
            "probe",
            "the box is not what its digest says; remove it and build the image again",
        )
        .with("path", path.display())
        .with("expected", &artifact.digest)
        .with("found", format!("sha256:{found}")))
    }

    /// Reads them from the box's disk, without booting it.
    async fn contents(&self, cx: &Context, artifact: &Artifact, _: &Arc<dyn Connector>) -> Result<Contents> {
        cx.check(VAGRANT_BOX, "contents")?;
        let store = Store::new(&self.config, &artifact.name, "contents")?;
        let (path, _, provider) = store.own("contents", artifact)?;
        let fail =
            |kind, message: &str| Error::new(kind, VAGRANT_BOX, "contents", message).with("path", path.display());
        if provider != BoxProvider::Libvirt.as_str() {
            return Err(fail(
                ErrorKind::Unsupported,
                "the box holds the name of a Docker image only: read what is in that",
            ));
        }
        if !path.is_file() {
            return Err(fail(ErrorKind::NotFound, "there is no such box: build it again"));
        }
        let tools = Tools::find("contents")?;
        // Beside the boxes, where there is room for one; whatever a crash leaves there the next one removes who has the lock.
        let _lock = store.lock(cx, "contents").await?;
        let work = store.work()?;
        let read = async {
            let (from, disk) = (path.clone(), work.join("box.img"));
            let to = disk.clone();
            let unpacked = blocking(move || archive::unpack_disk(&from, &to)).await.and_then(|r| r);
            unpacked.map_err(|e| storage("contents", &path, e))?;
            let tree = crate::disk::tree(cx, &tools, &disk, &work).await?;
            let contents = blocking(move || Contents::from_tar(tree)).await.and_then(|r| r);
            contents.map_err(|e| {
                let unsupported = e.kind() == std::io::ErrorKind::Unsupported;
                let kind = if unsupported { ErrorKind::Unsupported } else { ErrorKind::Protocol };
                fail(kind, "what is in the box can't be read").caused_by(e)
            })
        };
        let read = read.await;
        let _ = std::fs::remove_dir_all(&work);
        read
    }

    async fn remove(&self, cx: &Context, artifact: &Artifact) -> Result<bool> {
        cx.check(VAGRANT_BOX, "remove")?;
        let store = Store::new(&self.config, &artifact.name, "remove")?;
        let (path, version, provider) = store.own("remove", artifact)?;
        if !store.dir.is_dir() {
            return Ok(false);
        }
        let _lock = store.lock(cx, "remove").await?;
        let intent = json!({"remove": path.display().to_string()});
        let effect = format!("remove/{}", store.file_name(&version, &provider));
        cx.effect_idempotent(&effect, intent, |_| async {
            store.remove(&path, &version, &provider).map_err(|e| storage("remove", &path, e))
        })
        .await
    }
}
