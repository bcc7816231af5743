//! The content key: a digest over everything that an image is made from, as far as it can be seen from here.

use std::io;
use std::path::Path;

use serde_json::{Map, json};
use sha2::{Digest as _, Sha256};
use towpath_core::{Json, digest_json};
use walkdir::WalkDir;

use crate::PackerConfig;
use crate::artifact::of_file;
use crate::plugins::{self, Wanted};
use crate::program::Program;
use crate::references::Template;
use crate::vars::{env, secret_names};

/// Part of every key: other rules give other keys.
const FORM: u32 = 2;

/// What goes into a key beside the config.
#[derive(Debug)]
pub(crate) struct Content<'a> {
    pub(crate) name: &'a str,
    pub(crate) program: &'a Program,
    /// The base's reference and digest.
    pub(crate) base: Json,
    pub(crate) vars: &'a Map<String, Json>,
    pub(crate) template: &'a Template,
    /// The template that a definition became.
    pub(crate) definition: Option<&'a Json>,
    pub(crate) plugins: &'a Wanted,
}

/// Reads all files and gives the key.
pub(crate) fn of(config: &PackerConfig, content: &Content<'_>) -> io::Result<String> {
    let root = |path: &Path| path.strip_prefix(&config.working_dir).unwrap_or(path).display().to_string();
    let mut template = Vec::new();
    for path in &content.template.files {
        // By name only: the same files elsewhere are the same template.
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        template.push(json!([name, digest(path)?]));
    }
    let mut var_files = Vec::new();
    for path in &config.var_files {
        var_files.push(digest(path)?);
    }
    let mut inputs = Vec::new();
    let more = config.key_files.iter().map(|p| config.working_dir.join(p));
    for path in content.template.inputs.iter().cloned().chain(more) {
        inputs.push(json!([root(&path), of_tree(&path)?]));
    }
    // A base may be the path of a disk or a box; that of an artifact has its digest with it.
    let base_file = match content.base.as_str() {
        Some(base) => digest(&config.working_dir.join(base))?,
        None => None,
    };
    Ok(digest_json(&json!({
        "form": FORM,
        "name": content.name,
        "base": content.base,
        "base_file": base_file,
        "packer": content.program.version.to_string(),
        "plugins": plugins::files(config, &content.program.path, content.plugins)?,
        "template": template,
        "definition": content.definition,
        "vars": content.vars,
        "env_vars": env_vars(config, content.template),
        "secrets": secret_names(config),
        "var_files": var_files,
        "inputs": inputs,
        "only": config.only,
        "except": config.except,
        "env": config.env,
    })))
}

/// The variables that HCL2 takes out of the environment. Of sensitive ones only which they are, as of all secrets.
fn env_vars(config: &PackerConfig, template: &Template) -> Map<String, Json> {
    let given = |name: &&String| !config.vars.contains_key(*name) && !config.secret_vars.contains_key(*name);
    let value = |name: &String| {
        let value = env(config, &format!("PKR_VAR_{name}"))?;
        Some((name.clone(), if template.sensitive.contains_key(name) { Json::Null } else { value.into() }))
    };
    template.variables.iter().filter(given).filter_map(value).collect()
}

/// The digest of a file, `None` if there is none. An error says which.
fn digest(path: &Path) -> io::Result<Option<String>> {
    of_file(path).map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))
}

