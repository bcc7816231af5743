//! YAML with the line of every node, as far as Compose files need it: anchors, aliases and `<<`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle};
use towpath_core::pipeline::nearest;
use towpath_core::{Error, ErrorKind, MASK_MIN_BYTES, Result};

use crate::PROVIDER;

/// Deeper ones are an error.
const DEEPEST: usize = 100;
/// How many nodes aliases may stand for, all in all.
const MOST_COPIED: usize = 100_000;

/// A node of a file.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// Values of variables that were filled in, and the text before that.
    filled: Option<(Vec<String>, String)>,
    /// Nothing stands there. Told from what is written: text that became empty when variables were filled in is empty text.
    null: bool,
    file: Arc<PathBuf>,
    line: usize,
}

/// Gives the new text for a text, and the values that were filled in.
pub(super) type Fill<'a> = dyn FnMut(&Node, &str) -> Result<(String, Vec<String>)> + 'a;

#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// Its text, and whether it stands without quotes, so that it may be a number, or yes or no.
    Scalar(String, bool),
    Seq(Vec<Node>),
    Map(Vec<(String, Node)>),
}

fn invalid(place: String, message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, PROVIDER, "compose", message).with("file", place)
}

impl Node {
    /// An error at this place. It shows what is written there, and no value that was filled in.
    pub(super) fn wrong(&self, message: impl Into<String>) -> Error {
        let mut message = message.into();
        if let (Some((_, before)), Kind::Scalar(text, _)) = (&self.filled, &self.kind)
            && !text.is_empty()
        {
            let inside = |t: &str| format!("{t:?}").trim_matches('"').to_owned();
            message = message.replace(text.as_str(), before).replace(&inside(text), before);
        }
        self.filled_values(&mut |value| {
            if value.len() >= MASK_MIN_BYTES {
                message = message.replace(value, "***");
            }
        });
        invalid(format!("{}:{}", self.file.display(), self.line), message)
    }

    /// Tells the values of variables that were filled in somewhere below this.
    pub(super) fn filled_values(&self, tell: &mut dyn FnMut(&str)) {
        self.filled.iter().flat_map(|(values, _)| values).for_each(|v| tell(v));
        match &self.kind {
            Kind::Scalar(..) => {}
            Kind::Seq(items) => items.iter().for_each(|n| n.filled_values(tell)),
            Kind::Map(pairs) => pairs.iter().for_each(|(_, n)| n.filled_values(tell)),
        }
    }

    /// Whether nothing stands there.
    pub(super) fn is_null(&self) -> bool {
        self.null
    }

    /// Its pairs; none if it is null.
    pub(super) fn pairs(&self, what: &str) -> Result<&[(String, Node)]> {
        match &self.kind {
            Kind::Map(pairs) => Ok(pairs),
            _ if self.is_null() => Ok(&[]),
            _ => Err(self.wrong(format!("{what} must be a mapping"))),
        }
    }

    /// Its elements; none if it is null.
    pub(super) fn items(&self, what: &str) -> Result<&[Node]> {
        match &self.kind {
            Kind::Seq(items) => Ok(items),
            _ if self.is_null() => Ok(&[]),
            _ => Err(self.wrong(format!("{what} must be a list"))),
        }
    }

    /// A scalar as text.
    pub(super) fn text(&self, what: &str) -> Result<String> {
        match &self.kind {
            Kind::Scalar(text, _) if !self.is_null() => Ok(text.clone()),
            _ => Err(self.wrong(format!("{what} must be text"))),
        }
    }

    /// Yes or no.
    pub(super) fn boolean(&self, what: &str) -> Result<bool> {
        match &self.kind {
            Kind::Scalar(text, _) if matches!(text.as_str(), "true" | "True" | "TRUE" | "yes" | "on") => Ok(true),
            Kind::Scalar(text, _) if matches!(text.as_str(), "false" | "False" | "FALSE" | "no" | "off") => Ok(false),
            _ => Err(self.wrong(format!("{what} must be true or false"))),
        }
    }

    /// A whole number.
    pub(super) fn number(&self, what: &str) -> Result<u32> {
        let text = self.text(what)?;
        text.parse().map_err(|_| self.wrong(format!("{what} must be a number, not `{text}`")))
    }

    /// A list of texts.
    pub(super) fn texts(&self, what: &str) -> Result<Vec<String>> {
        self.items(what)?.iter().map(|n| n.text(what)).collect()
    }

    /// The error for a key that is not understood.
    pub(super) fn unknown(&self, what: &str, key: &str, all: &[&str]) -> Error {
        let hint = match nearest(key, all.iter().copied()) {
            Some(near) => format!("; did you mean `{near}`?"),
            None => format!("; understood are: {}", all.join(", ")),
        };
        self.wrong(format!("`{key}` of {what} is not understood{hint}"))
    }

