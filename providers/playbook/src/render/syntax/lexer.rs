//! A template's text as tokens.

use std::sync::Arc;

use super::strings::unescape;
use crate::render::error::Error;

/// The marks of a template, and what happens to white space around them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Syntax {
    pub(crate) block: (String, String),
    pub(crate) variable: (String, String),
    pub(crate) comment: (String, String),
    pub(crate) trim_blocks: bool,
    pub(crate) lstrip_blocks: bool,
    /// Whether a line's end at the end of the template stays.
    pub(crate) keep_newline: bool,
}

impl Default for Syntax {
    fn default() -> Self {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        Self {
            block: pair("{%", "%}"),
            variable: pair("{{", "}}"),
            comment: pair("{#", "#}"),
            trim_blocks: true,
            lstrip_blocks: false,
            keep_newline: false,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tok {
    Data(String),
    VarStart,
    VarEnd,
    BlockStart,
    BlockEnd,
    Name(Arc<str>),
    Str(String),
    Int(i128),
    Float(f64),
    Op(&'static str),
    End,
}

impl Tok {
    /// As Jinja's messages name it.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Data(_) => "template data / text".into(),
            Self::VarStart => "begin of print statement".into(),
            Self::VarEnd => "end of print statement".into(),
            Self::BlockStart => "begin of statement block".into(),
            Self::BlockEnd => "end of statement block".into(),
            Self::Name(n) => n.to_string(),
            Self::Str(s) => s.clone(),
            Self::Int(i) => i.to_string(),
            Self::Float(f) => crate::render::value::float_text(*f),
            Self::Op(o) => (*o).to_owned(),
            Self::End => "end of template".into(),
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) tok: Tok,
    pub(super) at: usize,
    pub(super) end: usize,
}

const OPERATORS: &[&str] = &[
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".",
    ":", "|", ",", ";",
];

struct Lexer<'a> {
    source: &'a str,
    syntax: &'a Syntax,
    at: usize,
    /// Whether the text so far ended with a line's end.
    line_starts: bool,
    out: Vec<Token>,
}

#[derive(Clone, Copy, PartialEq)]
enum Mark {
    Block,
    Variable,
    Comment,
}

/// All tokens of a template.
pub(super) fn lex(source: &str, syntax: &Syntax) -> Result<Vec<Token>, Error> {
    let mut lexer = Lexer { source, syntax, at: 0, line_starts: true, out: Vec::new() };
    lexer.template()?;
    lexer.push(Tok::End, source.len());
    Ok(lexer.out)
}

/// The tokens of a text that is one expression.
pub(super) fn lex_expression(source: &str) -> Result<Vec<Token>, Error> {
    let syntax = Syntax::default();
    let mut lexer = Lexer { source, syntax: &syntax, at: 0, line_starts: true, out: Vec::new() };
    lexer.inside(None)?;
    lexer.push(Tok::End, source.len());
    Ok(lexer.out)
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.source.get(self.at..).unwrap_or("")
    }

    fn push(&mut self, tok: Tok, at: usize) {
        self.out.push(Token { tok, at, end: self.at });
    }

    fn data(&mut self, text: &str, at: usize) {
        if !text.is_empty() {
            self.push(Tok::Data(text.to_owned()), at);
        }
    }

    /// The next mark and where it is.
    fn mark(&self) -> Option<(usize, Mark)> {
        let rest = self.rest();
        let s = self.syntax;
        [(&s.block.0, Mark::Block), (&s.variable.0, Mark::Variable), (&s.comment.0, Mark::Comment)]
            .into_iter()
            .filter(|(start, _)| !start.is_empty())
            .filter_map(|(start, kind)| rest.find(start.as_str()).map(|i| (i, usize::MAX - start.len(), kind)))
            .min_by_key(|(i, length, _)| (*i, *length))
            .map(|(i, _, kind)| (i, kind))
    }

    fn template(&mut self) -> Result<(), Error> {
        while let Some((offset, kind)) = self.mark() {
            let start = self.at;
            let text = self.rest().get(..offset).unwrap_or("");
            let at = start + offset;
            let (open, close) = match kind {
                Mark::Block => &self.syntax.block,
                Mark::Variable => &self.syntax.variable,
                Mark::Comment => &self.syntax.comment,
            };
            self.at = at + open.len();
            let sign = self.rest().chars().next().filter(|c| matches!(c, '-' | '+'));
            let mut text = text;
            match sign {
                Some('-') => text = text.trim_end(),
                None if self.syntax.lstrip_blocks && kind != Mark::Variable => {
                    let line = text.rfind('\n').map_or(0, |i| i + 1);
                    if (line > 0 || self.line_starts) && text.get(line..).is_some_and(|l| l.trim().is_empty()) {
                        text = text.get(..line).unwrap_or(text);
                    }
                }
                _ => {}
            }
            self.data(text, start);
            if sign.is_some() {
                self.at += 1;
            }
            match kind {
                Mark::Comment => {
                    let Some(end) = self.rest().find(close.as_str()) else {
                        return Err(Error::syntax(at, "Missing end of comment tag"));
                    };
                    let before = self.rest().get(..end).and_then(|c| c.chars().next_back());
                    self.at += end + close.len();
                    self.after(before.filter(|c| matches!(c, '-' | '+')), true);
                }
                Mark::Variable => {
                    self.push(Tok::VarStart, at);
                    self.inside(Some((close, false)))?;
                }
                Mark::Block => {
                    if !self.raw(at)? {
                        self.push(Tok::BlockStart, at);
                        self.inside(Some((close, true)))?;
                    }
                }
            }
        }
        let (start, mut rest) = (self.at, self.rest());
        self.at = self.source.len();
        if !self.syntax.keep_newline {
            rest = rest.strip_suffix('\n').unwrap_or(rest);
        }
        self.data(rest, start);
        Ok(())
    }

    /// White space after a tag.
    fn after(&mut self, sign: Option<char>, trims: bool) {
        let rest = self.rest();
        let skip = match sign {
            Some('-') => rest.len() - rest.trim_start().len(),
            Some(_) => 0,
            None if trims && self.syntax.trim_blocks && rest.starts_with('\n') => 1,
            None => 0,
        };
        self.at += skip;
        self.line_starts = skip > 0 && self.source.get(..self.at).is_some_and(|s| s.ends_with('\n'));
    }

    /// `raw`, which is text to its end.
    fn raw(&mut self, at: usize) -> Result<bool, Error> {
        let (open, close) = &self.syntax.block;
        let Some(rest) = self.rest().trim_start().strip_prefix("raw") else { return Ok(false) };
        let rest = rest.trim_start();
        let (sign, rest) = match rest.strip_prefix('-') {
            Some(rest) => (Some('-'), rest),
            None => (None, rest),
        };
        let Some(rest) = rest.strip_prefix(close.as_str()) else { return Ok(false) };
        self.at = self.source.len() - rest.len();
        self.after(sign, false);
        let start = self.at;
        let mut from = start;
        while let Some(i) = self.source.get(from..).and_then(|s| s.find(open.as_str())) {
            let tag = from + i;
            let inner = self.source.get(tag + open.len()..).unwrap_or("");
            let strips = inner.starts_with('-');
            let inner = inner.strip_prefix(['-', '+']).unwrap_or(inner).trim_start();
            if let Some(inner) = inner.strip_prefix("endraw") {
                let inner = inner.trim_start();
                let sign = inner.chars().next().filter(|c| matches!(c, '-' | '+'));
                let inner = if sign.is_some() { inner.get(1..).unwrap_or("") } else { inner };
                if let Some(after) = inner.strip_prefix(close.as_str()) {
                    let text = self.source.get(start..tag).unwrap_or("");
                    let text = if strips { text.trim_end() } else { text };
                    self.at = self.source.len() - after.len();
                    self.data(text, start);
                    self.after(sign, true);
                    return Ok(true);
                }
            }
            from = tag + open.len();
        }
        Err(Error::syntax(at, "Missing end of raw directive"))
    }

    /// The tokens of a tag, or to the end of the text.
    fn inside(&mut self, close: Option<(&str, bool)>) -> Result<(), Error> {
        let mut open: Vec<&str> = Vec::new();
        loop {
            let rest = self.rest();
            self.at += rest.len() - rest.trim_start().len();
            let (rest, at) = (self.rest(), self.at);
            if let (Some((mark, block)), true) = (close, open.is_empty()) {
                let sign = rest.chars().next().filter(|c| *c == '-' || *c == '+' && block);
                let end = if sign.is_some() { rest.get(1..).unwrap_or("") } else { rest };
                if end.starts_with(mark) {
                    self.at += mark.len() + usize::from(sign.is_some());
                    self.push(if block { Tok::BlockEnd } else { Tok::VarEnd }, at);
                    self.after(sign, block);
                    return Ok(());
                }
            }
            let Some(c) = rest.chars().next() else {
                return Ok(());
            };
            if c.is_ascii_digit() {
                self.number(rest, at)?;
            } else if c == '_' || c.is_alphabetic() {
                let end = rest.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(rest.len());
                self.at += end;
                self.push(Tok::Name(rest.get(..end).unwrap_or("").into()), at);
            } else if c == '\'' || c == '"' {
                self.string(rest, c, at)?;
            } else {
                let Some(op) = OPERATORS.iter().find(|o| rest.starts_with(**o)) else {
                    return Err(Error::syntax(
                        at,
                        format!("unexpected char {} at {at}", crate::render::value::repr(&c.to_string().into())),
                    ));
                };
                match *op {
                    "(" => open.push(")"),
                    "[" => open.push("]"),
                    "{" => open.push("}"),
                    ")" | "]" | "}" => match open.pop() {
                        None => return Err(Error::syntax(at, format!("unexpected '{op}'"))),
                        Some(want) if want != *op => {
                            return Err(Error::syntax(at, format!("unexpected '{op}', expected '{want}'")));
                        }
                        Some(_) => {}
                    },
                    _ => {}
                }
                self.at += op.len();
                self.push(Tok::Op(op), at);
            }
        }
    }

    fn number(&mut self, rest: &str, at: usize) -> Result<(), Error> {
        let run = |s: &str, good: fn(char) -> bool| s.find(|c| !good(c) && c != '_').unwrap_or(s.len());
        let digits = |s: &str| run(s, |c| c.is_ascii_digit());
        let lower = rest.get(..2).unwrap_or("").to_ascii_lowercase();
        if matches!(lower.as_str(), "0x" | "0o" | "0b") {
            let end = 2 + run(rest.get(2..).unwrap_or(""), |c| c.is_ascii_hexdigit());
            if let Some(n) = rest.get(..end).and_then(|s| crate::render::value::parse_int(s, 0)) {
                self.at += end;
                self.push(Tok::Int(n), at);
                return Ok(());
            }
        }
        let mut end = digits(rest);
        let mut float = false;
        // `d.1.2` are two attributes.
        let attribute = matches!(self.out.last(), Some(Token { tok: Tok::Op("."), end, .. }) if *end == at);
        if !attribute {
            let tail = rest.get(end..).unwrap_or("");
            if let Some(fraction) = tail.strip_prefix('.') {
                let n = digits(fraction);
                if n > 0 && !fraction.starts_with('_') {
                    end += 1 + n;
                    float = true;
                }
            }
            let tail = rest.get(end..).unwrap_or("");
            if let Some(power) = tail.strip_prefix(['e', 'E']) {
                let bare = power.strip_prefix(['+', '-']).unwrap_or(power);
                let n = digits(bare);
                if n > 0 && !bare.starts_with('_') {
                    end += 1 + (power.len() - bare.len()) + n;
                    float = true;
                }
            }
        }
        let text = rest.get(..end).unwrap_or("").replace('_', "");
        let tok = if float {
            Tok::Float(text.parse().map_err(|_| Error::syntax(at, format!("unexpected number {text}")))?)
        } else {
            let n = text.parse().map_err(|_| Error::syntax(at, format!("the number {text} is too large")))?;
            Tok::Int(n)
        };
        self.at += end;
        self.push(tok, at);
        Ok(())
    }

    fn string(&mut self, rest: &str, quote: char, at: usize) -> Result<(), Error> {
        let mut escaped = false;
        for (i, c) in rest.char_indices().skip(1) {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                c if c == quote => {
                    self.at += i + 1;
                    self.push(Tok::Str(unescape(rest.get(1..i).unwrap_or(""))), at);
                    return Ok(());
                }
                _ => {}
            }
        }
        let c = crate::render::value::repr(&quote.to_string().into());
        Err(Error::syntax(at, format!("unexpected char {c} at {at}")))
    }
}

/// Ansible doubles the backslashes of strings between `{{` and `}}`, so that `'\1'` means itself.
pub(crate) fn double_backslashes(source: &str, syntax: &Syntax) -> Option<String> {
    if !source.contains('\\') || !source.contains(syntax.variable.0.as_str()) {
        return None;
    }
    let tokens = lex(source, syntax).ok()?;
    let (mut out, mut done, mut variable) = (String::new(), 0, false);
    for token in tokens {
        match token.tok {
            Tok::VarStart => variable = true,
            Tok::VarEnd => variable = false,
            Tok::Str(_) if variable => {
                out.push_str(source.get(done..token.at)?);
                out.push_str(&source.get(token.at..token.end)?.replace('\\', "\\\\"));
                done = token.end;
            }
            _ => {}
        }
    }
    out.push_str(source.get(done..)?);
    Some(out)
}
