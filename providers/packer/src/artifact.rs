//! What Packer made, as artifacts of towpath.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use towpath_core::{Artifact, ArtifactKind, Error, ErrorKind, Provenance, Result, RunId};

use crate::output::Raw;
use crate::provider::PACKER;

/// What a builder or post-processor makes, by its id.
///
/// Source: the constants `BuilderId` of Packer 1.6.6 and of its plugins.
fn kind(raw: &Raw) -> Option<ArtifactKind> {
    let with_files = !raw.files.is_empty();
    Some(match raw.builder_id.as_str() {
        "mitchellh.amazonebs"
        | "mitchellh.amazon.ebssurrogate"
        | "mitchellh.amazon.chroot"
        | "mitchellh.amazon.instance" => ArtifactKind::Ami,
        // With `export_path` it is the archive of a container.
        "packer.docker" | "packer.post-processor.docker-save" if with_files => ArtifactKind::Archive,
        "packer.docker"
        | "packer.post-processor.docker-import"
        | "packer.post-processor.docker-tag"
        | "packer.post-processor.docker-push" => ArtifactKind::DockerImage,
        "mitchellh.post-processor.vagrant" | "vagrant" => ArtifactKind::VagrantBox,
        "transcend.qemu" | "mitchellh.virtualbox" | "mitchellh.vmware" | "mitchellh.vmware-esx" => ArtifactKind::Disk,
        "packer.post-processor.compress" => ArtifactKind::Archive,
        _ if with_files => ArtifactKind::File,
        _ => return None,
    })
}

/// An artifact's name, provenance and place, which Packer does not know.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Making {
    pub(crate) name: String,
    pub(crate) provenance: Provenance,
    pub(crate) working_dir: PathBuf,
    /// The run of a pipeline that it belongs to.
    pub(crate) run: Option<RunId>,
}

impl Making {
    /// Of a run that has written down nothing but its content key.
    pub(crate) fn unknown(name: &str, content_key: String, working_dir: &Path) -> Self {
        let provenance = Provenance { content_key, ..Provenance::default() };
        Self { name: name.to_owned(), provenance, working_dir: working_dir.to_owned(), run: None }
    }
}

/// What came of a run's artifacts.
#[derive(Debug, Default)]
pub(crate) struct Made {
    pub(crate) artifacts: Vec<Artifact>,
    /// What no kind of artifact fits, for people: the `null` builder says that it made nothing.
    pub(crate) others: Vec<String>,
}

/// Makes artifacts of what Packer said, each once. Reads files to take their digests.
pub(crate) fn collect(raws: &[Raw], making: &Making) -> Result<Made> {
    let mut made = Made::default();
    for raw in raws {
        let Some(kind) = kind(raw) else {
            made.others.push(format!("{}: {}", raw.build, raw.text));
            continue;
        };
        let found: Vec<(String, String)> = match kind {
            ArtifactKind::Ami => {
                raw.id.split(',').filter(|id| !id.is_empty()).map(|id| (id.to_owned(), of_text(id))).collect()
            }
            ArtifactKind::DockerImage => vec![(raw.id.clone(), of_docker(raw, raws))],
            _ => {
                let mut files = Vec::new();
                for file in &raw.files {
                    let path = making.working_dir.join(file);
                    // A later post-processor may have taken its input away, so a file that is gone is no artifact.
                    if let Some(digest) = of_file(&path).map_err(|e| unreadable("build", &path, e))? {
                        files.push((path.display().to_string(), digest));
                    }
                }
                files
            }
        };
        for (id, digest) in found {
            // A file may be a builder's and then a post-processor's input: the builder knows better what it is.
            if made.artifacts.iter().any(|a: &Artifact| a.id == id) {
                continue;
            }
            made.artifacts.push(Artifact {
                name: making.name.clone(),
                kind,
                id,
                digest,
                provenance: making.provenance.clone(),
            });
        }
    }
    Ok(made)
}

