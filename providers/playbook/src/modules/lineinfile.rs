//! `lineinfile`.

use serde_json::json;

use super::attrs::failed;
use super::edit::{Edit, Texts, lines};
use super::pattern::{Pattern, expand};
use super::spec::Rules;
use super::{Call, Decision, Fields, Module, Place, fields};

/// `lineinfile`.
pub(super) const MODULE: Module = Module {
    names: &["lineinfile"],
    rules: Rules {
        mutually_exclusive: &[
            &["insertbefore", "insertafter"],
            &["regexp", "search_string"],
            &["backrefs", "search_string"],
        ],
        ..Rules::NONE
    },
    missing: &[],
    place: Place::Host,
    prepare,
};

struct Wanted {
    line: Option<String>,
    pattern: Option<Pattern>,
    search: Option<String>,
    backrefs: bool,
    after: Option<String>,
    before: Option<String>,
    first: bool,
}

fn prepare(call: &Call) -> Result<Decision, String> {
    let edit = Edit::of(call)?;
    let absent = call.need("state")? == "absent";
    let create = call.yes("create")? == Some(true);
    let wanted = Wanted {
        line: call.text("line"),
        pattern: call.text("regexp").map(|p| Pattern::new(&p, false)).transpose()?,
        search: call.text("search_string"),
        backrefs: call.yes("backrefs")? == Some(true),
        after: call.text("insertafter"),
        before: call.text("insertbefore"),
        first: call.yes("firstmatch")? == Some(true),
    };
    if absent {
        if wanted.line.is_none() && wanted.pattern.is_none() && wanted.search.is_none() {
            return Err("one of line, search_string, or regexp is required with state=absent".into());
        }
    } else {
        if wanted.backrefs && wanted.pattern.is_none() {
            return Err("regexp is required with backrefs=true".into());
        }
        if wanted.line.is_none() {
            return Err("line is required with state=present".into());
        }
    }
    Ok(Decision::Probe(
        edit.probe(),
        Box::new(move |out| {
            let (seen, old) = match edit.read(&out) {
                Ok(read) => read,
                Err(done) => return Ok(*done),
            };
            if !seen.there() {
                if absent {
                    let gone = fields([("changed", json!(false)), ("msg", json!("file not present"))]);
                    return Ok(Decision::Done(gone));
                }
                if !create {
                    let msg = format!("Destination {} does not exist !", edit.path);
                    return Ok(failed(msg, fields([("rc", json!(257))])));
                }
            }
            let (new, msg, found) = if absent { remove(&old, &wanted) } else { put(&old, &wanted)? };
            let mut more: Fields = fields([("backup", json!(""))]);
            if absent {
                more.insert("found".into(), json!(found));
            }
            Ok(edit.decide(Texts { seen, old, new, msg, more }))
        }),
    ))
}

fn bare(line: &str) -> &str {
    line.trim_end_matches(['\r', '\n'])
}

fn remove(text: &str, w: &Wanted) -> (String, String, usize) {
    let mut all = lines(text);
    let before = all.len();
    all.retain(|l| !match (&w.pattern, &w.search) {
        (Some(p), _) => p.matches(l),
        (None, Some(s)) => l.contains(s.as_str()),
        (None, None) => Some(bare(l)) == w.line.as_deref(),
    });
    let found = before - all.len();
    let msg = if found > 0 { format!("{found} line(s) removed") } else { String::new() };
    (all.concat(), msg, found)
}

/// The new text, and what was done to it.
fn put(text: &str, w: &Wanted) -> Result<(String, String, usize), String> {
    let mut all = lines(text);
    let line = w.line.clone().unwrap_or_default();
    let seek = |matches: &dyn Fn(&str) -> bool| {
        if w.first { all.iter().position(|l| matches(l)) } else { all.iter().rposition(|l| matches(l)) }
    };
    let found = match (&w.pattern, &w.search) {
        (Some(p), _) => seek(&|l| p.matches(l)),
        (None, Some(s)) => seek(&|l| l.contains(s.as_str())),
        (None, None) => seek(&|l| bare(l) == line),
    };
    let same = || Ok((text.to_owned(), String::new(), 0));
    if let Some(at) = found {
        let old = all.get(at).cloned().unwrap_or_default();
        // A last line without an end gets one.
        if w.pattern.is_none() && w.search.is_none() && old.ends_with('\n') {
            return same();
        }
        let mut new = match &w.pattern {
            Some(p) if w.backrefs => p.captures(&old).map(|c| expand(&c, &line)).transpose()?.unwrap_or_default(),
            _ => line,
        };
        if !new.ends_with('\n') {
            new.push('\n');
        }
        if new == old {
            return same();
        }
        if let Some(l) = all.get_mut(at) {
            *l = new;
        }
        return Ok((all.concat(), "line replaced".into(), 0));
    }
    if w.backrefs {
        return same();
    }
    // A pattern that matches nothing: the line itself may be there.
    if all.iter().any(|l| bare(l) == line) {
        return same();
    }
    let at = match (w.before.as_deref(), w.after.as_deref()) {
        (Some("BOF"), _) | (_, Some("BOF")) => Some(0),
        (Some("EOF"), _) | (None, None | Some("EOF")) => None,
        (Some(p), _) => {
            let p = Pattern::new(p, false)?;
            seek(&|l| p.matches(l))
        }
        (_, Some(p)) => {
            let p = Pattern::new(p, false)?;
            seek(&|l| p.matches(l)).map(|i| i + 1)
        }
    };
    let at = at.unwrap_or(all.len());
    if let Some(before) = at.checked_sub(1).and_then(|i| all.get_mut(i)) {
        if !before.ends_with('\n') {
            before.push('\n');
        }
    }
    all.insert(at, format!("{line}\n"));
    Ok((all.concat(), "line added".into(), 0))
}
