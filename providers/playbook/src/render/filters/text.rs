//! Filters of texts.

use super::{Filter, input, texts};
use crate::render::error::{Error, Out};
use crate::render::eval::State;
use crate::render::format;
use crate::render::methods::strings;
use crate::render::value::{Args, Kind, MOST, Value};

pub(super) fn get(name: &str) -> Option<Filter> {
    Some(match name {
        "upper" => |_, v, _| Ok(Value::from(input(&v)?.to_uppercase())),
        "lower" => |_, v, _| Ok(Value::from(input(&v)?.to_lowercase())),
        "capitalize" => |_, v, _| Ok(Value::from(strings::capitalize(&input(&v)?))),
        "title" => |_, v, _| Ok(Value::from(title(&input(&v)?))),
        "string" => |_, v, _| match v {
            Value::Str(..) => Ok(v),
            other => Ok(Value::from(input(&other)?)),
        },
        "trim" => |_, v, mut a| {
            let chars = a.text("chars")?;
            Ok(Value::from(strings::strip(&input(&v)?, chars.as_deref(), true, true)))
        },
        "center" => |_, v, mut a| {
            let width = a.int("width", 80)?;
            Ok(Value::from(strings::pad(&input(&v)?, width, " ", strings::centred)?))
        },
        "replace" => |_, v, mut a| {
            let from = a.need("old")?;
            let to = a.need("new")?;
            let count = a.int("count", -1)?;
            strings::replace(&input(&v)?, &input(&from)?, &input(&to)?, count)
        },
        "format" => percent,
        "split" => |_, v, mut a| {
            let Value::Str(s, _) = v.defined()? else {
                return Err(Error::typed(format!("'{}' object has no attribute 'split'", v.type_name())));
            };
            let sep = a.text("sep")?;
            Ok(texts(strings::split(s, sep.as_deref(), a.int("maxsplit", -1)?, false)?))
        },
        "indent" => indent,
        "wordcount" => |_, v, _| {
            let s = input(&v)?;
            let words = s.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|w| !w.is_empty());
            Ok(Value::from(words.count()))
        },
        "wordwrap" => wordwrap,
        "truncate" => truncate,
        "pprint" => |_, v, _| {
            crate::render::eval::check(&v, 0)?;
            Ok(Value::from(crate::render::pretty::pretty(&v)))
        },
        "regex_escape" => |_, v, mut a| super::regex::escape(&input(&v)?, a.text("re_type")?.as_deref()),
        "quote" => |_, v, _| {
            let s = if v.is_none() { String::new() } else { input(&v)? };
            Ok(Value::from(quoted(&s)))
        },
        _ => return None,
    })
}

/// As `shlex.quote` does it.
fn quoted(s: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%_-+=:,./".contains(c);
    if s.is_empty() {
        "''".into()
    } else if s.chars().all(plain) {
        s.to_owned()
    } else {
        format!("'{}'", s.replace('\'', "'\"'\"'"))
    }
}

fn title(s: &str) -> String {
    let mut start = true;
    let mut out = String::new();
    for c in s.chars() {
        if start {
            out.extend(c.to_uppercase())
        } else {
            out.extend(c.to_lowercase())
        }
        start = c.is_whitespace() || "-({[<".contains(c);
    }
    out
}

fn percent(_: &mut State, v: Value, args: Args) -> Out {
    let shape = input(&v)?;
    if !args.pos.is_empty() && !args.named.is_empty() {
        return Err(Error::typed("can't handle positional and keyword arguments at the same time"));
    }
    let values = if args.named.is_empty() {
        Value::tuple(args.pos)
    } else {
        Value::pairs(args.named.into_iter().map(|(k, v)| (Value::from(k.as_ref()), v)))
    };
    Ok(Value::from(format::percent(&shape, &values)?))
}

