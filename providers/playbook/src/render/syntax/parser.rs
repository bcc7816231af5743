//! Tokens as a tree: the frame of a template.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ast::{Expr, Node, Stmt, Target, Template};
use super::lexer::{Syntax, Tok, Token, lex, lex_expression};
use crate::render::error::Error;

/// Deepest nesting of brackets and tags.
const DEEPEST: usize = 60;
/// Most operators, attributes or filters in one chain.
const LONGEST: usize = 120;

pub(super) struct Parser {
    tokens: Vec<Token>,
    next: usize,
    depth: usize,
    /// The open tags, and what may close them.
    pub(super) open: Vec<(String, Vec<&'static str>)>,
    pub(super) blocks: BTreeMap<Arc<str>, Arc<Vec<Stmt>>>,
}

/// Reads a template.
pub(crate) fn parse(source: &str, syntax: &Syntax) -> Result<Template, Error> {
    let normal;
    let source = if source.contains('\r') {
        normal = source.replace("\r\n", "\n").replace('\r', "\n");
        &normal
    } else {
        source
    };
    let mut parser = Parser::new(lex(source, syntax)?);
    let body = parser.statements(&[])?;
    Ok(Template { body, blocks: parser.blocks, source: source.into() })
}

/// Reads a text that is one expression.
pub(crate) fn parse_expression(source: &str) -> Result<Expr, Error> {
    let mut parser = Parser::new(lex_expression(source)?);
    let e = parser.expression()?;
    match parser.peek() {
        Tok::End => Ok(e),
        other => Err(Error::syntax(
            parser.at(),
            format!("expected token 'end of statement block', got '{}'", other.describe()),
        )),
    }
}

impl Parser {
    fn new(tokens: Vec<Token>) -> Self {
        Self { tokens, next: 0, depth: 0, open: Vec::new(), blocks: BTreeMap::new() }
    }

    pub(super) fn peek(&self) -> &Tok {
        self.tokens.get(self.next).map_or(&Tok::End, |t| &t.tok)
    }

    pub(super) fn peek_at(&self, ahead: usize) -> &Tok {
        self.tokens.get(self.next + ahead).map_or(&Tok::End, |t| &t.tok)
    }

    pub(super) fn at(&self) -> usize {
        self.tokens.get(self.next).or(self.tokens.last()).map_or(0, |t| t.at)
    }

    pub(super) fn advance(&mut self) -> Tok {
        let tok = self.peek().clone();
        self.next += 1;
        tok
    }

    pub(super) fn is_op(&self, op: &str) -> bool {
        matches!(self.peek(), Tok::Op(o) if *o == op)
    }

    pub(super) fn is_name(&self, name: &str) -> bool {
        matches!(self.peek(), Tok::Name(n) if n.as_ref() == name)
    }

    pub(super) fn skip_op(&mut self, op: &str) -> bool {
        let yes = self.is_op(op);
        self.next += usize::from(yes);
        yes
    }

    pub(super) fn skip_name(&mut self, name: &str) -> bool {
        let yes = self.is_name(name);
        self.next += usize::from(yes);
        yes
    }

    pub(super) fn expect_op(&mut self, op: &str) -> Result<(), Error> {
        if self.skip_op(op) { Ok(()) } else { Err(self.expected(op)) }
    }

    pub(super) fn expected(&self, what: &str) -> Error {
        let got = self.peek().describe();
        match self.peek() {
            Tok::End => Error::syntax(self.at(), format!("unexpected end of template, expected '{what}'.")),
            _ => Error::syntax(self.at(), format!("expected token '{what}', got '{got}'")),
        }
    }

    pub(super) fn expect_name(&mut self) -> Result<Arc<str>, Error> {
        match self.peek() {
            Tok::Name(n) => {
                let n = n.clone();
                self.next += 1;
                Ok(n)
            }
            _ => Err(self.expected("name")),
        }
    }

    pub(super) fn deeper<T>(&mut self, f: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(Error::syntax(self.at(), "the template is nested too deeply"));
        }
        let out = f(self);
        self.depth -= 1;
        out
    }

