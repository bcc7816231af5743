//! Makes a box file of a tree, or of an image's name.

use std::path::{Path, PathBuf};

use serde_json::json;
use towpath_core::{Context, Error, ErrorKind, EventKind, Result};

use super::store::{Record, Store};
use super::{BoxProvider, VAGRANT_BOX, VagrantBoxConfig, archive};
use crate::disk::{self, DiskIdentity, Tools};
use crate::files::{blocking, storage};
use crate::system::{self, Kernel, Wanted};
use crate::tree::Tree;

/// Vagrant's settings of a box with a disk.
const LIBVIRT: &str = "\
Vagrant.configure(\"2\") do |config|
  # The box has no NFS and no rsync of its own: whoever wants a shared folder says so.
  config.vm.synced_folder \".\", \"/vagrant\", disabled: true
  config.vm.provider :libvirt do |libvirt|
    libvirt.disk_bus = \"virtio\"
  end
end
";

/// What a box is made of.
pub(super) enum Material {
    /// A tree and its digest.
    Tree(Box<Tree>, [u8; 32]),
    /// A Docker image's reference.
    DockerImage(String),
}

/// Refuses a tree that would not boot to a login.
fn check(tree: &Tree, config: &VagrantBoxConfig, image: &str) -> Result<Kernel> {
    let refuse = |kind, message: String| Error::new(kind, VAGRANT_BOX, "build", message).with("image", image);
    let lacks = system::lacks(tree, config.vagrant_user);
    if !lacks.is_empty() {
        let what: Vec<&str> = lacks.iter().map(|l| l.what).collect();
        let packages: Vec<&str> = lacks.iter().map(|l| l.packages).collect();
        let message = format!(
            "the tree would not boot to a login over SSH: it lacks {}; configure these packages (as Debian calls them): {}",
            what.join(", "),
            packages.join(" ")
        );
        return Err(refuse(ErrorKind::InvalidInput, message));
    }
    let own = |e| refuse(ErrorKind::InvalidInput, "the tree's files can't be read".into()).caused_by(e);
    if !system::is_x86_64(tree).map_err(own)? {
        return Err(refuse(
            ErrorKind::Unsupported,
            "libvirt boxes are made for x86-64 only, and this tree is for another".into(),
        ));
    }
    Kernel::newest(tree).ok_or_else(|| refuse(ErrorKind::Internal, "a kernel that was there is gone".into()))
}

/// What is needed before anything is written or started.
pub(super) fn tools(config: &VagrantBoxConfig, operation: &'static str) -> Result<Option<Tools>> {
    match config.provider {
        BoxProvider::Libvirt => Tools::find(operation).map(Some),
        BoxProvider::Docker => Ok(None),
    }
}

/// Makes the box and lists it. The store's lock is held.
pub(super) async fn bake(
    cx: &Context,
    config: &VagrantBoxConfig,
    store: &Store,
    image: &str,
    key: &str,
    base: &str,
    material: Material,
) -> Result<Record> {
    let provider = config.provider.as_str();
    let version = store.version("build", config.version.as_deref(), provider, key)?;
    let work = store.work()?;
    let made = match material {
        Material::Tree(tree, digest) => libvirt(cx, config, image, *tree, &digest, &work).await,
        Material::DockerImage(reference) => docker(&reference).map(|(m, v)| (m, v, None)),
    };
    let finished = async {
        let (metadata, vagrantfile, disk) = made?;
        cx.check(VAGRANT_BOX, "build")?;
        let (store, path, key, base) = (store.clone(), work.join("new.box"), key.to_owned(), base.to_owned());
        let provider = provider.to_owned();
        let publish = move || -> std::io::Result<Record> {
            let digest = archive::write(&path, &metadata, &vagrantfile, disk.as_deref())?;
            store.publish(&key, &path, &digest, (&version, &provider), &base)
        };
        blocking(publish).await.and_then(|r| r).map_err(|e| storage("build", &work, e))
    }
    .await;
    let _ = std::fs::remove_dir_all(&work);
    finished
}

type Parts = (String, String, Option<PathBuf>);

async fn libvirt(
    cx: &Context,
    config: &VagrantBoxConfig,
    image: &str,
    mut tree: Tree,
    digest: &[u8; 32],
    work: &Path,
) -> Result<Parts> {
    let tools = Tools::find("build")?;
    let kernel = check(&tree, config, image)?;
    let identity = DiskIdentity::of(digest, config.source_date_epoch_s);
    let wanted = Wanted {
        name: image.to_owned(),
        vagrant_user: config.vagrant_user,
        uuid: identity.uuid(),
        epoch: config.source_date_epoch_s,
    };
    let prepared = blocking(move || system::prepare(&mut tree, &kernel, &wanted).map(|()| tree));
    let tree = prepared.await.and_then(|r| r).map_err(|e| storage("build", work, e))?;
    let message = format!("making a disk of {} files", tree.nodes().len());
    cx.emit(EventKind::Progress { message, done: None, total: None });
    let bytes = u64::from(config.disk_gib) << 30;
    if tree.bytes() > bytes {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            VAGRANT_BOX,
            "build",
            "the tree does not fit on the box's disk: raise `disk_gib`",
        )
        .with("disk_gib", config.disk_gib)
        .with("tree_bytes", tree.bytes()));
    }
    let disk = disk::make(cx, &tools, tree, &identity, bytes, work).await?;
    let metadata =
        json!({"provider": "libvirt", "format": "qcow2", "virtual_size": config.disk_gib, "architecture": "amd64"});
    Ok((format!("{metadata:#}\n"), LIBVIRT.to_owned(), Some(disk)))
}

fn docker(reference: &str) -> Result<(String, String)> {
    // The reference holds nothing that Ruby's single quotes know, but it came from outside.
    let quoted = reference.replace('\\', "\\\\").replace('\'', "\\'");
    let vagrantfile = format!(
        "Vagrant.configure(\"2\") do |config|\n  config.vm.provider \"docker\" do |docker|\n    docker.image = '{quoted}'\n  end\nend\n"
    );
    let metadata = json!({"provider": "docker", "architecture": "amd64"});
    Ok((format!("{metadata:#}\n"), vagrantfile))
}
