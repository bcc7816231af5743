//! Templates that use other templates.

use std::sync::Arc;

use super::{Deeper, Frame, State};
use crate::render::error::{Error, Out};
use crate::render::syntax::{Expr, Template};
use crate::render::value::{Object, Value};

/// What `import` gives: the names that a template sets.
#[derive(Debug)]
struct Module {
    name: Arc<str>,
    frame: Arc<Frame>,
    text: String,
}

impl Object for Module {
    fn type_name(&self) -> &'static str {
        "TemplateModule"
    }

    fn get_value(&self, key: &Value) -> Option<Value> {
        self.frame.get(key.as_str()?)
    }

    fn missing(&self, name: &str) -> Value {
        Value::undefined(format!("the template '{}' does not export the requested name '{name}'", self.name), name)
    }

    fn truth(&self) -> bool {
        true
    }

    fn repr(&self) -> String {
        self.text.clone()
    }
}

impl State {
    /// Reads the template of a name, or the first of several that there is.
    pub(super) fn load(&mut self, name: &Value) -> Result<(Arc<Template>, Arc<str>), Error> {
        let names = match name.defined()? {
            Value::Str(s, _) => vec![s.to_string()],
            other => other.iter()?.iter().map(crate::render::value::text).collect(),
        };
        for one in &names {
            if let Some((template, path)) = self.scope.template(one)? {
                return Ok((template, path.as_str().into()));
            }
        }
        Err(Error::other(names.join(", ")))
    }

    pub(super) fn include(&mut self, name: &Expr, ignore: bool, context: bool) -> Result<(), Error> {
        let _deeper = Deeper::enter(8)?;
        let value = self.eval(name)?;
        let (template, path) = match self.load(&value) {
            Ok(found) => found,
            Err(e) if ignore && e.why == crate::render::error::Why::Other => return Ok(()),
            Err(e) => return Err(e.or_at(name.at)),
        };
        let mut inner = State::new(self.scope.clone(), template, Some(path));
        inner.escape = self.escape;
        inner.frame = if context { Frame::child(&self.frame) } else { Frame::root(false) };
        inner.kept = vec![inner.frame.clone()];
        let text = inner.render()?;
        self.write(&text)
    }

    pub(super) fn import(&mut self, name: &Expr, context: bool) -> Out {
        let _deeper = Deeper::enter(8)?;
        let value = self.eval(name)?;
        let (template, path) = self.load(&value).map_err(|e| e.or_at(name.at))?;
        let mut inner = State::new(self.scope.clone(), template, Some(path.clone()));
        inner.frame = if context { Frame::child(&self.frame) } else { Frame::root(false) };
        let frame = inner.frame.clone();
        inner.kept = vec![frame.clone()];
        let template = inner.template.clone();
        inner.run(&template)?;
        let text = std::mem::take(&mut inner.out);
        self.kept.append(&mut inner.kept);
        self.kept.push(frame.clone());
        Ok(Value::object(Module { name: path, frame, text }))
    }
}
