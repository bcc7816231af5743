//! Values as Python shows them.

use super::{Value, float_text, lock};

/// Python's `str()`. What is undefined has no text; its users are told before.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::Str(s, _) => s.as_ref().to_owned(),
        other => repr(other),
    }
}

/// Python's `repr()`.
pub(crate) fn repr(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out, 0);
    out
}

fn sequence(items: &[Value], out: &mut String, depth: usize) {
    for (i, v) in items.iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        write(v, out, depth + 1);
    }
}

fn mapping(pairs: &[(Value, Value)], out: &mut String, depth: usize) {
    out.push('{');
    for (i, (k, v)) in pairs.iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        write(k, out, depth + 1);
        out.push_str(": ");
        write(v, out, depth + 1);
    }
    out.push('}');
}

fn write(value: &Value, out: &mut String, depth: usize) {
    // A list can hold itself; and no text is endless.
    if depth > 100 || out.len() > super::MOST {
        out.push_str("...");
        return;
    }
    match value {
        Value::Undefined(_) if depth == 0 => {}
        Value::Undefined(_) => out.push_str("Undefined"),
        Value::None => out.push_str("None"),
        Value::Bool(b) => out.push_str(if *b { "True" } else { "False" }),
        Value::Int(i) => out.push_str(&i.to_string()),
        Value::Float(f) => out.push_str(&float_text(*f)),
        Value::Str(s, super::Kind::Safe) => {
            out.push_str("Markup(");
            quote(s, out);
            out.push(')');
        }
        Value::Str(s, _) => quote(s, out),
        Value::Bytes(b) => bytes(b, out),
        Value::List(l) => {
            let items = lock(l).clone();
            out.push('[');
            sequence(&items, out, depth);
            out.push(']');
        }
        Value::Tuple(t) => {
            out.push('(');
            sequence(t, out, depth);
            out.push_str(if t.len() == 1 { ",)" } else { ")" });
        }
        Value::Dict(_) => mapping(&value.entries().unwrap_or_default(), out, depth),
        Value::Object(o) if o.is_mapping() => mapping(&value.entries().unwrap_or_default(), out, depth),
        Value::Object(o) => out.push_str(&o.repr()),
    }
}

/// A text in Python's quotes.
fn quote(s: &str, out: &mut String) {
    let q = if s.contains('\'') && !s.contains('"') { '"' } else { '\'' };
    out.push(q);
    for c in s.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\\' => out.push_str("\\\\"),
            c if c == q => {
                out.push('\\');
                out.push(c);
            }
            c if (c as u32) < 0x20 || (0x7f..0xa1).contains(&(c as u32)) || c as u32 == 0xad => {
                out.push_str(&format!("\\x{:02x}", c as u32));
            }
            // Separators, surrogates' neighbours and private characters are not printable in Python.
            c if matches!(c as u32, 0x2000..=0x200f | 0x2028..=0x202f | 0x205f..=0x206f | 0x3000 | 0xe000..=0xf8ff | 0xfeff) =>
            {
                out.push_str(&format!("\\u{:04x}", c as u32));
            }
            c => out.push(c),
        }
    }
    out.push(q);
}

fn bytes(b: &[u8], out: &mut String) {
    let q = if b.contains(&b'\'') && !b.contains(&b'"') { '"' } else { '\'' };
    out.push('b');
    out.push(q);
    for byte in b {
        match *byte {
            b'\n' => out.push_str("\\n"),
            b'\t' => out.push_str("\\t"),
            b'\r' => out.push_str("\\r"),
            b'\\' => out.push_str("\\\\"),
            c if char::from(c) == q => {
                out.push('\\');
                out.push(q);
            }
            c @ 0x20..0x7f => out.push(char::from(c)),
            c => out.push_str(&format!("\\x{c:02x}")),
        }
    }
    out.push(q);
}
