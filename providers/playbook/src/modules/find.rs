//! `find`.

use std::collections::BTreeMap;

use serde_json::json;
use towpath_core::{Json, shell_quote};

use super::attrs::{Attrs, Mode, Seen};
use super::pattern::{Pattern, decode, fault};
use super::spec::Rules;
use super::{Call, Decision, Fields, Module, Place, fields, stat};

/// `find`.
pub(super) const MODULE: Module =
    Module { names: &["find"], rules: Rules::NONE, missing: &[], place: Place::Host, prepare };

/// What `stat` prints of each file, in this order; the name is last, since it may hold anything.
const KEYS: [&str; 15] = [
    "raw", "uid", "gid", "owner", "group", "size", "nlink", "inode", "dev", "atime", "atimes", "mtime", "mtimes",
    "ctime", "ctimes",
];
const FORMAT: &str = "%f|%u|%g|%U|%G|%s|%h|%i|%d|%X|%x|%Y|%y|%Z|%z|%n";

/// The most of files' content that `contains` reads from a host.
const MOST: u64 = 32 << 20;

struct Wanted {
    paths: Vec<String>,
    patterns: Vec<Name>,
    /// What is wrong with a pattern.
    broken: Option<String>,
    excludes: Vec<Name>,
    kind: String,
    recurse: bool,
    hidden: bool,
    depth: Option<i64>,
    limit: Option<i64>,
    age: Option<f64>,
    stamp: String,
    size: Option<i64>,
    mode: Option<Mode>,
    exact: bool,
    contains: Option<Pattern>,
    whole: bool,
    checksum: bool,
}

/// A pattern of names.
enum Name {
    Glob(Pattern),
    Regex(Pattern),
}

impl Name {
    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Glob(p) => p.matches(name),
            Self::Regex(p) => p.find(name).is_some_and(|m| m.start == 0),
        }
    }
}

