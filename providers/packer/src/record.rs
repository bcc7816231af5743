//! What was built from what: in the state folder, beside each file, and in the store where there is one.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use towpath_core::{Artifact, ArtifactKind, Context, Json, Result, RunId};

use crate::artifact::{Making, is_file, of_file};
use crate::files::{blocking, read_json, remove, storage, write_json};
use crate::provider::PACKER;

/// What one content key led to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) image: String,
    pub(crate) content_key: String,
    pub(crate) artifacts: Vec<Artifact>,
    /// The run of a pipeline that built it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) run: Option<RunId>,
}

impl Record {
    /// Says whether this very run has built it: in an earlier process, or in another step.
    pub(crate) fn is_of_run(&self, cx: &Context) -> bool {
        self.run.is_some() && self.run.as_ref() == cx.run()
    }
}

/// Which of the two records of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Which {
    /// All that the image is: it can be reused.
    Whole,
    /// What is left of builds that failed, or were replaced: it exists, and somebody may want to remove it.
    Rest,
}

impl Which {
    fn name(self, key: &str) -> String {
        match self {
            Self::Whole => key.to_owned(),
            Self::Rest => format!("{key}.rest"),
        }
    }
}

/// Whose a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    /// It is the artifact that is asked for, whole or not.
    Given,
    /// Another artifact of this builder has taken its place.
    Another,
    /// This builder knows nothing of it.
    Nobody,
}

/// The file beside an artifact that says where it came from.
fn beside(artifact: &Path) -> PathBuf {
    let mut name = artifact.as_os_str().to_owned();
    name.push(".towpath.json");
    name.into()
}

/// Says whether two artifacts are one thing. A file that was written again took the place of the older one; a Docker image
/// that lost its name to another is there still.
fn is_same(one: &Artifact, other: &Artifact) -> bool {
    one.id == other.id && (is_file(one.kind) || one.digest == other.digest)
}

/// Each of them once. The latest of equal ones says the most.
pub(crate) fn once(artifacts: Vec<Artifact>) -> Vec<Artifact> {
    let mut once: Vec<Artifact> = Vec::new();
    for artifact in artifacts.into_iter().rev() {
        if !once.iter().any(|known| is_same(known, &artifact)) {
            once.push(artifact);
        }
    }
    once.reverse();
    once
}

/// A record's file. `None`: there is none, or it is no record.
fn readable(path: &Path) -> Result<Option<Record>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(storage("recorded", path, e)),
    }
}

/// The records of one image.
#[derive(Debug, Clone)]
pub(crate) struct Records {
    dir: PathBuf,
    image: String,
}

impl Records {
    pub(crate) fn new(image_dir: PathBuf, image: &str) -> Self {
        Self { dir: image_dir, image: image.to_owned() }
    }

    fn file(&self, key: &str, which: Which) -> PathBuf {
        self.dir.join(format!("{}.json", which.name(key)))
    }

    fn document(&self, key: &str, which: Which) -> String {
        format!("{}/{}", self.image, which.name(key))
    }

    /// Reads one. What is no record is as good as none: the image is built again. What can't be read is an error, since nobody
    /// knows then what would be forgotten.
    ///
    /// Of the rest, what another machine has put into the store counts as well as what is here.
    pub(crate) async fn read(&self, cx: &Context, key: &str, which: Which) -> Result<Option<Record>> {
        let here = readable(&self.file(key, which))?;
        if here.is_some() && which == Which::Whole {
            return Ok(here);
        }
        let Some(store) = cx.store() else { return Ok(here) };
        let name = self.document(key, which);
        let found = store.documents(PACKER).await?.into_iter().find(|(k, _)| *k == name);
        let there: Option<Record> = found.and_then(|(_, value)| serde_json::from_value(value).ok());
        Ok(match (here, there) {
            (Some(here), Some(there)) => {
                Some(Record { artifacts: once([there.artifacts, here.artifacts].concat()), ..here })
            }
            (here, there) => here.or(there),
        })
    }

