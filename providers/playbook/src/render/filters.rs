//! Ansible's filters, where Jinja has none or another one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minijinja::value::{Kwargs, Rest, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind};
use sha1::Sha1;
use sha2::{Digest as _, Sha224, Sha256, Sha384, Sha512};
use towpath_core::{Json, shell_quote};

use super::python::{text, to_json, truthy};

type Out = Result<Value, Error>;

pub(super) fn wrong(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

fn list(v: &Value) -> Result<Vec<Value>, Error> {
    Ok(v.try_iter()?.collect())
}

/// Python's `json.dumps` separators: `, ` and `: `.
fn dumps(value: &Json, out: &mut String) {
    match value {
        Json::Array(items) => {
            out.push('[');
            for (i, v) in items.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                dumps(v, out);
            }
            out.push(']');
        }
        Json::Object(map) => {
            out.push('{');
            for (i, (k, v)) in map.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                out.push_str(&Json::from(k.as_str()).to_string());
                out.push_str(": ");
                dumps(v, out);
            }
            out.push('}');
        }
        other => out.push_str(&other.to_string()),
    }
}

fn sorted(value: Json) -> Json {
    match value {
        Json::Object(map) => {
            let mut pairs: Vec<_> = map.into_iter().map(|(k, v)| (k, sorted(v))).collect();
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
            Json::Object(pairs.into_iter().collect())
        }
        Json::Array(items) => Json::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

fn nice_json(v: Value, kwargs: Kwargs) -> Out {
    let indent: usize = kwargs.get::<Option<usize>>("indent")?.unwrap_or(4);
    let _ = kwargs.get::<Option<bool>>("sort_keys")?;
    let _ = kwargs.get::<Option<bool>>("ensure_ascii")?;
    kwargs.assert_all_used()?;
    let pad = " ".repeat(indent);
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(pad.as_bytes());
    let mut ser = serde_json::Serializer::with_formatter(&mut out, formatter);
    serde::Serialize::serialize(&sorted(to_json(&v)), &mut ser).map_err(|e| wrong(e.to_string()))?;
    Ok(Value::from(String::from_utf8_lossy(&out).into_owned()))
}

fn yaml_scalar(v: &Json) -> String {
    match v {
        Json::String(s) => {
            let odd = s.is_empty()
                || !matches!(crate::load::yaml::plain(s), Json::String(_))
                || s.starts_with(|c: char| "-?:,[]{}#&*!|>'\"%@` ".contains(c))
                || s.contains(": ")
                || s.contains(" #")
                || s.ends_with([':', ' ']);
            if s.contains('\n') {
                Json::from(s.as_str()).to_string()
            } else if odd {
                format!("'{}'", s.replace('\'', "''"))
            } else {
                s.clone()
            }
        }
        Json::Null => "null".into(),
        Json::Array(a) if a.is_empty() => "[]".into(),
        Json::Object(m) if m.is_empty() => "{}".into(),
        other => other.to_string(),
    }
}

fn yaml(v: &Json, indent: usize, out: &mut String) {
    let pad = " ".repeat(indent);
    match v {
        Json::Object(map) if !map.is_empty() => {
            for (k, v) in map {
                out.push_str(&format!("{pad}{}:", yaml_scalar(&Json::from(k.as_str()))));
                match v {
                    Json::Object(m) if !m.is_empty() => {
                        out.push('\n');
                        yaml(v, indent + 4, out);
                    }
                    Json::Array(a) if !a.is_empty() => {
                        out.push('\n');
                        yaml(v, indent, out);
                    }
                    v => out.push_str(&format!(" {}\n", yaml_scalar(v))),
                }
            }
        }
        Json::Array(items) if !items.is_empty() => {
            for v in items {
                let mut inner = String::new();
                yaml(v, indent + 4, &mut inner);
                out.push_str(&format!("{pad}-   {}", inner.trim_start()));
            }
        }
        v => out.push_str(&format!("{pad}{}\n", yaml_scalar(v))),
    }
}

fn combine(base: Value, others: Rest<Value>) -> Out {
    let mut others: Vec<Value> = others.0;
    let kwargs = others.last().and_then(|v| Kwargs::try_from(v.clone()).ok());
    let mut deep = false;
    if let Some(k) = &kwargs {
        deep = k.get::<Option<bool>>("recursive")?.unwrap_or(false);
        others.pop();
    }
    let mut all = vec![base];
    for o in others {
        if o.kind() == ValueKind::Seq { all.extend(list(&o)?) } else { all.push(o) }
    }
    let mut out = Json::Object(serde_json::Map::new());
    for v in all {
        let v = to_json(&v);
        if !v.is_object() {
            return Err(wrong("combine wants mappings"));
        }
        merge(&mut out, v, deep);
    }
    Ok(Value::from_serialize(out))
}

fn merge(into: &mut Json, from: Json, deep: bool) {
    let (Json::Object(a), Json::Object(b)) = (into, from) else { return };
    for (k, v) in b {
        match a.get_mut(&k) {
            Some(have) if deep && have.is_object() && v.is_object() => merge(have, v, true),
            _ => {
                a.insert(k, v);
            }
        }
    }
}

pub(super) fn regex(pattern: &str, ignore_case: bool, multiline: bool) -> Result<regex::Regex, Error> {
    // Python's `\Z` is the very end.
    regex::RegexBuilder::new(&pattern.replace("\\Z", "\\z"))
        .case_insensitive(ignore_case)
        .multi_line(multiline)
        .build()
        .map_err(|e| wrong(format!("the pattern `{pattern}` is not supported: {e}")))
}

/// Python's `\1` and `\g<name>` as this crate's `${1}`.
fn replacement(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '$' => out.push_str("$$"),
            '\\' => match chars.next() {
                Some(d) if d.is_ascii_digit() => out.push_str(&format!("${{{d}}}")),
                Some('g') if chars.peek() == Some(&'<') => {
                    chars.next();
                    let name: String = chars.by_ref().take_while(|c| *c != '>').collect();
                    out.push_str(&format!("${{{name}}}"));
                }
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some(o) => out.push(o),
                None => out.push('\\'),
            },
            c => out.push(c),
        }
    }
    out
}

