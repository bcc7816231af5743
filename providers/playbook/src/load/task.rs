//! Tasks and blocks, with everything that they inherit.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Map;
use towpath_core::{Json, Result, Vars};

use super::args;
use super::role::{Loaded, Loader, Role, RoleRef};
use super::yaml::{Kind, Node, Pos, read};
use crate::render::truthy;

/// Keywords of becoming another user; unset ones come from further out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Become {
    pub(crate) on: Option<Json>,
    pub(crate) user: Option<Json>,
    pub(crate) method: Option<Json>,
    pub(crate) flags: Option<Json>,
}

/// What a task inherits from the play, blocks, roles and imports around it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Inherit {
    pub(crate) when: Vec<(Json, Pos)>,
    pub(crate) vars: Vec<Arc<Vars>>,
    pub(crate) params: Vec<Arc<Vars>>,
    pub(crate) become_: Become,
    pub(crate) environment: Vec<Json>,
    pub(crate) tags: Vec<String>,
    pub(crate) ignore_errors: Option<Json>,
    pub(crate) no_log: Option<Json>,
    pub(crate) check_mode: Option<Json>,
    pub(crate) diff: Option<Json>,
    pub(crate) any_errors_fatal: Option<Json>,
    pub(crate) run_once: Option<Json>,
    pub(crate) role: Option<Arc<Role>>,
    /// The role and those that depend on it, outermost first.
    pub(crate) roles: Vec<Arc<Role>>,
    pub(crate) handler: bool,
}

