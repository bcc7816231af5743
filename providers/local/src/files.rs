//! Files that hold state, and trees of hosts.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

pub(crate) use towpath_core::private_files::*;

/// Removes a folder and all in it, also what its owner made unreadable; gone already is a success.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(_) => {
            // A folder without the owner's write or search bit (an overlay's `work/work` has mode 0) can't be emptied.
            for entry in walkdir::WalkDir::new(path).follow_links(false) {
                let entry_path = match &entry {
                    Ok(e) => e.path(),
                    Err(e) => match e.path() {
                        Some(p) => p,
                        None => continue,
                    },
                };
                if fs::symlink_metadata(entry_path).is_ok_and(|m| m.is_dir()) {
                    let _ = fs::set_permissions(entry_path, fs::Permissions::from_mode(0o700));
                }
            }
            match fs::remove_dir_all(path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
                _ => Ok(()),
            }
        }
    }
}
