//! `include_vars`.

use std::path::{Path, PathBuf};

use serde_json::json;
use towpath_core::{Json, Vars};

use super::copy::not_found;
use super::pattern::Pattern;
use super::spec::Rules;
use super::{Call, Decision, Fields, Module, Place, fields};

/// `include_vars`.
pub(super) const MODULE: Module = Module {
    names: &["include_vars"],
    rules: Rules { free: true, ..Rules::NONE },
    // `free-form` is what documentation calls the bare file name, `_raw_params` here.
    missing: &["free-form"],
    place: Place::Here,
    prepare,
};

const OF_FOLDERS: [&str; 5] = ["depth", "files_matching", "ignore_files", "extensions", "ignore_unknown_extensions"];
const OF_FILES: [&str; 2] = ["file", "_raw_params"];
const OF_BOTH: [&str; 4] = ["dir", "name", "hash_behaviour", "free-form"];

/// What has been read, and what went wrong.
#[derive(Default)]
struct Read {
    files: Vec<String>,
    vars: Fields,
    wrong: Option<String>,
}

fn prepare(call: &Call) -> Result<Decision, String> {
    let given = |k: &str| call.given.get(k).is_some_and(|v| !v.is_null());
    for key in call.given.keys() {
        if !OF_FOLDERS.iter().chain(&OF_FILES).chain(&OF_BOTH).any(|k| k == key) {
            return super::action::wrong(format!("{key} is not a valid option in include_vars"));
        }
    }
    let of_folders = given("dir") || OF_FOLDERS.iter().any(|k| given(k));
    if of_folders && OF_FILES.iter().any(|k| given(k)) {
        return super::action::wrong("You are mixing file only and dir only arguments, these are incompatible".into());
    }
    let mut read = Read::default();
    if of_folders {
        folder(call, &mut read)?;
    } else {
        match call.any(&["_raw_params", "file"]) {
            None => {
                read.wrong = Some("Could not find file on the Ansible Controller.\nIf you are using a module and expect the file to exist on the remote, see the remote_src option".into());
            }
            Some(name) => match call.scope.search.find("vars", &name) {
                Ok(path) => read.file(&path),
                Err(_) => read.wrong = Some(not_found(call, "vars", &name)),
            },
        }
    }
    let mut vars = std::mem::take(&mut read.vars);
    if let Some(name) = call.text("name") {
        vars = fields([("", Json::Object(vars))]).into_iter().map(|(_, v)| (name.clone(), v)).collect();
    }
    if call.text("hash_behaviour").as_deref() == Some("merge") && read.wrong.is_none() {
        if let Err(why) = merge_known(call, &mut vars) {
            return super::action::wrong(why);
        }
    }
    let mut result = fields([
        ("changed", json!(false)),
        ("ansible_included_var_files", json!(read.files)),
        ("ansible_facts", Json::Object(if read.wrong.is_some() { Fields::new() } else { vars })),
    ]);
    if let Some(wrong) = read.wrong {
        result.insert("failed".into(), true.into());
        result.insert("message".into(), wrong.into());
    }
    Ok(Decision::Done(result))
}

/// With `merge`, mappings are merged into those that the variables of the same names hold already. What is no mapping, or
/// not there, is an error, as with Ansible.
fn merge_known(call: &Call, vars: &mut Fields) -> Result<(), String> {
    let class = |value: Option<&Json>| match value {
        None | Some(Json::Null) => "NoneType",
        Some(Json::Bool(_)) => "bool",
        Some(Json::Number(n)) if n.is_f64() => "float",
        Some(Json::Number(_)) => "int",
        Some(Json::String(_)) => "AnsibleUnicode",
        Some(Json::Array(_)) => "AnsibleSequence",
        Some(Json::Object(_)) => "AnsibleMapping",
    };
    for (key, value) in vars.iter_mut() {
        match (&*value, call.scope.raw(key)) {
            (Json::Object(new), Some(Json::Object(old))) => {
                let mut all = old.clone();
                merge(&mut all, new);
                *value = Json::Object(all);
            }
            (new, old) => {
                return Err(format!(
                    "failed to combine variables, expected dicts but got a '{}' and a '{}'.",
                    class(old),
                    class(Some(new))
                ));
            }
        }
    }
    Ok(())
}

