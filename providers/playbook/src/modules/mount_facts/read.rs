//! The formats in which mounts are written down. A text is of a format if each of its lines is.

use std::sync::OnceLock;

use regex::Regex;
use serde_json::json;
use towpath_core::Json;

use crate::modules::{Fields, fields};

/// One mount, as a source tells it.
#[derive(Debug, PartialEq)]
pub(super) struct Mount {
    pub(super) point: String,
    /// The line, or lines.
    pub(super) line: String,
    pub(super) fields: Fields,
}

impl Mount {
    pub(super) fn text(&self, key: &str) -> String {
        self.fields.get(key).and_then(Json::as_str).unwrap_or_default().to_owned()
    }
}

/// A file: `fstab` and what looks like it, `vfstab` of Solaris, `filesystems` of AIX.
pub(super) fn file(text: &str) -> Vec<Mount> {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')).collect();
    let each = |read: fn(&str) -> Option<Mount>| lines.iter().map(|l| read(l)).collect::<Option<Vec<_>>>();
    each(fstab).or_else(|| each(vfstab)).unwrap_or_else(|| stanzas(text))
}

/// `\040` and the like.
fn unescape(text: &str) -> String {
    static OCTAL: OnceLock<Regex> = OnceLock::new();
    let octal = OCTAL.get_or_init(|| Regex::new(r"\\([0-3][0-7]{2})").expect("a valid pattern"));
    let byte = |c: &regex::Captures<'_>| {
        let code = c.get(1).and_then(|d| u8::from_str_radix(d.as_str(), 8).ok()).unwrap_or(b'?');
        char::from(code).to_string()
    };
    octal.replace_all(text, byte).into_owned()
}

fn fstab(line: &str) -> Option<Mount> {
    let words: Vec<String> = line.split_whitespace().map(unescape).collect();
    let [device, point, kind, options, rest @ ..] = words.as_slice() else { return None };
    let mut all = fields([("device", json!(device)), ("fstype", json!(kind)), ("options", json!(options))]);
    for (key, word) in ["dump", "passno"].into_iter().zip(rest) {
        all.insert(key.into(), json!(word.parse::<i64>().ok()?));
    }
    Some(Mount { point: point.clone(), line: line.to_owned(), fields: all })
}

fn vfstab(line: &str) -> Option<Mount> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [device, check, point, kind, pass, boot, options] = *words.as_slice() else { return None };
    let pass = pass.parse::<i64>().map_or_else(|_| json!(pass), Json::from);
    let all = fields([
        ("device", json!(device)),
        ("device_to_fsck", json!(check)),
        ("fstype", json!(kind)),
        ("passno", pass),
        ("mount_at_boot", json!(boot)),
        ("options", json!(options)),
    ]);
    Some(Mount { point: point.to_owned(), line: line.to_owned(), fields: all })
}

/// `/point:` and below it `key = value` lines.
fn stanzas(text: &str) -> Vec<Mount> {
    let mut all: Vec<(String, Vec<&str>, Fields)> = Vec::new();
    for line in text.lines().filter(|l| !l.trim().is_empty() && !l.starts_with(['*', '#'])) {
        if let Some(point) = line.strip_suffix(':').filter(|l| !l.starts_with([' ', '\t'])) {
            all.push((point.to_owned(), vec![line], Fields::new()));
        } else if let (Some((_, lines, keys)), Some((key, value))) = (all.last_mut(), line.split_once('=')) {
            lines.push(line);
            keys.insert(key.trim().to_owned(), json!(value.trim()));
        } else {
            return Vec::new();
        }
    }
    let mount = |(point, lines, keys): (String, Vec<&str>, Fields)| {
        let get = |k: &str| keys.get(k).and_then(Json::as_str).unwrap_or_default();
        let device = match (get("nodename"), get("dev")) {
            ("", dev) => dev.to_owned(),
            (node, dev) => format!("{node}:{dev}"),
        };
        let kind = if get("vfs").is_empty() { "unknown" } else { get("vfs") };
        let one = fields([("device", json!(device)), ("fstype", json!(kind)), ("attributes", json!(keys))]);
        Mount { point, line: lines.join("\n"), fields: one }
    };
    all.into_iter().map(mount).collect()
}

/// What the program `mount` prints, on Linux, BSD and AIX.
pub(super) fn program(text: &str) -> Vec<Mount> {
    static LINUX: OnceLock<Regex> = OnceLock::new();
    static BSD: OnceLock<Regex> = OnceLock::new();
    static AIX: OnceLock<Regex> = OnceLock::new();
    let linux = LINUX.get_or_init(|| {
        Regex::new(r"^(?P<device>\S+) on (?P<mount>\S+) type (?P<fstype>\S+) \((?P<options>.+)\)$")
            .expect("a valid pattern")
    });
    let bsd = BSD.get_or_init(|| {
        Regex::new(r"^(?P<device>\S+) on (?P<mount>\S+) \((?P<fstype>[^,)]+)(?:, (?P<options>.+))?\)$")
            .expect("a valid pattern")
    });
    let aix = AIX.get_or_init(|| {
        Regex::new(r"^(?P<node>\S*)\s+(?P<device>\S+)\s+(?P<mount>\S+)\s+(?P<fstype>\S+)\s+(?P<time>\S+\s+\d+\s+\d+:\d+)\s+(?P<options>.*)$")
            .expect("a valid pattern")
    });
    let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    let titled = lines.get(1).is_some_and(|l| l.trim_start().starts_with("---"));
    let (all, lines) =
        if titled { (vec![aix], lines.get(2..).unwrap_or_default()) } else { (vec![linux, bsd], lines.as_slice()) };
    let each = |pattern: &Regex| lines.iter().map(|l| printed(pattern, l)).collect::<Option<Vec<_>>>();
    all.into_iter().find_map(each).unwrap_or_default()
}

fn printed(pattern: &Regex, line: &str) -> Option<Mount> {
    let found = pattern.captures(line)?;
    let get = |k: &str| found.name(k).map(|m| m.as_str());
    let device = get("device")?;
    let device = match get("node") {
        None | Some("") => device.to_owned(),
        Some(node) => format!("{node}:{device}"),
    };
    let mut all = fields([("device", json!(device)), ("fstype", json!(get("fstype")?))]);
    for key in ["options", "time"] {
        all.extend(get(key).map(|v| (key.to_owned(), json!(v))));
    }
    Some(Mount { point: get("mount")?.to_owned(), line: line.to_owned(), fields: all })
}
