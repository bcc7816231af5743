//! `copy` of a folder of this side.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::json;
use towpath_core::{Action, shell_quote};

use super::attrs::{Attrs, Seen, mode};
use super::content::{self, Write, refused_copy};
use super::copy::{Options, preserved};
use super::{Call, Decision, Fields, Output, Pending, fields};

/// One thing in a folder.
enum Entry {
    Folder,
    File(Vec<u8>, PathBuf),
    Link(String),
}

/// Everything below a folder, folders before what is in them.
fn read(root: &Path, at: &Path, follow: bool, depth: usize, out: &mut Vec<(String, Entry)>) -> Result<(), String> {
    if depth > 40 {
        return Err(format!("{} is too deep; a link points to a folder above itself", at.display()));
    }
    let bad = |e: std::io::Error| format!("copy: can't read {}: {e}", at.display());
    let mut entries: Vec<_> = std::fs::read_dir(at).map_err(bad)?.collect::<Result<_, _>>().map_err(bad)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        let link = entry.file_type().map_err(bad)?.is_symlink();
        if link && !follow {
            let to = std::fs::read_link(&path).map_err(bad)?;
            out.push((name, Entry::Link(to.display().to_string())));
        } else if path.is_dir() {
            out.push((name, Entry::Folder));
            read(root, &path, follow, depth + 1, out)?;
        } else {
            let bytes = std::fs::read(&path).map_err(|e| format!("copy: can't read {}: {e}", path.display()))?;
            out.push((name, Entry::File(bytes, path)));
        }
    }
    Ok(())
}

/// `src` is a folder; `inside` if only what is in it is meant.
pub(super) fn prepare(call: &Call, from: &Path, inside: bool, dest: &str) -> Result<Decision, String> {
    let o = Options::of(call)?;
    let mut all = Vec::new();
    read(from, from, call.yes("local_follow")? != Some(false), 0, &mut all)?;
    let root = format!("{}/", dest.trim_end_matches('/'));
    let name = from.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let base = if inside { root.clone() } else { format!("{root}{name}/") };
    all.insert(0, (String::new(), Entry::Folder));
    let full = |name: &str| format!("{base}{name}").trim_end_matches('/').to_owned();
    // Two processes see all: what each path is, and what each file's content is.
    let mut script = String::from("IFS=\nset -f\n");
    let paths: Vec<String> = all.iter().map(|(n, _)| full(n)).collect();
    for chunk in paths.chunks(200) {
        let words: String = chunk.iter().map(|p| format!(" {}", shell_quote(p))).collect();
        script.push_str(&format!("stat -c 'at=%f|%u|%g|%U|%G|%n' --{words} 2>/dev/null\n"));
        script.push_str(&format!("sha1sum --{words} 2>/dev/null\n"));
    }
    let top = paths.first().map(String::as_str).unwrap_or(dest).to_owned();
    script.push_str(&format!(
        "d={}\nwhile [ -n \"$d\" ] && [ ! -e \"$d\" ]; do case $d in */*) d=${{d%/*}};; *) d=;; esac; done\nif [ -n \"$d\" ] && [ ! -d \"$d\" ]; then echo 'blocked=1'; fi\n",
        shell_quote(&top)
    ));
    let attrs = Attrs { mode: mode(call, "directory_mode"), ..o.attrs.clone() };
    script.push_str(&o.attrs.names());
    let src = format!("{}{}", from.display(), if inside { "/" } else { "" });
    let tree = Tree { o, folders: attrs, all, paths, src, dest: root, inside };
    Ok(Decision::Probe(script, Box::new(move |out| tree.decide(&out))))
}

struct Tree {
    o: Options,
    folders: Attrs,
    all: Vec<(String, Entry)>,
    paths: Vec<String>,
    src: String,
    dest: String,
    inside: bool,
}

