//! Filters with regular expressions, in Python's syntax.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use fancy_regex::{Regex, RegexBuilder};

use super::{Filter, input};
use crate::render::error::{Error, Out};
use crate::render::eval::{State, spend};
use crate::render::value::{Args, MOST, Value};

pub(super) fn get(name: &str) -> Option<Filter> {
    Some(match name {
        "regex_replace" => replace,
        "regex_search" => search,
        "regex_findall" => find_all,
        _ => return None,
    })
}

type Captures<'t> = fancy_regex::Captures<'t, str>;

/// A pattern of Python.
#[derive(Debug, Clone)]
pub(crate) struct Pattern(Rc<Regex>);

thread_local! {
    static KNOWN: RefCell<HashMap<(String, bool, bool), Rc<Regex>>> = RefCell::default();
}

impl Pattern {
    pub(crate) fn new(source: &str, ignore_case: bool, multiline: bool) -> Result<Self, Error> {
        let key = (source.to_owned(), ignore_case, multiline);
        if let Some(known) = KNOWN.with_borrow(|k| k.get(&key).cloned()) {
            return Ok(Self(known));
        }
        let flags = match (ignore_case, multiline) {
            (true, true) => "(?im)",
            (true, false) => "(?i)",
            (false, true) => "(?m)",
            (false, false) => "",
        };
        let multi = multiline || source.contains("(?m") || source.contains("(?im") || source.contains("(?sm");
        let regex = RegexBuilder::new(&format!("{flags}{}", translate(source, multi)))
            .backtrack_limit(1_000_000)
            .build()
            .map_err(|e| Error::other(format!("the regular expression {source} can't be read: {e}")))?;
        let regex = Rc::new(regex);
        KNOWN.with_borrow_mut(|k| {
            if k.len() > 200 {
                k.clear();
            }
            k.insert(key, regex.clone());
        });
        Ok(Self(regex))
    }

    pub(crate) fn search<'t>(&self, text: &'t str, from: usize) -> Result<Option<Captures<'t>>, Error> {
        spend(1 + text.len() / 256)?;
        self.0.captures_from_pos(text, from).map_err(|e| Error::other(format!("the regular expression fails: {e}")))
    }

    pub(crate) fn is_match(&self, text: &str) -> Result<bool, Error> {
        Ok(self.search(text, 0)?.is_some())
    }

    /// Whether the match starts where the text does.
    pub(crate) fn matches_start(&self, text: &str, whole: bool) -> Result<bool, Error> {
        let found = self.search(text, 0)?;
        Ok(found.and_then(|c| c.get(0)).is_some_and(|m| m.start() == 0 && (!whole || m.end() == text.len())))
    }

    /// All matches as Python finds them: an empty one may follow a match directly.
    fn each<'t>(&self, text: &'t str, mut f: impl FnMut(&Captures<'t>) -> Result<bool, Error>) -> Result<(), Error> {
        let (mut at, mut last_empty) = (0, None);
        while at <= text.len() {
            let Some(found) = self.search(text, at)? else { return Ok(()) };
            let Some(whole) = found.get(0) else { return Ok(()) };
            let (start, end) = (whole.start(), whole.end());
            if start == end && last_empty == Some(end) {
                at = end + text.get(end..).and_then(|t| t.chars().next()).map_or(1, char::len_utf8);
                continue;
            }
            if !f(&found)? {
                return Ok(());
            }
            if start == end {
                last_empty = Some(end);
                at = end + text.get(end..).and_then(|t| t.chars().next()).map_or(1, char::len_utf8);
            } else {
                at = end;
            }
        }
        Ok(())
    }
}

