//! Which hosts a limit means.

use std::collections::BTreeSet;

use crate::pipeline::nearest;
use crate::{Error, ErrorKind, Host, Result, Targets};

impl Targets {
    /// The hosts to work on, in the inventory's order, each with all variables that hold for it.
    ///
    /// `limit` is an Ansible pattern: names of hosts and groups, with `*`, `?` and `[...]` in them, joined by `,` or `:`; `!` in
    /// front leaves out, `&` narrows.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): it matches no host, or holds a regular expression or a subscript, which only the
    /// provider `playbook` knows.
    pub fn selected(&self, provider: &'static str, operation: &'static str) -> Result<Vec<Host>> {
        let all = || self.inventory.hosts.iter();
        let Some(limit) = &self.limit else { return Ok(all().map(|h| self.effective(h)).collect()) };
        let wrong =
            |message: String| Error::new(ErrorKind::InvalidInput, provider, operation, message).with("limit", limit);
        let terms = terms(limit);
        if let Some(term) = terms.iter().find(|t| t.trim_start_matches(['!', '&']).starts_with('~') || is_subscript(t))
        {
            return Err(wrong(format!("`{term}` is not understood: name hosts or groups, or use `*`")));
        }
        let plain: Vec<&str> = terms.iter().map(String::as_str).filter(|t| !t.starts_with(['!', '&'])).collect();
        let mut chosen: BTreeSet<&str> = match plain.is_empty() {
            true => all().map(|h| h.name.as_str()).collect(),
            false => plain.iter().flat_map(|t| self.matching(t)).collect(),
        };
        for term in terms.iter().filter_map(|t| t.strip_prefix('&')) {
            let keep = self.matching(term);
            chosen.retain(|n| keep.contains(n));
        }
        for term in terms.iter().filter_map(|t| t.strip_prefix('!')) {
            let out = self.matching(term);
            chosen.retain(|n| !out.contains(n));
        }
        let hosts: Vec<Host> = all().filter(|h| chosen.contains(h.name.as_str())).map(|h| self.effective(h)).collect();
        if hosts.is_empty() {
            let names = all().map(|h| h.name.as_str()).chain(self.inventory.groups.keys().map(String::as_str));
            let hint = nearest(limit, names).map_or_else(String::new, |n| format!("; did you mean `{n}`?"));
            return Err(wrong(format!("no host matches the limit{hint}")));
        }
        Ok(hosts)
    }

    /// Names of the hosts that one term means.
    fn matching(&self, term: &str) -> BTreeSet<&str> {
        let every = term == "all";
        let mut names: BTreeSet<&str> =
            self.inventory.hosts.iter().map(|h| h.name.as_str()).filter(|n| every || matches(term, n)).collect();
        let mut waiting: Vec<&str> =
            self.inventory.groups.keys().map(String::as_str).filter(|g| matches(term, g)).collect();
        let mut seen = BTreeSet::new();
        while let Some(name) = waiting.pop() {
            let Some(group) = self.inventory.groups.get(name).filter(|_| seen.insert(name)) else { continue };
            names.extend(group.hosts.iter().map(String::as_str));
            waiting.extend(group.children.iter().map(String::as_str));
        }
        names
    }
}

/// Splits at `,`, or else at `:`, but not inside brackets.
fn terms(limit: &str) -> Vec<String> {
    let separator = if limit.contains(',') { ',' } else { ':' };
    let (mut out, mut term, mut depth) = (Vec::new(), String::new(), 0_i32);
    for c in limit.chars() {
        depth += i32::from(c == '[') - i32::from(c == ']');
        match c == separator && depth <= 0 {
            true => out.push(std::mem::take(&mut term)),
            false => term.push(c),
        }
    }
    out.push(term);
    out.into_iter().map(|t| t.trim().to_owned()).filter(|t| !t.is_empty()).collect()
}

/// `web[0]`, `web[1:3]`: places in a list, where a glob has characters.
fn is_subscript(term: &str) -> bool {
    let inside = term.strip_suffix(']').and_then(|t| t.rsplit_once('['));
    inside.is_some_and(|(name, inside)| {
        !name.is_empty() && !inside.is_empty() && inside.bytes().all(|b| b.is_ascii_digit() || b == b':' || b == b'-')
    })
}

