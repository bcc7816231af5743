//! `comment`.

use super::{Filter, input};
use crate::render::error::{Error, Out};
use crate::render::eval::State;
use crate::render::value::{Args, Value, text};

pub(super) fn get(name: &str) -> Option<Filter> {
    (name == "comment").then_some(comment as Filter)
}

fn comment(_: &mut State, v: Value, mut args: Args) -> Out {
    let style = args.text("style")?.unwrap_or_else(|| "plain".into());
    let (decoration, begin, end) = match style.as_str() {
        "plain" => ("# ", "", ""),
        "erlang" => ("% ", "", ""),
        "c" => ("// ", "", ""),
        "cblock" => (" * ", "/*", " */"),
        "xml" => (" - ", "<!--", "-->"),
        other => return Err(Error::other(format!("'{other}'"))),
    };
    let mut get = |name: &str| args.named(name).map(|v| text(&v));
    let newline = get("newline").unwrap_or_else(|| "\n".into());
    let begin = get("beginning").unwrap_or_else(|| begin.into());
    let end = get("end").unwrap_or_else(|| end.into());
    let decoration = get("decoration").unwrap_or_else(|| decoration.into());
    let prefix = get("prefix").unwrap_or_else(|| decoration.trim_end().to_owned());
    let postfix = get("postfix").unwrap_or_else(|| decoration.trim_end().to_owned());
    let count = |v: Option<String>| v.and_then(|v| v.parse::<usize>().ok()).unwrap_or(1).min(10_000);
    let (before, after) = (count(get("prefix_count")), count(get("postfix_count")));
    let source = input(&v)?;
    let line = |s: &str| if s.is_empty() { String::new() } else { format!("{s}{newline}") };
    let mut out = line(&begin);
    if !prefix.is_empty() {
        out.push_str(&line(&prefix).repeat(before));
    }
    let body: Vec<String> = source.split(newline.as_str()).map(|l| format!("{decoration}{l}")).collect();
    // A line without text has no space behind the mark, the last one excepted.
    let body = body.join(&newline);
    out.push_str(&body.replace(&format!("{decoration}{newline}"), &format!("{}{newline}", decoration.trim_end())));
    out.push_str(&newline);
    out.push_str(&vec![postfix.as_str(); after].join(&newline));
    if !end.is_empty() {
        out.push_str(&newline);
        out.push_str(&end);
    }
    if after == 0 && end.is_empty() {
        out.truncate(out.len() - newline.len());
    }
    Ok(Value::from(out))
}