/// An image's own id is its digest. A tag has the digest of the image that its build made.
fn of_docker(raw: &Raw, all: &[Raw]) -> String {
    let ids = std::iter::once(raw).chain(all.iter().filter(|other| other.build == raw.build));
    let mut digests = ids.map(|r| r.id.as_str()).filter(|id| is_image_id(id));
    digests.next().map_or_else(|| of_text(&raw.id), str::to_owned)
}

/// Says whether this is the id of a Docker image, and no name.
pub(crate) fn is_image_id(id: &str) -> bool {
    id.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// The digest of what can't be read from here: that of its id, which names it for good.
pub(crate) fn of_text(id: &str) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(id)))
}

/// The digest of a file, `None` if there is none. A folder is none, and a pipe or device, which may never end.
pub(crate) fn of_file(path: &Path) -> io::Result<Option<String>> {
    let is_none = |e: &io::Error| matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
    match path.metadata() {
        Ok(meta) if meta.is_file() => {}
        Ok(_) => return Ok(None),
        Err(e) if is_none(&e) => return Ok(None),
        Err(e) => return Err(e),
    }
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(e) if is_none(&e) => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut digest = Sha256::new();
    io::copy(&mut file, &mut digest)?;
    Ok(Some(format!("sha256:{}", hex::encode(digest.finalize()))))
}

pub(crate) fn unreadable(operation: &'static str, path: &Path, e: io::Error) -> Error {
    Error::new(ErrorKind::Storage, PACKER, operation, "a file can't be read").with("file", path.display()).caused_by(e)
}

/// Says whether an artifact is a file of this machine.
pub(crate) fn is_file(kind: ArtifactKind) -> bool {
    !matches!(kind, ArtifactKind::Ami | ArtifactKind::DockerImage)
}

/// A kind as JSON spells it.
pub(crate) fn kind_name(kind: ArtifactKind) -> String {
    serde_json::to_value(kind).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn raw(build: &str, builder_id: &str, id: &str, files: &[&str]) -> Raw {
        Raw {
            build: build.into(),
            builder_id: builder_id.into(),
            id: id.into(),
            text: "said".into(),
            files: files.iter().map(|f| (*f).to_owned()).collect(),
        }
    }

    #[test]
    fn each_builder_has_its_kind() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.box"), "box").unwrap();
        std::fs::write(dir.path().join("disk"), "disk").unwrap();
        let image = format!("sha256:{}", "a1".repeat(32));
        let raws = [
            raw("ebs", "mitchellh.amazonebs", "eu-west-1:ami-1,us-east-1:ami-2", &[]),
            raw("ebs", "mitchellh.post-processor.vagrant", "aws", &["a.box"]),
            raw("docker", "packer.docker", &image, &[]),
            raw("docker", "packer.post-processor.docker-tag", "web:1", &[]),
            raw("qemu", "transcend.qemu", "VM", &["disk", "gone"]),
            raw("qemu", "packer.post-processor.checksum", "", &["disk"]),
            raw("null", "fnoeding.null", "Null", &[]),
        ];
        let making = Making::unknown("web", String::new(), dir.path());
        let made = collect(&raws, &making).unwrap();
        let path = |f: &str| dir.path().join(f).display().to_string();
        let got: Vec<_> = made.artifacts.iter().map(|a| (a.kind, a.id.clone())).collect();
        assert_eq!(
            got,
            [
                (ArtifactKind::Ami, "eu-west-1:ami-1".into()),
                (ArtifactKind::Ami, "us-east-1:ami-2".into()),
                (ArtifactKind::VagrantBox, path("a.box")),
                (ArtifactKind::DockerImage, image.clone()),
                (ArtifactKind::DockerImage, "web:1".into()),
                (ArtifactKind::Disk, path("disk")),
            ]
        );
        assert_eq!(made.artifacts[0].digest, of_text("eu-west-1:ami-1"));
        assert_eq!((&made.artifacts[3].digest, &made.artifacts[4].digest), (&image, &image));
        assert_eq!(made.others, ["null: said"]);
    }
}