    /// Reads all of this image.
    pub(crate) async fn all(&self, cx: &Context) -> Result<Vec<(Which, Record)>> {
        let mut names: BTreeSet<(String, Which)> = BTreeSet::new();
        let mut take = |name: &str| match name.strip_suffix(".rest") {
            Some(key) => names.insert((key.to_owned(), Which::Rest)),
            None => names.insert((name.to_owned(), Which::Whole)),
        };
        match std::fs::read_dir(&self.dir) {
            Ok(entries) => {
                for entry in entries {
                    let name = entry.map_err(|e| storage("recorded", &self.dir, e))?.file_name();
                    // Half-written ones start with a dot.
                    name.to_str().and_then(|n| n.strip_suffix(".json")).filter(|n| !n.starts_with('.')).map(&mut take);
                }
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(storage("recorded", &self.dir, e)),
        }
        if let Some(store) = cx.store() {
            let prefix = format!("{}/", self.image);
            for (name, _) in store.documents(PACKER).await? {
                name.strip_prefix(&prefix).map(&mut take);
            }
        }
        let mut found = Vec::new();
        for (key, which) in names {
            found.extend(self.read(cx, &key, which).await?.map(|record| (which, record)));
        }
        Ok(found)
    }

    async fn write(&self, cx: &Context, which: Which, record: &Record) -> Result<()> {
        let path = self.file(&record.content_key, which);
        let document = self.document(&record.content_key, which);
        if record.artifacts.is_empty() {
            remove(&path).map_err(|e| storage("build", &path, e))?;
            return match cx.store() {
                Some(store) => store.put_document(PACKER, &document, None).await,
                None => Ok(()),
            };
        }
        write_json(&path, record).map_err(|e| storage("build", &path, e))?;
        if let Some(store) = cx.store() {
            let value = serde_json::to_value(record).unwrap_or(Json::Null);
            store.put_document(PACKER, &document, Some(&value)).await?;
        }
        Ok(())
    }

    /// Writes down what a build made: all of it, or what a failed one left. What was known before and is not part of it
    /// is kept as the rest, so nothing is forgotten that may still be there.
    pub(crate) async fn save(&self, cx: &Context, which: Which, making: &Making, artifacts: &[Artifact]) -> Result<()> {
        self.save_as(cx, which, (&making.provenance.content_key, making.run.as_ref()), artifacts).await
    }

    async fn save_as(
        &self,
        cx: &Context,
        which: Which,
        (key, run): (&str, Option<&RunId>),
        artifacts: &[Artifact],
    ) -> Result<()> {
        let record =
            |artifacts| Record { image: self.image.clone(), content_key: key.to_owned(), artifacts, run: run.cloned() };
        let mut rest: Vec<Artifact> = Vec::new();
        for old in [Which::Rest, Which::Whole] {
            if old == Which::Whole && which == Which::Rest {
                continue; // it stays as it is
            }
            if let Some(old) = self.read(cx, key, old).await? {
                rest.extend(old.artifacts);
            }
        }
        match which {
            Which::Rest => rest.extend(artifacts.iter().cloned()),
            Which::Whole => rest.retain(|old| !artifacts.iter().any(|new| is_same(new, old))),
        }
        // Whatever comes between, nothing is in neither.
        self.write(cx, Which::Rest, &record(once(rest))).await?;
        if which == Which::Whole {
            self.write(cx, Which::Whole, &record(artifacts.to_vec())).await?;
        }
        for artifact in artifacts.iter().filter(|a| is_file(a.kind) && Path::new(&a.id).exists()) {
            let path = beside(Path::new(&artifact.id));
            write_json(&path, artifact).map_err(|e| storage("build", &path, e))?;
        }
        Ok(())
    }

    /// Every name under which the Docker image with this id was made.
    pub(crate) async fn of_image(&self, cx: &Context, id: &str) -> Result<Vec<Artifact>> {
        let all = self.all(cx).await?.into_iter().flat_map(|(_, record)| record.artifacts);
        let mut found: Vec<Artifact> = Vec::new();
        for artifact in all.filter(|a| a.kind == ArtifactKind::DockerImage && a.digest == id) {
            if !found.iter().any(|known| known.id == artifact.id) {
                found.push(artifact);
            }
        }
        Ok(found)
    }

    /// Whose a file is.
    pub(crate) async fn holder(&self, cx: &Context, artifact: &Artifact) -> Result<Holder> {
        let is_given = |a: &Artifact| a.digest == artifact.digest && a.name == artifact.name;
        let all = self.all(cx).await?.into_iter().flat_map(|(_, record)| record.artifacts);
        let here: Vec<Artifact> = all.filter(|a| a.id == artifact.id).collect();
        let path = PathBuf::from(&artifact.id);
        // What was built last stands beside it, whichever image and definition that was.
        let own: Option<Artifact> =
            read_json::<Artifact>(&beside(&path)).ok().flatten().filter(|own| own.id == artifact.id);
        if let Some(own) = own {
            return Ok(if is_given(&own) { Holder::Given } else { Holder::Another });
        }
        if !here.iter().any(is_given) {
            return Ok(if here.is_empty() { Holder::Nobody } else { Holder::Another });
        }
        let there = blocking(move || of_file(&path)).await.and_then(|digest| digest);
        let there = there.map_err(|e| storage("remove", Path::new(&artifact.id), e))?;
        let replaced = |a: &Artifact| !is_given(a) && Some(&a.digest) == there.as_ref();
        Ok(if here.iter().any(replaced) { Holder::Another } else { Holder::Given })
    }

    /// Forgets an artifact that was removed, and with a file all that have ever been at its path.
    pub(crate) async fn forget(&self, cx: &Context, artifact: &Artifact) -> Result<()> {
        if is_file(artifact.kind) {
            let path = beside(Path::new(&artifact.id));
            remove(&path).map_err(|e| storage("remove", &path, e))?;
        }
        self.forget_where(cx, |a| is_same(a, artifact)).await
    }

    /// Forgets a file that another one has taken the place of.
    pub(crate) async fn forget_replaced(&self, cx: &Context, artifact: &Artifact) -> Result<()> {
        self.forget_where(cx, |a| a.id == artifact.id && a.digest == artifact.digest).await
    }

    /// What the records hold beside what is gone becomes the rest: the image is whole no more.
    async fn forget_where(&self, cx: &Context, is_gone: impl Fn(&Artifact) -> bool) -> Result<()> {
        for (which, mut record) in self.all(cx).await? {
            let before = record.artifacts.len();
            record.artifacts.retain(|a| !is_gone(a));
            if record.artifacts.len() == before {
                continue;
            }
            if which == Which::Rest {
                self.write(cx, which, &record).await?;
                continue;
            }
            // Whatever comes between, nothing is in neither.
            let left = std::mem::take(&mut record.artifacts);
            self.save_as(cx, Which::Rest, (&record.content_key, record.run.as_ref()), &left).await?;
            self.write(cx, which, &record).await?;
        }
        Ok(())
    }
}

/// Says whether every artifact that is a file is there and as its digest says.
pub(crate) async fn are_whole(artifacts: &[Artifact]) -> bool {
    let files: Vec<Artifact> = artifacts.iter().filter(|a| is_file(a.kind)).cloned().collect();
    let check = move || {
        files.iter().all(|a| of_file(Path::new(&a.id)).is_ok_and(|found| found.as_deref() == Some(a.digest.as_str())))
    };
    blocking(check).await.unwrap_or(false)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use towpath_core::{MemoryStore, Provenance, Store};

    use super::*;
    use crate::files::private_dir;

    fn ami(id: &str) -> Artifact {
        let (name, digest) = ("web".to_owned(), format!("digest of {id}"));
        Artifact { name, kind: ArtifactKind::Ami, id: id.into(), digest, provenance: Provenance::default() }
    }

    async fn ids(records: &Records, cx: &Context, which: Which) -> Vec<String> {
        let record = records.read(cx, "k", which).await.unwrap();
        let mut ids: Vec<String> = record.map(|r| r.artifacts.into_iter().map(|a| a.id).collect()).unwrap_or_default();
        ids.sort();
        ids
    }

    #[tokio::test]
    async fn what_another_machine_knows_is_not_overwritten() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let cx = Context::builder().store(store).build();
        let making = Making::unknown("web", "k".into(), one.path());
        let here = Records::new(one.path().join("web"), "web");
        let there = Records::new(other.path().join("web"), "web");
        for records in [&here, &there] {
            private_dir(&records.dir).unwrap();
        }
        here.save(&cx, Which::Rest, &making, &[ami("1")]).await.unwrap();
        there.save(&cx, Which::Rest, &making, &[ami("2")]).await.unwrap();
        here.save(&cx, Which::Rest, &making, &[ami("3")]).await.unwrap();
        assert_eq!(ids(&here, &cx, Which::Rest).await, ["1", "2", "3"]);
        there.save(&cx, Which::Whole, &making, &[ami("4")]).await.unwrap();
        here.save(&cx, Which::Whole, &making, &[ami("5")]).await.unwrap();
        assert_eq!(ids(&here, &cx, Which::Whole).await, ["5"]);
        assert_eq!(ids(&here, &cx, Which::Rest).await, ["1", "2", "3", "4"], "those that were replaced exist still");
        here.forget(&cx, &ami("5")).await.unwrap();
        assert_eq!(ids(&here, &cx, Which::Whole).await, Vec::<String>::new());
        assert_eq!(ids(&here, &cx, Which::Rest).await, ["1", "2", "3", "4"]);
    }

    #[tokio::test]
    async fn a_record_that_can_not_be_read_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::new(dir.path().to_owned(), "web");
        let making = Making::unknown("web", "k".into(), dir.path());
        // A folder in its place: whoever runs the tests may read every file.
        std::fs::create_dir(records.file("k", Which::Rest)).unwrap();
        let cx = Context::new();
        let error = records.save(&cx, Which::Whole, &making, &[ami("1")]).await.unwrap_err();
        assert_eq!(error.kind(), towpath_core::ErrorKind::Storage, "{error:?}");
        assert!(records.all(&cx).await.is_err());
    }
}
