//! Private folders of runs, and who owns them.
//!
//! ```text
//! <state_dir>/<image>/lock                 held while the image is built
//! <state_dir>/<image>/<content key>.json   what was built from what
//! <state_dir>/<image>/run-<token>~<content key>
//!                         /lock            held by its towpath as long as that works with it
//!                         /run.json        what is built, for whoever finds it
//!                         /template.json, vars.json   what Packer reads
//!                         /interrupted     there once Packer was interrupted
//!                         /stdout, stdout.err  its output
//! ```

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use towpath_core::local_tool::{Interrupt, Mark, Reach, is_written};
use towpath_core::{Artifact, Context, Result};

use crate::artifact::{Making, is_file};
use crate::files::{Held, hold, private_dir, read_json, storage, write_json};
use crate::output::Report;
use crate::provider::PACKER;

/// Environment variable of Packer and all that it starts. Its value is random for each run.
const TOKEN_VAR: &str = "TOWPATH_PACKER_RUN";

/// Starts the name of a run's folder.
const RUN: &str = "run-";
/// Starts the name of a folder that is being removed.
const GONE: &str = "gone-";
/// In place of a content key: the template is only looked at.
const NO_KEY: &str = "-";

/// A private folder of one run, and the lock that says that somebody works with it.
///
/// When it is dropped, the folder is removed, unless something was started in it whose end nobody has seen or written down:
/// that is found by the next build of the image.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) dir: PathBuf,
    /// In the environment of all that the run starts.
    pub(crate) token: String,
    /// What is built; `None`: the template is only looked at.
    content_key: Option<String>,
    started: AtomicBool,
    _held: Held,
}

impl Work {
    pub(crate) fn new(image_dir: &Path, operation: &'static str, content_key: Option<&str>) -> Result<Self> {
        let make = || -> io::Result<Self> {
            private_dir(image_dir)?;
            for _ in 0..100 {
                let token = format!("{:032x}", rand::random::<u128>());
                let dir = image_dir.join(format!("{RUN}{token}~{}", content_key.unwrap_or(NO_KEY)));
                private_dir(&dir)?;
                // Without its lock the folder is anybody's, and whoever cleans up may take it. There is nothing in it yet.
                let Some(held) = hold(&dir)? else { continue };
                File::open(image_dir)?.sync_all()?;
                let content_key = content_key.map(str::to_owned);
                return Ok(Self { dir, token, content_key, started: AtomicBool::new(false), _held: held });
            }
            Err(io::Error::other("files there can't be locked with `flock`"))
        };
        make().map_err(|e| storage(operation, image_dir, e))
    }