    /// Changes every text in it that is a value. `f` gives the new one, and the values that were filled in.
    pub(super) fn map_texts(&mut self, f: &mut Fill<'_>) -> Result<()> {
        if let Kind::Scalar(text, _) = &self.kind {
            let (new, filled) = f(self, text)?;
            if let Kind::Scalar(text, _) = &mut self.kind {
                let before = std::mem::replace(text, new);
                self.filled = (!filled.is_empty()).then_some((filled, before));
            }
            return Ok(());
        }
        match &mut self.kind {
            Kind::Seq(items) => items.iter_mut().try_for_each(|n| n.map_texts(f)),
            Kind::Map(pairs) => pairs.iter_mut().try_for_each(|(_, n)| n.map_texts(f)),
            Kind::Scalar(..) => Ok(()),
        }
    }

    fn size(&self) -> usize {
        1 + match &self.kind {
            Kind::Scalar(..) => 0,
            Kind::Seq(items) => items.iter().map(Self::size).sum(),
            Kind::Map(pairs) => pairs.iter().map(|(_, n)| n.size()).sum(),
        }
    }
}

/// A sequence or mapping whose end was not seen yet.
struct Open {
    node: Node,
    anchor: usize,
    /// A key whose value was not seen yet, and its line.
    key: Option<(String, usize)>,
    /// What `<<` gives; a key of its own wins.
    merged: Vec<(String, Node)>,
}

impl Open {
    fn whole(mut self) -> Node {
        if let Kind::Map(pairs) = &mut self.node.kind {
            for (key, node) in self.merged {
                if !pairs.iter().any(|(k, _)| *k == key) {
                    pairs.push((key, node));
                }
            }
        }
        self.node
    }
}

/// Parses a file's text. Only its first document counts.
pub(super) fn parse(path: &Path, text: &str) -> Result<Node> {
    let file = Arc::new(path.to_path_buf());
    let mut stack: Vec<Open> = Vec::new();
    let mut anchors: HashMap<usize, Node> = HashMap::new();
    let mut copied = 0;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|e| {
            let place = format!("{}:{}", path.display(), e.marker().line());
            invalid(place, "this is no YAML").caused_by(e.info().to_owned())
        })?;
        let node = |kind| Node { kind, filled: None, null: false, file: file.clone(), line: span.start.line() };
        let (done, anchor) = match event {
            Event::Scalar(text, style, anchor, _) => {
                let plain = style == ScalarStyle::Plain;
                let null = plain && matches!(text.as_ref(), "" | "~" | "null" | "Null" | "NULL");
                (Node { null, ..node(Kind::Scalar(text.into_owned(), plain)) }, anchor)
            }
            Event::Alias(id) => {
                let found = anchors.get(&id).cloned();
                let found = found.ok_or_else(|| node(Kind::Seq(Vec::new())).wrong("an alias without its anchor"))?;
                copied += found.size();
                if copied > MOST_COPIED {
                    return Err(found.wrong("the aliases of this file stand for too much"));
                }
                (found, 0)
            }
            Event::SequenceStart(anchor, ..) => {
                stack.push(Open { node: node(Kind::Seq(Vec::new())), anchor, key: None, merged: Vec::new() });
                continue;
            }
            Event::MappingStart(anchor, ..) => {
                stack.push(Open { node: node(Kind::Map(Vec::new())), anchor, key: None, merged: Vec::new() });
                if stack.len() > DEEPEST {
                    return Err(node(Kind::Seq(Vec::new())).wrong("values are too deep in each other"));
                }
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match stack.pop() {
                Some(open) => {
                    let anchor = open.anchor;
                    (open.whole(), anchor)
                }
                None => continue,
            },
            _ => continue,
        };
        if anchor > 0 {
            anchors.insert(anchor, done.clone());
        }
        match stack.last_mut() {
            None => return Ok(done),
            Some(open) => put(open, done)?,
        }
    }
    Err(invalid(format!("{}:1", path.display()), "the file is empty"))
}

fn put(open: &mut Open, done: Node) -> Result<()> {
    match &mut open.node.kind {
        Kind::Seq(items) => items.push(done),
        Kind::Map(pairs) => match open.key.take() {
            None => match &done.kind {
                Kind::Scalar(text, _) => open.key = Some((text.clone(), done.line)),
                _ => return Err(done.wrong("a key must be text")),
            },
            Some((key, _)) if key == "<<" => merge(&mut open.merged, &done)?,
            Some((key, line)) => {
                // What is wrong with a value is looked for at its key.
                let done = Node { line, ..done };
                if pairs.iter().any(|(k, _)| *k == key) {
                    return Err(done.wrong(format!("`{key}` is there twice")));
                }
                pairs.push((key, done));
            }
        },
        Kind::Scalar(..) => {}
    }
    Ok(())
}

fn merge(pairs: &mut Vec<(String, Node)>, from: &Node) -> Result<()> {
    let sources = match &from.kind {
        Kind::Seq(items) => items.iter().collect(),
        _ => vec![from],
    };
    for source in sources {
        let Kind::Map(more) = &source.kind else { return Err(source.wrong("`<<` needs a mapping")) };
        for (key, node) in more {
            if !pairs.iter().any(|(k, _)| k == key) {
                pairs.push((key.clone(), node.clone()));
            }
        }
    }
    Ok(())
}
