//! Texts that look like Python's lists and dictionaries become such, as Ansible makes them.

use super::syntax::parse_expression;
use super::syntax::{Expr, Node};
use super::value::{Binary, Dict, Key, Value, binary, negate};

/// The value of a text, if it is a list, a dictionary or a boolean.
pub(crate) fn evaluate(s: &str) -> Option<Value> {
    match s {
        "True" => return Some(Value::Bool(true)),
        "False" => return Some(Value::Bool(false)),
        _ => {}
    }
    let opens = s.starts_with('[') || s.starts_with('{') && !s.starts_with("{{");
    if !opens {
        return None;
    }
    value(&parse_expression(s).ok()?)
}

fn value(e: &Expr) -> Option<Value> {
    Some(match &e.node {
        // Jinja knows `none`; Python does not.
        Node::Const(v) => v.clone(),
        Node::Name(name) => match name.as_ref() {
            "null" => Value::None,
            _ => return None,
        },
        Node::List(items) => Value::list(items.iter().map(value).collect::<Option<_>>()?),
        Node::Tuple(items) => Value::tuple(items.iter().map(value).collect::<Option<_>>()?),
        Node::Dict(pairs) => {
            let mut out = Dict::new();
            for (k, v) in pairs {
                out.insert(Key::new(value(k)?).ok()?, value(v)?);
            }
            Value::dict(out)
        }
        Node::Negate(e) => negate(&value(e)?).ok()?,
        Node::Plus(e) => value(e)?,
        Node::Binary(op @ (Binary::Add | Binary::Sub | Binary::Mul | Binary::Div), a, b) => {
            binary(*op, &value(a)?, &value(b)?).ok()?
        }
        _ => return None,
    })
}
