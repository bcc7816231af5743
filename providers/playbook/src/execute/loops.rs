//! What a task loops over.

use std::sync::Arc;

use serde_json::json;
use towpath_core::{Json, Vars};

use super::Run;
use super::vars::wrong;
use crate::load::{Loop, Task};
use crate::render::{RenderError, Scope, text, truthy};

/// Items of a loop, and where each stands.
pub(super) struct Items {
    pub(super) all: Vec<Json>,
    extended: bool,
    allitems: bool,
}

impl Run<'_> {
    /// The items of a task's loop; `None` if it has none.
    pub(super) fn items(&self, task: &Task, scope: &Arc<Scope>) -> Result<Option<Items>, RenderError> {
        let Some(l) = &task.loop_ else { return Ok(None) };
        let yes = |v: &Option<Json>, default: bool| -> Result<bool, RenderError> {
            Ok(match v {
                Some(v) => truthy(&scope.render(v)?).unwrap_or(default),
                None => default,
            })
        };
        let all = match l.kind.strip_prefix("with_") {
            None => match scope.render(&l.items)? {
                Json::Array(items) => items,
                other => {
                    return Err(wrong(format!(
                        "Invalid data passed to 'loop', it requires a list, got this instead: {}. Hint: If you passed a list/dict of just one element, try adding wantlist=True to your lookup invocation or use q/query instead of lookup.",
                        text(&crate::render::Value::from(&other))
                    )));
                }
            },
            Some(kind) => self.with(kind, &l.items, scope)?,
        };
        Ok(Some(Items { all, extended: yes(&l.extended, false)?, allitems: yes(&l.allitems, true)? }))
    }

    fn with(&self, kind: &str, raw: &Json, scope: &Arc<Scope>) -> Result<Vec<Json>, RenderError> {
        let short = kind.strip_prefix("ansible.builtin.").unwrap_or(kind);
        let terms = match raw {
            // A variable of this name is meant where the text is no template.
            Json::String(s) if !s.contains("{{") && !s.contains("{%") && scope.raw(s).is_some() => {
                scope.render(&json!(format!("{{{{ {s} }}}}")))?
            }
            // An undefined term of these is simply not there.
            Json::Array(items) if short == "first_found" => {
                Json::Array(items.iter().filter_map(|i| scope.render(i).ok()).collect())
            }
            raw => scope.render(raw)?,
        };
        let list = match terms {
            Json::Array(items) => items,
            Json::Null => Vec::new(),
            one => vec![one],
        };
        Ok(match short {
            "items" => list.into_iter().flat_map(one_level).collect(),
            "list" => list,
            "flattened" => list.into_iter().flat_map(deep).collect(),
            "dict" => {
                let mut out = Vec::new();
                for term in list {
                    let Json::Object(map) = term else {
                        return Err(wrong("with_dict expects a dict".into()));
                    };
                    out.extend(map.into_iter().map(|(key, value)| json!({ "key": key, "value": value })));
                }
                out
            }
            "indexed_items" => {
                let flat: Vec<Json> = list.into_iter().flat_map(one_level).collect();
                flat.into_iter().enumerate().map(|(i, v)| json!([i, v])).collect()
            }
            "nested" | "cartesian" => {
                if list.is_empty() {
                    return Err(wrong("with_nested requires at least one element in the nested list".into()));
                }
                let mut rows: Vec<Vec<Json>> = vec![Vec::new()];
                for part in list {
                    let part = one_level(part);
                    rows = rows
                        .iter()
                        .flat_map(|row| part.iter().map(move |v| [row.as_slice(), std::slice::from_ref(v)].concat()))
                        .collect();
                }
                rows.into_iter()
                    .map(|row| if short == "nested" { row.into_iter().flat_map(one_level).collect() } else { row })
                    .map(Json::Array)
                    .collect()
            }
            "together" => {
                let lists: Vec<Vec<Json>> = list.into_iter().map(one_level).collect();
                let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
                let row = |i: usize| lists.iter().map(|l| l.get(i).cloned().unwrap_or(Json::Null)).collect();
                (0..longest).map(|i| Json::Array(row(i))).collect()
            }
            "sequence" => {
                let mut out = Vec::new();
                for term in &list {
                    out.extend(sequence(&text(&crate::render::Value::from(term))).map_err(wrong)?);
                }
                out
            }
            "subelements" => subelements(list).map_err(wrong)?,
            "random_choice" => {
                let at = usize::try_from(rand::random::<u32>()).unwrap_or(0).checked_rem(list.len()).unwrap_or(0);
                list.get(at).cloned().into_iter().collect()
            }
            "inventory_hostnames" => {
                let mut out: Vec<Json> = Vec::new();
                let pattern = list.iter().filter_map(Json::as_str).collect::<Vec<_>>().join(":");
                out.extend(self.world.select(&pattern).map_err(wrong)?.into_iter().map(Json::from));
                out
            }
            "fileglob" => {
                let mut out = Vec::new();
                for term in list.iter().filter_map(Json::as_str) {
                    out.extend(fileglob(term, scope).into_iter().map(Json::from));
                }
                out
            }
            "lines" => lines(&list).map_err(wrong)?,
            // Anything else is a lookup of that name.
            other => scope.lookup(other, &list)?,
        })
    }
}

