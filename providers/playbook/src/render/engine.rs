//! Templates that were read, kept for the whole run: a playbook renders the same text for every host.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use regex::Regex;

use super::error::Error;
use super::syntax::{Expr, Syntax, Template, double_backslashes, parse, parse_expression};
use super::value::lock;

/// Most templates that are kept.
const MOST: usize = 20_000;

/// How a template is read.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Shape {
    pub(crate) syntax: Syntax,
    /// Whether a backslash between quotes means itself, as in the arguments of tasks.
    pub(crate) plain_backslashes: bool,
}

/// A template, read.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) template: Arc<Template>,
    /// Ends in a filter that makes text, which then stays text.
    pub(crate) fixed: bool,
}

type Sources = HashMap<Arc<str>, Arc<Compiled>>;

/// What every scope of a run shares.
#[derive(Debug, Default)]
pub(crate) struct Engine {
    templates: Mutex<HashMap<Shape, Sources>>,
    conditions: Mutex<HashMap<Arc<str>, Arc<Expr>>>,
}

/// Source: Ansible's documentation, setting `STRING_TYPE_FILTERS`.
static TEXT_FILTER: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let names = "string|to_json|to_nice_json|to_yaml|to_nice_yaml|ppretty|json";
    Regex::new(&format!(r"^[^\n]*?\|\s*(?:{names})(?:\([^|]*\))?\s*\)?\s*\}}\}}")).ok()
});

impl Engine {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn compiled(&self, source: &str, shape: &Shape) -> Result<Arc<Compiled>, Error> {
        if let Some(known) = lock(&self.templates).get(shape).and_then(|all| all.get(source)) {
            return Ok(known.clone());
        }
        let doubled = if shape.plain_backslashes { double_backslashes(source, &shape.syntax) } else { None };
        let template = parse(doubled.as_deref().unwrap_or(source), &shape.syntax)?;
        let fixed = source.contains('|') && TEXT_FILTER.as_ref().is_some_and(|r| r.is_match(source));
        let compiled = Arc::new(Compiled { template: Arc::new(template), fixed });
        let mut templates = lock(&self.templates);
        let all = templates.entry(shape.clone()).or_default();
        if all.len() >= MOST {
            all.clear();
        }
        all.insert(source.into(), compiled.clone());
        Ok(compiled)
    }

    pub(crate) fn condition(&self, source: &str) -> Result<Arc<Expr>, Error> {
        if let Some(known) = lock(&self.conditions).get(source) {
            return Ok(known.clone());
        }
        let expr = Arc::new(parse_expression(source)?);
        let mut conditions = lock(&self.conditions);
        if conditions.len() >= MOST {
            conditions.clear();
        }
        conditions.insert(source.into(), expr.clone());
        Ok(expr)
    }
}
