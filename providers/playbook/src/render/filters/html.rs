//! Filters of HTML.

use super::{Filter, input};
use crate::render::error::{Error, Out};
use crate::render::eval::State;
use crate::render::value::{Args, Kind, Value};

pub(super) fn get(name: &str) -> Option<Filter> {
    Some(match name {
        "escape" | "e" => |_, v, _| match v {
            Value::Str(_, Kind::Safe) => Ok(v),
            other => Ok(Value::safe(escape_html(&input(&other)?))),
        },
        "forceescape" => |_, v, _| Ok(Value::safe(escape_html(&input(&v)?))),
        "safe" => |_, v, _| Ok(Value::safe(input(&v)?)),
        "striptags" => |_, v, _| Ok(Value::from(strip_tags(&input(&v)?))),
        "xmlattr" => xmlattr,
        "urlize" => urlize,
        _ => return None,
    })
}

/// The text for HTML.
pub(crate) fn escape_html(s: &str) -> String {
    let mut out = String::with_capacity(s.len());
    for c in s.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

fn strip_tags(s: &str) -> String {
    let mut text = s.to_owned();
    while let Some(start) = text.find("<!--") {
        let Some(end) = text.get(start..).and_then(|t| t.find("-->")) else { break };
        text.replace_range(start..start + end + 3, "");
    }
    while let Some(start) = text.find('<') {
        let Some(end) = text.get(start..).and_then(|t| t.find('>')) else { break };
        text.replace_range(start..=start + end, "");
    }
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let named = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#34;", "\""),
        ("&#39;", "'"),
        ("&apos;", "'"),
        ("&nbsp;", "\u{a0}"),
    ];
    named.iter().fold(text, |t, (from, to)| t.replace(from, to)).replace("&amp;", "&")
}

fn xmlattr(_: &mut State, v: Value, mut args: Args) -> Out {
    let space = args.flag("autospace", true)?;
    let pairs = v
        .defined()?
        .entries()
        .ok_or_else(|| Error::typed(format!("'{}' object has no attribute 'items'", v.type_name())))?;
    let mut out = Vec::new();
    for (k, v) in pairs {
        if v.is_none() || v.is_undefined() {
            continue;
        }
        let name = input(&k)?;
        if name.contains(|c: char| c.is_whitespace() || matches!(c, '/' | '>' | '=')) {
            let shown = crate::render::value::repr(&k);
            return Err(Error::other(format!("Invalid character in attribute name: {shown}")));
        }
        out.push(format!("{}=\"{}\"", escape_html(&name), escape_html(&input(&v)?)));
    }
    let text = out.join(" ");
    Ok(Value::from(if space && !text.is_empty() { format!(" {text}") } else { text }))
}

fn urlize(_: &mut State, v: Value, mut args: Args) -> Out {
    let limit = args.take("trim_url_limit").and_then(|v| v.as_int()).and_then(|n| usize::try_from(n).ok());
    let nofollow = args.flag("nofollow", false)?;
    let target = args.text("target")?;
    let rel = args.text("rel")?;
    let mut rels: Vec<String> = rel.map(|r| r.split_whitespace().map(str::to_owned).collect()).unwrap_or_default();
    if nofollow {
        rels.push("nofollow".into());
    }
    rels.push("noopener".into());
    rels.sort();
    rels.dedup();
    let mut attributes = format!(" rel=\"{}\"", escape_html(&rels.join(" ")));
    if let Some(t) = target {
        attributes.push_str(&format!(" target=\"{}\"", escape_html(&t)));
    }
    let source = escape_html(&input(&v)?);
    let mut out = String::new();
    for word in source.split_inclusive(char::is_whitespace) {
        let bare = word.trim_end();
        let gap = word.get(bare.len()..).unwrap_or("");
        let core = bare.trim_end_matches(['.', ',', ')', ';', '!', '?']);
        let tail = bare.get(core.len()..).unwrap_or("");
        let short: String = match limit {
            Some(n) if core.chars().count() > n => core.chars().take(n).chain("...".chars()).collect(),
            _ => core.to_owned(),
        };
        let link = if core.starts_with("http://") || core.starts_with("https://") {
            Some(core.to_owned())
        } else if core.starts_with("www.") {
            Some(format!("https://{core}"))
        } else {
            let mail = core.split_once('@').is_some_and(|(a, b)| !a.is_empty() && b.contains('.') && !b.contains('@'));
            mail.then(|| format!("mailto:{core}"))
        };
        match link {
            Some(l) if l.starts_with("mailto:") => out.push_str(&format!("<a href=\"{l}\">{core}</a>{tail}{gap}")),
            Some(l) => out.push_str(&format!("<a href=\"{l}\"{attributes}>{short}</a>{tail}{gap}")),
            None => out.push_str(word),
        }
    }
    Ok(Value::from(out))
}