fn indent(_: &mut State, v: Value, mut args: Args) -> Out {
    let source = input(&v)?;
    let pad = match args.take("width") {
        Some(Value::Str(s, _)) => s.to_string(),
        Some(n) => {
            let n = n.as_int().and_then(|n| usize::try_from(n.max(0)).ok()).unwrap_or(4);
            if n > 10_000 {
                return Err(Error::other("the result is too long"));
            }
            " ".repeat(n)
        }
        None => "    ".into(),
    };
    let first = args.flag("first", false)?;
    let blank = args.flag("blank", false)?;
    // The filter adds a line's end to tell the last line.
    let source = source + "\n";
    let mut lines = if blank {
        let all = source.split('\n').collect::<Vec<_>>();
        all.split_last().map(|(_, l)| l.to_vec()).unwrap_or_default()
    } else {
        source.lines().collect()
    };
    if lines.len() * pad.len() + source.len() > MOST {
        return Err(Error::other("the result is too long"));
    }
    let head = if lines.is_empty() { "" } else { lines.remove(0) };
    let mut out = format!("{}{head}", if first { &pad } else { "" });
    let ends_blank = !blank && source.ends_with("\n\n") && !lines.last().is_none_or(|l| l.is_empty());
    for line in &lines {
        out.push('\n');
        if blank || !line.is_empty() {
            out.push_str(&pad);
        }
        out.push_str(line);
    }
    if ends_blank {
        out.push('\n');
    }
    Ok(Value::from(out))
}

/// Breaks one line at white space, as Python's `textwrap` does.
fn wrap_line(line: &str, width: usize, breaks: bool, hyphens: bool) -> Vec<String> {
    let mut chunks: Vec<String> = Vec::new();
    let mut current = String::new();
    let mut space = false;
    let chars: Vec<char> = line.chars().collect();
    for (i, c) in chars.iter().enumerate() {
        if !current.is_empty() && c.is_whitespace() != space {
            chunks.push(std::mem::take(&mut current));
        }
        space = c.is_whitespace();
        current.push(*c);
        let word = |at: Option<usize>| at.and_then(|at| chars.get(at)).is_some_and(|c| c.is_alphabetic());
        if hyphens && *c == '-' && word(i.checked_sub(1)) && word(i.checked_sub(2)) && word(Some(i + 1)) {
            chunks.push(std::mem::take(&mut current));
        }
    }
    if !current.is_empty() {
        chunks.push(current);
    }
    chunks.reverse();
    let mut out: Vec<String> = Vec::new();
    while !chunks.is_empty() {
        let (mut row, mut length) = (String::new(), 0);
        while let Some(chunk) = chunks.last() {
            let n = chunk.chars().count();
            if length + n > width {
                break;
            }
            length += n;
            row.push_str(chunk);
            chunks.pop();
        }
        if let Some(chunk) = chunks.last_mut() {
            if chunk.chars().count() > width {
                if breaks {
                    let room = width.saturating_sub(length).max(1);
                    let head: String = chunk.chars().take(room).collect();
                    let tail: String = chunk.chars().skip(room).collect();
                    row.push_str(&head);
                    *chunk = tail;
                } else if row.is_empty() {
                    row.push_str(chunk);
                    chunks.pop();
                }
            }
        }
        // White space at a row's end goes, and so does that at the next row's start.
        let row = row.trim_end();
        if !row.is_empty() {
            out.push(row.to_owned());
        }
        if chunks.last().is_some_and(|c| c.trim().is_empty()) {
            chunks.pop();
        }
    }
    out
}

fn wordwrap(_: &mut State, v: Value, mut args: Args) -> Out {
    let source = input(&v)?;
    let width = usize::try_from(args.int("width", 79)?.max(1)).unwrap_or(79);
    let breaks = args.flag("break_long_words", true)?;
    let by = args.text("wrapstring")?.unwrap_or_else(|| "\n".into());
    let hyphens = args.flag("break_on_hyphens", true)?;
    let rows = strings::lines(&source, false);
    let rows: Vec<String> = rows.iter().map(|l| wrap_line(l, width, breaks, hyphens).join(&by)).collect();
    Ok(Value::from(rows.join(&by)))
}

fn truncate(_: &mut State, v: Value, mut args: Args) -> Out {
    let source = input(&v)?;
    let length = args.int("length", 255)?;
    let kill = args.flag("killwords", false)?;
    let end = args.text("end")?.unwrap_or_else(|| "...".into());
    let leeway = args.int("leeway", 5)?;
    let have = source.chars().count() as i128;
    let end_length = end.chars().count() as i128;
    if length < end_length {
        return Err(Error::other(format!("expected length >= {end_length}, got {length}")));
    }
    if have <= length + leeway {
        return Ok(Value::from(source));
    }
    let cut: String = source.chars().take(usize::try_from(length - end_length).unwrap_or(0)).collect();
    let cut = if kill { cut.as_str() } else { cut.rsplit_once(' ').map_or(cut.as_str(), |(a, _)| a) };
    Ok(Value::Str(format!("{cut}{end}").into(), Kind::Plain))
}
