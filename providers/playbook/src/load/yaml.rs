//! YAML 1.1 as Ansible reads it, with the line of every node.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};
use serde_json::{Map, Number};
use towpath_core::{Error, ErrorKind, Json, Result};

use crate::PLAYBOOK;
use crate::vault;

/// Where something stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pos {
    pub(crate) file: Arc<PathBuf>,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl std::fmt::Display for Pos {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// A node of a file.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) pos: Pos,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Scalar(Json),
    Seq(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    /// The node as a plain value.
    pub(crate) fn json(&self) -> Json {
        match &self.kind {
            Kind::Scalar(v) => v.clone(),
            Kind::Seq(items) => Json::Array(items.iter().map(Node::json).collect()),
            Kind::Map(pairs) => Json::Object(pairs.iter().map(|(k, v)| (k.clone(), v.json())).collect()),
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.kind, Kind::Scalar(Json::Null))
    }

    /// Its pairs; none if it is null.
    pub(crate) fn pairs(&self, what: &str) -> Result<&[(String, Node)]> {
        match &self.kind {
            Kind::Map(pairs) => Ok(pairs),
            Kind::Scalar(Json::Null) => Ok(&[]),
            _ => Err(self.wrong(format!("{what} must be a mapping"))),
        }
    }

    /// Its elements; none if it is null, itself if it is a single value.
    pub(crate) fn list(&self) -> Vec<&Node> {
        match &self.kind {
            Kind::Seq(items) => items.iter().collect(),
            Kind::Scalar(Json::Null) => Vec::new(),
            _ => vec![self],
        }
    }

    /// Its elements, which must be written as a list.
    pub(crate) fn items(&self, what: &str) -> Result<&[Node]> {
        match &self.kind {
            Kind::Seq(items) => Ok(items),
            Kind::Scalar(Json::Null) => Ok(&[]),
            _ => Err(self.wrong(format!("{what} must be a list"))),
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        match &self.kind {
            Kind::Map(pairs) => pairs.iter().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// A scalar as text.
    pub(crate) fn text(&self, what: &str) -> Result<String> {
        match &self.kind {
            Kind::Scalar(Json::String(s)) => Ok(s.clone()),
            Kind::Scalar(Json::Null) => Ok(String::new()),
            Kind::Scalar(v) => Ok(v.to_string()),
            _ => Err(self.wrong(format!("{what} must be text"))),
        }
    }

    /// An error at this place.
    pub(crate) fn wrong(&self, message: impl Into<String>) -> Error {
        invalid(&self.pos, message)
    }
}

/// An error in a playbook's file.
pub(crate) fn invalid(pos: &Pos, message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, PLAYBOOK, "load", message).with("file", format!("{pos}:{}", pos.column))
}

/// Reads a file.
pub(crate) fn read(path: &Path) -> Result<Node> {
    let bytes = std::fs::read(path).map_err(|e| {
        let kind = if e.kind() == std::io::ErrorKind::NotFound { ErrorKind::InvalidInput } else { ErrorKind::Storage };
        Error::new(kind, PLAYBOOK, "load", "can't read a file").with("file", path.display()).caused_by(e)
    })?;
    let sealed = vault::Vault::is_encrypted(&bytes);
    let bytes = vault::current().open(bytes, &path.display().to_string())?;
    let text = String::from_utf8(bytes).map_err(|e| {
        Error::new(ErrorKind::InvalidInput, PLAYBOOK, "load", "a file is no UTF-8")
            .with("file", path.display())
            .caused_by(e)
    })?;
    parse_text(path, &text, !sealed)
}

/// Deeper ones are an error. Ansible's limit is about the same.
const DEEPEST: usize = 200;

/// How much aliases and `<<` may add to a file, in bytes: each of them is a copy here.
const MOST_COPIED: usize = 64 << 20;

/// A sequence or mapping whose end was not seen yet.
struct Open {
    inside: Inside,
    pos: Pos,
    anchor: usize,
    /// Of all that is inside.
    size: usize,
}

enum Inside {
    Seq(Vec<Node>),
    Map { pairs: Vec<(String, Node)>, names: HashSet<String>, key: Option<Node> },
}

/// Parses a file's text. Only its first document counts.
pub(crate) fn parse(path: &Path, text: &str) -> Result<Node> {
    parse_text(path, text, false)
}

/// `shown`: whether an error may show a line, which what came out of a vault must not.
fn parse_text(path: &Path, text: &str, shown: bool) -> Result<Node> {
    let file = Arc::new(path.to_path_buf());
    let mut stack: Vec<Open> = Vec::new();
    let mut anchors: HashMap<usize, (Node, usize)> = HashMap::new();
    let mut root = None;
    let mut copied = 0;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|e| {
            let place = format!("{}:{}:{}", path.display(), e.marker().line(), e.marker().col() + 1);
            // The line, or the last one with something on it before.
            let lines = text.lines().take(e.marker().line()).filter(|l| !l.trim().is_empty());
            let line = lines.last().filter(|_| shown).map(|l| format!(" at `{}`", l.trim_end())).unwrap_or_default();
            Error::new(ErrorKind::InvalidInput, PLAYBOOK, "load", "this is no YAML")
                .with("file", place)
                .caused_by(format!("{}{line}", e.info()))
        })?;
        let pos = Pos { file: file.clone(), line: span.start.line(), column: span.start.col() + 1 };
        let mut copy = |size: usize, pos: &Pos| {
            copied += size;
            if copied > MOST_COPIED { Err(invalid(pos, "the aliases of this file stand for too much")) } else { Ok(()) }
        };
        let (node, anchor, size) = match event {
            Event::Scalar(value, style, anchor, tag) => {
                (Node { kind: scalar(&value, style, tag.as_deref(), &pos)?, pos }, anchor, weight(&value))
            }
            Event::Alias(id) => match anchors.get(&id) {
                Some((node, size)) => {
                    copy(*size, &pos)?;
                    (node.clone(), 0, *size)
                }
                None => return Err(invalid(&pos, "an alias without its anchor")),
            },
            Event::SequenceStart(anchor, ..) | Event::MappingStart(anchor, ..) => {
                if stack.len() >= DEEPEST {
                    return Err(invalid(&pos, format!("values are more than {DEEPEST} deep in each other")));
                }
                let inside = match event {
                    Event::SequenceStart(..) => Inside::Seq(Vec::new()),
                    _ => Inside::Map { pairs: Vec::new(), names: HashSet::new(), key: None },
                };
                stack.push(Open { inside, pos, anchor, size: weight("") });
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match stack.pop() {
                Some(Open { inside: Inside::Seq(items), pos, anchor, size }) => {
                    (Node { kind: Kind::Seq(items), pos }, anchor, size)
                }
                Some(Open { inside: Inside::Map { pairs, .. }, pos, anchor, size }) => {
                    if pairs.iter().any(|(k, _)| k == "<<") {
                        copy(size, &pos)?;
                    }
                    (Node { kind: Kind::Map(merge_keys(pairs)?), pos }, anchor, size)
                }
                None => continue,
            },
            Event::DocumentEnd => break,
            _ => continue,
        };
        if anchor > 0 {
            copy(size, &node.pos)?;
            anchors.insert(anchor, (node.clone(), size));
        }
        let Some(open) = stack.last_mut() else {
            root = Some(node);
            continue;
        };
        open.size += size;
        match &mut open.inside {
            Inside::Seq(items) => items.push(node),
            Inside::Map { pairs, names, key } => match key.take() {
                None => *key = Some(node),
                Some(k) => {
                    let name = k.text("a key")?;
                    // As PyYAML: the last of equal keys counts.
                    if !names.insert(name.clone()) {
                        pairs.retain(|(n, _)| *n != name || n == "<<");
                    }
                    pairs.push((name, node));
                }
            },
        }
    }
    Ok(root.unwrap_or(Node { kind: Kind::Scalar(Json::Null), pos: Pos { file, line: 1, column: 1 } }))
}

/// About how many bytes a scalar takes.
fn weight(text: &str) -> usize {
    size_of::<(String, Node)>() + text.len()
}

fn merge_keys(pairs: Vec<(String, Node)>) -> Result<Vec<(String, Node)>> {
    if !pairs.iter().any(|(k, _)| k == "<<") {
        return Ok(pairs);
    }
    let (merged, mut own): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|(k, _)| k == "<<");
    let mut names: HashSet<String> = own.iter().map(|(k, _)| k.clone()).collect();
    for (_, node) in merged {
        for source in node.list() {
            for (k, v) in source.pairs("`<<`")? {
                if names.insert(k.clone()) {
                    own.push((k.clone(), v.clone()));
                }
            }
        }
    }
    Ok(own)
}

fn scalar(value: &str, style: ScalarStyle, tag: Option<&Tag>, pos: &Pos) -> Result<Kind> {
    if let Some(tag) = tag {
        match (tag.handle.as_str(), tag.suffix.as_str()) {
            ("!", "unsafe") => {
                let kept = if value.contains("{{") || value.contains("{%") {
                    format!("{{% raw %}}{value}{{% endraw %}}")
                } else {
                    value.to_owned()
                };
                return Ok(Kind::Scalar(Json::String(kept)));
            }
            ("!", "vault" | "vault-encrypted") => {
                let plain = vault::current().decrypt(value.as_bytes(), &pos.to_string())?;
                let plain = String::from_utf8(plain).map_err(|_| invalid(pos, "the value in this vault is no text"))?;
                return Ok(Kind::Scalar(Json::String(plain)));
            }
            (_, "str") => return Ok(Kind::Scalar(Json::String(value.to_owned()))),
            _ => {}
        }
    }
    Ok(Kind::Scalar(if style == ScalarStyle::Plain { plain(value) } else { Json::String(value.to_owned()) }))
}

/// A plain scalar by YAML 1.1's rules.
pub(crate) fn plain(v: &str) -> Json {
    match v {
        "" | "~" | "null" | "Null" | "NULL" => return Json::Null,
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Json::Bool(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => return Json::Bool(false),
        _ => {}
    }
    let (sign, digits) = match v.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, v.strip_prefix('+').unwrap_or(v)),
    };
    let clean: String = digits.chars().filter(|c| *c != '_').collect();
    if digits.starts_with(|c: char| c.is_ascii_digit()) {
        // A sign stands before the prefix only.
        let radix =
            |digits: &str, radix| i64::from_str_radix(digits, radix).ok().filter(|_| !digits.starts_with(['+', '-']));
        let parsed = if let Some(hex) = clean.strip_prefix("0x") {
            radix(hex, 16)
        } else if let Some(bin) = clean.strip_prefix("0b") {
            radix(bin, 2)
        } else if clean.len() > 1 && clean.starts_with('0') && clean.bytes().all(|b| b.is_ascii_digit()) {
            i64::from_str_radix(&clean, 8).ok()
        } else {
            clean.parse().ok()
        };
        if let Some(n) = parsed {
            return Json::Number((sign * n).into());
        }
        // YAML 1.1 floats need a dot.
        if clean.contains('.') && clean.bytes().all(|b| b.is_ascii_digit() || b"eE+-.".contains(&b)) {
            if let Some(n) = clean.parse::<f64>().ok().and_then(|f| Number::from_f64(f * sign as f64)) {
                return Json::Number(n);
            }
        }
    }
    Json::String(v.to_owned())
}

/// Reads a file of variables; an empty one has none.
pub(crate) fn read_vars(path: &Path) -> Result<Map<String, Json>> {
    let node = read(path)?;
    match node.json() {
        Json::Object(map) => Ok(map),
        Json::Null => Ok(Map::new()),
        _ => Err(node.wrong("a file of variables must be a mapping")),
    }
}
