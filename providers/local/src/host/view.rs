//! How paths and commands of a host become those of this machine.

use std::io;
use std::path::{Component, Path, PathBuf};

use crate::state::HostDir;

/// What a host sees of the file system.
#[derive(Debug, Clone)]
pub(crate) enum View {
    /// Its own root: every path is what it says.
    Namespace,
    /// A folder of this machine: everything else is refused.
    Plain {
        /// The folder.
        root: PathBuf,
    },
}

impl View {
    pub(crate) fn namespace() -> Self {
        Self::Namespace
    }

    /// Makes the folder of a plain host.
    pub(crate) fn plain(dir: &HostDir) -> io::Result<Self> {
        let root = dir.tree();
        for below in ["root", "tmp", "etc", "opt", "srv", "usr/local/bin", "var/log", "var/lib", "var/tmp", "home"] {
            std::fs::create_dir_all(root.join(below))?;
        }
        Ok(Self::Plain { root: root.canonicalize()? })
    }

    /// The home of whoever logs in.
    pub(crate) fn home(&self) -> PathBuf {
        match self {
            Self::Namespace => PathBuf::from("/root"),
            Self::Plain { root } => root.join("root"),
        }
    }

    /// What a command is told that may have tried to write elsewhere.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Namespace => None,
            Self::Plain { root } => Some(format!(
                "towpath: this host runs in plain mode: commands run as this user, and nothing outside its folder {} may be \
                 written; name a path below `towpath_root`\n",
                root.display()
            )),
        }
    }

    /// Finds the file that `path` names, or says why it may not be touched.
    pub(crate) fn resolve(&self, path: &str) -> Result<PathBuf, String> {
        let joined = self.home().join(path);
        match self {
            Self::Namespace => Ok(joined),
            Self::Plain { root } => {
                let clean = normal(&joined);
                if clean.starts_with(root) && leads_inside(root, &clean) {
                    return Ok(clean);
                }
                Err(refusal(root, path))
            }
        }
    }
}

/// Why a path is refused in plain mode.
fn refusal(root: &Path, path: &str) -> String {
    format!(
        "{path} lies outside this host's folder {}: this host runs in plain mode , where files of \
         the machine itself are never touched; name a path below `towpath_root` or relative to the home folder",
        root.display()
    )
}

/// Resolves `.` and `..` by text.
fn normal(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                clean.pop();
            }
            Component::CurDir => {}
            other => clean.push(other),
        }
    }
    clean
}

/// Says whether the longest part of `path` that exists is below `root` once its symbolic links are followed.
fn leads_inside(root: &Path, path: &Path) -> bool {
    let mut at = path.parent().unwrap_or(path);
    loop {
        match at.canonicalize() {
            Ok(real) => return real.starts_with(root),
            Err(_) => match at.parent() {
                Some(parent) => at = parent,
                None => return false,
            },
        }
    }
}
