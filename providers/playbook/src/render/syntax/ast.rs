//! The tree of a template.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::render::value::{Binary, Value};

/// A template that was read.
#[derive(Debug)]
pub(crate) struct Template {
    pub(crate) body: Vec<Stmt>,
    pub(crate) blocks: BTreeMap<Arc<str>, Arc<Vec<Stmt>>>,
    pub(crate) source: Arc<str>,
}

impl Template {
    /// The only expression of a template that has nothing else.
    pub(crate) fn single(&self) -> Option<&Expr> {
        match self.body.as_slice() {
            [Stmt::Output(e)] => Some(e),
            _ => None,
        }
    }
}

/// An expression, and its offset in the source.
#[derive(Debug, Clone)]
pub(crate) struct Expr {
    pub(crate) at: usize,
    pub(crate) node: Node,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cmp {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    In,
    NotIn,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct CallArgs {
    pub(crate) pos: Vec<Expr>,
    pub(crate) named: Vec<(Arc<str>, Expr)>,
    pub(crate) more: Option<Expr>,
    pub(crate) more_named: Option<Expr>,
}

#[derive(Debug, Clone)]
pub(crate) enum Node {
    Const(Value),
    Name(Arc<str>),
    List(Vec<Expr>),
    Tuple(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
    Attr(Box<Expr>, Arc<str>),
    Item(Box<Expr>, Box<Expr>),
    Slice(Box<Expr>, Box<[Option<Expr>; 3]>),
    Call(Box<Expr>, Box<CallArgs>),
    Filter(Option<Box<Expr>>, Arc<str>, Box<CallArgs>),
    Test(Box<Expr>, Arc<str>, Box<CallArgs>),
    Negate(Box<Expr>),
    Plus(Box<Expr>),
    Not(Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Binary(Binary, Box<Expr>, Box<Expr>),
    Compare(Box<Expr>, Vec<(Cmp, Expr)>),
    Concat(Vec<Expr>),
    Cond(Box<Expr>, Box<Expr>, Option<Box<Expr>>),
}

/// What a loop or `set` assigns to.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    Name(Arc<str>),
    Attr(Arc<str>, Arc<str>),
    Tuple(Vec<Target>),
}

#[derive(Debug)]
pub(crate) struct MacroDef {
    pub(crate) name: Arc<str>,
    pub(crate) args: Vec<(Arc<str>, Option<Expr>)>,
    pub(crate) body: Vec<Stmt>,
    /// Whether its body asks for these.
    pub(crate) varargs: bool,
    pub(crate) kwargs: bool,
    pub(crate) caller: bool,
}

#[derive(Debug)]
pub(crate) enum Stmt {
    Data(Arc<str>),
    Output(Expr),
    If(Vec<(Expr, Vec<Stmt>)>, Vec<Stmt>),
    For {
        target: Target,
        iter: Expr,
        filter: Option<Expr>,
        recursive: bool,
        body: Arc<Vec<Stmt>>,
        otherwise: Vec<Stmt>,
    },
    Set(Target, Expr),
    SetBlock(Target, Option<Expr>, Vec<Stmt>),
    With(Vec<(Target, Expr)>, Vec<Stmt>),
    Do(Expr),
    Macro(Arc<MacroDef>),
    CallBlock(Expr, Arc<MacroDef>),
    FilterBlock(Expr, Vec<Stmt>),
    Autoescape(Expr, Vec<Stmt>),
    Block {
        name: Arc<str>,
        scoped: bool,
    },
    Extends(Expr),
    Include {
        name: Expr,
        ignore: bool,
        context: bool,
    },
    Import {
        name: Expr,
        target: Arc<str>,
        context: bool,
    },
    From {
        name: Expr,
        names: Vec<(Arc<str>, Arc<str>)>,
        context: bool,
    },
    Break,
    Continue,
}
