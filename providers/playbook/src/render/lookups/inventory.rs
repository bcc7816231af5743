//! `inventory_hostnames`.

use super::Query;
use crate::render::error::Error;
use crate::render::value::{Value, text};

pub(super) fn hostnames(q: &mut Query) -> Result<Vec<Value>, Error> {
    let groups = q.scope.find("groups")?.unwrap_or(Value::None);
    let groups: Vec<(String, Vec<String>)> = groups
        .entries()
        .unwrap_or_default()
        .into_iter()
        .map(|(k, v)| (text(&k), v.iter().unwrap_or_default().iter().map(text).collect()))
        .collect();
    let mut out: Vec<String> = Vec::new();
    for term in q.texts()? {
        for host in pick(&term, &groups)? {
            if !out.contains(&host) {
                out.push(host);
            }
        }
    }
    Ok(out.into_iter().map(Value::from).collect())
}

fn of(part: &str, groups: &[(String, Vec<String>)]) -> Result<Vec<String>, Error> {
    let all = || groups.iter().find(|(n, _)| n == "all").map(|(_, h)| h.clone()).unwrap_or_default();
    if matches!(part, "all" | "*") {
        return Ok(all());
    }
    let glob =
        globset::Glob::new(part).map_err(|e| Error::other(format!("the pattern `{part}`: {e}")))?.compile_matcher();
    let mut out: Vec<String> = Vec::new();
    for (name, hosts) in groups {
        if glob.is_match(name) {
            out.extend(hosts.iter().cloned());
        }
    }
    if out.is_empty() {
        out.extend(all().into_iter().filter(|h| glob.is_match(h)));
    }
    Ok(out)
}

/// The hosts of a pattern: names joined with `:` or `,`, without those behind `!`, only those also behind `&`.
fn pick(pattern: &str, groups: &[(String, Vec<String>)]) -> Result<Vec<String>, Error> {
    let parts: Vec<&str> = pattern.split([',', ':']).map(str::trim).filter(|p| !p.is_empty()).collect();
    let mut out: Vec<String> = Vec::new();
    let plain: Vec<&&str> = parts.iter().filter(|p| !p.starts_with(['!', '&'])).collect();
    if plain.is_empty() {
        out = of("all", groups)?;
    }
    for part in plain {
        for host in of(part, groups)? {
            if !out.contains(&host) {
                out.push(host);
            }
        }
    }
    for part in parts {
        if let Some(p) = part.strip_prefix('&') {
            let keep = of(p, groups)?;
            out.retain(|h| keep.contains(h));
        } else if let Some(p) = part.strip_prefix('!') {
            let drop = of(p, groups)?;
            out.retain(|h| !drop.contains(h));
        }
    }
    Ok(out)
}
