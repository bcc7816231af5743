//! Playbooks, roles and tasks, from YAML to typed values.

mod args;
mod play;
mod role;
mod task;
pub(crate) mod yaml;

pub(crate) use args::split_words;
pub(crate) use play::{Play, load_playbook};
pub(crate) use role::{Loader, Role, yaml_files};
pub(crate) use task::{Become, Item, Task, load_included_role, load_tasks, tasks_file};
