//! Dictionaries, in the order in which keys came.

use std::hash::{Hash, Hasher};

use indexmap::{Equivalent, IndexMap};

use super::{Value, equal};
use crate::render::error::Error;

pub(crate) type Dict = IndexMap<Key, Value>;

/// A value that can be a key: equal as Python says, so `1`, `1.0` and `true` are one.
#[derive(Debug, Clone)]
pub(crate) struct Key(pub(crate) Value);

impl Key {
    /// The key of a value, if it can be one.
    pub(crate) fn new(value: Value) -> Result<Self, Error> {
        fn good(v: &Value) -> bool {
            match v {
                Value::List(_) | Value::Dict(_) => false,
                Value::Tuple(t) => t.iter().all(good),
                _ => true,
            }
        }
        value.defined()?;
        if good(&value) {
            Ok(Self(value))
        } else {
            Err(Error::typed(format!("unhashable type: '{}'", value.type_name())))
        }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        equal(&self.0, &other.0)
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash(&self.0, state);
    }
}

fn hash<H: Hasher>(value: &Value, state: &mut H) {
    match value {
        // As `str` hashes itself, so that keys are found by it.
        Value::Str(s, _) => s.hash(state),
        Value::Bool(b) => i128::from(*b).hash(state),
        Value::Int(i) => i.hash(state),
        Value::Float(f) if f.fract() == 0.0 && f.abs() < 1e30 => (*f as i128).hash(state),
        Value::Float(f) => f.to_bits().hash(state),
        Value::Tuple(t) => t.iter().for_each(|v| hash(v, state)),
        Value::Bytes(b) => b.hash(state),
        _ => 0u8.hash(state),
    }
}

impl Equivalent<Key> for str {
    fn equivalent(&self, key: &Key) -> bool {
        key.0.as_str() == Some(self)
    }
}
