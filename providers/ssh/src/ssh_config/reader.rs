//! Reads the files line by line.

use std::path::{Path, PathBuf};

use towpath_core::{Error, Result};

use super::keywords::{Treatment, treatment};
use super::pattern::{keyword, matches_list, wildcard, words};
use super::{Family, Found, Proxy, Source, bad, local_user};
use crate::config::{HostKeys, expand};

pub(super) struct Reader<'a> {
    asked: &'a str,
    /// What `Host` compares with.
    name: String,
    user: Option<&'a str>,
    found: Found,
    is_final: bool,
    wants_final: bool,
}

/// A line of a file.
struct Line<'a> {
    path: &'a Path,
    number: usize,
    key: &'a str,
    args: Vec<String>,
    rest: &'a str,
}

impl Line<'_> {
    fn bad(&self, message: impl Into<String>) -> Error {
        bad(self.path, self.number, message)
    }

    fn first(&self) -> &str {
        self.args.first().map_or("", String::as_str)
    }

    fn number(&self) -> Result<u64> {
        self.first().parse().map_err(|e| self.bad(format!("`{}` is no number", self.key)).caused_by(e))
    }

    /// A time as in sshd_config(5): seconds, or `1m30s`.
    fn seconds(&self) -> Result<u64> {
        let (mut all, mut digits) = (0u64, String::new());
        for c in self.first().chars() {
            let unit = match c.to_ascii_lowercase() {
                c if c.is_ascii_digit() => {
                    digits.push(c);
                    continue;
                }
                's' => 1,
                'm' => 60,
                'h' => 3600,
                'd' => 86_400,
                'w' => 7 * 86_400,
                _ => return Err(self.bad(format!("`{}` is no time", self.key))),
            };
            let n: u64 = std::mem::take(&mut digits).parse().unwrap_or(0);
            all = all.saturating_add(n.saturating_mul(unit));
        }
        let rest: u64 = if digits.is_empty() { 0 } else { digits.parse().unwrap_or(u64::MAX) };
        Ok(all.saturating_add(rest))
    }

    fn yes(&self) -> Result<bool> {
        match self.first().to_ascii_lowercase().as_str() {
            "yes" | "true" => Ok(true),
            "no" | "false" => Ok(false),
            _ => Err(self.bad(format!("`{}` is neither yes nor no", self.key))),
        }
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(asked: &'a str, user: Option<&'a str>) -> Self {
        let name = asked.to_owned();
        Self { asked, name, user, found: Found::default(), is_final: false, wants_final: false }
    }

    pub(super) fn wants_final(&self) -> bool {
        self.wants_final
    }

    pub(super) fn begin_final(&mut self) {
        self.name = self.host_name();
        self.is_final = true;
    }

    pub(super) fn found(mut self) -> Found {
        self.found.host_name = self.found.host_name.is_some().then(|| self.host_name());
        self.found
    }

    /// The name to connect to, as far as it is known.
    fn host_name(&self) -> String {
        match &self.found.host_name {
            Some(name) => name.replace("%%", "\0").replace("%h", self.asked).replace('\0', "%"),
            None => self.asked.to_owned(),
        }
    }

    pub(super) fn pass(&mut self, sources: &[Source]) -> Result<()> {
        for source in sources {
            match std::fs::read_to_string(&source.path) {
                Ok(text) => self.file(&source.path, &text, &source.includes, true, 0)?,
                Err(e) if e.kind() == std::io::ErrorKind::NotFound && !source.named => {}
                Err(e) => return Err(bad(&source.path, 0, "the OpenSSH configuration can't be read").caused_by(e)),
            }
        }
        Ok(())
    }

    pub(super) fn file(&mut self, path: &Path, text: &str, includes: &Path, outer: bool, depth: usize) -> Result<()> {
        let mut active = outer;
        for (n, text) in text.lines().enumerate().map(|(n, l)| (n + 1, l.trim())) {
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let (key, rest) = keyword(text);
            let args = words(rest).ok_or_else(|| bad(path, n, "a quote is not closed"))?;
            if args.is_empty() {
                return Err(bad(path, n, format!("`{key}` has no value")));
            }
            let line = Line { path, number: n, key, args, rest };
            match key.to_ascii_lowercase().as_str() {
                "host" => active = outer && matches_list(line.args.iter().map(String::as_str), &self.name),
                "match" => active = self.matches(&line)? && outer,
                "include" if active => self.include(&line, includes, depth)?,
                "include" => {}
                lower => self.option(&line, lower, active)?,
            }
        }
        Ok(())
    }

    fn include(&mut self, line: &Line<'_>, includes: &Path, depth: usize) -> Result<()> {
        if depth >= 16 {
            return Err(line.bad("too many levels of Include"));
        }
        for file in line.args.iter().flat_map(|a| included(a, includes)) {
            let text = std::fs::read_to_string(&file)
                .map_err(|e| line.bad(format!("{} can't be read", file.display())).caused_by(e))?;
            self.file(&file, &text, includes, true, depth + 1)?;
        }
        Ok(())
    }

    fn matches(&mut self, line: &Line<'_>) -> Result<bool> {
        let mut args = line.args.iter().map(String::as_str);
        let mut all = true;
        while let Some(word) = args.next() {
            let (negated, word) = word.strip_prefix('!').map_or((false, word), |w| (true, w));
            let (name, inline) = word.split_once('=').map_or((word, None), |(a, b)| (a, Some(b)));
            let subject = match name.to_ascii_lowercase().as_str() {
                "all" => {
                    all &= !negated;
                    continue;
                }
                name @ ("final" | "canonical") => {
                    self.wants_final |= name == "final";
                    all &= self.is_final != negated;
                    continue;
                }
                "host" => self.host_name(),
                "originalhost" => self.asked.to_owned(),
                "user" => self.user.map(str::to_owned).or(self.found.user.clone()).unwrap_or_else(local_user),
                "localuser" => local_user(),
                "tagged" => self.found.tag.clone().unwrap_or_default(),
                _ => return Err(line.bad(format!("`Match {name}` is not supported"))),
            };
            let Some(list) = inline.or_else(|| args.next()) else {
                return Err(line.bad(format!("`Match {name}` has no value")));
            };
            all &= matches_list(list.split(','), &subject) != negated;
        }
        Ok(all)
    }

    fn option(&mut self, line: &Line<'_>, lower: &str, active: bool) -> Result<()> {
        let fits = |values: &[&str]| values.iter().any(|v| v.eq_ignore_ascii_case(line.first()));
        if !active {
            return Ok(());
        }
        match treatment(lower) {
            None if self.found.ignored.as_ref().is_some_and(|l| matches_list(l.split(','), lower)) => Ok(()),
            None => Err(line.bad(format!("OpenSSH knows no option `{}`; `IgnoreUnknown` would let it pass", line.key))),
            Some(Treatment::Harmless(_)) => Ok(()),
            Some(Treatment::Only(values)) if fits(values) => Ok(()),
            Some(Treatment::Only(_) | Treatment::Refused) => Err(line
                .bad(format!(
                    "the option `{}` is not supported, and leaving it out could change where the connection goes, as whom, or \
                     whom it trusts; remove it for this host, or give another file with `ssh_config`",
                    line.key
                ))
                .with("value", line.first())
                .with("host", self.asked)),
            Some(Treatment::Honoured) => self.honour(line, lower),
        }
    }

    /// The first value wins, whatever comes later.
    fn honour(&mut self, line: &Line<'_>, lower: &str) -> Result<()> {
        let f = &mut self.found;
        let first = line.first();
        let text = || first.to_owned();
        match lower {
            "hostname" => keep(&mut f.host_name, text()),
            "user" => keep(&mut f.user, text()),
            "port" => {
                let port = u16::try_from(line.number()?).map_err(|e| line.bad("`Port` is no port").caused_by(e))?;
                keep(&mut f.port, port);
            }
            "identityfile" | "identityfile2" => add(&mut f.identity_files, first),
            "certificatefile" => add(&mut f.certificate_files, first),
            "identitiesonly" => keep(&mut f.identities_only, line.yes()?),
            "identityagent" => keep(&mut f.identity_agent, text()),
            "userknownhostsfile" => keep(&mut f.known_hosts, line.args.clone()),
            "globalknownhostsfile" => keep(&mut f.global_known_hosts, line.args.clone()),
            "hostkeyalias" => keep(&mut f.host_key_alias, text()),
            "hashknownhosts" => keep(&mut f.hash_known_hosts, line.yes()?),
            "nohostauthenticationforlocalhost" => keep(&mut f.local_unchecked, line.yes()?),
            "stricthostkeychecking" => {
                let how = match first.to_ascii_lowercase().as_str() {
                    // Nobody is there to be asked.
                    "yes" | "true" | "ask" => HostKeys::Strict,
                    "accept-new" => HostKeys::AcceptNew,
                    "no" | "false" | "off" => HostKeys::Off,
                    _ => return Err(line.bad(format!("`{}` has no value `{first}`", line.key))),
                };
                keep(&mut f.host_keys, how);
            }
            "connecttimeout" => keep(&mut f.connect_timeout_s, line.seconds()?),
            "serveraliveinterval" => keep(&mut f.alive_interval_s, line.seconds()?),
            "serveralivecountmax" => keep(&mut f.alive_count, line.number()?),
            "addressfamily" => {
                let family = match first.to_ascii_lowercase().as_str() {
                    "any" => Family::Any,
                    "inet" => Family::V4,
                    "inet6" => Family::V6,
                    _ => return Err(line.bad(format!("`{}` has no value `{first}`", line.key))),
                };
                keep(&mut f.family, family);
            }
            "pubkeyauthentication" => {
                keep(&mut f.public_key, matches!(first, "unbound" | "host-bound") || line.yes()?);
            }
            "passwordauthentication" => keep(&mut f.password, line.yes()?),
            "kbdinteractiveauthentication" | "challengeresponseauthentication" | "skeyauthentication" => {
                keep(&mut f.interactive, line.yes()?);
            }
            "preferredauthentications" => {
                keep(&mut f.preferred, first.split(',').map(|m| m.trim().to_ascii_lowercase()).collect());
            }
            "ciphers" => keep(&mut f.algorithms.ciphers, text()),
            "macs" => keep(&mut f.algorithms.macs, text()),
            "kexalgorithms" => keep(&mut f.algorithms.kex, text()),
            "hostkeyalgorithms" => keep(&mut f.algorithms.host_key, text()),
            "pubkeyacceptedalgorithms" | "pubkeyacceptedkeytypes" => keep(&mut f.algorithms.user_key, text()),
            "casignaturealgorithms" => keep(&mut f.algorithms.authority, text()),
            "requiredrsasize" => keep(&mut f.algorithms.rsa_bits, line.number()?),
            "refuseconnection" => keep(&mut f.refused, line.args.join(" ")),
            "ignoreunknown" => keep(&mut f.ignored, line.args.join(",").to_ascii_lowercase()),
            "tag" => keep(&mut f.tag, text()),
            "proxyjump" => {
                let jump = if first == "none" { Proxy::None } else { Proxy::Jump(text()) };
                keep(&mut f.proxy, jump);
            }
            "proxycommand" => {
                let command = if first == "none" { Proxy::None } else { Proxy::Command(line.rest.to_owned()) };
                keep(&mut f.proxy, command);
            }
            _ => return Err(line.bad(format!("the option `{}` is not read", line.key))),
        }
        Ok(())
    }
}

fn keep<T>(slot: &mut Option<T>, value: T) {
    slot.get_or_insert(value);
}

/// These add up. A file that is read twice says each of them twice.
fn add(list: &mut Vec<String>, value: &str) {
    if !list.iter().any(|v| v == value) {
        list.push(value.to_owned());
    }
}

/// The files that an `Include` names, sorted; wildcards in the last part only.
fn included(pattern: &str, includes: &Path) -> Vec<PathBuf> {
    let path = expand(pattern);
    let path = if path.is_absolute() { path } else { includes.join(path) };
    let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str())) else { return Vec::new() };
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let fits = |p: &PathBuf| {
        p.file_name().and_then(|n| n.to_str()).is_some_and(|n| wildcard(name, n) && (!n.starts_with('.') || n == name))
    };
    let mut files: Vec<PathBuf> =
        entries.flatten().map(|e| e.path()).filter(|p| p.is_file()).filter(|p| fits(p)).collect();
    files.sort();
    files
}
