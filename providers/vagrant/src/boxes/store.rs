//! The folder of one image's boxes.
//!
//! ```text
//! <dir>/<image>/catalogue.json                         what `vagrant box add` reads, 0644
//! <dir>/<image>/<image>-<version>-<provider>.box       a box, 0600: its tree may hold secrets
//! <dir>/<image>/records/<content key>.json             which box was made from what
//! <dir>/<image>/machine.json                           the throw-away machine of the build that runs, or that crashed
//! <dir>/<image>/lock                                   held by whoever builds or removes
//! ```

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use towpath_core::{Artifact, ArtifactKind, Context, Error, ErrorKind, Result};

use super::archive::digest;
use super::catalogue::{Catalogue, Offer};
use super::version::Version;
use super::{VAGRANT_BOX, VagrantBoxConfig};
use crate::files::{Held, blocking, hold, private_dir, read_json, remove, storage, write_json};

/// What a content key led to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) digest: String,
    pub(super) version: String,
    pub(super) provider: String,
    pub(super) base: String,
    /// The file as it was written, so that an untouched one need not be read to know that it is whole.
    stamp: Stamp,
}

/// Changes whenever somebody writes the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    len: u64,
    inode: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> io::Result<Self> {
        let m = fs::metadata(path)?;
        let (modified, changed) = ((m.mtime(), m.mtime_nsec()), (m.ctime(), m.ctime_nsec()));
        Ok(Self { len: m.len(), inode: m.ino(), modified, changed })
    }
}

/// The boxes of one image.
#[derive(Debug, Clone)]
pub(super) struct Store {
    pub(super) dir: PathBuf,
    image: String,
    box_name: String,
    description: String,
    url: Option<String>,
}

impl Store {
    pub(super) fn new(config: &VagrantBoxConfig, image: &str, operation: &'static str) -> Result<Self> {
        let dir = std::path::absolute(&config.dir).map_err(|e| storage(operation, &config.dir, e))?.join(image);
        Ok(Self {
            dir,
            image: image.to_owned(),
            box_name: config.box_name.clone().unwrap_or_else(|| image.to_owned()),
            description: config.description.clone(),
            url: config.url.clone(),
        })
    }

    pub(super) fn catalogue(&self) -> PathBuf {
        self.dir.join("catalogue.json")
    }

    pub(super) fn file_name(&self, version: &str, provider: &str) -> String {
        format!("{}-{version}-{provider}.box", self.image)
    }

    pub(super) fn path(&self, record: &Record) -> PathBuf {
        self.dir.join(self.file_name(&record.version, &record.provider))
    }

    fn record(&self, key: &str) -> PathBuf {
        self.dir.join("records").join(format!("{key}.json"))
    }

    fn records(&self) -> Vec<(PathBuf, Record)> {
        let entries = fs::read_dir(self.dir.join("records")).into_iter().flatten().flatten();
        // One that can't be read is as good as none: it is written anew.
        entries.filter_map(|e| Some((e.path(), read_json(&e.path()).ok().flatten()?))).collect()
    }

    fn offer(&self, record: &Record) -> Offer {
        let name = self.file_name(&record.version, &record.provider);
        let url = match &self.url {
            Some(url) => format!("{}/{name}", url.trim_end_matches('/')),
            None => format!("file://{}", url_path(&self.dir.join(name))),
        };
        Offer::new(&record.provider, url, &record.digest)
    }

    /// Waits until nobody else builds or removes here, and clears what a crash left of files.
    pub(super) async fn lock(&self, cx: &Context, operation: &'static str) -> Result<Held> {
        let own = |e| storage(operation, &self.dir, e);
        private_dir(&self.dir).map_err(own)?;
        let mut told = false;
        loop {
            if let Some(held) = hold(&self.dir).map_err(own)? {
                self.clear_leftovers();
                return Ok(held);
            }
            if !told {
                cx.warn(format!("another build of the image `{}` is running: waiting for it", self.image));
                told = true;
            }
            cx.sleep(VAGRANT_BOX, operation, Duration::from_millis(50)).await?;
        }
    }

