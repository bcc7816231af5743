//! Filters of paths.

use std::path::{Path, PathBuf};

use super::{Filter, input, items, texts};
use crate::render::error::{Error, Out};
use crate::render::value::Value;

pub(super) fn get(name: &str) -> Option<Filter> {
    Some(match name {
        "basename" => |_, v, _| Ok(Value::from(input(&v)?.rsplit('/').next().unwrap_or_default())),
        "dirname" => |_, v, _| Ok(Value::from(dirname(&input(&v)?))),
        "splitext" => |_, v, _| {
            let s = input(&v)?;
            let (a, b) = splitext(&s);
            Ok(Value::tuple(vec![a.into(), b.into()]))
        },
        "normpath" => |_, v, _| Ok(Value::from(normal(&input(&v)?))),
        "realpath" => |s, v, _| {
            s.scope.note_impure();
            let path = absolute(&input(&v)?);
            Ok(Value::from(real(Path::new(&path), 0).display().to_string()))
        },
        "relpath" => |_, v, mut a| {
            let start = a.text("start")?.unwrap_or_else(|| ".".into());
            Ok(Value::from(relative(&absolute(&input(&v)?), &absolute(&start))))
        },
        "path_join" => |_, v, _| {
            let parts = match v.defined()? {
                Value::Str(s, _) => vec![s.to_string()],
                Value::List(_) | Value::Tuple(_) => items(&v)?.iter().map(input).collect::<Result<_, _>>()?,
                other => {
                    return Err(Error::typed(format!(
                        "|path_join expects string or sequence, got {}",
                        other.type_name()
                    )));
                }
            };
            let mut out = String::new();
            for part in &parts {
                if part.starts_with('/') || out.is_empty() {
                    out = part.clone();
                } else {
                    if !out.ends_with('/') {
                        out.push('/');
                    }
                    out.push_str(part);
                }
            }
            Ok(Value::from(out))
        },
        "commonpath" => |_, v, _| common(&items(&v)?.iter().map(input).collect::<Result<Vec<_>, _>>()?),
        "expanduser" => |s, v, _| {
            s.scope.note_impure();
            Ok(Value::from(expand_user(&input(&v)?)))
        },
        "expandvars" => |s, v, _| {
            s.scope.note_impure();
            Ok(Value::from(expand_vars(&input(&v)?)))
        },
        "fileglob" => |s, v, _| {
            s.scope.note_impure();
            Ok(texts(crate::render::search::glob(&input(&v)?)?))
        },
        "win_basename" => |_, v, _| {
            let s = input(&v)?;
            let rest = win_drive(&s).1;
            Ok(Value::from(rest.rsplit(['\\', '/']).next().unwrap_or_default()))
        },
        "win_dirname" => |_, v, _| {
            let s = input(&v)?;
            let (drive, rest) = win_drive(&s);
            let end = rest.rfind(['\\', '/']).map_or(0, |i| i + 1);
            let head = rest.get(..end).unwrap_or("");
            let bare = head.trim_end_matches(['\\', '/']);
            Ok(Value::from(format!("{drive}{}", if bare.is_empty() { head } else { bare })))
        },
        "win_splitdrive" => |_, v, _| {
            let s = input(&v)?;
            let (a, b) = win_drive(&s);
            Ok(Value::tuple(vec![a.into(), b.into()]))
        },
        _ => return None,
    })
}

fn dirname(s: &str) -> String {
    let end = s.rfind('/').map_or(0, |i| i + 1);
    let head = s.get(..end).unwrap_or("");
    let bare = head.trim_end_matches('/');
    if bare.is_empty() { head } else { bare }.to_owned()
}

fn splitext(s: &str) -> (&str, &str) {
    let name = s.rfind('/').map_or(0, |i| i + 1);
    let first = s.get(name..).unwrap_or("").find(|c| c != '.').map_or(s.len(), |i| name + i);
    match s.rfind('.') {
        Some(at) if at > first => s.split_at(at),
        _ => (s, ""),
    }
}

pub(super) fn normal(path: &str) -> String {
    if path.is_empty() {
        return ".".into();
    }
    // Two slashes at the start are kept, as POSIX says; three are one.
    let slashes = match path.len() - path.trim_start_matches('/').len() {
        2 => "//",
        0 => "",
        _ => "/",
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if slashes.is_empty() && parts.last().is_none_or(|p| *p == "..") => parts.push(".."),
            ".." => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    let out = format!("{slashes}{}", parts.join("/"));
    if out.is_empty() { ".".into() } else { out }
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') {
        return normal(path);
    }
    let here = std::env::current_dir().unwrap_or_default().display().to_string();
    normal(&format!("{here}/{path}"))
}

