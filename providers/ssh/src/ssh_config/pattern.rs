//! Patterns, words and tokens of the configuration.

use sha1::{Digest as _, Sha1};

use crate::home_dir;

/// Splits a line into its keyword and the rest.
pub(super) fn keyword(line: &str) -> (&str, &str) {
    let end = line.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(line.len());
    let (key, rest) = line.split_at(end);
    let rest = rest.trim_start();
    (key, rest.strip_prefix('=').unwrap_or(rest).trim())
}

/// Splits at blanks outside quotes; a `#` that starts a word starts a comment. `None`: a quote is not closed.
pub(super) fn words(text: &str) -> Option<Vec<String>> {
    let (mut all, mut word, mut quoted, mut begun) = (Vec::new(), String::new(), false, false);
    for c in text.chars() {
        match c {
            '"' => (quoted, begun) = (!quoted, true),
            '#' if !quoted && !begun => break,
            c if c.is_whitespace() && !quoted => {
                if begun {
                    all.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            c => {
                begun = true;
                word.push(c);
            }
        }
    }
    if begun {
        all.push(word);
    }
    (!quoted).then_some(all)
}

pub(super) fn matches_list<'a>(patterns: impl Iterator<Item = &'a str>, subject: &str) -> bool {
    let mut hit = false;
    for pattern in patterns {
        match pattern.strip_prefix('!') {
            Some(not) if wildcard(not, subject) => return false,
            Some(_) => {}
            None => hit |= wildcard(pattern, subject),
        }
    }
    hit
}

/// Matches `*` and `?`, without regard to case.
pub(crate) fn wildcard(pattern: &str, subject: &str) -> bool {
    fn go(p: &[u8], s: &[u8]) -> bool {
        match (p.split_first(), s.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => go(rest, s) || s.split_first().is_some_and(|(_, s)| go(p, s)),
            (Some((b'?', p)), Some((_, s))) => go(p, s),
            (Some((a, p)), Some((b, s))) => a.eq_ignore_ascii_case(b) && go(p, s),
            _ => false,
        }
    }
    go(pattern.as_bytes(), subject.as_bytes())
}

/// What `%h` and its like stand for. Source: ssh_config(5), "TOKENS".
pub(crate) struct Tokens<'a> {
    pub(crate) address: &'a str,
    pub(crate) port: u16,
    pub(crate) user: &'a str,
    pub(crate) asked: &'a str,
    /// The `HostKeyAlias`, or the name that was asked for.
    pub(crate) alias: &'a str,
    pub(crate) jump: &'a str,
}

impl Tokens<'_> {
    /// Fills them in, and `${NAME}` from the environment. The error is the token that is none, or the variable that is not
    /// set.
    pub(crate) fn fill(&self, text: &str) -> Result<String, String> {
        let (mut out, mut rest) = (String::new(), text);
        while let Some(at) = rest.find(['%', '$']) {
            let (before, after) = rest.split_at(at);
            out.push_str(before);
            if let Some(inner) = after.strip_prefix("${") {
                let (name, tail) = inner.split_once('}').ok_or_else(|| "${".to_owned())?;
                out.push_str(&std::env::var(name).map_err(|_| format!("${{{name}}}"))?);
                rest = tail;
                continue;
            }
            let mut chars = after.chars();
            let (sign, token) = (chars.next(), chars.next());
            if sign == Some('$') {
                out.push('$');
                rest = after.get(1..).unwrap_or_default();
                continue;
            }
            let token = token.ok_or_else(|| "%".to_owned())?;
            match token {
                '%' => out.push('%'),
                other => out.push_str(&self.token(other).ok_or_else(|| format!("%{other}"))?),
            }
            rest = chars.as_str();
        }
        out.push_str(rest);
        Ok(out)
    }

    fn token(&self, token: char) -> Option<String> {
        let local = || std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
        Some(match token {
            'h' => self.address.to_owned(),
            'p' => self.port.to_string(),
            'r' => self.user.to_owned(),
            'n' => self.asked.to_owned(),
            'k' => self.alias.to_owned(),
            'j' => self.jump.to_owned(),
            'u' => super::local_user(),
            'd' => home_dir().to_string_lossy().into_owned(),
            'l' => local(),
            'L' => local().split('.').next().unwrap_or_default().to_owned(),
            'i' => uid()?.to_string(),
            'C' => {
                let all = format!("{}{}{}{}{}", local(), self.address, self.port, self.user, self.jump);
                hex::encode(Sha1::digest(all))
            }
            _ => return None,
        })
    }
}

#[cfg(unix)]
fn uid() -> Option<u32> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").ok().map(|m| m.uid())
}

#[cfg(not(unix))]
fn uid() -> Option<u32> {
    None
}
