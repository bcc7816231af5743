//! The variables of one host at one task, templated when they are used.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Map;
use towpath_core::{Json, Vars};

use super::error::{Error, Out, Why};
use super::eval::{Deeper, State};
use super::hosts::VarsOf;
use super::native::{finish, of_text};
use super::source::with_newlines;
use super::value::{Dict, Key, Value, lock, text, to_json};
use super::{Engine, Search};

pub(crate) use super::engine::Shape;

/// A template that can't be rendered.
#[derive(Debug, Clone)]
pub(crate) struct RenderError {
    pub(crate) message: String,
    pub(crate) undefined: bool,
}

impl fmt::Display for RenderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for RenderError {}

impl From<Error> for RenderError {
    fn from(e: Error) -> Self {
        let undefined = e.why == Why::Undefined;
        let message = match e.place {
            Some(place) => format!("{} ({place})", e.message),
            None => e.message,
        };
        Self { message, undefined }
    }
}

thread_local! {
    /// How often this thread looked at the outside world.
    static LOOKS: Cell<u64> = const { Cell::new(0) };
}

/// The variables. Layers come with the highest precedence first.
pub(crate) struct Scope {
    pub(crate) engine: Arc<Engine>,
    pub(crate) layers: Vec<Arc<Vars>>,
    /// Values that are no data: `hostvars`.
    pub(crate) objects: HashMap<String, Value>,
    /// Variables that only a run can tell, with the reason.
    pub(crate) unknown: Arc<BTreeMap<String, String>>,
    pub(crate) search: Search,
    /// Layers that hold what hosts and earlier tasks gave. It is never templated: a host that prints `{{ ... }}` runs nothing here.
    data: Vec<Arc<Vars>>,
    data_used: AtomicBool,
    data_cache: Mutex<HashMap<String, Value>>,
    cache: Mutex<HashMap<String, Result<Value, Error>>>,
    touched: Mutex<Option<String>>,
    impure: AtomicBool,
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("layers", &self.layers.len()).finish_non_exhaustive()
    }
}

impl Scope {
    pub(crate) fn new(
        engine: Arc<Engine>,
        layers: Vec<Arc<Vars>>,
        objects: HashMap<String, Value>,
        unknown: Arc<BTreeMap<String, String>>,
        search: Search,
    ) -> Arc<Self> {
        Self::with_data(engine, layers, objects, unknown, search, Vec::new())
    }

