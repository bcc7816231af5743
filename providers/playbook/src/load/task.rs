//! Tasks.

use std::path::Path;
use std::sync::Arc;

use serde_json::Map;
use towpath_core::{Json, Result};

use super::args;
use super::block::{Found, Item, load_tasks};
use super::include::{import_tasks, load_included_role};
use super::inherit::Inherit;
use super::keywords::{self, meant, unknown};
use super::role::Loader;
use super::yaml::{Kind, Node, Pos, read};

/// A loop.
#[derive(Debug, Clone)]
pub(crate) struct Loop {
    pub(crate) items: Json,
    /// `loop`, or `with_` and the name of a lookup.
    pub(crate) kind: String,
    pub(crate) var: String,
    pub(crate) index_var: Option<String>,
    pub(crate) label: Option<Json>,
    pub(crate) pause: Option<Json>,
    pub(crate) extended: Option<Json>,
    pub(crate) allitems: Option<Json>,
    pub(crate) break_when: Vec<Json>,
}

/// A task.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) name: Option<String>,
    /// The action as it is written: `ansible.builtin.copy`.
    pub(crate) written: String,
    /// The module's short name.
    pub(crate) action: String,
    pub(crate) args: Map<String, Json>,
    /// `args` as one expression that gives a mapping.
    pub(crate) more_args: Option<Json>,
    pub(crate) pos: Pos,
    pub(crate) inherit: Inherit,
    /// What a dynamic include passes on: everything but its own keywords.
    pub(crate) outer: Option<Arc<Inherit>>,
    pub(crate) loop_: Option<Loop>,
    pub(crate) register: Option<String>,
    pub(crate) changed_when: Option<Vec<Json>>,
    pub(crate) failed_when: Option<Vec<Json>>,
    pub(crate) listen: Vec<Json>,
    pub(crate) until: Option<Vec<Json>>,
    pub(crate) retries: Option<Json>,
    pub(crate) delay: Option<Json>,
    pub(crate) async_: Option<Json>,
    pub(crate) poll: Option<Json>,
}

impl Task {
    /// A task without keywords.
    pub(crate) fn new(action: &str, pos: Pos, inherit: Inherit) -> Self {
        Self {
            name: None,
            written: action.to_owned(),
            action: short(action).to_owned(),
            args: Map::new(),
            more_args: None,
            pos,
            inherit,
            outer: None,
            loop_: None,
            register: None,
            changed_when: None,
            failed_when: None,
            listen: Vec::new(),
            until: None,
            retries: None,
            delay: None,
            async_: None,
            poll: None,
        }
    }

    /// Whether it reads more tasks when it is reached.
    pub(crate) fn includes(&self) -> bool {
        matches!(self.action.as_str(), "include_tasks" | "include_role")
    }

    /// What a `meta` task asks for.
    pub(crate) fn meta(&self) -> Option<&str> {
        (self.action == "meta").then(|| self.args.get("_raw_params").and_then(Json::as_str).unwrap_or_default())
    }
}

/// Strips what only Ansible's own collections may carry.
fn short(action: &str) -> &str {
    action.strip_prefix("ansible.builtin.").or_else(|| action.strip_prefix("ansible.legacy.")).unwrap_or(action)
}

fn free_form(action: &str) -> bool {
    matches!(action, "command" | "shell" | "raw" | "script" | "win_command" | "win_shell")
}

pub(super) fn load_task(
    loader: &Loader,
    node: &Node,
    inherit: &Inherit,
    found: &mut Found,
    out: &mut Vec<Item>,
) -> Result<()> {
    let mut task = Task::new("", node.pos.clone(), inherit.clone());
    let mut action: Option<(String, Node)> = None;
    let mut more = Map::new();
    let exprs = |n: &Node| n.list().into_iter().map(Node::json).collect::<Vec<_>>();
    for (key, value) in node.pairs("a task")? {
        match key.as_str() {
            // `name: off` is no name.
            "name" => task.name = (!value.json().is_boolean()).then(|| value.text("name")).transpose()?,
            "register" => task.register = Some(value.text("register")?),
            "changed_when" => task.changed_when = Some(exprs(value)),
            "failed_when" => task.failed_when = Some(exprs(value)),
            "until" => task.until = Some(exprs(value)),
            "retries" => task.retries = Some(value.json()),
            "delay" => task.delay = Some(value.json()),
            "async" => task.async_ = Some(value.json()),
            "poll" => task.poll = Some(value.json()),
            "listen" => task.listen = exprs(value),
            "loop" => set_loop(&mut task, "loop", value)?,
            "loop_control" => {}
            "args" => match value.json() {
                Json::Object(map) => more = map,
                Json::Null => {}
                text @ Json::String(_) => task.more_args = Some(text),
                _ => return Err(value.wrong("`args` must be a mapping")),
            },
            "local_action" => {
                one_action(&action, key, value)?;
                action = Some(split_action(value)?);
                task.inherit.delegate_to = Some("localhost".into());
            }
            "action" => {
                one_action(&action, key, value)?;
                action = Some(split_action(value)?);
            }
            k if k.starts_with("with_") => set_loop(&mut task, k, value)?,
            _ if task.inherit.keyword(key, value)? => {}
            _ => {
                one_action(&action, key, value)?;
                action = Some((key.clone(), value.clone()));
            }
        }
    }
    let Some((name, value)) = action else {
        return Err(node.wrong("a task without an action"));
    };
    task.action = short(&name).to_owned();
    task.written = name;
    task.args = match &value.kind {
        Kind::Map(_) => value.json().as_object().cloned().unwrap_or_default(),
        Kind::Scalar(Json::Null) => Map::new(),
        Kind::Scalar(Json::String(text)) => args::parse(text, free_form(&task.action)),
        Kind::Scalar(other) => [("_raw_params".to_owned(), other.clone())].into_iter().collect(),
        Kind::Seq(_) => return Err(value.wrong(format!("arguments of `{}` must be a mapping or text", task.written))),
    };
    for (k, v) in more {
        task.args.entry(k).or_insert(v);
    }
    loop_control(&mut task, node)?;
    finish(loader, task, inherit, found, out)
}

