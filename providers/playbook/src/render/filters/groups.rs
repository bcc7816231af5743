//! Filters between lists and dictionaries.

use super::sequences::folded;
use super::{Filter, by_attribute, items};
use crate::render::error::{Error, Out};
use crate::render::eval::State;
use crate::render::value::{Args, Dict, Key, Object, Value, equal, repr, sort_by};

pub(super) fn get(name: &str) -> Option<Filter> {
    Some(match name {
        "dict2items" => dict2items,
        "items2dict" => items2dict,
        "dictsort" => dictsort,
        "groupby" => groupby,
        "subelements" => |_, v, mut a| {
            let path = a.need("subelements")?;
            let skip = a.flag("skip_missing", false)?;
            subelements(&v, &path, skip)
        },
        "rekey_on_member" => rekey,
        _ => return None,
    })
}

fn class(v: &Value) -> String {
    format!("<class '{}'>", v.type_name())
}

fn dict2items(_: &mut State, v: Value, mut args: Args) -> Out {
    let key = args.take("key_name").unwrap_or_else(|| "key".into());
    let name = args.take("value_name").unwrap_or_else(|| "value".into());
    let Some(pairs) = v.defined()?.entries() else {
        return Err(Error::typed(format!("dict2items requires a dictionary, got {} instead.", class(&v))));
    };
    let row = |(k, v)| Value::pairs([(key.clone(), k), (name.clone(), v)]);
    Ok(Value::list(pairs.into_iter().map(row).collect()))
}

fn items2dict(_: &mut State, v: Value, mut args: Args) -> Out {
    let key = args.text("key_name")?.unwrap_or_else(|| "key".into());
    let name = args.text("value_name")?.unwrap_or_else(|| "value".into());
    if !v.defined()?.is_sequence() {
        return Err(Error::typed(format!("items2dict requires a list, got {} instead.", class(&v))));
    }
    let mut out = Dict::new();
    for one in items(&v)? {
        if !one.is_mapping() {
            return Err(Error::typed(format!("items2dict requires a list of dictionaries, got {} instead.", repr(&v))));
        }
        let (Some(k), Some(value)) = (one.get(&key), one.get(&name)) else {
            return Err(Error::typed(format!(
                "items2dict requires each dictionary in the list to contain the keys '{key}' and '{name}', got {} instead.",
                repr(&v)
            )));
        };
        out.insert(Key::new(k)?, value);
    }
    Ok(Value::dict(out))
}

fn dictsort(_: &mut State, v: Value, mut args: Args) -> Out {
    let sensitive = args.flag("case_sensitive", false)?;
    let by = args.text("by")?.unwrap_or_else(|| "key".into());
    let reverse = args.flag("reverse", false)?;
    if by != "key" && by != "value" {
        return Err(Error::other("You can only sort by either \"key\" or \"value\""));
    }
    let pairs = v
        .defined()?
        .entries()
        .ok_or_else(|| Error::typed(format!("'{}' object has no attribute 'items'", v.type_name())))?;
    let keyed = pairs
        .into_iter()
        .map(|(k, v)| {
            let key = folded(if by == "key" { k.clone() } else { v.clone() }, sensitive);
            (key, Value::tuple(vec![k, v]))
        })
        .collect();
    Ok(Value::list(sort_by(keyed, reverse)?))
}

/// A group of `groupby`: a pair with names.
#[derive(Debug)]
struct Group(Value, Value);

impl Object for Group {
    fn type_name(&self) -> &'static str {
        "_GroupTuple"
    }

    fn get_value(&self, key: &Value) -> Option<Value> {
        match (key.as_str(), key.as_int()) {
            (Some("grouper"), _) | (_, Some(0 | -2)) => Some(self.0.clone()),
            (Some("list"), _) | (_, Some(1 | -1)) => Some(self.1.clone()),
            _ => None,
        }
    }

    fn iter(&self) -> Option<Vec<Value>> {
        Some(vec![self.0.clone(), self.1.clone()])
    }

    fn repr(&self) -> String {
        repr(&Value::tuple(vec![self.0.clone(), self.1.clone()]))
    }
}

