//! Equality and order as Python has them.

use std::cmp::Ordering;

use super::{Value, lock};
use crate::render::error::Error;

/// Python's `==`. Undefined values are refused before.
pub(crate) fn equal(a: &Value, b: &Value) -> bool {
    same(a, b, 0)
}

fn all(a: &[Value], b: &[Value], depth: usize) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b, depth + 1))
}

fn same(a: &Value, b: &Value, depth: usize) -> bool {
    if depth > 100 {
        return false;
    }
    match (a, b) {
        (Value::None, Value::None) => true,
        (Value::Str(a, _), Value::Str(b, _)) => a == b,
        (Value::Bytes(a), Value::Bytes(b)) => a == b,
        (Value::List(x), Value::List(y)) => {
            if std::sync::Arc::ptr_eq(x, y) {
                return true;
            }
            let (x, y) = (lock(x).clone(), lock(y).clone());
            all(&x, &y, depth)
        }
        (Value::Tuple(x), Value::Tuple(y)) => all(x, y, depth),
        _ if a.is_mapping() && b.is_mapping() => {
            let (x, y) = (a.entries().unwrap_or_default(), b.entries().unwrap_or_default());
            x.len() == y.len()
                && x.iter().all(|(k, v)| y.iter().any(|(k2, v2)| same(k, k2, depth + 1) && same(v, v2, depth + 1)))
        }
        (Value::Object(_), Value::Object(_)) => match (a, b) {
            (Value::Object(x), Value::Object(y)) if x.type_name() == y.type_name() => match (x.iter(), y.iter()) {
                (Some(x), Some(y)) => all(&x, &y, depth),
                _ => a.same(b) || x.repr() == y.repr() && !x.callable(),
            },
            _ => false,
        },
        _ => match (a.as_int(), b.as_int()) {
            (Some(x), Some(y)) => x == y,
            _ => match (a.as_float(), b.as_float()) {
                (Some(x), Some(y)) => x == y,
                _ => false,
            },
        },
    }
}

fn unordered(op: &str, a: &Value, b: &Value) -> Error {
    Error::typed(format!("'{op}' not supported between instances of '{}' and '{}'", a.type_name(), b.type_name()))
}

fn items(op: &str, a: &[Value], b: &[Value]) -> Result<Option<Ordering>, Error> {
    for (x, y) in a.iter().zip(b) {
        if !equal(x, y) {
            return compare(op, x, y);
        }
    }
    Ok(Some(a.len().cmp(&b.len())))
}

/// The order of two values; `None` for what has none (NaN). `op` is for the message.
pub(crate) fn compare(op: &str, a: &Value, b: &Value) -> Result<Option<Ordering>, Error> {
    a.defined()?;
    b.defined()?;
    match (a, b) {
        (Value::Str(a, _), Value::Str(b, _)) => Ok(Some(a.chars().cmp(b.chars()))),
        (Value::Bytes(a), Value::Bytes(b)) => Ok(Some(a.cmp(b))),
        (Value::List(x), Value::List(y)) => {
            let (x, y) = (lock(x).clone(), lock(y).clone());
            items(op, &x, &y)
        }
        (Value::Tuple(x), Value::Tuple(y)) => items(op, x, y),
        (Value::Object(x), Value::Object(y)) if x.type_name() == y.type_name() => match (x.iter(), y.iter()) {
            (Some(x), Some(y)) => items(op, &x, &y),
            _ => Ok(Some(x.repr().cmp(&y.repr()))),
        },
        _ => match (a.as_int(), b.as_int()) {
            (Some(x), Some(y)) => Ok(Some(x.cmp(&y))),
            _ => match (a.as_float(), b.as_float()) {
                (Some(x), Some(y)) => Ok(x.partial_cmp(&y)),
                _ => Err(unordered(op, a, b)),
            },
        },
    }
}

pub(crate) fn less(a: &Value, b: &Value) -> Result<bool, Error> {
    Ok(compare("<", a, b)? == Some(Ordering::Less))
}

/// A stable sort by a key; the first pair that can't be compared is the error.
pub(crate) fn sort_by(mut items: Vec<(Value, Value)>, reverse: bool) -> Result<Vec<Value>, Error> {
    let mut wrong = None;
    items.sort_by(|(a, _), (b, _)| {
        // Python compares a later element with an earlier one.
        let order = match compare("<", b, a) {
            Ok(o) => o.unwrap_or(Ordering::Equal).reverse(),
            Err(e) => {
                wrong.get_or_insert(e);
                Ordering::Equal
            }
        };
        if reverse { order.reverse() } else { order }
    });
    match wrong {
        Some(e) => Err(e),
        None => Ok(items.into_iter().map(|(_, v)| v).collect()),
    }
}