fn one_level(v: Json) -> Vec<Json> {
    match v {
        Json::Array(inner) => inner,
        one => vec![one],
    }
}

fn deep(v: Json) -> Vec<Json> {
    match v {
        Json::Array(inner) => inner.into_iter().flat_map(deep).collect(),
        Json::Null => Vec::new(),
        one => vec![one],
    }
}

/// `start=1 end=7 stride=3 format=n%02d`, `count=2`, or `start-end/stride:format`.
fn sequence(term: &str) -> Result<Vec<Json>, String> {
    let bad = |s: &str| format!("can't parse `{s}` of with_sequence as a number");
    let number = |s: &str| {
        let (sign, digits) = s.strip_prefix('-').map_or((1, s), |d| (-1, d));
        let n = match (digits.strip_prefix("0x"), digits.strip_prefix('0')) {
            (Some(hex), _) => i64::from_str_radix(hex, 16),
            (None, Some(octal)) if !octal.is_empty() => i64::from_str_radix(octal, 8),
            _ => digits.parse(),
        };
        n.map(|n| sign * n).map_err(|_| bad(s))
    };
    let (mut start, mut end, mut count, mut stride, mut format) = (1, None, None, None, "%d".to_owned());
    if term.contains('=') {
        for (key, value) in crate::load::parse_args(term, false) {
            let value = value.as_str().unwrap_or_default().to_owned();
            match key.as_str() {
                "start" => start = number(&value)?,
                "end" => end = Some(number(&value)?),
                "count" => count = Some(number(&value)?),
                "stride" => stride = Some(number(&value)?),
                "format" => format = value,
                _ => return Err(format!("unrecognized arguments to with_sequence: {key}")),
            }
        }
    } else {
        let (rest, f) = term.split_once(':').map_or((term, None), |(r, f)| (r, Some(f)));
        format = f.unwrap_or("%d").to_owned();
        let (rest, s) = rest.split_once('/').map_or((rest, None), |(r, s)| (r, Some(s)));
        stride = s.map(number).transpose()?;
        match rest.split_once('-').filter(|(a, _)| !a.is_empty()) {
            Some((a, b)) => (start, end) = (number(a)?, Some(number(b)?)),
            None => end = Some(number(rest)?),
        }
    }
    let step = stride.unwrap_or(1);
    let end = match (end, count) {
        (Some(_), Some(_)) => return Err("can't specify both count and end in with_sequence".into()),
        (Some(end), None) => end,
        (None, Some(0)) => return Ok(Vec::new()),
        (None, Some(n)) => start + (n - 1) * step,
        (None, None) => return Err("must specify count or end in with_sequence".into()),
    };
    let step = if stride.is_none() && end < start && count.is_none() { 0 } else { step };
    if step == 0 {
        return Err("to count backwards make stride negative".into());
    }
    let mut out = Vec::new();
    let mut at = start;
    while (step > 0 && at <= end || step < 0 && at >= end) && out.len() < 1_000_000 {
        out.push(json!(printf(&format, at)?));
        at += step;
    }
    Ok(out)
}

/// Formats a number as `%d`, `%02x`, `%o`, ...
fn printf(format: &str, n: i64) -> Result<String, String> {
    let bad = || format!("bad formatting string: {format}");
    let (before, rest) = format.split_once('%').ok_or_else(bad)?;
    let at = rest.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(bad)?;
    let (flags, tail) = rest.split_at(at);
    let after = tail.get(1..).unwrap_or_default();
    let digits = match tail.chars().next() {
        Some('d' | 'i' | 'u' | 's') => n.to_string(),
        Some('x') => format!("{n:x}"),
        Some('X') => format!("{n:X}"),
        Some('o') => format!("{n:o}"),
        Some('f') => format!("{n}.000000"),
        _ => return Err(bad()),
    };
    let left = flags.contains('-');
    let zero = flags.trim_start_matches('-').starts_with('0');
    let width: usize = flags.trim_start_matches(['-', '0', '+', ' ']).parse().unwrap_or(0);
    let padded = match (left, zero) {
        (true, _) => format!("{digits:<width$}"),
        (false, true) => format!("{digits:0>width$}"),
        (false, false) => format!("{digits:>width$}"),
    };
    Ok(format!("{before}{padded}{after}"))
}

