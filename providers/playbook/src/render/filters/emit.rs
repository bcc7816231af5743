//! YAML text as PyYAML writes it: which texts need quotes, where lines break. Source: PyYAML (MIT), "emitter.py".

use crate::render::error::Error;
use crate::render::value::{MOST, Value, float_text, sort_by};

#[derive(Debug, Clone, Copy)]
pub(super) struct Emitter {
    pub(super) indent: usize,
    pub(super) width: usize,
    /// Whether collections are written in brackets; by what is in them if not said.
    pub(super) flow: Option<bool>,
    pub(super) sort: bool,
    pub(super) unicode: bool,
    pub(super) style: Option<char>,
}

impl Default for Emitter {
    fn default() -> Self {
        Self { indent: 2, width: 80, flow: None, sort: true, unicode: true, style: None }
    }
}

/// The text so far.
struct Writer {
    out: String,
    column: usize,
}

impl Writer {
    fn put(&mut self, s: &str) {
        for c in s.chars() {
            self.column = if c == '\n' { 0 } else { self.column + 1 };
        }
        self.out.push_str(s);
    }

    fn line(&mut self, indent: usize) {
        self.put("\n");
        self.put(&" ".repeat(indent));
    }
}

enum Shape {
    Scalar(String, bool),
    Seq(Vec<Value>),
    Map(Vec<(Value, Value)>),
}

impl Emitter {
    /// One document, with a line's end.
    pub(super) fn document(&self, v: &Value) -> Result<String, Error> {
        let mut w = Writer { out: String::new(), column: 0 };
        self.node(&mut w, v, None, false, false, 0)?;
        w.put("\n");
        Ok(w.out)
    }

    fn shape(&self, v: &Value) -> Result<Shape, Error> {
        Ok(match v {
            Value::Undefined(_) | Value::None => Shape::Scalar("null".into(), false),
            Value::Bool(b) => Shape::Scalar(b.to_string(), false),
            Value::Int(i) => Shape::Scalar(i.to_string(), false),
            Value::Float(f) => Shape::Scalar(float(*f), false),
            Value::Str(s, _) => Shape::Scalar(s.to_string(), true),
            Value::Bytes(b) => Shape::Scalar(String::from_utf8_lossy(b).into_owned(), true),
            Value::List(_) | Value::Tuple(_) => Shape::Seq(v.iter()?),
            Value::Dict(_) | Value::Object(_) => match v.entries() {
                Some(pairs) => Shape::Map(self.sorted(pairs)),
                None => match v.iter() {
                    Ok(items) => Shape::Seq(items),
                    Err(_) => Shape::Scalar(crate::render::value::text(v), false),
                },
            },
        })
    }

    fn sorted(&self, pairs: Vec<(Value, Value)>) -> Vec<(Value, Value)> {
        if !self.sort {
            return pairs;
        }
        let keyed = pairs.iter().map(|(k, v)| (k.clone(), Value::tuple(vec![k.clone(), v.clone()]))).collect();
        match sort_by(keyed, false) {
            Ok(all) => all
                .iter()
                .filter_map(|p| {
                    let mut p = p.iter().ok()?.into_iter();
                    Some((p.next()?, p.next()?))
                })
                .collect(),
            // Keys that have no order stay as they came.
            Err(_) => pairs,
        }
    }

    fn scalar(v: &Value) -> bool {
        !matches!(v, Value::List(_) | Value::Tuple(_) | Value::Dict(_)) && !v.is_mapping() && !v.is_sequence()
    }

    /// Whether a collection is written in brackets.
    pub(super) fn flows(&self, v: &Value) -> bool {
        match self.flow {
            Some(f) => f,
            None => match v.entries() {
                Some(pairs) => pairs.iter().all(|(k, v)| Self::scalar(k) && Self::scalar(v)),
                None => v.iter().is_ok_and(|i| i.iter().all(Self::scalar)),
            },
        }
    }

