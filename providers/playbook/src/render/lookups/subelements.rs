//! `subelements`.

use super::Query;
use crate::render::error::Error;
use crate::render::value::{Key, Value, lock, text};

pub(super) fn subelements(q: &mut Query) -> Result<Vec<Value>, Error> {
    let (Some(list), Some(path)) = (q.terms.first(), q.terms.get(1)) else {
        return Err(Error::other("subelements lookup expects a list of two or three items"));
    };
    let skip = match q.terms.get(2) {
        Some(flags) => flags.get("skip_missing").map_or(Ok(false), |v| match v.as_str() {
            Some(s) => Ok(matches!(s.to_lowercase().as_str(), "yes" | "true" | "1" | "on" | "y" | "t")),
            None => v.truth(),
        })?,
        None => false,
    };
    let outer: Vec<Value> = match list.entries() {
        Some(pairs) => pairs.into_iter().map(|(_, v)| v).collect(),
        None if list.is_sequence() => list.iter()?,
        None => return Err(Error::other("subelements lookup expects a dictionary or a list")),
    };
    let path = text(path);
    let keys: Vec<&str> = path.split('.').collect();
    let mut out = Vec::new();
    for one in outer {
        if !one.is_mapping() {
            return Err(Error::other("subelements lookup expects a dictionary in each item"));
        }
        if one.get("skipped").is_some_and(|s| s.truth().unwrap_or(false)) {
            continue;
        }
        let Some(inner) = find(&one, &keys, skip)? else { continue };
        let rest = without(&one, &keys);
        out.extend(inner.iter()?.into_iter().map(|v| Value::tuple(vec![rest.clone(), v])));
    }
    Ok(out)
}

fn find(one: &Value, keys: &[&str], skip: bool) -> Result<Option<Value>, Error> {
    let mut value = one.clone();
    for (i, key) in keys.iter().enumerate() {
        let last = i + 1 == keys.len();
        match value.get(key) {
            Some(v) => value = v,
            None if skip => return Ok(None),
            None => {
                return Err(Error::other(format!(
                    "could not find '{key}' key in iterated item '{}'",
                    crate::render::value::repr(one)
                )));
            }
        }
        let good = if last { value.is_sequence() } else { value.is_mapping() };
        if !good && skip {
            return Ok(None);
        }
        if !good {
            let what = if last { "list" } else { "dictionary" };
            return Err(Error::other(format!(
                "the key {key} should point to a {what}, got '{}'",
                crate::render::value::repr(&value)
            )));
        }
    }
    Ok(Some(value))
}

/// The element without the list that was taken out of it.
fn without(one: &Value, keys: &[&str]) -> Value {
    let copy = Value::pairs(one.entries().unwrap_or_default());
    let (Value::Dict(d), Some((key, rest))) = (&copy, keys.split_first()) else { return copy };
    if rest.is_empty() {
        lock(d).shift_remove(*key);
    } else {
        let inner = lock(d).get(*key).cloned();
        if let Some(inner) = inner {
            let inner = without(&inner, rest);
            lock(d).insert(Key(Value::from(*key)), inner);
        }
    }
    copy
}