    /// Statements up to a tag with one of the names; the tag's name is consumed.
    pub(super) fn statements(&mut self, ends: &[&'static str]) -> Result<Vec<Stmt>, Error> {
        let mut out = Vec::new();
        loop {
            match self.peek() {
                Tok::End if ends.is_empty() => return Ok(out),
                Tok::End => return Err(self.unclosed()),
                Tok::Data(text) => {
                    out.push(Stmt::Data(text.as_str().into()));
                    self.next += 1;
                }
                Tok::VarStart => {
                    self.next += 1;
                    let e = self.tuple(true, None)?;
                    if *self.peek() != Tok::VarEnd {
                        return Err(self.expected("end of print statement"));
                    }
                    self.next += 1;
                    out.push(Stmt::Output(e));
                }
                Tok::BlockStart => {
                    self.next += 1;
                    if let Tok::Name(name) = self.peek() {
                        if ends.iter().any(|e| **e == **name) {
                            return Ok(out);
                        }
                    }
                    let stmt = self.deeper(Self::tag)?;
                    out.extend(stmt);
                }
                other => return Err(Error::syntax(self.at(), format!("unexpected '{}'", other.describe()))),
            }
        }
    }

    /// The end of a tag.
    pub(super) fn block_end(&mut self) -> Result<(), Error> {
        if *self.peek() != Tok::BlockEnd {
            return Err(self.expected("end of statement block"));
        }
        self.next += 1;
        Ok(())
    }

    /// The body of a tag: its end, the statements, and the name of the tag that ends it.
    pub(super) fn body(&mut self, tag: &str, ends: &[&'static str]) -> Result<(Vec<Stmt>, Arc<str>), Error> {
        self.skip_op(":");
        self.block_end()?;
        self.open.push((tag.to_owned(), ends.to_vec()));
        let body = self.statements(ends)?;
        self.open.pop();
        let end = self.expect_name()?;
        Ok((body, end))
    }

    fn looked_for(&self) -> String {
        let Some((tag, ends)) = self.open.last() else { return String::new() };
        let names: Vec<String> = ends.iter().rev().map(|e| format!("'{e}'")).collect();
        let mut names = names;
        names.sort_by_key(|n| !n.starts_with("'end"));
        format!(
            " Jinja was looking for the following tags: {}. The innermost block that needs to be closed is '{tag}'.",
            names.join(" or ")
        )
    }

    fn unclosed(&self) -> Error {
        Error::syntax(self.at(), format!("Unexpected end of template.{}", self.looked_for()))
    }

    pub(super) fn unknown(&self, name: &str) -> Error {
        Error::syntax(self.at(), format!("Encountered unknown tag '{name}'.{}", self.looked_for()))
    }

    /// What is assigned to.
    pub(super) fn target(&mut self, stop: Option<&str>, attributes: bool) -> Result<Target, Error> {
        let mut all = Vec::new();
        let mut comma = false;
        loop {
            if stop.is_some_and(|s| self.is_name(s)) {
                break;
            }
            let one = if self.skip_op("(") {
                let t = self.deeper(|p| p.target(None, false))?;
                self.expect_op(")")?;
                t
            } else if all.is_empty() || matches!(self.peek(), Tok::Name(_)) {
                let at = self.at();
                let name = self.expect_name()?;
                if matches!(name.as_ref(), "true" | "false" | "none" | "True" | "False" | "None") {
                    return Err(Error::syntax(at, "can't assign to 'const'"));
                }
                if attributes && self.skip_op(".") {
                    Target::Attr(name, self.expect_name()?)
                } else {
                    Target::Name(name)
                }
            } else {
                break;
            };
            all.push(one);
            if !self.skip_op(",") {
                break;
            }
            comma = true;
        }
        match (all.len(), comma) {
            (1, false) => all.pop().ok_or_else(|| self.expected("name")),
            (0, _) => Err(self.expected("name")),
            _ => Ok(Target::Tuple(all)),
        }
    }

    pub(super) fn position(&self) -> usize {
        self.next
    }

    /// The names that were read since a place.
    pub(super) fn names_since(&self, start: usize) -> impl Iterator<Item = &str> {
        self.tokens.get(start..self.next).unwrap_or_default().iter().filter_map(|t| match &t.tok {
            Tok::Name(n) => Some(n.as_ref()),
            _ => None,
        })
    }

    /// Refuses chains of operators or filters that are too long to be walked.
    pub(super) fn link(&self, links: &mut usize) -> Result<(), Error> {
        *links += 1;
        if *links > LONGEST {
            return Err(Error::syntax(self.at(), "the expression is too long"));
        }
        Ok(())
    }

    pub(super) fn node(&self, at: usize, node: Node) -> Expr {
        Expr { at, node }
    }
}