fn subelements(terms: Vec<Json>) -> Result<Vec<Json>, String> {
    let mut terms = terms.into_iter();
    let (list, key, flags) = (terms.next(), terms.next(), terms.next());
    let list = match list {
        Some(Json::Array(items)) => items,
        Some(Json::Object(map)) => map.into_iter().map(|(_, v)| v).collect(),
        _ => return Err("subelements lookup expects a dictionary or a list".into()),
    };
    let Some(Json::String(key)) = key else { return Err("subelements lookup expects a key".into()) };
    let lenient = flags.as_ref().and_then(|f| f.get("skip_missing")).and_then(truthy).unwrap_or(false);
    let mut out = Vec::new();
    for item in list {
        let mut inner = Some(&item);
        for part in key.split('.') {
            inner = inner.and_then(|v| v.get(part));
        }
        let inner = match inner {
            Some(Json::Array(inner)) => inner.clone(),
            _ if lenient => continue,
            _ => return Err(format!("could not find '{key}' key in iterated item '{item}'")),
        };
        let mut outer = item.clone();
        if let Some(map) = outer.as_object_mut() {
            map.remove(key.split('.').next().unwrap_or_default());
        }
        out.extend(inner.into_iter().map(|v| json!([outer, v])));
    }
    Ok(out)
}

fn fileglob(term: &str, scope: &Arc<Scope>) -> Vec<String> {
    let path = std::path::Path::new(term);
    let pattern = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let Ok(matcher) = globset::Glob::new(&pattern).map(|g| g.compile_matcher()) else { return Vec::new() };
    let folder = path.parent().unwrap_or(std::path::Path::new(""));
    let mut places = Vec::new();
    if path.is_absolute() {
        places.push(folder.to_path_buf());
    } else {
        for dir in &scope.search.dirs {
            places.push(dir.join("files").join(folder));
            places.push(dir.join(folder));
        }
    }
    for place in places {
        let mut found: Vec<String> = std::fs::read_dir(&place)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|e| e.path().is_file() && matcher.is_match(e.file_name()))
            .map(|e| e.path().display().to_string())
            .collect();
        if !found.is_empty() {
            found.sort();
            return found;
        }
    }
    Vec::new()
}

/// Lines that commands on this machine print.
fn lines(terms: &[Json]) -> Result<Vec<Json>, String> {
    if crate::render::OnlyReads::now() {
        return Err("with_lines runs a command, which waits for its turn".into());
    }
    let mut out = Vec::new();
    for term in terms.iter().filter_map(Json::as_str) {
        let done = std::process::Command::new("/bin/sh")
            .args(["-c", term])
            .stdin(std::process::Stdio::null())
            .output()
            .map_err(|e| format!("with_lines: {e}"))?;
        if !done.status.success() {
            return Err(format!("lookup_plugin.lines({term}) returned {}", done.status.code().unwrap_or(-1)));
        }
        out.extend(String::from_utf8_lossy(&done.stdout).lines().map(Json::from));
    }
    Ok(out)
}

impl Items {
    /// The variables of one item.
    pub(super) fn locals(&self, l: &Loop, at: usize) -> Vars {
        let mut vars = Vars::new();
        let Some(item) = self.all.get(at) else { return vars };
        vars.insert(l.var.clone(), item.clone());
        vars.insert("ansible_loop_var".into(), json!(l.var));
        if let Some(index) = &l.index_var {
            vars.insert(index.clone(), json!(at));
            vars.insert("ansible_index_var".into(), json!(index));
        }
        if self.extended {
            let count = self.all.len();
            let mut extended = crate::modules::fields([
                ("index", json!(at + 1)),
                ("index0", json!(at)),
                ("first", json!(at == 0)),
                ("last", json!(at + 1 == count)),
                ("length", json!(count)),
                ("revindex", json!(count - at)),
                ("revindex0", json!(count - at - 1)),
            ]);
            if self.allitems {
                extended.insert("allitems".into(), json!(self.all));
            }
            if let Some(before) = at.checked_sub(1).and_then(|i| self.all.get(i)) {
                extended.insert("previtem".into(), before.clone());
            }
            if let Some(after) = self.all.get(at + 1) {
                extended.insert("nextitem".into(), after.clone());
            }
            vars.insert("ansible_loop".into(), Json::Object(extended));
        }
        vars
    }
}
