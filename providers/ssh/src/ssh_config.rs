//! OpenSSH's client configuration. Source: ssh_config(5).

use std::path::{Path, PathBuf};

use towpath_core::{Error, ErrorKind, Result};

use crate::config::expand;
use crate::{PROVIDER, home_dir};

/// A way round a direct connection.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Proxy {
    None,
    Jump(String),
    Command(String),
}

/// What applies to one host.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Found {
    pub(crate) host_name: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) port: Option<u16>,
    pub(crate) identity_files: Vec<String>,
    pub(crate) certificate_files: Vec<String>,
    pub(crate) identities_only: Option<bool>,
    pub(crate) identity_agent: Option<String>,
    pub(crate) known_hosts: Option<Vec<String>>,
    pub(crate) accept_new: Option<bool>,
    /// Somebody turned checking off, which is taken for `accept-new`.
    pub(crate) unchecked: bool,
    pub(crate) host_key_alias: Option<String>,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) connect_timeout_s: Option<u64>,
}

/// Options that don't change where a connection goes, as whom, or whom it trusts.
const HARMLESS: &[&str] = &[
    "addkeystoagent",
    "batchmode",
    "challengeresponseauthentication",
    "checkhostip",
    "clearallforwardings",
    "compression",
    "connectionattempts",
    "controlmaster",
    "controlpath",
    "controlpersist",
    "dynamicforward",
    "enableescapecommandline",
    "escapechar",
    "exitonforwardfailure",
    "fingerprinthash",
    "forkafterauthentication",
    "forwardagent",
    "forwardx11",
    "forwardx11timeout",
    "forwardx11trusted",
    "gatewayports",
    "gssapiauthentication",
    "gssapidelegatecredentials",
    "hashknownhosts",
    "ignoreunknown",
    "ipqos",
    "kbdinteractiveauthentication",
    "localcommand",
    "localforward",
    "loglevel",
    "logverbose",
    "nohostauthenticationforlocalhost",
    "numberofpasswordprompts",
    "obscurekeystroketiming",
    "passwordauthentication",
    "permitlocalcommand",
    "permitremoteopen",
    "preferredauthentications",
    "pubkeyauthentication",
    "rekeylimit",
    "remoteforward",
    "requesttty",
    "sendenv",
    "serveralivecountmax",
    "serveraliveinterval",
    "sessiontype",
    "setenv",
    "stdinnull",
    "streamlocalbindmask",
    "streamlocalbindunlink",
    "syslogfacility",
    "tcpkeepalive",
    "updatehostkeys",
    "usekeychain",
    "visualhostkey",
    "xauthlocation",
];

/// Algorithm lists: adding to the defaults is harmless, narrowing them is a policy that can't be dropped silently.
const ALGORITHMS: &[&str] = &[
    "casignaturealgorithms",
    "ciphers",
    "hostbasedacceptedalgorithms",
    "hostkeyalgorithms",
    "kexalgorithms",
    "macs",
    "pubkeyacceptedalgorithms",
    "pubkeyacceptedkeytypes",
];

fn bad(path: &Path, line: usize, message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, PROVIDER, "ssh_config", message).with("file", path.display()).with("line", line)
}

/// Reads what applies to `asked`. A missing file is an empty one, unless somebody named it.
pub(crate) fn read(path: &Path, asked: &str, user: Option<&str>, named: bool) -> Result<Found> {
    let mut reader = Reader { asked, user, found: Found::default() };
    match std::fs::read_to_string(path) {
        Ok(text) => reader.file(path, &text, true, 0)?,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && !named => {}
        Err(e) => return Err(bad(path, 0, "the OpenSSH configuration can't be read").caused_by(e)),
    }
    let mut found = reader.found;
    if let Some(name) = &mut found.host_name {
        *name = name.replace("%h", asked).replace("%%", "%");
    }
    Ok(found)
}

/// The user who runs this process.
pub(crate) fn local_user() -> String {
    ["USER", "LOGNAME"].iter().find_map(|v| std::env::var(v).ok()).filter(|u| !u.is_empty()).unwrap_or("root".into())
}

struct Reader<'a> {
    asked: &'a str,
    user: Option<&'a str>,
    found: Found,
}

