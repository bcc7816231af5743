//! Plays.

use std::path::Path;
use std::sync::Arc;

use towpath_core::{Json, Result, Vars};

use super::block::{Block, Found, Item, load_tasks};
use super::inherit::{Inherit, vars};
use super::keywords::{self, unknown};
use super::role::{Handlers, Loaded, Loader, Role, RoleUse, read_ref};
use super::task::Task;
use super::yaml::{self, Node, Pos};
use crate::render::truthy;

/// A question of `vars_prompt`.
#[derive(Debug, Clone)]
pub(crate) struct Prompt {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) default: Option<Json>,
    pub(crate) private: bool,
    pub(crate) confirm: bool,
    pub(crate) hash: bool,
    pub(crate) pos: Pos,
}

/// A play.
#[derive(Debug)]
pub(crate) struct Play {
    pub(crate) name: Option<String>,
    pub(crate) hosts: Json,
    pub(crate) pos: Pos,
    pub(crate) vars: Arc<Vars>,
    pub(crate) vars_files: Vec<(Json, Pos)>,
    pub(crate) prompts: Vec<Prompt>,
    pub(crate) gather_facts: Option<Json>,
    pub(crate) gather_subset: Option<Json>,
    pub(crate) gather_timeout: Option<Json>,
    pub(crate) fact_path: Option<Json>,
    pub(crate) serial: Option<Json>,
    pub(crate) strategy: Option<Json>,
    pub(crate) order: Option<Json>,
    pub(crate) max_fail_percentage: Option<Json>,
    pub(crate) force_handlers: Option<bool>,
    /// Roles whose variables the whole play sees.
    pub(crate) roles: Vec<Arc<Role>>,
    /// Every use of a role, dependencies before what needs them.
    pub(crate) uses: Vec<Arc<RoleUse>>,
    pub(crate) pre_tasks: Vec<Item>,
    /// Roles and tasks.
    pub(crate) tasks: Vec<Item>,
    pub(crate) post_tasks: Vec<Item>,
    pub(crate) handlers: Vec<Handlers>,
    /// What everything in the play inherits.
    pub(crate) inherit: Inherit,
}

/// Reads a playbook and everything that it names statically.
pub(crate) fn load_playbook(loader: &Loader, path: &Path) -> Result<Vec<Play>> {
    playbook(loader, path, &loader.defaults, &Vars::new(), 0)
}

fn playbook(loader: &Loader, path: &Path, around: &Inherit, over: &Vars, depth: usize) -> Result<Vec<Play>> {
    let node = yaml::read(path)?;
    if depth > 20 {
        return Err(node.wrong("playbooks import each other in a circle"));
    }
    let mut plays = Vec::new();
    for item in node.items("a playbook")? {
        let key = ["import_playbook", "ansible.builtin.import_playbook"].into_iter().find(|k| item.get(k).is_some());
        let Some((key, import)) = key.and_then(|k| Some((k, item.get(k)?))) else {
            plays.push(load_play(loader, item, around, over)?);
            continue;
        };
        let mut around = around.clone();
        let mut over = over.clone();
        for (k, value) in item.pairs("an import")? {
            match k.as_str() {
                _ if k == key => {}
                "name" => {}
                "vars" => over.extend(vars(value)?.unwrap_or_default()),
                "when" | "tags" => {
                    around.keyword(k, value)?;
                }
                _ => return Err(unknown(value, k, "import_playbook", &[&["name", "vars", "when", "tags"]])),
            }
        }
        around.play_vars = Arc::new(over.clone());
        let file = loader.text(&import.text("import_playbook")?, &around).map_err(|e| import.wrong(e))?;
        let file = path.parent().unwrap_or(Path::new(".")).join(file);
        if !file.is_file() {
            return Err(import.wrong(format!("there is no playbook `{}`", file.display())));
        }
        plays.extend(playbook(loader, &file, &around, &over, depth + 1)?);
    }
    Ok(plays)
}

