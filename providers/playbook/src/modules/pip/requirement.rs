//! Names of packages, with what is asked of them.
//!
//! Source: PEP 508.

use std::collections::HashMap;

use super::version::{OPERATORS, Specifier};

/// A package that a task names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Requirement {
    /// As `pip` is told.
    text: String,
    /// None for what is no name: a path, an address.
    known: Option<Known>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    name: String,
    specifiers: Vec<Specifier>,
    url: bool,
}

/// A name in the form in which names are compared.
fn canonical(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        match c {
            '-' | '_' | '.' if out.ends_with('-') => {}
            '-' | '_' | '.' => out.push('-'),
            c => out.extend(c.to_lowercase()),
        }
    }
    out
}

impl Requirement {
    /// Reads a name; `version` is one that is given beside it.
    pub(super) fn read(text: &str, version: Option<&str>) -> Self {
        let text = text.trim();
        let with = version.map(|v| {
            let operator = if OPERATORS.iter().any(|o| v.trim().starts_with(o)) { "" } else { "==" };
            format!("{text}{operator}{v}")
        });
        let parsed = parse(with.as_deref().unwrap_or(text)).filter(|_| parse(text).is_some());
        match parsed {
            Some((text, known)) => Self { text, known: Some(known) },
            None => Self { text: text.to_owned(), known: None },
        }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether versions are asked for.
    pub(super) fn versioned(&self) -> bool {
        self.known.as_ref().is_some_and(|k| !k.specifiers.is_empty())
    }

    /// Whether one of these is what is asked for.
    pub(super) fn met(&self, installed: &HashMap<String, String>) -> bool {
        self.known.as_ref().is_some_and(|k| {
            !k.url && installed.get(&canonical(&k.name)).is_some_and(|v| k.specifiers.iter().all(|s| s.allows(v)))
        })
    }
}

/// What is installed, by the list that `pip` prints.
pub(super) fn installed(list: &str) -> HashMap<String, String> {
    list.lines().filter_map(|l| l.split_once("==")).map(|(n, v)| (canonical(n.trim()), v.trim().to_owned())).collect()
}

/// Puts together what commas took apart: `a>=1,<2` and `a[x,y]` are one name.
pub(super) fn joined(names: &[String]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for name in names {
        let part = name.trim();
        let goes_on = OPERATORS.iter().any(|o| part.starts_with(o));
        match all.last_mut() {
            Some(last) if goes_on || last.contains('[') && !last.contains(']') => {
                last.push(',');
                last.push_str(part);
            }
            _ => all.push(part.to_owned()),
        }
    }
    all
}

fn parse(text: &str) -> Option<(String, Known)> {
    let word = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let end = text.find(|c| !word(c)).unwrap_or(text.len());
    let name = text.get(..end)?;
    let edge = |c: char| c.is_ascii_alphanumeric();
    if !name.starts_with(edge) || !name.ends_with(edge) {
        return None;
    }
    let mut rest = text.get(end..)?.trim_start();
    let mut out = name.to_owned();
    if let Some(inner) = rest.strip_prefix('[') {
        let (extras, after) = inner.split_once(']')?;
        let mut extras: Vec<&str> = extras.split(',').map(str::trim).filter(|e| !e.is_empty()).collect();
        extras.sort_unstable();
        out.push_str(&format!("[{}]", extras.join(",")));
        rest = after.trim_start();
    }
    let mut specifiers = Vec::new();
    let (mut url, mut mark) = (false, None);
    if let Some(address) = rest.strip_prefix('@') {
        let address = address.trim();
        let (address, after) = address.split_once(char::is_whitespace).unwrap_or((address, ""));
        url = true;
        out.push_str(&format!("@ {address}"));
        if let Some(m) = after.trim_start().strip_prefix(';') {
            out.push(' ');
            mark = Some(m);
        }
    } else {
        let (asked, after) = match rest.split_once(';') {
            Some((asked, m)) => (asked.trim(), Some(m)),
            None => (rest.trim(), None),
        };
        mark = after;
        let asked = asked.strip_prefix('(').and_then(|a| a.strip_suffix(')')).unwrap_or(asked);
        if !asked.is_empty() {
            specifiers = asked.split(',').map(Specifier::read).collect::<Option<Vec<_>>>()?;
        }
        let mut shown: Vec<String> = specifiers.iter().map(ToString::to_string).collect();
        shown.sort_unstable();
        shown.dedup();
        out.push_str(&shown.join(","));
    }
    if let Some(mark) = mark {
        out.push_str(&format!("; {}", marker(mark)?));
    }
    Some((out, Known { name: name.to_owned(), specifiers, url }))
}

/// A marker in the one form that it has: `python_version > "3"`.
fn marker(text: &str) -> Option<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut rest = text.trim_start();
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '\'' | '"' => rest.get(1..)?.find(c)? + 2,
            '(' | ')' => 1,
            '<' | '>' | '=' | '!' | '~' => rest.find(|c| !"<>=!~".contains(c)).unwrap_or(rest.len()),
            _ => rest.find(|c: char| c.is_whitespace() || "'\"()<>=!~".contains(c)).unwrap_or(rest.len()),
        };
        let (token, after) = rest.split_at(length);
        tokens.push(match c {
            '\'' | '"' => format!("\"{}\"", token.trim_matches(c)),
            _ => token.to_owned(),
        });
        rest = after.trim_start();
    }
    if tokens.is_empty() {
        return None;
    }
    Some(tokens.join(" ").replace("( ", "(").replace(" )", ")"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_as_ansible_tells_them() {
        for (name, version, told) in [
            ("casepip >= 1.0,!= 1.5,<3", None, "casepip!=1.5,<3,>=1.0"),
            ("casepip [y,x] >= 1.0", None, "casepip[x,y]>=1.0"),
            ("casepip>=1.0 ; python_version>'3'", None, "casepip>=1.0; python_version > \"3\""),
            ("casepip @ https://x/y.whl", None, "casepip@ https://x/y.whl"),
            ("casepip,<2", None, "casepip,<2"),
            ("./local/x.whl", Some("1.0"), "./local/x.whl"),
            ("Foo.Bar_baz", Some("1.0"), "Foo.Bar_baz==1.0"),
            ("casepip", Some("1.0,<2"), "casepip<2,==1.0"),
            ("casepip", Some(">=1.0,<2"), "casepip<2,>=1.0"),
            ("a (>=1.0)", None, "a>=1.0"),
            (
                "a == 1.0 ; (python_version>='3.4' and os_name=='posix') or extra == 'x'",
                None,
                "a==1.0; (python_version >= \"3.4\" and os_name == \"posix\") or extra == \"x\"",
            ),
            ("a[x]@https://x/y ; os_name == 'y'", None, "a[x]@ https://x/y ; os_name == \"y\""),
            ("a-", None, "a-"),
            ("a=1.0", None, "a=1.0"),
            ("a==1.0,==1.0", None, "a==1.0"),
            ("", None, ""),
        ] {
            assert_eq!(Requirement::read(name, version).text(), told);
        }
    }

    #[test]
    fn commas_do_not_end_names() {
        let of = |names: &[&str]| joined(&names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&["casepip >= 1.0", " != 1.5 ", "<3"]), ["casepip >= 1.0,!= 1.5,<3"]);
        assert_eq!(of(&["foo[a", "b]>=1", "bar"]), ["foo[a,b]>=1", "bar"]);
    }

    #[test]
    fn installed_packages_meet_what_is_asked() {
        let have = installed("casepip==1.0\nOther_Case==1.0\nz @ file:///z\n");
        let met = |n: &str| Requirement::read(n, None).met(&have);
        assert!(met("casepip") && met("OTHER.case") && met("casepip[x]>=1"));
        assert!(!met("casepip>=2") && !met("z") && !met("casepip @ https://x") && !met("/x/y.whl"));
    }
}
