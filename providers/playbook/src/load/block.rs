//! Lists of tasks, and blocks.

use std::sync::Arc;

use towpath_core::Result;

use super::inherit::Inherit;
use super::keywords::{self, unknown};
use super::role::{Handlers, Loaded, Loader, Role, RoleUse};
use super::task::{Task, load_task};
use super::yaml::Node;

/// A step of a list.
#[derive(Debug, Clone)]
pub(crate) enum Item {
    Task(Arc<Task>),
    Block(Arc<Block>),
}

/// Tasks that belong together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Block {
    pub(crate) block: Vec<Item>,
    pub(crate) rescue: Vec<Item>,
    pub(crate) always: Vec<Item>,
    /// The role whose tasks these are, all of them.
    pub(crate) role: Option<Arc<RoleUse>>,
}

/// What static imports inside a list bring along.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) handlers: Vec<Handlers>,
    pub(crate) roles: Vec<Arc<Role>>,
    pub(crate) uses: Vec<Arc<RoleUse>>,
}

impl Found {
    pub(super) fn take(&mut self, loaded: Loaded) -> Vec<Item> {
        self.handlers.extend(loaded.handlers);
        self.roles.extend(loaded.roles);
        self.uses.extend(loaded.uses);
        loaded.items
    }
}

/// Blocks, imports and roles that are deeper in each other are taken for a circle.
const DEEPEST: usize = 30;

/// Reads a list of tasks and blocks.
pub(crate) fn load_tasks(loader: &Loader, node: &Node, inherit: &Inherit, found: &mut Found) -> Result<Vec<Item>> {
    if inherit.depth > DEEPEST {
        return Err(
            node.wrong(format!("blocks and imports are more than {DEEPEST} deep in each other; is it a circle?"))
        );
    }
    let mut out = Vec::new();
    for item in node.items("a list of tasks")? {
        if item.get("block").is_some() || item.get("rescue").is_some() || item.get("always").is_some() {
            out.push(load_block(loader, item, inherit, found)?);
        } else if !item.is_null() {
            load_task(loader, item, inherit, found, &mut out)?;
        }
    }
    Ok(out)
}

fn load_block(loader: &Loader, node: &Node, inherit: &Inherit, found: &mut Found) -> Result<Item> {
    let mut inner = inherit.clone();
    inner.depth += 1;
    for (key, value) in node.pairs("a block")? {
        match key.as_str() {
            "block" | "rescue" | "always" | "name" => {}
            _ if inner.keyword(key, value)? => {}
            _ => return Err(unknown(value, key, "a block", &[keywords::SHARED, keywords::BLOCK])),
        }
    }
    if node.get("block").is_none() {
        return Err(node.wrong("`rescue` and `always` need a `block`"));
    }
    let mut part = |key: &str| node.get(key).map_or(Ok(Vec::new()), |n| load_tasks(loader, n, &inner, found));
    Ok(Item::Block(Arc::new(Block {
        block: part("block")?,
        rescue: part("rescue")?,
        always: part("always")?,
        role: None,
    })))
}
