//! Reads scripts and files of this machine, all of them before any host is touched.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use towpath_core::local_tree::{digest, is_executable, unreadable, walk};
use towpath_core::{Error, ErrorKind, Result};

use crate::check::title;
use crate::{RunConfig, SCRIPT, ScriptConfig, StepConfig, UploadConfig};

/// Scripts, and files whose variables are replaced, are held in memory.
const MOST_IN_MEMORY: u64 = 16 << 20;

/// A step with what it needs from this machine.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) title: String,
    pub(crate) work: Work,
    /// Over this step and all before it, with their files: what an effect of it is known by in the journal.
    pub(crate) digest: String,
}

#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "a handful of them, made once")]
pub(crate) enum Work {
    Run(RunConfig, Text),
    Upload(UploadConfig, Vec<Item>),
}

/// A script.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    pub(crate) bytes: Bytes,
    /// The program that reads it, with its arguments.
    pub(crate) interpreter: Vec<String>,
    /// Its file as the config names it, if it has one.
    pub(crate) file: Option<String>,
    /// What it is called on the host.
    pub(crate) name: String,
}

/// A file or folder that goes to the host.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    /// Below the upload's `path`; empty for that path itself.
    pub(crate) below: String,
    pub(crate) content: Content,
    /// Permission bits of a new one.
    pub(crate) new_mode: u32,
}

#[derive(Debug, Clone)]
pub(crate) enum Content {
    Folder,
    File {
        path: PathBuf,
        digest: String,
        size: u64,
    },
    Text {
        text: String,
        file: Option<String>,
    },
    /// The config says which one.
    Secret,
}

/// Reads everything, where it may block.
pub(crate) async fn load(config: &ScriptConfig, base_dir: &Path) -> Result<Vec<Step>> {
    let (config, base_dir) = (config.clone(), base_dir.to_owned());
    let read = tokio::task::spawn_blocking(move || read(&config, &base_dir)).await;
    read.map_err(|e| Error::new(ErrorKind::Internal, SCRIPT, "load", "reading files broke off").caused_by(e))?
}

fn read(config: &ScriptConfig, base_dir: &Path) -> Result<Vec<Step>> {
    let mut chain = Sha256::new();
    let mut steps = Vec::new();
    for (n, step) in config.steps.iter().enumerate() {
        let title = title(step);
        let at = |e: Error| e.with("step_number", n + 1).with("task", &title);
        let work = match step {
            StepConfig::Run(run) => Work::Run(run.clone(), text(run, base_dir).map_err(at)?),
            StepConfig::Upload(upload) => Work::Upload(upload.clone(), items(upload, base_dir).map_err(at)?),
        };
        // Secrets are references in there, never values.
        chain.update(serde_json::to_string(step).unwrap_or_default());
        match &work {
            Work::Run(_, text) => chain.update(Sha256::digest(&text.bytes)),
            Work::Upload(_, items) => items.iter().for_each(|i| i.digest(&mut chain)),
        }
        let digest = hex::encode(chain.clone().finalize());
        steps.push(Step { title, work, digest });
    }
    Ok(steps)
}

impl Item {
    fn digest(&self, to: &mut Sha256) {
        let content = match &self.content {
            Content::Folder => "folder".to_owned(),
            Content::File { digest, .. } => digest.clone(),
            Content::Text { text, .. } => hex::encode(Sha256::digest(text)),
            Content::Secret => String::new(),
        };
        to.update(format!("\0{}\0{:o}\0{content}", self.below, self.new_mode));
    }
}

fn wrong(message: impl Into<String>, path: &Path) -> Error {
    Error::new(ErrorKind::InvalidInput, SCRIPT, "load", message).with("file", path.display())
}

fn small(path: &Path) -> Result<Vec<u8>> {
    let size = std::fs::metadata(path).map_err(|e| unreadable(SCRIPT, "file", path, e))?.len();
    if size > MOST_IN_MEMORY {
        return Err(wrong(format!("it is larger than {MOST_IN_MEMORY} bytes"), path));
    }
    std::fs::read(path).map_err(|e| unreadable(SCRIPT, "file", path, e))
}

