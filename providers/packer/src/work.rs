//! Private folders of runs, and what is left of runs whose towpath died.
//!
//! ```text
//! <state_dir>/<image>/lock                 held while the image is built
//! <state_dir>/<image>/<content key>.json   what was built from what
//! <state_dir>/<image>/run-<token>~...      whose run it is stands in its name, so that no moment is without it
//!                         /template.json, vars.json   what Packer reads
//!                         /stdout, stderr             its output, so that it outlives towpath
//! ```

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use towpath_core::{Context, OwnerProcess, Result};

use crate::files::{private_dir, storage};
use crate::output::Report;
use crate::process::{self, Ended};
use crate::provider::PACKER;

/// Whose run it is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Owner {
    /// In the environment of all that the run starts.
    token: String,
    /// What is built; `None`: the template is only looked at.
    content_key: Option<String>,
    /// `None` where the system does not say: then nobody can tell that it died.
    process: Option<OwnerProcess>,
}

impl Owner {
    /// The name of its folder. A file inside could be missing: a crash can come before it is written, or while the folder
    /// is removed.
    fn folder(&self) -> String {
        let key = self.content_key.as_deref().unwrap_or("-");
        match &self.process {
            None => format!("run-{}~{key}", self.token),
            Some(p) => format!("run-{}~{key}~{}~{}~{}~{}", self.token, p.pid, p.started, p.boot, p.namespace),
        }
    }

    fn of_folder(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix("run-")?.split('~');
        let (token, key) = (parts.next()?.to_owned(), parts.next()?);
        let mut process = || {
            Some(OwnerProcess {
                pid: parts.next()?.parse().ok()?,
                started: parts.next()?.parse().ok()?,
                boot: parts.next()?.to_owned(),
                namespace: parts.next()?.to_owned(),
            })
        };
        Some(Self { token, content_key: (key != "-").then(|| key.to_owned()), process: process() })
    }

    fn is_dead(&self) -> bool {
        self.process.as_ref().is_some_and(OwnerProcess::is_dead)
    }
}

/// A private folder of one run, removed with all in it when it is dropped.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) dir: PathBuf,
    /// In the environment of all that the run starts.
    pub(crate) token: String,
}

impl Work {
    pub(crate) fn new(image_dir: &Path, operation: &'static str, content_key: Option<&str>) -> Result<Self> {
        let token = format!("{:032x}", rand::random::<u128>());
        let owner =
            Owner { token: token.clone(), content_key: content_key.map(str::to_owned), process: OwnerProcess::this() };
        let this = Self { dir: image_dir.join(owner.folder()), token };
        let make = || {
            private_dir(image_dir)?;
            private_dir(&this.dir)?;
            File::open(image_dir)?.sync_all()
        };
        make().map_err(|e| storage(operation, image_dir, e))?;
        Ok(this)
    }

    pub(crate) fn template(&self) -> PathBuf {
        self.dir.join("template.json")
    }
    pub(crate) fn vars(&self) -> PathBuf {
        // By this name Packer knows that it is JSON, whatever the template is.
        self.dir.join("vars.json")
    }
    pub(crate) fn stdout(&self) -> PathBuf {
        self.dir.join("stdout")
    }
    pub(crate) fn stderr(&self) -> PathBuf {
        self.dir.join("stderr")
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A new, empty file of mode 0600.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Waits until nobody else builds this image.
pub(crate) async fn lock(cx: &Context, image_dir: &Path, operation: &'static str) -> Result<Flock<File>> {
    let path = image_dir.join("lock");
    let open = || {
        private_dir(image_dir)?;
        OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path)
    };
    let mut said = false;
    loop {
        let file = open().map_err(|e| storage(operation, &path, e))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => {}
            Err((_, e)) => return Err(storage(operation, &path, e.into())),
        }
        if !said {
            let holder = "another build of this image on this machine".to_owned();
            cx.emit(towpath_core::EventKind::Waiting { key: path.display().to_string(), holder });
            said = true;
        }
        cx.sleep(PACKER, operation, Duration::from_millis(100)).await?;
    }
}

/// A run whose towpath died.
#[derive(Debug)]
pub(crate) struct Leftover {
    /// What it built.
    pub(crate) content_key: Option<String>,
    /// What was running still, and was ended.
    pub(crate) ended: Ended,
    /// What it had said.
    pub(crate) report: Report,
    /// Kept until what it says is written down.
    pub(crate) work: Work,
}

/// The runs whose towpath died.
fn abandoned(image_dir: &Path) -> impl Iterator<Item = (Owner, PathBuf)> {
    let entries = fs::read_dir(image_dir).into_iter().flatten().flatten();
    entries.filter_map(|e| {
        let owner = Owner::of_folder(&e.file_name().to_string_lossy())?;
        owner.is_dead().then(|| (owner, e.path()))
    })
}

/// Says whether runs are left whose towpath died.
pub(crate) fn has_abandoned(image_dir: &Path) -> bool {
    abandoned(image_dir).next().is_some()
}

/// Ends what is left of runs whose towpath died. Their folders go when the result is dropped.
pub(crate) async fn sweep(image_dir: &Path, grace: Duration) -> Vec<Leftover> {
    let mut found = Vec::new();
    let all: Vec<_> = abandoned(image_dir).collect();
    for (owner, dir) in all {
        let work = Work { dir, token: owner.token };
        let ended = process::end(&work.token, grace).await;
        let mut report = Report::default();
        let said = fs::read(work.stdout()).unwrap_or_default();
        for line in String::from_utf8_lossy(&said).lines() {
            report.take(line);
        }
        found.push(Leftover { content_key: owner.content_key, ended, report, work });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_names_its_owner() {
        let process = OwnerProcess::this();
        assert!(process.is_some(), "these tests run on Linux");
        for content_key in [None, Some("f".repeat(64))] {
            let owner = Owner { token: "0".repeat(32), content_key, process: process.clone() };
            let name = owner.folder();
            assert!(name.len() < 255 && !name.contains('/'), "{name}");
            assert_eq!(Owner::of_folder(&name), Some(owner.clone()));
            assert!(!owner.is_dead());
        }
        let unknown = Owner { token: "1".into(), content_key: None, process: None };
        assert_eq!(Owner::of_folder(&unknown.folder()), Some(unknown.clone()));
        assert!(!unknown.is_dead());
        assert_eq!(Owner::of_folder("lock"), None);
    }
}