fn groupby(_: &mut State, v: Value, mut args: Args) -> Out {
    let attribute = args.need("attribute")?;
    let default = args.take("default").filter(|d| !d.is_none());
    let sensitive = args.flag("case_sensitive", false)?;
    let mut keyed = Vec::new();
    for one in items(&v)? {
        let key = match (by_attribute(&one, &attribute)?, &default) {
            (Value::Undefined(_), Some(d)) => d.clone(),
            (found, _) => found.defined()?.clone(),
        };
        keyed.push((folded(key.clone(), sensitive), Value::tuple(vec![key, one])));
    }
    let mut groups: Vec<(Value, Value, Vec<Value>)> = Vec::new();
    for pair in sort_by(keyed, false)? {
        let mut pair = pair.iter()?.into_iter();
        let (Some(key), Some(one)) = (pair.next(), pair.next()) else { continue };
        let fold = folded(key.clone(), sensitive);
        match groups.last_mut() {
            Some((have, _, all)) if equal(have, &fold) => all.push(one),
            _ => groups.push((fold, key, vec![one])),
        }
    }
    Ok(Value::list(groups.into_iter().map(|(_, key, all)| Value::object(Group(key, Value::list(all)))).collect()))
}

/// Pairs of an element and one of its inner list's.
pub(crate) fn subelements(v: &Value, path: &Value, skip: bool) -> Out {
    let outer = match v.defined()?.entries() {
        Some(pairs) => pairs.into_iter().map(|(_, v)| v).collect(),
        None if v.is_sequence() => items(v)?,
        None => {
            return Err(Error::typed("obj must be a list of dicts or a nested dict"));
        }
    };
    let path: Vec<String> = match path {
        Value::Str(s, _) => s.split('.').map(str::to_owned).collect(),
        Value::List(_) | Value::Tuple(_) => path.iter()?.iter().map(crate::render::value::text).collect(),
        _ => return Err(Error::typed("subelements must be a list or a string")),
    };
    let mut out = Vec::new();
    for one in outer {
        let mut inner = one.clone();
        let mut missing = false;
        for key in &path {
            if !inner.is_mapping() {
                return Err(Error::typed(format!(
                    "the key '{key}' should point to a dictionary, got '{}'",
                    repr(&inner)
                )));
            }
            match inner.get(key) {
                Some(v) => inner = v,
                None if skip => {
                    missing = true;
                    break;
                }
                None => {
                    return Err(Error::other(format!("could not find '{key}' key in iterated item {}", repr(&inner))));
                }
            }
        }
        if missing {
            continue;
        }
        if !inner.is_sequence() {
            let key = path.last().cloned().unwrap_or_default();
            return Err(Error::typed(format!("the key '{key}' should point to a list, got {}", repr(&inner))));
        }
        for value in items(&inner)? {
            out.push(Value::tuple(vec![one.clone(), value]));
        }
    }
    Ok(Value::list(out))
}

fn rekey(_: &mut State, v: Value, mut args: Args) -> Out {
    let key = args.text("key")?.unwrap_or_default();
    let duplicates = args.text("duplicates")?.unwrap_or_else(|| "error".into());
    if !matches!(duplicates.as_str(), "error" | "overwrite") {
        return Err(Error::other(format!("duplicates parameter to rekey_on_member has unknown value: {duplicates}")));
    }
    let all = match v.defined()?.entries() {
        Some(pairs) => pairs.into_iter().map(|(_, v)| v).collect(),
        None if v.is_sequence() => items(&v)?,
        None => return Err(Error::other("Type is not a valid list, set, or dict")),
    };
    let mut out = Dict::new();
    for one in all {
        if !one.is_mapping() {
            return Err(Error::other("List item is not a valid dict"));
        }
        let Some(name) = one.get(&key) else { return Err(Error::other(format!("Key {key} was not found"))) };
        let shown = crate::render::value::text(&name);
        if out.insert(Key::new(name)?, one).is_some() && duplicates == "error" {
            return Err(Error::other(format!("Key {shown} is not unique, cannot correctly turn into dict")));
        }
    }
    Ok(Value::dict(out))
}