    /// The folder of a run whose towpath is gone. `None`: it works with it, or this is no such folder.
    fn abandoned(dir: PathBuf) -> io::Result<Option<Self>> {
        let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some((token, rest)) = name.strip_prefix(RUN).and_then(|n| n.split_once('~')) else { return Ok(None) };
        let key = rest.split('~').next().unwrap_or_default();
        let Some(held) = hold(&dir)? else { return Ok(None) };
        let content_key = (key != NO_KEY).then(|| key.to_owned());
        Ok(Some(Self { dir, token: token.to_owned(), content_key, started: AtomicBool::new(true), _held: held }))
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

    /// Is on all that the run starts.
    pub(crate) fn mark(&self) -> Mark {
        Mark::new(TOKEN_VAR, &self.token)
    }

    /// How it is asked to stop. The whole group hears it, as from a terminal; a second one would end the very programs that clean up, such as
    /// `docker rm`. What goes on all the same is killed in the end.
    pub(crate) fn interrupt(&self, grace: Duration) -> Interrupt {
        Interrupt::new(Reach::Group, grace, self.dir.join("interrupted"))
    }

    /// Writes down what is built, before it is.
    pub(crate) fn describe(&self, making: &Making) -> io::Result<()> {
        write_json(&self.dir.join("run.json"), making)
    }

    /// What was built. `None`: the template was only looked at.
    pub(crate) fn making(&self, name: &str, working_dir: &Path) -> Option<Making> {
        let key = self.content_key.clone()?;
        let written = read_json::<Making>(&self.dir.join("run.json")).ok().flatten();
        // The folder's name is there from its first moment; nothing was started before the file was there, too.
        Some(written.unwrap_or_else(|| Making::unknown(name, key, working_dir)))
    }

    /// From now on something runs that must not be forgotten.
    pub(crate) fn start(&self) {
        self.started.store(true, Ordering::Release);
    }

    /// Nothing runs any more, and what it came to is written down, or is nothing: the folder may go.
    pub(crate) fn settle(&self) {
        self.started.store(false, Ordering::Release);
    }

    /// What the run has said so far.
    pub(crate) fn report(&self) -> Report {
        let mut report = Report::default();
        let said = fs::read(self.stdout()).unwrap_or_default();
        for line in String::from_utf8_lossy(&said).lines() {
            report.take(line);
        }
        report
    }

    /// Says whether the files of these artifacts are as Packer left them: it wrote to its output after it had made them. Their digests
    /// are taken only now, so that somebody else's change would go unseen.
    pub(crate) fn has_written_last(&self, artifacts: &[Artifact]) -> bool {
        let modified = |path: &Path| path.metadata().and_then(|m| m.modified());
        let Ok(end) = modified(&self.stdout()) else { return false };
        let files = artifacts.iter().filter(|a| is_file(a.kind));
        files.map(|a| modified(Path::new(&a.id))).all(|time| time.is_ok_and(|time| time <= end))
    }

    /// Says whether Packer runs, wherever that may be: its output is locked as long as it does.
    pub(crate) fn is_running(&self) -> bool {
        is_written(&self.stdout())
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if self.started.load(Ordering::Acquire) {
            // Whatever runs still was interrupted. It has read this already, or fails, which is as good.
            let _ = fs::remove_file(self.vars());
            return;
        }
        // Renamed first: half a folder is nobody's run.
        let gone = self.dir.with_file_name(format!("{GONE}{}", self.token));
        let there = if fs::rename(&self.dir, &gone).is_ok() { &gone } else { &self.dir };
        let _ = fs::remove_dir_all(there);
    }
}

/// Waits until nobody else builds this image.
pub(crate) async fn lock(cx: &Context, image_dir: &Path, operation: &'static str) -> Result<Held> {
    let mut said = false;
    loop {
        let held = private_dir(image_dir).and_then(|()| hold(image_dir));
        if let Some(held) = held.map_err(|e| storage(operation, image_dir, e))? {
            return Ok(held);
        }
        if !said {
            let holder = "another build of this image on this machine".to_owned();
            let key = image_dir.join("lock").display().to_string();
            cx.emit(towpath_core::EventKind::Waiting { key, holder });
            said = true;
        }
        cx.sleep(PACKER, operation, Duration::from_millis(100)).await?;
    }
}

/// The runs of this image whose towpath is gone, the oldest first. They are this caller's until they are dropped. Removes what is left of
/// folders that were being removed.
pub(crate) fn abandoned(image_dir: &Path, operation: &'static str) -> Result<Vec<Work>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(image_dir).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(GONE) {
            let _ = fs::remove_dir_all(entry.path());
        } else if let Some(work) = Work::abandoned(entry.path()).map_err(|e| storage(operation, &entry.path(), e))? {
            found.push((entry.metadata().and_then(|m| m.modified()).ok(), work));
        }
    }
    found.sort_by_key(|(since, _)| *since);
    Ok(found.into_iter().map(|(_, work)| work).collect())
}

/// Says whether runs are left whose towpath is gone.
pub(crate) fn has_abandoned(image_dir: &Path) -> bool {
    let mut entries = fs::read_dir(image_dir).into_iter().flatten().flatten();
    entries.any(|e| {
        let is_run = e.file_name().to_string_lossy().starts_with(RUN);
        is_run && hold(&e.path()).is_ok_and(|lock| lock.is_some())
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_its_owners_as_long_as_it_lives() {
        let image = tempfile::tempdir().unwrap();
        let work = Work::new(image.path(), "build", Some("k")).unwrap();
        let dir = work.dir.clone();
        std::fs::write(work.vars(), "secret").unwrap();
        assert!(!has_abandoned(image.path()), "it lives");
        assert!(abandoned(image.path(), "build").unwrap().is_empty());

        // Dropped in the middle: the folder stays, without what is secret.
        work.start();
        drop(work);
        assert!(has_abandoned(image.path()) && dir.exists() && !dir.join("vars.json").exists());
        let found = abandoned(image.path(), "build").unwrap();
        assert_eq!(found.len(), 1);
        assert!(!has_abandoned(image.path()), "it has a new owner");
        assert!(!found.first().unwrap().is_running());
        drop(found);
        assert!(dir.exists(), "nobody has settled it");
        abandoned(image.path(), "build").unwrap().first().unwrap().settle();
        assert!(!dir.exists());

        std::fs::create_dir_all(image.path().join("gone-1")).unwrap();
        assert!(abandoned(image.path(), "build").unwrap().is_empty());
        assert!(!image.path().join("gone-1").exists());
    }
}
