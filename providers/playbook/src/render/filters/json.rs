//! Filters of JSON.

use super::Filter;
use crate::render::error::{Error, Out};
use crate::render::eval::check;
use crate::render::value::{Args, MOST, Value, float_text, text};

pub(super) fn get(name: &str) -> Option<Filter> {
    Some(match name {
        "to_json" => |_, v, a| to_json(&v, a, None, false),
        "to_nice_json" => |_, v, a| to_json(&v, a, Some(4), true),
        "tojson" => |_, v, mut a| {
            check(&v, 0)?;
            let indent = a.take("indent").and_then(|v| v.as_int()).and_then(|i| usize::try_from(i).ok());
            let shape = Shape { indent, sort: true, ..Shape::default() };
            let out = shape.dumps(&v)?;
            let out =
                out.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026").replace('\'', "\\u0027");
            Ok(Value::safe(out))
        },
        "from_json" => |_, v, _| match v.defined()? {
            Value::Str(s, _) => from_json(s),
            other => {
                Err(Error::typed(format!("the JSON object must be str, bytes or bytearray, not {}", other.type_name())))
            }
        },
        _ => return None,
    })
}

struct Shape {
    indent: Option<usize>,
    sort: bool,
    ascii: bool,
    item: String,
    key: String,
}

impl Default for Shape {
    fn default() -> Self {
        Self { indent: None, sort: false, ascii: true, item: ", ".into(), key: ": ".into() }
    }
}

fn to_json(v: &Value, mut args: Args, indent: Option<usize>, sort: bool) -> Out {
    check(v, 0)?;
    let mut shape = Shape { indent, sort, ..Shape::default() };
    if let Some(n) = args.named("indent").or_else(|| if indent.is_some() { args.take("indent") } else { None }) {
        shape.indent = n.as_int().map(|n| usize::try_from(n.clamp(0, 1000)).unwrap_or(0));
    }
    if let Some(s) = args.named("sort_keys") {
        shape.sort = s.truth()?;
    }
    if let Some(s) = args.named("ensure_ascii") {
        shape.ascii = s.truth()?;
    }
    if let Some(s) = args.named("separators").filter(|s| !s.is_none()) {
        let both = s.iter()?;
        if let (Some(item), Some(key)) = (both.first(), both.get(1)) {
            shape.item = text(item);
            shape.key = text(key);
        }
    } else if shape.indent.is_some() {
        shape.item = ",".into();
    }
    for known in ["vault_to_text", "preprocess_unsafe", "skipkeys", "check_circular", "allow_nan"] {
        args.named(known);
    }
    args.end_named("JSONEncoder.__init__")?;
    Ok(Value::from(shape.dumps(v)?))
}

impl Shape {
    fn dumps(&self, v: &Value) -> Result<String, Error> {
        let mut out = String::new();
        self.write(v, &mut out, 0)?;
        Ok(out)
    }

    fn line(&self, out: &mut String, depth: usize) {
        if let Some(indent) = self.indent {
            out.push('\n');
            out.push_str(&" ".repeat(indent * depth));
        }
    }

    fn sequence(&self, items: &[Value], out: &mut String, depth: usize) -> Result<(), Error> {
        if items.is_empty() {
            out.push_str("[]");
            return Ok(());
        }
        out.push('[');
        for (i, one) in items.iter().enumerate() {
            if i > 0 {
                out.push_str(&self.item);
            }
            self.line(out, depth + 1);
            self.write(one, out, depth + 1)?;
        }
        self.line(out, depth);
        out.push(']');
        Ok(())
    }

