use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};
use serde_json::{Map, Number};

use crate::pipeline::pointer_token;
use crate::{Error, ErrorKind, Json, Result};

/// Deeper than any pipeline, and shallow enough for every stack.
const DEEPEST: usize = 64;
/// Aliases may repeat large parts: this many values in all, so that a small file can't fill the memory.
const MOST: usize = 100_000;

/// A YAML document as JSON, with the line of every key and item by its JSON pointer.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) value: Json,
    name: String,
    lines: HashMap<String, usize>,
}

impl Tree {
    /// `path:line` of a pointer, if it is in the file.
    pub(super) fn place(&self, pointer: &str) -> Option<String> {
        self.lines.get(pointer).map(|line| format!("{}:{line}", self.name))
    }

    /// An error at a pointer, or at the nearest thing around it.
    pub(super) fn error(&self, pointer: &str, message: impl Into<String>) -> Error {
        let mut at = pointer;
        let place = loop {
            match (self.place(at), at.rfind('/')) {
                (Some(place), _) => break place,
                (None, Some(end)) => at = at.get(..end).unwrap_or_default(),
                (None, None) => break self.name.clone(),
            }
        };
        Error::new(ErrorKind::InvalidInput, "core", "load", message).with("file", place)
    }
}

/// Reads one document. Scalars mean what YAML 1.2's core schema says: `yes` is text, `true` is a truth value.
pub(super) fn parse(text: &str, name: &str) -> Result<Tree> {
    let mut reader =
        Reader { events: Parser::new_from_str(text), name, lines: HashMap::new(), anchors: HashMap::new(), values: 0 };
    let value = reader.document()?;
    Ok(Tree { value, name: name.to_owned(), lines: reader.lines })
}

struct Reader<'a> {
    events: Parser<'a, saphyr_parser::StrInput<'a>>,
    name: &'a str,
    lines: HashMap<String, usize>,
    anchors: HashMap<usize, (Json, usize)>,
    values: usize,
}

impl<'a> Reader<'a> {
    fn wrong(&self, line: usize, message: impl Into<String>) -> Error {
        Error::new(ErrorKind::InvalidInput, "core", "load", message).with("file", format!("{}:{line}", self.name))
    }

    fn next(&mut self) -> Result<(Event<'a>, Span)> {
        match self.events.next() {
            Some(Ok(event)) => Ok(event),
            Some(Err(e)) => Err(self.syntax(&e)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn syntax(&self, e: &ScanError) -> Error {
        let column = e.marker().col() + 1;
        self.wrong(e.marker().line(), format!("this is no YAML: {} (column {column})", e.info()))
    }

    fn document(&mut self) -> Result<Json> {
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
                Event::StreamEnd => return Err(self.wrong(1, "the file is empty")),
                event => {
                    let value = self.value(event, span, String::new(), 0)?;
                    loop {
                        match self.next()? {
                            (Event::DocumentEnd | Event::Nothing, _) => {}
                            (Event::StreamEnd, _) => return Ok(value),
                            (_, span) => {
                                return Err(self.wrong(span.start.line(), "a pipeline file holds one document only"));
                            }
                        }
                    }
                }
            }
        }
    }

    fn value(&mut self, event: Event<'a>, span: Span, at: String, depth: usize) -> Result<Json> {
        let line = span.start.line();
        self.lines.entry(at.clone()).or_insert(line);
        self.values += 1;
        if depth > DEEPEST || self.values > MOST {
            return Err(self.wrong(line, "the file is nested too deeply, or holds too much"));
        }
        let (anchor, value) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                if let Some(tag) = tag.filter(|t| !t.is_yaml_core_schema() && !t.suffix.is_empty()) {
                    return Err(self.wrong(line, format!("the tag `{}{}` means nothing here", tag.handle, tag.suffix)));
                }
                (anchor, if style == ScalarStyle::Plain { plain(&text) } else { Json::String(text.into_owned()) })
            }
            Event::SequenceStart(anchor, _) => {
                let mut items = Vec::new();
                loop {
                    let (event, span) = self.next()?;
                    if matches!(event, Event::SequenceEnd) {
                        break;
                    }
                    items.push(self.value(event, span, format!("{at}/{}", items.len()), depth + 1)?);
                }
                (anchor, Json::Array(items))
            }
            Event::MappingStart(anchor, _) => (anchor, self.mapping(&at, depth)?),
            Event::Alias(anchor) => {
                let (value, size) =
                    self.anchors.get(&anchor).cloned().ok_or_else(|| self.wrong(line, "the alias refers to itself"))?;
                self.values += size;
                if self.values > MOST {
                    return Err(self.wrong(line, "the file's aliases make it too large"));
                }
                return Ok(value);
            }
            _ => return Err(self.wrong(line, "a value is missing here")),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, (value.clone(), size(&value)));
        }
        Ok(value)
    }

    fn mapping(&mut self, at: &str, depth: usize) -> Result<Json> {
        let mut map = Map::new();
        loop {
            let (event, span) = self.next()?;
            let line = span.start.line();
            let key = match event {
                Event::MappingEnd => return Ok(Json::Object(map)),
                Event::Scalar(text, ..) => text.into_owned(),
                _ => return Err(self.wrong(line, "a key must be text")),
            };
            let here = format!("{at}/{}", pointer_token(&key));
            self.lines.insert(here.clone(), line);
            let (event, span) = self.next()?;
            let value = self.value(event, span, here, depth + 1)?;
            if map.contains_key(&key) {
                return Err(self.wrong(line, format!("the key `{key}` stands here twice")));
            }
            map.insert(key, value);
        }
    }
}

fn size(value: &Json) -> usize {
    match value {
        Json::Array(items) => 1 + items.iter().map(size).sum::<usize>(),
        Json::Object(map) => 1 + map.values().map(size).sum::<usize>(),
        _ => 1,
    }
}

/// An unquoted scalar by YAML 1.2's core schema.
fn plain(text: &str) -> Json {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Json::Null,
        "true" | "True" | "TRUE" => return Json::Bool(true),
        "false" | "False" | "FALSE" => return Json::Bool(false),
        _ => {}
    }
    let radix = |prefix, radix| text.strip_prefix(prefix).and_then(|d| u64::from_str_radix(d, radix).ok());
    if let Some(n) = radix("0x", 16).or_else(|| radix("0o", 8)) {
        return n.into();
    }
    let numeric = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
        && text.chars().all(|c| c.is_ascii_digit() || "+-.eE".contains(c));
    if numeric {
        let digits = text.strip_prefix('+').unwrap_or(text);
        if let Ok(n) = digits.parse::<i64>() {
            return n.into();
        }
        if let Some(n) = digits.parse::<f64>().ok().and_then(Number::from_f64) {
            return Json::Number(n);
        }
    }
    Json::String(text.to_owned())
}