/// A second action in a task is most often a keyword with a typo.
fn one_action(have: &Option<(String, Node)>, key: &str, value: &Node) -> Result<()> {
    let Some((first, _)) = have else { return Ok(()) };
    let known = [keywords::SHARED, keywords::TASK];
    for name in [key, first.as_str()] {
        if let Some(near) = meant(name, &known).filter(|n| *n != "action" && *n != "local_action") {
            return Err(value.wrong(format!("`{name}` is no keyword of a task; did you mean `{near}`?")));
        }
    }
    Err(value.wrong(format!("a task has one action, and this one has `{first}` and `{key}`")))
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

fn set_loop(task: &mut Task, kind: &str, value: &Node) -> Result<()> {
    if let Some(other) = &task.loop_ {
        return Err(value.wrong(format!("a task has one loop, and this one has `{}` and `{kind}`", other.kind)));
    }
    task.loop_ = Some(Loop {
        items: value.json(),
        kind: kind.to_owned(),
        var: "item".to_owned(),
        index_var: None,
        label: None,
        pause: None,
        extended: None,
        allitems: None,
        break_when: Vec::new(),
    });
    Ok(())
}

fn loop_control(task: &mut Task, node: &Node) -> Result<()> {
    let Some(control) = node.get("loop_control") else { return Ok(()) };
    let mut unused = None;
    for (key, value) in control.pairs("loop_control")? {
        let Some(looping) = task.loop_.as_mut() else {
            unused.get_or_insert(key);
            continue;
        };
        match key.as_str() {
            "loop_var" => looping.var = value.text("loop_var")?,
            "index_var" => looping.index_var = Some(value.text("index_var")?),
            "label" => looping.label = Some(value.json()),
            "pause" => looping.pause = Some(value.json()),
            "extended" => looping.extended = Some(value.json()),
            "extended_allitems" => looping.allitems = Some(value.json()),
            "break_when" => looping.break_when = value.list().into_iter().map(Node::json).collect(),
            _ => return Err(unknown(value, key, "loop_control", &[keywords::LOOP_CONTROL])),
        }
    }
    Ok(())
}

/// Resolves imports, which are read at once; everything else stays a task.
fn finish(loader: &Loader, mut task: Task, outer: &Inherit, found: &mut Found, out: &mut Vec<Item>) -> Result<()> {
    let wrong = |pos: &Pos, message: String| Err(super::yaml::invalid(pos, message));
    match task.action.as_str() {
        "meta" => {
            let what = task.meta().unwrap_or_default();
            let known = [
                "clear_facts",
                "clear_host_errors",
                "end_batch",
                "end_host",
                "end_play",
                "end_role",
                "flush_handlers",
                "noop",
                "refresh_inventory",
                "reset_connection",
            ];
            if !known.contains(&what) {
                return wrong(&task.pos, format!("`meta: {what}` is not known; there are {}", known.join(", ")));
            }
            if task.inherit.handler && what == "flush_handlers" {
                return wrong(&task.pos, "a handler can't flush handlers".into());
            }
            out.push(Item::Task(Arc::new(task)));
        }
        "import_tasks" | "import_role" if task.loop_.is_some() => {
            return wrong(&task.pos, format!("`{}` can't loop; use an include", task.action));
        }
        "import_playbook" => return wrong(&task.pos, "`import_playbook` stands among plays, not in a play".into()),
        "include" => {
            return wrong(
                &task.pos,
                "`include` is gone since Ansible 2.16; use `include_tasks` or `import_tasks`".into(),
            );
        }
        "import_tasks" => {
            let path = import_tasks(loader, &task)?;
            task.inherit.depth += 1;
            out.extend(load_tasks(loader, &read(Path::new(&path))?, &task.inherit, found)?);
        }
        "import_role" => {
            let loaded = load_included_role(loader, &task, &task.args, &task.inherit)?;
            out.extend(found.take(loaded));
        }
        "include_tasks" | "include_role" => {
            task.outer = Some(Arc::new(outer.clone()));
            out.push(Item::Task(Arc::new(task)));
        }
        _ => out.push(Item::Task(Arc::new(task))),
    }
    Ok(())
}
