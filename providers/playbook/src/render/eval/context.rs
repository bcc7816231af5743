//! The names that a template sets.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::render::value::{Value, lock};

/// Names of one level: a template, a loop's turn, a macro's call.
#[derive(Debug)]
pub(crate) struct Frame {
    vars: Mutex<HashMap<Arc<str>, Value>>,
    parent: Option<Arc<Frame>>,
    /// Whether the host's variables are behind it; an import has none.
    variables: bool,
}

impl Frame {
    pub(crate) fn root(variables: bool) -> Arc<Self> {
        Arc::new(Self { vars: Mutex::default(), parent: None, variables })
    }

    pub(super) fn child(parent: &Arc<Self>) -> Arc<Self> {
        Arc::new(Self { vars: Mutex::default(), parent: Some(parent.clone()), variables: parent.variables })
    }

    pub(super) fn get(&self, name: &str) -> Option<Value> {
        let mut frame = self;
        loop {
            if let Some(v) = lock(&frame.vars).get(name) {
                return Some(v.clone());
            }
            frame = frame.parent.as_deref()?;
        }
    }

    pub(super) fn set(&self, name: Arc<str>, value: Value) {
        lock(&self.vars).insert(name, value);
    }

    pub(super) fn sees_variables(&self) -> bool {
        self.variables
    }
}
