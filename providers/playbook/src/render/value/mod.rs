//! Values as Python has them: lists and dictionaries that are shared and can change, tuples, undefined values that say
//! what is missing. `minijinja` has none of these, which is why it does not evaluate here.

mod dict;
mod json;
mod number;
mod object;
mod ops;
mod order;
mod show;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) use dict::{Dict, Key};
pub(crate) use json::to_json;
pub(crate) use number::{float_text, parse_float, parse_int};
pub(crate) use object::{Args, Object, native, native_pure};
pub(crate) use ops::{Binary, binary, contains, item, negate, slice};
pub(crate) use order::{compare, equal, less, sort_by};
pub(crate) use show::{repr, text};

use super::error::{Error, Out};

/// Longest text or list that an expression may make by repetition or padding.
pub(crate) const MOST: usize = 64 << 20;

/// Where a text comes from; Ansible has a type for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain,
    /// Escaped already: `Markup`.
    Safe,
    /// From the outside world: never a template, even where it looks like one.
    Outside,
    /// Stays a text, even where it looks like a list.
    Fixed,
}

#[derive(Clone)]
pub(crate) enum Value {
    /// With the message that its use gives.
    Undefined(Arc<Missing>),
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(Arc<str>, Kind),
    Bytes(Arc<[u8]>),
    List(Arc<Mutex<Vec<Value>>>),
    Tuple(Arc<[Value]>),
    Dict(Arc<Mutex<Dict>>),
    Object(Arc<dyn Object>),
}

/// What an undefined value would say.
#[derive(Debug)]
pub(crate) struct Missing {
    pub(crate) message: String,
    /// The name or attribute that is missing.
    pub(crate) name: String,
    /// An `if` without `else`: empty where it is used, not an error.
    pub(crate) lenient: bool,
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undefined(m) => write!(f, "Undefined({})", m.message),
            other => f.write_str(&repr(other)),
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Value {
    pub(crate) fn undefined(message: impl Into<String>, name: impl Into<String>) -> Self {
        Self::Undefined(Arc::new(Missing { message: message.into(), name: name.into(), lenient: false }))
    }

    /// What an `if` without `else` gives.
    pub(crate) fn absent() -> Self {
        let message = "the inline if-expression evaluated to false and no else section was defined.".into();
        Self::Undefined(Arc::new(Missing { message, name: String::new(), lenient: true }))
    }

    pub(crate) fn list(items: Vec<Self>) -> Self {
        Self::List(Arc::new(Mutex::new(items)))
    }

    pub(crate) fn tuple(items: Vec<Self>) -> Self {
        Self::Tuple(items.into())
    }

    pub(crate) fn dict(dict: Dict) -> Self {
        Self::Dict(Arc::new(Mutex::new(dict)))
    }

    pub(crate) fn pairs<K: Into<Value>>(pairs: impl IntoIterator<Item = (K, Value)>) -> Self {
        Self::dict(pairs.into_iter().map(|(k, v)| (Key(k.into()), v)).collect())
    }

    pub(crate) fn safe(text: impl Into<Arc<str>>) -> Self {
        Self::Str(text.into(), Kind::Safe)
    }

    pub(crate) fn outside(text: impl Into<Arc<str>>) -> Self {
        Self::Str(text.into(), Kind::Outside)
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(s, _) => Some(s),
            _ => None,
        }
    }

    pub(crate) fn is_undefined(&self) -> bool {
        matches!(self, Self::Undefined(_))
    }

    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// The number, where Python takes a boolean for one too.
    pub(crate) fn as_int(&self) -> Option<i128> {
        match self {
            Self::Int(i) => Some(*i),
            Self::Bool(b) => Some(i128::from(*b)),
            _ => None,
        }
    }

    pub(crate) fn as_float(&self) -> Option<f64> {
        match self {
            Self::Float(f) => Some(*f),
            other => other.as_int().map(|i| i as f64),
        }
    }

    /// The value, or the error of using an undefined one.
    pub(crate) fn defined(&self) -> Result<&Self, Error> {
        match self {
            Self::Undefined(m) if !m.lenient => Err(Error::undefined(m.message.clone())),
            other => Ok(other),
        }
    }

    /// Python's `bool()`.
    pub(crate) fn truth(&self) -> Result<bool, Error> {
        Ok(match self {
            Self::Undefined(_) => return self.defined().map(|_| false),
            Self::None => false,
            Self::Bool(b) => *b,
            Self::Int(i) => *i != 0,
            Self::Float(f) => *f != 0.0,
            Self::Str(s, _) => !s.is_empty(),
            Self::Bytes(b) => !b.is_empty(),
            Self::List(l) => !lock(l).is_empty(),
            Self::Tuple(t) => !t.is_empty(),
            Self::Dict(d) => !lock(d).is_empty(),
            Self::Object(o) => o.truth(),
        })
    }