fn relative(path: &str, start: &str) -> String {
    let split = |s: &str| s.split('/').filter(|p| !p.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let (path, start) = (split(path), split(start));
    let same = path.iter().zip(&start).take_while(|(a, b)| a == b).count();
    let ups = std::iter::repeat_n("..".to_owned(), start.len() - same);
    let out: Vec<String> = ups.chain(path.into_iter().skip(same)).collect();
    if out.is_empty() { ".".into() } else { out.join("/") }
}

/// Follows links as far as there are files.
fn real(path: &Path, depth: usize) -> PathBuf {
    let mut out = PathBuf::from("/");
    for part in path.components().skip(1) {
        match part.as_os_str().to_str() {
            Some("..") => {
                out.pop();
            }
            _ => {
                let next = out.join(part);
                out = match std::fs::read_link(&next) {
                    Ok(to) if depth < 40 => real(&out.join(to), depth + 1),
                    _ => next,
                };
            }
        }
    }
    out
}

fn common(paths: &[String]) -> Out {
    let Some(first) = paths.first() else { return Err(Error::other("commonpath() arg is an empty sequence")) };
    let absolute = first.starts_with('/');
    if paths.iter().any(|p| p.starts_with('/') != absolute) {
        return Err(Error::other("Can't mix absolute and relative paths"));
    }
    let split = |s: &str| s.split('/').filter(|p| !p.is_empty() && *p != ".").map(str::to_owned).collect::<Vec<_>>();
    let mut out = split(first);
    for path in paths {
        let n = out.iter().zip(split(path)).take_while(|(a, b)| **a == *b).count();
        out.truncate(n);
    }
    Ok(Value::from(format!("{}{}", if absolute { "/" } else { "" }, out.join("/"))))
}

pub(crate) fn expand_user(path: &str) -> String {
    let Some(rest) = path.strip_prefix('~') else { return path.to_owned() };
    let (user, tail) = rest.find('/').map_or((rest, ""), |i| rest.split_at(i));
    let home = if user.is_empty() {
        std::env::var("HOME").ok()
    } else {
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        passwd.lines().map(|l| l.split(':').collect::<Vec<_>>()).find_map(|f| match f.as_slice() {
            [name, _, _, _, _, home, ..] if *name == user => Some((*home).to_owned()),
            _ => None,
        })
    };
    match home {
        Some(home) => format!("{}{tail}", home.trim_end_matches('/')),
        None => path.to_owned(),
    }
}

fn expand_vars(s: &str) -> String {
    let mut out = String::new();
    let mut rest = s;
    while let Some(at) = rest.find('$') {
        out.push_str(rest.get(..at).unwrap_or(""));
        let tail = rest.get(at + 1..).unwrap_or("");
        let (name, after) = match tail.strip_prefix('{') {
            Some(inner) => match inner.split_once('}') {
                Some((name, after)) => (name, after),
                None => ("", tail),
            },
            None => tail.split_at(tail.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(tail.len())),
        };
        match std::env::var(name) {
            Ok(value) if !name.is_empty() => out.push_str(&value),
            _ => {
                let whole = rest.len() - after.len();
                out.push_str(rest.get(at..whole).unwrap_or("$"));
            }
        }
        rest = after;
    }
    out + rest
}

/// A drive or share, and the rest of a path of Windows.
fn win_drive(s: &str) -> (&str, &str) {
    let slash = |c: char| c == '\\' || c == '/';
    let mut chars = s.chars();
    let (a, b, c) = (chars.next(), chars.next(), chars.next());
    if a.is_some_and(slash) && b.is_some_and(slash) && !c.is_some_and(slash) {
        let host = s.get(2..).and_then(|r| r.find(slash)).map(|i| i + 2);
        let Some(host) = host else { return (s, "") };
        let share = s.get(host + 1..).and_then(|r| r.find(slash)).map(|i| i + host + 1);
        return match share {
            Some(i) if i == host + 1 => ("", s),
            Some(i) => s.split_at(i),
            None => (s, ""),
        };
    }
    // Four backslashes, as quoting doubles them, are a share whose name is empty.
    if a.is_some_and(slash) && b.is_some_and(slash) && c.is_some_and(slash) && s.chars().nth(3).is_some_and(slash) {
        return s.split_at(3);
    }
    if b == Some(':') { s.split_at(a.map_or(0, char::len_utf8) + 1) } else { ("", s) }
}
