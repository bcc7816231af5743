//! Values from and to plain data.

use towpath_core::Json;

use super::{Key, Value, lock, text};

/// Deepest nesting that is followed; a list can hold itself.
const DEEPEST: usize = 120;

impl From<&Json> for Value {
    fn from(json: &Json) -> Self {
        match json {
            Json::Null => Self::None,
            Json::Bool(b) => Self::Bool(*b),
            Json::Number(n) => match (n.as_i64(), n.as_u64()) {
                (Some(i), _) => Self::Int(i128::from(i)),
                (None, Some(u)) => Self::Int(i128::from(u)),
                _ => Self::Float(n.as_f64().unwrap_or(0.0)),
            },
            Json::String(s) => Self::from(s.as_str()),
            Json::Array(items) => Self::list(items.iter().map(Self::from).collect()),
            Json::Object(map) => {
                Self::dict(map.iter().map(|(k, v)| (Key(Self::from(k.as_str())), Self::from(v))).collect())
            }
        }
    }
}

/// A template's value as plain data.
pub(crate) fn to_json(value: &Value) -> Json {
    json(value, 0)
}

fn json(value: &Value, depth: usize) -> Json {
    if depth > DEEPEST {
        return Json::Null;
    }
    match value {
        Value::Undefined(_) | Value::None => Json::Null,
        Value::Bool(b) => Json::Bool(*b),
        Value::Int(i) => match (i64::try_from(*i), u64::try_from(*i)) {
            (Ok(i), _) => Json::from(i),
            (_, Ok(u)) => Json::from(u),
            _ => Json::from(*i as f64),
        },
        Value::Float(f) => serde_json::Number::from_f64(*f).map_or_else(|| Json::from(text(value)), Json::Number),
        Value::Str(s, _) => Json::from(s.as_ref()),
        Value::List(l) => {
            let items = lock(l).clone();
            Json::Array(items.iter().map(|v| json(v, depth + 1)).collect())
        }
        Value::Tuple(t) => Json::Array(t.iter().map(|v| json(v, depth + 1)).collect()),
        Value::Dict(d) => {
            let pairs: Vec<_> = lock(d).iter().map(|(k, v)| (k.0.clone(), v.clone())).collect();
            Json::Object(pairs.iter().map(|(k, v)| (key(k), json(v, depth + 1))).collect())
        }
        Value::Object(o) if o.is_mapping() => Json::Object(
            value.entries().unwrap_or_default().iter().map(|(k, v)| (key(k), json(v, depth + 1))).collect(),
        ),
        Value::Object(o) => match o.iter() {
            Some(items) => Json::Array(items.iter().map(|v| json(v, depth + 1)).collect()),
            None => Json::from(text(value)),
        },
        Value::Bytes(b) => Json::from(String::from_utf8_lossy(b).into_owned()),
    }
}

/// A key as JSON writes it.
pub(crate) fn key(value: &Value) -> String {
    match value {
        Value::None => "null".into(),
        Value::Bool(b) => b.to_string(),
        other => text(other),
    }
}