fn regex_replace(v: Value, pattern: String, by: Option<Value>, kwargs: Kwargs) -> Out {
    let re = regex(
        &pattern,
        kwargs.get::<Option<bool>>("ignorecase")?.unwrap_or(false),
        kwargs.get::<Option<bool>>("multiline")?.unwrap_or(false),
    )?;
    let by = match by {
        Some(by) => text(&by),
        None => kwargs.get::<Option<String>>("replacement")?.unwrap_or_default(),
    };
    Ok(Value::from(re.replace_all(&text(&v), replacement(&by)).into_owned()))
}

fn regex_search(v: Value, pattern: String, groups: Rest<Value>) -> Out {
    let mut groups = groups.0;
    let (mut case, mut multi) = (false, false);
    if let Some(k) = groups.last().and_then(|g| Kwargs::try_from(g.clone()).ok()) {
        case = k.get::<Option<bool>>("ignorecase")?.unwrap_or(false);
        multi = k.get::<Option<bool>>("multiline")?.unwrap_or(false);
        groups.pop();
    }
    let source = text(&v);
    let Some(found) = regex(&pattern, case, multi)?.captures(&source) else { return Ok(Value::from(())) };
    let group = |name: &str| {
        let m = name.parse().map_or_else(|_| found.name(name), |i: usize| found.get(i));
        m.map(|m| m.as_str().to_owned())
    };
    if groups.is_empty() {
        return Ok(Value::from(group("0")));
    }
    let picked: Vec<Option<String>> = groups
        .iter()
        .map(|g| group(text(g).trim_start_matches('\\').trim_start_matches("g<").trim_end_matches('>')))
        .collect();
    Ok(Value::from_serialize(picked))
}

fn regex_findall(v: Value, pattern: String) -> Out {
    let source = text(&v);
    let re = regex(&pattern, false, false)?;
    let found: Vec<String> = re
        .captures_iter(&source)
        .filter_map(|c| c.get(usize::from(c.len() > 1)).map(|m| m.as_str().to_owned()))
        .collect();
    Ok(Value::from_serialize(found))
}

fn set(a: Value, b: Value, keep: fn(bool, bool) -> bool) -> Out {
    let (a, b) = (list(&a)?, list(&b)?);
    let mut out: Vec<Value> = Vec::new();
    for v in a.iter().chain(&b) {
        if keep(a.contains(v), b.contains(v)) && !out.contains(v) {
            out.push(v.clone());
        }
    }
    Ok(Value::from(out))
}

fn flatten(v: Value, kwargs: Kwargs) -> Out {
    fn go(v: &Value, depth: usize, out: &mut Vec<Value>) -> Result<(), Error> {
        for item in v.try_iter()? {
            if item.kind() == ValueKind::Seq && depth > 0 { go(&item, depth - 1, out)? } else { out.push(item) }
        }
        Ok(())
    }
    let levels = kwargs.get::<Option<usize>>("levels")?.unwrap_or(100);
    let mut out = Vec::new();
    go(&v, levels, &mut out)?;
    Ok(Value::from(out))
}

pub(crate) fn hash(algorithm: &str, bytes: &[u8]) -> Option<String> {
    Some(match algorithm {
        "sha1" => hex::encode(Sha1::digest(bytes)),
        "sha224" => hex::encode(Sha224::digest(bytes)),
        "sha256" => hex::encode(Sha256::digest(bytes)),
        "sha384" => hex::encode(Sha384::digest(bytes)),
        "sha512" => hex::encode(Sha512::digest(bytes)),
        _ => return None,
    })
}