/// Python's `fnmatch` as a regular expression.
pub(super) fn glob(text: &str) -> Result<Pattern, String> {
    let mut out = String::from(r"\A(?s:");
    let chars: Vec<char> = text.chars().collect();
    let mut i = 0;
    while let Some(&c) = chars.get(i) {
        i += 1;
        match c {
            '*' => out.push_str(".*"),
            '?' => out.push('.'),
            '[' => {
                let from = i + usize::from(matches!(chars.get(i), Some('!')));
                let first = from + usize::from(matches!(chars.get(from), Some(']')));
                match chars.get(first..).and_then(|r| r.iter().position(|c| *c == ']')) {
                    Some(end) => {
                        let inner: String = chars.get(i..first + end).unwrap_or_default().iter().collect();
                        let inner = inner.replace('\\', r"\\");
                        let inner = inner.strip_prefix('!').map_or(inner.clone(), |rest| format!("^{rest}"));
                        out.push_str(&format!("[{inner}]"));
                        i = first + end + 1;
                    }
                    None => out.push_str(r"\["),
                }
            }
            c if c.is_ascii_punctuation() => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out.push_str(r")\Z");
    Pattern::new(&out, false)
}

/// A number with a unit.
fn units(text: &str, units: &[(char, f64)]) -> Option<f64> {
    let text = text.trim().to_lowercase();
    let (number, unit) = match text.chars().last() {
        Some(c) if c.is_ascii_alphabetic() => (text.get(..text.len() - 1)?, c),
        _ => (text.as_str(), ' '),
    };
    let factor = if unit == ' ' { 1.0 } else { units.iter().find(|(u, _)| *u == unit)?.1 };
    number.parse::<i64>().ok().map(|n| n as f64 * factor)
}

fn prepare(call: &Call) -> Result<Decision, String> {
    let regex = call.yes("use_regex")? == Some(true);
    // A pattern that means nothing is no error of the arguments: it ends the search of each path.
    let mut broken = None;
    let mut compile = |p: &str| match Pattern::new(p, false) {
        Ok(pattern) => Some(pattern),
        Err(_) => {
            broken.get_or_insert_with(|| fault(p));
            None
        }
    };
    let mut names = |key: &str| -> Result<Vec<Name>, String> {
        let mut all = Vec::new();
        for p in call.list(key).unwrap_or_default() {
            all.extend(if regex { compile(&p).map(Name::Regex) } else { Some(Name::Glob(glob(&p)?)) });
        }
        Ok(all)
    };
    const AGES: [(char, f64); 5] = [('s', 1.0), ('m', 60.0), ('h', 3600.0), ('d', 86_400.0), ('w', 604_800.0)];
    const SIZES: [(char, f64); 5] =
        [('b', 1.0), ('k', 1024.0), ('m', 1_048_576.0), ('g', 1_073_741_824.0), ('t', 1_099_511_627_776.0)];
    let amount = |key: &str, all: &[(char, f64)]| match call.text(key) {
        None => Ok(None),
        Some(text) => units(&text, all).map(Some).ok_or((key.to_owned(), text)),
    };
    let (age, size) = match (amount("age", &AGES), amount("size", &SIZES)) {
        (Ok(age), Ok(size)) => (age, size),
        (Err((key, text)), _) | (_, Err((key, text))) => {
            let more = [(key.clone(), json!(text))].into_iter().collect();
            return Ok(super::attrs::failed(format!("failed to process {key}"), more));
        }
    };
    let number = |key: &str| call.args.get(key).and_then(Json::as_i64);
    let (patterns, excludes) = (names("patterns")?, names("excludes")?);
    let contains = call.text("contains").and_then(|p| compile(&p));
    let w = Wanted {
        paths: call.list("paths").unwrap_or_default(),
        patterns,
        excludes,
        broken,
        kind: call.need("file_type")?,
        recurse: call.yes("recurse")? == Some(true),
        hidden: call.yes("hidden")? == Some(true),
        depth: number("depth"),
        limit: number("limit"),
        age,
        stamp: call.need("age_stamp")?,
        size: size.map(|n| n as i64),
        mode: super::attrs::mode(call, "mode"),
        exact: call.yes("exact_mode")? != Some(false),
        contains,
        whole: call.yes("read_whole_file")? == Some(true),
        checksum: call.yes("get_checksum")? == Some(true),
    };
    let follow = call.yes("follow")? == Some(true);
    let flag = if follow { "-L " } else { "" };
    let deepest = match (w.recurse, w.depth) {
        (false, _) => " -maxdepth 1".to_owned(),
        (true, Some(d)) if d > 0 => format!(" -maxdepth {}", d + 1),
        _ => String::new(),
    };
    let mut script = String::from("date +%s\n");
    for path in &w.paths {
        let p = shell_quote(path);
        // A trailing slash looks behind a link that is named itself.
        script.push_str(&format!(
            "echo\nif [ -d {p} ]; then echo folder; cd {p} && find {flag}.{deepest} -exec stat -c '{FORMAT}' {{}} + 2>/dev/null; find .{deepest} -type l -exec sh -c 'for f; do if [ -d \"$f\" ]; then printf \"L|%s\\n\" \"$f\"; fi; done' sh {{}} + 2>/dev/null; cd - >/dev/null; fi\n"
        ));
    }
    script.push_str("exit 0\n");
    Ok(Decision::Probe(script, Box::new(move |out| w.walk(&out.text()))))
}

/// A file that was found.
struct Found {
    path: String,
    seen: Seen,
}

impl Wanted {
    fn walk(self, text: &str) -> Result<Decision, String> {
        let (now, rest) = text.split_once('\n').unwrap_or((text, ""));
        let now: f64 = now.trim().parse().unwrap_or_default();
        let blocks: Vec<&str> = rest.split("\n\n").collect();
        let (mut files, mut examined, mut skipped, mut limited) = (Vec::new(), 0, Fields::new(), false);
        let limit = self.limit.and_then(|l| usize::try_from(l).ok());
        for (path, block) in self.paths.iter().zip(blocks) {
            let Some(lines) = block.trim_start_matches('\n').strip_prefix("folder") else {
                skipped.insert(path.clone(), json!(format!("'{path}' is not a directory")));
                continue;
            };
            // The entries of each folder, in the folder's own order, and whether they are folders themselves.
            let mut tree: BTreeMap<String, Vec<(String, Seen)>> = BTreeMap::new();
            let through: Vec<&str> = lines.lines().filter_map(|l| l.strip_prefix("L|./")).collect();
            for line in lines.lines().filter(|l| !l.is_empty() && !l.starts_with("L|")) {
                let values: Vec<&str> = line.splitn(KEYS.len() + 1, '|').collect();
                let Some(name) = values.last().and_then(|n| n.strip_prefix("./")) else { continue };
                let pairs: Vec<(&str, String)> = KEYS.iter().zip(&values).map(|(k, v)| (*k, (*v).to_owned())).collect();
                let (parent, _) = name.rsplit_once('/').unwrap_or(("", name));
                tree.entry(parent.to_owned()).or_default().push((name.to_owned(), Seen::default().with(&pairs)));
            }
            let mut folders = vec![String::new()];
            while let Some(folder) = folders.pop() {
                if limited {
                    break;
                }
                let entries = tree.remove(&folder).unwrap_or_default();
                examined += entries.len();
                if let (Some(why), false) = (&self.broken, entries.is_empty()) {
                    skipped.insert(path.clone(), json!(why));
                    break;
                }
                let (dirs, others): (Vec<_>, Vec<_>) =
                    entries.into_iter().partition(|(n, s)| s.directory() || through.contains(&n.as_str()));
                let below: Vec<String> = dirs.iter().map(|(n, _)| n.clone()).collect();
                let depth = if folder.is_empty() { 0 } else { folder.matches('/').count() as i64 + 1 };
                let deep = self.depth.is_some_and(|d| d > 0 && depth >= d);
                for (name, seen) in others.into_iter().chain(dirs) {
                    if deep {
                        break;
                    }
                    let base = name.rsplit('/').next().unwrap_or_default();
                    if self.takes(base, &seen, now) {
                        files.push(Found { path: format!("{}/{name}", path.trim_end_matches('/')), seen });
                        if self.contains.is_none() && limit.is_some_and(|l| files.len() >= l) {
                            limited = true;
                            break;
                        }
                    }
                }
                folders.extend(below.into_iter().rev());
            }
        }
        let contents = self.contains.is_some();
        if files.is_empty() || !contents && !self.checksum {
            return Ok(self.done(files, examined, skipped, limited, Vec::new()));
        }
        let regular = |f: &Found| f.seen.regular();
        let size = |f: &Found| f.seen.get("size").parse::<u64>().unwrap_or(0);
        if contents && files.iter().filter(|f| regular(f)).map(size).sum::<u64>() > MOST {
            return Err(format!(
                "`contains` would read more than {} MiB; narrow it down by `patterns` or `size`",
                MOST >> 20
            ));
        }
        let mut script = String::new();
        for f in files.iter().filter(|f| regular(f)) {
            let p = shell_quote(&f.path);
            if self.checksum {
                script.push_str(&format!("tp_sum sha1sum {p}\n"));
            }
            if contents {
                script.push_str(&format!("wc -c <{p} 2>/dev/null || echo 0\ncat -- {p} 2>/dev/null\necho\n"));
            }
        }
        script.push_str("exit 0\n");
        Ok(Decision::Probe(script, Box::new(move |out| Ok(self.done(files, examined, skipped, limited, out.stdout)))))
    }

    fn takes(&self, name: &str, seen: &Seen, now: f64) -> bool {
        if !self.hidden && name.starts_with('.') {
            return false;
        }
        let any = |all: &[Name]| all.iter().any(|n| n.matches(name));
        if !self.patterns.is_empty() && !any(&self.patterns) || any(&self.excludes) {
            return false;
        }
        let kind = match self.kind.as_str() {
            "file" => seen.regular(),
            "directory" => seen.directory(),
            "link" => seen.link(),
            _ => true,
        };
        let old = self.age.is_none_or(|age| {
            let passed = now - seen.get(&self.stamp).parse::<f64>().unwrap_or_default();
            if age >= 0.0 { passed >= age } else { passed <= -age }
        });
        let bytes = seen.get("size").parse::<i64>().unwrap_or(0);
        let sized = self.kind != "file" && self.kind != "any"
            || self.size.is_none_or(|s| if s >= 0 { bytes >= s } else { bytes <= -s });
        let moded = self.mode.as_ref().is_none_or(|mode| {
            let bits = match mode {
                Mode::Bits(b) => *b,
                Mode::Symbolic(_) => {
                    let one = Attrs { mode: Some(mode.clone()), ..Attrs::default() };
                    one.wanted_mode(&Seen::default().with(&[("raw", "8000".into()), ("umask", "0".into())]))
                        .unwrap_or(0)
                }
                _ => return false,
            };
            if self.exact { seen.mode() == bits } else { seen.mode() & bits != 0 }
        });
        kind && old && sized && moded
    }

    /// The result; `said` holds checksums and contents of the regular files, in order.
    fn done(self, files: Vec<Found>, examined: usize, skipped: Fields, limited: bool, said: Vec<u8>) -> Decision {
        let mut rest = said.as_slice();
        let mut limited = limited;
        let line = |rest: &mut &[u8]| {
            let end = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
            let (line, after) = rest.split_at(end);
            *rest = after.get(1..).unwrap_or_default();
            String::from_utf8_lossy(line).into_owned()
        };
        let limit = self.limit.and_then(|l| usize::try_from(l).ok());
        let mut all = Vec::new();
        for f in files {
            let mut fields = stat::numbers(&f.seen);
            fields.insert("path".into(), json!(f.path));
            if f.seen.regular() && self.checksum {
                let sum = line(&mut rest);
                let sum = sum.trim_start_matches("sum=").split(' ').next().unwrap_or_default().to_owned();
                fields.insert("checksum".into(), json!(sum));
            }
            if let Some(pattern) = &self.contains {
                if !f.seen.regular() {
                    continue;
                }
                let size = line(&mut rest).trim().parse::<usize>().unwrap_or(0);
                let (content, after) = rest.split_at(size.min(rest.len()));
                rest = after.get(1..).unwrap_or_default();
                let text = decode(content);
                let has = match self.whole {
                    true => pattern.matches(&text),
                    false => text.split_inclusive('\n').any(|l| pattern.find(l).is_some_and(|m| m.start == 0)),
                };
                if !has {
                    continue;
                }
            }
            all.push(Json::Object(fields));
            if limit.is_some_and(|l| all.len() >= l) {
                limited = true;
                break;
            }
        }
        let msg = match () {
            () if limited => "Limit of matches reached",
            () if !skipped.is_empty() => "Not all paths examined, check warnings for details",
            () => "All paths examined",
        };
        Decision::Done(fields([
            ("changed", json!(false)),
            ("matched", json!(all.len())),
            ("files", json!(all)),
            ("examined", json!(examined)),
            ("msg", json!(msg)),
            ("skipped_paths", Json::Object(skipped)),
        ]))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn globs_and_units() {
        let fits = |p: &str, n: &str| glob(p).unwrap().matches(n);
        assert!(fits("f[12]?.log", "f1x.log") && !fits("f[!12]*", "f1") && fits("[]]", "]") && fits("a[b", "a[b"));
        assert!(!fits("*.log", "a.logs"));
        assert_eq!(units("-2h", &[('h', 3600.0)]), Some(-7200.0));
        assert_eq!(units("2x", &[('h', 3600.0)]), None);
    }
}
