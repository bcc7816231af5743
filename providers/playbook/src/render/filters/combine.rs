//! `combine`.

use super::Filter;
use crate::render::error::{Error, Out};
use crate::render::eval::{State, spend};
use crate::render::value::{Args, Value, equal, lock};

pub(super) fn get(name: &str) -> Option<Filter> {
    (name == "combine").then_some(combine as Filter)
}

fn combine(_: &mut State, v: Value, mut args: Args) -> Out {
    let recursive = args.named("recursive").map_or(Ok(false), |v| v.truth())?;
    let how = args.named("list_merge").map_or_else(|| "replace".to_owned(), |v| crate::render::value::text(&v));
    if !matches!(how.as_str(), "replace" | "keep" | "append" | "prepend" | "append_rp" | "prepend_rp") {
        return Err(Error::other(
            "merge_hash: 'list_merge' argument can only be equal to 'replace', 'keep', 'append', 'prepend', 'append_rp' or 'prepend_rp'",
        ));
    }
    args.end_named("combine")?;
    let mut all = vec![v];
    all.extend(args.rest());
    // Lists of dictionaries count as their elements.
    fn flat(v: Value, out: &mut Vec<Value>, depth: usize) -> Result<(), Error> {
        v.defined()?;
        if v.is_sequence() && depth < 50 {
            return v.iter()?.into_iter().try_for_each(|v| flat(v, out, depth + 1));
        }
        out.push(v);
        Ok(())
    }
    let mut dicts = Vec::new();
    for one in all {
        flat(one, &mut dicts, 0)?;
    }
    let mut dicts = dicts.into_iter();
    let Some(mut out) = dicts.next() else { return Ok(Value::dict(Default::default())) };
    if !out.is_mapping() && dicts.len() == 0 {
        return Err(not_dicts(&out, &out));
    }
    for one in dicts {
        if !out.is_mapping() || !one.is_mapping() {
            return Err(not_dicts(&out, &one));
        }
        out = merge(&out, &one, recursive, &how, 0)?;
    }
    Ok(out)
}

fn not_dicts(a: &Value, b: &Value) -> Error {
    Error::other(format!(
        "failed to combine variables, expected dicts but got a '{}' and a '{}'. ",
        a.type_name(),
        b.type_name()
    ))
}

fn merge(a: &Value, b: &Value, recursive: bool, how: &str, depth: usize) -> Out {
    let out = Value::pairs(a.entries().unwrap_or_default());
    let Value::Dict(d) = &out else { return Ok(out) };
    for (k, new) in b.entries().unwrap_or_default() {
        spend(1)?;
        let key = crate::render::value::Key::new(k)?;
        let have = lock(d).get(&key).cloned();
        let value = match have {
            Some(old) if recursive && old.is_mapping() && new.is_mapping() && depth < 60 => {
                merge(&old, &new, recursive, how, depth + 1)?
            }
            Some(old @ Value::List(_)) if matches!(new, Value::List(_)) => lists(&old, &new, how)?,
            _ => new,
        };
        lock(d).insert(key, value);
    }
    Ok(out)
}

fn lists(old: &Value, new: &Value, how: &str) -> Out {
    let (old, new) = (old.iter()?, new.iter()?);
    let without = |all: &[Value], drop: &[Value]| -> Vec<Value> {
        all.iter().filter(|v| !drop.iter().any(|d| equal(v, d))).cloned().collect()
    };
    Ok(Value::list(match how {
        "keep" => old,
        "append" => [old, new].concat(),
        "prepend" => [new, old].concat(),
        "append_rp" => [without(&old, &new), new].concat(),
        "prepend_rp" => [new.clone(), without(&old, &new)].concat(),
        _ => new,
    }))
}
