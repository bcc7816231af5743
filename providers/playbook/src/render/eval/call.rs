//! Calls of functions, methods, filters and tests.

use std::sync::Arc;

use super::{Deeper, State, spend};
use crate::render::error::{Error, Out};
use crate::render::syntax::{CallArgs, Expr, Node};
use crate::render::value::{Args, Value};
use crate::render::{filters, methods, tests};

impl State {
    pub(super) fn args(&mut self, args: &CallArgs) -> Result<Args, Error> {
        let mut pos = self.all(&args.pos)?;
        let mut named = Vec::with_capacity(args.named.len());
        for (name, e) in &args.named {
            named.push((name.clone(), self.eval(e)?));
        }
        if let Some(more) = &args.more {
            let more = self.eval(more)?.iter()?;
            spend(more.len())?;
            pos.extend(more);
        }
        if let Some(more) = &args.more_named {
            let more = self.eval(more)?;
            let pairs = more.defined()?.entries().ok_or_else(|| Error::typed("argument after ** must be a mapping"))?;
            for (k, v) in pairs {
                let name: Arc<str> = k.as_str().ok_or_else(|| Error::typed("keywords must be strings"))?.into();
                named.retain(|(n, _)| *n != name);
                named.push((name, v));
            }
        }
        Ok(Args::new(pos, named))
    }

    pub(super) fn call_node(&mut self, callee: &Expr, args: &CallArgs) -> Out {
        if let Node::Attr(value, name) = &callee.node {
            let value = self.eval(value)?;
            let args = self.args(args)?;
            return self.call_method(&value, name, args);
        }
        let f = self.eval(callee)?;
        let args = self.args(args)?;
        self.call(&f, args)
    }

    pub(crate) fn call_method(&mut self, value: &Value, name: &str, args: Args) -> Out {
        if methods::has(value, name) {
            return methods::call(value, name, args);
        }
        match value {
            Value::Object(o) => {
                let o = o.clone();
                o.method(self, name, args)
            }
            other => {
                let f = other.attribute(name)?;
                self.call(&f, args)
            }
        }
    }

    /// Calls a value.
    pub(crate) fn call(&mut self, f: &Value, args: Args) -> Out {
        let _deeper = Deeper::enter(2)?;
        spend(0)?;
        match f.defined()? {
            Value::Object(o) => {
                let o = o.clone();
                o.call(self, args)
            }
            other => Err(Error::typed(format!("'{}' object is not callable", other.type_name()))),
        }
    }

    pub(super) fn filter_node(&mut self, input: Option<&Expr>, name: &str, args: &CallArgs) -> Out {
        let value = match input {
            Some(e) => self.eval(e)?,
            None => Value::from(""),
        };
        self.filter_value(value, name, args)
    }

    fn filter_value(&mut self, value: Value, name: &str, args: &CallArgs) -> Out {
        let args = self.args(args)?;
        self.filter(name, value, args)
    }

    /// A filter expression on a text, where it has no input of its own.
    pub(super) fn filter_text(&mut self, e: &Expr, text: String) -> Out {
        let Node::Filter(input, name, args) = &e.node else { return self.eval(e) };
        let value = match input {
            Some(inner) => self.filter_text(inner, text)?,
            None => Value::from(text),
        };
        self.filter_value(value, name, args).map_err(|error| error.or_at(e.at))
    }

    /// Applies a filter by name.
    pub(crate) fn filter(&mut self, name: &str, value: Value, args: Args) -> Out {
        let Some(f) = filters::get(name) else { return Err(not_loaded(name)) };
        spend(value_size(&value))?;
        f(self, value, args)
    }

    /// Applies a test by name.
    pub(crate) fn test(&mut self, name: &str, value: Value, args: Args) -> Out {
        let Some(f) = tests::get(name) else { return Err(not_loaded(name)) };
        spend(0)?;
        f(self, value, args)
    }

    pub(super) fn test_node(&mut self, value: &Expr, name: &str, args: &CallArgs) -> Out {
        let value = self.eval(value)?;
        let args = self.args(args)?;
        self.test(name, value, args)
    }
}

/// How much work a filter has with a value, roughly.
fn value_size(value: &Value) -> usize {
    match value {
        Value::Str(s, _) => s.len() / 64,
        Value::List(_) | Value::Dict(_) | Value::Tuple(_) => value.len().unwrap_or(0),
        _ => 0,
    }
}

fn not_loaded(name: &str) -> Error {
    // Who calls knows where it stands.
    Error { at: None, ..Error::syntax(0, format!("Could not load \"{name}\": '{name}'")) }
}
