//! Plays.

use std::path::Path;
use std::sync::Arc;

use towpath_core::{Json, Result, Vars};

use super::role::{Loaded, Loader, Role, read_ref};
use super::task::{Inherit, Item, load_tasks};
use super::yaml::{self, Node, Pos};
use crate::render::truthy;

/// A play.
#[derive(Debug)]
pub(crate) struct Play {
    pub(crate) name: Option<String>,
    pub(crate) hosts: Json,
    pub(crate) pos: Pos,
    pub(crate) vars: Arc<Vars>,
    pub(crate) vars_files: Vec<(Json, Pos)>,
    pub(crate) gather_facts: bool,
    pub(crate) remote_user: Option<Json>,
    pub(crate) any_errors_fatal: bool,
    pub(crate) roles: Vec<Arc<Role>>,
    pub(crate) pre_tasks: Vec<Item>,
    /// Roles and tasks.
    pub(crate) tasks: Vec<Item>,
    pub(crate) post_tasks: Vec<Item>,
    pub(crate) handlers: Vec<Item>,
    pub(crate) become_: super::Become,
}

/// Reads a playbook and everything that it names statically.
pub(crate) fn load_playbook(loader: &Loader, path: &Path) -> Result<Vec<Play>> {
    let node = yaml::read(path)?;
    let mut plays = Vec::new();
    for item in node.items("a playbook")? {
        if let Some(import) = item.get("import_playbook").or_else(|| item.get("ansible.builtin.import_playbook")) {
            let file = path.parent().unwrap_or(Path::new(".")).join(import.text("import_playbook")?);
            plays.extend(load_playbook(loader, &file)?);
        } else {
            plays.push(load_play(loader, item)?);
        }
    }
    Ok(plays)
}

fn load_play(loader: &Loader, node: &Node) -> Result<Play> {
    let mut inherit = Inherit::default();
    let mut play = Play {
        name: None,
        hosts: Json::Null,
        pos: node.pos.clone(),
        vars: Arc::default(),
        vars_files: Vec::new(),
        gather_facts: true,
        remote_user: None,
        any_errors_fatal: false,
        roles: Vec::new(),
        pre_tasks: Vec::new(),
        tasks: Vec::new(),
        post_tasks: Vec::new(),
        handlers: Vec::new(),
        become_: super::Become::default(),
    };
    for (key, value) in node.pairs("a play")? {
        match key.as_str() {
            "name" => play.name = Some(value.text("name")?),
            "hosts" => play.hosts = value.json(),
            "vars" => {
                value.pairs("vars")?;
                play.vars = Arc::new(value.json().as_object().cloned().unwrap_or_default());
            }
            "vars_files" => play.vars_files = value.list().into_iter().map(|n| (n.json(), n.pos.clone())).collect(),
            "gather_facts" => play.gather_facts = value.json() != Json::Bool(false),
            "remote_user" => play.remote_user = Some(value.json()),
            "roles" | "tasks" | "pre_tasks" | "post_tasks" | "handlers" => {}
            "strategy" if matches!(value.text("strategy")?.as_str(), "linear" | "ansible.builtin.linear") => {}
            "gather_subset" | "gather_timeout" => {}
            "order" if value.json() == "inventory" => {}
            "force_handlers" if truthy(&value.json()) == Some(false) => {}
            "serial"
            | "max_fail_percentage"
            | "strategy"
            | "vars_prompt"
            | "connection"
            | "port"
            | "order"
            | "force_handlers" => {
                return Err(value.wrong(format!("`{key}` of a play is not supported yet")));
            }
            _ if inherit.keyword(key, value)? => {}
            _ => return Err(value.wrong(format!("`{key}` is no keyword of a play"))),
        }
    }
    if play.hosts.is_null() {
        return Err(node.wrong("a play without `hosts`"));
    }
    play.any_errors_fatal = inherit.any_errors_fatal == Some(Json::Bool(true));
    play.become_ = inherit.become_.clone();
    let section =
        |key: &str, inherit: &Inherit| node.get(key).map_or(Ok(Vec::new()), |n| load_tasks(loader, n, inherit));
    play.pre_tasks = section("pre_tasks", &inherit)?;
    let mut loaded = Loaded::default();
    for entry in node.get("roles").map(Node::list).unwrap_or_default() {
        let (role, sub) = read_ref(entry, &inherit)?;
        let plain = sub.params.len() == inherit.params.len();
        if plain && loaded.roles.iter().any(|r| r.name == role.name) {
            continue;
        }
        loader.load_role(&role, &sub, &mut Vec::new(), &mut loaded)?;
    }
    play.roles = loaded.roles;
    play.tasks = loaded.items;
    play.tasks.extend(section("tasks", &inherit)?);
    play.post_tasks = section("post_tasks", &inherit)?;
    let handlers = Inherit { handler: true, when: Vec::new(), ..inherit };
    play.handlers = section("handlers", &handlers)?;
    play.handlers.extend(loaded.handlers);
    Ok(play)
}