    /// A value. `indent` is that of the collection around; `in_seq` tells that a dash is before.
    fn node(
        &self,
        w: &mut Writer,
        v: &Value,
        indent: Option<usize>,
        flow: bool,
        in_map: bool,
        depth: usize,
    ) -> Result<(), Error> {
        if depth > 80 {
            return Err(Error::other("the value is nested too deeply"));
        }
        if w.out.len() > MOST {
            return Err(Error::other("the result is too long"));
        }
        match self.shape(v)? {
            Shape::Scalar(s, string) => self.write_scalar(w, &s, string, indent, flow, false),
            Shape::Seq(items) if items.is_empty() => w.put("[]"),
            Shape::Map(pairs) if pairs.is_empty() => w.put("{}"),
            Shape::Seq(items) if flow || self.flows(v) => self.flow_seq(w, &items, indent, depth)?,
            Shape::Map(pairs) if flow || self.flows(v) => self.flow_map(w, &pairs, indent, depth)?,
            Shape::Seq(items) => self.block_seq(w, &items, indent, in_map, depth)?,
            Shape::Map(pairs) => self.block_map(w, &pairs, indent, depth)?,
        }
        Ok(())
    }

    fn deeper(&self, indent: Option<usize>, flow: bool) -> usize {
        match indent {
            None if flow => self.indent,
            None => 0,
            Some(i) => i + self.indent,
        }
    }

    fn block_seq(
        &self,
        w: &mut Writer,
        items: &[Value],
        indent: Option<usize>,
        in_map: bool,
        depth: usize,
    ) -> Result<(), Error> {
        // A list under a key stands where the key does.
        let own = match indent {
            Some(i) if in_map => i,
            other => self.deeper(other, false),
        };
        for (i, one) in items.iter().enumerate() {
            // The first entry of a list in a list stands behind the outer dash.
            if i > 0 || in_map {
                w.line(own);
            }
            w.put("-");
            self.after_dash(w, one, own, depth)?;
        }
        Ok(())
    }

    /// What follows a dash: nested block collections start on the same line.
    fn after_dash(&self, w: &mut Writer, one: &Value, own: usize, depth: usize) -> Result<(), Error> {
        let nested = !Self::scalar(one) && !self.flows(one) && one.len().unwrap_or(0) > 0;
        if nested {
            w.put(&" ".repeat(self.indent.saturating_sub(1).max(1)));
        } else {
            w.put(" ");
        }
        self.node(w, one, Some(own), false, false, depth + 1)
    }

    fn block_map(
        &self,
        w: &mut Writer,
        pairs: &[(Value, Value)],
        indent: Option<usize>,
        depth: usize,
    ) -> Result<(), Error> {
        let own = self.deeper(indent, false);
        for (i, (k, v)) in pairs.iter().enumerate() {
            if i > 0 || w.column > 0 && w.column != own {
                w.line(own);
            }
            let simple = self.simple_key(k);
            if simple {
                self.key(w, k, own)?;
            } else {
                w.put("? ");
                self.node(w, k, Some(own), false, false, depth + 1)?;
                w.line(own);
            }
            w.put(":");
            let nested = !Self::scalar(v) && !self.flows(v) && v.len().unwrap_or(0) > 0;
            if nested {
                if v.is_mapping() {
                    w.line(self.deeper(Some(own), false));
                    self.node(w, v, Some(own), false, true, depth + 1)?;
                } else {
                    self.node(w, v, Some(own), false, true, depth + 1)?;
                }
            } else {
                w.put(" ");
                self.node(w, v, Some(own), false, true, depth + 1)?;
            }
        }
        Ok(())
    }

    fn simple_key(&self, k: &Value) -> bool {
        match self.shape(k) {
            Ok(Shape::Scalar(s, _)) => s.chars().count() < 128 && !s.contains('\n'),
            _ => false,
        }
    }

    fn key(&self, w: &mut Writer, k: &Value, indent: usize) -> Result<(), Error> {
        if let Shape::Scalar(s, string) = self.shape(k)? {
            self.write_scalar(w, &s, string, Some(indent), false, true);
        }
        Ok(())
    }

    fn flow_seq(&self, w: &mut Writer, items: &[Value], indent: Option<usize>, depth: usize) -> Result<(), Error> {
        let own = self.deeper(indent, true);
        w.put("[");
        for (i, one) in items.iter().enumerate() {
            if i > 0 {
                w.put(",");
            }
            if w.column > self.width {
                w.line(own);
            } else if i > 0 {
                w.put(" ");
            }
            self.node(w, one, Some(own), true, false, depth + 1)?;
        }
        w.put("]");
        Ok(())
    }