/// Says whether a glob matches a whole name.
fn matches(glob: &str, name: &str) -> bool {
    let glob: Vec<char> = glob.chars().collect();
    let name: Vec<char> = name.chars().collect();
    walk(&glob, &name)
}

fn walk(glob: &[char], name: &[char]) -> bool {
    let Some((first, rest)) = glob.split_first() else { return name.is_empty() };
    match first {
        '*' => (0..=name.len()).any(|n| name.get(n..).is_some_and(|tail| walk(rest, tail))),
        '?' => name.split_first().is_some_and(|(_, tail)| walk(rest, tail)),
        '[' => match (class(rest), name.split_first()) {
            (Some((set, not, after)), Some((c, tail))) => {
                let inside = set.iter().any(|(from, to)| (from..=to).contains(&c));
                inside != not && walk(after, tail)
            }
            (Some(_), None) => false,
            (None, _) => name.first() == Some(first) && walk(rest, name.get(1..).unwrap_or_default()),
        },
        c => name.split_first().is_some_and(|(n, tail)| n == c && walk(rest, tail)),
    }
}

/// Ranges of characters, whether they are left out, and what follows the closing bracket.
type Class<'a> = (Vec<(char, char)>, bool, &'a [char]);

fn class(after_bracket: &[char]) -> Option<Class<'_>> {
    let not = after_bracket.first() == Some(&'!');
    let body = after_bracket.get(usize::from(not)..)?;
    // A bracket that comes first is itself meant.
    let end = 1 + body.iter().skip(1).position(|c| *c == ']')?;
    let (mut set, mut rest) = (Vec::new(), body.get(..end)?);
    while let Some((from, tail)) = rest.split_first() {
        match tail {
            ['-', to, more @ ..] => {
                set.push((*from, *to));
                rest = more;
            }
            _ => {
                set.push((*from, *from));
                rest = tail;
            }
        }
    }
    Some((set, not, body.get(end + 1..).unwrap_or_default()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Capabilities, Connection, Connector, Context, Inventory, Preflight};

    #[derive(Debug)]
    struct Nowhere;

    #[async_trait::async_trait]
    impl Connector for Nowhere {
        fn capabilities(&self) -> Capabilities {
            Capabilities::default()
        }

        async fn preflight(&self, _: &Context) -> Result<Preflight> {
            Ok(Preflight::default())
        }

        async fn connect(&self, _: &Context, host: &Host) -> Result<Arc<dyn Connection>> {
            Err(Error::new(ErrorKind::Unreachable, "test", "connect", &host.name))
        }
    }

    fn select(limit: &str) -> Result<String> {
        let inventory: Inventory = serde_json::from_value(serde_json::json!({
            "hosts": [{"name": "web-1"}, {"name": "web-2"}, {"name": "web-10"}, {"name": "db-1"}, {"name": "edge"}],
            "groups": {"data": {"hosts": ["db-1"]}, "back": {"children": ["data"], "hosts": ["web-2"]}}
        }))
        .unwrap();
        let targets = Targets { limit: Some(limit.to_owned()), ..Targets::new(inventory, Arc::new(Nowhere)) };
        let hosts = targets.selected("test", "apply")?;
        Ok(hosts.iter().map(|h| h.name.as_str()).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn a_limit_is_an_ansible_pattern() {
        for (limit, want) in [
            ("web-1", "web-1"),
            ("edge,web-1", "web-1 edge"),
            ("db-1:edge", "db-1 edge"),
            ("all", "web-1 web-2 web-10 db-1 edge"),
            ("*", "web-1 web-2 web-10 db-1 edge"),
            ("web-?", "web-1 web-2"),
            ("web-[2-3]*", "web-2"),
            ("web-[!1]", "web-2"),
            ("web-*:!web-2", "web-1 web-10"),
            ("!web-*", "db-1 edge"),
            ("back", "web-2 db-1"),
            ("back:&web-*", "web-2"),
            ("d*a", "db-1"),
        ] {
            assert_eq!(select(limit).unwrap(), want, "{limit}");
        }
    }

    #[test]
    fn a_limit_without_hosts_or_sense_is_refused() {
        let error = select("web-3").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.message().contains("did you mean `web-"), "{error}");
        for limit in ["~web.*", "web-1:!~x", "data[0]", "data[0:1]"] {
            assert!(select(limit).unwrap_err().message().contains("not understood"), "{limit}");
        }
    }
}
