//! Makes paths of a host what is wanted.

use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::json;
use towpath_core::{Connection, Context, Error, ErrorKind, Exec, PutOptions, Result, shell_quote};

use super::look::{Has, LINKED};
use super::ready::File;
use super::{Found, LISTED, Seen, Upload, Uploaded, Wanted};
use crate::SCRIPT;

/// How many files of a tree travel at the same time.
const AT_ONCE: usize = 8;

/// Names a note of the journal: what is going to be changed.
const NOTE: &str = "changes";

impl Upload {
    /// Changes what differs. Done again it changes nothing. `interrupted`: an attempt before this one did not come to its end.
    pub(crate) async fn apply(&self, cx: &Context, connection: &dyn Connection, interrupted: bool) -> Result<Uploaded> {
        let seen = self.look(cx, connection).await?;
        let differs = self.differing(&seen);
        for (wanted, found) in &differs {
            self.refuse(wanted, found)?;
        }
        let changed = differs.iter().map(|(w, _)| w.path.clone()).take(LISTED).collect();
        let mut done = Uploaded { changed, count: differs.len() };
        // What an attempt has changed that a crash interrupted counts, since steps may wait for it.
        match cx.recall(NOTE).filter(|_| interrupted).and_then(|n| serde_json::from_value::<Uploaded>(n).ok()) {
            Some(before) if before.count >= done.count => done = before,
            _ if done.count > 0 => cx.note(NOTE, json!(done)).await?,
            _ => {}
        }
        // Folders first, the outer before the inner, as they were listed.
        self.folders(cx, connection, &differs).await?;
        let mut work = Vec::new();
        for (wanted, found) in &differs {
            work.extend(wanted.file.as_ref().map(|file| self.file(cx, connection, &seen, wanted, found, file)));
        }
        futures::stream::iter(work).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
        Ok(done)
    }

    /// What is not there as it is wanted.
    pub(crate) fn differing<'a>(&'a self, seen: &'a Seen) -> Vec<(&'a Wanted, &'a Found)> {
        let found = |w: &Wanted| seen.found.get(&w.path).unwrap_or(&Found::Hidden);
        self.wanted.iter().map(|w| (w, found(w))).filter(|(w, f)| !w.is_there(f, &self.config)).collect()
    }

    /// Says what can't be changed without doing more than was asked for.
    pub(crate) fn refuse(&self, wanted: &Wanted, found: &Found) -> Result<()> {
        let message = match (&wanted.file, found) {
            (_, Found::Hidden) => "this user may not look at it; another one may be needed (`become`)",
            (Some(_), Found::Folder(_)) => "it is to be a file, and there is a folder",
            // To replace it could be meant, or a file in that folder.
            (Some(_), Found::Other(LINKED)) => "it is to be a file, and there is a link to a folder",
            (None, Found::File(..) | Found::Other(_)) => "it is to be a folder, and there is something else",
            _ => return Ok(()),
        };
        let kind = if *found == Found::Hidden { ErrorKind::Denied } else { ErrorKind::Conflict };
        Err(Error::new(kind, SCRIPT, "upload", message).with("path", &wanted.path))
    }

    fn owner(&self) -> Option<String> {
        let group = self.config.group.as_ref().map(|g| format!(":{g}")).unwrap_or_default();
        let owner = self.config.owner.as_deref().unwrap_or_default();
        (self.config.owner.is_some() || self.config.group.is_some()).then(|| format!("{owner}{group}"))
    }

    async fn folders(&self, cx: &Context, connection: &dyn Connection, differs: &[(&Wanted, &Found)]) -> Result<()> {
        let mut script = String::from("set -e\n");
        for (wanted, found) in differs.iter().filter(|(w, _)| w.file.is_none()) {
            let path = shell_quote(&wanted.path);
            let new = **found == Found::Nothing;
            if new {
                // A parent may have parents that are missing; only the folder itself gets the mode.
                script.push_str(&format!("( umask 022; mkdir -p -- {path} )\n"));
            }
            if let Some(owner) = self.owner().filter(|_| wanted.mend) {
                script.push_str(&format!("chown -h -- {} {path}\n", shell_quote(&owner)));
            }
            if let Some(mode) = wanted.mode.or(new.then_some(wanted.new_mode)) {
                script.push_str(&chmod(mode, &path));
            }
        }
        self.script(cx, connection, script, "folders").await
    }

    async fn script(&self, cx: &Context, connection: &dyn Connection, script: String, what: &str) -> Result<()> {
        if script.lines().count() < 2 {
            return Ok(());
        }
        let mut exec = Exec::script(script);
        exec.r#become.clone_from(&self.to);
        exec.label = Some(format!("{what} of {}", self.path));
        let out = connection.exec(cx, &exec).await?;
        out.success(SCRIPT, "upload", connection.host(), &exec).map(drop)
    }

    async fn file(
        &self,
        cx: &Context,
        connection: &dyn Connection,
        seen: &Seen,
        wanted: &Wanted,
        found: &Found,
        file: &File,
    ) -> Result<()> {
        let path = shell_quote(&wanted.path);
        if let Found::File(has, digest) = found {
            if *digest == file.digest {
                // Only owner or mode: changing the owner may clear bits of the mode.
                let owner =
                    self.owner().map(|o| format!("chown -h -- {} {path}\n", shell_quote(&o))).unwrap_or_default();
                let mode = chmod(wanted.mode.unwrap_or(has.mode), &path);
                return self.script(cx, connection, format!("set -e\n{owner}{mode}"), "owner and mode").await;
            }
            if self.config.backup {
                self.backup(cx, connection, wanted).await?;
            }
        }
        let kept = |of: fn(&Has) -> &String| match found {
            // A new file is its writer's, so root has to say whose it was.
            Found::File(has, _) if seen.root => Some(of(has).clone()),
            _ => None,
        };
        let mode = match found {
            Found::File(has, _) => has.mode,
            _ => wanted.new_mode,
        };
        let options = PutOptions {
            mode: Some(wanted.mode.unwrap_or(mode)),
            owner: self.config.owner.clone().or_else(|| kept(|h| &h.uid)),
            group: self.config.group.clone().or_else(|| kept(|h| &h.gid)),
            r#become: self.to.clone(),
        };
        connection.put(cx, file.source.clone(), &wanted.path, &options).await
    }
}

/// Sets a mode. `chmod` follows links, and somebody else may have put one there since it was looked at.
fn chmod(mode: u32, path: &str) -> String {
    format!("[ ! -L {path} ]\nchmod {mode:o} -- {path}\n")
}
