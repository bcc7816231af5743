//! The keywords of plays, blocks, roles and tasks, and what to say about any other.

use towpath_core::pipeline::nearest;
use towpath_core::{Error, Result};

use super::yaml::Node;

/// Keywords that everything takes.
pub(crate) const SHARED: &[&str] = &[
    "any_errors_fatal",
    "become",
    "become_exe",
    "become_flags",
    "become_method",
    "become_user",
    "check_mode",
    "collections",
    "connection",
    "debugger",
    "diff",
    "environment",
    "ignore_errors",
    "ignore_unreachable",
    "module_defaults",
    "name",
    "no_log",
    "port",
    "remote_user",
    "run_once",
    "tags",
    "throttle",
    "timeout",
    "vars",
];

/// Further ones of a play.
pub(crate) const PLAY: &[&str] = &[
    "fact_path",
    "force_handlers",
    "gather_facts",
    "gather_subset",
    "gather_timeout",
    "handlers",
    "hosts",
    "max_fail_percentage",
    "order",
    "post_tasks",
    "pre_tasks",
    "roles",
    "serial",
    "strategy",
    "tasks",
    "vars_files",
    "vars_prompt",
];

/// Further ones of a block.
pub(crate) const BLOCK: &[&str] = &["always", "block", "delegate_facts", "delegate_to", "notify", "rescue", "when"];

/// Further ones of a task.
pub(crate) const TASK: &[&str] = &[
    "action",
    "args",
    "async",
    "changed_when",
    "delay",
    "delegate_facts",
    "delegate_to",
    "failed_when",
    "listen",
    "local_action",
    "loop",
    "loop_control",
    "notify",
    "poll",
    "register",
    "retries",
    "until",
    "when",
];

/// Keywords of `loop_control`.
pub(crate) const LOOP_CONTROL: &[&str] =
    &["break_when", "extended", "extended_allitems", "index_var", "label", "loop_var", "pause"];

/// The keyword that was meant, if one is near enough.
pub(super) fn meant<'a>(key: &str, known: &[&[&'a str]]) -> Option<&'a str> {
    nearest(key, known.iter().flat_map(|k| k.iter().copied()))
}

/// An error about a keyword that is not known in `what`.
pub(super) fn unknown(value: &Node, key: &str, what: &str, known: &[&[&str]]) -> Error {
    let near = meant(key, known).map(|n| format!("; did you mean `{n}`?")).unwrap_or_default();
    value.wrong(format!("`{key}` is no keyword of {what}{near}"))
}

/// A keyword that is read, and that nothing acts on; only values that ask for nothing are taken.
pub(super) fn refuse_unless(value: &Node, key: &str, idle: bool) -> Result<()> {
    if idle { Ok(()) } else { Err(value.wrong(format!("`{key}` is not supported yet"))) }
}
