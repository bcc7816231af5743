//! Finding and reading roles.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use towpath_core::{Error, ErrorKind, Result, Vars};

use super::task::{Inherit, Item, load_tasks};
use super::yaml::{self, Node, Pos};
use crate::PLAYBOOK;

/// Knows where files are searched.
#[derive(Debug, Clone)]
pub(crate) struct Loader {
    pub(crate) playbook_dir: PathBuf,
    pub(crate) roles_path: Vec<PathBuf>,
}

/// A role's own files.
#[derive(Debug)]
pub(crate) struct Role {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) defaults: Arc<Vars>,
    pub(crate) vars: Arc<Vars>,
}

/// A role with what it needs, in the order of execution.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) roles: Vec<Arc<Role>>,
    pub(crate) items: Vec<Item>,
    pub(crate) handlers: Vec<Item>,
}

/// How a role is named by a play or another role.
#[derive(Debug, Clone)]
pub(crate) struct RoleRef {
    pub(crate) name: String,
    pub(crate) pos: Pos,
    pub(crate) tasks_from: Option<String>,
}

/// Gives `main` or the named file of a role's folder.
fn part(dir: &Path, folder: &str, name: &str) -> Option<PathBuf> {
    let base = dir.join(folder);
    [name.to_owned(), format!("{name}.yml"), format!("{name}.yaml"), format!("{name}.json")]
        .into_iter()
        .map(|n| base.join(n))
        .find(|p| p.is_file())
}

fn part_vars(dir: &Path, folder: &str) -> Result<Vars> {
    let mut all = Vars::new();
    if let Some(p) = part(dir, folder, "main") {
        all.extend(yaml::read_vars(&p)?);
    } else {
        for p in yaml_files(&dir.join(folder).join("main")) {
            all.extend(yaml::read_vars(&p)?);
        }
    }
    Ok(all)
}

/// The YAML files of a folder, sorted; none if there is no such folder.
pub(crate) fn yaml_files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.is_file() && p.extension().is_some_and(|e| e == "yml" || e == "yaml" || e == "json"))
        .collect();
    files.sort();
    files
}

impl Loader {
    /// The folder of a role.
    pub(crate) fn find_role(&self, name: &str, pos: &Pos) -> Result<PathBuf> {
        let mut places = vec![self.playbook_dir.join("roles")];
        places.extend(self.roles_path.iter().cloned());
        places.push(self.playbook_dir.clone());
        let short = name.rsplit('.').next().unwrap_or(name);
        for place in &places {
            for n in [name, short] {
                let dir = place.join(n);
                if dir.is_dir() {
                    return Ok(dir);
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
        let path = self.find_role(&r.name, &r.pos)?;
        let role = Arc::new(Role {
            name: r.name.clone(),
            defaults: Arc::new(part_vars(&path, "defaults")?),
            vars: Arc::new(part_vars(&path, "vars")?),
            path: path.clone(),
        });
        seen.push(r.name.clone());
        if let Some(meta) = part(&path, "meta", "main") {
            let meta = yaml::read(&meta)?;
            for dep in meta.get("dependencies").map(Node::list).unwrap_or_default() {
                let (dep, sub) = read_ref(dep, inherit)?;
                // As Ansible: a role without parameters runs once in a play.
                let again = out.roles.iter().any(|have| have.name == dep.name);
                if !again {
                    self.load_role(&dep, &sub, seen, out)?;
                }
            }
        }
        seen.pop();
        let mut inherit = inherit.clone();
        inherit.roles.push(role.clone());
        inherit.role = Some(role.clone());
        if let Some(handlers) = part(&path, "handlers", "main") {
            let mut plain = inherit.clone();
            plain.when.clear();
            plain.handler = true;
            let node = yaml::read(&handlers)?;
            out.handlers.extend(load_tasks(self, &node, &plain)?);
        }
        let wanted = r.tasks_from.as_deref().unwrap_or("main");
        match part(&path, "tasks", wanted) {
            Some(tasks) => {
                let node = yaml::read(&tasks)?;
                out.items.extend(load_tasks(self, &node, &inherit)?);
            }
            None if r.tasks_from.is_some() => {
                return Err(yaml::invalid(&r.pos, format!("role `{}` has no tasks/{wanted}.yml", r.name)));
            }
            None => {}
        }
        out.roles.push(role);
        Ok(())
    }
}

/// Reads an entry of `roles:` or `dependencies:`.
pub(crate) fn read_ref(node: &Node, inherit: &Inherit) -> Result<(RoleRef, Inherit)> {
    let mut inherit = inherit.clone();
    let Some(name) = node.get("role").or_else(|| node.get("name")) else {
        let name = node.text("a role")?;
        return Ok((RoleRef { name, pos: node.pos.clone(), tasks_from: None }, inherit));
    };
    let mut params = Vars::new();
    for (key, value) in node.pairs("a role")? {
        match key.as_str() {
            "role" | "name" => {}
            "vars" => params.extend(value.pairs("vars")?.iter().map(|(k, v)| (k.clone(), v.json()))),
            _ if inherit.keyword(key, value)? => {}
            // Anything else is a parameter.
            _ => {
                params.insert(key.clone(), value.json());
            }
        }
    }
    if !params.is_empty() {
        inherit.params.push(Arc::new(params));
    }
    Ok((RoleRef { name: name.text("a role's name")?, pos: node.pos.clone(), tasks_from: None }, inherit))
}
