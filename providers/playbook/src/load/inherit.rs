//! Keywords that go from a play, a block or an import to the tasks inside.

use std::sync::Arc;

use towpath_core::{Json, Result, Vars};

use super::keywords::refuse_unless;
use super::role::{Role, RoleUse};
use super::yaml::{Node, Pos};

/// Keywords of becoming another user; unset ones come from further out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Become {
    pub(crate) on: Option<Json>,
    pub(crate) user: Option<Json>,
    pub(crate) method: Option<Json>,
    pub(crate) flags: Option<Json>,
}

/// What a task inherits from the play, blocks, roles and imports around it, its own keywords included.
#[derive(Debug, Clone, Default)]
pub(crate) struct Inherit {
    pub(crate) when: Vec<(Json, Pos)>,
    /// Outermost first.
    pub(crate) vars: Vec<Arc<Vars>>,
    /// Parameters of roles and of dynamic includes, which stand above facts. Outermost first.
    pub(crate) params: Vec<Arc<Vars>>,
    /// Those of `params` that are values and no templates: what the loop around a dynamic include gives.
    pub(crate) items: Vec<Arc<Vars>>,
    pub(crate) become_: Become,
    /// Outermost first.
    pub(crate) environment: Vec<Json>,
    pub(crate) module_defaults: Vec<Json>,
    pub(crate) tags: Vec<Json>,
    pub(crate) notify: Vec<Json>,
    pub(crate) ignore_errors: Option<Json>,
    pub(crate) ignore_unreachable: Option<Json>,
    pub(crate) no_log: Option<Json>,
    pub(crate) check_mode: Option<Json>,
    pub(crate) diff: Option<Json>,
    pub(crate) any_errors_fatal: Option<Json>,
    pub(crate) run_once: Option<Json>,
    pub(crate) throttle: Option<Json>,
    pub(crate) timeout: Option<Json>,
    pub(crate) connection: Option<Json>,
    pub(crate) remote_user: Option<Json>,
    pub(crate) port: Option<Json>,
    pub(crate) delegate_to: Option<Json>,
    pub(crate) delegate_facts: Option<Json>,
    pub(crate) role: Option<Arc<RoleUse>>,
    /// Roles whose variables are seen here, the most specific last: those around, those needed, the own one.
    pub(crate) roles: Vec<Arc<Role>>,
    pub(crate) handler: bool,
    /// How many blocks, imports and roles are around it.
    pub(crate) depth: usize,
    /// The play's variables, for names of files that are read before it runs.
    pub(crate) play_vars: Arc<Vars>,
}

impl Inherit {
    /// Takes a keyword that plays, blocks, roles and tasks share. Gives `false` for any other.
    pub(crate) fn keyword(&mut self, key: &str, value: &Node) -> Result<bool> {
        let set = |slot: &mut Option<Json>| *slot = Some(value.json());
        match key {
            "when" => self.when.extend(value.list().into_iter().map(|n| (n.json(), n.pos.clone()))),
            "vars" => self.vars.extend(vars(value)?.map(Arc::new)),
            "become" => set(&mut self.become_.on),
            "become_user" => set(&mut self.become_.user),
            "become_method" => set(&mut self.become_.method),
            "become_flags" => set(&mut self.become_.flags),
            "environment" => self.environment.extend(value.list().into_iter().map(Node::json)),
            "module_defaults" => self.module_defaults.extend(value.list().into_iter().map(Node::json)),
            "tags" => self.tags.extend(value.list().into_iter().map(Node::json)),
            "notify" => self.notify.extend(value.list().into_iter().map(Node::json)),
            "ignore_errors" => set(&mut self.ignore_errors),
            "ignore_unreachable" => set(&mut self.ignore_unreachable),
            "no_log" => set(&mut self.no_log),
            "check_mode" => set(&mut self.check_mode),
            "diff" => set(&mut self.diff),
            "any_errors_fatal" => set(&mut self.any_errors_fatal),
            "run_once" => set(&mut self.run_once),
            "throttle" => set(&mut self.throttle),
            "timeout" => set(&mut self.timeout),
            "connection" => set(&mut self.connection),
            "remote_user" => set(&mut self.remote_user),
            "port" => set(&mut self.port),
            "delegate_to" => set(&mut self.delegate_to),
            "delegate_facts" => set(&mut self.delegate_facts),
            // Where modules are looked for by a short name; all that there are have one name.
            "collections" => {}
            "debugger" => refuse_unless(value, key, value.json() == "never" || value.is_null())?,
            "become_exe" => refuse_unless(value, key, value.is_null())?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// Variables as a mapping, or as the old list of mappings.
pub(super) fn vars(value: &Node) -> Result<Option<Vars>> {
    let mut all = Vars::new();
    for part in value.list() {
        part.pairs("vars")?;
        if let Json::Object(map) = part.json() {
            all.extend(map);
        }
    }
    Ok((!all.is_empty()).then_some(all))
}
