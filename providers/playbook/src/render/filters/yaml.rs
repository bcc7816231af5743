//! Filters of YAML.

use std::path::Path;

use super::Filter;
use super::emit::Emitter;
use crate::render::error::{Error, Out};
use crate::render::eval::check;
use crate::render::value::{Args, Value, text};

pub(super) fn get(name: &str) -> Option<Filter> {
    Some(match name {
        "to_yaml" => |_, v, a| to_yaml(&v, a, Emitter { flow: None, indent: 2, ..Emitter::default() }),
        "to_nice_yaml" => |_, v, a| to_yaml(&v, a, Emitter { flow: Some(false), indent: 4, ..Emitter::default() }),
        "from_yaml" => |_, v, _| match v.defined()? {
            Value::Str(s, _) => from_yaml(s),
            _ => Ok(v),
        },
        "from_yaml_all" => |_, v, _| match v.defined()? {
            Value::Str(s, _) => documents(s).map(Value::list),
            _ => Ok(v),
        },
        _ => return None,
    })
}

fn to_yaml(v: &Value, mut args: Args, mut emitter: Emitter) -> Out {
    check(v, 0)?;
    // `to_nice_yaml(2)` is its indent.
    if let Some(n) = args.named("indent").or_else(|| if emitter.indent == 4 { args.take("indent") } else { None }) {
        let n = usize::try_from(n.as_int().unwrap_or(2)).unwrap_or(2);
        emitter.indent = if (2..10).contains(&n) { n } else { 2 };
    }
    if let Some(w) = args.named("width") {
        emitter.width = match w.as_float() {
            Some(f) if f.is_infinite() => usize::MAX / 2,
            _ => usize::try_from(w.as_int().unwrap_or(80)).unwrap_or(80),
        };
        if emitter.width <= emitter.indent * 2 {
            emitter.width = 80;
        }
    }
    if let Some(s) = args.named("sort_keys") {
        emitter.sort = s.truth()?;
    }
    if let Some(f) = args.named("default_flow_style") {
        emitter.flow = if f.is_none() { None } else { Some(f.truth()?) };
    }
    if let Some(f) = args.named("allow_unicode") {
        emitter.unicode = f.truth()?;
    }
    let start = args.named("explicit_start").map_or(Ok(false), |v| v.truth())?;
    let end = args.named("explicit_end").map_or(Ok(false), |v| v.truth())?;
    emitter.style = args.named("default_style").filter(|s| !s.is_none()).and_then(|s| text(&s).chars().next());
    for known in ["canonical", "line_break", "encoding", "version", "tags"] {
        args.named(known);
    }
    args.end_named("dump_all")?;
    let body = emitter.document(v)?;
    Ok(Value::from(match (start, end) {
        (false, false) => body,
        (start, end) => {
            let multi = !matches!(v, Value::Str(..) | Value::Int(_) | Value::Bool(_) | Value::Float(_) | Value::None);
            let head = if start { if multi && !emitter.flows(v) { "---\n" } else { "--- " } } else { "" };
            format!("{head}{body}{}", if end { "...\n" } else { "" })
        }
    }))
}

/// Reads one document.
fn from_yaml(s: &str) -> Out {
    if s.trim().is_empty() {
        return Ok(Value::None);
    }
    let node = crate::load::yaml::parse(Path::new("from_yaml"), s).map_err(|e| Error::other(e.report()))?;
    Ok(Value::from(&node.json()))
}

fn documents(s: &str) -> Result<Vec<Value>, Error> {
    let mut out = Vec::new();
    let mut text = String::new();
    let mut seen = false;
    for line in s.split_inclusive('\n') {
        let marks = line.starts_with("---") && line.get(3..4).is_none_or(|c| c.trim().is_empty());
        let ends = line.starts_with("...") && line.get(3..).is_some_and(|c| c.trim().is_empty());
        if marks && (seen || !text.trim().is_empty()) || ends {
            out.push(from_yaml(&text)?);
            text.clear();
        }
        seen |= marks;
        if ends {
            seen = false;
            continue;
        }
        text.push_str(line);
    }
    if seen || !text.trim().is_empty() {
        out.push(from_yaml(&text)?);
    }
    Ok(out)
}