impl Inherit {
    /// Takes a keyword that blocks, roles and tasks share. Gives `false` for any other.
    pub(crate) fn keyword(&mut self, key: &str, value: &Node) -> Result<bool> {
        match key {
            "when" => self.when.extend(value.list().into_iter().map(|n| (n.json(), n.pos.clone()))),
            "vars" => {
                value.pairs("vars")?;
                if let Json::Object(map) = value.json() {
                    self.vars.push(Arc::new(map));
                }
            }
            "become" => self.become_.on = Some(value.json()),
            "become_user" => self.become_.user = Some(value.json()),
            "become_method" => self.become_.method = Some(value.json()),
            "become_flags" => self.become_.flags = Some(value.json()),
            "environment" => self.environment.extend(value.list().into_iter().map(Node::json)),
            "tags" => self.tags.extend(value.texts("tags")?),
            "ignore_errors" => self.ignore_errors = Some(value.json()),
            "no_log" => self.no_log = Some(value.json()),
            "check_mode" => self.check_mode = Some(value.json()),
            "any_errors_fatal" => self.any_errors_fatal = Some(value.json()),
            "run_once" => self.run_once = Some(value.json()),
            "delegate_to" | "delegate_facts" => {
                return Err(
                    value.wrong("`delegate_to` is not supported yet; give the task a play of its own on that host")
                );
            }
            // They change no result: how it is shown, where modules are looked for, how many hosts work at once.
            "diff" => self.diff = Some(value.json()),
            "collections" | "throttle" => {}
            "ignore_unreachable" if truthy(&value.json()) == Some(false) => {}
            "timeout" if value.json() == 0 => {}
            "debugger" if value.json() == "never" => {}
            "module_defaults" if value.list().is_empty() => {}
            "ignore_unreachable" | "timeout" | "debugger" | "module_defaults" => {
                return Err(value.wrong(format!("`{key}` is not supported yet")));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// A loop.
#[derive(Debug, Clone)]
pub(crate) struct Loop {
    pub(crate) items: Json,
    /// `with_items` flattens one level.
    pub(crate) kind: String,
    pub(crate) var: String,
    pub(crate) index_var: Option<String>,
    pub(crate) label: Option<Json>,
}

/// A task.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) name: Option<String>,
    /// The module's short name.
    pub(crate) action: String,
    pub(crate) args: Map<String, Json>,
    pub(crate) pos: Pos,
    pub(crate) inherit: Inherit,
    pub(crate) loop_: Option<Loop>,
    pub(crate) register: Option<String>,
    pub(crate) changed_when: Option<Vec<Json>>,
    pub(crate) failed_when: Option<Vec<Json>>,
    pub(crate) notify: Vec<String>,
    pub(crate) listen: Vec<String>,
    pub(crate) until: Option<Vec<Json>>,
    pub(crate) retries: Option<Json>,
    pub(crate) delay: Option<Json>,
    /// How many conditions come from further out.
    pub(crate) outer_when: usize,
}

/// A step of a task list.
#[derive(Debug, Clone)]
pub(crate) enum Item {
    Task(Arc<Task>),
    Block {
        block: Vec<Item>,
        rescue: Vec<Item>,
        always: Vec<Item>,
    },
    /// `include_tasks`, `include_role`: read when reached.
    Include(Arc<Task>),
    /// `meta`.
    Meta(String),
    /// Handlers of an imported role.
    Handlers(Vec<Item>),
}

/// Strips what only Ansible's own collections may carry.
fn short(action: &str) -> &str {
    action.strip_prefix("ansible.builtin.").or_else(|| action.strip_prefix("ansible.legacy.")).unwrap_or(action)
}

fn free_form(action: &str) -> bool {
    matches!(action, "command" | "shell" | "raw" | "script" | "win_command" | "win_shell")
}

/// Reads a list of tasks and blocks.
pub(crate) fn load_tasks(loader: &Loader, node: &Node, inherit: &Inherit) -> Result<Vec<Item>> {
    let mut out = Vec::new();
    for item in node.items("a list of tasks")? {
        if item.get("block").is_some() {
            out.push(load_block(loader, item, inherit)?);
        } else if !item.is_null() {
            load_task(loader, item, inherit, &mut out)?;
        }
    }
    Ok(out)
}

fn load_block(loader: &Loader, node: &Node, inherit: &Inherit) -> Result<Item> {
    let mut inner = inherit.clone();
    for (key, value) in node.pairs("a block")? {
        match key.as_str() {
            "block" | "rescue" | "always" => {}
            "name" => {}
            _ if inner.keyword(key, value)? => {}
            _ => return Err(value.wrong(format!("`{key}` is no keyword of a block"))),
        }
    }
    let part = |key: &str| node.get(key).map_or(Ok(Vec::new()), |n| load_tasks(loader, n, &inner));
    Ok(Item::Block { block: part("block")?, rescue: part("rescue")?, always: part("always")? })
}

fn load_task(loader: &Loader, node: &Node, inherit: &Inherit, out: &mut Vec<Item>) -> Result<()> {
    let mut task = Task {
        name: None,
        action: String::new(),
        args: Map::new(),
        pos: node.pos.clone(),
        inherit: inherit.clone(),
        loop_: None,
        register: None,
        changed_when: None,
        failed_when: None,
        notify: Vec::new(),
        listen: Vec::new(),
        until: None,
        retries: None,
        delay: None,
        outer_when: inherit.when.len(),
    };
    let mut action: Option<(String, Node)> = None;
    let mut more = Map::new();
    let exprs = |n: &Node| n.list().into_iter().map(Node::json).collect::<Vec<_>>();
    for (key, value) in node.pairs("a task")? {
        match key.as_str() {
            "name" => task.name = Some(value.text("name")?),
            "register" => task.register = Some(value.text("register")?),
            "changed_when" => task.changed_when = Some(exprs(value)),
            "failed_when" => task.failed_when = Some(exprs(value)),
            "until" => task.until = Some(exprs(value)),
            "retries" => task.retries = Some(value.json()),
            "delay" => task.delay = Some(value.json()),
            "notify" => task.notify = value.list().into_iter().map(|n| n.text("notify")).collect::<Result<_>>()?,
            "listen" => task.listen = value.list().into_iter().map(|n| n.text("listen")).collect::<Result<_>>()?,
            "loop" => set_loop(&mut task, "loop", value),
            "loop_control" => {}
            "args" => match value.json() {
                Json::Object(map) => more = map,
                Json::Null => {}
                _ => return Err(value.wrong("`args` must be a mapping")),
            },
            "async" | "poll" => return Err(value.wrong(format!("`{key}` is not supported yet"))),
            "action" | "local_action" if key == "local_action" => {
                return Err(value.wrong("`local_action` is not supported yet"));
            }
            "action" => action = Some(split_action(value)?),
            k if k.starts_with("with_") => set_loop(&mut task, k, value),
            "connection" | "remote_user" | "port" => {
                return Err(value.wrong(format!("`{key}` on a task is not supported: set it on the play or the host")));
            }
            _ if task.inherit.keyword(key, value)? => {}
            _ if action.is_none() => action = Some((key.clone(), value.clone())),
            _ => {
                let first = action.as_ref().map(|a| a.0.as_str()).unwrap_or_default();
                return Err(value.wrong(format!("a task has one action, and this one has `{first}` and `{key}`")));
            }
        }
    }
    let Some((name, value)) = action else {
        return Err(node.wrong("a task without an action"));
    };
    task.action = short(&name).to_owned();
    task.args = match &value.kind {
        Kind::Map(_) => value.json().as_object().cloned().unwrap_or_default(),
        Kind::Scalar(Json::Null) => Map::new(),
        Kind::Scalar(Json::String(text)) => args::parse(text, free_form(&task.action)),
        Kind::Scalar(other) => [("_raw_params".to_owned(), other.clone())].into_iter().collect(),
        Kind::Seq(_) => return Err(value.wrong(format!("arguments of `{name}` must be a mapping or text"))),
    };
    for (k, v) in more {
        task.args.entry(k).or_insert(v);
    }
    loop_control(&mut task, node)?;
    finish(loader, task, out)
}

fn split_action(value: &Node) -> Result<(String, Node)> {
    if let Some(module) = value.get("module") {
        let rest: Vec<_> = value.pairs("action")?.iter().filter(|(k, _)| k != "module").cloned().collect();
        return Ok((module.text("module")?, Node { kind: Kind::Map(rest), pos: value.pos.clone() }));
    }
    let text = value.text("action")?;
    let (name, rest) = text.trim().split_once(char::is_whitespace).unwrap_or((text.trim(), ""));
    let kind = Kind::Scalar(if rest.is_empty() { Json::Null } else { Json::String(rest.to_owned()) });
    Ok((name.to_owned(), Node { kind, pos: value.pos.clone() }))
}

fn set_loop(task: &mut Task, kind: &str, value: &Node) {
    task.loop_ =
        Some(Loop { items: value.json(), kind: kind.to_owned(), var: "item".to_owned(), index_var: None, label: None });
}

fn loop_control(task: &mut Task, node: &Node) -> Result<()> {
    let (Some(control), Some(looping)) = (node.get("loop_control"), task.loop_.as_mut()) else { return Ok(()) };
    for (key, value) in control.pairs("loop_control")? {
        match key.as_str() {
            "loop_var" => looping.var = value.text("loop_var")?,
            "index_var" => looping.index_var = Some(value.text("index_var")?),
            "label" => looping.label = Some(value.json()),
            "pause" | "extended" | "extended_allitems" => {
                return Err(value.wrong(format!("`loop_control.{key}` is not supported yet")));
            }
            _ => return Err(value.wrong(format!("`{key}` is no keyword of loop_control"))),
        }
    }
    Ok(())
}

/// Resolves imports, which are read at once; everything else stays an item.
fn finish(loader: &Loader, task: Task, out: &mut Vec<Item>) -> Result<()> {
    match task.action.as_str() {
        "meta" => {
            let what = task.args.get("_raw_params").and_then(Json::as_str).unwrap_or_default().to_owned();
            match what.as_str() {
                "flush_handlers" | "noop" | "end_play" | "end_host" | "clear_facts" | "clear_host_errors"
                | "refresh_inventory" | "reset_connection" => out.push(Item::Meta(what)),
                _ => return Err(super::yaml::invalid(&task.pos, format!("`meta: {what}` is not known"))),
            }
        }
        "import_tasks" | "import_role" if task.loop_.is_some() => {
            return Err(super::yaml::invalid(&task.pos, format!("`{}` can't loop; use an include", task.action)));
        }
        "import_tasks" => {
            let file = task.args.get("_raw_params").or_else(|| task.args.get("file")).and_then(Json::as_str);
            let file = file.ok_or_else(|| super::yaml::invalid(&task.pos, "`import_tasks` without a file"))?;
            let path = tasks_file(loader, &task, file)?;
            out.extend(load_tasks(loader, &read(&path)?, &task.inherit)?);
        }
        "import_role" => {
            let loaded = load_included_role(loader, &task, &task.args)?;
            out.push(Item::Handlers(loaded.handlers));
            out.extend(loaded.items);
        }
        "include_tasks" | "include_role" => out.push(Item::Include(Arc::new(task))),
        _ => out.push(Item::Task(Arc::new(task))),
    }
    Ok(())
}

/// Finds a file of tasks: beside the file that names it, in the role, beside the playbook.
pub(crate) fn tasks_file(loader: &Loader, task: &Task, file: &str) -> Result<PathBuf> {
    let mut places = Vec::new();
    if let Some(dir) = task.pos.file.parent() {
        places.push(dir.to_path_buf());
    }
    if let Some(role) = &task.inherit.role {
        places.push(role.path.join("tasks"));
        places.push(role.path.clone());
    }
    places.push(loader.playbook_dir.clone());
    if let Some(found) = places.iter().map(|p| p.join(file)).find(|p| p.is_file()) {
        return Ok(found);
    }
    let searched = places.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ");
    Err(super::yaml::invalid(&task.pos, format!("there is no file of tasks `{file}`")).with("searched", searched))
}

/// Reads the role that an include or import names.
pub(crate) fn load_included_role(loader: &Loader, task: &Task, args: &Map<String, Json>) -> Result<Loaded> {
    let name = args.get("name").or_else(|| args.get("_raw_params")).and_then(Json::as_str);
    let name = name.ok_or_else(|| super::yaml::invalid(&task.pos, format!("`{}` without a name", task.action)))?;
    let tasks_from = args.get("tasks_from").and_then(Json::as_str).map(|s| s.trim_end_matches(".yml").to_owned());
    let role = RoleRef { name: name.to_owned(), pos: task.pos.clone(), tasks_from };
    let mut out = Loaded::default();
    let mut inherit = task.inherit.clone();
    // The task's own `vars` are the role's parameters.
    inherit.params.extend(inherit.vars.last().cloned());
    loader.load_role(&role, &inherit, &mut Vec::new(), &mut out)?;
    Ok(out)
}
