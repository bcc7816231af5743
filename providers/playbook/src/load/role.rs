//! Finding and reading roles.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use towpath_core::{Error, ErrorKind, Json, Result, Vars};

use super::block::{Block, Found, Item, load_tasks};
use super::inherit::Inherit;
use super::task::Task;
use super::yaml::{self, Node, Pos};
use crate::PLAYBOOK;
use crate::render::{Engine, Scope, Search, truthy};

/// Knows where files are searched.
#[derive(Debug, Clone)]
pub(crate) struct Loader {
    pub(crate) playbook_dir: PathBuf,
    pub(crate) roles_path: Vec<PathBuf>,
    /// Variables from the command, for names of imported files.
    pub(crate) extra: Arc<Vars>,
    pub(crate) engine: Arc<Engine>,
    /// What holds where no play says anything.
    pub(crate) defaults: Inherit,
}

/// A role's own files.
#[derive(Debug)]
pub(crate) struct Role {
    pub(crate) name: String,
    /// Absolute.
    pub(crate) path: PathBuf,
    pub(crate) defaults: Arc<Vars>,
    pub(crate) vars: Arc<Vars>,
}

/// A role as a play, a role or a task uses it.
#[derive(Debug)]
pub(crate) struct RoleUse {
    pub(crate) role: Arc<Role>,
    /// Equal for uses of the same role with the same parameters: these run once for each host.
    pub(crate) key: String,
    /// Whether it may run again.
    pub(crate) again: bool,
    /// Names of the roles whose tasks include or import it, the innermost first.
    pub(crate) parents: Vec<String>,
    /// Whether it is a dependency.
    pub(crate) dependency: bool,
}

impl RoleUse {
    /// The names of this role and of those around it, the innermost first.
    fn and_parents(&self) -> Vec<String> {
        let mut names = vec![self.role.name.clone()];
        names.extend(self.parents.iter().cloned());
        names
    }
}

/// Handlers of one role or of the play itself.
#[derive(Debug, Clone)]
pub(crate) struct Handlers {
    pub(crate) items: Vec<Item>,
}

/// A role with what it needs, in the order of execution.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) roles: Vec<Arc<Role>>,
    pub(crate) uses: Vec<Arc<RoleUse>>,
    pub(crate) items: Vec<Item>,
    pub(crate) handlers: Vec<Handlers>,
}

/// How a role is named by a play or another role.
#[derive(Debug, Clone)]
pub(crate) struct RoleRef {
    pub(crate) name: String,
    pub(crate) pos: Pos,
    pub(crate) key: String,
    pub(crate) tasks_from: Option<String>,
    pub(crate) vars_from: Option<String>,
    pub(crate) defaults_from: Option<String>,
    pub(crate) handlers_from: Option<String>,
    /// Whether it may run again; its own word if not given.
    pub(crate) again: Option<bool>,
    pub(crate) validate: bool,
    /// Its parameters: what stands beside its name in `roles` or `dependencies` and is no keyword.
    pub(crate) params: Vars,
}

/// Gives `main` or the named file of a role's folder.
fn part(dir: &Path, folder: &str, name: &str) -> Option<PathBuf> {
    let base = dir.join(folder);
    [format!("{name}.yml"), format!("{name}.yaml"), format!("{name}.json"), name.to_owned()]
        .into_iter()
        .map(|n| base.join(n))
        .find(|p| p.is_file())
}

fn part_vars(dir: &Path, folder: &str, from: Option<&str>, pos: &Pos) -> Result<Vars> {
    let mut all = Vars::new();
    let name = from.unwrap_or("main");
    if let Some(p) = part(dir, folder, name) {
        all.extend(yaml::read_vars(&p)?);
    } else if dir.join(folder).join(name).is_dir() {
        for p in yaml_files(&dir.join(folder).join(name)) {
            all.extend(yaml::read_vars(&p)?);
        }
    } else if from.is_some() {
        return Err(yaml::invalid(pos, format!("there is no {folder}/{name} in {}", dir.display())));
    }
    Ok(all)
}

/// The YAML files of a folder and of folders in it, sorted; none if there is no such folder.
pub(crate) fn yaml_files(dir: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect();
    entries.sort();
    let mut files = Vec::new();
    for path in entries {
        let hidden = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
        if hidden {
            continue;
        }
        if path.is_dir() {
            files.extend(yaml_files(&path));
        } else if path.extension().is_none_or(|e| e == "yml" || e == "yaml" || e == "json") {
            files.push(path);
        }
    }
    files
}

