use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use towpath_core::pipeline::ProviderSpec;
use towpath_core::{Configurator, Json, Provisioner, Registry, SecretRef, Vars};

use crate::inventory::{AnsibleInventory, INVENTORY, InventoryConfig};
use crate::{PLAYBOOK, Playbook};

/// Settings of the `playbook` configurator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlaybookConfig {
    /// The playbook. Relative paths start at the pipeline file's folder.
    pub file: PathBuf,

    /// Variables with the highest precedence.
    #[serde(default, skip_serializing_if = "Vars::is_empty")]
    #[schemars(with = "BTreeMap<String, Json>")]
    pub extra_vars: Vars,

    /// More folders of roles, after `roles` beside the playbook.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles_path: Vec<PathBuf>,

    /// Only tasks with one of these tags; all if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,

    /// No tasks with one of these tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skip_tags: Vec<String>,

    /// How many hosts are worked on at the same time. `50` by default.
    #[serde(default = "default_forks")]
    #[schemars(range(min = 1, max = 1000))]
    pub forks: usize,

    /// Changes nothing, and says what would change: check mode. Tasks run, and each module foresees its change.
    #[serde(default, skip_serializing_if = "is_false")]
    pub check: bool,

    /// Shows texts before and after a change in results.
    #[serde(default, skip_serializing_if = "is_false")]
    pub diff: bool,

    /// Leaves out all tasks before the one of this name, which may be a pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_at_task: Option<String>,

    /// Runs handlers on hosts that failed, too, where a play says nothing else.
    #[serde(default, skip_serializing_if = "is_false")]
    pub force_handlers: bool,

    /// Which plays that say nothing themselves gather facts.
    #[serde(default, skip_serializing_if = "is_default")]
    pub gathering: Gathering,

    /// The strategy of plays that name none: `linear`, `free` or `host_pinned`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<String>,

    /// A failure on one host ends the play for all, where the playbook says nothing else.
    #[serde(default, skip_serializing_if = "is_false")]
    pub any_errors_fatal: bool,

    /// Hides results where the playbook says nothing else.
    #[serde(default, skip_serializing_if = "is_false")]
    pub no_log: bool,

    /// Most seconds of an action where the playbook says nothing else; `0` for any time.
    #[serde(default, skip_serializing_if = "is_default")]
    pub task_timeout: u64,

    /// The variable `ansible_managed` of templates; `Ansible managed` if not given. `{file}`, `{host}` and `{uid}` stand for the
    /// template, this machine and the template's owner. Times (`%Y`) are refused: with them a file would change without a reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ansible_managed: Option<String>,

    /// How much is told, for the variable `ansible_verbosity`. From 0 to 6.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(range(max = 6))]
    pub verbosity: u8,

    /// Becomes another user where the playbook and the inventory say nothing else.
    #[serde(default, skip_serializing_if = "is_false")]
    pub r#become: bool,

    /// Whom to become by default; `root` if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub become_user: Option<String>,

    /// How to become another user by default: `sudo` or `su`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub become_method: Option<String>,

    /// The password that sudo or su asks for, where the inventory has none. Resolved when it is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub become_password: Option<SecretRef>,

    /// Whom to log in as, where inventory and playbook say nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_user: Option<String>,

    /// Where the inventory was read from, for the variables `inventory_file`, `inventory_dir` and `ansible_inventory_sources`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inventory_sources: Vec<PathBuf>,
}

/// Which plays gather facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Gathering {
    /// All but those that say `gather_facts: no`.
    #[default]
    Implicit,
    /// Only those that say `gather_facts: yes`.
    Explicit,
    /// As `implicit`, on hosts of which the run knows no facts yet.
    Smart,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_false(v: &bool) -> bool {
    !v
}

fn is_default<T: Default + PartialEq>(v: &T) -> bool {
    *v == T::default()
}

fn default_forks() -> usize {
    50
}

impl PlaybookConfig {
    /// A playbook, everything else by default.
    pub fn new(file: impl Into<PathBuf>) -> Self {
        Self {
            file: file.into(),
            extra_vars: Vars::new(),
            roles_path: Vec::new(),
            tags: Vec::new(),
            skip_tags: Vec::new(),
            forks: default_forks(),
            check: false,
            diff: false,
            start_at_task: None,
            force_handlers: false,
            gathering: Gathering::Implicit,
            strategy: None,
            any_errors_fatal: false,
            no_log: false,
            task_timeout: 0,
            ansible_managed: None,
            verbosity: 0,
            r#become: false,
            become_user: None,
            become_method: None,
            become_password: None,
            remote_user: None,
            inventory_sources: Vec::new(),
        }
    }

    /// Check mode: changes nothing.
    #[must_use]
    pub fn check(mut self, yes: bool) -> Self {
        self.check = yes;
        self
    }

    /// Diff mode: results hold texts before and after.
    #[must_use]
    pub fn diff(mut self, yes: bool) -> Self {
        self.diff = yes;
        self
    }

    /// Leaves out all tasks before this one.
    #[must_use]
    pub fn start_at_task(mut self, name: impl Into<String>) -> Self {
        self.start_at_task = Some(name.into());
        self
    }

    /// Runs handlers on hosts that failed, too.
    #[must_use]
    pub fn force_handlers(mut self, yes: bool) -> Self {
        self.force_handlers = yes;
        self
    }

    /// Becomes this user where nothing else is said.
    #[must_use]
    pub fn become_user(mut self, user: impl Into<String>) -> Self {
        self.r#become = true;
        self.become_user = Some(user.into());
        self
    }

    /// Logs in as this user where nothing else is said.
    #[must_use]
    pub fn remote_user(mut self, user: impl Into<String>) -> Self {
        self.remote_user = Some(user.into());
        self
    }

    /// Sets a variable, above all others.
    #[must_use]
    pub fn var(mut self, name: impl Into<String>, value: impl Into<Json>) -> Self {
        self.extra_vars.insert(name.into(), value.into());
        self
    }

    /// Adds a folder of roles.
    #[must_use]
    pub fn roles_path(mut self, dir: impl Into<PathBuf>) -> Self {
        self.roles_path.push(dir.into());
        self
    }

    /// Runs tasks with this tag only.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Leaves tasks with this tag out.
    #[must_use]
    pub fn skip_tag(mut self, tag: impl Into<String>) -> Self {
        self.skip_tags.push(tag.into());
        self
    }

    /// Works on this many hosts at the same time.
    #[must_use]
    pub fn forks(mut self, n: usize) -> Self {
        self.forks = n;
        self
    }
}

impl From<PlaybookConfig> for ProviderSpec<dyn Configurator> {
    fn from(config: PlaybookConfig) -> Self {
        // Paths that are no UTF-8 have no form in JSON; the check of the pipeline then refuses the config.
        ProviderSpec::new(PLAYBOOK, serde_json::to_value(config).unwrap_or(Json::Null))
    }
}

/// Registers the configurator `playbook`, and the provisioner `inventory`.
pub fn register(registry: &mut Registry) {
    registry.provider::<dyn Configurator, PlaybookConfig, _>(PLAYBOOK, |config, setup| {
        Ok(std::sync::Arc::new(Playbook::new(config, &setup.base_dir)?))
    });
    registry.provider::<dyn Provisioner, InventoryConfig, _>(INVENTORY, |config, setup| {
        Ok(std::sync::Arc::new(AnsibleInventory::new(config, &setup.base_dir)))
    });
}
