//! Patterns of hosts.

use std::collections::BTreeSet;

use globset::Glob;

use super::inventory::Index;

/// Splits a pattern at `,` and `:`, but not inside brackets, nor in an IPv6 address.
fn terms(pattern: &str) -> Vec<String> {
    let separators: &[char] = if pattern.contains(',') { &[','] } else { &[':'] };
    let (mut out, mut term, mut depth) = (Vec::new(), String::new(), 0i32);
    for c in pattern.chars() {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ => {}
        }
        if depth <= 0 && separators.contains(&c) {
            out.push(std::mem::take(&mut term));
        } else {
            term.push(c);
        }
    }
    out.push(term);
    out.into_iter().map(|t| t.trim().to_owned()).filter(|t| !t.is_empty()).collect()
}

/// A term and the part in its brackets: `web[0]`, `web[1:3]`, `web[1-3]`.
fn subscript(term: &str) -> Option<(&str, &str)> {
    if term.starts_with('~') {
        return None;
    }
    let (name, inside) = term.strip_suffix(']')?.rsplit_once('[')?;
    let good = !inside.is_empty() && inside.bytes().all(|b| b.is_ascii_digit() || b == b':' || b == b'-');
    (good && !name.is_empty()).then_some((name, inside))
}

/// The hosts at the places that a subscript names; its end is one of them.
fn slice(hosts: Vec<String>, inside: &str) -> Result<Vec<String>, String> {
    let count = i64::try_from(hosts.len()).unwrap_or(i64::MAX);
    let number = |s: &str, default: i64| {
        if s.is_empty() { Ok(default) } else { s.parse::<i64>().map_err(|_| format!("`[{inside}]` is no subscript")) }
    };
    let place = |n: i64| if n < 0 { n + count } else { n };
    let range = inside.split_once(':').or_else(|| inside.get(1..)?.contains('-').then(|| inside.split_once('-'))?);
    let (from, to) = match range {
        Some((from, to)) => (place(number(from, 0)?), place(number(to, -1)?)),
        None => {
            let n = place(number(inside, 0)?);
            (n, n)
        }
    };
    let inside = |i: usize| i64::try_from(i).is_ok_and(|i| i >= from && i <= to);
    Ok(hosts.into_iter().enumerate().filter(|(i, _)| inside(*i)).map(|(_, h)| h).collect())
}

impl Index {
    fn one(&self, term: &str) -> Result<Vec<String>, String> {
        if let Some((name, inside)) = subscript(term) {
            return slice(self.one(name)?, inside);
        }
        if term == "all" || term == "*" {
            return Ok(self.names.clone());
        }
        if let Some(members) = self.groups.get(term) {
            return Ok(members.clone());
        }
        // `~` begins a regular expression, which must match from a name's start.
        let regex = match term.strip_prefix('~') {
            Some(r) => Some(regex::Regex::new(&format!("^(?:{r})")).map_err(|e| format!("`{term}`: {e}"))?),
            None => None,
        };
        let matcher = Glob::new(term).map(|g| g.compile_matcher()).ok();
        let hit = |n: &str| match &regex {
            Some(regex) => regex.is_match(n),
            None => n == term || matcher.as_ref().is_some_and(|m| m.is_match(n)),
        };
        let of_groups: BTreeSet<&String> = self.groups.iter().filter(|(g, _)| hit(g)).flat_map(|(_, m)| m).collect();
        Ok(self.names.iter().filter(|n| hit(n) || of_groups.contains(n)).cloned().collect())
    }

    /// Hosts of an Ansible pattern, in the order of its terms. The error says what is not understood.
    pub(crate) fn select(&self, pattern: &str) -> Result<Vec<String>, String> {
        let terms = terms(pattern);
        let mut chosen: Vec<String> = Vec::new();
        let mut add = |hosts: Vec<String>| {
            let mut have: BTreeSet<String> = chosen.iter().cloned().collect();
            chosen.extend(hosts.into_iter().filter(|h| have.insert(h.clone())));
        };
        let plain: Vec<&String> = terms.iter().filter(|t| !t.starts_with(['!', '&'])).collect();
        if plain.is_empty() && !terms.is_empty() {
            add(self.names.clone());
        }
        for t in plain {
            add(self.one(t)?);
        }
        for t in terms.iter().filter_map(|t| t.strip_prefix('&')) {
            let keep: BTreeSet<String> = self.one(t)?.into_iter().collect();
            chosen.retain(|n| keep.contains(n));
        }
        for t in terms.iter().filter_map(|t| t.strip_prefix('!')) {
            let out: BTreeSet<String> = self.one(t)?.into_iter().collect();
            chosen.retain(|n| !out.contains(n));
        }
        Ok(chosen)
    }
}
