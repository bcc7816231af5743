//! Values that are code: functions, `hostvars`, loops, macros.

use std::fmt;
use std::sync::Arc;

use super::Value;
use crate::render::error::{Error, Out};
use crate::render::eval::State;

/// A value with its own behaviour.
pub(crate) trait Object: fmt::Debug + Send + Sync {
    fn type_name(&self) -> &'static str {
        "object"
    }

    /// An attribute or item.
    fn get_value(&self, _key: &Value) -> Option<Value> {
        None
    }

    /// What an attribute is that there is not.
    fn missing(&self, name: &str) -> Value {
        Value::undefined(format!("'{} object' has no attribute '{name}'", self.type_name()), name)
    }

    /// Sets an attribute.
    fn set(&self, name: &str, _value: Value) -> Result<(), Error> {
        Err(Error::other(format!("can't set `{name}` of a {}", self.type_name())))
    }

    /// Its elements, or the keys if it is a mapping.
    fn iter(&self) -> Option<Vec<Value>> {
        None
    }

    fn len(&self) -> Option<usize> {
        self.iter().map(|i| i.len())
    }

    fn is_mapping(&self) -> bool {
        false
    }

    fn truth(&self) -> bool {
        self.len().is_none_or(|n| n > 0)
    }

    fn callable(&self) -> bool {
        false
    }

    fn call(&self, _state: &mut State, _args: Args) -> Out {
        Err(Error::typed(format!("'{}' object is not callable", self.type_name())))
    }

    fn method(&self, state: &mut State, name: &str, args: Args) -> Out {
        match self.get_value(&Value::from(name)) {
            Some(f) => state.call(&f, args),
            None => self.missing(name).defined().cloned(),
        }
    }

    fn repr(&self) -> String {
        format!("<{}>", self.type_name())
    }
}

/// What a function, filter or test is called with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Args {
    pub(crate) pos: Vec<Value>,
    pub(crate) named: Vec<(Arc<str>, Value)>,
    /// The names that were asked for.
    taken: usize,
}

impl Args {
    pub(crate) fn new(pos: Vec<Value>, named: Vec<(Arc<str>, Value)>) -> Self {
        Self { pos, named, taken: 0 }
    }

    /// The next argument, by place or by name.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        if let Some(v) = self.pos.get_mut(self.taken) {
            self.taken += 1;
            return Some(std::mem::replace(v, Value::None));
        }
        self.taken += 1;
        self.named(name)
    }

    /// An argument that only has a name.
    pub(crate) fn named(&mut self, name: &str) -> Option<Value> {
        let at = self.named.iter().position(|(n, _)| n.as_ref() == name)?;
        Some(self.named.remove(at).1)
    }

    /// The next argument, which must be there.
    pub(crate) fn need(&mut self, name: &str) -> Out {
        self.take(name).ok_or_else(|| Error::typed(format!("missing 1 required positional argument: '{name}'")))
    }

    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, Error> {
        match self.take(name) {
            None | Some(Value::None) => Ok(None),
            Some(v) => Ok(Some(super::text(v.defined()?))),
        }
    }

    pub(crate) fn flag(&mut self, name: &str, default: bool) -> Result<bool, Error> {
        self.take(name).map_or(Ok(default), |v| v.truth())
    }

    pub(crate) fn int(&mut self, name: &str, default: i128) -> Result<i128, Error> {
        match self.take(name) {
            None | Some(Value::None) => Ok(default),
            Some(v) => match v.defined()?.as_int() {
                Some(i) => Ok(i),
                None => v.as_str().and_then(|s| s.trim().parse().ok()).ok_or_else(|| {
                    Error::typed(format!("'{}' object cannot be interpreted as an integer", v.type_name()))
                }),
            },
        }
    }

    /// The arguments by place that were not taken.
    pub(crate) fn rest(&mut self) -> Vec<Value> {
        let at = self.taken.min(self.pos.len());
        self.pos.split_off(at)
    }

    /// Refuses names that nobody asked for.
    pub(crate) fn end_named(&self, who: &str) -> Result<(), Error> {
        match self.named.first() {
            Some((name, _)) => Err(Error::typed(format!("{who}() got an unexpected keyword argument '{name}'"))),
            None => Ok(()),
        }
    }

    /// Refuses what nobody asked for.
    pub(crate) fn end(&self, who: &str) -> Result<(), Error> {
        self.end_named(who)?;
        if self.pos.len() > self.taken {
            let (most, given) = (self.taken, self.pos.len());
            return Err(Error::typed(format!("{who}() takes {most} positional arguments but {given} were given")));
        }
        Ok(())
    }
}

type Code = dyn Fn(&mut State, Args) -> Out + Send + Sync;

struct Native {
    name: &'static str,
    code: Box<Code>,
}

impl fmt::Debug for Native {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<function {}>", self.name)
    }
}

impl Object for Native {
    fn type_name(&self) -> &'static str {
        "function"
    }

    fn callable(&self) -> bool {
        true
    }

    fn truth(&self) -> bool {
        true
    }

    fn call(&self, state: &mut State, args: Args) -> Out {
        (self.code)(state, args)
    }

    fn repr(&self) -> String {
        format!("<function {}>", self.name)
    }
}

/// A function as a value.
pub(crate) fn native(name: &'static str, code: impl Fn(&mut State, Args) -> Out + Send + Sync + 'static) -> Value {
    Value::Object(Arc::new(Native { name, code: Box::new(code) }))
}

/// A function that looks at its arguments only.
pub(crate) fn native_pure(name: &'static str, code: impl Fn(Args) -> Out + Send + Sync + 'static) -> Value {
    native(name, move |_, args| code(args))
}

impl Value {
    pub(crate) fn object(object: impl Object + 'static) -> Self {
        Self::Object(Arc::new(object))
    }

    pub(crate) fn callable(&self) -> bool {
        matches!(self, Self::Object(o) if o.callable())
    }
}
