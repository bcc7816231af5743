//! Dynamic inventories: programs that print hosts as JSON.

use std::path::Path;
use std::process::{Command, Stdio};

use towpath_core::{Error, ErrorKind, Json, Result, Vars};

use super::draft::Draft;
use crate::PLAYBOOK;

fn wrong(path: &Path, message: impl Into<String>) -> Error {
    Error::new(ErrorKind::ToolFailed, PLAYBOOK, "inventory", message).with("file", path.display())
}

/// Whether a file is meant to be run: it may be executed, and begins as a program does.
pub(super) fn is_script(path: &Path, bytes: &[u8]) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    let executable = std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    executable && (bytes.starts_with(b"#!") || bytes.starts_with(b"\x7fELF"))
}

fn ask(path: &Path, args: &[&str]) -> Result<Json> {
    let program = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let out = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| wrong(path, "the inventory script can't be run").caused_by(e))?;
    if !out.status.success() {
        let said = String::from_utf8_lossy(&out.stderr).trim().to_owned();
        return Err(wrong(path, "the inventory script failed").with("status", out.status).with("stderr", said));
    }
    if out.stdout.iter().all(u8::is_ascii_whitespace) {
        return Ok(Json::Object(Vars::new()));
    }
    serde_json::from_slice(&out.stdout).map_err(|e| {
        wrong(path, format!("the inventory script's answer to `{}` is no JSON", args.join(" "))).caused_by(e)
    })
}

/// Reads what the script says to `--list`, and to `--host` if there is no `_meta`.
pub(super) fn read(path: &Path, out: &mut Draft) -> Result<()> {
    let Json::Object(all) = ask(path, &["--list"])? else {
        return Err(wrong(path, "the inventory script's answer to `--list` is no JSON object"));
    };
    let meta = all.get("_meta").and_then(|m| m.get("hostvars")).and_then(Json::as_object).cloned();
    let mut names: Vec<String> = Vec::new();
    for (group, data) in &all {
        if group == "_meta" {
            continue;
        }
        out.group(group);
        let known = ["hosts", "vars", "children"];
        let data = match data {
            Json::Array(_) => Json::Object([("hosts".to_owned(), data.clone())].into_iter().collect()),
            Json::Object(map) if !map.keys().any(|k| known.contains(&k.as_str())) && !map.is_empty() => {
                // A group that is a mapping without any of them is one host with variables.
                let host = out.host(group);
                host.vars.extend(map.clone());
                names.push(group.clone());
                out.member(group, group);
                continue;
            }
            other => other.clone(),
        };
        for host in list(path, group, "hosts", &data)? {
            out.host(&host);
            out.member(group, &host);
            names.push(host);
        }
        for (name, value) in data.get("vars").and_then(Json::as_object).into_iter().flatten() {
            out.var(group, name, value.clone());
        }
        for child in list(path, group, "children", &data)? {
            out.child(group, &child).map_err(|e| wrong(path, e))?;
        }
    }
    names.sort();
    names.dedup();
    for name in names {
        let vars = match &meta {
            Some(all) => all.get(&name).cloned().unwrap_or_default(),
            None => ask(path, &["--host", &name])?,
        };
        match vars {
            Json::Object(vars) => out.host(&name).vars.extend(vars),
            Json::Null => {}
            _ => return Err(wrong(path, "a host's variables are no JSON object").with("host", name)),
        }
    }
    for (name, vars) in meta.iter().flatten() {
        if let (true, Json::Object(vars)) = (!out.has_host(name), vars) {
            out.host(name).vars.extend(vars.clone());
        }
    }
    Ok(())
}

fn list(path: &Path, group: &str, key: &str, data: &Json) -> Result<Vec<String>> {
    let bad = || wrong(path, format!("`{key}` of a group must be a list of names")).with("group", group);
    match data.get(key) {
        None | Some(Json::Null) => Ok(Vec::new()),
        Some(Json::Array(items)) => items.iter().map(|i| i.as_str().map(str::to_owned).ok_or_else(bad)).collect(),
        Some(_) => Err(bad()),
    }
}
