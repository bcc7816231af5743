//! What stands in a playbook, without running it: `--list-tasks`, `--list-tags`, `--list-hosts`.

use std::collections::BTreeSet;

use towpath_core::{Error, ErrorKind, Inventory, Json, Result};

use crate::PLAYBOOK;
use crate::execute::{Beside, Index};
use crate::load::{Item, Play, Task};

/// A play.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlayOutline {
    /// Its name; its hosts if it has none.
    pub name: String,
    /// Its hosts as they are written: patterns.
    pub patterns: Vec<String>,
    /// Its own tags.
    pub tags: Vec<String>,
    /// Its tasks, without those that are included while it runs, and without handlers.
    pub tasks: Vec<TaskOutline>,
}

/// A task.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskOutline {
    /// `role : name`, or the action if it has no name.
    pub name: String,
    /// All its tags, inherited ones included, sorted.
    pub tags: Vec<String>,
}

/// The outlines of plays.
pub(crate) fn outline(plays: &[Play]) -> Vec<PlayOutline> {
    plays.iter().map(play).collect()
}

fn play(play: &Play) -> PlayOutline {
    let patterns = match &play.hosts {
        Json::Array(items) => items.iter().map(text).collect(),
        other => vec![text(other)],
    };
    let mut tasks = Vec::new();
    for section in [&play.pre_tasks, &play.tasks, &play.post_tasks] {
        walk(section, &mut tasks);
    }
    let name = play.name.clone().unwrap_or_else(|| patterns.join(","));
    PlayOutline { name, patterns, tags: tags(&play.inherit.tags), tasks }
}

fn text(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn tags(all: &[Json]) -> Vec<String> {
    let mut out = BTreeSet::new();
    for tag in all {
        match tag {
            Json::Array(items) => out.extend(items.iter().map(text)),
            other => out.extend(text(other).split(',').map(|t| t.trim().to_owned()).filter(|t| !t.is_empty())),
        }
    }
    out.into_iter().collect()
}

fn walk(items: &[Item], out: &mut Vec<TaskOutline>) {
    for item in items {
        match item {
            Item::Task(t) => out.push(task(t)),
            // As Ansible, which lists no task that runs only after a failure.
            Item::Block(b) => walk(&b.block, out),
        }
    }
}

fn task(task: &Task) -> TaskOutline {
    let name = task.name.clone().unwrap_or_else(|| task.written.clone());
    let name = match &task.inherit.role {
        Some(role) => format!("{} : {name}", role.role.name),
        None => name,
    };
    TaskOutline { name, tags: tags(&task.inherit.tags) }
}

/// Whether a task with these tags runs under `--tags` and `--skip-tags`.
pub fn tags_select(tags: &[String], only: &[String], skip: &[String]) -> bool {
    crate::execute::selected(tags, only, skip)
}

/// The hosts that an Ansible pattern names, in the order of the pattern.
///
/// # Errors
///
/// [`InvalidInput`](ErrorKind::InvalidInput): the pattern is not understood.
pub fn select_hosts(inventory: &Inventory, pattern: &str) -> Result<Vec<String>> {
    let index = Index::new(inventory, std::path::Path::new("/nonexistent"), &mut Beside::default())?;
    index
        .select(pattern)
        .map_err(|e| Error::new(ErrorKind::InvalidInput, PLAYBOOK, "pattern", e).with("pattern", pattern))
}