fn load_play(loader: &Loader, node: &Node, around: &Inherit, over: &Vars) -> Result<Play> {
    let mut inherit = around.clone();
    let mut play = Play {
        name: None,
        hosts: Json::Null,
        pos: node.pos.clone(),
        vars: Arc::default(),
        vars_files: Vec::new(),
        prompts: Vec::new(),
        gather_facts: None,
        gather_subset: None,
        gather_timeout: None,
        fact_path: None,
        serial: None,
        strategy: None,
        order: None,
        max_fail_percentage: None,
        force_handlers: None,
        roles: Vec::new(),
        uses: Vec::new(),
        pre_tasks: Vec::new(),
        tasks: Vec::new(),
        post_tasks: Vec::new(),
        handlers: Vec::new(),
        inherit: Inherit::default(),
    };
    for (key, value) in node.pairs("a play")? {
        match key.as_str() {
            "name" => play.name = Some(value.text("name")?).filter(|n| !n.is_empty()),
            "hosts" => play.hosts = value.json(),
            "vars" => play.vars = Arc::new(vars(value)?.unwrap_or_default()),
            "vars_files" => play.vars_files = value.list().into_iter().map(|n| (n.json(), n.pos.clone())).collect(),
            "vars_prompt" => play.prompts = value.list().into_iter().map(prompt).collect::<Result<_>>()?,
            "gather_facts" => play.gather_facts = Some(value.json()),
            "gather_subset" => play.gather_subset = Some(value.json()),
            "gather_timeout" => play.gather_timeout = Some(value.json()),
            "fact_path" => play.fact_path = Some(value.json()),
            "serial" => play.serial = Some(value.json()).filter(|v| !v.is_null()),
            "strategy" => play.strategy = Some(value.json()),
            "order" => play.order = Some(value.json()),
            "max_fail_percentage" => play.max_fail_percentage = Some(value.json()),
            "force_handlers" => {
                let yes = truthy(&value.json());
                play.force_handlers = Some(yes.ok_or_else(|| value.wrong("`force_handlers` must be yes or no"))?);
            }
            "roles" | "tasks" | "pre_tasks" | "post_tasks" | "handlers" => {}
            "when" | "delegate_to" | "delegate_facts" | "notify" => {
                return Err(unknown(value, key, "a play", &[keywords::SHARED, keywords::PLAY]));
            }
            _ if inherit.keyword(key, value)? => {}
            _ => return Err(unknown(value, key, "a play", &[keywords::SHARED, keywords::PLAY])),
        }
    }
    if play.hosts.is_null() {
        return Err(node.wrong("a play without `hosts`"));
    }
    if !over.is_empty() {
        let mut all = Vars::clone(&play.vars);
        all.extend(over.clone());
        play.vars = Arc::new(all);
    }
    inherit.play_vars = play.vars.clone();
    let mut found = Found::default();
    let mut loaded = Loaded::default();
    for entry in node.get("roles").map(Node::list).unwrap_or_default() {
        let (role, sub) = read_ref(loader, entry, &inherit)?;
        loader.load_role(&role, &sub, &mut Vec::new(), &mut loaded)?;
    }
    let mut section = |key: &str, inherit: &Inherit| {
        node.get(key).map_or(Ok(Vec::new()), |n| load_tasks(loader, n, inherit, &mut found))
    };
    play.pre_tasks = section("pre_tasks", &inherit)?;
    let tasks = section("tasks", &inherit)?;
    play.post_tasks = section("post_tasks", &inherit)?;
    let handlers = section("handlers", &Inherit { handler: true, ..inherit.clone() })?;
    play.tasks = std::mem::take(&mut loaded.items);
    play.tasks.extend(tasks);
    play.roles = loaded.roles;
    play.uses = loaded.uses;
    play.handlers = loaded.handlers;
    play.handlers.push(Handlers { items: handlers });
    play.handlers.extend(found.handlers);
    play.roles.extend(found.roles);
    play.uses.extend(found.uses);
    play.inherit = inherit;
    Ok(play)
}

fn prompt(node: &Node) -> Result<Prompt> {
    const KNOWN: &[&str] =
        &["name", "prompt", "default", "private", "confirm", "encrypt", "salt_size", "salt", "unsafe"];
    let Some(name) = node.get("name") else { return Err(node.wrong("`vars_prompt` without a name")) };
    let name = name.text("name")?;
    let mut prompt = Prompt {
        text: name.clone(),
        name,
        default: None,
        private: true,
        confirm: false,
        hash: false,
        pos: node.pos.clone(),
    };
    for (key, value) in node.pairs("vars_prompt")? {
        let yes = |v: &Node| truthy(&v.json()).unwrap_or(false);
        match key.as_str() {
            "prompt" => prompt.text = value.text("prompt")?,
            "default" => prompt.default = Some(value.json()).filter(|v| !v.is_null()),
            "private" => prompt.private = yes(value),
            "confirm" => prompt.confirm = yes(value),
            "encrypt" => prompt.hash = !value.is_null(),
            "name" | "salt_size" | "salt" | "unsafe" => {}
            _ => return Err(unknown(value, key, "vars_prompt", &[KNOWN])),
        }
    }
    Ok(prompt)
}

impl Play {
    /// All steps, for those who only want to look at them.
    pub(crate) fn items(&self) -> impl Iterator<Item = &Item> {
        let handlers = self.handlers.iter().flat_map(|h| &h.items);
        self.pre_tasks.iter().chain(&self.tasks).chain(&self.post_tasks).chain(handlers)
    }

    /// The whole play as one block: facts, each section, and the handlers after it.
    pub(crate) fn tree(&self, facts: bool, force: bool) -> Arc<Block> {
        let flush = || {
            let mut task = Task::new("meta", self.pos.clone(), Inherit::default());
            task.args.insert("_raw_params".into(), "flush_handlers".into());
            task.inherit.tags.push("always".into());
            Item::Task(Arc::new(task))
        };
        let mut all = Vec::new();
        if facts {
            let mut task = Task::new("gather_facts", self.pos.clone(), self.inherit.clone());
            task.inherit.tags.push("always".into());
            task.name = Some("Gathering Facts".into());
            let own = [
                ("gather_subset", &self.gather_subset),
                ("gather_timeout", &self.gather_timeout),
                ("fact_path", &self.fact_path),
            ];
            for (key, value) in own {
                task.args.extend(value.clone().map(|v| (key.to_owned(), v)));
            }
            all.push(Item::Task(Arc::new(task)));
        }
        for section in [&self.pre_tasks, &self.tasks, &self.post_tasks] {
            let mut block = section.clone();
            if force {
                let always = vec![flush()];
                all.push(Item::Block(Arc::new(Block { block, always, ..Block::default() })));
            } else {
                block.push(flush());
                all.push(Item::Block(Arc::new(Block { block, ..Block::default() })));
            }
        }
        Arc::new(Block { block: all, ..Block::default() })
    }
}
