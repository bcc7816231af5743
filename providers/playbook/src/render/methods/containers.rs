//! Methods of lists, tuples and dictionaries.

use std::sync::Mutex;

use crate::render::error::{Error, Out};
use crate::render::eval::spend;
use crate::render::value::{Args, Dict, Key, Value, equal, lock, repr, sort_by};

pub(super) const LIST: &[&str] =
    &["append", "clear", "copy", "count", "extend", "index", "insert", "pop", "remove", "reverse", "sort"];
pub(super) const DICT: &[&str] =
    &["clear", "copy", "fromkeys", "get", "items", "keys", "pop", "popitem", "setdefault", "update", "values"];

/// Most elements that a list may grow to.
const LONGEST: usize = 4_000_000;

pub(super) fn sequence(items: &[Value], name: &str, mut args: Args) -> Out {
    let what = args.need("value")?;
    if name == "count" {
        return Ok(Value::from(items.iter().filter(|v| equal(v, &what)).count()));
    }
    match items.iter().position(|v| equal(v, &what)) {
        Some(at) => Ok(Value::from(at)),
        None => Err(Error::other(format!("{} is not in list", repr(&what)))),
    }
}

pub(super) fn list(l: &Mutex<Vec<Value>>, name: &str, mut args: Args) -> Out {
    let mut items = lock(l);
    spend(1)?;
    if items.len() > LONGEST {
        return Err(Error::other("the list is too long"));
    }
    match name {
        "append" => items.push(args.need("object")?),
        "clear" => items.clear(),
        "copy" => return Ok(Value::list(items.clone())),
        "count" | "index" => {
            let copy = items.clone();
            drop(items);
            return sequence(&copy, name, args);
        }
        "extend" => {
            // The list may be its own argument.
            drop(items);
            let more = args.need("iterable")?.iter()?;
            spend(more.len())?;
            let mut items = lock(l);
            if items.len() + more.len() > LONGEST {
                return Err(Error::other("the list is too long"));
            }
            items.extend(more);
        }
        "insert" => {
            let at = args.int("index", 0)?;
            let value = args.need("object")?;
            let len = items.len() as i128;
            let at = if at < 0 { (at + len).max(0) } else { at.min(len) };
            items.insert(at as usize, value);
        }
        "pop" => {
            let at = args.int("index", -1)?;
            if items.is_empty() {
                return Err(Error::other("pop from empty list"));
            }
            let len = items.len() as i128;
            let at = if at < 0 { at + len } else { at };
            if !(0..len).contains(&at) {
                return Err(Error::other("pop index out of range"));
            }
            return Ok(items.remove(at as usize));
        }
        "remove" => {
            let what = args.need("value")?;
            let copy = items.clone();
            drop(items);
            match copy.iter().position(|v| equal(v, &what)) {
                Some(at) => {
                    let mut items = lock(l);
                    if at < items.len() {
                        items.remove(at);
                    }
                }
                None => return Err(Error::other("list.remove(x): x not in list")),
            }
        }
        "reverse" => items.reverse(),
        _ => {
            let reverse = args.named("reverse").map_or(Ok(false), |v| v.truth())?;
            let copy = items.clone();
            drop(items);
            let sorted = sort_by(copy.into_iter().map(|v| (v.clone(), v)).collect(), reverse)?;
            *lock(l) = sorted;
        }
    }
    Ok(Value::None)
}

fn update(into: &mut Dict, args: Args) -> Result<(), Error> {
    if let Some(first) = args.pos.first() {
        match first.defined()?.entries() {
            Some(pairs) => into.extend(pairs.into_iter().map(|(k, v)| (Key(k), v))),
            None => {
                for pair in first.iter()? {
                    let mut pair = pair.iter()?.into_iter();
                    let (Some(k), Some(v)) = (pair.next(), pair.next()) else {
                        return Err(Error::other(
                            "dictionary update sequence element has the wrong length; 2 is required",
                        ));
                    };
                    into.insert(Key::new(k)?, v);
                }
            }
        }
    }
    into.extend(args.named.into_iter().map(|(k, v)| (Key(Value::from(k.as_ref())), v)));
    Ok(())
}

pub(super) fn dict(d: &Mutex<Dict>, name: &str, mut args: Args) -> Out {
    spend(1)?;
    match name {
        "clear" => lock(d).clear(),
        "copy" => return Ok(Value::dict(lock(d).clone())),
        "fromkeys" => {
            let keys = args.need("iterable")?.iter()?;
            let value = args.take("value").unwrap_or(Value::None);
            return Ok(Value::dict(keys.into_iter().map(|k| (Key(k), value.clone())).collect()));
        }
        "get" => {
            let key = Key::new(args.need("key")?)?;
            let default = args.take("default");
            let found = lock(d).get(&key).cloned();
            return Ok(found.or(default).unwrap_or(Value::None));
        }
        "items" => {
            return Ok(Value::list(lock(d).iter().map(|(k, v)| Value::tuple(vec![k.0.clone(), v.clone()])).collect()));
        }
        "keys" => return Ok(Value::list(lock(d).keys().map(|k| k.0.clone()).collect())),
        "values" => return Ok(Value::list(lock(d).values().cloned().collect())),
        "pop" => {
            let key = Key::new(args.need("key")?)?;
            let default = args.take("default");
            let found = lock(d).shift_remove(&key);
            return found.or(default).ok_or_else(|| Error::other(repr(&key.0)));
        }
        "popitem" => {
            let (k, v) = lock(d).pop().ok_or_else(|| Error::other("'popitem(): dictionary is empty'"))?;
            return Ok(Value::tuple(vec![k.0, v]));
        }
        "setdefault" => {
            let key = Key::new(args.need("key")?)?;
            let default = args.take("default").unwrap_or(Value::None);
            return Ok(lock(d).entry(key).or_insert(default).clone());
        }
        _ => {
            // The dictionary may be its own argument.
            let mut new = Dict::new();
            update(&mut new, args)?;
            let mut d = lock(d);
            if d.len() + new.len() > LONGEST {
                return Err(Error::other("the dictionary is too long"));
            }
            d.extend(new);
        }
    }
    Ok(Value::None)
}

pub(super) fn mapping(value: &Value, name: &str, mut args: Args) -> Out {
    if name == "get" {
        let key = args.need("key")?;
        let default = args.take("default").unwrap_or(Value::None);
        return Ok(match value {
            Value::Object(o) => o.get_value(&key).unwrap_or(default),
            _ => default,
        });
    }
    let entries = value.entries().unwrap_or_default();
    Ok(Value::list(match name {
        "keys" => entries.into_iter().map(|(k, _)| k).collect(),
        "values" => entries.into_iter().map(|(_, v)| v).collect(),
        _ => entries.into_iter().map(|(k, v)| Value::tuple(vec![k, v])).collect(),
    }))
}
