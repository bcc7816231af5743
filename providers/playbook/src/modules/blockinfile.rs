//! `blockinfile`.

use serde_json::json;

use super::attrs::failed;
use super::edit::{Edit, Texts, lines};
use super::pattern::Pattern;
use super::spec::Rules;
use super::{Call, Decision, Fields, Module, Place, fields};

/// `blockinfile`.
pub(super) const MODULE: Module = Module {
    names: &["blockinfile"],
    rules: Rules { mutually_exclusive: &[&["insertbefore", "insertafter"]], ..Rules::NONE },
    missing: &[],
    place: Place::Host,
    prepare,
};

struct Wanted {
    block: Vec<String>,
    begin: String,
    end: String,
    after: Option<String>,
    before: Option<String>,
    /// Empty lines around the block.
    lead: bool,
    tail: bool,
}

fn prepare(call: &Call) -> Result<Decision, String> {
    let edit = Edit::of(call)?;
    let marker = call.need("marker")?;
    let mark = |key: &str| Ok::<_, String>(marker.replace("{mark}", &call.need(key)?));
    let present = call.need("state")? == "present";
    let text = call.text("block").unwrap_or_default();
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let wanted = Wanted {
        block: if present && !text.is_empty() { text.split('\n').map(str::to_owned).collect() } else { Vec::new() },
        begin: mark("marker_begin")?,
        end: mark("marker_end")?,
        after: call.text("insertafter"),
        before: call.text("insertbefore"),
        lead: call.yes("prepend_newline")? == Some(true),
        tail: call.yes("append_newline")? == Some(true),
    };
    let create = call.yes("create")? == Some(true);
    Ok(Decision::Probe(
        edit.probe(),
        Box::new(move |out| {
            let (seen, old) = match edit.read(&out) {
                Ok(read) => read,
                Err(done) => return Ok(*done),
            };
            if !seen.there() && !create {
                let msg = format!("Path {} does not exist !", edit.path);
                return Ok(failed(msg, fields([("rc", json!(257))])));
            }
            let new = insert(&old, &wanted)?;
            let msg = match () {
                () if new == old => "",
                () if wanted.block.is_empty() => "Block removed",
                () if seen.there() => "Block inserted",
                () => "File created",
            };
            Ok(edit.decide(Texts { seen, old, new, msg: msg.to_owned(), more: Fields::new() }))
        }),
    ))
}

/// The new text.
fn insert(text: &str, w: &Wanted) -> Result<String, String> {
    let mut all = lines(text);
    let is = |line: &String, marker: &str| line.trim_end_matches('\n') == marker;
    // A marker of several lines is looked for as several lines.
    let find = |marker: &str, all: &[String]| {
        let want: Vec<&str> = marker.split('\n').collect();
        let last = (0..all.len()).rfind(|i| {
            all.get(*i..*i + want.len()).is_some_and(|found| found.iter().zip(&want).all(|(l, m)| is(l, m)))
        });
        last.map(|at| (at, want.len()))
    };
    let at = match (find(&w.begin, &all), find(&w.end, &all)) {
        (Some((b, b_len)), Some((e, e_len))) => {
            let (from, to) = if b < e { (b, e + e_len) } else { (e, b + b_len) };
            all.drain(from..to);
            Some(from)
        }
        _ => None,
    };
    let removed = at.is_some();
    if w.block.is_empty() {
        return Ok(if removed { all.concat() } else { text.to_owned() });
    }
    let at = match at {
        Some(at) => at,
        None => place(text, &all, w)?.unwrap_or(all.len()),
    };
    if let Some(before) = at.checked_sub(1).and_then(|i| all.get_mut(i)) {
        if !before.ends_with('\n') {
            before.push('\n');
        }
    }
    let blank = |line: Option<&String>| line.is_none_or(|l| l.trim_end_matches('\n').is_empty());
    let mut block: Vec<String> = Vec::new();
    if w.lead && at > 0 && !blank(all.get(at - 1)) {
        block.push("\n".into());
    }
    block.push(format!("{}\n", w.begin));
    block.extend(w.block.iter().map(|l| format!("{l}\n")));
    block.push(format!("{}\n", w.end));
    if w.tail && at < all.len() && !blank(all.get(at)) {
        block.push("\n".into());
    }
    all.splice(at..at, block);
    Ok(all.concat())
}

/// Where a new block goes; `None` is the end.
fn place(text: &str, all: &[String], w: &Wanted) -> Result<Option<usize>, String> {
    let (pattern, after) = match (&w.before, &w.after) {
        (Some(p), _) if p == "BOF" => return Ok(Some(0)),
        (_, Some(p)) if p == "EOF" => return Ok(None),
        (Some(p), _) => (p, false),
        (_, Some(p)) => (p, true),
        (None, None) => return Ok(None),
    };
    let pattern = Pattern::new(pattern, false)?;
    if pattern.multiline {
        let newlines = |to: usize| text.get(..to).unwrap_or_default().matches('\n').count();
        return Ok(pattern.find(text).map(|m| if after { newlines(m.end) + 1 } else { newlines(m.start) }));
    }
    // The last line that matches.
    let found = all.iter().rposition(|l| pattern.matches(l));
    Ok(found.map(|i| if after { i + 1 } else { i }))
}
