//! Evaluating templates.

mod call;
mod context;
mod expression;
mod globals;
mod include;
mod loops;
mod macros;
mod statement;

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

pub(crate) use context::Frame;
pub(crate) use expression::{check, holds, shown};
pub(crate) use globals::global;

use super::error::{Error, Out};
use super::scope::Scope;
use super::syntax::{Expr, Stmt, Template};
use super::value::{MOST, Value};

/// Steps that one rendering may take, all templates of its variables included.
const STEPS: u64 = 5_000_000;
/// Deepest nesting of evaluation, over all templates. A frame takes some kilobytes of stack.
const DEEPEST: usize = 300;

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    static STEPS_LEFT: Cell<u64> = const { Cell::new(STEPS) };
}

/// One level of nesting; the outermost one starts the count of steps.
pub(crate) struct Deeper(usize);

impl Deeper {
    pub(crate) fn enter(levels: usize) -> Result<Self, Error> {
        let depth = DEPTH.get();
        if depth == 0 {
            STEPS_LEFT.set(STEPS);
        }
        if depth + levels > DEEPEST {
            return Err(Error::other(
                "recursive loop detected in template string: variables or templates refer to each other in a circle, or are nested too deeply",
            ));
        }
        DEPTH.set(depth + levels);
        Ok(Self(levels))
    }
}

impl Drop for Deeper {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get().saturating_sub(self.0));
    }
}

/// Counts work, so that no template runs for ever.
pub(crate) fn spend(steps: usize) -> Result<(), Error> {
    let left = STEPS_LEFT.get();
    let steps = steps as u64 + 1;
    if left < steps {
        return Err(Error::other("the template takes too long"));
    }
    STEPS_LEFT.set(left - steps);
    Ok(())
}

/// Whether a statement ended its loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    On,
    Break,
    Continue,
}

type Versions = Vec<(Arc<Template>, Arc<Vec<Stmt>>)>;

/// A template while it is evaluated.
pub(crate) struct State {
    pub(crate) scope: Arc<Scope>,
    pub(super) frame: Arc<Frame>,
    pub(super) template: Arc<Template>,
    pub(super) out: String,
    pub(super) escape: bool,
    /// The blocks by name, the most derived first.
    pub(super) blocks: HashMap<Arc<str>, Versions>,
    /// The block that is evaluated, and which of its versions.
    pub(super) block: Option<(Arc<str>, usize)>,
    /// The template that this one extends.
    pub(super) parent: Option<Arc<Template>>,
    /// Frames that macros of this rendering need.
    pub(super) kept: Vec<Arc<Frame>>,
    /// The file of the template, for messages.
    pub(super) file: Option<Arc<str>>,
}

impl State {
    pub(crate) fn new(scope: Arc<Scope>, template: Arc<Template>, file: Option<Arc<str>>) -> Self {
        let frame = Frame::root(true);
        Self {
            scope,
            kept: vec![frame.clone()],
            frame,
            template,
            out: String::new(),
            escape: false,
            blocks: HashMap::new(),
            block: None,
            parent: None,
            file,
        }
    }

    /// Adds text to what was rendered.
    pub(super) fn write(&mut self, text: &str) -> Result<(), Error> {
        if self.out.len() + text.len() > MOST {
            return Err(Error::other("the rendered text is too long"));
        }
        self.out.push_str(text);
        Ok(())
    }

    /// Renders a whole template to text.
    pub(crate) fn render(mut self) -> Result<String, Error> {
        let template = self.template.clone();
        self.run(&template)?;
        Ok(self.out)
    }

    /// Evaluates the only expression of a template.
    pub(crate) fn value(mut self, e: &Expr) -> Out {
        self.eval(e)
    }

    /// Evaluates a template into this state, and the templates that it extends.
    pub(super) fn run(&mut self, template: &Arc<Template>) -> Result<(), Error> {
        let mut current = template.clone();
        for _ in 0..50 {
            for (name, body) in &current.blocks {
                self.blocks.entry(name.clone()).or_default().push((current.clone(), body.clone()));
            }
            self.template = current.clone();
            self.statements(&current.body).map_err(|e| self.placed(e))?;
            match self.parent.take() {
                Some(parent) => current = parent,
                None => return Ok(()),
            }
        }
        Err(Error::other("templates extend each other in a circle"))
    }

    /// Evaluates statements to text of their own.
    pub(super) fn capture(&mut self, body: &[Stmt]) -> Result<String, Error> {
        let outer = std::mem::take(&mut self.out);
        let done = self.statements(body);
        let text = std::mem::replace(&mut self.out, outer);
        done.map(|_| text)
    }

    /// Runs with a frame on top.
    pub(super) fn framed<T>(&mut self, frame: Arc<Frame>, f: impl FnOnce(&mut Self) -> T) -> T {
        let outer = std::mem::replace(&mut self.frame, frame);
        let out = f(self);
        self.frame = outer;
        out
    }

    /// Adds the file's place to an error.
    pub(super) fn placed(&self, mut e: Error) -> Error {
        if let (Some(file), Some(at), None) = (&self.file, e.at, &e.place) {
            e.place = Some(place(file, &self.template.source, at));
        }
        e
    }

    /// The value of a name, undefined if there is none.
    pub(crate) fn lookup(&self, name: &str) -> Out {
        if let Some(v) = self.frame.get(name) {
            return Ok(v);
        }
        if name == "super" {
            if let Some(f) = loops::super_function(self) {
                return Ok(f);
            }
        }
        if self.frame.sees_variables() {
            if let Some(v) = self.scope.find(name)? {
                return Ok(v);
            }
        }
        Ok(global(name).unwrap_or_else(|| Value::undefined(format!("'{name}' is undefined"), name)))
    }
}

/// `file:line:column: the line`.
pub(crate) fn place(file: &str, source: &str, at: usize) -> String {
    let mut at = at.min(source.len());
    while !source.is_char_boundary(at) {
        at -= 1;
    }
    let before = source.get(..at).unwrap_or("");
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |i| i + 1);
    let column = before.get(start..).unwrap_or("").chars().count() + 1;
    let text = source.get(start..).unwrap_or("").lines().next().unwrap_or("");
    format!("{file}:{line}:{column}: `{}`", text.trim())
}
