//! Tests of the controller's files.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::Test;
use crate::render::error::{Error, Out};
use crate::render::eval::{State, shown};
use crate::render::value::{Args, Value};

pub(super) fn get(name: &str) -> Option<Test> {
    Some(match name {
        "directory" | "is_dir" => |s, v, _| path(s, &v).map(|p| Value::Bool(p.is_dir())),
        "file" | "is_file" => |s, v, _| path(s, &v).map(|p| Value::Bool(p.is_file())),
        "exists" => |s, v, _| path(s, &v).map(|p| Value::Bool(p.exists())),
        "link" | "is_link" => |s, v, _| path(s, &v).map(|p| Value::Bool(p.is_symlink())),
        "link_exists" => |s, v, _| path(s, &v).map(|p| Value::Bool(p.symlink_metadata().is_ok())),
        "abs" | "is_abs" => |_, v, _| Ok(Value::Bool(shown(&v)?.starts_with('/'))),
        "mount" | "is_mount" => |s, v, _| path(s, &v).map(|p| Value::Bool(mount(&p))),
        "same_file" | "is_same_file" => same_file,
        "vaulted_file" => |s, v, _| {
            let p = path(s, &v)?;
            let shown = p.display().to_string();
            let bytes = std::fs::read(&p).map_err(|e| {
                let why = if e.kind() == std::io::ErrorKind::NotFound {
                    "No such file or directory".to_owned()
                } else {
                    e.to_string()
                };
                let code = e.raw_os_error().unwrap_or(0);
                Error::other(format!("Cannot test if the file {shown} is a vault. [Errno {code}] {why}: b'{shown}'"))
            })?;
            Ok(Value::Bool(bytes.starts_with(b"$ANSIBLE_VAULT")))
        },
        _ => return None,
    })
}

fn path(state: &State, v: &Value) -> Result<PathBuf, Error> {
    state.scope.note_impure();
    Ok(PathBuf::from(shown(v)?))
}

fn mount(path: &Path) -> bool {
    let Ok(own) = path.symlink_metadata() else { return false };
    if own.file_type().is_symlink() {
        return false;
    }
    match path.join("..").symlink_metadata() {
        Ok(up) => up.dev() != own.dev() || up.ino() == own.ino(),
        Err(_) => false,
    }
}

fn same_file(state: &mut State, v: Value, mut args: Args) -> Out {
    let other = args.need("other")?;
    let read = |v: &Value| {
        let p = path(state, v)?;
        std::fs::metadata(&p).map_err(|e| Error::other(format!("{}: {e}", p.display())))
    };
    let (a, b) = (read(&v)?, read(&other)?);
    Ok(Value::Bool(a.dev() == b.dev() && a.ino() == b.ino()))
}
