//! The tags of a template.

use std::sync::Arc;

use super::ast::{Expr, MacroDef, Node, Stmt, Target};
use super::lexer::Tok;
use super::parser::Parser;
use crate::render::error::Error;

type One = Result<Option<Stmt>, Error>;
type Signature = Vec<(Arc<str>, Option<Expr>)>;

impl Parser {
    /// One tag, after its opening mark.
    pub(super) fn tag(&mut self) -> One {
        let at = self.at();
        let Tok::Name(name) = self.peek().clone() else {
            return Err(Error::syntax(at, "tag name expected"));
        };
        let stmt = match name.as_ref() {
            "for" => self.for_tag(),
            "if" => self.if_tag(),
            "set" => self.set_tag(),
            "with" => self.with_tag(),
            "macro" => self.macro_tag(),
            "call" => self.call_tag(),
            "filter" => self.filter_tag(),
            "autoescape" => {
                self.advance();
                let e = self.expression()?;
                let (body, _) = self.body("autoescape", &["endautoescape"])?;
                Ok(Some(Stmt::Autoescape(e, body)))
            }
            "block" => self.block_tag(),
            "extends" => {
                self.advance();
                Ok(Some(Stmt::Extends(self.expression()?)))
            }
            "include" => self.include_tag(),
            "import" => self.import_tag(),
            "from" => self.import_names(),
            "do" => {
                self.advance();
                Ok(Some(Stmt::Do(self.tuple(true, None)?)))
            }
            "print" => {
                self.advance();
                Ok(Some(Stmt::Output(self.tuple(true, None)?)))
            }
            "break" => {
                self.advance();
                Ok(Some(Stmt::Break))
            }
            "continue" => {
                self.advance();
                Ok(Some(Stmt::Continue))
            }
            _ => Err(self.unknown(&name)),
        }?;
        self.block_end()?;
        Ok(stmt)
    }

    fn if_tag(&mut self) -> One {
        let mut cases = Vec::new();
        let mut otherwise = Vec::new();
        self.advance();
        loop {
            if *self.peek() == Tok::BlockEnd {
                return Err(Error::syntax(self.at(), "Expected an expression, got 'end of statement block'"));
            }
            let test = self.tuple(false, None)?;
            let (body, end) = self.body("if", &["elif", "else", "endif"])?;
            cases.push((test, body));
            match end.as_ref() {
                "elif" => {}
                "else" => {
                    otherwise = self.body("if", &["endif"])?.0;
                    break;
                }
                _ => break,
            }
        }
        Ok(Some(Stmt::If(cases, otherwise)))
    }

    fn for_tag(&mut self) -> One {
        self.advance();
        let target = self.target(Some("in"), false)?;
        if !self.skip_name("in") {
            return Err(self.expected("in"));
        }
        let iter = self.tuple(false, Some("recursive"))?;
        let filter = if self.skip_name("if") { Some(self.expression()?) } else { None };
        let recursive = self.skip_name("recursive");
        let (body, end) = self.body("for", &["else", "endfor"])?;
        let otherwise = if end.as_ref() == "else" { self.body("for", &["endfor"])?.0 } else { Vec::new() };
        Ok(Some(Stmt::For { target, iter, filter, recursive, body: Arc::new(body), otherwise }))
    }

    fn set_tag(&mut self) -> One {
        self.advance();
        let target = self.target(None, true)?;
        if self.skip_op("=") {
            return Ok(Some(Stmt::Set(target, self.tuple(true, None)?)));
        }
        let filter = if self.is_op("|") { Some(self.filters(None)?) } else { None };
        let (body, _) = self.body("set", &["endset"])?;
        Ok(Some(Stmt::SetBlock(target, filter, body)))
    }

    fn with_tag(&mut self) -> One {
        self.advance();
        let mut pairs = Vec::new();
        while *self.peek() != Tok::BlockEnd {
            if !pairs.is_empty() {
                self.expect_op(",")?;
            }
            let target = Target::Name(self.expect_name()?);
            self.expect_op("=")?;
            pairs.push((target, self.expression()?));
        }
        let (body, _) = self.body("with", &["endwith"])?;
        Ok(Some(Stmt::With(pairs, body)))
    }