/// Python's syntax as the crate's.
fn translate(source: &str, multiline: bool) -> String {
    let mut out = String::new();
    let mut chars = source.chars().peekable();
    let (mut class, mut first) = (false, false);
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('Z') if !class => out.push_str("\\z"),
                Some(
                    e @ ('<' | '>' | '_' | '"' | '\'' | '%' | ',' | ';' | '=' | '!' | '@' | '`' | ':' | '/' | ' '),
                ) => {
                    out.push_str(&escaped(e));
                }
                Some(e) => {
                    out.push('\\');
                    out.push(e);
                }
                None => out.push('\\'),
            },
            '[' if class => out.push_str("\\["),
            '[' => {
                class = true;
                first = true;
                out.push('[');
                if chars.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                if chars.next_if_eq(&']').is_some() {
                    out.push_str("\\]");
                }
                continue;
            }
            ']' if class => {
                class = false;
                out.push(']');
            }
            '&' | '~' if class && chars.peek() == Some(&c) => out.push_str(&escaped(c)),
            '$' if !class && !multiline => out.push_str("(?=\\n?\\z)"),
            '{' if !class => {
                let ahead: String = chars.clone().take_while(|c| *c != '}').take(12).collect();
                let counts = chars.clone().take(13).any(|c| c == '}')
                    && !ahead.is_empty()
                    && ahead != ","
                    && ahead.chars().all(|c| c.is_ascii_digit() || c == ',')
                    && ahead.matches(',').count() <= 1;
                match (counts, ahead.strip_prefix(',')) {
                    (true, Some(_)) => out.push_str("{0"),
                    (true, None) => out.push('{'),
                    _ => out.push_str("\\{"),
                }
            }
            c => out.push(c),
        }
        first = false;
    }
    let _ = first;
    out
}

fn escaped(c: char) -> String {
    // A number needs no knowledge of which characters may be escaped.
    format!("\\x{:02x}", c as u32)
}

/// A replacement of Python: texts, and groups between them.
enum Part {
    Text(String),
    Group(String),
}

fn parts(source: &str) -> Result<Vec<Part>, Error> {
    let mut out = Vec::new();
    let mut text = String::new();
    let mut chars = source.chars().peekable();
    let mut group = |text: &mut String, name: String| {
        out.push(Part::Text(std::mem::take(text)));
        out.push(Part::Group(name));
    };
    while let Some(c) = chars.next() {
        if c != '\\' {
            text.push(c);
            continue;
        }
        match chars.next() {
            Some('0') => text.push('\0'),
            Some(d) if d.is_ascii_digit() => {
                let mut name = d.to_string();
                if let Some(d) = chars.next_if(char::is_ascii_digit) {
                    name.push(d);
                }
                group(&mut text, name);
            }
            Some('g') => {
                if chars.next_if_eq(&'<').is_none() {
                    return Err(Error::other("missing <"));
                }
                group(&mut text, chars.by_ref().take_while(|c| *c != '>').collect());
            }
            Some('n') => text.push('\n'),
            Some('t') => text.push('\t'),
            Some('r') => text.push('\r'),
            Some('a') => text.push('\x07'),
            Some('f') => text.push('\x0c'),
            Some('v') => text.push('\x0b'),
            Some('\\') => text.push('\\'),
            Some(c) if c.is_ascii_alphabetic() => return Err(Error::other(format!("bad escape \\{c}"))),
            Some(c) => {
                text.push('\\');
                text.push(c);
            }
            None => return Err(Error::other("bad escape (end of pattern)")),
        }
    }
    out.push(Part::Text(text));
    Ok(out)
}

fn group<'t>(c: &Captures<'t>, name: &str) -> Result<Option<&'t str>, Error> {
    match name.parse::<usize>() {
        Ok(n) if n >= c.len() => Err(Error::other(format!("invalid group reference {n}"))),
        Ok(n) => Ok(c.get(n).map(|m| m.as_str())),
        Err(_) => Ok(c.name(name).map(|m| m.as_str())),
    }
}

fn pattern(args: &mut Args, source: &str) -> Result<Pattern, Error> {
    let flag = |v: Option<Value>| v.map_or(Ok(false), |v| v.truth());
    let ignore = flag(args.named("ignorecase"))?;
    let multi = flag(args.named("multiline"))?;
    Pattern::new(source, ignore, multi)
}

