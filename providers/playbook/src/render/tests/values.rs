//! Tests of values and of tasks' results.

use super::Test;
use crate::render::error::{Error, Out};
use crate::render::eval::{holds, shown};
use crate::render::filters::Pattern;
use crate::render::syntax::Cmp;
use crate::render::truthy;
use crate::render::value::{Args, Kind, Value, equal, to_json};

fn yes(b: bool) -> Out {
    Ok(Value::Bool(b))
}

fn compare(v: &Value, mut args: Args, op: Cmp) -> Out {
    let other = args.need("other")?;
    yes(holds(op, v, &other)?)
}

pub(super) fn get(name: &str) -> Option<Test> {
    by_result(name).or_else(|| by_kind(name)).or_else(|| by_content(name))
}

/// A field of a task's result.
fn field(v: &Value, test: &str, name: &str, default: bool) -> Result<Value, Error> {
    if !v.is_mapping() {
        return Err(Error::other(format!("The '{test}' test expects a dictionary")));
    }
    Ok(v.get(name).unwrap_or(Value::Bool(default)))
}

fn by_result(name: &str) -> Option<Test> {
    Some(match name {
        "failed" | "failure" => |_, v, _| yes(field(&v, "failed", "failed", false)?.truth()?),
        "succeeded" | "success" | "successful" => |_, v, _| yes(!field(&v, "failed", "failed", false)?.truth()?),
        "changed" | "change" => |_, v, _| {
            let own = field(&v, "changed", "changed", false)?;
            if v.get("changed").is_some() {
                return yes(own.truth()?);
            }
            // A loop's result is changed if one of its turns is.
            let turns = v.get("results").and_then(|r| r.iter().ok()).unwrap_or_default();
            yes(turns.iter().any(|r| r.get("changed").is_some_and(|c| c.truth().unwrap_or(false))))
        },
        "skipped" | "skip" => |_, v, _| yes(field(&v, "skipped", "skipped", false)?.truth()?),
        "reachable" => |_, v, _| yes(!field(&v, "unreachable", "unreachable", false)?.truth()?),
        "unreachable" => |_, v, _| yes(field(&v, "unreachable", "unreachable", false)?.truth()?),
        "started" => |_, v, _| yes(field(&v, "started", "started", true)?.truth()?),
        "finished" => |_, v, _| yes(field(&v, "finished", "finished", true)?.truth()?),
        "timedout" => |_, v, _| {
            let out = field(&v, "timedout", "timedout", false)?;
            if out.truth()? { Ok(out.get("period").unwrap_or(Value::Bool(false))) } else { yes(false) }
        },
        _ => return None,
    })
}

fn converted(v: &Value, mut args: Args) -> Result<bool, Error> {
    if args.flag("convert_bool", false)? {
        if let Some(b) = truthy(&to_json(v)) {
            return Ok(b);
        }
    }
    v.truth()
}

fn by_kind(name: &str) -> Option<Test> {
    Some(match name {
        "defined" => |_, v, _| yes(!v.is_undefined()),
        "undefined" => |_, v, _| yes(v.is_undefined()),
        "none" => |_, v, _| yes(v.is_none()),
        "boolean" => |_, v, _| yes(matches!(v, Value::Bool(_))),
        "true" => |_, v, _| yes(matches!(v, Value::Bool(true))),
        "false" => |_, v, _| yes(matches!(v, Value::Bool(false))),
        "integer" => |_, v, _| yes(matches!(v, Value::Int(_))),
        "float" => |_, v, _| yes(matches!(v, Value::Float(_))),
        "number" => |_, v, _| yes(v.as_float().is_some()),
        "string" => |_, v, _| yes(matches!(v, Value::Str(..))),
        "mapping" => |_, v, _| yes(v.is_mapping()),
        "iterable" => |_, v, _| yes(v.is_undefined() || v.iter().is_ok()),
        "sequence" => |_, v, _| yes(v.is_undefined() || v.iter().is_ok() && v.len().is_ok()),
        "callable" => |_, v, _| yes(v.callable()),
        "escaped" => |_, v, _| yes(matches!(v, Value::Str(_, Kind::Safe))),
        "sameas" => |_, v, mut a| yes(v.same(&a.need("other")?)),
        "truthy" => |_, v, a| yes(converted(&v, a)?),
        "falsy" => |_, v, a| yes(!converted(&v, a)?),
        "nan" | "isnan" => |_, v, _| yes(matches!(v.defined()?, Value::Float(f) if f.is_nan())),
        "filter" => |_, v, _| known(&v, crate::render::filters::get(&shown(&v)?).is_some()),
        "test" => |_, v, _| known(&v, super::get(&shown(&v)?).is_some()),
        "vault_encrypted" => |_, v, _| {
            v.defined()?;
            yes(false)
        },
        _ => return None,
    })
}