impl Tree {
    fn decide(self, out: &Output) -> Result<Decision, String> {
        let (mut seen, mut sums) = (HashMap::new(), HashMap::new());
        let mut names: Vec<(&str, String)> = Vec::new();
        let text = out.text();
        for line in text.lines() {
            if let Some(at) = line.strip_prefix("at=") {
                let values: Vec<&str> = at.splitn(6, '|').collect();
                if let [raw, uid, gid, owner, group, path] = values.as_slice() {
                    let pairs = [("raw", raw), ("uid", uid), ("gid", gid), ("owner", owner), ("group", group)];
                    let pairs: Vec<(&str, String)> = pairs.iter().map(|(k, v)| (*k, (**v).to_owned())).collect();
                    seen.insert((*path).to_owned(), Seen::default().with(&pairs));
                }
            } else if line == "blocked=1" {
                let path = self.paths.iter().zip(&self.all).find(|(_, (_, e))| !matches!(e, Entry::Folder));
                let path = path.map(|(p, _)| p.as_str()).unwrap_or_default();
                let msg = format!("Failed to get information on remote file ({path}): Not a directory");
                return super::action::wrong(msg);
            } else if let Some((key, value)) =
                line.split_once('=').filter(|(k, _)| k.starts_with("want_") || *k == "umask")
            {
                names.push((
                    if key == "want_uid" {
                        "want_uid"
                    } else if key == "want_gid" {
                        "want_gid"
                    } else {
                        "umask"
                    },
                    value.to_owned(),
                ));
            } else if let Some((sum, path)) = line.split_once("  ") {
                sums.insert(path.to_owned(), sum.to_owned());
            }
        }
        let mut script = String::from(content::QUIET);
        let (mut changed, mut count) = (false, 0);
        for (path, (name, entry)) in self.paths.iter().zip(&self.all) {
            let now = seen.get(path).map(|s: &Seen| s.with(&names)).unwrap_or_default();
            let p = shell_quote(path);
            let step = match entry {
                // The folder whose content is meant stays as it is.
                Entry::Folder if now.directory() && self.inside && name.is_empty() => Ok(String::new()),
                Entry::Folder if now.directory() => self
                    .folders
                    .mend(&now, path)
                    .map(|m| if m.none() { String::new() } else { format!("p={p}\n{}", m.all()) }),
                Entry::Folder => {
                    let fresh = Seen::default().with(&names).fresh(true);
                    self.folders
                        .mend(&fresh, path)
                        .map(|m| format!("tp_made() {{ p=$1\n{}:\n}}\ntp_dirs {p}\n", m.all()))
                }
                Entry::Link(to) => Ok(if now.link() {
                    String::new()
                } else {
                    format!("tp_new {p}\nln -s -- {} \"$tp_t\"\nmv -f -- \"$tp_t\" {p}\n", shell_quote(to))
                }),
                Entry::File(bytes, from) => self.file(path, bytes, from, &now, sums.get(path), &names),
            };
            match step {
                Ok(step) if step.is_empty() => {}
                Ok(step) => {
                    changed = true;
                    count += 1;
                    script.push_str(&step);
                }
                Err(why) => return Ok(Decision::Done(why)),
            }
        }
        let result = fields([("dest", json!(self.dest)), ("src", json!(self.src)), ("changed", json!(changed))]);
        if !changed {
            return Ok(Decision::Done(result));
        }
        Ok(Decision::Change(Pending {
            script,
            action: Action::Update,
            subject: format!("folder {}", self.dest),
            path: Some(self.dest),
            before: None,
            after: Some(json!({ "changes": count })),
            certain: true,
            foreign: self.o.validate.is_some(),
            expected: result.clone(),
            finish: content::settled(result, false, refused_copy),
        }))
    }

    fn file(
        &self,
        path: &str,
        bytes: &[u8],
        from: &Path,
        now: &Seen,
        sum: Option<&String>,
        names: &[(&str, String)],
    ) -> Result<String, Fields> {
        let same = sum.is_some_and(|s| *s == crate::sha1(bytes)) && !now.link();
        if now.there() && !self.o.force {
            return Ok(String::new());
        }
        let mut attrs = self.o.attrs.clone();
        preserved(&mut attrs.mode, Some(from));
        let base = if now.there() { now.clone() } else { Seen::default().with(names).fresh(false) };
        let mend = attrs.mend(&base, path)?;
        if same {
            return Ok(if mend.none() { String::new() } else { format!("p={}\n{}", shell_quote(path), mend.all()) });
        }
        let print = content::print(bytes);
        let write = Write {
            path,
            print: &print,
            mend: (&mend.script, &mend.late),
            validate: self.o.validate.as_deref(),
            backup: self.o.backup,
            follow: false,
            fresh: false,
            new: !now.there(),
            in_place: self.o.in_place,
        };
        Ok(write.body(false))
    }
}
