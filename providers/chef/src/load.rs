//! Reads the folders of this machine that go to the host, all of them before any host is touched.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use towpath_core::local_tree::{self, unreadable, walk};
use towpath_core::pipeline::nearest;
use towpath_core::{Error, ErrorKind, Result};

use crate::check::Item;
use crate::metadata::{Named, of_json, of_ruby};
use crate::{CHEF, ChefConfig};

/// A folder that goes to the host.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// What it is called there: `cookbooks-0`, `roles`.
    pub(crate) name: String,
    /// What it is called here, as the config has it.
    pub(crate) source: String,
    /// Folders in it, the outer before the inner.
    pub(crate) folders: Vec<String>,
    pub(crate) files: Vec<File>,
}

#[derive(Debug, Clone)]
pub(crate) struct File {
    /// Below the part.
    pub(crate) below: String,
    pub(crate) path: PathBuf,
    pub(crate) digest: String,
    pub(crate) executable: bool,
}

/// Reads everything, where it may block.
pub(crate) async fn load(config: &ChefConfig, base_dir: &Path) -> Result<Vec<Part>> {
    let (config, base_dir) = (config.clone(), base_dir.to_owned());
    let read = tokio::task::spawn_blocking(move || read(&config, &base_dir)).await;
    read.map_err(|e| Error::new(ErrorKind::Internal, CHEF, "load", "reading files broke off").caused_by(e))?
}

/// A digest over all of it.
pub(crate) fn digest(config: &ChefConfig, parts: &[Part]) -> String {
    let mut hash = Sha256::new();
    // Secrets are references in there, never values.
    hash.update(serde_json::to_string(config).unwrap_or_default());
    for part in parts {
        hash.update(format!("\0{}\0{}", part.name, part.folders.join("\0")));
        for file in &part.files {
            hash.update(format!("\0{}\0{}\0{}", file.below, file.executable, file.digest));
        }
    }
    hex::encode(hash.finalize())
}

fn wrong(message: impl Into<String>, path: &Path) -> Error {
    Error::new(ErrorKind::InvalidInput, CHEF, "load", message).with("file", path.display())
}

fn read(config: &ChefConfig, base_dir: &Path) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    for (n, path) in config.cookbook_paths.iter().enumerate() {
        let part = folder(format!("cookbooks-{n}"), path, base_dir)?;
        if part.files.iter().any(|f| f.below == "metadata.rb" || f.below == "metadata.json") {
            let message = "this is a cookbook itself; `cookbook_paths` are the folders around cookbooks";
            return Err(wrong(message, &base_dir.join(path)));
        }
        parts.push(part);
    }
    let others = [
        ("roles", &config.roles_path),
        ("data_bags", &config.data_bags_path),
        ("environments", &config.environments_path),
    ];
    for (name, path) in others {
        if let Some(path) = path {
            parts.push(folder(name.to_owned(), path, base_dir)?);
        }
    }
    run_list(config, &parts)?;
    if let Some(environment) = &config.environment {
        named(config.environments_path.is_some(), &parts, "environments", environment, "environment")?;
    }
    Ok(parts)
}

/// What a run list names must be there, where all of it comes from here.
fn run_list(config: &ChefConfig, parts: &[Part]) -> Result<()> {
    let cookbooks = cookbooks(parts)?;
    for text in &config.run_list {
        match Item::parse(text)? {
            Item::Cookbook(name) if !config.cookbook_paths.is_empty() && config.remote_cookbook_paths.is_empty() => {
                if !cookbooks.names.contains(&name) {
                    let there = cookbooks.names.iter().map(String::as_str);
                    let error = missing("cookbook", &name, there).with("run_list", text);
                    return Err(match cookbooks.computed {
                        None => error,
                        Some(place) => {
                            let message = format!(
                                "no cookbook is known to be called `{name}`, and the name of one is computed, so that only Chef can tell: write \
                                 it as a plain string"
                            );
                            let error = Error::new(ErrorKind::InvalidInput, CHEF, "load", message);
                            error.with("file", place).with("run_list", text)
                        }
                    });
                }
            }
            Item::Role(name) => {
                let here = config.roles_path.is_some();
                named(here, parts, "roles", &name, "role").map_err(|e| e.with("run_list", text))?;
            }
            Item::Cookbook(_) => {}
        }
    }
    Ok(())
}

fn missing<'a>(what: &str, name: &str, there: impl Iterator<Item = &'a str>) -> Error {
    let hint = nearest(name, there).map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    Error::new(ErrorKind::NotFound, CHEF, "load", format!("there is no {what} called `{name}`{hint}"))
}

/// A role or environment is a file `NAME.rb` or `NAME.json`.
fn named(here: bool, parts: &[Part], part: &str, name: &str, what: &str) -> Result<()> {
    if !here {
        return Ok(());
    }
    let files = parts.iter().filter(|p| p.name == part).flat_map(|p| &p.files);
    let names: BTreeSet<&str> = files
        .filter_map(|f| f.below.strip_suffix(".rb").or_else(|| f.below.strip_suffix(".json")))
        .map(|f| f.rsplit('/').next().unwrap_or(f))
        .collect();
    if names.contains(name) { Ok(()) } else { Err(missing(what, name, names.into_iter())) }
}

/// Names of cookbooks.
#[derive(Debug, Default)]
struct Cookbooks {
    /// Those of their folders, and those that their metadata give.
    names: BTreeSet<String>,
    /// Where a name is that only Ruby can find.
    computed: Option<String>,
}

fn cookbooks(parts: &[Part]) -> Result<Cookbooks> {
    let mut all = Cookbooks::default();
    for part in parts.iter().filter(|p| p.name.starts_with("cookbooks-")) {
        all.names.extend(part.folders.iter().filter(|f| !f.contains('/')).cloned());
        for file in &part.files {
            let Some((_, kind @ ("metadata.rb" | "metadata.json"))) = file.below.split_once('/') else { continue };
            let bytes = std::fs::read(&file.path).map_err(|e| unreadable(CHEF, "file", &file.path, e))?;
            let text = String::from_utf8_lossy(&bytes);
            let named = if kind == "metadata.rb" { of_ruby(&text) } else { of_json(&text, &file.path)? };
            match named {
                Named::Not => {}
                Named::As(name) => drop(all.names.insert(name)),
                Named::Computed(line) => {
                    all.computed.get_or_insert_with(|| format!("{}:{line}", file.path.display()));
                }
            }
        }
    }
    Ok(all)
}

fn folder(name: String, source: &Path, base_dir: &Path) -> Result<Part> {
    let path = base_dir.join(source);
    if !std::fs::metadata(&path).map_err(|e| unreadable(CHEF, "folder", &path, e))?.is_dir() {
        return Err(wrong("this is no folder", &path));
    }
    let mut part = Part { name, source: source.display().to_string(), folders: Vec::new(), files: Vec::new() };
    for entry in walk(CHEF, &path, |c| c.is_control() || c == '\\')? {
        if entry.folder {
            part.folders.push(entry.below);
        } else {
            let (digest, _) = local_tree::digest(CHEF, &entry.path)?;
            part.files.push(File { below: entry.below, path: entry.path, digest, executable: entry.executable });
        }
    }
    Ok(part)
}