impl Loader {
    /// Templates the name of a file or role with what is known before a play runs.
    pub(super) fn text(&self, text: &str, inherit: &Inherit) -> std::result::Result<String, String> {
        if !text.contains("{{") && !text.contains("{%") {
            return Ok(text.to_owned());
        }
        let mut layers = vec![self.extra.clone()];
        layers.extend(inherit.params.iter().rev().cloned());
        layers.extend(inherit.vars.iter().rev().cloned());
        layers.extend(inherit.roles.iter().rev().map(|r| r.vars.clone()));
        layers.push(inherit.play_vars.clone());
        layers.extend(inherit.roles.iter().rev().map(|r| r.defaults.clone()));
        let dir = self.playbook_dir.display().to_string();
        layers.push(Arc::new([("playbook_dir".to_owned(), json!(dir))].into_iter().collect()));
        let search = Search { dirs: vec![self.playbook_dir.clone()] };
        let scope = Scope::new(self.engine.clone(), layers, std::collections::HashMap::new(), Arc::default(), search);
        scope.render_text(text).map_err(|e| e.message)
    }

    /// The folder of a role.
    pub(crate) fn find_role(&self, name: &str, pos: &Pos, inherit: &Inherit) -> Result<PathBuf> {
        let mut places = vec![self.playbook_dir.join("roles")];
        places.extend(self.roles_path.iter().cloned());
        let home = std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".ansible/roles"));
        places.extend(home);
        places.extend(["/usr/share/ansible/roles", "/etc/ansible/roles"].map(PathBuf::from));
        // Roles beside the role that names it.
        places.extend(inherit.roles.last().and_then(|r| r.path.parent()).map(Path::to_path_buf));
        places.push(self.playbook_dir.clone());
        let short = name.rsplit('.').next().unwrap_or(name);
        for n in [name, short] {
            for place in &places {
                let dir = place.join(n);
                if dir.is_dir() {
                    return Ok(std::path::absolute(&dir).unwrap_or(dir));
                }
            }
        }
        let searched = places.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ");
        Err(Error::new(ErrorKind::InvalidInput, PLAYBOOK, "load", format!("there is no role `{name}`"))
            .with("file", pos)
            .with("searched", searched))
    }

    /// Reads a role and, before it, the roles that it depends on.
    pub(crate) fn load_role(
        &self,
        r: &RoleRef,
        inherit: &Inherit,
        seen: &mut Vec<String>,
        out: &mut Loaded,
    ) -> Result<()> {
        if seen.len() > 20 {
            return Err(yaml::invalid(&r.pos, format!("roles depend on each other in a circle: {}", seen.join(", "))));
        }
        let path = self.find_role(&r.name, &r.pos, inherit)?;
        let name = r.name.clone();
        let role = Arc::new(Role {
            name: path.file_name().map_or_else(
                || name.clone(),
                |n| {
                    if name.contains('/') { n.to_string_lossy().into_owned() } else { name.clone() }
                },
            ),
            defaults: Arc::new(part_vars(&path, "defaults", r.defaults_from.as_deref(), &r.pos)?),
            vars: Arc::new(part_vars(&path, "vars", r.vars_from.as_deref(), &r.pos)?),
            path: path.clone(),
        });
        let meta = part(&path, "meta", "main").map(|p| yaml::read(&p)).transpose()?;
        let mut around = inherit.clone();
        around.roles.push(role.clone());
        seen.push(name);
        let before = out.roles.len();
        for dep in meta.as_ref().and_then(|m| m.get("dependencies")).map(Node::list).unwrap_or_default() {
            let (dep, sub) = read_ref(self, dep, &around)?;
            self.load_role(&dep, &sub, seen, out)?;
        }
        seen.pop();
        let allowed = meta.as_ref().and_then(|m| m.get("allow_duplicates")).and_then(|n| truthy(&n.json()));
        let role_use = Arc::new(RoleUse {
            role: role.clone(),
            key: r.key.clone(),
            again: r.again.or(allowed).unwrap_or(false),
            parents: inherit.role.iter().filter(|_| seen.is_empty()).flat_map(|r| r.and_parents()).collect(),
            dependency: !seen.is_empty(),
        });
        // Those around it, those that it needs, itself.
        let mut inner = inherit.clone();
        inner.roles.extend(out.roles.get(before..).unwrap_or_default().iter().cloned());
        inner.roles.push(role.clone());
        inner.role = Some(role_use.clone());
        inner.depth += 1;
        let mut found = Found::default();
        let handlers_from = r.handlers_from.as_deref();
        if let Some(handlers) = part(&path, "handlers", handlers_from.unwrap_or("main")) {
            let mut of_handlers = inner.clone();
            of_handlers.handler = true;
            let items = load_tasks(self, &yaml::read(&handlers)?, &of_handlers, &mut found)?;
            out.handlers.push(Handlers { items });
        } else if let Some(from) = handlers_from {
            return Err(yaml::invalid(&r.pos, format!("role `{}` has no handlers/{from}.yml", r.name)));
        }
        let wanted = r.tasks_from.as_deref().unwrap_or("main");
        let wanted = wanted.strip_suffix(".yml").or_else(|| wanted.strip_suffix(".yaml")).unwrap_or(wanted);
        let mut items = Vec::new();
        if r.validate {
            items.extend(check_arguments(&path, wanted, meta.as_ref(), &inner, r)?);
        }
        match part(&path, "tasks", wanted) {
            Some(tasks) => items.extend(load_tasks(self, &yaml::read(&tasks)?, &inner, &mut found)?),
            None if r.tasks_from.is_some() => {
                return Err(yaml::invalid(&r.pos, format!("role `{}` has no tasks/{wanted}.yml", r.name)));
            }
            None => {}
        }
        let block = Block { block: items, role: Some(role_use.clone()), ..Block::default() };
        out.items.push(Item::Block(Arc::new(block)));
        out.handlers.extend(found.handlers);
        out.roles.extend(found.roles);
        out.uses.extend(found.uses);
        out.uses.push(role_use);
        out.roles.push(role);
        Ok(())
    }
}

