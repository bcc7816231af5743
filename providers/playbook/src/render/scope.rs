//! The variables of one host at one task, templated when they are used.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::value::{DynObject, Object, Value};
use minijinja::{Environment, Error, ErrorKind};
use serde_json::Map;
use towpath_core::{Json, Vars};

use super::{Engine, python};

/// What `omit` is; arguments of this value are left out.
pub(crate) const OMIT: &str = "__omit_place_holder__towpath";

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

/// Folders in which `template`, `copy` and the lookups search, most specific first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Search {
    pub(crate) dirs: Vec<PathBuf>,
}

impl Search {
    /// Finds a file below `kind` (`templates`, `files`) or directly in a folder.
    pub(crate) fn find(&self, kind: &str, name: &str) -> Result<PathBuf, String> {
        let given = PathBuf::from(name);
        if given.is_absolute() {
            return if given.exists() { Ok(given) } else { Err(name.to_owned()) };
        }
        let places: Vec<PathBuf> = self.dirs.iter().flat_map(|d| [d.join(kind).join(name), d.join(name)]).collect();
        places
            .iter()
            .find(|p| p.exists())
            .cloned()
            .ok_or_else(|| places.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", "))
    }
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
    cache: Mutex<HashMap<String, Option<Value>>>,
    touched: Mutex<Option<String>>,
    nested: Mutex<Option<String>>,
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("layers", &self.layers.len()).finish_non_exhaustive()
    }
}

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

struct Deeper;

impl Deeper {
    fn enter() -> Option<Self> {
        DEPTH.with(|d| {
            d.set(d.get() + 1);
            if d.get() > 40 {
                d.set(d.get() - 1);
                return None;
            }
            Some(Self)
        })
    }
}

impl Drop for Deeper {
    fn drop(&mut self) {
        DEPTH.with(|d| d.set(d.get() - 1));
    }
}