    /// The same where the layers `data` (some of `layers`) hold values and no templates.
    pub(crate) fn with_data(
        engine: Arc<Engine>,
        layers: Vec<Arc<Vars>>,
        objects: HashMap<String, Value>,
        unknown: Arc<BTreeMap<String, String>>,
        search: Search,
        data: Vec<Arc<Vars>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            engine,
            layers,
            objects,
            unknown,
            search,
            data,
            data_used: AtomicBool::new(false),
            data_cache: Mutex::default(),
            cache: Mutex::default(),
            touched: Mutex::default(),
            impure: AtomicBool::new(false),
        })
    }

    /// The same with more variables on top.
    pub(crate) fn with(self: &Arc<Self>, vars: Vars) -> Arc<Self> {
        let mut layers = vec![Arc::new(vars)];
        layers.extend(self.layers.iter().cloned());
        let (objects, unknown) = (self.objects.clone(), self.unknown.clone());
        let new =
            Self::with_data(self.engine.clone(), layers, objects, unknown, self.search.clone(), self.data.clone());
        new.inherit(self);
        new
    }

    /// Takes over what another scope noted.
    pub(super) fn inherit(&self, other: &Self) {
        if let Some(why) = other.touched() {
            lock(&self.touched).get_or_insert(why);
        }
        if other.impure() {
            self.impure.store(true, Ordering::Relaxed);
        }
    }

    /// Why a value can't be known before the run, if such a value was used.
    pub(crate) fn touched(&self) -> Option<String> {
        lock(&self.touched).clone()
    }

    /// Whether something was used that another rendering may give differently, or that has an effect: a command, a
    /// file, a random number, the time. What was rendered must then not be rendered again.
    pub(crate) fn impure(&self) -> bool {
        self.impure.load(Ordering::Relaxed)
    }

    /// Notes that the outside world was looked at.
    pub(super) fn note_impure(&self) {
        LOOKS.set(LOOKS.get().wrapping_add(1));
        self.impure.store(true, Ordering::Relaxed);
    }

    /// Notes that something was done which a second rendering would do again or otherwise. Refuses where templates are
    /// rendered before their task's turn.
    pub(super) fn note_effect(&self) -> Result<(), Error> {
        self.note_impure();
        if super::OnlyReads::now() {
            return Err(Error::other("this is only rendered when the task's turn has come"));
        }
        Ok(())
    }

    /// Runs something, and notes whether any scope looked at the outside world in it.
    fn watched<T>(&self, f: impl FnOnce() -> T) -> T {
        let before = LOOKS.get();
        let out = f();
        if LOOKS.get() != before {
            self.impure.store(true, Ordering::Relaxed);
        }
        out
    }

    /// The variable before templating.
    pub(crate) fn raw(&self, name: &str) -> Option<&Json> {
        self.layers.iter().find_map(|l| l.get(name))
    }

    /// The names of all variables.
    pub(super) fn names(&self) -> Vec<String> {
        let mut seen = std::collections::HashSet::new();
        let all = self.layers.iter().rev().flat_map(|l| l.keys());
        all.filter(|k| seen.insert(k.as_str())).cloned().collect()
    }

    /// The variables as a value, as `hostvars` has them.
    pub(crate) fn as_value(self: &Arc<Self>) -> Value {
        Value::object(VarsOf { scope: self.clone(), name: "ansible.vars.hostvars.HostVarsVars" })
    }

    /// A variable, templated; `None` if there is none or it can't be templated.
    pub(crate) fn variable(self: &Arc<Self>, name: &str) -> Option<Value> {
        self.watched(|| self.find(name)).ok().flatten().filter(|v| !v.is_undefined())
    }

    /// A variable, templated; an undefined value if what it refers to is.
    pub(super) fn find(self: &Arc<Self>, name: &str) -> Result<Option<Value>, Error> {
        if let Some(object) = self.objects.get(name) {
            return Ok(Some(object.clone()));
        }
        if let Some(why) = self.unknown.get(name) {
            lock(&self.touched).get_or_insert_with(|| why.clone());
            return Ok(None);
        }
        if let Some(known) = lock(&self.cache).get(name) {
            return known.clone().map(Some);
        }
        if name == "vars" {
            return Ok(Some(Value::object(VarsOf { scope: self.clone(), name: "dict" })));
        }
        let Some((layer, raw)) = self.layers.iter().find_map(|l| Some((l, l.get(name)?))) else { return Ok(None) };
        if self.data.iter().any(|d| Arc::ptr_eq(d, layer)) {
            self.data_used.store(true, Ordering::Relaxed);
            let mut cache = lock(&self.data_cache);
            return Ok(Some(cache.entry(name.to_owned()).or_insert_with(|| Value::from(raw)).clone()));
        }
        let value = match self.value(raw) {
            Err(e) if e.why == Why::Undefined => {
                // Ansible names the text in which it was used.
                let raw = text(&Value::from(raw));
                Ok(Value::undefined(format!("{raw}: {}", e.message), name))
            }
            other => other,
        };
        lock(&self.cache).insert(name.to_owned(), value.clone());
        value.map(Some)
    }

    /// The value of raw data, everything inside templated.
    fn value(self: &Arc<Self>, raw: &Json) -> Out {
        Ok(match raw {
            Json::String(s) => self.text_value(s)?,
            Json::Array(items) => Value::list(items.iter().map(|v| self.value(v)).collect::<Result<_, _>>()?),
            Json::Object(map) => {
                let mut out = Dict::with_capacity(map.len());
                for (k, v) in map {
                    let key = if is_template(k) { self.text_value(k)? } else { Value::from(k.as_str()) };
                    out.insert(Key::new(key)?, self.value(v)?);
                }
                Value::dict(out)
            }
            other => Value::from(other),
        })
    }

    /// Templates everything inside a value.
    pub(crate) fn render(self: &Arc<Self>, raw: &Json) -> Result<Json, RenderError> {
        self.watched(|| self.render_inner(raw)).map_err(RenderError::from)
    }

    fn render_inner(self: &Arc<Self>, raw: &Json) -> Result<Json, Error> {
        Ok(match raw {
            Json::String(s) if is_template(s) => to_json(&self.text_value(s)?),
            Json::Array(items) => Json::Array(items.iter().map(|v| self.render_inner(v)).collect::<Result<_, _>>()?),
            Json::Object(map) => {
                let mut out = Map::new();
                for (k, v) in map {
                    let key = if is_template(k) { text(&self.text_value(k)?) } else { k.clone() };
                    out.insert(key, self.render_inner(v)?);
                }
                Json::Object(out)
            }
            other => other.clone(),
        })
    }

    /// Templates to text.
    pub(crate) fn render_text(self: &Arc<Self>, raw: &str) -> Result<String, RenderError> {
        if !is_template(raw) {
            return Ok(raw.to_owned());
        }
        Ok(self.watched(|| self.text_value(raw)).map(|v| text(&v))?)
    }

    /// A text: one expression may give a list or a boolean, anything else is text.
    fn text_value(self: &Arc<Self>, source: &str) -> Out {
        if !is_template(source) {
            return Ok(Value::from(source));
        }
        if let Some(name) = one_name(source) {
            if !self.objects.contains_key(name) && !self.unknown.contains_key(name) {
                if let Some(v @ (Json::Bool(_) | Json::Number(_) | Json::Null)) = self.raw(name) {
                    return Ok(Value::from(v));
                }
            }
        }
        self.evaluate(source).map_err(|e| worded(source, e))
    }

    fn evaluate(self: &Arc<Self>, source: &str) -> Out {
        let _deeper = Deeper::enter(8)?;
        let shape = Shape { plain_backslashes: true, ..Shape::default() };
        let compiled = self.engine.compiled(source, &shape)?;
        let state = State::new(self.clone(), compiled.template.clone(), None);
        match compiled.template.single() {
            Some(e) => Ok(match finish(state.value(e)?, compiled.fixed)? {
                Value::Str(s, kind) if source.ends_with('\n') => {
                    Value::Str(with_newlines(source, s.to_string()).into(), kind)
                }
                other => other,
            }),
            None => Ok(of_text(with_newlines(source, state.render()?), compiled.fixed)),
        }
    }

    /// Evaluates a condition of `when`, `until`, `changed_when`, ...
    pub(crate) fn test(self: &Arc<Self>, condition: &Json) -> Result<bool, RenderError> {
        self.watched(|| self.holds(condition)).map_err(RenderError::from)
    }

    fn holds(self: &Arc<Self>, condition: &Json) -> Result<bool, Error> {
        let source = match condition {
            Json::Bool(b) => return Ok(*b),
            Json::Null => return Ok(true),
            Json::Number(n) => return Ok(n.as_f64() != Some(0.0)),
            Json::String(s) if s.trim().is_empty() => return Ok(true),
            Json::String(s) if is_template(s) => {
                let before = self.data_used.swap(false, Ordering::Relaxed);
                let rendered = to_json(&self.text_value(s)?);
                let from_host = self.data_used.fetch_or(before, Ordering::Relaxed);
                match rendered {
                    // What a host gave is no condition, not even one that is true.
                    Json::String(rendered) if rendered != *s && from_host => {
                        return Err(Error::other("Conditional is marked as unsafe, and cannot be evaluated."));
                    }
                    Json::String(rendered) if rendered != *s => rendered,
                    other => return self.holds(&other),
                }
            }
            Json::String(s) => s.clone(),
            Json::Array(all) => {
                for c in all {
                    if !self.holds(c)? {
                        return Ok(false);
                    }
                }
                return Ok(true);
            }
            Json::Object(_) => return Err(Error::other("a condition can't be a mapping")),
        };
        let source = source.trim();
        if source.is_empty() {
            return Ok(true);
        }
        self.truth(source).map_err(|e| {
            let inner = worded(source, e);
            match inner.why {
                Why::Undefined => {
                    let message = format!("error while evaluating conditional ({source}): {}", inner.message);
                    Error { message, ..inner }
                }
                _ => inner,
            }
        })
    }

    fn truth(self: &Arc<Self>, source: &str) -> Result<bool, Error> {
        let _deeper = Deeper::enter(8)?;
        let expr = self.engine.condition(source)?;
        let empty = self.engine.compiled("", &Shape::default())?;
        State::new(self.clone(), empty.template.clone(), None).value(&expr)?.truth()
    }

    /// What a lookup gives for terms that were rendered: the list of `with_NAME`.
    pub(crate) fn lookup(self: &Arc<Self>, name: &str, terms: &[Json]) -> Result<Vec<Json>, RenderError> {
        let found = self.watched(|| {
            let _deeper = Deeper::enter(8)?;
            super::lookups::run(name, terms.iter().map(Value::from).collect(), self)
        });
        Ok(found?.iter().map(to_json).collect())
    }

    /// Renders the text of a file, whose name is for messages.
    pub(crate) fn render_template(self: &Arc<Self>, source: &str, path: Option<&Path>) -> Result<String, RenderError> {
        let out = self.watched(|| self.render_source(source, path, &Shape::default()));
        Ok(out.map_err(|e| worded(path.map_or_else(|| source.to_owned(), |p| p.display().to_string()).as_str(), e))?)
    }
}

/// An error in the words of Ansible.
fn worded(source: &str, e: Error) -> Error {
    let message = match e.why {
        Why::Type => format!("Unexpected templating type error occurred on ({source}): {0}. {0}", e.message),
        Why::Syntax => format!("template error while templating string: {0}. String: {source}. {0}", e.message),
        Why::Undefined | Why::Other => return e,
    };
    Error { message, why: Why::Other, ..e }
}

fn is_template(s: &str) -> bool {
    s.contains("{{") || s.contains("{%") || s.contains("{#")
}

/// The name, if a text is `{{ name }}`.
fn one_name(source: &str) -> Option<&str> {
    let source = source.strip_suffix('\n').unwrap_or(source);
    let name = source.strip_prefix("{{")?.strip_suffix("}}")?.trim();
    (!name.is_empty() && name.chars().all(|c| c == '_' || c.is_alphanumeric())).then_some(name)
}
