//! Playbooks, roles and tasks, from YAML to typed values.

mod args;
mod block;
#[cfg(test)]
mod fuzz;
mod include;
mod inherit;
pub(crate) mod keywords;
mod play;
mod role;
mod task;
pub(crate) mod yaml;

pub(crate) use args::{parse as parse_args, split_words};
pub(crate) use block::{Block, Found, Item, load_tasks};
pub(crate) use include::{apply, load_included_role, tasks_file};
pub(crate) use inherit::Inherit;
pub(crate) use play::{Play, load_playbook};
pub(crate) use role::{Handlers, Loader, Role, RoleUse, yaml_files};
pub(crate) use task::{Loop, Task};