impl Reader<'_> {
    fn file(&mut self, path: &Path, text: &str, outer: bool, depth: usize) -> Result<()> {
        let mut active = outer;
        for (n, line) in text.lines().enumerate().map(|(n, l)| (n + 1, l.trim())) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (key, rest) = keyword(line);
            let args = words(rest).ok_or_else(|| bad(path, n, "a quote is not closed"))?;
            let Some(first) = args.first() else { return Err(bad(path, n, format!("`{key}` has no value"))) };
            match key.to_ascii_lowercase().as_str() {
                "host" => active = outer && matches_list(args.iter().map(String::as_str), self.asked),
                "match" => active = self.matches(path, n, &args)? && outer,
                "include" if active => {
                    if depth >= 16 {
                        return Err(bad(path, n, "too many levels of Include"));
                    }
                    for file in args.iter().flat_map(|a| included(a)) {
                        let text = std::fs::read_to_string(&file)
                            .map_err(|e| bad(path, n, format!("{} can't be read", file.display())).caused_by(e))?;
                        self.file(&file, &text, true, depth + 1)?;
                    }
                }
                lower if active => self.option(path, n, key, lower, first, &args, rest)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn matches(&self, path: &Path, n: usize, args: &[String]) -> Result<bool> {
        let mut args = args.iter().map(String::as_str);
        let mut all = true;
        while let Some(word) = args.next() {
            let (negated, word) = word.strip_prefix('!').map_or((false, word), |w| (true, w));
            let word = word.to_ascii_lowercase();
            let (name, inline) = word.split_once('=').map_or((word.as_str(), None), |(a, b)| (a, Some(b)));
            if name == "all" {
                all &= !negated;
                continue;
            }
            let subject = match name {
                "host" => self.found.host_name.clone().unwrap_or_else(|| self.asked.to_owned()),
                "originalhost" => self.asked.to_owned(),
                "user" => self.user.map(str::to_owned).or(self.found.user.clone()).unwrap_or_else(local_user),
                "localuser" => local_user(),
                _ => return Err(bad(path, n, format!("`Match {name}` is not supported"))),
            };
            let Some(list) = inline.or_else(|| args.next()) else {
                return Err(bad(path, n, format!("`Match {name}` has no value")));
            };
            all &= matches_list(list.split(','), &subject) != negated;
        }
        Ok(all)
    }

    #[allow(clippy::too_many_arguments)]
    fn option(
        &mut self,
        path: &Path,
        n: usize,
        key: &str,
        lower: &str,
        first: &str,
        args: &[String],
        rest: &str,
    ) -> Result<()> {
        let f = &mut self.found;
        let number = || first.parse::<u64>().map_err(|e| bad(path, n, format!("`{key}` is no number")).caused_by(e));
        // The first value wins, whatever comes later.
        match lower {
            "hostname" => keep(&mut f.host_name, first.to_owned()),
            "user" => keep(&mut f.user, first.to_owned()),
            "port" => {
                let port = u16::try_from(number()?).map_err(|e| bad(path, n, "`Port` is no port").caused_by(e))?;
                keep(&mut f.port, port);
            }
            "identityfile" if first == "none" => {}
            "identityfile" => f.identity_files.push(first.to_owned()),
            "certificatefile" => f.certificate_files.push(first.to_owned()),
            "identitiesonly" => keep(&mut f.identities_only, first == "yes"),
            "identityagent" => keep(&mut f.identity_agent, first.to_owned()),
            "userknownhostsfile" => keep(&mut f.known_hosts, args.to_vec()),
            "hostkeyalias" => keep(&mut f.host_key_alias, first.to_owned()),
            // `no` trusts changed keys, too, which nothing here does.
            "stricthostkeychecking" => {
                f.unchecked |= f.accept_new.is_none() && matches!(first, "no" | "off");
                keep(&mut f.accept_new, matches!(first, "accept-new" | "no" | "off"));
            }
            "connecttimeout" => keep(&mut f.connect_timeout_s, number()?),
            "proxyjump" => {
                let jump = if first == "none" { Proxy::None } else { Proxy::Jump(first.to_owned()) };
                keep(&mut f.proxy, jump);
            }
            "proxycommand" => {
                let command = if first == "none" { Proxy::None } else { Proxy::Command(rest.to_owned()) };
                keep(&mut f.proxy, command);
            }
            "addressfamily" if first == "any" => {}
            "canonicalizehostname" | "verifyhostkeydns" | "proxyusefdpass" | "tunnel" if first == "no" => {}
            _ if ALGORITHMS.contains(&lower) && first.starts_with('+') => {}
            _ if HARMLESS.contains(&lower) => {}
            _ => {
                return Err(bad(
                    path,
                    n,
                    format!(
                        "the option `{key}` is not supported, and leaving it out could change where the connection goes, as \
                         whom, or whom it trusts; remove it for this host, or give another file with `ssh_config`"
                    ),
                )
                .with("host", self.asked));
            }
        }
        Ok(())
    }
}

fn keep<T>(slot: &mut Option<T>, value: T) {
    slot.get_or_insert(value);
}

fn keyword(line: &str) -> (&str, &str) {
    let end = line.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(line.len());
    let (key, rest) = line.split_at(end);
    let rest = rest.trim_start();
    (key, rest.strip_prefix('=').unwrap_or(rest).trim())
}

/// Splits at blanks outside quotes; a `#` that starts a word starts a comment.
fn words(text: &str) -> Option<Vec<String>> {
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

fn matches_list<'a>(patterns: impl Iterator<Item = &'a str>, subject: &str) -> bool {
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

/// The files that an `Include` names, sorted; wildcards in the last part only.
fn included(pattern: &str) -> Vec<PathBuf> {
    let path = expand(pattern);
    let path = if path.is_absolute() { path } else { home_dir().join(".ssh").join(path) };
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

/// What `%h` and its like stand for.
pub(crate) struct Tokens<'a> {
    pub(crate) address: &'a str,
    pub(crate) port: u16,
    pub(crate) user: &'a str,
    pub(crate) asked: &'a str,
}

impl Tokens<'_> {
    /// Fills them in; unknown ones stay.
    pub(crate) fn fill(&self, text: &str) -> String {
        let (mut out, mut chars) = (String::new(), text.chars());
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            match chars.next() {
                Some('h') => out.push_str(self.address),
                Some('p') => out.push_str(&self.port.to_string()),
                Some('r') => out.push_str(self.user),
                Some('n') => out.push_str(self.asked),
                Some('u') => out.push_str(&local_user()),
                Some('d') => out.push_str(&home_dir().to_string_lossy()),
                Some('%') => out.push('%'),
                Some(other) => out.extend(['%', other]),
                None => out.push('%'),
            }
        }
        out
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn parse(text: &str, asked: &str) -> Result<Found> {
        let mut reader = Reader { asked, user: None, found: Found::default() };
        reader.file(Path::new("config"), text, true, 0)?;
        Ok(reader.found)
    }

    #[test]
    fn the_first_value_wins_and_identities_add_up() {
        let text = "User first\nHost web*\n  User=second\n  Port 2222\n  IdentityFile \"~/a b\"\nHost *\nIdentityFile ~/c\nPort 1";
        let found = parse(text, "web1").unwrap();
        assert_eq!((found.user.as_deref(), found.port), (Some("first"), Some(2222)));
        assert_eq!(found.identity_files, ["~/a b", "~/c"]);
        assert_eq!(parse(text, "db").unwrap().port, Some(1));
    }

    #[test]
    fn negated_patterns_exclude() {
        let text = "Host web* !web9\n  User x\nMatch host web9 originalhost web*\n  User y\nMatch user z\n  Port 3";
        assert_eq!(parse(text, "web1").unwrap().user.as_deref(), Some("x"));
        let found = parse(text, "web9").unwrap();
        assert_eq!((found.user.as_deref(), found.port), (Some("y"), None));
    }

    #[test]
    fn what_changes_trust_is_refused_by_name_and_the_rest_ignored() {
        for option in ["KnownHostsCommand /bin/x", "BindAddress 1.2.3.4", "Ciphers aes128-ctr", "PKCS11Provider x"] {
            let error = parse(option, "web").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.message().contains(option.split(' ').next().unwrap()), "{error}");
        }
        parse("Compression yes\nServerAliveInterval 5\nHostKeyAlgorithms +ssh-rsa\nForwardAgent no", "web").unwrap();
        parse("Host other\n  BindAddress 1.2.3.4", "web").unwrap();
    }

    #[test]
    fn proxies_and_tokens() {
        let found = parse("Host a\nProxyJump u@j:22\nHost b\nProxyCommand nc %h %p # x", "b").unwrap();
        assert!(matches!(found.proxy, Some(Proxy::Command(c)) if c.starts_with("nc %h %p")));
        assert_eq!(parse("ProxyJump none\nProxyJump x", "b").unwrap().proxy, Some(Proxy::None));
        let tokens = Tokens { address: "10.0.0.1", port: 7, user: "me", asked: "web" };
        assert_eq!(tokens.fill("%r@%h:%p %n %%h"), "me@10.0.0.1:7 web %h");
    }
}
