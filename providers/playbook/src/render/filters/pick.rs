//! Filters that use other filters and tests: `map`, `select` and their like; and `default`.

use super::{Filter, by_attribute, items};
use crate::render::error::{Error, Out};
use crate::render::eval::State;
use crate::render::value::{Args, Value};

pub(super) fn get(name: &str) -> Option<Filter> {
    Some(match name {
        "map" => map,
        "select" => |s, v, a| select(s, &v, a, true, false),
        "reject" => |s, v, a| select(s, &v, a, false, false),
        "selectattr" => |s, v, a| select(s, &v, a, true, true),
        "rejectattr" => |s, v, a| select(s, &v, a, false, true),
        "default" | "d" => |_, v, mut a| {
            let default = a.take("default_value").unwrap_or_else(|| Value::from(""));
            let boolean = a.flag("boolean", false)?;
            if v.is_undefined() || boolean && !v.truth()? { Ok(default) } else { Ok(v) }
        },
        "mandatory" => |_, v, mut a| match &v {
            Value::Undefined(m) => Err(Error::other(match a.text("msg")? {
                Some(text) => text,
                None if m.name.is_empty() => "Mandatory variable  not defined.".into(),
                None => format!("Mandatory variable '{}'  not defined.", m.name),
            })),
            _ => Ok(v),
        },
        "ternary" => |_, v, mut a| {
            let (yes, no) = (a.need("true_val")?, a.need("false_val")?);
            match a.take("none_val") {
                Some(null) if v.is_none() && !null.is_none() => Ok(null),
                _ => Ok(if v.truth()? { yes } else { no }),
            }
        },
        "attr" => |_, v, mut a| {
            let name = a.text("name")?.unwrap_or_default();
            if crate::render::methods::has(&v, &name) {
                return Ok(crate::render::methods::bound(&v, &name));
            }
            match &v {
                // Only an attribute, never an item.
                Value::Dict(_) => Ok(v.lacks(&name)),
                other => other.attribute(&name),
            }
        },
        "type_debug" => |_, v, _| Ok(Value::from(v.type_name())),
        _ => return None,
    })
}

fn map(state: &mut State, v: Value, mut args: Args) -> Out {
    let all = items(&v)?;
    let mut out = Vec::with_capacity(all.len());
    if args.pos.is_empty() {
        if let Some(attribute) = args.named("attribute") {
            let default = args.named("default");
            args.end("map")?;
            for one in all {
                let found = by_attribute(&one, &attribute)?;
                out.push(match (&found, &default) {
                    (Value::Undefined(_), Some(d)) => d.clone(),
                    _ => found,
                });
            }
            return Ok(Value::list(out));
        }
        return Err(Error::other("map requires a filter argument"));
    }
    let name = args.text("filter")?.unwrap_or_default();
    let rest = args.rest();
    for one in all {
        out.push(state.filter(&name, one, Args::new(rest.clone(), args.named.clone()))?);
    }
    Ok(Value::list(out))
}

fn select(state: &mut State, v: &Value, mut args: Args, keep: bool, attribute: bool) -> Out {
    let attribute = if attribute {
        Some(args.take("attribute").ok_or_else(|| Error::other("Missing parameter for attribute name"))?)
    } else {
        None
    };
    let test = args.text("test")?;
    let rest = args.rest();
    let mut out = Vec::new();
    for one in items(v)? {
        let value = match &attribute {
            Some(a) => by_attribute(&one, a)?,
            None => one.clone(),
        };
        let yes = match &test {
            Some(t) => state.test(t, value, Args::new(rest.clone(), args.named.clone()))?.truth()?,
            None => value.truth()?,
        };
        if yes == keep {
            out.push(one);
        }
    }
    Ok(Value::list(out))
}