/// The task that checks a role's arguments, if it has specs for this entry.
fn check_arguments(
    dir: &Path,
    entry: &str,
    meta: Option<&Node>,
    inherit: &Inherit,
    of: &RoleRef,
) -> Result<Option<Item>> {
    let specs = match part(dir, "meta", "argument_specs") {
        Some(file) => yaml::read(&file)?.get("argument_specs").cloned(),
        None => meta.and_then(|m| m.get("argument_specs")).cloned(),
    };
    let Some(spec) = specs.as_ref().and_then(|s| s.get(entry)).map(Node::json) else { return Ok(None) };
    let mut task = Task::new("ansible.builtin.validate_argument_spec", of.pos.clone(), inherit.clone());
    let about = spec.get("short_description").and_then(Json::as_str).map(|d| format!(" - {d}")).unwrap_or_default();
    task.name = Some(format!("Validating arguments against arg spec '{entry}'{about}"));
    task.inherit.tags.push("always".into());
    let role = inherit.roles.last();
    let options = spec.get("options").cloned().unwrap_or_else(|| json!({}));
    // `%` keeps what it holds from being templated.
    task.args.insert("argument_spec".into(), options);
    task.args.insert("provided_arguments".into(), Json::Object(of.params.clone()));
    let context = json!({
        "type": "role",
        "name": role.map(|r| r.name.clone()),
        "argument_spec_name": entry,
        "path": dir.display().to_string(),
    });
    task.args.insert("validate_args_context".into(), context);
    Ok(Some(Item::Task(Arc::new(task))))
}

/// Reads an entry of `roles:` or `dependencies:`.
pub(crate) fn read_ref(loader: &Loader, node: &Node, inherit: &Inherit) -> Result<(RoleRef, Inherit)> {
    let mut inherit = inherit.clone();
    let plain = |name: String, key: String| RoleRef {
        name,
        pos: node.pos.clone(),
        key,
        tasks_from: None,
        vars_from: None,
        defaults_from: None,
        handlers_from: None,
        again: None,
        validate: true,
        params: Vars::new(),
    };
    let Some(name) = node.get("role").or_else(|| node.get("name")) else {
        let name = node.text("a role")?;
        let name = loader.text(&name, &inherit).map_err(|e| node.wrong(e))?;
        let key = format!("{name}|{{}}");
        return Ok((plain(name, key), inherit));
    };
    let mut params = Vars::new();
    let mut rest = serde_json::Map::new();
    for (key, value) in node.pairs("a role")? {
        if key != "role" && key != "name" {
            rest.insert(key.clone(), value.json());
        }
        match key.as_str() {
            "role" | "name" => {}
            _ if inherit.keyword(key, value)? => {}
            // Anything else is a parameter.
            _ => {
                params.insert(key.clone(), value.json());
            }
        }
    }
    if !params.is_empty() {
        inherit.params.push(Arc::new(params.clone()));
    }
    let name = name.text("a role's name")?;
    let name = loader.text(&name, &inherit).map_err(|e| node.wrong(e))?;
    let key = format!("{name}|{}", Json::Object(rest));
    Ok((RoleRef { params, ..plain(name, key) }, inherit))
}
