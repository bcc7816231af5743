//! What the result of a template is: mostly text, but a list where it looks like one.

use towpath_core::Json;

use super::error::Out;
use super::eval::check;
use super::literal;
use super::value::{Kind, Value, text};

/// What `omit` is; arguments of this value are left out.
pub(crate) const OMIT: &str = "__omit_place_holder__towpath";

/// The result of a template that is one expression. `fixed` where it ends in a filter that makes text.
pub(super) fn finish(value: Value, fixed: bool) -> Out {
    check(&value, 0)?;
    Ok(match value {
        Value::Undefined(_) | Value::None => Value::from(""),
        Value::Bool(_) => value,
        Value::Str(_, Kind::Fixed) => value,
        Value::Str(s, kind) => match if fixed { None } else { literal::evaluate(&s) } {
            Some(v) => v,
            None => Value::Str(s, if kind == Kind::Outside { kind } else { Kind::Plain }),
        },
        Value::List(_) | Value::Dict(_) if !fixed && plain(&value, 0) => value,
        Value::Object(ref o) if !fixed && o.is_mapping() => Value::pairs(value.entries().unwrap_or_default()),
        Value::Object(ref o) if !fixed && o.iter().is_some() => match o.type_name() {
            "_GroupTuple" => Value::from(text(&value)),
            _ => Value::list(value.iter()?),
        },
        other => of_text(text(&other), fixed),
    })
}

/// The result of a template that is more than one expression.
pub(super) fn of_text(s: String, fixed: bool) -> Value {
    match if fixed { None } else { literal::evaluate(&s) } {
        Some(v) => v,
        None => Value::from(s),
    }
}

/// Whether a value is the same after it was written and read.
fn plain(v: &Value, depth: usize) -> bool {
    if depth > 60 {
        return false;
    }
    match v {
        Value::None | Value::Bool(_) | Value::Int(_) => true,
        Value::Float(f) => f.is_finite(),
        Value::Str(_, k) => *k != Kind::Safe,
        Value::List(_) | Value::Tuple(_) => v.iter().is_ok_and(|all| all.iter().all(|v| plain(v, depth + 1))),
        Value::Dict(_) => {
            v.entries().unwrap_or_default().iter().all(|(k, v)| plain(k, depth + 1) && plain(v, depth + 1))
        }
        Value::Object(o) => o.type_name() == "_GroupTuple",
        Value::Undefined(_) | Value::Bytes(_) => false,
    }
}

/// Ansible's reading of a boolean argument; `None` if it is none.
pub(crate) fn truthy(value: &Json) -> Option<bool> {
    match value {
        Json::Bool(b) => Some(*b),
        Json::Number(n) => match n.as_f64() {
            Some(1.0) => Some(true),
            Some(0.0) => Some(false),
            _ => None,
        },
        Json::String(s) => match s.trim().to_ascii_lowercase().as_str() {
            "yes" | "y" | "on" | "true" | "t" | "1" | "1.0" => Some(true),
            "no" | "n" | "off" | "false" | "f" | "0" | "0.0" => Some(false),
            _ => None,
        },
        _ => None,
    }
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
