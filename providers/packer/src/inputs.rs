//! Which options of a template name files or folders of this machine, and which paths those are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use towpath_core::Json;

/// The options of builders, provisioners and post-processors that name files or folders of this machine. Not among them: keys and
/// certificates that only open the way to a machine, and what is written.
pub(crate) const INPUTS: &[&str] = &[
    "cd_files",
    "client_key",
    "config_template",
    "cookbook_paths",
    "custom_data_file",
    "data_bags_path",
    "efi_firmware_code",
    "efi_firmware_vars",
    "encrypted_data_bag_secret_path",
    "environments_path",
    "extra_arguments",
    "firmware",
    "floppy_dirs",
    "floppy_files",
    "galaxy_file",
    "grains_file",
    "group_vars",
    "hiera_config_path",
    "host_vars",
    "http_directory",
    "include",
    "inventory_directory",
    "inventory_file",
    "iso_checksum",
    "iso_checksum_url",
    "iso_url",
    "iso_urls",
    "kickstart_file",
    "local_pillar_roots",
    "local_state_tree",
    "manifest_dir",
    "manifest_file",
    "metadata_files",
    "minion_config",
    "module_dirs",
    "module_paths",
    "playbook_dir",
    "playbook_file",
    "playbook_files",
    "playbook_paths",
    "preseed_path",
    "requirements_file",
    "role_paths",
    "roles_path",
    "script",
    "scripts",
    "source",
    "source_path",
    "source_vmx",
    "sources",
    "startup_script_file",
    "template",
    "trusted_certs_dir",
    "user_data_file",
    "vagrantfile_template",
    "validation_key_path",
    "vmx_template_path",
];

/// Beside a playbook, what Ansible finds there by itself.
const BESIDE_PLAYBOOKS: &[&str] = &[
    "action_plugins",
    "ansible.cfg",
    "become_plugins",
    "cache_plugins",
    "callback_plugins",
    "collections",
    "connection_plugins",
    "files",
    "filter_plugins",
    "group_vars",
    "handlers",
    "host_vars",
    "inventory_plugins",
    "library",
    "lookup_plugins",
    "module_utils",
    "requirements.yml",
    "roles",
    "strategy_plugins",
    "tasks",
    "templates",
    "test_plugins",
    "vars",
    "vars_plugins",
];

/// Where a text stands, and what its relative paths start from.
#[derive(Clone, Copy)]
pub(crate) struct Places<'a> {
    pub(crate) file: &'a Path,
    pub(crate) folder: &'a Path,
    pub(crate) working_dir: &'a Path,
    /// The variables of the config, which win over all others, so that their values are certain.
    pub(crate) vars: &'a BTreeMap<String, Json>,
}

impl Places<'_> {
    /// The path that a text names. `None`: it depends on what only Packer knows.
    pub(crate) fn resolve(&self, text: &str) -> Option<PathBuf> {
        let text = replaced(text, "${", "}", |inside| self.of_hcl(inside.trim()));
        let text = replaced(&text, "{{", "}}", |inside| self.of_json(inside.trim()));
        let open = text.contains("${") || text.contains("%{") || text.contains("{{");
        (!open).then(|| self.working_dir.join(text))
    }

    fn of_hcl(&self, inside: &str) -> Option<String> {
        match inside {
            "path.root" => Some(self.folder.display().to_string()),
            "path.cwd" => Some(self.working_dir.display().to_string()),
            _ => self.var(inside.strip_prefix("var.")?),
        }
    }

    fn of_json(&self, inside: &str) -> Option<String> {
        match inside {
            "template_dir" => Some(self.folder.display().to_string()),
            "pwd" => Some(self.working_dir.display().to_string()),
            _ => self.var(inside.strip_prefix("user")?.trim().strip_prefix('`')?.strip_suffix('`')?),
        }
    }

    fn var(&self, name: &str) -> Option<String> {
        self.vars.get(name)?.as_str().map(str::to_owned)
    }

    /// Where `file:line: option` stands, for people.
    pub(crate) fn name(&self, option: &str, line: Option<usize>) -> String {
        let line = line.map(|l| format!(":{l}")).unwrap_or_default();
        format!("{}{line}: {option}", self.file.display())
    }
}