    /// `(a, b=1)`.
    fn signature(&mut self) -> Result<Signature, Error> {
        let mut args: Signature = Vec::new();
        self.expect_op("(")?;
        while !self.is_op(")") {
            if !args.is_empty() {
                self.expect_op(",")?;
                if self.is_op(")") {
                    break;
                }
            }
            let name = self.expect_name()?;
            let default = if self.skip_op("=") {
                Some(self.expression()?)
            } else if args.iter().any(|(_, d)| d.is_some()) {
                return Err(Error::syntax(self.at(), "non-default argument follows default argument"));
            } else {
                None
            };
            args.push((name, default));
        }
        self.expect_op(")")?;
        Ok(args)
    }

    fn definition(
        &mut self,
        tag: &str,
        name: Arc<str>,
        args: Signature,
        end: &'static str,
    ) -> Result<Arc<MacroDef>, Error> {
        let start = self.position();
        let (body, _) = self.body(tag, &[end])?;
        let uses = |what: &str| self.names_since(start).any(|n| n == what);
        let (varargs, kwargs, caller) = (uses("varargs"), uses("kwargs"), uses("caller"));
        Ok(Arc::new(MacroDef { name, args, body, varargs, kwargs, caller }))
    }

    fn macro_tag(&mut self) -> One {
        self.advance();
        let name = self.expect_name()?;
        let args = self.signature()?;
        Ok(Some(Stmt::Macro(self.definition("macro", name, args, "endmacro")?)))
    }

    fn call_tag(&mut self) -> One {
        self.advance();
        let args = if self.is_op("(") { self.signature()? } else { Vec::new() };
        let call = self.expression()?;
        if !matches!(call.node, Node::Call(..)) {
            return Err(Error::syntax(call.at, "expected call"));
        }
        let def = self.definition("call", "caller".into(), args, "endcall")?;
        Ok(Some(Stmt::CallBlock(call, def)))
    }

    fn filter_tag(&mut self) -> One {
        self.advance();
        let filter = self.first_filter()?;
        let (body, _) = self.body("filter", &["endfilter"])?;
        Ok(Some(Stmt::FilterBlock(filter, body)))
    }

    fn block_tag(&mut self) -> One {
        self.advance();
        let at = self.at();
        let name = self.expect_name()?;
        let (mut scoped, mut required) = (false, false);
        loop {
            if self.skip_name("scoped") {
                scoped = true;
            } else if self.skip_name("required") {
                required = true;
            } else {
                break;
            }
        }
        let _ = required;
        let (body, _) = self.body("block", &["endblock"])?;
        self.skip_name(&name);
        if self.blocks.insert(name.clone(), Arc::new(body)).is_some() {
            return Err(Error::syntax(at, format!("block '{name}' defined twice")));
        }
        Ok(Some(Stmt::Block { name, scoped }))
    }

    /// `with context` or `without context`.
    fn context(&mut self, default: bool) -> bool {
        let follows = matches!(self.peek_at(1), Tok::Name(n) if n.as_ref() == "context");
        if follows && (self.is_name("with") || self.is_name("without")) {
            let yes = self.is_name("with");
            self.advance();
            self.advance();
            return yes;
        }
        default
    }

    fn include_tag(&mut self) -> One {
        self.advance();
        let name = self.expression()?;
        let mut ignore = false;
        if self.is_name("ignore") && matches!(self.peek_at(1), Tok::Name(n) if n.as_ref() == "missing") {
            self.advance();
            self.advance();
            ignore = true;
        }
        let context = self.context(true);
        Ok(Some(Stmt::Include { name, ignore, context }))
    }

    fn import_tag(&mut self) -> One {
        self.advance();
        let name = self.expression()?;
        if !self.skip_name("as") {
            return Err(self.expected("as"));
        }
        let target = self.expect_name()?;
        let context = self.context(false);
        Ok(Some(Stmt::Import { name, target, context }))
    }

    fn import_names(&mut self) -> One {
        self.advance();
        let name = self.expression()?;
        if !self.skip_name("import") {
            return Err(self.expected("import"));
        }
        let mut names = Vec::new();
        let context = loop {
            let with = self.context(false);
            if with || *self.peek() == Tok::BlockEnd {
                break with;
            }
            let own = self.expect_name()?;
            if own.starts_with('_') {
                return Err(Error::syntax(self.at(), "names starting with an underline can not be imported"));
            }
            let alias = if self.skip_name("as") { self.expect_name()? } else { own.clone() };
            names.push((own, alias));
            if !self.skip_op(",") {
                break self.context(false);
            }
        };
        if names.is_empty() {
            return Err(self.expected("name"));
        }
        Ok(Some(Stmt::From { name, names, context }))
    }
}
