//! Where a host is in its play: which task comes next, and what a failure leads to.
//!
//! A place in a play is a path of numbers, and the order of paths is the order of tasks. Under `linear` the hosts with the
//! smallest path go on, so hosts that are further wait. What a dynamic include brings stands between the include and its
//! successor.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::load::{Block, Item, RoleUse, Task};

/// A place in a play.
pub(super) type Path = Vec<u32>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    Block,
    Rescue,
    Always,
}

#[derive(Debug, Clone)]
struct Frame {
    block: Arc<Block>,
    section: Section,
    at: usize,
    /// It failed, and no rescue has mended that.
    failed: bool,
    path: Path,
    /// Only those handlers that were notified run. They stand at the places that these numbers say.
    handlers: Option<Arc<Vec<Arc<Task>>>>,
}

/// A host's way through a play.
#[derive(Debug, Clone, Default)]
pub(super) struct Walk {
    frames: Vec<Frame>,
    next: Option<(Path, Arc<Task>)>,
    /// The play has failed on this host.
    pub(super) failed: bool,
    /// Handlers that were notified, by their place among the play's handlers.
    pub(super) notified: BTreeSet<usize>,
    /// Uses of roles of which a task has run here.
    pub(super) ran: BTreeSet<String>,
    /// Uses of roles that are done here.
    completed: BTreeSet<String>,
}

/// What a failure led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    Rescue,
    Failed,
}

impl Walk {
    pub(super) fn new(tree: Arc<Block>) -> Self {
        let mut walk = Self::default();
        walk.push(tree, Vec::new(), None);
        walk
    }

    fn push(&mut self, block: Arc<Block>, path: Path, handlers: Option<Arc<Vec<Arc<Task>>>>) {
        self.frames.push(Frame { block, section: Section::Block, at: 0, failed: false, path, handlers });
    }

    /// The next task, which stays the next one until it is taken. `wanted` says which tasks take part at all.
    pub(super) fn peek(&mut self, wanted: &dyn Fn(&Task) -> bool) -> Option<&(Path, Arc<Task>)> {
        while self.next.is_none() {
            let Some(top) = self.frames.last_mut() else { break };
            if let Some(handlers) = top.handlers.clone() {
                let at = top.at;
                let Some(id) = self.notified.range(at..).next().copied().filter(|id| *id < handlers.len()) else {
                    self.pop();
                    continue;
                };
                top.at = id + 1;
                let mut path = top.path.clone();
                path.push(u32::try_from(id).unwrap_or(u32::MAX));
                self.notified.remove(&id);
                self.next = handlers.get(id).map(|task| (path, task.clone()));
                continue;
            }
            let items = match top.section {
                Section::Block => &top.block.block,
                Section::Rescue => &top.block.rescue,
                Section::Always => &top.block.always,
            };
            let Some(item) = items.get(top.at).cloned() else {
                match top.section {
                    Section::Always => self.pop(),
                    section => {
                        if section == Section::Rescue {
                            top.failed = false;
                        }
                        top.section = Section::Always;
                        top.at = 0;
                    }
                }
                continue;
            };
            let mut path = top.path.clone();
            path.extend([top.section as u32, u32::try_from(top.at).unwrap_or(u32::MAX)]);
            top.at += 1;
            match item {
                Item::Task(task) => {
                    if wanted(&task) {
                        self.next = Some((path, task));
                    }
                }
                Item::Block(block) => {
                    let done = block.role.as_ref().is_some_and(|r| !r.again && self.completed.contains(&r.key));
                    if !done {
                        self.push(block, path, None);
                    }
                }
            }
        }
        self.next.as_ref()
    }

    /// Takes the next task.
    pub(super) fn take(&mut self) {
        self.next = None;
    }

    fn pop(&mut self) {
        let Some(frame) = self.frames.pop() else { return };
        if frame.failed {
            self.fail();
        } else if let Some(role) = &frame.block.role {
            self.complete(role);
        }
    }

    fn complete(&mut self, role: &RoleUse) {
        if self.ran.contains(&role.key) {
            self.completed.insert(role.key.clone());
        }
    }

    /// The task that was taken last has failed.
    pub(super) fn fail(&mut self) -> After {
        self.next = None;
        loop {
            let Some(top) = self.frames.last_mut() else {
                self.failed = true;
                return After::Failed;
            };
            if top.handlers.is_some() {
                self.frames.pop();
                continue;
            }
            top.failed = true;
            match top.section {
                Section::Block if !top.block.rescue.is_empty() => {
                    top.section = Section::Rescue;
                    top.at = 0;
                    return After::Rescue;
                }
                Section::Block | Section::Rescue if !top.block.always.is_empty() => {
                    top.section = Section::Always;
                    top.at = 0;
                    return After::Failed;
                }
                _ => {
                    self.frames.pop();
                }
            }
        }
    }

    /// Whether the play has failed here, even if something is still to be done in it.
    pub(super) fn failing(&self) -> bool {
        self.failed || self.frames.iter().any(|f| f.failed && f.section == Section::Always)
    }

    /// Nothing more happens here.
    pub(super) fn end(&mut self) {
        self.frames.clear();
        self.next = None;
    }

    /// Leaves the role that the host is in.
    pub(super) fn end_role(&mut self) {
        self.next = None;
        let Some(at) = self.frames.iter().rposition(|f| f.block.role.is_some()) else { return };
        if let Some(role) = self.frames.get(at).and_then(|f| f.block.role.clone()) {
            self.complete(&role);
        }
        self.frames.truncate(at);
    }

    /// Runs what an include at `path` has read; of several inclusions in one step each has its number.
    pub(super) fn include(&mut self, path: &[u32], inclusions: Vec<(u32, Arc<Block>)>) {
        for (number, block) in inclusions.into_iter().rev() {
            let mut path = path.to_vec();
            path.push(number + 1);
            self.push(block, path, None);
        }
    }

    /// Runs the handlers that were notified.
    pub(super) fn flush(&mut self, path: &[u32], handlers: Arc<Vec<Arc<Task>>>) {
        if self.notified.is_empty() {
            return;
        }
        self.push(Arc::default(), path.to_vec(), Some(handlers));
    }
}
