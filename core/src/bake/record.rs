//! What is kept of an artifact beside it.

use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::source::Commit;
use crate::equivalence::Contents;
use crate::private_files::{private_dir, read_json, write_private};
use crate::{Artifact, Base, Error, ErrorKind, Event, ImageDefinition, Json, Result};

const PROVENANCE: &str = "provenance.json";
const CONTENTS: &str = "contents.json";
const SBOM: &str = "sbom.cdx.json";
const LOG: &str = "build.jsonl";

/// What an artifact was made from and by.
pub(super) struct Made<'a> {
    pub(super) image: &'a ImageDefinition,
    pub(super) builder: &'a str,
    pub(super) configurators: &'a [String],
    pub(super) sources: &'a [Commit],
}

/// The folder of an artifact's record.
#[derive(Debug)]
pub(super) struct Record {
    folder: PathBuf,
}

/// What is read back of a statement.
#[derive(Deserialize)]
struct Statement {
    predicate: Predicate,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Predicate {
    build_definition: BuildDefinition,
    run_details: RunDetails,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BuildDefinition {
    external_parameters: ExternalParameters,
}

#[derive(Deserialize)]
struct ExternalParameters {
    artifact: Artifact,
}

#[derive(Deserialize)]
struct RunDetails {
    byproducts: Vec<Byproduct>,
}

#[derive(Deserialize)]
struct Byproduct {
    name: String,
    digest: Sha,
}

#[derive(Deserialize)]
struct Sha {
    sha256: String,
}

impl Record {
    /// Below `dir`, by the artifact's name, its label and its content key.
    pub(super) fn new(dir: &Path, label: &str, artifact: &Artifact) -> Self {
        let key = artifact.provenance.content_key.as_str();
        let key = if key.is_empty() { artifact.digest.trim_start_matches("sha256:") } else { key };
        let short: String = key.chars().filter(char::is_ascii_alphanumeric).take(12).collect();
        Self { folder: dir.join(&artifact.name).join(label).join(short) }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The contents that are kept of just this artifact. `None`: there is no whole record of it.
    pub(super) fn contents(&self, artifact: &Artifact) -> Result<Option<Contents>> {
        let read = || -> io::Result<Option<Contents>> {
            let Some(statement) = read_json::<Statement>(&self.folder.join(PROVENANCE))? else { return Ok(None) };
            let details = statement.predicate.run_details;
            let kept = details.byproducts.iter().find(|b| b.name == CONTENTS);
            let Some(kept) =
                kept.filter(|_| statement.predicate.build_definition.external_parameters.artifact == *artifact)
            else {
                return Ok(None);
            };
            let bytes = std::fs::read(self.folder.join(CONTENTS))?;
            if hex::encode(Sha256::digest(&bytes)) != kept.digest.sha256 {
                return Ok(None);
            }
            serde_json::from_slice(&bytes).map(Some).map_err(io::Error::other)
        };
        match read() {
            Ok(found) => Ok(found),
            // One that somebody damaged is written anew.
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Err(self.failed("can't be read", e)),
            Err(_) => Ok(None),
        }
    }

    /// Writes it; the statement comes last, so that a record that has one is whole.
    pub(super) fn write(
        &self,
        artifact: &Artifact,
        contents: Option<&Contents>,
        events: &[Event],
        made: &Made<'_>,
    ) -> Result<()> {
        let mut log = Vec::new();
        for event in events {
            log.extend(serde_json::to_vec(event).unwrap_or_default());
            log.push(b'\n');
        }
        let mut files = Vec::new();
        // The log of the build is not replaced by that of a run which has found the artifact made.
        if !events.is_empty() || !self.folder.join(LOG).exists() {
            files.push((LOG, log));
        }
        if let Some(contents) = contents {
            files.push((CONTENTS, text(contents)));
            files.push((SBOM, text(&contents.sbom(&artifact.name, &artifact.digest))));
        }
        let write = || -> io::Result<()> {
            for folder in [self.folder.parent().and_then(Path::parent), self.folder.parent(), Some(&self.folder)] {
                folder.map_or(Ok(()), private_dir)?;
            }
            for (name, bytes) in &files {
                write_private(&self.folder.join(name), bytes)?;
            }
            let statement = statement(artifact, made, &files);
            write_private(&self.folder.join(PROVENANCE), &text(&statement))
        };
        write().map_err(|e| self.failed("can't be written", e))
    }

    fn failed(&self, what: &str, e: io::Error) -> Error {
        Error::new(ErrorKind::Storage, "core", "bake", format!("the record of an artifact {what}"))
            .with("folder", self.folder.display())
            .caused_by(e)
    }
}

fn text(value: &impl serde::Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// Sources: in-toto attestation framework, "Statement" v1; SLSA 1.0, "Provenance".
///
/// It holds no time: the same artifact has the same statement. Times are in the log.
fn statement(artifact: &Artifact, made: &Made<'_>, files: &[(&str, Vec<u8>)]) -> Json {
    let sha256 = |digest: &str| json!({"sha256": digest.trim_start_matches("sha256:")});
    let mut dependencies = Vec::new();
    if let Some(digest) = artifact.provenance.labels.get("base-digest") {
        dependencies.push(json!({"name": artifact.provenance.base, "digest": sha256(digest)}));
    }
    for source in made.sources {
        let annotations = json!({"modified": source.modified});
        let digest = json!({"gitCommit": source.commit});
        dependencies.push(json!({"name": source.name, "digest": digest, "annotations": annotations}));
    }
    let byproducts = files.iter().filter(|(name, _)| *name != LOG);
    let byproducts =
        byproducts.map(|(name, bytes)| json!({"name": name, "digest": {"sha256": hex::encode(Sha256::digest(bytes))}}));
    let base = match &made.image.base {
        Base::Host(host) => host.name.clone(),
        Base::Image(reference) => reference.clone(),
        Base::Artifact(artifact) => artifact.id.clone(),
    };
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": artifact.id, "digest": sha256(&artifact.digest)}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": concat!(env!("CARGO_PKG_REPOSITORY"), "/bake/v1"),
                "externalParameters": {
                    "name": made.image.name,
                    "base": base,
                    "configurators": made.configurators,
                    "labels": made.image.labels,
                    "artifact": artifact,
                },
                "resolvedDependencies": dependencies,
            },
            "runDetails": {
                "builder": {"id": format!("{}/{}", env!("CARGO_PKG_REPOSITORY"), made.builder), "version": {"towpath": env!("CARGO_PKG_VERSION")}},
                "byproducts": byproducts.collect::<Vec<_>>(),
            },
        },
    })
}
