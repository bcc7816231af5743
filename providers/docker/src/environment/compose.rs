//! Compose files: the common subset, anything else is refused by name.
//!
//! Source: Compose specification, "Services top-level element", "Networks", "Volumes".

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use towpath_core::{Error, ErrorKind, Result};

use super::config::{NetworkSpec, VolumeSpec};
use super::env_file::env_file;
use super::interpolate::fill;
use super::service::{labels, service};
use super::spec::Spec;
use super::yaml::{Node, parse};
use crate::PROVIDER;

/// What the values of a file may refer to.
pub(super) struct Place {
    /// The file's folder, where relative paths start.
    pub(super) folder: PathBuf,
    /// What its `.env` says; the process's own environment wins, as for Compose.
    dot_env: BTreeMap<String, String>,
    /// Values that came from files of variables or from the process's own environment, and may be secrets.
    learned: RefCell<BTreeSet<String>>,
}

impl Place {
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        own_variable(name).or_else(|| self.dot_env.get(name).cloned())
    }

    /// Keeps a value that may be a secret.
    pub(super) fn learn(&self, value: &str) {
        self.learned.borrow_mut().insert(value.to_owned());
    }

    /// Keeps the values that were filled in somewhere below a node.
    pub(super) fn learn_filled(&self, node: &Node) {
        node.filled_values(&mut |value| self.learn(value));
    }
}

fn own_variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn unreadable(path: &Path, e: std::io::Error) -> Error {
    Error::new(ErrorKind::InvalidInput, PROVIDER, "compose", "a file can't be read")
        .with("file", path.display())
        .caused_by(e)
}

/// Reads a Compose file.
pub(super) fn read(path: &Path) -> Result<Spec> {
    let text = std::fs::read_to_string(path).map_err(|e| unreadable(path, e))?;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = std::path::absolute(folder).map_err(|e| unreadable(folder, e))?;
    let dot_env = folder.join(".env");
    let dot_env = if dot_env.is_file() { env_file(&dot_env, &own_variable)? } else { BTreeMap::new() };
    let place = Place { folder, dot_env, learned: RefCell::default() };
    let mut root = parse(path, &text)?;
    root.map_texts(&mut |node, text| {
        let filled = RefCell::new(Vec::new());
        let value = |name: &str| place.variable(name).inspect(|v| filled.borrow_mut().push(v.clone()));
        let new = fill(text, &value).map_err(|why| node.wrong(String::from(why)))?;
        Ok((new, filled.into_inner()))
    })?;
    let mut spec = spec(&root, &place)?;
    spec.secrets = place.learned.into_inner();
    Ok(spec)
}

fn spec(root: &Node, place: &Place) -> Result<Spec> {
    let mut spec = Spec::default();
    for (key, node) in root.pairs("a Compose file")? {
        match key.as_str() {
            "name" => spec.project = project(node)?,
            // It says nothing any more.
            "version" => {}
            "services" => {
                for (name, node) in node.pairs("`services`")? {
                    spec.containers.insert(name.clone(), service(name, node, place)?);
                }
            }
            "networks" => {
                for (name, node) in node.pairs("`networks`")? {
                    spec.networks.insert(name.clone(), network(name, node)?);
                }
            }
            "volumes" => {
                for (name, node) in node.pairs("`volumes`")? {
                    spec.volumes.insert(name.clone(), volume(name, node)?);
                }
            }
            other if other.starts_with("x-") => {}
            other => {
                let all = ["services", "networks", "volumes", "name", "version"];
                return Err(node.unknown("a Compose file", other, &all));
            }
        }
    }
    finish(&mut spec, root)?;
    Ok(spec)
}

fn project(node: &Node) -> Result<String> {
    let name = node.text("`name`")?;
    match crate::engine::is_name(&name) {
        true => Ok(name),
        false => Err(node.wrong(format!("`name` has letters, digits and `_.-`, not {name:?}"))),
    }
}

/// What is said by one service about another.
fn finish(spec: &mut Spec, root: &Node) -> Result<()> {
    use super::config::DependsOn;
    // Who is waited for until its end runs once.
    let once: Vec<String> = spec
        .containers
        .values()
        .flat_map(|c| c.depends_on.iter().filter(|(_, d)| **d == DependsOn::Completed).map(|(n, _)| n.clone()))
        .collect();
    for name in once {
        match spec.containers.get_mut(&name) {
            Some(container) => container.once = true,
            None => return Err(root.wrong(format!("there is no service `{name}` to wait for"))),
        }
    }
    Ok(())
}

fn network(name: &str, node: &Node) -> Result<NetworkSpec> {
    let what = format!("network `{name}`");
    let mut network = NetworkSpec::default();
    for (key, node) in node.pairs(&what)? {
        match key.as_str() {
            "driver" => network.driver = Some(node.text("`driver`")?),
            "internal" => network.internal = node.boolean("`internal`")?,
            "labels" => network.labels = labels(node)?,
            other if other.starts_with("x-") => {}
            other => return Err(node.unknown(&what, other, &["driver", "internal", "labels"])),
        }
    }
    Ok(network)
}

fn volume(name: &str, node: &Node) -> Result<VolumeSpec> {
    let what = format!("volume `{name}`");
    let mut volume = VolumeSpec::default();
    for (key, node) in node.pairs(&what)? {
        match key.as_str() {
            "driver" => volume.driver = Some(node.text("`driver`")?),
            "driver_opts" => {
                for (option, value) in node.pairs("`driver_opts`")? {
                    volume.driver_opts.insert(option.clone(), value.text("`driver_opts`")?);
                }
            }
            "labels" => volume.labels = labels(node)?,
            other if other.starts_with("x-") => {}
            other => return Err(node.unknown(&what, other, &["driver", "driver_opts", "labels"])),
        }
    }
    Ok(volume)
}
