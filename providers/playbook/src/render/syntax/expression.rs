//! Expressions, by precedence.

use std::sync::Arc;

use super::ast::{CallArgs, Cmp, Expr, Node};
use super::lexer::Tok;
use super::parser::Parser;
use crate::render::error::Error;
use crate::render::value::{Binary, Value};

type One = Result<Expr, Error>;

impl Parser {
    /// One expression.
    pub(super) fn expression(&mut self) -> One {
        self.deeper(Self::conditional)
    }

    /// An expression, or several with commas, which are a tuple.
    pub(super) fn tuple(&mut self, conditional: bool, stop: Option<&str>) -> One {
        let at = self.at();
        let one = |p: &mut Self| if conditional { p.expression() } else { p.deeper(Self::or) };
        let first = one(self)?;
        if !self.is_op(",") {
            return Ok(first);
        }
        let mut all = vec![first];
        while self.skip_op(",") {
            let ends = matches!(self.peek(), Tok::VarEnd | Tok::BlockEnd | Tok::End | Tok::Op(")"));
            if ends || stop.is_some_and(|s| self.is_name(s)) {
                break;
            }
            all.push(one(self)?);
        }
        Ok(self.node(at, Node::Tuple(all)))
    }

    fn conditional(&mut self) -> One {
        let at = self.at();
        let mut value = self.or()?;
        let mut links = 0;
        while self.skip_name("if") {
            self.link(&mut links)?;
            let test = self.or()?;
            let otherwise = if self.skip_name("else") { Some(Box::new(self.expression()?)) } else { None };
            value = self.node(at, Node::Cond(Box::new(test), Box::new(value), otherwise));
        }
        Ok(value)
    }

    fn or(&mut self) -> One {
        let at = self.at();
        let mut left = self.and()?;
        let mut links = 0;
        while self.skip_name("or") {
            self.link(&mut links)?;
            let right = self.and()?;
            left = self.node(at, Node::Or(Box::new(left), Box::new(right)));
        }
        Ok(left)
    }

    fn and(&mut self) -> One {
        let at = self.at();
        let mut left = self.not()?;
        let mut links = 0;
        while self.skip_name("and") {
            self.link(&mut links)?;
            let right = self.not()?;
            left = self.node(at, Node::And(Box::new(left), Box::new(right)));
        }
        Ok(left)
    }

    fn not(&mut self) -> One {
        let at = self.at();
        if self.skip_name("not") {
            let inner = self.deeper(Self::not)?;
            return Ok(self.node(at, Node::Not(Box::new(inner))));
        }
        self.comparison()
    }

    fn comparison(&mut self) -> One {
        let at = self.at();
        let first = self.sum()?;
        let mut rest = Vec::new();
        loop {
            let op = match self.peek() {
                Tok::Op("==") => Cmp::Eq,
                Tok::Op("!=") => Cmp::Ne,
                Tok::Op("<") => Cmp::Lt,
                Tok::Op("<=") => Cmp::Le,
                Tok::Op(">") => Cmp::Gt,
                Tok::Op(">=") => Cmp::Ge,
                Tok::Name(n) if n.as_ref() == "in" => Cmp::In,
                Tok::Name(n)
                    if n.as_ref() == "not" && matches!(self.peek_at(1), Tok::Name(n) if n.as_ref() == "in") =>
                {
                    self.advance();
                    Cmp::NotIn
                }
                _ => break,
            };
            self.advance();
            rest.push((op, self.sum()?));
        }
        if rest.is_empty() {
            return Ok(first);
        }
        Ok(self.node(at, Node::Compare(Box::new(first), rest)))
    }

    fn sum(&mut self) -> One {
        let at = self.at();
        let mut left = self.concat()?;
        let mut links = 0;
        loop {
            self.link(&mut links)?;
            let op = match self.peek() {
                Tok::Op("+") => Binary::Add,
                Tok::Op("-") => Binary::Sub,
                _ => return Ok(left),
            };
            self.advance();
            let right = self.concat()?;
            left = self.node(at, Node::Binary(op, Box::new(left), Box::new(right)));
        }
    }

    fn concat(&mut self) -> One {
        let at = self.at();
        let first = self.product()?;
        if !self.is_op("~") {
            return Ok(first);
        }
        let mut all = vec![first];
        while self.skip_op("~") {
            all.push(self.product()?);
        }
        Ok(self.node(at, Node::Concat(all)))
    }

    fn product(&mut self) -> One {
        let at = self.at();
        let mut left = self.power()?;
        let mut links = 0;
        loop {
            self.link(&mut links)?;
            let op = match self.peek() {
                Tok::Op("*") => Binary::Mul,
                Tok::Op("/") => Binary::Div,
                Tok::Op("//") => Binary::FloorDiv,
                Tok::Op("%") => Binary::Mod,
                _ => return Ok(left),
            };
            self.advance();
            let right = self.power()?;
            left = self.node(at, Node::Binary(op, Box::new(left), Box::new(right)));
        }
    }