fn int(v: Value, default: Option<i64>) -> Out {
    let default = default.unwrap_or(0);
    let n = match v.as_str() {
        Some(s) => {
            let s = s.trim();
            s.parse::<i64>().ok().or_else(|| s.parse::<f64>().ok().map(|f| f as i64)).unwrap_or(default)
        }
        None if v.kind() == ValueKind::Bool => i64::from(v.is_true()),
        None => f64::try_from(v).map_or(default, |f| f as i64),
    };
    Ok(Value::from(n))
}

/// Ends with the shortest.
fn zip(a: Value, others: Rest<Value>) -> Out {
    let mut columns = vec![list(&a)?];
    for other in others.iter() {
        columns.push(list(other)?);
    }
    let length = columns.iter().map(Vec::len).min().unwrap_or(0);
    let row = |i: usize| Value::from(columns.iter().filter_map(|c| c.get(i).cloned()).collect::<Vec<_>>());
    Ok(Value::from((0..length).map(row).collect::<Vec<_>>()))
}

pub(super) fn add(env: &mut Environment<'static>) {
    env.add_filter("to_json", |v: Value, _: Kwargs| {
        let mut out = String::new();
        dumps(&to_json(&v), &mut out);
        out
    });
    env.add_filter("to_nice_json", nice_json);
    env.add_filter("from_json", |v: Value| -> Out {
        serde_json::from_str::<Json>(&text(&v)).map(Value::from_serialize).map_err(|e| wrong(e.to_string()))
    });
    for name in ["to_yaml", "to_nice_yaml"] {
        env.add_filter(name, |v: Value, _: Kwargs| {
            let mut out = String::new();
            yaml(&sorted(to_json(&v)), 0, &mut out);
            out
        });
    }
    env.add_filter("from_yaml", |v: Value| -> Out {
        let node =
            crate::load::yaml::parse(std::path::Path::new("from_yaml"), &text(&v)).map_err(|e| wrong(e.report()))?;
        Ok(Value::from_serialize(node.json()))
    });
    env.add_filter("b64encode", |v: Value| STANDARD.encode(text(&v)));
    env.add_filter("b64decode", |v: Value| -> Result<String, Error> {
        let bytes = STANDARD.decode(text(&v).trim()).map_err(|e| wrong(format!("no base64: {e}")))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    });
    env.add_filter("basename", |v: Value| text(&v).rsplit('/').next().unwrap_or_default().to_owned());
    env.add_filter("dirname", |v: Value| match text(&v).rsplit_once('/') {
        Some(("", _)) => "/".to_owned(),
        Some((dir, _)) => dir.to_owned(),
        None => String::new(),
    });
    env.add_filter("splitext", |v: Value| {
        let s = text(&v);
        let at = s.rfind('.').filter(|i| *i > s.rfind('/').map_or(0, |p| p + 1)).unwrap_or(s.len());
        let (a, b) = s.split_at(at);
        Value::from(vec![a.to_owned(), b.to_owned()])
    });
    env.add_filter("bool", |v: Value| match v.kind() {
        ValueKind::Bool => v.is_true(),
        _ => truthy(&to_json(&v)).unwrap_or(false),
    });
    env.add_filter("int", int);
    env.add_filter("string", |v: Value| text(&v));
    env.add_filter("join", |v: Value, by: Option<String>, attribute: Kwargs| -> Result<String, Error> {
        let attribute = attribute.get::<Option<String>>("attribute")?;
        let items = list(&v)?.into_iter().map(|i| match &attribute {
            Some(a) => i.get_attr(a),
            None => Ok(i),
        });
        let texts = items.map(|i| i.map(|i| text(&i))).collect::<Result<Vec<_>, _>>()?;
        Ok(texts.join(by.as_deref().unwrap_or("")))
    });
    env.add_filter("regex_replace", regex_replace);
    env.add_filter("regex_search", regex_search);
    env.add_filter("regex_findall", regex_findall);
    env.add_filter("regex_escape", |v: Value| regex::escape(&text(&v)));
    env.add_filter("combine", combine);
    env.add_filter("dict2items", |v: Value, kwargs: Kwargs| -> Out {
        let k = kwargs.get::<Option<String>>("key_name")?.unwrap_or_else(|| "key".into());
        let n = kwargs.get::<Option<String>>("value_name")?.unwrap_or_else(|| "value".into());
        let Json::Object(map) = to_json(&v) else { return Err(wrong("dict2items wants a mapping")) };
        let items: Vec<Json> = map.into_iter().map(|(key, value)| serde_json::json!({ &k: key, &n: value })).collect();
        Ok(Value::from_serialize(items))
    });
    env.add_filter("items2dict", |v: Value, kwargs: Kwargs| -> Out {
        let k = kwargs.get::<Option<String>>("key_name")?.unwrap_or_else(|| "key".into());
        let n = kwargs.get::<Option<String>>("value_name")?.unwrap_or_else(|| "value".into());
        let mut map = serde_json::Map::new();
        for item in list(&v)? {
            map.insert(text(&item.get_attr(&k)?), to_json(&item.get_attr(&n)?));
        }
        Ok(Value::from_serialize(map))
    });
    env.add_filter("quote", |v: Value| shell_quote(&text(&v)));
    env.add_filter("hash", |v: Value, algorithm: Option<String>| -> Result<String, Error> {
        let algorithm = algorithm.unwrap_or_else(|| "sha1".into());
        hash(&algorithm, text(&v).as_bytes()).ok_or_else(|| wrong(format!("the hash `{algorithm}` is not supported")))
    });
    env.add_filter("checksum", |v: Value| hash("sha1", text(&v).as_bytes()));
    env.add_filter("sha1", |v: Value| hash("sha1", text(&v).as_bytes()));
    env.add_filter("ternary", |v: Value, yes: Value, no: Value, none: Option<Value>| match none {
        Some(n) if v.is_none() => n,
        _ if v.is_true() => yes,
        _ => no,
    });
    env.add_filter("mandatory", |v: Value, message: Option<String>| -> Out {
        if v.is_undefined() {
            return Err(Error::new(
                ErrorKind::UndefinedError,
                message.unwrap_or_else(|| "a mandatory variable is not defined".into()),
            ));
        }
        Ok(v)
    });
    env.add_filter("union", |a: Value, b: Value| set(a, b, |_, _| true));
    env.add_filter("intersect", |a: Value, b: Value| set(a, b, |x, y| x && y));
    env.add_filter("difference", |a: Value, b: Value| set(a, b, |x, y| x && !y));
    env.add_filter("symmetric_difference", |a: Value, b: Value| set(a, b, |x, y| x != y));
    env.add_filter("flatten", flatten);
    env.add_filter("zip", zip);
    env.add_filter("urldecode", |v: Value| -> String {
        let text = text(&v).replace('+', " ");
        let mut out = Vec::new();
        let mut rest = text.as_bytes();
        while let Some((first, tail)) = rest.split_first() {
            let code = tail.get(..2).filter(|_| *first == b'%').and_then(|c| hex::decode(c).ok());
            match code {
                Some(byte) => {
                    out.extend(byte);
                    rest = tail.get(2..).unwrap_or_default();
                }
                None => {
                    out.push(*first);
                    rest = tail;
                }
            }
        }
        String::from_utf8_lossy(&out).into_owned()
    });
    env.add_filter("extract", |key: Value, from: Value, more: Option<Value>| -> Out {
        let mut value = from.get_item(&key)?;
        let more = match more {
            Some(m) if m.kind() == ValueKind::Seq => list(&m)?,
            Some(m) => vec![m],
            None => Vec::new(),
        };
        for key in more {
            value = value.get_item(&key)?;
        }
        Ok(value)
    });
    env.add_filter("path_join", |v: Value| -> Result<String, Error> {
        let parts = if v.as_str().is_some() { vec![v] } else { list(&v)? };
        let mut out = String::new();
        for part in parts.iter().map(text) {
            if part.starts_with('/') {
                out.clear();
            } else if !out.is_empty() && !out.ends_with('/') {
                out.push('/');
            }
            out.push_str(&part);
        }
        Ok(out)
    });
    env.add_filter("pow", |a: f64, b: f64| a.powf(b));
    env.add_filter("log", |a: f64, base: Option<f64>| match base {
        Some(10.0) => a.log10(),
        Some(b) => a.log(b),
        None => a.ln(),
    });
    env.add_filter("root", |a: f64, base: Option<f64>| match base {
        None | Some(2.0) => a.sqrt(),
        Some(b) => a.powf(1.0 / b),
    });
    env.add_filter("product", |a: Value, others: Rest<Value>| -> Out {
        let mut rows: Vec<Vec<Value>> = list(&a)?.into_iter().map(|v| vec![v]).collect();
        for other in others.iter() {
            let other = list(other)?;
            rows = rows
                .into_iter()
                .flat_map(|row| other.iter().map(move |v| [row.clone(), vec![v.clone()]].concat()).collect::<Vec<_>>())
                .collect();
        }
        Ok(Value::from(rows.into_iter().map(Value::from).collect::<Vec<_>>()))
    });
    env.add_filter("type_debug", |v: Value| match v.kind() {
        ValueKind::String => "str",
        ValueKind::Bool => "bool",
        ValueKind::Number if v.is_integer() => "int",
        ValueKind::Number => "float",
        ValueKind::Seq => "list",
        ValueKind::Map => "dict",
        _ => "NoneType",
    });
}
