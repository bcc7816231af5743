//! Methods of texts.

use crate::render::error::{Error, Out};
use crate::render::eval::spend;
use crate::render::format;
use crate::render::value::{Args, Kind, MOST, Value, text};

pub(crate) const NAMES: &[&str] = &[
    "capitalize",
    "casefold",
    "center",
    "count",
    "encode",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "format_map",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "translate",
    "upper",
    "zfill",
];

pub(super) fn call(s: &str, kind: Kind, name: &str, args: Args) -> Out {
    spend(s.len() / 64)?;
    let out = test(s, name).or_else(|| change(s, name));
    match out {
        Some(v) => Ok(v),
        None => with_args(s, kind, name, args),
    }
}

fn cased(c: char) -> bool {
    c.is_uppercase() || c.is_lowercase()
}

fn test(s: &str, name: &str) -> Option<Value> {
    let all = |f: fn(char) -> bool| !s.is_empty() && s.chars().all(f);
    Some(Value::Bool(match name {
        "isalnum" => all(char::is_alphanumeric),
        "isalpha" => all(char::is_alphabetic),
        "isascii" => s.is_ascii(),
        "isdecimal" | "isdigit" | "isnumeric" => all(char::is_numeric),
        "isspace" => all(char::is_whitespace),
        "isprintable" => !s.chars().any(char::is_control),
        "islower" => s.chars().any(cased) && !s.chars().any(char::is_uppercase),
        "isupper" => s.chars().any(cased) && !s.chars().any(char::is_lowercase),
        "istitle" => {
            let (mut before, mut any, mut good) = (false, false, true);
            for c in s.chars() {
                if c.is_uppercase() {
                    good &= !before;
                    any = true;
                } else if c.is_lowercase() {
                    good &= before;
                    any = true;
                }
                before = cased(c);
            }
            any && good
        }
        "isidentifier" => {
            s.starts_with(|c: char| c == '_' || c.is_alphabetic()) && s.chars().all(|c| c == '_' || c.is_alphanumeric())
        }
        _ => return None,
    }))
}

/// First letter large, the others small.
pub(crate) fn capitalize(s: &str) -> String {
    let mut chars = s.chars();
    let Some(first) = chars.next() else { return String::new() };
    // A letter whose large form is two, as `ß`, has only the first one large.
    let mut first = first.to_uppercase();
    let head = first.next();
    head.into_iter().chain(first.chain(chars).flat_map(char::to_lowercase)).collect()
}

fn title(s: &str) -> String {
    let mut before = false;
    let mut out = String::new();
    for c in s.chars() {
        if before {
            out.extend(c.to_lowercase())
        } else {
            out.extend(c.to_uppercase())
        }
        before = cased(c) || c.is_alphabetic();
    }
    out
}

fn change(s: &str, name: &str) -> Option<Value> {
    Some(Value::from(match name {
        "upper" => s.to_uppercase(),
        "lower" => s.to_lowercase(),
        "casefold" => s.to_lowercase().replace('ß', "ss"),
        "capitalize" => capitalize(s),
        "title" => title(s),
        "swapcase" => s
            .chars()
            .flat_map(|c| -> Vec<char> {
                if c.is_uppercase() { c.to_lowercase().collect() } else { c.to_uppercase().collect() }
            })
            .collect(),
        _ => return None,
    }))
}

/// `split` of Python, from the left or the right.
pub(crate) fn split(s: &str, sep: Option<&str>, most: i128, right: bool) -> Result<Vec<String>, Error> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let mut out: Vec<String> = Vec::new();
    let Some(sep) = sep else {
        let mut rest = if right { s.trim_end() } else { s.trim_start() };
        while !rest.is_empty() {
            if out.len() == most {
                out.push(if right { rest.trim_end() } else { rest }.to_owned());
                break;
            }
            let at = if right { rest.rfind(char::is_whitespace) } else { rest.find(char::is_whitespace) };
            let (word, next) = match at {
                None => (rest, ""),
                Some(i) if right => {
                    let after = i + rest.get(i..).and_then(|r| r.chars().next()).map_or(1, char::len_utf8);
                    (rest.get(after..).unwrap_or(""), rest.get(..i).unwrap_or("").trim_end())
                }
                Some(i) => (rest.get(..i).unwrap_or(""), rest.get(i..).unwrap_or("").trim_start()),
            };
            out.push(word.to_owned());
            rest = next;
        }
        if right {
            out.reverse();
        }
        return Ok(out);
    };
    if sep.is_empty() {
        return Err(Error::other("empty separator"));
    }
    let n = most.saturating_add(1);
    if right {
        out.extend(s.rsplitn(n, sep).map(str::to_owned));
        out.reverse();
    } else {
        out.extend(s.splitn(n, sep).map(str::to_owned));
    }
    Ok(out)
}