    /// The name of its type in Python.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Undefined(_) => "AnsibleUndefined",
            Self::None => "NoneType",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Str(_, Kind::Plain) => "str",
            Self::Str(_, Kind::Safe) => "Markup",
            Self::Str(_, Kind::Outside) => "AnsibleUnsafeText",
            Self::Str(_, Kind::Fixed) => "NativeJinjaUnsafeText",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "list",
            Self::Tuple(_) => "tuple",
            Self::Dict(_) => "dict",
            Self::Object(o) => o.type_name(),
        }
    }

    /// Its elements: characters of a text, keys of a dictionary.
    pub(crate) fn iter(&self) -> Result<Vec<Self>, Error> {
        match self {
            Self::Undefined(_) => self.defined().map(|_| Vec::new()),
            Self::Str(s, _) => Ok(s.chars().map(|c| Self::from(c.to_string())).collect()),
            Self::Bytes(b) => Ok(b.iter().map(|b| Self::Int(i128::from(*b))).collect()),
            Self::List(l) => Ok(lock(l).clone()),
            Self::Tuple(t) => Ok(t.to_vec()),
            Self::Dict(d) => Ok(lock(d).keys().map(|k| k.0.clone()).collect()),
            Self::Object(o) => o.iter().ok_or_else(|| self.not_iterable()),
            _ => Err(self.not_iterable()),
        }
    }

    fn not_iterable(&self) -> Error {
        Error::typed(format!("'{}' object is not iterable", self.type_name()))
    }

    pub(crate) fn len(&self) -> Result<usize, Error> {
        Ok(match self {
            Self::Undefined(_) => return self.defined().map(|_| 0),
            Self::Str(s, _) => s.chars().count(),
            Self::Bytes(b) => b.len(),
            Self::List(l) => lock(l).len(),
            Self::Tuple(t) => t.len(),
            Self::Dict(d) => lock(d).len(),
            Self::Object(o) => match o.len() {
                Some(n) => n,
                None => return Err(Error::typed(format!("object of type '{}' has no len()", self.type_name()))),
            },
            _ => return Err(Error::typed(format!("object of type '{}' has no len()", self.type_name()))),
        })
    }

    pub(crate) fn is_sequence(&self) -> bool {
        matches!(self, Self::List(_) | Self::Tuple(_))
            || matches!(self, Self::Object(o) if o.iter().is_some() && !o.is_mapping())
    }

    pub(crate) fn is_mapping(&self) -> bool {
        matches!(self, Self::Dict(_)) || matches!(self, Self::Object(o) if o.is_mapping())
    }

    /// The pairs of a mapping.
    pub(crate) fn entries(&self) -> Option<Vec<(Self, Self)>> {
        match self {
            Self::Dict(d) => Some(lock(d).iter().map(|(k, v)| (k.0.clone(), v.clone())).collect()),
            Self::Object(o) if o.is_mapping() => {
                Some(o.iter()?.into_iter().filter_map(|k| o.get_value(&k).map(|v| (k, v))).collect())
            }
            _ => None,
        }
    }

    /// The value under a text key of a mapping.
    pub(crate) fn get(&self, key: &str) -> Option<Self> {
        match self {
            Self::Dict(d) => lock(d).get(key).cloned(),
            Self::Object(o) if o.is_mapping() => o.get_value(&Self::from(key)),
            _ => None,
        }
    }

    /// The same object, as Python's `is` tells.
    pub(crate) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, Self::None) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int(a), Self::Int(b)) => a == b && (-5..=256).contains(a),
            (Self::Str(a, _), Self::Str(b, _)) => a == b,
            (Self::List(a), Self::List(b)) => Arc::ptr_eq(a, b),
            (Self::Dict(a), Self::Dict(b)) => Arc::ptr_eq(a, b),
            (Self::Tuple(a), Self::Tuple(b)) => Arc::ptr_eq(a, b),
            (Self::Object(a), Self::Object(b)) => std::ptr::addr_eq(Arc::as_ptr(a), Arc::as_ptr(b)),
            (Self::Float(a), Self::Float(b)) => a == b,
            _ => false,
        }
    }

    /// `value.name` of Jinja: the attribute, then the item.
    pub(crate) fn attribute(&self, name: &str) -> Out {
        match self {
            Self::Undefined(_) => Ok(self.clone()),
            Self::Dict(d) => Ok(lock(d).get(name).cloned().unwrap_or_else(|| self.lacks(name))),
            Self::Object(o) => Ok(o.get_value(&Self::from(name)).unwrap_or_else(|| o.missing(name))),
            other => Ok(match name {
                "__class__" => Self::safe(format!("<class '{}'>", other.type_name())),
                _ => self.lacks(name),
            }),
        }
    }

    /// What a missing attribute is.
    pub(crate) fn lacks(&self, name: &str) -> Self {
        let what = match self {
            Self::None => "'None'".to_owned(),
            Self::Str(_, Kind::Outside) => "'ansible.utils.unsafe_proxy.AnsibleUnsafeText object'".to_owned(),
            Self::Str(_, Kind::Safe) => "'markupsafe.Markup object'".to_owned(),
            other => format!("'{} object'", other.type_name()),
        };
        Self::undefined(format!("{what} has no attribute '{name}'"), name)
    }
}

impl From<&str> for Value {
    fn from(s: &str) -> Self {
        Self::Str(s.into(), Kind::Plain)
    }
}

impl From<String> for Value {
    fn from(s: String) -> Self {
        Self::Str(s.into(), Kind::Plain)
    }
}

impl From<bool> for Value {
    fn from(b: bool) -> Self {
        Self::Bool(b)
    }
}

impl From<i128> for Value {
    fn from(i: i128) -> Self {
        Self::Int(i)
    }
}

impl From<i64> for Value {
    fn from(i: i64) -> Self {
        Self::Int(i128::from(i))
    }
}

impl From<usize> for Value {
    fn from(i: usize) -> Self {
        Self::Int(i as i128)
    }
}

impl From<f64> for Value {
    fn from(f: f64) -> Self {
        Self::Float(f)
    }
}

impl From<Vec<Value>> for Value {
    fn from(items: Vec<Value>) -> Self {
        Self::list(items)
    }
}