/// Replaces what stands between two marks, where that is known. What takes its place is not read again.
fn replaced(text: &str, start: &str, end: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(start) {
        out.push_str(before);
        match after.split_once(end).and_then(|(inside, rest)| Some((value(inside)?, rest))) {
            Some((value, after)) => {
                out.push_str(&value);
                rest = after;
            }
            None => {
                out.push_str(start);
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

/// What a text of an option names: a path, as it is written. `None`: no file of this machine, or none whose content matters.
pub(crate) fn named<'t>(option: &str, text: &'t str, iso_checksum: Option<&str>) -> Option<&'t str> {
    let text = match option {
        // Of a medium whose checksum stands in the template, that says it all.
        "iso_url" | "iso_urls" if iso_checksum.is_some_and(|sum| !sum.is_empty() && sum != "none") => return None,
        "iso_checksum" => text.strip_prefix("file:")?,
        // `--extra-vars @vars.yml`
        "extra_arguments" => text.strip_prefix('@').or_else(|| text.split_once("=@").map(|(_, file)| file))?,
        _ => text,
    };
    let text = text.strip_prefix("file://").or_else(|| text.strip_prefix("//")).unwrap_or(text);
    // Addresses, and what is written beside the path of a plugin's own kind.
    (!text.is_empty() && !text.contains("://")).then_some(text)
}

/// A playbook, those that it imports, and what Ansible finds beside each.
pub(crate) fn playbook(path: &Path, into: &mut BTreeSet<PathBuf>) {
    let path = &plain(path);
    if !into.insert(path.to_owned()) {
        return;
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    into.extend(BESIDE_PLAYBOOKS.iter().map(|n| folder.join(n)).filter(|p| p.exists()));
    let text = match path.metadata() {
        Ok(file) if file.is_file() => std::fs::read_to_string(path).unwrap_or_default(),
        _ => return,
    };
    for line in text.lines() {
        let line = line.trim_start().trim_start_matches("- ").trim_start();
        let import = ["import_playbook:", "ansible.builtin.import_playbook:"].iter().find_map(|k| line.strip_prefix(k));
        let Some(name) = import else { continue };
        let name = name.split(" #").next().unwrap_or_default().trim().trim_matches(['"', '\'']);
        // One whose name depends on a variable is Ansible's secret.
        if !name.is_empty() && !name.contains("{{") {
            playbook(&folder.join(name), into);
        }
    }
}

/// Without `.` and `..`, so that playbooks that import each other are each read once.
fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            part => out.push(part),
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_what_packer_would_make_of_them() {
        let vars = BTreeMap::from([("a".to_owned(), Json::from("x{{user `b`}}")), ("n".to_owned(), Json::from(1))]);
        let (folder, cwd) = (Path::new("/t"), Path::new("/w"));
        let places = Places { file: Path::new("f"), folder, working_dir: cwd, vars: &vars };
        for (text, path) in [
            ("run.sh", Some("/w/run.sh")),
            ("/abs", Some("/abs")),
            ("${path.root}/run.sh", Some("/t/run.sh")),
            ("{{template_dir}}/run.sh", Some("/t/run.sh")),
            ("{{ pwd }}/run.sh", Some("/w/run.sh")),
            ("${var.b}.sh", None),
            ("${var.n}.sh", None),
            ("{{user `b`}}", None),
            ("{{.Name}}", None),
            ("${", None),
        ] {
            assert_eq!(places.resolve(text).as_deref(), path.map(Path::new), "{text}");
        }
        let plain = BTreeMap::from([("a".to_owned(), Json::from("x"))]);
        let places = Places { vars: &plain, ..places };
        assert_eq!(places.resolve("${var.a}/{{user `a`}}/{{ user `a` }}"), Some("/w/x/x/x".into()));
    }

    #[test]
    fn what_is_no_file_is_left_out() {
        for (option, text, sum, path) in [
            ("script", "a.sh", None, Some("a.sh")),
            ("script", "", None, None),
            ("source", "https://example.org/x", None, None),
            ("iso_url", "a.iso", Some("none"), Some("a.iso")),
            ("iso_url", "a.iso", None, Some("a.iso")),
            ("iso_url", "a.iso", Some("sha256:1"), None),
            ("iso_url", "file:///a.iso", None, Some("/a.iso")),
            ("iso_url", "https://example.org/x", None, None),
            ("iso_checksum", "sha256:1", None, None),
            ("iso_checksum", "file:SUMS", None, Some("SUMS")),
            ("iso_checksum", "file:///SUMS", None, Some("/SUMS")),
            ("iso_checksum", "file:https://example.org/SUMS", None, None),
            ("extra_arguments", "-v", None, None),
            ("extra_arguments", "@vars.yml", None, Some("vars.yml")),
            ("extra_arguments", "--extra-vars=@vars.yml", None, Some("vars.yml")),
        ] {
            assert_eq!(named(option, text, sum), path, "{option} {text}");
        }
    }

    #[test]
    fn imported_playbooks_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
        };
        write("site.yml", "- import_playbook: more/web.yml # the web\n- ansible.builtin.import_playbook: \"db.yml\"\n");
        write("more/web.yml", "- name: web\n  import_playbook: ../site.yml\n- import_playbook: \"{{ x }}.yml\"\n");
        write("more/roles/r/tasks/main.yml", "[]");
        let mut found = BTreeSet::new();
        playbook(&dir.path().join("site.yml"), &mut found);
        let names: Vec<String> =
            found.iter().map(|p| p.strip_prefix(dir.path()).unwrap().display().to_string()).collect();
        assert_eq!(names, ["db.yml", "more/roles", "more/web.yml", "site.yml"]);
    }
}
