//! `group_vars` and `host_vars` beside an inventory.

use std::path::{Path, PathBuf};

use towpath_core::{Error, ErrorKind, Inventory, Json, Result, Vars};

use crate::PLAYBOOK;
use crate::load::yaml;
use crate::vault::Vault;

/// Reads them, each folder once.
pub(super) struct Beside<'v> {
    vault: &'v Vault,
    seen: Vec<PathBuf>,
}

impl<'v> Beside<'v> {
    pub(super) fn new(vault: &'v Vault) -> Self {
        Self { vault, seen: Vec::new() }
    }

    /// Adds the variables of a folder to the inventory's own, above them.
    pub(super) fn add(&mut self, dir: &Path, inventory: &mut Inventory) -> Result<()> {
        if self.seen.iter().any(|d| d == dir) {
            return Ok(());
        }
        self.seen.push(dir.to_owned());
        let (groups, hosts) = (dir.join("group_vars"), dir.join("host_vars"));
        if groups.is_dir() {
            inventory.vars.extend(self.named(&groups, "all")?);
            for (name, group) in &mut inventory.groups {
                group.vars.extend(self.named(&groups, name)?);
            }
        }
        if hosts.is_dir() {
            for host in &mut inventory.hosts {
                host.vars.extend(self.named(&hosts, &host.name)?);
            }
        }
        Ok(())
    }

    /// A file of this name with or without a usual extension, or all files of a folder of this name.
    fn named(&self, dir: &Path, name: &str) -> Result<Vars> {
        // A host's name comes from elsewhere; it names no other folder.
        if name.contains('/') {
            return Ok(Vars::new());
        }
        let mut vars = Vars::new();
        for end in ["", ".yml", ".yaml", ".json"] {
            let path = dir.join(format!("{name}{end}"));
            if path.is_dir() {
                self.folder(&path, &mut vars)?;
            } else if path.is_file() {
                vars.extend(self.file(&path)?);
            } else {
                continue;
            }
            break;
        }
        Ok(vars)
    }

    fn folder(&self, dir: &Path, vars: &mut Vars) -> Result<()> {
        let mut entries: Vec<PathBuf> = std::fs::read_dir(dir)
            .map_err(|e| {
                Error::new(ErrorKind::InvalidInput, PLAYBOOK, "inventory", "a folder of variables can't be read")
                    .with("folder", dir.display())
                    .caused_by(e)
            })?
            .flatten()
            .map(|e| e.path())
            .collect();
        entries.sort();
        for path in entries {
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            if name.starts_with('.') || name.ends_with('~') {
                continue;
            }
            let usual = path.extension().is_none_or(|e| ["yml", "yaml", "json"].iter().any(|u| e == *u));
            if path.is_dir() {
                self.folder(&path, vars)?;
            } else if usual {
                vars.extend(self.file(&path)?);
            }
        }
        Ok(())
    }

    fn file(&self, path: &Path) -> Result<Vars> {
        let name = path.display().to_string();
        let wrong =
            |message: &str| Error::new(ErrorKind::InvalidInput, PLAYBOOK, "inventory", message).with("file", &name);
        let bytes = std::fs::read(path).map_err(|e| wrong("a file of variables can't be read").caused_by(e))?;
        let text =
            String::from_utf8(self.vault.open(bytes, &name)?).map_err(|_| wrong("a file of variables is no UTF-8"))?;
        let root = yaml::parse(path, &text)?;
        match root.json() {
            Json::Object(map) => Ok(map),
            Json::Null => Ok(Vars::new()),
            _ => Err(root.wrong("a file of variables must be a mapping")),
        }
    }
}
