//! Local facts: `*.fact` files and programs, JSON or INI.

use serde_json::json;
use towpath_core::Json;

use super::Facts;
use super::seen::Seen;

/// Adds `local`; gives what to warn of.
pub(super) fn add(seen: &Seen, facts: &mut Facts) -> Result<Vec<String>, String> {
    let mut local = Facts::new();
    let mut warnings = Vec::new();
    let name = |path: &str| {
        let file = path.rsplit('/').next().unwrap_or(path);
        file.strip_suffix(".fact").unwrap_or(file).to_owned()
    };
    for (path, text) in seen.sections("file ") {
        let value = if seen.section(&format!("unread {path}")).is_empty() {
            parse(path, text, &mut warnings)
        } else {
            json!("")
        };
        local.insert(name(path), value);
    }
    for (path, text) in seen.sections("run ") {
        let (rc, said) = seen.section(&format!("rc {path}")).split_once('\n').unwrap_or_default();
        let value = match rc {
            "0" => parse(path, text, &mut warnings),
            "126" | "127" if said.contains("not found") => {
                return Err(format!("[Errno 2] No such file or directory: b'{path}'"));
            }
            rc => {
                let said = if said.trim().is_empty() { "" } else { said };
                let message = format!("Failure executing fact script ({path}), rc: {rc}, err: {said}");
                warnings.push(message.clone());
                json!(message)
            }
        };
        local.insert(name(path), value);
    }
    facts.insert("local".into(), local.into());
    Ok(warnings)
}

fn parse(path: &str, text: &str, warnings: &mut Vec<String>) -> Json {
    if let Ok(value) = serde_json::from_str(text) {
        return value;
    }
    match ini(text) {
        Ok(value) => Json::Object(value),
        Err(why) => {
            let message = match why {
                None => format!("error loading facts as JSON or ini - please check content: {path}"),
                Some(why) => format!("error loading facts as ini - please check content: {path} ({why})"),
            };
            warnings.push(message.clone());
            json!(message)
        }
    }
}

/// INI as Python's `configparser` reads it: keys in lower case, `=` or `:`, longer values by indentation.
fn ini(text: &str) -> Result<Facts, Option<String>> {
    let mut sections: Vec<(String, Vec<(String, String)>)> = Vec::new();
    for line in text.lines() {
        let bare = line.trim();
        if bare.is_empty() || bare.starts_with(['#', ';']) {
            continue;
        }
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = sections.last_mut().and_then(|(_, pairs)| pairs.last_mut()) {
                value.push('\n');
                value.push_str(bare);
                continue;
            }
        }
        if let Some(name) = bare.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            if name != "DEFAULT" && sections.iter().any(|(n, _)| n == name) {
                return Err(None);
            }
            sections.push((name.to_owned(), Vec::new()));
            continue;
        }
        let (Some((_, pairs)), Some(at)) = (sections.last_mut(), bare.find(['=', ':'])) else { return Err(None) };
        let (key, value) = bare.split_at(at);
        let key = key.trim().to_lowercase();
        if pairs.iter().any(|(k, _)| *k == key) {
            return Err(None);
        }
        pairs.push((key, value.get(1..).unwrap_or_default().trim().to_owned()));
    }
    let default: Vec<(String, String)> =
        sections.iter().filter(|(n, _)| n == "DEFAULT").flat_map(|(_, p)| p.clone()).collect();
    let mut facts = Facts::new();
    for (name, pairs) in sections.iter().filter(|(n, _)| n != "DEFAULT") {
        let all: Vec<&(String, String)> = default.iter().chain(pairs).collect();
        let mut section = Facts::new();
        for (key, value) in &all {
            section.insert(key.clone(), json!(interpolate(value, &all, 0).map_err(Some)?));
        }
        facts.insert(name.clone(), section.into());
    }
    Ok(facts)
}

/// `%(other)s` and `%%`.
fn interpolate(value: &str, pairs: &[&(String, String)], depth: usize) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        if let Some(tail) = after.strip_prefix('%') {
            out.push('%');
            rest = tail;
        } else if let Some((name, tail)) = after.strip_prefix('(').and_then(|a| a.split_once(")s")) {
            let found = pairs.iter().rev().find(|(k, _)| *k == name.to_lowercase()).filter(|_| depth < 10);
            let Some((_, inner)) = found else {
                return Err(format!("Bad value substitution: key '{name}' is not there"));
            };
            out.push_str(&interpolate(inner, pairs, depth + 1)?);
            rest = tail;
        } else {
            return Err(format!("'%' must be followed by '%' or '(', found: '%{after}'"));
        }
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn ini_is_read_as_configparser_reads_it() {
        let facts = ini("[sec]\nKey = Value\nother: 1\n[two]\na=b=c ; x\n# c\nempty=\nmulti = 1\n 2\n").unwrap();
        assert_eq!(facts["sec"], json!({"key": "Value", "other": "1"}));
        assert_eq!(facts["two"], json!({"a": "b=c ; x", "empty": "", "multi": "1\n2"}));
        assert_eq!(ini("[DEFAULT]\nd=1\n[q]\nz=%(d)s\n").unwrap()["q"], json!({"d": "1", "z": "1"}));
        assert_eq!(ini("not valid"), Err(None));
        assert_eq!(ini("[a]\nk\n"), Err(None));
        assert_eq!(ini("[a]\nk=50% x\n"), Err(Some("'%' must be followed by '%' or '(', found: '% x'".into())));
        assert_eq!(ini("").unwrap(), Facts::new());
    }
}