    fn write(&self, v: &Value, out: &mut String, depth: usize) -> Result<(), Error> {
        if depth > 100 {
            return Err(Error::other("Circular reference detected"));
        }
        if out.len() > MOST {
            return Err(Error::other("the result is too long"));
        }
        match v {
            Value::Undefined(_) | Value::None => out.push_str("null"),
            Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
            Value::Int(i) => out.push_str(&i.to_string()),
            Value::Float(f) if f.is_nan() => out.push_str("NaN"),
            Value::Float(f) if f.is_infinite() => out.push_str(if *f > 0.0 { "Infinity" } else { "-Infinity" }),
            Value::Float(f) => out.push_str(&float_text(*f)),
            Value::Str(s, _) => self.string(s, out),
            Value::List(_) | Value::Tuple(_) => self.sequence(&v.iter()?, out, depth)?,
            other => match other.entries() {
                Some(pairs) => self.mapping(pairs, out, depth)?,
                None => match other {
                    Value::Object(o) if o.iter().is_some() && o.type_name() != "range" => {
                        self.sequence(&other.iter()?, out, depth)?;
                    }
                    Value::Object(o) if o.type_name() == "datetime" => self.string(&o.repr().replace(' ', "T"), out),
                    _ => {
                        return Err(Error::typed(format!("Object of type {} is not JSON serializable", v.type_name())));
                    }
                },
            },
        }
        Ok(())
    }

    fn mapping(&self, mut pairs: Vec<(Value, Value)>, out: &mut String, depth: usize) -> Result<(), Error> {
        if pairs.is_empty() {
            out.push_str("{}");
            return Ok(());
        }
        if self.sort {
            let keyed = pairs.into_iter().map(|(k, v)| (k.clone(), Value::tuple(vec![k, v]))).collect();
            pairs = crate::render::value::sort_by(keyed, false)?
                .iter()
                .filter_map(|p| {
                    let mut p = p.iter().ok()?.into_iter();
                    Some((p.next()?, p.next()?))
                })
                .collect();
        }
        out.push('{');
        for (i, (k, v)) in pairs.iter().enumerate() {
            if i > 0 {
                out.push_str(&self.item);
            }
            self.line(out, depth + 1);
            let key = match k {
                Value::None => "null".into(),
                Value::Bool(b) => b.to_string(),
                Value::Str(..) | Value::Int(_) | Value::Float(_) => text(k),
                other => {
                    let name = other.type_name();
                    return Err(Error::typed(format!("keys must be str, int, float, bool or None, not {name}")));
                }
            };
            self.string(&key, out);
            out.push_str(&self.key);
            self.write(v, out, depth + 1)?;
        }
        self.line(out, depth);
        out.push('}');
        Ok(())
    }

    fn string(&self, s: &str, out: &mut String) {
        out.push('"');
        for c in s.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\x08' => out.push_str("\\b"),
                '\x0c' => out.push_str("\\f"),
                c if (c as u32) < 0x20 => out.push_str(&format!("\\u{:04x}", c as u32)),
                c if self.ascii && !c.is_ascii() => {
                    let mut units = [0; 2];
                    for unit in c.encode_utf16(&mut units) {
                        out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                '\x7f' if self.ascii => out.push('\x7f'),
                c => out.push(c),
            }
        }
        out.push('"');
    }
}

fn from_json(s: &str) -> Out {
    match serde_json::from_str::<towpath_core::Json>(s) {
        Ok(v) => Ok(Value::from(&v)),
        Err(e) => {
            let before: String = s.split_inclusive('\n').take(e.line().saturating_sub(1)).collect();
            let char_at = before.chars().count() + e.column().saturating_sub(1);
            let what = match e.classify() {
                serde_json::error::Category::Eof if s.trim().is_empty() => {
                    return Err(Error::other("Expecting value: line 1 column 1 (char 0)"));
                }
                serde_json::error::Category::Eof => "Expecting ',' delimiter",
                _ => "Expecting value",
            };
            // Python counts the place after the end.
            let more = usize::from(e.classify() == serde_json::error::Category::Eof);
            Err(Error::other(format!(
                "{what}: line {} column {} (char {})",
                e.line(),
                e.column() + more,
                char_at + more
            )))
        }
    }
}
