//! `ini`.

use super::Query;
use super::files::{read, text_of};
use crate::render::error::Error;
use crate::render::filters::Pattern;
use crate::render::value::Value;

pub(super) fn ini(q: &mut Query) -> Result<Vec<Value>, Error> {
    let file = q.text("file")?.unwrap_or_else(|| "ansible.ini".into());
    let section = q.text("section")?.unwrap_or_else(|| "global".into());
    let kind = q.text("type")?.unwrap_or_else(|| "ini".into());
    let regex = q.flag("re", false)?;
    let sensitive = q.flag("case_sensitive", false)?;
    let none = q.flag("allow_none", false)?;
    let default = q.options.named("default").filter(|d| !d.is_none()).unwrap_or_else(|| Value::from(""));
    q.options.named("encoding");
    let mut out = Vec::new();
    for term in q.texts()? {
        let (key, options) = Query::split_term(&term);
        let get = |name: &str, own: &str| {
            options.iter().find(|(k, _)| k == name).map_or_else(|| own.to_owned(), |(_, v)| v.clone())
        };
        let (file, kind) = (get("file", &file), get("type", &kind));
        let section = if kind == "properties" { "java_properties".to_owned() } else { get("section", &section) };
        let default =
            options.iter().find(|(k, _)| k == "default").map_or(default.clone(), |(_, v)| Value::from(v.as_str()));
        let regex = options
            .iter()
            .find(|(k, _)| k == "re")
            .map_or(regex, |(_, v)| matches!(v.as_str(), "true" | "True" | "1" | "yes"));
        let Some(bytes) = read(q, &file)? else {
            return Err(Error::other(format!("file not found: {file}")));
        };
        let text = text_of(bytes);
        let text = if kind == "properties" { format!("[java_properties]\n{text}") } else { text };
        let entries = entries(&text, &section, sensitive, none)?;
        if regex {
            let pattern = Pattern::new(&key, false, false)?;
            for (k, v) in &entries {
                if pattern.matches_start(k, false)? {
                    out.push(Value::outside(v.as_str()));
                }
            }
            continue;
        }
        let wanted = if sensitive { key } else { key.to_lowercase() };
        match entries.iter().rev().find(|(k, _)| *k == wanted) {
            Some((_, v)) => out.push(Value::outside(v.as_str())),
            None => out.push(default),
        }
    }
    Ok(out)
}

/// The keys and values of a section.
fn entries(text: &str, wanted: &str, sensitive: bool, none: bool) -> Result<Vec<(String, String)>, Error> {
    let mut out: Vec<(String, String)> = Vec::new();
    let mut section = String::new();
    for line in text.lines() {
        let bare = line.trim();
        if bare.is_empty() || bare.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.split_once(']')) {
            section = name.0.to_owned();
            continue;
        }
        if section != wanted && section != "DEFAULT" {
            continue;
        }
        if line.starts_with([' ', '\t']) {
            // A further line of the value before.
            if let Some((_, v)) = out.last_mut() {
                v.push('\n');
                v.push_str(bare);
            }
            continue;
        }
        let (key, value) = match bare.find(['=', ':']) {
            Some(i) => (bare.get(..i).unwrap_or("").trim_end(), bare.get(i + 1..).unwrap_or("").trim()),
            None if none => (bare, ""),
            None => return Err(Error::other(format!("Source contains parsing errors: {bare}"))),
        };
        out.push((if sensitive { key.to_owned() } else { key.to_lowercase() }, value.to_owned()));
    }
    Ok(out)
}