fn text(run: &RunConfig, base_dir: &Path) -> Result<Text> {
    let (bytes, path) = match (&run.file, &run.script) {
        (Some(file), _) => {
            let path = base_dir.join(file);
            (small(&path)?, path)
        }
        (None, script) => (script.clone().unwrap_or_default().into_bytes(), PathBuf::from("script")),
    };
    if bytes.contains(&0) {
        return Err(wrong("this is a program, not a script: upload it, and run it by its path", &path));
    }
    let interpreter = if run.interpreter.is_empty() { hash_bang(&bytes, &path)? } else { run.interpreter.clone() };
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let name: String = name.trim_start_matches('-').chars().map(plain).take(100).collect();
    Ok(Text {
        bytes: bytes.into(),
        interpreter,
        file: run.file.as_ref().map(|f| f.display().to_string()),
        name: if name.is_empty() { "script".to_owned() } else { name },
    })
}

/// The interpreter of a `#!` line, split as Linux does: a program, and all that follows as one argument.
fn hash_bang(bytes: &[u8], path: &Path) -> Result<Vec<String>> {
    let Some(rest) = bytes.strip_prefix(b"#!") else { return Ok(vec!["/bin/sh".to_owned()]) };
    let line = rest.split(|b| *b == b'\n').next().unwrap_or_default();
    if line.ends_with(b"\r") {
        return Err(wrong("its first line ends with a carriage return: save it with Unix line ends", path));
    }
    let line = String::from_utf8_lossy(line).trim().to_owned();
    match line.split_once(char::is_whitespace) {
        _ if line.is_empty() => Err(wrong("its `#!` line names no program", path)),
        Some((program, argument)) => Ok(vec![program.to_owned(), argument.trim().to_owned()]),
        None => Ok(vec![line]),
    }
}

fn items(upload: &UploadConfig, base_dir: &Path) -> Result<Vec<Item>> {
    let one = |content, new_mode| vec![Item { below: String::new(), content, new_mode }];
    if let Some(text) = &upload.content {
        return Ok(one(Content::Text { text: text.clone(), file: None }, 0o600));
    }
    if upload.secret.is_some() {
        return Ok(one(Content::Secret, 0o600));
    }
    let source = upload.source.clone().unwrap_or_default();
    let path = base_dir.join(&source);
    let there = std::fs::metadata(&path).map_err(|e| unreadable(SCRIPT, "file", &path, e))?;
    if there.is_file() {
        return Ok(vec![file(upload, &path, &source, String::new(), is_executable(&there))?]);
    }
    if !there.is_dir() {
        return Err(wrong("it is neither a file nor a folder", &path));
    }
    let folder_mode = upload.directory_mode.as_deref().and_then(crate::check::octal).unwrap_or(0o755);
    let mut all = one(Content::Folder, folder_mode);
    for entry in walk(SCRIPT, &path, |c| c == '\n')? {
        let below = entry.below;
        all.push(if entry.folder {
            Item { below, content: Content::Folder, new_mode: folder_mode }
        } else {
            file(upload, &entry.path, &source.join(&below), below, entry.executable)?
        });
    }
    Ok(all)
}

fn file(upload: &UploadConfig, path: &Path, named: &Path, below: String, executable: bool) -> Result<Item> {
    let content = if upload.fill {
        let text = String::from_utf8(small(path)?)
            .map_err(|_| wrong("`fill` needs text, and this is no UTF-8: upload it without", path))?;
        Content::Text { text, file: Some(named.display().to_string()) }
    } else {
        let (digest, size) = digest(SCRIPT, path)?;
        Content::File { path: path.to_owned(), digest, size }
    };
    Ok(Item { below, content, new_mode: if executable { 0o755 } else { 0o644 } })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_bang_is_split_as_linux_does() {
        let read = |text: &str| hash_bang(text.as_bytes(), Path::new("x"));
        assert_eq!(read("echo").unwrap(), ["/bin/sh"]);
        assert_eq!(read("#!/bin/bash\necho").unwrap(), ["/bin/bash"]);
        assert_eq!(read("#! /usr/bin/env  python3 -u \n").unwrap(), ["/usr/bin/env", "python3 -u"]);
        assert!(read("#!/bin/sh\r\necho\r\n").unwrap_err().message().contains("carriage return"));
        assert!(read("#!\n").unwrap_err().message().contains("no program"));
    }
}
