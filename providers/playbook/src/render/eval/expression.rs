//! Expressions.

use std::cmp::Ordering;

use super::{Deeper, State, spend};
use crate::render::error::{Error, Out};
use crate::render::syntax::{Cmp, Expr, Node};
use crate::render::value::{
    Binary, Dict, Key, Kind, MOST, Value, binary, compare, contains, equal, item, negate, slice, text,
};

impl State {
    /// The value of an expression.
    pub(crate) fn eval(&mut self, e: &Expr) -> Out {
        let _deeper = Deeper::enter(1)?;
        spend(0)?;
        self.node(&e.node).map_err(|error| error.or_at(e.at))
    }

    fn node(&mut self, node: &Node) -> Out {
        match node {
            Node::Const(v) => Ok(v.clone()),
            Node::Name(name) => self.lookup(name),
            Node::List(items) => Ok(Value::list(self.all(items)?)),
            Node::Tuple(items) => Ok(Value::tuple(self.all(items)?)),
            Node::Dict(pairs) => self.dict(pairs),
            Node::Attr(value, name) => self.attr(value, name),
            Node::Item(value, key) => {
                let value = self.eval(value)?;
                let key = self.eval(key)?;
                item(&value, &key)
            }
            Node::Slice(value, parts) => self.slice(value, parts),
            Node::Call(callee, args) => self.call_node(callee, args),
            Node::Filter(input, name, args) => self.filter_node(input.as_deref(), name, args),
            Node::Test(value, name, args) => self.test_node(value, name, args),
            Node::Negate(value) => negate(&self.eval(value)?),
            Node::Plus(value) => self.plus(value),
            Node::Not(value) => Ok(Value::Bool(!self.eval(value)?.truth()?)),
            Node::And(a, b) => {
                let left = self.eval(a)?;
                if left.truth()? { self.eval(b) } else { Ok(left) }
            }
            Node::Or(a, b) => {
                let left = self.eval(a)?;
                if left.truth()? { Ok(left) } else { self.eval(b) }
            }
            Node::Binary(op, a, b) => self.binary(*op, a, b),
            Node::Compare(first, rest) => self.comparison(first, rest),
            Node::Concat(parts) => self.concat(parts),
            Node::Cond(test, yes, no) => {
                if self.eval(test)?.truth()? {
                    self.eval(yes)
                } else {
                    no.as_ref().map_or_else(|| Ok(Value::absent()), |no| self.eval(no))
                }
            }
        }
    }

    pub(super) fn all(&mut self, items: &[Expr]) -> Result<Vec<Value>, Error> {
        items.iter().map(|e| self.eval(e)).collect()
    }

    fn dict(&mut self, pairs: &[(Expr, Expr)]) -> Out {
        let mut dict = Dict::new();
        for (k, v) in pairs {
            let key = Key::new(self.eval(k)?)?;
            dict.insert(key, self.eval(v)?);
        }
        Ok(Value::dict(dict))
    }

    fn attr(&mut self, value: &Expr, name: &str) -> Out {
        let value = self.eval(value)?;
        if crate::render::methods::has(&value, name) {
            return Ok(crate::render::methods::bound(&value, name));
        }
        value.attribute(name)
    }

    fn slice(&mut self, value: &Expr, parts: &[Option<Expr>; 3]) -> Out {
        let value = self.eval(value)?;
        let mut numbers = [None; 3];
        for (number, part) in numbers.iter_mut().zip(parts) {
            if let Some(e) = part {
                let v = self.eval(e)?;
                *number = match v.defined()? {
                    Value::None => None,
                    v => Some(v.as_int().ok_or_else(|| {
                        Error::typed("slice indices must be integers or None or have an __index__ method")
                    })?),
                };
            }
        }
        let [from, to, step] = numbers;
        spend(value.len().unwrap_or(0))?;
        slice(&value, from, to, step)
    }

    fn plus(&mut self, value: &Expr) -> Out {
        let value = self.eval(value)?;
        match value.defined()?.as_float() {
            Some(_) => Ok(value.as_int().map_or(value.clone(), Value::Int)),
            None => Err(Error::typed(format!("bad operand type for unary +: '{}'", value.type_name()))),
        }
    }

    fn binary(&mut self, op: Binary, a: &Expr, b: &Expr) -> Out {
        let a = self.eval(a)?;
        let b = self.eval(b)?;
        let out = binary(op, &a, &b)?;
        if !matches!(out, Value::Int(_) | Value::Float(_)) {
            spend(out.len().unwrap_or(0))?;
        }
        Ok(out)
    }

    fn comparison(&mut self, first: &Expr, rest: &[(Cmp, Expr)]) -> Out {
        let mut left = self.eval(first)?;
        for (op, right) in rest {
            let right = self.eval(right)?;
            if !holds(*op, &left, &right)? {
                return Ok(Value::Bool(false));
            }
            left = right;
        }
        Ok(Value::Bool(true))
    }

    fn concat(&mut self, parts: &[Expr]) -> Out {
        let mut out = String::new();
        let mut safe = false;
        for part in parts {
            let v = self.eval(part)?;
            safe |= matches!(v, Value::Str(_, Kind::Safe));
            out.push_str(&shown(&v)?);
            if out.len() > MOST {
                return Err(Error::other("the result is too long"));
            }
        }
        Ok(if safe && self.escape { Value::safe(out) } else { Value::from(out) })
    }
}

/// Whether a comparison is true.
pub(crate) fn holds(op: Cmp, a: &Value, b: &Value) -> Result<bool, Error> {
    a.defined()?;
    b.defined()?;
    let order = |sign: &str, good: fn(Ordering) -> bool| Ok(compare(sign, a, b)?.is_some_and(good));
    match op {
        Cmp::Eq => Ok(equal(a, b)),
        Cmp::Ne => Ok(!equal(a, b)),
        Cmp::Lt => order("<", Ordering::is_lt),
        Cmp::Le => order("<=", Ordering::is_le),
        Cmp::Gt => order(">", Ordering::is_gt),
        Cmp::Ge => order(">=", Ordering::is_ge),
        Cmp::In => contains(b, a),
        Cmp::NotIn => contains(b, a).map(|c| !c),
    }
}

/// The text of a value, in which nothing is undefined.
pub(crate) fn shown(value: &Value) -> Result<String, Error> {
    check(value, 0)?;
    Ok(text(value))
}

/// Refuses undefined values, also inside of others.
pub(crate) fn check(value: &Value, depth: usize) -> Result<(), Error> {
    if depth > 100 {
        return Ok(());
    }
    match value {
        Value::Undefined(_) => value.defined().map(|_| ()),
        Value::List(_) | Value::Tuple(_) => value.iter()?.iter().try_for_each(|v| check(v, depth + 1)),
        Value::Dict(_) => value.entries().unwrap_or_default().iter().try_for_each(|(_, v)| check(v, depth + 1)),
        _ => Ok(()),
    }
}