    fn power(&mut self) -> One {
        let at = self.at();
        let mut left = self.unary(true)?;
        let mut links = 0;
        while self.skip_op("**") {
            self.link(&mut links)?;
            let right = self.unary(true)?;
            left = self.node(at, Node::Binary(Binary::Pow, Box::new(left), Box::new(right)));
        }
        Ok(left)
    }

    fn unary(&mut self, filters: bool) -> One {
        let at = self.at();
        let inner = if self.skip_op("-") {
            let inner = self.deeper(|p| p.unary(false))?;
            self.node(at, Node::Negate(Box::new(inner)))
        } else if self.skip_op("+") {
            let inner = self.deeper(|p| p.unary(false))?;
            self.node(at, Node::Plus(Box::new(inner)))
        } else {
            self.primary()?
        };
        let inner = self.postfix(inner)?;
        if filters { self.filters_and_tests(inner) } else { Ok(inner) }
    }

    fn primary(&mut self) -> One {
        let at = self.at();
        let node = match self.peek().clone() {
            Tok::Name(name) => {
                self.advance();
                match name.as_ref() {
                    "true" | "True" => Node::Const(Value::Bool(true)),
                    "false" | "False" => Node::Const(Value::Bool(false)),
                    "none" | "None" => Node::Const(Value::None),
                    _ => Node::Name(name),
                }
            }
            Tok::Str(first) => {
                let mut text = first;
                self.advance();
                while let Tok::Str(more) = self.peek() {
                    text.push_str(more);
                    self.advance();
                }
                Node::Const(Value::from(text))
            }
            Tok::Int(i) => {
                self.advance();
                Node::Const(Value::Int(i))
            }
            Tok::Float(f) => {
                self.advance();
                Node::Const(Value::Float(f))
            }
            Tok::Op("(") => {
                self.advance();
                if self.skip_op(")") {
                    return Ok(self.node(at, Node::Tuple(Vec::new())));
                }
                let inner = self.tuple(true, None)?;
                self.expect_op(")")?;
                return Ok(inner);
            }
            Tok::Op("[") => {
                self.advance();
                Node::List(self.elements("]")?)
            }
            Tok::Op("{") => {
                self.advance();
                self.dict()?
            }
            other => return Err(Error::syntax(at, format!("unexpected '{}'", other.describe()))),
        };
        Ok(self.node(at, node))
    }

    fn elements(&mut self, end: &str) -> Result<Vec<Expr>, Error> {
        let mut out = Vec::new();
        while !self.is_op(end) {
            if !out.is_empty() {
                self.expect_op(",")?;
                if self.is_op(end) {
                    break;
                }
            }
            out.push(self.expression()?);
        }
        self.expect_op(end)?;
        Ok(out)
    }

    fn dict(&mut self) -> Result<Node, Error> {
        let mut out = Vec::new();
        while !self.is_op("}") {
            if !out.is_empty() {
                self.expect_op(",")?;
                if self.is_op("}") {
                    break;
                }
            }
            let key = self.expression()?;
            self.expect_op(":")?;
            out.push((key, self.expression()?));
        }
        self.expect_op("}")?;
        Ok(Node::Dict(out))
    }

    fn postfix(&mut self, mut value: Expr) -> One {
        let mut links = 0;
        loop {
            self.link(&mut links)?;
            let at = self.at();
            if self.skip_op(".") {
                let node = match self.advance() {
                    Tok::Name(n) => Node::Attr(Box::new(value), n),
                    Tok::Int(i) => Node::Item(Box::new(value), Box::new(self.node(at, Node::Const(Value::Int(i))))),
                    _ => return Err(Error::syntax(at, "expected name or number")),
                };
                value = self.node(at, node);
            } else if self.skip_op("[") {
                value = self.subscript(value, at)?;
            } else if self.is_op("(") {
                let args = self.arguments()?;
                value = self.node(at, Node::Call(Box::new(value), Box::new(args)));
            } else {
                return Ok(value);
            }
        }
    }

