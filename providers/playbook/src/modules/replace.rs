//! `replace`.

use serde_json::json;

use super::attrs::failed;
use super::edit::{Edit, Texts};
use super::pattern::Pattern;
use super::spec::Rules;
use super::{Call, Decision, Module, Place, fields};

/// `replace`.
pub(super) const MODULE: Module =
    Module { names: &["replace"], rules: Rules::NONE, missing: &[], place: Place::Host, prepare };

fn prepare(call: &Call) -> Result<Decision, String> {
    let mut edit = Edit::of(call)?;
    edit.two_diffs = false;
    let pattern = Pattern::new(&call.need("regexp")?, true)?;
    let by = call.text("replace").unwrap_or_default();
    let (after, before) = (call.text("after"), call.text("before"));
    let section = match (&after, &before) {
        (Some(a), Some(b)) => Some(format!("{a}(?P<subsection>.*?){b}")),
        (Some(a), None) => Some(format!("{a}(?P<subsection>.*)")),
        (None, Some(b)) => Some(format!("(?P<subsection>.*){b}")),
        (None, None) => None,
    };
    let within = section.as_deref().map(|s| Pattern::new(&format!("(?s){s}"), false)).transpose()?;
    let encoding = call.text("encoding").unwrap_or_default().to_lowercase();
    let latin = ["latin-1", "latin1", "iso-8859-1"].contains(&encoding.as_str());
    if !latin && !["utf-8", "utf8", "ascii", "us-ascii"].contains(&encoding.as_str()) {
        return Err(format!("the encoding `{encoding}` of `replace` is not supported; there are utf-8 and latin-1"));
    }
    Ok(Decision::Probe(
        edit.probe(),
        Box::new(move |out| {
            let (seen, old) = match edit.read(&out) {
                Ok(read) => read,
                Err(done) => return Ok(*done),
            };
            if !seen.there() {
                let msg = format!("Path {} does not exist !", edit.path);
                return Ok(failed(msg, fields([("rc", json!(257))])));
            }
            let more = fields([("rc", json!(0))]);
            // In Latin-1 each byte is a character of its own.
            let text =
                if latin { super::pattern::encode(&old).into_iter().map(char::from).collect() } else { old.clone() };
            let range = match &within {
                None => 0..text.len(),
                Some(p) => match p.captures(&text).and_then(|c| c.name("subsection").map(|m| m.range())) {
                    Some(range) => range,
                    None => {
                        let mut all = more;
                        let section = section.unwrap_or_default();
                        let msg = format!("Pattern for before/after params did not match the given file: {section}");
                        all.extend(fields([("changed", json!(false)), ("msg", json!(msg))]));
                        return Ok(Decision::Done(all));
                    }
                },
            };
            let part = |r: std::ops::Range<usize>| text.get(r).unwrap_or_default();
            let (middle, count) = pattern
                .replace_all(part(range.clone()), &by)
                .map_err(|e| format!("Unable to process replace due to error: {e} at position 1"))?;
            let new = format!("{}{middle}{}", part(0..range.start), part(range.end..text.len()));
            let new = if latin { super::pattern::decode(&latin_bytes(&new)?) } else { new };
            let msg = if count > 0 && new != old { format!("{count} replacements made") } else { String::new() };
            Ok(edit.decide(Texts { seen, old, new, msg, more }))
        }),
    ))
}

fn latin_bytes(text: &str) -> Result<Vec<u8>, String> {
    text.chars()
        .map(|c| u8::try_from(u32::from(c)).map_err(|_| format!("`{c}` is not in the encoding latin-1")))
        .collect()
}
