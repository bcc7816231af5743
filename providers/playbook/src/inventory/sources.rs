//! Several sources, one inventory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use towpath_core::{Error, ErrorKind, Inventory, Result, Vars};

use super::connection::{self, ConnectionDefaults, Passwords};
use super::draft::Draft;
use super::range::{expand, port};
use super::{ini, script, vars, yaml};
use crate::PLAYBOOK;
use crate::load;
use crate::vault::Vault;

/// Where hosts come from, and what else decides how they are reached.
#[derive(Debug)]
pub struct InventorySources {
    sources: Vec<String>,
    strict: bool,
    vault: Vault,
    defaults: ConnectionDefaults,
    extra: Vars,
    passwords: Passwords,
    any_unparsed_fails: bool,
}

/// What was read.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct LoadedInventory {
    /// Hosts, groups and variables.
    pub inventory: Inventory,
    /// All groups but `all` and `ungrouped`, in the order in which they were named first.
    pub group_order: Vec<String>,
    /// What Ansible warns of.
    pub warnings: Vec<String>,
    /// How many sources were read.
    pub parsed: usize,
}

/// Names of files in a folder of inventories that are none.
const IGNORED: &[&str] =
    &["~", ".orig", ".cfg", ".retry", ".pyc", ".pyo", ".swp", ".bak", ".rpm", ".md", ".txt", ".rst", ".ini"];

impl InventorySources {
    /// Files, folders, scripts, or lists of hosts with commas (`web1,web2`; one host is `web1,`).
    pub fn new(sources: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            sources: sources.into_iter().map(Into::into).collect(),
            strict: false,
            vault: Vault::new(),
            defaults: ConnectionDefaults::default(),
            extra: Vars::new(),
            passwords: Passwords::Refuse,
            any_unparsed_fails: false,
        }
    }

    /// What Ansible would only warn of is an error.
    #[must_use]
    pub fn strict(mut self) -> Self {
        self.strict = true;
        self
    }

    /// A source that can't be read is an error, not a warning (`INVENTORY_ANY_UNPARSED_IS_FAILED`).
    #[must_use]
    pub fn any_unparsed_fails(mut self, fails: bool) -> Self {
        self.any_unparsed_fails = fails;
        self
    }

    /// Opens vaults with these passwords.
    #[must_use]
    pub fn vault(mut self, vault: Vault) -> Self {
        self.vault = vault;
        self
    }

    /// How hosts are reached where no variable says it.
    #[must_use]
    pub fn defaults(mut self, defaults: ConnectionDefaults) -> Self {
        self.defaults = defaults;
        self
    }

    /// Variables above all others. They become no variables of the hosts, but `ansible_user` and its like count.
    #[must_use]
    pub fn extra_vars(mut self, vars: Vars) -> Self {
        self.extra = vars;
        self
    }

    /// What becomes of passwords in variables.
    #[must_use]
    pub fn passwords(mut self, passwords: Passwords) -> Self {
        self.passwords = passwords;
        self
    }

    /// Reads all sources, in their order; a later one adds to an earlier one.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): as [`load_inventory`](crate::load_inventory).
    /// [`ToolFailed`](ErrorKind::ToolFailed): an inventory script failed.
    /// [`Denied`](ErrorKind::Denied): a vault can't be opened.
    pub fn load(&self) -> Result<LoadedInventory> {
        // Values inside YAML may be vaults, too.
        crate::vault::with_sync(Arc::new(self.vault.clone()), || self.read())
    }

    fn read(&self) -> Result<LoadedInventory> {
        let mut draft = Draft::new(self.strict);
        let mut parsed = 0;
        for source in &self.sources {
            match self.source(source, &mut draft) {
                Ok(()) => parsed += 1,
                Err(error) if self.strict || self.any_unparsed_fails || error.kind() == ErrorKind::Denied => {
                    return Err(error);
                }
                Err(error) => {
                    let path = std::path::absolute(source).unwrap_or_else(|_| PathBuf::from(source));
                    if path.exists() {
                        draft.warnings.push(format!(" * Failed to parse {}: {}", path.display(), error.report()));
                    }
                    draft.warnings.push(format!("Unable to parse {} as an inventory source", path.display()));
                }
            }
        }
        draft.sort();
        let mut beside = vars::Beside::new(&self.vault);
        for source in self.sources.iter().filter(|s| !is_list(s)) {
            let path = Path::new(source);
            let dir = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) };
            let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
            beside.add(dir, &mut draft.inventory)?;
        }
        let place = self.sources.first().map(PathBuf::from).unwrap_or_default();
        let base = if place.is_dir() { place.clone() } else { place.parent().map(Path::to_owned).unwrap_or_default() };
        connection::Apply {
            file: &place,
            dir: &base,
            defaults: &self.defaults,
            extra: &self.extra,
            passwords: &self.passwords,
        }
        .to(&mut draft.inventory)?;
        Ok(LoadedInventory { inventory: draft.inventory, group_order: draft.order, warnings: draft.warnings, parsed })
    }

    fn source(&self, source: &str, out: &mut Draft) -> Result<()> {
        if is_list(source) {
            let wrong = |e: String| Error::new(ErrorKind::InvalidInput, PLAYBOOK, "inventory", e).with("list", source);
            for name in source.split(',').map(str::trim).filter(|n| !n.is_empty()) {
                let (pattern, port) = port(name).map_err(wrong)?;
                for name in expand(pattern).map_err(wrong)? {
                    let host = out.host(&name);
                    if let Some(port) = port {
                        host.vars.insert("ansible_port".into(), port.into());
                    }
                }
            }
            return Ok(());
        }
        self.path(Path::new(source), out)
    }

    fn path(&self, path: &Path, out: &mut Draft) -> Result<()> {
        let unreadable = |e: std::io::Error| {
            Error::new(ErrorKind::InvalidInput, PLAYBOOK, "inventory", "the inventory can't be read")
                .with("file", path.display())
                .caused_by(e)
        };
        if path.is_dir() {
            let mut entries: Vec<PathBuf> =
                std::fs::read_dir(path).map_err(unreadable)?.flatten().map(|e| e.path()).collect();
            entries.sort();
            for entry in entries {
                let name = entry.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
                let no_source =
                    name.starts_with('.') || ["group_vars", "host_vars", "vars_plugins"].contains(&name.as_str());
                if !no_source && !IGNORED.iter().any(|end| name.ends_with(end)) {
                    self.path(&entry, out)?;
                }
            }
            return Ok(());
        }
        let bytes = std::fs::read(path).map_err(unreadable)?;
        if script::is_script(path, &bytes) {
            return script::read(path, out);
        }
        let bytes = self.vault.open(bytes, &path.display().to_string())?;
        let text = String::from_utf8(bytes).map_err(|_| {
            Error::new(ErrorKind::InvalidInput, PLAYBOOK, "inventory", "the inventory is no UTF-8")
                .with("file", path.display())
        })?;
        let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
        match extension.as_deref() {
            Some("yml" | "yaml" | "json") => yaml::read(&load::yaml::parse(path, &text)?, out),
            // A file without extension may be either.
            None => match load::yaml::parse(path, &text) {
                Ok(root) if matches!(root.kind, load::yaml::Kind::Map(_)) => yaml::read(&root, out),
                _ => ini::read(path, &text, out),
            },
            Some(_) => ini::read(path, &text, out),
        }
    }
}

/// A list of hosts has a comma, and is no file.
fn is_list(source: &str) -> bool {
    source.contains(',') && !Path::new(source).exists()
}