/// The lines of a text.
pub(crate) fn lines(s: &str, keep: bool) -> Vec<String> {
    let mut out = Vec::new();
    let mut line = String::new();
    let mut chars = s.chars().peekable();
    while let Some(c) = chars.next() {
        let ends = matches!(c, '\n' | '\r' | '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}');
        if !ends {
            line.push(c);
            continue;
        }
        if keep {
            line.push(c);
        }
        if c == '\r' && chars.peek() == Some(&'\n') {
            chars.next();
            if keep {
                line.push('\n');
            }
        }
        out.push(std::mem::take(&mut line));
    }
    if !line.is_empty() {
        out.push(line);
    }
    out
}

/// Strips characters from the ends.
pub(crate) fn strip(s: &str, chars: Option<&str>, left: bool, right: bool) -> String {
    let bad = |c: char| chars.map_or(c.is_whitespace() || ('\x1c'..='\x1f').contains(&c), |set| set.contains(c));
    let s = if left { s.trim_start_matches(bad) } else { s };
    if right { s.trim_end_matches(bad) } else { s }.to_owned()
}

pub(crate) fn replace(s: &str, from: &str, to: &str, most: i128) -> Out {
    let times = if from.is_empty() { s.len() + 1 } else { s.matches(from).count() };
    let times = usize::try_from(most).map_or(times, |m| m.min(times));
    if times.saturating_mul(to.len()) > MOST {
        return Err(Error::other("the result is too long"));
    }
    Ok(Value::from(s.replacen(from, to, times)))
}

/// A text between fillings.
pub(crate) fn pad(s: &str, width: i128, fill: &str, left: fn(usize, usize) -> usize) -> Result<String, Error> {
    let have = s.chars().count();
    let width = usize::try_from(width).unwrap_or(0);
    if width > MOST {
        return Err(Error::other("the result is too long"));
    }
    let missing = width.saturating_sub(have);
    let before = left(missing, width);
    Ok(format!("{}{s}{}", fill.repeat(before), fill.repeat(missing - before)))
}

/// Where a centred text starts: Python puts the odd space left only where the width is odd.
pub(crate) fn centred(missing: usize, width: usize) -> usize {
    missing / 2 + (missing & width & 1)
}

fn any_of(args: &mut Args, good: impl Fn(&str) -> bool) -> Out {
    let what = args.need("prefix")?;
    Ok(Value::Bool(match &what {
        Value::Tuple(all) => all.iter().any(|v| good(&text(v))),
        Value::Str(s, _) => good(s),
        other => {
            return Err(Error::typed(format!("first arg must be str or a tuple of str, not {}", other.type_name())));
        }
    }))
}

fn find(s: &str, name: &str, args: &mut Args) -> Out {
    let what = args.text("sub")?.unwrap_or_default();
    let chars: Vec<char> = s.chars().collect();
    let len = chars.len() as i128;
    let clamp = |v: i128| if v < 0 { (v + len).max(0) } else { v.min(len) } as usize;
    let (from, to) = (clamp(args.int("start", 0)?), clamp(args.int("end", len)?));
    let part: String = chars.get(from..to).unwrap_or_default().iter().collect();
    if name == "count" {
        let n = if what.is_empty() { part.chars().count() + 1 } else { part.matches(what.as_str()).count() };
        return Ok(Value::from(n));
    }
    let at = if name.starts_with('r') { part.rfind(&what) } else { part.find(&what) };
    match at {
        Some(i) => Ok(Value::from(from + part.get(..i).unwrap_or("").chars().count())),
        None if name.ends_with("index") => Err(Error::other("substring not found")),
        None => Ok(Value::Int(-1)),
    }
}