/// Ansible fails where a name is none, instead of saying no.
fn known(v: &Value, known: bool) -> Out {
    if known { yes(true) } else { Err(Error::other(format!("Could not load \"{0}\": '{0}'", shown(v)?))) }
}

fn matching(v: &Value, mut args: Args, kind: &str) -> Out {
    let source = args.text("pattern")?.unwrap_or_default();
    let ignore = args.flag("ignorecase", false)?;
    let multi = args.flag("multiline", false)?;
    let kind = if kind == "regex" { args.text("match_type")?.unwrap_or_else(|| "search".into()) } else { kind.into() };
    let text = shown(v)?;
    let pattern = Pattern::new(&source, ignore, multi)?;
    yes(match kind.as_str() {
        "match" => pattern.matches_start(&text, false)?,
        "fullmatch" => pattern.matches_start(&text, true)?,
        _ => pattern.is_match(&text)?,
    })
}

fn subset(small: &Value, large: &Value) -> Out {
    let (small, large) = (small.iter()?, large.iter()?);
    crate::render::eval::spend(small.len().saturating_mul(large.len()) / 8)?;
    yes(small.iter().all(|v| large.iter().any(|l| equal(v, l))))
}

fn rest_of(v: &Value, by: i128) -> Result<i128, Error> {
    let out = crate::render::value::binary(crate::render::value::Binary::Mod, v, &Value::Int(by))?;
    Ok(out.as_float().map_or(0, |f| f as i128))
}

fn address(v: &Value, mut args: Args, kind: &str) -> Out {
    let schemes = args.take("schemes").filter(|s| !s.is_none());
    let text = shown(v)?;
    let Ok(parts) = crate::render::filters::url_parts(&text) else { return yes(false) };
    let part = |name: &str| {
        parts.iter().find(|(n, _)| *n == name).map(|(_, v)| crate::render::value::text(v)).unwrap_or_default()
    };
    let allowed = match &schemes {
        Some(s) => crate::render::value::contains(s, &Value::from(part("scheme")))?,
        None => true,
    };
    yes(match kind {
        "uri" => allowed,
        "url" => allowed && !part("scheme").is_empty() && !part("netloc").is_empty(),
        _ => part("scheme") == "urn",
    })
}

fn by_content(name: &str) -> Option<Test> {
    Some(match name {
        "eq" | "equalto" | "==" => |_, v, a| compare(&v, a, Cmp::Eq),
        "ne" | "!=" => |_, v, a| compare(&v, a, Cmp::Ne),
        "lt" | "lessthan" | "<" => |_, v, a| compare(&v, a, Cmp::Lt),
        "le" | "<=" => |_, v, a| compare(&v, a, Cmp::Le),
        "gt" | "greaterthan" | ">" => |_, v, a| compare(&v, a, Cmp::Gt),
        "ge" | ">=" => |_, v, a| compare(&v, a, Cmp::Ge),
        "in" => |_, v, a| compare(&v, a, Cmp::In),
        "even" => |_, v, _| yes(rest_of(&v, 2)? == 0),
        "odd" => |_, v, _| yes(rest_of(&v, 2)? == 1),
        "divisibleby" => |_, v, mut a| {
            let by = a.need("num")?;
            let by = by.as_int().ok_or_else(|| Error::typed("unsupported operand type(s) for %"))?;
            yes(rest_of(&v, by)? == 0)
        },
        "lower" => |_, v, _| {
            let s = shown(&v)?;
            yes(s.chars().any(char::is_lowercase) && !s.chars().any(char::is_uppercase))
        },
        "upper" => |_, v, _| {
            let s = shown(&v)?;
            yes(s.chars().any(char::is_uppercase) && !s.chars().any(char::is_lowercase))
        },
        "match" => |_, v, a| matching(&v, a, "match"),
        "search" => |_, v, a| matching(&v, a, "search"),
        "regex" => |_, v, a| matching(&v, a, "regex"),
        "contains" => |_, v, mut a| {
            let what = a.need("value")?;
            yes(crate::render::value::contains(&v, &what)?)
        },
        "subset" | "issubset" => |_, v, mut a| subset(&v, &a.need("b")?),
        "superset" | "issuperset" => |_, v, mut a| subset(&a.need("b")?, &v),
        "all" => |_, v, _| {
            for one in v.iter()? {
                if !one.truth()? {
                    return yes(false);
                }
            }
            yes(true)
        },
        "any" => |_, v, _| {
            for one in v.iter()? {
                if one.truth()? {
                    return yes(true);
                }
            }
            yes(false)
        },
        "uri" => |_, v, a| address(&v, a, "uri"),
        "url" => |_, v, a| address(&v, a, "url"),
        "urn" => |_, v, a| address(&v, a, "urn"),
        _ => return None,
    })
}