    fn subscript(&mut self, value: Expr, at: usize) -> One {
        let mut parts: [Option<Expr>; 3] = [None, None, None];
        let mut colons = 0;
        loop {
            if self.is_op("]") {
                break;
            }
            if self.skip_op(":") {
                colons += 1;
                if colons > 2 {
                    return Err(self.expected("]"));
                }
                continue;
            }
            let e = self.expression()?;
            if self.is_op(",") {
                let mut all = vec![e];
                while self.skip_op(",") {
                    if self.is_op("]") {
                        break;
                    }
                    all.push(self.expression()?);
                }
                self.expect_op("]")?;
                let key = self.node(at, Node::Tuple(all));
                return Ok(self.node(at, Node::Item(Box::new(value), Box::new(key))));
            }
            match parts.get_mut(colons) {
                Some(part @ None) => *part = Some(e),
                _ => return Err(self.expected("]")),
            }
        }
        self.expect_op("]")?;
        if colons > 0 {
            return Ok(self.node(at, Node::Slice(Box::new(value), Box::new(parts))));
        }
        let [key, ..] = parts;
        match key {
            Some(key) => Ok(self.node(at, Node::Item(Box::new(value), Box::new(key)))),
            None => Err(Error::syntax(at, "expected subscript expression")),
        }
    }

    /// `(a, b=1, *c, **d)`.
    pub(super) fn arguments(&mut self) -> Result<CallArgs, Error> {
        let mut args = CallArgs::default();
        self.expect_op("(")?;
        let mut first = true;
        while !self.is_op(")") {
            if !first {
                self.expect_op(",")?;
                if self.is_op(")") {
                    break;
                }
            }
            first = false;
            let wrong = Error::syntax(self.at(), "invalid syntax for function call expression");
            if self.skip_op("*") {
                args.more = Some(self.expression()?);
            } else if self.skip_op("**") {
                args.more_named = Some(self.expression()?);
            } else if let (Tok::Name(name), Tok::Op("=")) = (self.peek().clone(), self.peek_at(1)) {
                self.advance();
                self.advance();
                args.named.push((name, self.expression()?));
            } else {
                if !args.named.is_empty() || args.more.is_some() || args.more_named.is_some() {
                    return Err(wrong);
                }
                args.pos.push(self.expression()?);
            }
        }
        self.expect_op(")")?;
        Ok(args)
    }

    fn dotted(&mut self) -> Result<Arc<str>, Error> {
        let mut name = self.expect_name()?.to_string();
        while self.is_op(".") && matches!(self.peek_at(1), Tok::Name(_)) {
            self.advance();
            name.push('.');
            name.push_str(&self.expect_name()?);
        }
        Ok(name.into())
    }

    fn one_filter(&mut self, input: Option<Expr>) -> One {
        let at = self.at();
        let name = self.dotted()?;
        let args = if self.is_op("(") { self.arguments()? } else { CallArgs::default() };
        Ok(self.node(at, Node::Filter(input.map(Box::new), name, Box::new(args))))
    }

    /// `| a | b(1)`; without an input where the text of a block is one.
    pub(super) fn filters(&mut self, input: Option<Expr>) -> One {
        self.expect_op("|")?;
        let mut value = self.one_filter(input)?;
        let mut links = 0;
        while self.skip_op("|") {
            self.link(&mut links)?;
            value = self.one_filter(Some(value))?;
        }
        Ok(value)
    }

    /// The filters of a `filter` tag, of which the first has no `|`.
    pub(super) fn first_filter(&mut self) -> One {
        let first = self.one_filter(None)?;
        if self.is_op("|") { self.filters(Some(first)) } else { Ok(first) }
    }

    fn filters_and_tests(&mut self, mut value: Expr) -> One {
        let mut links = 0;
        loop {
            self.link(&mut links)?;
            if self.is_op("|") {
                value = self.filters(Some(value))?;
            } else if self.is_name("is") {
                value = self.test(value)?;
            } else if self.is_op("(") {
                let at = self.at();
                let args = self.arguments()?;
                value = self.node(at, Node::Call(Box::new(value), Box::new(args)));
            } else {
                return Ok(value);
            }
        }
    }

    fn test(&mut self, value: Expr) -> One {
        self.advance();
        let at = self.at();
        let negated = self.skip_name("not");
        let name = self.dotted()?;
        let mut args = CallArgs::default();
        let words = |n: &str| matches!(n, "else" | "or" | "and" | "if" | "in" | "not");
        if self.is_op("(") {
            args = self.arguments()?;
        } else {
            let starts = match self.peek() {
                Tok::Name(n) if n.as_ref() == "is" => {
                    return Err(Error::syntax(self.at(), "You cannot chain multiple tests with is"));
                }
                Tok::Name(n) => !words(n),
                Tok::Str(_) | Tok::Int(_) | Tok::Float(_) | Tok::Op("[" | "{") => true,
                _ => false,
            };
            if starts {
                let arg = self.primary()?;
                args.pos.push(self.postfix(arg)?);
            }
        }
        let test = self.node(at, Node::Test(Box::new(value), name, Box::new(args)));
        Ok(if negated { self.node(at, Node::Not(Box::new(test))) } else { test })
    }
}