fn with_args(s: &str, kind: Kind, name: &str, mut args: Args) -> Out {
    let strings = |all: Vec<String>| Value::list(all.into_iter().map(Value::from).collect());
    Ok(match name {
        "strip" | "lstrip" | "rstrip" => {
            let chars = args.text("chars")?;
            Value::from(strip(s, chars.as_deref(), name != "rstrip", name != "lstrip"))
        }
        "split" | "rsplit" => {
            let sep = args.text("sep")?;
            strings(split(s, sep.as_deref(), args.int("maxsplit", -1)?, name == "rsplit")?)
        }
        "splitlines" => strings(lines(s, args.flag("keepends", false)?)),
        "partition" | "rpartition" => {
            let sep = args.text("sep")?.unwrap_or_default();
            let found = if name == "partition" { s.split_once(&sep) } else { s.rsplit_once(&sep) };
            let (a, m, b) = match found {
                Some((a, b)) => (a, sep.as_str(), b),
                None if name == "partition" => (s, "", ""),
                None => ("", "", s),
            };
            Value::tuple(vec![a.into(), m.into(), b.into()])
        }
        "replace" => {
            let (from, to) = (args.text("old")?.unwrap_or_default(), args.text("new")?.unwrap_or_default());
            return replace(s, &from, &to, args.int("count", -1)?);
        }
        "startswith" => return any_of(&mut args, |p| s.starts_with(p)),
        "endswith" => return any_of(&mut args, |p| s.ends_with(p)),
        "find" | "rfind" | "index" | "rindex" | "count" => return find(s, name, &mut args),
        "zfill" => {
            let width = args.int("width", 0)?;
            let (sign, digits) = match s.chars().next() {
                Some(c @ ('-' | '+')) => (c.to_string(), s.get(1..).unwrap_or("")),
                _ => (String::new(), s),
            };
            let filled = pad(digits, width - sign.len() as i128, "0", |missing, _| missing)?;
            Value::from(format!("{sign}{filled}"))
        }
        "ljust" | "rjust" | "center" => {
            let width = args.int("width", 0)?;
            let fill = args.text("fillchar")?.unwrap_or_else(|| " ".into());
            Value::from(match name {
                "ljust" => pad(s, width, &fill, |_, _| 0),
                "rjust" => pad(s, width, &fill, |missing, _| missing),
                _ => pad(s, width, &fill, centred),
            }?)
        }
        "join" => {
            let mut out = Vec::new();
            for (i, v) in args.need("iterable")?.iter()?.iter().enumerate() {
                match v.defined()?.as_str() {
                    Some(s) => out.push(s.to_owned()),
                    None => {
                        return Err(Error::typed(format!(
                            "sequence item {i}: expected str instance, {} found",
                            v.type_name()
                        )));
                    }
                }
            }
            Value::from(out.join(s))
        }
        "format" => Value::from(format::braces(s, &args)?),
        "format_map" => {
            let pairs = args.need("mapping")?.entries().unwrap_or_default();
            let named = pairs.into_iter().map(|(k, v)| (text(&k).into(), v)).collect();
            Value::from(format::braces(s, &Args::new(Vec::new(), named))?)
        }
        "encode" => {
            let encoding = args.text("encoding")?.unwrap_or_else(|| "utf-8".into());
            Value::Bytes(super::encode(s, &encoding)?.into())
        }
        "removeprefix" => {
            let p = args.text("prefix")?.unwrap_or_default();
            Value::from(s.strip_prefix(p.as_str()).unwrap_or(s))
        }
        "removesuffix" => {
            let p = args.text("suffix")?.unwrap_or_default();
            Value::from(s.strip_suffix(p.as_str()).unwrap_or(s))
        }
        "expandtabs" => {
            let size = usize::try_from(args.int("tabsize", 8)?.clamp(0, 1000)).unwrap_or(8);
            let (mut out, mut column) = (String::new(), 0usize);
            for c in s.chars() {
                if out.len() > MOST {
                    return Err(Error::other("the result is too long"));
                }
                match c {
                    '\t' => {
                        let n = size.saturating_sub(column.checked_rem(size).unwrap_or(0));
                        out.push_str(&" ".repeat(n));
                        column += n;
                    }
                    '\n' | '\r' => {
                        out.push(c);
                        column = 0;
                    }
                    c => {
                        out.push(c);
                        column += 1;
                    }
                }
            }
            Value::from(out)
        }
        "translate" => {
            let table = args.need("table")?;
            let mut out = String::new();
            for c in s.chars() {
                match table.entries().unwrap_or_default().into_iter().find(|(k, _)| k.as_int() == Some(c as i128)) {
                    None => out.push(c),
                    Some((_, Value::None)) => {}
                    Some((_, v)) => match v.as_int().and_then(|i| u32::try_from(i).ok()).and_then(char::from_u32) {
                        Some(c) => out.push(c),
                        None => out.push_str(&text(&v)),
                    },
                }
            }
            Value::from(out)
        }
        other => return Value::Str(s.into(), kind).lacks(other).defined().cloned(),
    })
}
