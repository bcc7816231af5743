//! Python's `pprint`: keys in order, one element a line where a line is too long.

use super::value::{Value, repr, sort_by};

const WIDTH: usize = 80;

/// The text of a value.
pub(crate) fn pretty(v: &Value) -> String {
    let mut out = String::new();
    write(v, 0, 0, &mut out);
    out
}

fn ordered(v: &Value, depth: usize) -> Value {
    if depth > 50 {
        return v.clone();
    }
    match v {
        Value::Dict(_) => {
            let pairs = v.entries().unwrap_or_default();
            let keyed = pairs.iter().map(|(k, v)| (k.clone(), Value::tuple(vec![k.clone(), v.clone()]))).collect();
            let sorted = sort_by(keyed, false).ok().map(|all| {
                all.iter()
                    .filter_map(|p| p.iter().ok())
                    .filter_map(|p| Some((p.first()?.clone(), p.get(1)?.clone())))
                    .collect()
            });
            let pairs: Vec<(Value, Value)> = sorted.unwrap_or(pairs);
            Value::pairs(pairs.into_iter().map(|(k, v)| (k, ordered(&v, depth + 1))))
        }
        Value::List(_) => Value::list(v.iter().unwrap_or_default().iter().map(|v| ordered(v, depth + 1)).collect()),
        Value::Tuple(t) => Value::tuple(t.iter().map(|v| ordered(v, depth + 1)).collect()),
        other => other.clone(),
    }
}

fn write(v: &Value, indent: usize, allowance: usize, out: &mut String) {
    let v = &ordered(v, 0);
    let line = repr(v);
    if indent > 200 || line.chars().count() + indent + allowance <= WIDTH {
        out.push_str(&line);
        return;
    }
    let pad = " ".repeat(indent + 1);
    match v {
        Value::Dict(_) => {
            out.push('{');
            let pairs = v.entries().unwrap_or_default();
            let last = pairs.len().saturating_sub(1);
            for (i, (k, v)) in pairs.iter().enumerate() {
                if i > 0 {
                    out.push_str(&format!(",\n{pad}"));
                }
                let key = format!("{}: ", repr(k));
                out.push_str(&key);
                write(v, indent + 1 + key.chars().count(), if i == last { allowance + 1 } else { 1 }, out);
            }
            out.push('}');
        }
        Value::List(_) | Value::Tuple(_) => {
            let (open, close) = if matches!(v, Value::List(_)) { ('[', ']') } else { ('(', ')') };
            out.push(open);
            let all = v.iter().unwrap_or_default();
            let last = all.len().saturating_sub(1);
            for (i, one) in all.iter().enumerate() {
                if i > 0 {
                    out.push_str(&format!(",\n{pad}"));
                }
                write(one, indent + 1, if i == last { allowance + 1 } else { 1 }, out);
            }
            out.push(close);
        }
        _ => out.push_str(&line),
    }
}
