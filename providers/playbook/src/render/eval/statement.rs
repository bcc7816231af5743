//! Statements.

use std::sync::Arc;

use super::expression::shown;
use super::{Deeper, Flow, Frame, State, spend};
use crate::render::error::Error;
use crate::render::filters::escape_html;
use crate::render::syntax::{Expr, Node, Stmt, Target};
use crate::render::value::{Kind, Value};

impl State {
    pub(super) fn statements(&mut self, body: &[Stmt]) -> Result<Flow, Error> {
        for stmt in body {
            // After `extends`, text is thrown away; names and blocks are not.
            if self.parent.is_some() && matches!(stmt, Stmt::Data(_) | Stmt::Output(_) | Stmt::Block { .. }) {
                continue;
            }
            let flow = self.statement(stmt)?;
            if flow != Flow::On {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    fn statement(&mut self, stmt: &Stmt) -> Result<Flow, Error> {
        spend(0)?;
        match stmt {
            Stmt::Data(text) => self.write(text)?,
            Stmt::Output(e) => self.output(e)?,
            Stmt::If(cases, otherwise) => return self.if_(cases, otherwise),
            Stmt::For { target, iter, filter, recursive, body, otherwise } => {
                let items = self.eval(iter)?;
                let each =
                    super::loops::Each { target, filter: filter.as_ref(), recursive: *recursive, body, otherwise };
                self.for_(&each, &items, 1).map_err(|e| e.or_at(iter.at))?;
            }
            Stmt::Set(target, e) => {
                let value = self.eval(e)?;
                self.assign(target, value).map_err(|error| error.or_at(e.at))?;
            }
            Stmt::SetBlock(target, filter, body) => {
                let frame = Frame::child(&self.frame);
                let text = self.framed(frame, |s| s.capture(body))?;
                let value = match filter {
                    Some(filter) => self.filter_text(filter, text)?,
                    None if self.escape => Value::safe(text),
                    None => Value::from(text),
                };
                self.assign(target, value)?;
            }
            Stmt::With(pairs, body) => return self.with_(pairs, body),
            Stmt::Do(e) => {
                self.eval(e)?;
            }
            Stmt::Macro(def) => {
                let value = self.macro_value(def);
                self.frame.set(def.name.clone(), value);
            }
            Stmt::CallBlock(call, def) => self.call_block(call, def)?,
            Stmt::FilterBlock(filter, body) => {
                let frame = Frame::child(&self.frame);
                let text = self.framed(frame, |s| s.capture(body))?;
                let value = self.filter_text(filter, text)?;
                self.write(&shown(&value)?)?;
            }
            Stmt::Autoescape(e, body) => {
                let on = self.eval(e)?.truth()?;
                let before = std::mem::replace(&mut self.escape, on);
                let flow = self.statements(body);
                self.escape = before;
                return flow;
            }
            Stmt::Block { name, scoped } => self.block_(name, *scoped)?,
            Stmt::Extends(name) => {
                let name_value = self.eval(name)?;
                let parent = self.load(&name_value).map_err(|e| e.or_at(name.at))?;
                self.parent = Some(parent.0);
            }
            Stmt::Include { name, ignore, context } => self.include(name, *ignore, *context)?,
            Stmt::Import { name, target, context } => {
                let module = self.import(name, *context)?;
                self.frame.set(target.clone(), module);
            }
            Stmt::From { name, names, context } => {
                let module = self.import(name, *context)?;
                for (own, alias) in names {
                    let value = module.attribute(own)?;
                    self.frame.set(alias.clone(), value);
                }
            }
            Stmt::Break => return Ok(Flow::Break),
            Stmt::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    fn output(&mut self, e: &Expr) -> Result<(), Error> {
        let value = self.eval(e)?;
        let text = match &value {
            Value::None => return Ok(()),
            // A text that stands in the template itself is not escaped.
            Value::Str(s, kind) if !self.escape || *kind == Kind::Safe || matches!(e.node, Node::Const(_)) => {
                return self.write(s).map_err(|x| x.or_at(e.at));
            }
            other => shown(other).map_err(|error| error.or_at(e.at))?,
        };
        if self.escape { self.write(&escape_html(&text)) } else { self.write(&text) }
    }

    fn if_(&mut self, cases: &[(Expr, Vec<Stmt>)], otherwise: &[Stmt]) -> Result<Flow, Error> {
        let _deeper = Deeper::enter(1)?;
        for (test, body) in cases {
            if self.eval(test)?.truth().map_err(|e| e.or_at(test.at))? {
                return self.statements(body);
            }
        }
        self.statements(otherwise)
    }

    fn with_(&mut self, pairs: &[(Target, Expr)], body: &[Stmt]) -> Result<Flow, Error> {
        let _deeper = Deeper::enter(1)?;
        let frame = Frame::child(&self.frame);
        for (target, e) in pairs {
            let value = self.eval(e)?;
            if let Target::Name(name) = target {
                frame.set(name.clone(), value);
            }
        }
        self.framed(frame, |s| s.statements(body))
    }

    /// Gives names their values.
    pub(super) fn assign(&mut self, target: &Target, value: Value) -> Result<(), Error> {
        match target {
            Target::Name(name) => self.frame.set(name.clone(), value),
            Target::Attr(name, attr) => match self.lookup(name)?.defined()? {
                Value::Object(o) if o.type_name() == "Namespace" => o.set(attr, value)?,
                _ => return Err(Error::other("cannot assign attribute on non-namespace object")),
            },
            Target::Tuple(targets) => {
                let values = value.iter().map_err(|e| match value {
                    Value::Undefined(_) => e,
                    _ => Error::typed(format!("cannot unpack non-iterable {} object", value.type_name())),
                })?;
                if values.len() < targets.len() {
                    return Err(Error::other(format!(
                        "not enough values to unpack (expected {}, got {})",
                        targets.len(),
                        values.len()
                    )));
                }
                if values.len() > targets.len() {
                    return Err(Error::other(format!("too many values to unpack (expected {})", targets.len())));
                }
                for (t, v) in targets.iter().zip(values) {
                    self.assign(t, v)?;
                }
            }
        }
        Ok(())
    }

    fn block_(&mut self, name: &Arc<str>, scoped: bool) -> Result<(), Error> {
        let _deeper = Deeper::enter(2)?;
        let frame = if scoped { Frame::child(&self.frame) } else { Frame::child(&self.outermost()) };
        self.block_version(name, 0, frame)
    }

    /// Evaluates the n-th version of a block.
    pub(super) fn block_version(&mut self, name: &Arc<str>, version: usize, frame: Arc<Frame>) -> Result<(), Error> {
        let Some((template, body)) = self.blocks.get(name).and_then(|v| v.get(version)).cloned() else {
            return Err(Error::undefined(format!("there is no parent block called '{name}'.")));
        };
        let before = self.block.replace((name.clone(), version));
        let outer = std::mem::replace(&mut self.template, template);
        let parent = self.parent.take();
        let done = self.framed(frame, |s| s.statements(&body));
        let done = done.map_err(|e| self.placed(e));
        self.parent = parent;
        self.template = outer;
        self.block = before;
        done.map(|_| ())
    }
}