fn merge(into: &mut Fields, new: &Fields) {
    for (key, value) in new {
        match (into.get_mut(key), value) {
            (Some(Json::Object(old)), Json::Object(new)) => merge(old, new),
            _ => {
                into.insert(key.clone(), value.clone());
            }
        }
    }
}

impl Read {
    fn file(&mut self, path: &Path) {
        let shown = path.display().to_string();
        match crate::load::yaml::read_vars(path) {
            Ok(vars) => {
                let vars: Vars = vars;
                self.vars.extend(vars);
                self.files.push(shown);
            }
            Err(e) => {
                let bare = std::fs::read_to_string(path).unwrap_or_default();
                let list = bare.trim_start().starts_with(['-', '[']) || !bare.contains(':');
                self.wrong = Some(match list && !bare.contains(": [") {
                    true => format!("{shown} must be stored as a dictionary/hash"),
                    false => e.report(),
                });
            }
        }
    }
}

fn folder(call: &Call, read: &mut Read) -> Result<(), String> {
    let dir = call.text("dir").unwrap_or_default();
    // A folder is looked for below `vars` of a role, and beside the playbook.
    let root = call.scope.search.find("vars", dir.trim_end_matches('/')).ok();
    let base = call.scope.search.dirs.last().cloned().unwrap_or_default();
    let root = root.unwrap_or_else(|| base.join(dir.trim_end_matches('/')));
    if !root.exists() {
        read.wrong = Some(format!("{} directory does not exist", root.display()));
        return Ok(());
    }
    if !root.is_dir() {
        read.wrong = Some(format!("{} is not a directory", root.display()));
        return Ok(());
    }
    let depth = call.text("depth").and_then(|d| d.parse::<usize>().ok()).unwrap_or(0);
    let extensions = call.list("extensions").unwrap_or_else(|| ["yaml", "yml", "json"].map(str::to_owned).to_vec());
    let only = call.text("files_matching").map(|p| Pattern::new(&p, false)).transpose()?;
    let ignored: Vec<Pattern> = call
        .list("ignore_files")
        .unwrap_or_default()
        .iter()
        .map(|p| Pattern::new(&format!(r"{p}\Z"), false))
        .collect::<Result<_, _>>()?;
    let lenient = call.yes("ignore_unknown_extensions")? == Some(true);
    let mut folders: Vec<(PathBuf, usize)> = vec![(root, 1)];
    while !folders.is_empty() {
        let (folder, level) = folders.remove(0);
        let mut entries: Vec<PathBuf> = std::fs::read_dir(&folder)
            .map_err(|e| format!("can't read {}: {e}", folder.display()))?
            .filter_map(|e| e.ok().map(|e| e.path()))
            .collect();
        entries.sort();
        let (dirs, files): (Vec<_>, Vec<_>) = entries.into_iter().partition(|p| p.is_dir());
        for path in files {
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            if only.as_ref().is_some_and(|p| !p.matches(&name)) || ignored.iter().any(|p| p.matches(&name)) {
                continue;
            }
            let known = path.extension().is_some_and(|e| extensions.iter().any(|x| e == x.as_str()));
            if !known {
                if lenient {
                    continue;
                }
                let all = extensions.join(", ");
                read.wrong = Some(format!("{} does not have a valid extension: {all}", path.display()));
                return Ok(());
            }
            read.file(&path);
            if read.wrong.is_some() {
                return Ok(());
            }
        }
        if depth == 0 || level < depth {
            let below: Vec<(PathBuf, usize)> = dirs.into_iter().map(|d| (d, level + 1)).collect();
            folders.splice(0..0, below);
        }
    }
    Ok(())
}
