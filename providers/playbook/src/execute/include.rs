//! Dynamic includes: what they name on each host, and reading it.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;
use towpath_core::{Json, Result, Vars};

use super::result::One;
use super::task::On;
use super::{Playing, Run, lock};
use crate::load::{self, Block, Handlers, Role, RoleUse, Task, load_included_role, load_tasks, tasks_file, yaml};
use crate::modules;
use crate::render::{Scope, truthy};
use crate::report::PlaybookEvent;

/// One thing that a host includes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Inclusion {
    args: Vars,
    locals: Vars,
    label: Option<Json>,
}

/// What a host includes, each with its number among all that a step includes.
type Numbered = Vec<(u32, Arc<Block>)>;

/// What was read for an inclusion.
struct Reading {
    block: Arc<Block>,
    file: PathBuf,
    handlers: Vec<Handlers>,
    roles: Vec<Arc<Role>>,
    uses: Vec<Arc<RoleUse>>,
    public: bool,
}

impl Run<'_> {
    /// What an include names for an item.
    pub(super) fn inclusion(
        &self,
        on: &On<'_>,
        scope: &Arc<Scope>,
        locals: &Arc<Vars>,
        includes: &mut Vec<Inclusion>,
    ) -> One {
        let mut raw = on.task.args.clone();
        let apply = raw.remove("apply");
        let args = match scope.render(&Json::Object(raw)) {
            Ok(Json::Object(args)) => args,
            Ok(_) => Vars::new(),
            Err(e) => return One::undefined(e),
        };
        if let Some(why) = scope.touched() {
            return self.unknowable(on.task, on.host, &on.info.name, why);
        }
        let named = ["_raw_params", "file", "name", "role"].iter().find_map(|k| args.get(*k)).cloned();
        let mut args = args;
        args.extend(apply.map(|a| ("apply".to_owned(), a)));
        let told = args.iter().filter(|(k, _)| !["_raw_params", "file"].contains(&k.as_str()));
        let told: Vars = told.map(|(k, v)| (k.clone(), v.clone())).collect();
        let label = on.task.loop_.as_ref().and_then(|l| {
            let plain = locals.get(&l.var).cloned();
            l.label.as_ref().and_then(|label| scope.render(label).ok()).or(plain)
        });
        includes.push(Inclusion { args, locals: Vars::clone(locals), label });
        let mut result = modules::fields([("include_args", Json::Object(told))]);
        if on.task.action != "include_role" {
            result.insert("include".into(), named.unwrap_or_default());
        }
        if on.task.loop_.is_none() {
            result.insert("changed".into(), json!(false));
        }
        One::of(result)
    }

    /// Reads what hosts include after a step, and puts it before them. Hosts that include the same go together. Gives hosts
    /// for which it can't be read, with the reason.
    pub(super) fn include(
        &self,
        playing: &Playing<'_>,
        task: &Arc<Task>,
        path: &[u32],
        wishes: Vec<(String, Vec<Inclusion>)>,
    ) -> Vec<(String, String)> {
        let mut groups: Vec<(Inclusion, Vec<String>)> = Vec::new();
        for (host, inclusions) in wishes {
            for inclusion in inclusions {
                match groups.iter_mut().find(|(have, hosts)| *have == inclusion && !hosts.contains(&host)) {
                    Some((_, hosts)) => hosts.push(host.clone()),
                    None => groups.push((inclusion, vec![host.clone()])),
                }
            }
        }
        let mut failed = Vec::new();
        let mut given: Vec<(String, Numbered)> = Vec::new();
        for (number, (inclusion, hosts)) in (0u32..).zip(groups) {
            match self.read(task, &inclusion) {
                Err(e) => failed.extend(hosts.into_iter().map(|h| (h, e.report()))),
                Ok(reading) => {
                    self.out.say(&PlaybookEvent::Included {
                        file: reading.file,
                        hosts: hosts.clone(),
                        label: inclusion.label,
                    });
                    let mut state = lock(&playing.state);
                    state.add_handlers(&reading.handlers);
                    state.add_roles(&reading.roles, &reading.uses, reading.public);
                    for host in hosts {
                        self.count(&host, |sum| sum.ok += 1);
                        let blocks = match given.iter_mut().find(|(h, _)| *h == host) {
                            Some((_, blocks)) => blocks,
                            None => {
                                given.push((host, Vec::new()));
                                match given.last_mut() {
                                    Some((_, blocks)) => blocks,
                                    None => continue,
                                }
                            }
                        };
                        blocks.push((number, reading.block.clone()));
                    }
                }
            }
        }
        let mut state = lock(&playing.state);
        for (host, blocks) in given {
            if let Some(walk) = state.walks.get_mut(&host) {
                walk.include(path, blocks);
            }
        }
        failed
    }

    fn read(&self, task: &Arc<Task>, inclusion: &Inclusion) -> Result<Reading> {
        let mut over = Vec::new();
        if !inclusion.locals.is_empty() {
            over.push(Arc::new(inclusion.locals.clone()));
        }
        let inherit = load::apply(task, &inclusion.args, over)?;
        if task.action == "include_role" {
            let loaded = load_included_role(self.loader, task, &inclusion.args, &inherit)?;
            let public = inclusion.args.get("public").and_then(truthy).unwrap_or(false);
            let file = loaded.roles.last().map(|r| r.path.clone()).unwrap_or_default();
            let block = Arc::new(Block { block: loaded.items, ..Block::default() });
            return Ok(Reading {
                block,
                file,
                handlers: loaded.handlers,
                roles: loaded.roles,
                uses: loaded.uses,
                public,
            });
        }
        let file = inclusion.args.get("_raw_params").or_else(|| inclusion.args.get("file")).and_then(Json::as_str);
        let file = file.ok_or_else(|| yaml::invalid(&task.pos, "`include_tasks` without a file"))?;
        let file = tasks_file(self.loader, task, file)?;
        let mut found = load::Found::default();
        let items = load_tasks(self.loader, &yaml::read(&file)?, &inherit, &mut found)?;
        let block = Arc::new(Block { block: items, ..Block::default() });
        let file = std::path::absolute(&file).unwrap_or(file);
        Ok(Reading { block, file, handlers: found.handlers, roles: found.roles, uses: found.uses, public: true })
    }
}
