//! Filters of lists as sets.

use super::{Filter, items};
use crate::render::error::{Error, Out};
use crate::render::eval::spend;
use crate::render::value::{Args, Value, equal};

pub(super) fn get(name: &str) -> Option<Filter> {
    Some(match name {
        "union" => |_, v, a| set(&v, a, |_, _| true),
        "intersect" => |_, v, a| set(&v, a, |a, b| a && b),
        "difference" => |_, v, a| set(&v, a, |a, b| a && !b),
        "symmetric_difference" => |_, v, a| set(&v, a, |a, b| a != b),
        _ => return None,
    })
}

fn set(v: &Value, mut args: Args, keep: fn(bool, bool) -> bool) -> Out {
    let other = args.need("b")?;
    let (a, b) = (items(v)?, items(&other)?);
    let has = |all: &[Value], v: &Value| -> Result<bool, Error> {
        spend(all.len() / 8)?;
        Ok(all.iter().any(|x| equal(x, v)))
    };
    let mut out: Vec<Value> = Vec::new();
    for v in a.iter().chain(&b) {
        if keep(has(&a, v)?, has(&b, v)?) && !has(&out, v)? {
            out.push(v.clone());
        }
    }
    // Python's sets have no order of their own; of small numbers they come out ascending.
    if out.iter().all(|v| matches!(v, Value::Int(i) if (0..1024).contains(i))) {
        out.sort_by_key(|v| v.as_int());
    }
    Ok(Value::list(out))
}
