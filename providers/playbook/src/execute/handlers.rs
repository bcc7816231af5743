//! Which handlers a notification means.

use std::sync::Arc;

use towpath_core::{Json, Result};

use super::play::PlayState;
use super::vars::View;
use super::world::Known;
use super::{Playing, Run, lock};
use crate::load::{Handlers, Item, Task, yaml};
use crate::render::Scope;

/// The handlers in a list, in their order.
fn tasks(items: &[Item], out: &mut Vec<Arc<Task>>) {
    for item in items {
        match item {
            Item::Task(task) => out.push(task.clone()),
            Item::Block(block) => tasks(&block.block, out),
        }
    }
}

impl PlayState {
    /// Adds handlers behind those that are there.
    pub(super) fn add_handlers(&mut self, new: &[Handlers]) {
        for handlers in new {
            let mut list = Vec::new();
            tasks(&handlers.items, &mut list);
            let all = Arc::make_mut(&mut self.handlers);
            self.starts.push(all.len());
            all.extend(list);
        }
    }
}

fn strings(v: &Json) -> Vec<String> {
    match v {
        Json::Array(items) => items.iter().flat_map(strings).collect(),
        Json::String(s) => vec![s.clone()],
        Json::Null => Vec::new(),
        other => vec![other.to_string()],
    }
}

impl Run<'_> {
    /// The places of the handlers that a task notifies.
    pub(super) fn notified(&self, playing: &Playing<'_>, task: &Task, scope: &Arc<Scope>) -> Result<Vec<usize>> {
        let (handlers, starts) = {
            let state = lock(&playing.state);
            (state.handlers.clone(), state.starts.clone())
        };
        let mut out = Vec::new();
        for notify in &task.inherit.notify {
            let rendered = scope.render(notify).map_err(|e| yaml::invalid(&task.pos, e.message))?;
            for name in strings(&rendered) {
                let before = out.len();
                out.extend(self.by_name(playing, &handlers, &starts, &name));
                for (id, handler) in handlers.iter().enumerate() {
                    let listens = handler.listen.iter().any(|l| {
                        let plain = l.as_str().is_some_and(|s| !s.contains("{{"));
                        let l = if plain { l.clone() } else { scope.render(l).unwrap_or_else(|_| l.clone()) };
                        strings(&l).contains(&name)
                    });
                    if listens && !out.contains(&id) {
                        out.push(id);
                    }
                }
                if out.len() == before
                    && !self.by_name(playing, &handlers, &starts, &name).is_some_and(|id| out.contains(&id))
                {
                    return Err(yaml::invalid(
                        &task.pos,
                        format!(
                            "The requested handler '{name}' was not found in either the main handlers list nor in the listening handlers list"
                        ),
                    ));
                }
            }
        }
        Ok(out)
    }

    /// The last list that has a handler of this name counts, and in it the first one.
    fn by_name(&self, playing: &Playing<'_>, handlers: &[Arc<Task>], starts: &[usize], name: &str) -> Option<usize> {
        let mut end = handlers.len();
        for start in starts.iter().rev() {
            let list = handlers.get(*start..end).unwrap_or_default();
            end = *start;
            let found = list.iter().position(|h| self.is_called(playing, h, name));
            if let Some(at) = found {
                return Some(start + at);
            }
        }
        None
    }

    fn is_called(&self, playing: &Playing<'_>, handler: &Task, name: &str) -> bool {
        let Some(own) = &handler.name else { return false };
        let own = if own.contains("{{") {
            // Names are templated before any host is known.
            let known = Known::default();
            let view = View { host: "", known: &known, task: Some(handler), locals: Arc::default(), delegated: None };
            match self.scope(playing, &view).render_text(own) {
                Ok(own) => own,
                Err(_) => return false,
            }
        } else {
            own.clone()
        };
        own == name
            || handler.inherit.role.as_ref().is_some_and(|used| {
                name.strip_prefix(used.role.name.as_str()).and_then(|r| r.strip_prefix(" : ")) == Some(own.as_str())
            })
    }
}
