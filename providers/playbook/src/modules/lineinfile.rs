//! `lineinfile`.

use regex::Regex;
use serde_json::json;
use towpath_core::{Action, Json, shell_quote};

use super::attrs::{Attrs, STAT};
use super::spec::Rules;
use super::{Call, Decision, Module, Pending, Place, content, fields, finish, head};

struct Wanted {
    line: String,
    pattern: Option<Regex>,
    search: Option<String>,
    backrefs: bool,
    after: Option<String>,
    before: Option<String>,
    first: bool,
    absent: bool,
}

fn pattern(p: &str) -> Result<Regex, String> {
    Regex::new(p).map_err(|e| format!("the pattern `{p}` is not supported: {e}"))
}

/// `lineinfile`.
pub(super) const MODULE: Module = Module {
    names: &["lineinfile"],
    rules: Rules::NONE,
    missing: &["attributes", "backup", "selevel", "serole", "setype", "seuser", "unsafe_writes"],
    place: Place::Host,
    prepare,
};

fn prepare(call: &Call) -> Result<Decision, String> {
    let path = call.any(&["path", "dest", "destfile", "name"]).ok_or("missing required argument: path")?;
    if call.yes("backup")? == Some(true) {
        return Err("`backup: true` is not supported yet".into());
    }
    let absent = call.text("state").as_deref() == Some("absent");
    let wanted = Wanted {
        line: match call.any(&["line", "value"]) {
            Some(l) => l,
            None if absent => String::new(),
            None => return Err("line is required with state=present".into()),
        },
        pattern: call.any(&["regexp", "regex"]).map(|p| pattern(&p)).transpose()?,
        search: call.text("search_string"),
        backrefs: call.yes("backrefs")?.unwrap_or(false),
        after: call.text("insertafter"),
        before: call.text("insertbefore"),
        first: call.yes("firstmatch")?.unwrap_or(false),
        absent,
    };
    let has_line = call.any(&["line", "value"]).is_some();
    let (attrs, create, validate, plan) =
        (Attrs::of(call)?, call.yes("create")?.unwrap_or(false), call.text("validate"), call.diff);
    let script =
        format!("{STAT}p={}\ntp_stat \"$p\" -L\necho\n[ -f \"$p\" ] && cat \"$p\"\nexit 0\n", shell_quote(&path));
    Ok(Decision::Probe(
        script,
        Box::new(move |out| {
            let (seen, now) = head(&out);
            let there = seen.get("type").is_some_and(|t| t == "file");
            if !there && !wanted.absent && !create {
                return Err(format!("Destination {path} does not exist !"));
            }
            let text = String::from_utf8_lossy(&now).into_owned();
            let (new, msg) = edit(&text, &wanted, has_line)?;
            let changed = new != text || !there && !wanted.absent;
            let (was, will, mend) = if there || changed { attrs.differing(&seen, false)? } else { Default::default() };
            let any = changed || there && !mend.is_empty();
            let result = fields([("changed", json!(any)), ("msg", json!(msg)), ("backup", json!(""))]);
            if !any {
                return Ok(Decision::Done(result));
            }
            let (mut was, mut will) = (was, will);
            if plan {
                was.extend(content::shown(&now).map(|t| ("content".to_owned(), t)));
                will.insert("content".into(), json!(new));
            }
            let script = if changed {
                let dirs = if there {
                    String::new()
                } else {
                    format!("mkdir -p {}\n", shell_quote(super::copy::parent(&path)))
                };
                format!("{dirs}{}", content::replace(&path, new.as_bytes(), &mend, &seen, validate.as_deref()))
            } else {
                format!("set -e\np={}\n{mend}", shell_quote(&path))
            };
            Ok(Decision::Change(Pending {
                script,
                action: if there { Action::Update } else { Action::Create },
                subject: format!("file {path}"),
                path: Some(path),
                before: there.then(|| Json::Object(was)),
                after: Some(Json::Object(will)),
                certain: true,
                foreign: validate.is_some(),
                expected: result.clone(),
                finish: finish(result),
            }))
        }),
    ))
}

/// The new text, and what was done to it.
fn edit(text: &str, w: &Wanted, has_line: bool) -> Result<(String, &'static str), String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let matches = |l: &str| match (&w.pattern, &w.search) {
        (Some(p), _) => p.is_match(l),
        (None, Some(s)) => l.contains(s.as_str()),
        (None, None) => l == w.line,
    };
    if w.absent {
        if w.pattern.is_none() && w.search.is_none() && !has_line {
            return Err("one of line, search_string, or regexp is required with state=absent".into());
        }
        let before = lines.len();
        lines.retain(|l| !matches(l));
        if lines.len() == before {
            return Ok((text.to_owned(), ""));
        }
        return Ok((join(&lines), "line(s) removed"));
    }
    let mut found = lines.iter().rposition(|l| matches(l));
    if w.first {
        found = lines.iter().position(|l| matches(l));
    }
    let seeking = w.pattern.is_some() || w.search.is_some();
    if let Some(at) = found {
        let old = lines.get(at).cloned().unwrap_or_default();
        let new = match (&w.pattern, w.backrefs) {
            (Some(p), true) => {
                let mut out = String::new();
                if let Some(c) = p.captures(&old) {
                    c.expand(&crate::replacement(&w.line), &mut out);
                }
                out
            }
            _ => w.line.clone(),
        };
        if new == old {
            return Ok((text.to_owned(), ""));
        }
        if let Some(l) = lines.get_mut(at) {
            *l = new;
        }
        return Ok((join(&lines), "line replaced"));
    }
    if w.backrefs || seeking && lines.contains(&w.line) {
        return Ok((text.to_owned(), ""));
    }
    let place = |p: &str| -> Result<Option<usize>, String> {
        let p = pattern(p)?;
        Ok(if w.first { lines.iter().position(|l| p.is_match(l)) } else { lines.iter().rposition(|l| p.is_match(l)) })
    };
    let at = match (w.before.as_deref(), w.after.as_deref()) {
        (Some("BOF"), _) | (_, Some("BOF")) => 0,
        (Some(p), _) => place(p)?.unwrap_or(lines.len()),
        (_, None | Some("EOF")) => lines.len(),
        (_, Some(p)) => place(p)?.map_or(lines.len(), |i| i + 1),
    };
    lines.insert(at, w.line.clone());
    Ok((join(&lines), "line added"))
}

fn join(lines: &[String]) -> String {
    lines.iter().map(|l| format!("{l}\n")).collect()
}