fn replace(_: &mut State, v: Value, mut args: Args) -> Out {
    let source = args.text("pattern")?.unwrap_or_default();
    let by = args.text("replacement")?.unwrap_or_default();
    let ignore = args.flag("ignorecase", false)?;
    let multi = args.flag("multiline", false)?;
    let most = args.int("count", 0)?;
    let mandatory = args.int("mandatory_count", 0)?;
    let text = input(&v)?;
    let pattern = Pattern::new(&source, ignore, multi)?;
    let parts = parts(&by)?;
    let (mut out, mut done, mut count) = (String::new(), 0, 0);
    pattern.each(&text, |c| {
        let Some(whole) = c.get(0) else { return Ok(false) };
        out.push_str(text.get(done..whole.start()).unwrap_or(""));
        for part in &parts {
            match part {
                Part::Text(t) => out.push_str(t),
                Part::Group(name) => out.push_str(group(c, name)?.unwrap_or("")),
            }
        }
        if out.len() > MOST {
            return Err(Error::other("the result is too long"));
        }
        done = whole.end();
        count += 1;
        Ok(most <= 0 || count < most)
    })?;
    if mandatory > 0 && count != mandatory {
        return Err(Error::other(format!(
            "'{source}' should match {mandatory} times, but matches {count} times in '{text}'"
        )));
    }
    out.push_str(text.get(done..).unwrap_or(""));
    Ok(Value::from(out))
}

fn search(_: &mut State, v: Value, mut args: Args) -> Out {
    let source = args.text("regex")?.unwrap_or_default();
    let pattern = pattern(&mut args, &source)?;
    let mut groups = Vec::new();
    for g in args.rest() {
        let g = input(&g)?;
        let name = match g.strip_prefix("\\g<").and_then(|g| g.strip_suffix('>')) {
            Some(name) => name.to_owned(),
            None => match g.strip_prefix('\\') {
                Some(n) if n.bytes().all(|b| b.is_ascii_digit()) && !n.is_empty() => n.to_owned(),
                // A doubled backslash reaches the filter as two.
                Some(_) => return Err(Error::other("no such group")),
                None => return Err(Error::other("Unknown argument")),
            },
        };
        groups.push(name);
    }
    let text = input(&v)?;
    let Some(found) = pattern.search(&text, 0)? else { return Ok(Value::None) };
    if groups.is_empty() {
        return Ok(Value::from(found.get(0).map_or("", |m| m.as_str())));
    }
    let mut out = Vec::new();
    for name in &groups {
        let known = name.parse::<usize>().map_or_else(|_| found.name(name).is_some(), |n| n < found.len());
        if !known {
            return Err(Error::other("no such group"));
        }
        out.push(group(&found, name)?.map_or(Value::None, Value::from));
    }
    Ok(Value::list(out))
}

fn find_all(_: &mut State, v: Value, mut args: Args) -> Out {
    let source = args.text("regex")?.unwrap_or_default();
    let multi = args.flag("multiline", false)?;
    let ignore = args.flag("ignorecase", false)?;
    let text = input(&v)?;
    let mut out = Vec::new();
    Pattern::new(&source, ignore, multi)?.each(&text, |c| {
        let one = |i: usize| Value::from(c.get(i).map_or("", |m| m.as_str()));
        out.push(match c.len() {
            1 => one(0),
            2 => one(1),
            n => Value::tuple((1..n).map(one).collect()),
        });
        Ok(true)
    })?;
    Ok(Value::list(out))
}

/// The text as a pattern that matches it.
pub(super) fn escape(text: &str, kind: Option<&str>) -> Out {
    let special = match kind {
        None | Some("python") => "()[]{}?*+-|^$\\.&~# \t\n\r\x0b\x0c",
        Some("posix_basic") => "$^.[]*\\",
        Some("posix_extended") => {
            return Err(Error::other("Regex type (posix_extended) not yet implemented"));
        }
        Some(other) => return Err(Error::other(format!("Invalid regex type ({other})"))),
    };
    let mut out = String::new();
    for c in text.chars() {
        if special.contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    Ok(Value::from(out))
}