    fn flow_map(
        &self,
        w: &mut Writer,
        pairs: &[(Value, Value)],
        indent: Option<usize>,
        depth: usize,
    ) -> Result<(), Error> {
        let own = self.deeper(indent, true);
        w.put("{");
        for (i, (k, v)) in pairs.iter().enumerate() {
            if i > 0 {
                w.put(",");
            }
            if w.column > self.width {
                w.line(own);
            } else if i > 0 {
                w.put(" ");
            }
            if let Shape::Scalar(s, string) = self.shape(k)? {
                self.write_scalar(w, &s, string, Some(own), true, true);
            }
            w.put(":");
            if w.column > self.width {
                w.line(own)
            } else {
                w.put(" ")
            }
            self.node(w, v, Some(own), true, false, depth + 1)?;
        }
        w.put("}");
        Ok(())
    }

    fn write_scalar(&self, w: &mut Writer, s: &str, string: bool, indent: Option<usize>, flow: bool, key: bool) {
        let own = self.deeper(indent, true);
        let quotes = crate::render::scalars::style(s, string, flow, key, self.unicode, self.style);
        let width = if key { usize::MAX } else { self.width };
        match quotes {
            None => self.plain(w, s, own, width),
            Some('\'') => self.single(w, s, own, width),
            Some(_) => self.double(w, s, own, width),
        }
    }

    fn plain(&self, w: &mut Writer, s: &str, indent: usize, width: usize) {
        self.words(w, s, indent, width, false);
    }

    fn single(&self, w: &mut Writer, s: &str, indent: usize, width: usize) {
        w.put("'");
        self.words(w, s, indent, width, true);
        w.put("'");
    }

    /// Plain or single-quoted text, broken at single spaces beyond the width.
    fn words(&self, w: &mut Writer, s: &str, indent: usize, width: usize, quoted: bool) {
        let chars: Vec<char> = s.chars().collect();
        let (mut spaces, mut breaks, mut start) = (false, false, 0);
        for end in 0..=chars.len() {
            let c = chars.get(end).copied();
            let part: String = chars.get(start..end).unwrap_or_default().iter().collect();
            let is_break = c.is_some_and(|c| matches!(c, '\n' | '\u{85}' | '\u{2028}' | '\u{2029}'));
            if spaces {
                if c != Some(' ') {
                    let inner = !quoted || start != 0 && end != chars.len();
                    if start + 1 == end && w.column > width && inner {
                        w.line(indent)
                    } else {
                        w.put(&part)
                    }
                    start = end;
                }
            } else if breaks {
                if !is_break {
                    if part.starts_with('\n') {
                        w.put("\n");
                    }
                    w.put(&part);
                    w.put(&" ".repeat(indent));
                    start = end;
                }
            } else if c.is_none() || c == Some(' ') || is_break || quoted && c == Some('\'') {
                if start < end {
                    w.put(&part);
                    start = end;
                }
            }
            if quoted && c == Some('\'') {
                w.put("''");
                start = end + 1;
            }
            if let Some(c) = c {
                spaces = c == ' ';
                breaks = is_break;
            }
        }
    }

    fn double(&self, w: &mut Writer, s: &str, indent: usize, width: usize) {
        w.put("\"");
        let chars: Vec<char> = s.chars().collect();
        let mut start = 0;
        for end in 0..=chars.len() {
            let c = chars.get(end).copied();
            let special = c.is_none_or(|c| {
                matches!(c, '"' | '\\' | '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}')
                    || !crate::render::scalars::stands(c, self.unicode)
            });
            if special {
                let part: String = chars.get(start..end).unwrap_or_default().iter().collect();
                w.put(&part);
                start = end;
                if let Some(c) = c {
                    w.put(&crate::render::scalars::escape(c));
                    start = end + 1;
                }
            }
            let inside = end > 0 && end + 1 < chars.len();
            if inside && (c == Some(' ') || start >= end) && w.column + (end.saturating_sub(start)) > width {
                let part: String = chars.get(start..end).unwrap_or_default().iter().collect();
                w.put(&part);
                w.put("\\");
                start = start.max(end);
                w.line(indent);
                if chars.get(start) == Some(&' ') {
                    w.put("\\");
                }
            }
        }
        w.put("\"");
    }
}

fn float(f: f64) -> String {
    if f.is_nan() {
        return ".nan".into();
    }
    if f.is_infinite() {
        return if f > 0.0 { ".inf".into() } else { "-.inf".into() };
    }
    let s = float_text(f);
    // YAML 1.1 wants a dot in every float.
    if !s.contains('.') && s.contains('e') { s.replacen('e', ".0e", 1) } else { s }
}