impl Object for Scope {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let name = key.as_str()?;
        if name == "__towpath__" {
            return Some(Value::from_dyn_object(DynObject::new(self.clone())));
        }
        self.variable(name)
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
        Arc::new(Self {
            engine,
            layers,
            objects,
            unknown,
            search,
            cache: Mutex::default(),
            touched: Mutex::default(),
            nested: Mutex::default(),
        })
    }

    /// The same with more variables on top.
    pub(crate) fn with(self: &Arc<Self>, vars: Vars) -> Arc<Self> {
        let mut layers = vec![Arc::new(vars)];
        layers.extend(self.layers.iter().cloned());
        let new =
            Self::new(self.engine.clone(), layers, self.objects.clone(), self.unknown.clone(), self.search.clone());
        *lock(&new.touched) = self.touched();
        new
    }

    /// Why a value can't be known before the run, if such a value was used.
    pub(crate) fn touched(&self) -> Option<String> {
        lock(&self.touched).clone()
    }

    /// The variable before templating.
    pub(crate) fn raw(&self, name: &str) -> Option<&Json> {
        self.layers.iter().find_map(|l| l.get(name))
    }

    /// A variable, templated.
    pub(crate) fn variable(self: &Arc<Self>, name: &str) -> Option<Value> {
        if let Some(object) = self.objects.get(name) {
            return Some(object.clone());
        }
        if let Some(why) = self.unknown.get(name) {
            lock(&self.touched).get_or_insert_with(|| why.clone());
            return None;
        }
        if let Some(known) = lock(&self.cache).get(name) {
            return known.clone();
        }
        if name == "vars" {
            let all: Vars =
                self.layers.iter().rev().flat_map(|l| l.iter().map(|(k, v)| (k.clone(), v.clone()))).collect();
            return Some(Value::from_serialize(&all));
        }
        let raw = self.raw(name)?;
        let value = match self.value(raw) {
            Ok(v) => Some(v),
            Err(e) if e.undefined => {
                lock(&self.nested).get_or_insert_with(|| format!("{} (in the variable `{name}`)", e.message));
                None
            }
            Err(e) => Some(Value::from(Error::new(
                ErrorKind::InvalidOperation,
                format!("{} (in the variable `{name}`)", e.message),
            ))),
        };
        lock(&self.cache).insert(name.to_owned(), value.clone());
        value
    }

    fn value(self: &Arc<Self>, raw: &Json) -> Result<Value, RenderError> {
        if !templated(raw) {
            return Ok(Value::from_serialize(raw));
        }
        if let Json::String(s) = raw {
            return self.text_value(s);
        }
        Ok(Value::from_serialize(self.render(raw)?))
    }

    /// Templates everything inside a value.
    pub(crate) fn render(self: &Arc<Self>, raw: &Json) -> Result<Json, RenderError> {
        Ok(match raw {
            Json::String(s) if is_template(s) => python::to_json(&self.text_value(s)?),
            Json::Array(items) => Json::Array(items.iter().map(|v| self.render(v)).collect::<Result<_, _>>()?),
            Json::Object(map) => {
                let mut out = Map::new();
                for (k, v) in map {
                    let key = if is_template(k) { self.render_text(k)? } else { k.clone() };
                    out.insert(key, self.render(v)?);
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
        Ok(python::text(&self.text_value(raw)?))
    }

    fn root(self: &Arc<Self>) -> Value {
        Value::from_dyn_object(DynObject::new(self.clone()))
    }

    /// A text: an expression alone keeps its type, anything else becomes text.
    fn text_value(self: &Arc<Self>, source: &str) -> Result<Value, RenderError> {
        if !is_template(source) {
            return Ok(Value::from(source));
        }
        let Some(_deeper) = Deeper::enter() else {
            return Err(RenderError { message: "variables refer to each other in a circle".into(), undefined: false });
        };
        if let Some(inner) = single(source) {
            if self.engine.strict.compile_expression(inner).is_ok() {
                return self.expression(inner);
            }
        }
        let text = self.retrying(source, |env| {
            let template = env.template_from_str(source)?;
            template.render(self.root()).map_err(|e| self.name_undefined(e, || template.undeclared_variables(true)))
        })?;
        Ok(Value::from(text))
    }

    fn expression(self: &Arc<Self>, source: &str) -> Result<Value, RenderError> {
        if !balanced(source) {
            return Err(RenderError {
                message: format!("`{source}` closes a bracket that is not open"),
                undefined: false,
            });
        }
        self.retrying(source, |env| {
            let compiled = env.compile_expression(source)?;
            let value = compiled
                .eval(self.root())
                .map_err(|e| self.name_undefined(e, || compiled.undeclared_variables(true)))?;
            if value.is_undefined() {
                let e = Error::from(ErrorKind::UndefinedError);
                return Err(self.name_undefined(e, || compiled.undeclared_variables(true)));
            }
            Ok(value)
        })
    }

    /// Evaluates a condition of `when`, `until`, `changed_when`, ...
    pub(crate) fn test(self: &Arc<Self>, condition: &Json) -> Result<bool, RenderError> {
        let text = match condition {
            Json::Bool(b) => return Ok(*b),
            Json::Null => return Ok(true),
            Json::Number(n) => return Ok(n.as_f64() != Some(0.0)),
            Json::String(s) if s.trim().is_empty() => return Ok(true),
            Json::String(s) if is_template(s) => match self.render(condition)? {
                Json::String(rendered) if rendered != *s => rendered,
                other => return self.test(&other),
            },
            Json::String(s) => s.clone(),
            Json::Array(all) => {
                for c in all {
                    if !self.test(c)? {
                        return Ok(false);
                    }
                }
                return Ok(true);
            }
            Json::Object(_) => {
                return Err(RenderError { message: "a condition can't be a mapping".into(), undefined: false });
            }
        };
        let Some(_deeper) = Deeper::enter() else {
            return Err(RenderError { message: "variables refer to each other in a circle".into(), undefined: false });
        };
        let value = self.expression(text.trim()).map_err(|e| RenderError {
            message: format!("the condition `{}` can't be evaluated: {}", text.trim(), e.message),
            ..e
        })?;
        Ok(match value.as_str() {
            Some(s) => python::truthy(&Json::from(s)).unwrap_or(!s.is_empty()),
            None => value.is_true(),
        })
    }

    /// Renders a template file's text.
    pub(crate) fn render_file(self: &Arc<Self>, source: &str) -> Result<String, RenderError> {
        let (header, body) = match source.strip_prefix("#jinja2:") {
            Some(rest) => rest.split_once('\n').unwrap_or((rest, "")),
            None => ("", source),
        };
        let changed = !header.is_empty()
            || [
                "{% include",
                "{% import",
                "{% from",
                "{% extends",
                "{%- include",
                "{%- import",
                "{%- from",
                "{%- extends",
            ]
            .iter()
            .any(|t| body.contains(t));
        let Some(_deeper) = Deeper::enter() else {
            return Err(RenderError { message: "templates include each other in a circle".into(), undefined: false });
        };
        self.retrying(source, |env| {
            let own;
            let env = if changed {
                own = self.special(env, header)?;
                &own
            } else {
                env
            };
            let template = env.template_from_str(body)?;
            template.render(self.root()).map_err(|e| self.name_undefined(e, || template.undeclared_variables(true)))
        })
    }

    fn special(self: &Arc<Self>, env: &Environment<'static>, header: &str) -> Result<Environment<'static>, Error> {
        let mut env = env.clone();
        let search = self.search.clone();
        env.set_loader(move |name| match search.find("templates", name) {
            Ok(path) => std::fs::read_to_string(&path)
                .map(Some)
                .map_err(|e| Error::new(ErrorKind::TemplateNotFound, format!("{}: {e}", path.display()))),
            Err(_) => Ok(None),
        });
        let mut syntax = minijinja::syntax::SyntaxConfig::builder();
        let mut delims: BTreeMap<&str, String> = BTreeMap::new();
        for option in header.split(',').filter(|o| !o.trim().is_empty()) {
            let (key, value) = option.split_once(':').unwrap_or((option, ""));
            let value = value.trim().trim_matches(|c| c == '\'' || c == '"');
            let yes = python::truthy(&Json::from(value)).unwrap_or(false);
            match key.trim() {
                "trim_blocks" => env.set_trim_blocks(yes),
                "lstrip_blocks" => env.set_lstrip_blocks(yes),
                "keep_trailing_newline" => env.set_keep_trailing_newline(yes),
                key => {
                    delims.insert(key, value.to_owned());
                }
            }
        }
        if !delims.is_empty() {
            let get = |k: &str, d: &str| delims.get(k).cloned().unwrap_or_else(|| d.to_owned());
            syntax.variable_delimiters(get("variable_start_string", "{{"), get("variable_end_string", "}}"));
            syntax.block_delimiters(get("block_start_string", "{%"), get("block_end_string", "%}"));
            syntax.comment_delimiters(get("comment_start_string", "{#"), get("comment_end_string", "#}"));
            env.set_syntax(syntax.build()?);
        }
        Ok(env)
    }

    /// Strict first. Where a source handles undefined values itself, attributes of them may be undefined too.
    fn retrying<T>(
        self: &Arc<Self>,
        source: &str,
        render: impl Fn(&Environment<'static>) -> Result<T, Error>,
    ) -> Result<T, RenderError> {
        *lock(&self.nested) = None;
        let first = match render(&self.engine.strict) {
            Ok(v) => return Ok(v),
            Err(e) => e,
        };
        let handles = ["default", "defined", "| d(", "|d("].iter().any(|w| source.contains(w));
        if first.kind() == ErrorKind::UndefinedError && handles {
            if let Ok(v) = render(&self.engine.chain) {
                return Ok(v);
            }
        }
        Err(describe(&first))
    }

    fn name_undefined(
        self: &Arc<Self>,
        error: Error,
        variables: impl FnOnce() -> std::collections::HashSet<String>,
    ) -> Error {
        if error.kind() != ErrorKind::UndefinedError {
            return error;
        }
        if let Some(nested) = lock(&self.nested).clone() {
            return Error::new(ErrorKind::UndefinedError, nested);
        }
        let mut names: Vec<String> = variables().into_iter().collect();
        names.sort();
        let missing = names.iter().find(|name| {
            let mut value = self.root();
            for part in name.split('.') {
                value = match value.get_attr(part) {
                    Ok(v) => v,
                    Err(_) => return true,
                };
                if value.is_undefined() {
                    // Methods of Python's types look like attributes here, and globals like variables.
                    return self.engine.strict.globals().all(|(g, _)| g != part);
                }
            }
            false
        });
        match missing {
            Some(name) => Error::new(ErrorKind::UndefinedError, format!("`{name}` is undefined")),
            None => error,
        }
    }
}

fn describe(error: &Error) -> RenderError {
    let undefined = error.kind() == ErrorKind::UndefinedError;
    let mut message = match error.detail() {
        Some(detail) => detail.to_owned(),
        None => error.kind().to_string(),
    };
    if !undefined {
        if let Some(line) = error.line().filter(|l| *l > 1) {
            message.push_str(&format!(" (line {line} of the template)"));
        }
    }
    let mut source = std::error::Error::source(error);
    while let Some(s) = source {
        message.push_str(&format!(": {s}"));
        source = s.source();
    }
    RenderError { message, undefined }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_template(s: &str) -> bool {
    s.contains("{{") || s.contains("{%") || s.contains("{#")
}

fn templated(v: &Json) -> bool {
    match v {
        Json::String(s) => is_template(s),
        Json::Array(a) => a.iter().any(templated),
        Json::Object(m) => m.iter().any(|(k, v)| is_template(k) || templated(v)),
        _ => false,
    }
}

/// The expression of a text that is one expression and nothing else.
fn single(source: &str) -> Option<&str> {
    let inner = source.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    if source.ends_with('\n') {
        return None;
    }
    let inner = inner.strip_prefix('-').unwrap_or(inner);
    let inner = inner.strip_suffix('-').unwrap_or(inner).trim();
    balanced(inner).then_some(inner)
}

/// Whether no bracket closes before it opened. The parser of expressions wants that, and so it tells `{{ a }} {{ b }}`.
fn balanced(expression: &str) -> bool {
    let (mut depth, mut quote, mut escaped) = (0i32, None, false);
    for c in expression.chars() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(q), c) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '{' | '[' | '(') => depth += 1,
            (None, '}' | ']' | ')') => depth -= 1,
            _ => {}
        }
        if depth < 0 {
            return false;
        }
    }
    true
}

/// Removes arguments that are `omit`.
pub(crate) fn drop_omitted(value: Json) -> Json {
    match value {
        Json::Object(map) => Json::Object(
            map.into_iter().filter(|(_, v)| v.as_str() != Some(OMIT)).map(|(k, v)| (k, drop_omitted(v))).collect(),
        ),
        Json::Array(items) => {
            Json::Array(items.into_iter().filter(|v| v.as_str() != Some(OMIT)).map(drop_omitted).collect())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use serde_json::json;

    use super::*;

    fn scope(vars: Json) -> Arc<Scope> {
        let layer = Arc::new(vars.as_object().unwrap().clone());
        Scope::new(Arc::new(Engine::new()), vec![layer], HashMap::new(), Arc::default(), Search::default())
    }

    #[test]
    fn values_keep_their_types() {
        let s = scope(json!({"n": 3, "l": [1, "a"], "t": "{{ n }}", "d": {"k": "{{ t + 1 }}"}, "e": "{{ l }} x"}));
        assert_eq!(s.render(&json!("{{ t }}")).unwrap(), json!(3));
        assert_eq!(s.render(&json!("{{ d.k }}")).unwrap(), json!(4));
        assert_eq!(s.render(&json!("{{ e }}")).unwrap(), json!("[1, 'a'] x"));
        assert_eq!(s.render(&json!({"a": ["{{ n }}-{{ n > 2 }}"]})).unwrap(), json!({"a": ["3-True"]}));
    }

    #[test]
    fn undefined_is_named() {
        let s = scope(json!({"a": {"b": 1}, "n": "{{ gone }}"}));
        for (source, name) in [("{{ nope }}", "nope"), ("x {{ a.c }}", "a.c"), ("{{ n }}", "gone")] {
            let e = s.render(&json!(source)).unwrap_err();
            assert!(e.undefined && e.message.contains(name), "{source}: {e}");
        }
        assert_eq!(s.render(&json!("{{ nope.x.y | default('z') }}")).unwrap(), json!("z"));
        assert_eq!(s.render(&json!("{{ n | default('z') }}")).unwrap(), json!("z"));
        assert!(!s.test(&json!("nope is defined")).unwrap());
        assert!(s.test(&json!("nope is not defined and a.b == 1")).unwrap());
        assert!(s.test(&json!("nope")).is_err());
        let circle = scope(json!({"a": "{{ b }}", "b": "{{ a }}"}));
        assert!(circle.render(&json!("{{ a }}")).unwrap_err().message.contains("circle"));
    }

    #[test]
    fn files_keep_newlines_as_ansible_does() {
        let s = scope(json!({"l": [1, 2]}));
        assert_eq!(s.render_file("{% for i in l %}\n{{ i }}\n{% endfor %}\nend\n").unwrap(), "1\n2\nend\n");
        assert_eq!(s.render_file("a\n  {% if true %}\nb\n  {% endif %}\n").unwrap(), "a\n  b\n  ");
        assert_eq!(
            s.render_file("#jinja2: lstrip_blocks: True\na\n  {% if true %}\nb\n  {% endif %}\n").unwrap(),
            "a\nb\n"
        );
    }

    #[test]
    fn filters_work() {
        let s = scope(json!({"l": ["b", "a", "b"], "d": {"x": 1}, "s": "Hello"}));
        for (source, want) in [
            ("{{ l | unique | join(',') }}", json!("b,a")),
            ("{{ d | combine({'y': 2}) }}", json!({"x": 1, "y": 2})),
            ("{{ d | dict2items }}", json!([{"key": "x", "value": 1}])),
            ("{{ s | regex_replace('l+(.)', 'L\\\\1') }}", json!("HeLo")),
            ("{{ s | b64encode | b64decode }}", json!("Hello")),
            ("{{ 'yes' | bool }}", json!(true)),
            ("{{ (s == 'Hello') | ternary('y', 'n') }}", json!("y")),
            ("{{ l | difference(['a']) }}", json!(["b"])),
            ("{{ '/a/b.c' | basename }}", json!("b.c")),
            ("{{ d | to_json }}", json!("{\"x\": 1}")),
            ("{{ s | hash('sha1') }}", json!("f7ff9e8b7bb2e09b70935a5d785e0cc5d9d0abf0")),
            ("{{ 'it''s' | quote }}", json!("its")),
            ("{{ [1, [2, [3]]] | flatten }}", json!([1, 2, 3])),
            ("{{ s.lower() }}", json!("hello")),
            ("{{ '12' | int + 1 }}", json!(13)),
            ("{{ '1.10.2' is version('1.9', '>=') }}", json!(true)),
            ("{{ s is match('He') and s is not search('xx') }}", json!(true)),
        ] {
            assert_eq!(s.render(&json!(source)).unwrap_or_else(|e| panic!("{source}: {e}")), want, "{source}");
        }
    }
}
