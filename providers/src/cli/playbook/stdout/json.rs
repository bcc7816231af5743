//! JSON and Python texts, byte for byte as Ansible prints them.

use crate::Json;

/// On one line, keys sorted.
pub(crate) fn compact(value: &Json) -> String {
    let mut out = String::new();
    write(value, Form::Line(", "), &mut out);
    out
}

/// On one line without a blank behind commas, as Ansible's `oneline` shows it.
pub(crate) fn tight(value: &Json) -> String {
    let mut out = String::new();
    write(value, Form::Line(","), &mut out);
    out
}

/// How a value is laid out.
#[derive(Clone, Copy)]
enum Form {
    /// On one line, with this between elements.
    Line(&'static str),
    /// Each element on its own line, so deep.
    Deep(usize),
}

/// One value a line, keys sorted, four blanks deep.
pub(crate) fn pretty(value: &Json) -> String {
    let mut out = String::new();
    write(value, Form::Deep(0), &mut out);
    out
}

fn write(value: &Json, form: Form, out: &mut String) {
    match value {
        Json::Null => out.push_str("null"),
        Json::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Json::Number(n) => out.push_str(&number(n)),
        Json::String(s) => quote(s, out),
        Json::Array(items) => list(out, form, ('[', ']'), items.iter(), write),
        Json::Object(map) => {
            let mut pairs: Vec<(&String, &Json)> = map.iter().collect();
            pairs.sort_by(|a, b| a.0.cmp(b.0));
            list(out, form, ('{', '}'), pairs.into_iter(), |(k, v), form, out| {
                quote(k, out);
                out.push_str(": ");
                write(v, form, out);
            });
        }
    }
}

fn list<T>(
    out: &mut String,
    form: Form,
    (open, close): (char, char),
    items: impl ExactSizeIterator<Item = T>,
    mut each: impl FnMut(T, Form, &mut String),
) {
    let empty = items.len() == 0;
    let (inner, between) = match form {
        Form::Line(between) => (form, between),
        Form::Deep(depth) => (Form::Deep(depth + 1), ","),
    };
    let line = |out: &mut String, form: Form| {
        if let Form::Deep(depth) = form {
            out.push('\n');
            out.push_str(&" ".repeat(4 * depth));
        }
    };
    out.push(open);
    for (i, item) in items.enumerate() {
        if i > 0 {
            out.push_str(between);
        }
        line(out, inner);
        each(item, inner, out);
    }
    if !empty {
        line(out, form);
    }
    out.push(close);
}

fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if u32::from(c) < 0x20 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Numbers as Python writes them: `1.0`, `1e+16`, `1e-05`.
fn number(n: &serde_json::Number) -> String {
    match n.as_f64() {
        Some(f) if n.is_f64() => float(f),
        _ => n.to_string(),
    }
}

fn float(f: f64) -> String {
    let shortest = format!("{f:e}");
    let Some((digits, exponent)) = shortest.split_once('e') else { return shortest };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = f.to_string();
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

/// A loop's item as Python's `str` shows it.
pub(crate) fn python(value: &Json) -> String {
    match value {
        Json::String(s) => s.clone(),
        other => {
            let mut out = String::new();
            repr(other, &mut out);
            out
        }
    }
}

fn repr(value: &Json, out: &mut String) {
    match value {
        Json::Null => out.push_str("None"),
        Json::Bool(b) => out.push_str(if *b { "True" } else { "False" }),
        Json::Number(n) => out.push_str(&number(n)),
        Json::String(s) => repr_text(s, out),
        Json::Array(items) => {
            out.push('[');
            for (i, v) in items.iter().enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                repr(v, out);
            }
            out.push(']');
        }
        Json::Object(map) => {
            out.push('{');
            for (i, (k, v)) in map.iter().enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                repr_text(k, out);
                out.push_str(": ");
                repr(v, out);
            }
            out.push('}');
        }
    }
}

fn repr_text(text: &str, out: &mut String) {
    let mark = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(mark);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c == mark => {
                out.push('\\');
                out.push(c);
            }
            c if u32::from(c) < 0x20 || u32::from(c) == 0x7f => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push(mark);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_forms_are_pythons() {
        let value = json!({ "b": [1, 2.0, 1e16, 1.5e-7, []], "a": "é\u{1}\"\\\n", "c": {}, "d": null });
        assert_eq!(compact(&value), r#"{"a": "é\u0001\"\\\n", "b": [1, 2.0, 1e+16, 1.5e-07, []], "c": {}, "d": null}"#);
        assert_eq!(
            pretty(&json!({ "a": [1, { "x": true }] })),
            "{\n    \"a\": [\n        1,\n        {\n            \"x\": true\n        }\n    ]\n}"
        );
        assert_eq!(python(&json!({ "k": ["x", "y'"], "v": null })), r#"{'k': ['x', "y'"], 'v': None}"#);
        assert_eq!(python(&json!("plain")), "plain");
    }
}
