//! The content key: a digest over everything that an image is made from, as far as it can be seen from here.

use std::io;
use std::path::Path;

use serde_json::{Map, json};
use sha2::{Digest as _, Sha256};
use towpath_core::{Json, digest_json};
use walkdir::WalkDir;

use crate::PackerConfig;
use crate::artifact::of_file;
use crate::references::Template;
use crate::vars::secret_names;

/// Part of every key: other rules give other keys.
const FORM: u32 = 1;

/// What goes into a key beside the config.
#[derive(Debug)]
pub(crate) struct Content<'a> {
    pub(crate) name: &'a str,
    /// The base's reference and digest.
    pub(crate) base: Json,
    pub(crate) vars: &'a Map<String, Json>,
    pub(crate) template: &'a Template,
    /// The template that a definition became.
    pub(crate) definition: Option<&'a Json>,
}

/// Reads all files and gives the key.
pub(crate) fn of(config: &PackerConfig, content: &Content<'_>) -> io::Result<String> {
    let root = |path: &Path| path.strip_prefix(&config.working_dir).unwrap_or(path).display().to_string();
    let mut template = Vec::new();
    for path in &content.template.files {
        // By name only: the same files elsewhere are the same template.
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        template.push(json!([name, of_file(path)?]));
    }
    let mut var_files = Vec::new();
    for path in &config.var_files {
        var_files.push(of_file(path)?);
    }
    let mut inputs = Vec::new();
    let more = config.key_files.iter().map(|p| config.working_dir.join(p));
    for path in content.template.inputs.iter().cloned().chain(more) {
        inputs.push(json!([root(&path), of_tree(&path)?]));
    }
    Ok(digest_json(&json!({
        "form": FORM,
        "name": content.name,
        "base": content.base,
        "template": template,
        "definition": content.definition,
        "vars": content.vars,
        "secrets": secret_names(config),
        "var_files": var_files,
        "inputs": inputs,
        "only": config.only,
        "except": config.except,
        "env": config.env,
    })))
}

/// Digest of a file, or of a folder with all below it: names, kinds, modes, content. `None`: there is nothing.
fn of_tree(path: &Path) -> io::Result<Option<String>> {
    use std::os::unix::fs::PermissionsExt as _;
    if !path.exists() {
        return Ok(None);
    }
    let mut digest = Sha256::new();
    // A link that a template names is followed, as Packer does; those below a folder are what they are.
    let walk = WalkDir::new(path).sort_by_file_name().follow_root_links(true);
    for entry in walk.into_iter().filter_entry(|e| e.file_name() != ".git") {
        let entry = entry.map_err(io::Error::from)?;
        let name = entry.path().strip_prefix(path).unwrap_or(entry.path()).display().to_string();
        let (kind, content) = match entry.file_type() {
            t if t.is_dir() => ("dir", String::new()),
            t if t.is_symlink() => ("link", std::fs::read_link(entry.path())?.display().to_string()),
            t if t.is_file() => ("file", of_file(entry.path())?.unwrap_or_default()),
            _ => continue,
        };
        let executable = entry.path().metadata().is_ok_and(|m| m.permissions().mode() & 0o100 != 0);
        digest.update(json!([name, kind, executable, content]).to_string());
        digest.update(b"\n");
    }
    Ok(Some(hex::encode(digest.finalize())))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
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
        let template =
            write("t.pkr.hcl", "build {\n provisioner \"ansible\" {\n playbook_file = \"site.yml\"\n }\n}\n");
        write("site.yml", "- hosts: all");
        write("roles/web/tasks/main.yml", "[]");
        write("more/x", "1");
        let vars_file = write("v.json", "{}");
        let mut config = PackerConfig::template(&template).working_dir(dir.path()).var_file(&vars_file);
        config.key_files.push("more".into());
        let key = |config: &PackerConfig, name: &str, base: &str| {
            let found = references::read(&template, dir.path()).unwrap();
            let content = Content { name, base: base.into(), vars: &Map::new(), template: &found, definition: None };
            of(config, &content).unwrap()
        };
        let mut seen = vec![key(&config, "web", "debian")];
        let mut different = |key: String, what: &str| {
            assert!(!seen.contains(&key), "{what} changes nothing");
            seen.push(key);
        };
        different(key(&config, "db", "debian"), "the name");
        different(key(&config, "web", "debian:13"), "the base");
        for name in ["site.yml", "roles/web/tasks/main.yml", "more/x", "v.json"] {
            write(name, "changed");
            different(key(&config, "web", "debian"), name);
        }
        std::fs::remove_dir_all(dir.path().join("roles")).unwrap();
        different(key(&config, "web", "debian"), "a role that is gone");
        config.only.push("x".into());
        different(key(&config, "web", "debian"), "`only`");
        config.secret_vars.insert("t".into(), towpath_core::SecretRef::Env("T".into()));
        different(key(&config, "web", "debian"), "where a secret comes from");
        assert_eq!(key(&config, "web", "debian"), key(&config, "web", "debian"));
    }
}
