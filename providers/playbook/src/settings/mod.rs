//! `ansible.cfg` and the `ANSIBLE_*` variables of the environment: every key is honoured, needless here, or refused by its name.

mod extra_vars;
mod file;
mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use towpath_core::{Error, ErrorKind, Result};

use crate::PLAYBOOK;

pub use extra_vars::parse_extra_vars;
pub use table::{Meaning, SettingKey, setting_keys, settings_page};

/// What `ansible.cfg` and the environment say.
#[derive(Debug, Clone, Default)]
pub struct AnsibleSettings {
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// What should be said about it: a key that has no effect, a file that was passed over.
    pub warnings: Vec<String>,
    values: BTreeMap<&'static str, Setting>,
}

#[derive(Debug, Clone)]
struct Setting {
    value: String,
    /// Where relative paths start: the file's folder, or the working directory.
    base: PathBuf,
}

impl AnsibleSettings {
    /// Reads the file that Ansible would read, and the environment.
    ///
    /// The first of: the file that `ANSIBLE_CONFIG` names, `ansible.cfg` in the working directory unless all the world may write
    /// there, `~/.ansible.cfg`, `/etc/ansible/ansible.cfg`. A variable of the environment is above the file.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): the file can't be understood, with `file:line`, or a key is refused, by its name.
    pub fn load() -> Result<Self> {
        let cwd = std::env::current_dir().unwrap_or_default();
        let env: Vec<(String, String)> =
            std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect();
        Self::from(&env, &cwd, Path::new("/etc/ansible/ansible.cfg"))
    }

    /// As [`load`](Self::load), with this environment and these places.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn from(env: &[(String, String)], cwd: &Path, system: &Path) -> Result<Self> {
        let mut out = Self::default();
        let get = |name: &str| env.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str());
        let found = file::find(get("ANSIBLE_CONFIG"), get("HOME"), cwd, system, &mut out.warnings);
        let pairs = match &found {
            Some(path) => file::read(path)?,
            None => Vec::new(),
        };
        let dir = found.as_ref().and_then(|f| f.parent()).unwrap_or(cwd).to_owned();
        out.file = found;
        let keys = table::keys();
        for pair in &pairs {
            let name = format!("{}.{}", pair.section, pair.key);
            let place = || format!("{}:{}", out.file.as_deref().unwrap_or(Path::new("")).display(), pair.line);
            let Some(key) = keys.iter().find(|k| k.ini.contains(&name.as_str())) else {
                // Ansible's other commands and its plug-ins have sections of their own.
                if table::SECTIONS.contains(&pair.section.as_str()) {
                    out.warnings.push(format!("{}: there is no key `{}` in [{}]", place(), pair.key, pair.section));
                }
                continue;
            };
            let setting = Setting { value: pair.value.clone(), base: dir.clone() };
            if let Some(warning) = judge(key, &setting, &place(), &pair.key)? {
                out.warnings.push(warning);
            }
            out.values.insert(key.name, setting);
        }
        for key in keys {
            // The last name in the table is the newest; the first that is set counts.
            let Some((name, value)) = key.env.iter().find_map(|n| Some((*n, get(n)?))) else { continue };
            let setting = Setting { value: value.to_owned(), base: cwd.to_owned() };
            if let Some(warning) = judge(key, &setting, "the environment", name)? {
                out.warnings.push(warning);
            }
            out.values.insert(key.name, setting);
        }
        Ok(out)
    }

    /// The value of a key, by its name in the table.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|s| s.value.as_str())
    }

    /// A yes or no.
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.get(name).and_then(|v| crate::render::truthy(&towpath_core::Json::String(v.to_owned())))
    }

    /// A number.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): it is none.
    pub fn number(&self, name: &str) -> Result<Option<u64>> {
        self.get(name)
            .map(|v| v.trim().parse().map_err(|_| invalid(format!("{name} must be a number, not `{v}`"))))
            .transpose()
    }

    /// A path. A relative one starts at the file's folder.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.values.get(name).filter(|s| !s.value.is_empty()).map(|s| s.full(&s.value))
    }

    /// Paths with colons or commas between them, as `separator` says.
    pub fn paths(&self, name: &str, separator: char) -> Vec<PathBuf> {
        let Some(setting) = self.values.get(name) else { return Vec::new() };
        setting.value.split(separator).map(str::trim).filter(|p| !p.is_empty()).map(|p| setting.full(p)).collect()
    }

    /// Words with commas between them.
    pub fn list(&self, name: &str) -> Vec<String> {
        let words = self.get(name).unwrap_or_default().split(',').map(str::trim).filter(|w| !w.is_empty());
        words.map(str::to_owned).collect()
    }
}

impl Setting {
    fn full(&self, path: &str) -> PathBuf {
        if let Some(rest) = path.strip_prefix("~/") {
            return PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(rest);
        }
        let path = path.replace("{{CWD}}", &std::env::current_dir().unwrap_or_default().display().to_string());
        self.base.join(path)
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidInput, PLAYBOOK, "settings", message)
}

/// What is to be said about a key that is set.
fn judge(key: &SettingKey, setting: &Setting, place: &str, name: &str) -> Result<Option<String>> {
    let same = |a: &str, b: &str| {
        let plain = |s: &str| match s.trim().to_lowercase().as_str() {
            "yes" | "on" | "1" | "true" => "true".to_owned(),
            "no" | "off" | "0" | "false" => "false".to_owned(),
            other => other.replace(' ', ""),
        };
        plain(a) == plain(b)
    };
    match key.meaning {
        Meaning::Honoured | Meaning::Needless => Ok(None),
        Meaning::Warned if same(&setting.value, key.default) || setting.value.trim().is_empty() => Ok(None),
        Meaning::Warned => Ok(Some(format!("{place}: `{name}` has no effect: {}", key.note))),
        Meaning::Plugins => {
            let paths = setting.value.split(':').filter(|p| !p.is_empty()).map(|p| setting.full(p));
            for dir in paths {
                let python = std::fs::read_dir(&dir)
                    .into_iter()
                    .flatten()
                    .flatten()
                    .find(|e| e.path().extension().is_some_and(|x| x == "py"));
                if let Some(file) = python {
                    return Err(invalid(format!("`{name}` is not supported: {}", key.note))
                        .with("from", place)
                        .with("file", file.path().display()));
                }
            }
            Ok(None)
        }
        Meaning::Refused if same(&setting.value, key.default) || setting.value.trim().is_empty() => Ok(None),
        Meaning::Refused => {
            Err(invalid(format!("`{name} = {}` is not supported: {}", setting.value, key.note)).with("from", place))
        }
    }
}

#[cfg(test)]
mod tests;