    /// The lock is held, so nobody is writing.
    fn clear_leftovers(&self) {
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(".new-") {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    /// A folder for files that are being made.
    pub(super) fn work(&self) -> Result<PathBuf> {
        let path = self.dir.join(format!(".new-{:016x}", rand::random::<u64>()));
        private_dir(&path).map_err(|e| storage("build", &path, e))?;
        Ok(path)
    }

    /// The box that was made from this content, if it is whole and in the catalogue.
    pub(super) async fn find(&self, operation: &'static str, key: &str) -> Result<Option<Record>> {
        Ok(self.made(operation, key).await?.filter(|record| self.is_listed(record)))
    }

    fn is_listed(&self, record: &Record) -> bool {
        let catalogue = Catalogue::read(&self.catalogue()).unwrap_or_default();
        catalogue.offer(&record.version, &record.provider) == Some(&self.offer(record))
    }

    /// The box that was made from this content, if it is whole, whether the catalogue says so or not.
    pub(super) async fn made(&self, operation: &'static str, key: &str) -> Result<Option<Record>> {
        let (this, path) = (self.clone(), self.record(key));
        let look = move || -> io::Result<Option<Record>> {
            let Some(record) = read_json::<Record>(&path).ok().flatten() else { return Ok(None) };
            let file = this.path(&record);
            match Stamp::of(&file) {
                Ok(stamp) if stamp == record.stamp => Ok(Some(record)),
                Ok(_) => Ok(digest(&file)?.filter(|found| *found == record.digest).map(|_| record)),
                Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(e) => Err(e),
            }
        };
        blocking(look).await.and_then(|r| r).map_err(|e| storage(operation, &self.dir, e))
    }

    /// The version that a box of this content gets.
    ///
    /// # Errors
    ///
    /// [`AlreadyExists`](ErrorKind::AlreadyExists): the version is there, with another content.
    pub(super) fn version(
        &self,
        operation: &'static str,
        wanted: Option<&str>,
        provider: &str,
        key: &str,
    ) -> Result<String> {
        let catalogue = Catalogue::read(&self.catalogue()).map_err(|e| storage(operation, &self.catalogue(), e))?;
        let own = self.records().into_iter().find(|(path, _)| *path == self.record(key)).map(|(_, r)| r);
        let own = own.filter(|r| r.provider == provider);
        let Some(version) = wanted else {
            // A box that got lost is made again under its old version.
            let next = || catalogue.newest().map_or(Version::FIRST, Version::next).to_string();
            return Ok(own.map(|r| r.version).unwrap_or_else(next));
        };
        if catalogue.offer(version, provider).is_some() && own.is_none_or(|r| r.version != version) {
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                VAGRANT_BOX,
                operation,
                "the catalogue has this version, made from another content: raise `version`, or leave it out",
            )
            .with("version", version)
            .with("provider", provider)
            .with("catalogue", self.catalogue().display()));
        }
        Ok(version.to_owned())
    }

    /// Puts a finished box in its place and lists it. The lock is held.
    ///
    /// First the file, then the record, then the catalogue: wherever it ends, the catalogue lists only whole boxes, and the
    /// next build goes on.
    pub(super) fn publish(
        &self,
        key: &str,
        made: &Path,
        digest: &str,
        name: (&str, &str),
        base: &str,
    ) -> io::Result<Record> {
        let (version, provider) = name;
        let path = self.dir.join(self.file_name(version, provider));
        fs::rename(made, &path)?;
        let (version, provider, base) = (version.to_owned(), provider.to_owned(), base.to_owned());
        let record = Record { digest: digest.to_owned(), version, provider, base, stamp: Stamp::of(&path)? };
        private_dir(&self.dir.join("records"))?;
        write_json(&self.record(key), &record)?;
        File::open(&self.dir)?.sync_all()?;
        self.list(&record)?;
        Ok(record)
    }

    /// Lists a box that is there. The lock is held.
    pub(super) fn list(&self, record: &Record) -> io::Result<()> {
        let mut catalogue = Catalogue::read(&self.catalogue())?;
        catalogue.name.clone_from(&self.box_name);
        catalogue.description.clone_from(&self.description);
        catalogue.add(&record.version, self.offer(record));
        catalogue.write(&self.catalogue())?;
        File::open(&self.dir)?.sync_all()
    }

    /// The path of an artifact, if it is one of this folder's, with its version and provider.
    pub(super) fn own(&self, operation: &'static str, artifact: &Artifact) -> Result<(PathBuf, String, String)> {
        let path = PathBuf::from(&artifact.id);
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let parts =
            name.strip_prefix(&format!("{}-", self.image)).and_then(|n| n.strip_suffix(".box")?.split_once('-'));
        match parts.filter(|(v, p)| Version::parse(v).is_some() && matches!(*p, "libvirt" | "docker")) {
            Some((version, provider))
                if artifact.kind == ArtifactKind::VagrantBox && path.parent() == Some(self.dir.as_path()) =>
            {
                Ok((path.clone(), version.to_owned(), provider.to_owned()))
            }
            _ => Err(Error::new(
                ErrorKind::InvalidInput,
                VAGRANT_BOX,
                operation,
                "the artifact is no box of this builder's folder",
            )
            .with("artifact", &artifact.id)
            .with("folder", self.dir.display())),
        }
    }

    /// Takes a box out of the catalogue, then removes it. `false`: it was not there. The lock is held.
    pub(super) fn remove(&self, path: &Path, version: &str, provider: &str) -> io::Result<bool> {
        let mut catalogue = Catalogue::read(&self.catalogue())?;
        if catalogue.remove(version, provider) {
            catalogue.write(&self.catalogue())?;
        }
        for (at, record) in self.records() {
            if record.version == version && record.provider == provider {
                fs::remove_file(at)?;
            }
        }
        remove(path)
    }
}

/// A path as a URL has it.
fn url_path(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    let mut out = String::new();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b if b.is_ascii_alphanumeric() || b"/._-~+".contains(b) => out.push(char::from(*b)),
            b => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}
