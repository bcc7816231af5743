//! Files of tasks and roles that a task names.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Map;
use towpath_core::{Json, Result, Vars};

use super::inherit::Inherit;
use super::role::{Loaded, Loader, RoleRef};
use super::task::Task;
use super::yaml::{Kind, Node, invalid};

fn file_of(args: &Map<String, Json>) -> Option<&str> {
    args.get("_raw_params").or_else(|| args.get("file")).and_then(Json::as_str)
}

/// The file that an `import_tasks` names.
pub(super) fn import_tasks(loader: &Loader, task: &Task) -> Result<PathBuf> {
    let file = file_of(&task.args).ok_or_else(|| invalid(&task.pos, "`import_tasks` without a file"))?;
    let file = loader.text(file, &task.inherit).map_err(|e| invalid(&task.pos, e))?;
    tasks_file(loader, task, &file)
}

/// Finds a file of tasks: beside the file that names it, in the role, beside the playbook.
pub(crate) fn tasks_file(loader: &Loader, task: &Task, file: &str) -> Result<PathBuf> {
    let mut places = Vec::new();
    places.extend(task.pos.file.parent().map(std::path::Path::to_path_buf));
    for role in task.inherit.roles.iter().rev() {
        places.push(role.path.join("tasks"));
        places.push(role.path.clone());
    }
    places.push(loader.playbook_dir.clone());
    if let Some(found) = places.iter().map(|p| p.join(file)).find(|p| p.is_file()) {
        return Ok(found);
    }
    let searched = places.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ");
    Err(invalid(&task.pos, format!("there is no file of tasks `{file}`")).with("searched", searched))
}

/// Reads the role that an include or import names. `inherit` is what its tasks inherit.
pub(crate) fn load_included_role(
    loader: &Loader,
    task: &Task,
    args: &Map<String, Json>,
    inherit: &Inherit,
) -> Result<Loaded> {
    let name = args.get("name").or_else(|| args.get("role")).and_then(Json::as_str);
    let name = name.ok_or_else(|| invalid(&task.pos, format!("`{}` without a name", task.action)))?;
    let name = loader.text(name, inherit).map_err(|e| invalid(&task.pos, e))?;
    let from = |key: &str| args.get(key).and_then(Json::as_str).map(str::to_owned);
    let yes = |key: &str| args.get(key).and_then(crate::render::truthy);
    for key in args.keys() {
        const KNOWN: [&str; 12] = [
            "name",
            "role",
            "tasks_from",
            "vars_from",
            "defaults_from",
            "handlers_from",
            "allow_duplicates",
            "public",
            "apply",
            "rolespec_validate",
            "_raw_params",
            "private",
        ];
        if !KNOWN.contains(&key.as_str()) {
            return Err(invalid(&task.pos, format!("`{key}` is no option of `{}`", task.action)));
        }
    }
    let role = RoleRef {
        name: name.to_owned(),
        pos: task.pos.clone(),
        key: format!("{name}|{}", task.pos),
        tasks_from: from("tasks_from"),
        vars_from: from("vars_from"),
        defaults_from: from("defaults_from"),
        handlers_from: from("handlers_from"),
        again: Some(yes("allow_duplicates").unwrap_or(true)),
        validate: yes("rolespec_validate").unwrap_or(true),
        params: Vars::new(),
    };
    let mut role = role;
    if role.again == Some(false) {
        role.key = format!("{name}|{{}}");
    }
    let mut out = Loaded::default();
    loader.load_role(&role, inherit, &mut Vec::new(), &mut out)?;
    Ok(out)
}

/// What a dynamic include passes on: what is around it, its `vars` as parameters, and `apply`.
pub(crate) fn apply(task: &Task, args: &Map<String, Json>, vars: Vec<Arc<Vars>>) -> Result<Inherit> {
    let mut inherit = task.outer.as_deref().cloned().unwrap_or_else(|| task.inherit.clone());
    let own = task.inherit.vars.get(inherit.vars.len()..).unwrap_or_default();
    inherit.params.extend(own.iter().cloned());
    inherit.items.extend(vars.iter().cloned());
    inherit.params.extend(vars);
    // What is included is read when it is reached: it may include itself until a condition ends that.
    inherit.depth = 0;
    // A dynamic include inside a role keeps that role.
    inherit.handler = task.inherit.handler;
    if let Some(Json::Object(map)) = args.get("apply") {
        for (key, value) in map {
            let node = node_of(value, task);
            if !inherit.keyword(key, &node)? {
                return Err(invalid(&task.pos, format!("`{key}` is no keyword that `apply` can give")));
            }
        }
    }
    Ok(inherit)
}

fn node_of(value: &Json, task: &Task) -> Node {
    let pos = task.pos.clone();
    let kind = match value {
        Json::Array(items) => Kind::Seq(items.iter().map(|v| node_of(v, task)).collect()),
        Json::Object(map) => Kind::Map(map.iter().map(|(k, v)| (k.clone(), node_of(v, task))).collect()),
        other => Kind::Scalar(other.clone()),
    };
    Node { kind, pos }
}
