//! Reading templates: tokens, then a tree.

mod ast;
mod expression;
mod lexer;
mod parser;
mod strings;
mod tags;

pub(crate) use ast::{CallArgs, Cmp, Expr, MacroDef, Node, Stmt, Target, Template};
pub(crate) use lexer::{Syntax, double_backslashes};
pub(crate) use parser::{parse, parse_expression};