/// Digest of a file, or of a folder with all below it: names, kinds, modes, content. `None`: there is nothing.
fn of_tree(path: &Path) -> io::Result<Option<String>> {
    use std::os::unix::fs::PermissionsExt as _;
    if !path.exists() {
        return Ok(None);
    }
    let mut all = Sha256::new();
    // Links are followed, as Packer and Ansible do.
    let walk = WalkDir::new(path).sort_by_file_name().follow_links(true);
    // Not what towpath and Git keep for themselves.
    let own = |name: &str| [".git", ".towpath"].contains(&name) || name.ends_with(".towpath.json");
    for entry in walk.into_iter().filter_entry(|e| !own(&e.file_name().to_string_lossy())) {
        let (at, entry) = match entry {
            Ok(entry) => (entry.path().to_owned(), Some(entry)),
            Err(e) => {
                let at = e.path().map(Path::to_owned);
                let is_loop = e.loop_ancestor().is_some();
                let e = io::Error::from(e);
                match at {
                    // One that leads nowhere, or back.
                    Some(at) if at.is_symlink() && (is_loop || e.kind() == io::ErrorKind::NotFound) => (at, None),
                    _ => return Err(e),
                }
            }
        };
        let name = at.strip_prefix(path).unwrap_or(&at).display().to_string();
        // Some ways of upload copy the link itself.
        let link = if at.is_symlink() { std::fs::read_link(&at)?.display().to_string() } else { String::new() };
        let (kind, mode, content) = match entry.map(|e| e.metadata()).transpose().map_err(io::Error::from)? {
            Some(meta) if meta.is_dir() => ("dir", meta.permissions().mode(), None),
            Some(meta) if meta.is_file() => ("file", meta.permissions().mode(), digest(&at)?),
            Some(_) => continue,
            None => ("link", 0, None),
        };
        all.update(json!([name, kind, mode & 0o7777, link, content]).to_string());
        all.update(b"\n");
    }
    Ok(Some(hex::encode(all.finalize())))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::collections::BTreeSet;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::program::Version;
    use crate::references;

    #[test]
    fn every_input_changes_the_key() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            path
        };
        let hcl = "variable \"v\" {}\nvariable \"s\" {\n sensitive = true\n}\nbuild {\n provisioner \"ansible\" {\n playbook_file = \"site.yml\"\n }\n}\n";
        let template = write("t.pkr.hcl", hcl);
        write("site.yml", "- hosts: all");
        write("roles/web/tasks/main.yml", "[]");
        write("more/x", "1");
        let vars_file = write("v.json", "{}");
        let mut config = PackerConfig::template(&template).working_dir(dir.path()).var_file(&vars_file);
        config.key_files.push("more".into());
        std::os::unix::fs::symlink("../elsewhere", dir.path().join("more/linked")).unwrap();
        std::os::unix::fs::symlink("..", dir.path().join("more/loop")).unwrap();
        std::os::unix::fs::symlink("nothing", dir.path().join("more/broken")).unwrap();
        write("elsewhere/y", "1");
        let program = Program { path: dir.path().join("bin/packer"), version: Version::parse("1.6.6").unwrap() };
        let with = |config: &PackerConfig, name: &str, base: &str, program: &Program| {
            let found = references::read(&template, dir.path(), &config.vars).unwrap();
            let plugins = &Wanted::Named(BTreeSet::new());
            let (base, vars) = (base.into(), &Map::new());
            let content = Content { name, program, base, vars, template: &found, definition: None, plugins };
            of(config, &content).unwrap()
        };
        let key = |config: &PackerConfig, name: &str, base: &str| with(config, name, base, &program);
        let mut seen = vec![key(&config, "web", "debian")];
        let mut different = |key: String, what: &str| {
            assert!(!seen.contains(&key), "{what} changes nothing");
            seen.push(key);
        };
        different(key(&config, "db", "debian"), "the name");
        different(key(&config, "web", "debian:13"), "the base");
        let newer = Program { version: Version::parse("1.6.7").unwrap(), ..program.clone() };
        different(with(&config, "web", "debian", &newer), "the version of packer");
        write("bin/packer-builder-x", "1");
        different(key(&config, "web", "debian"), "a plugin");
        write("disk.qcow2", "1");
        different(key(&config, "web", "disk.qcow2"), "a disk as base");
        write("disk.qcow2", "2");
        different(key(&config, "web", "disk.qcow2"), "the content of the base");
        for name in ["site.yml", "roles/web/tasks/main.yml", "more/x", "elsewhere/y", "v.json", "ansible.cfg"] {
            write(name, "changed");
            different(key(&config, "web", "debian"), name);
        }
        std::fs::set_permissions(dir.path().join("more/x"), std::fs::Permissions::from_mode(0o600)).unwrap();
        different(key(&config, "web", "debian"), "a mode");
        config.env.insert("PKR_VAR_v".into(), "1".into());
        different(key(&config, "web", "debian"), "a variable in the environment");
        std::fs::remove_dir_all(dir.path().join("roles")).unwrap();
        different(key(&config, "web", "debian"), "a role that is gone");
        config.only.push("x".into());
        different(key(&config, "web", "debian"), "`only`");
        config.secret_vars.insert("t".into(), towpath_core::SecretRef::Env("T".into()));
        different(key(&config, "web", "debian"), "where a secret comes from");
        assert_eq!(key(&config, "web", "debian"), key(&config, "web", "debian"));
    }
}
