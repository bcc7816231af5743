//! Arithmetic, membership, items and slices.

use super::{Key, Kind, MOST, Value, equal, lock};
use crate::render::error::{Error, Out};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    FloorDiv,
    Mod,
    Pow,
}

impl Binary {
    fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::FloorDiv => "//",
            Self::Mod => "%",
            Self::Pow => "** or pow()",
        }
    }
}

fn large() -> Error {
    Error::other("the number is too large")
}

fn copies(items: &[Value], times: usize) -> Vec<Value> {
    if items.is_empty() {
        return Vec::new();
    }
    std::iter::repeat_n(items, times).flatten().cloned().collect()
}

fn repeat(value: &Value, times: i128) -> Option<Out> {
    let times = usize::try_from(times.max(0)).unwrap_or(usize::MAX);
    let fits = |n: usize| n.checked_mul(times).is_some_and(|n| n <= MOST);
    let too_long = || Err(Error::other("the result is too long"));
    Some(match value {
        Value::Str(s, k) => {
            if fits(s.len()) {
                Ok(Value::Str(s.repeat(times).into(), *k))
            } else {
                too_long()
            }
        }
        Value::List(l) => {
            let items = lock(l).clone();
            if fits(items.len() * 64) { Ok(Value::list(copies(&items, times))) } else { too_long() }
        }
        Value::Tuple(t) => {
            if fits(t.len() * 64) {
                Ok(Value::tuple(copies(t, times)))
            } else {
                too_long()
            }
        }
        _ => return None,
    })
}

fn ints(op: Binary, a: i128, b: i128) -> Out {
    let zero = |what: &str| Error::other(what.to_owned());
    Ok(match op {
        Binary::Add => Value::Int(a.checked_add(b).ok_or_else(large)?),
        Binary::Sub => Value::Int(a.checked_sub(b).ok_or_else(large)?),
        Binary::Mul => Value::Int(a.checked_mul(b).ok_or_else(large)?),
        Binary::Div if b == 0 => return Err(zero("division by zero")),
        Binary::Div => Value::Float(a as f64 / b as f64),
        Binary::FloorDiv if b == 0 => return Err(zero("integer division or modulo by zero")),
        Binary::FloorDiv => {
            let q = a.checked_div(b).ok_or_else(large)?;
            Value::Int(if a % b != 0 && (a < 0) != (b < 0) { q - 1 } else { q })
        }
        Binary::Mod if b == 0 => return Err(zero("integer modulo by zero")),
        Binary::Mod => {
            let r = a.checked_rem(b).ok_or_else(large)?;
            Value::Int(if r != 0 && (r < 0) != (b < 0) { r + b } else { r })
        }
        Binary::Pow => match u32::try_from(b) {
            Ok(e) => Value::Int(a.checked_pow(e).ok_or_else(large)?),
            Err(_) if b < 0 && a == 0 => return Err(zero("0.0 cannot be raised to a negative power")),
            Err(_) if b < 0 => Value::Float((a as f64).powf(b as f64)),
            Err(_) => return Err(large()),
        },
    })
}

fn floats(op: Binary, a: f64, b: f64) -> Out {
    Ok(Value::Float(match op {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div if b == 0.0 => return Err(Error::other("float division by zero")),
        Binary::Div => a / b,
        Binary::FloorDiv | Binary::Mod if b == 0.0 => return Err(Error::other("float floor division by zero")),
        Binary::FloorDiv => (a / b).floor(),
        Binary::Mod => {
            let r = a % b;
            if r != 0.0 && (r < 0.0) != (b < 0.0) { r + b } else { r }
        }
        Binary::Pow => a.powf(b),
    }))
}

/// An operator of two values.
pub(crate) fn binary(op: Binary, a: &Value, b: &Value) -> Out {
    a.defined()?;
    b.defined()?;
    if let (Some(x), Some(y)) = (a.as_int(), b.as_int()) {
        return ints(op, x, y);
    }
    if let (Some(x), Some(y)) = (a.as_float(), b.as_float()) {
        return floats(op, x, y);
    }
    match (op, a, b) {
        (Binary::Add, Value::Str(x, k), Value::Str(y, l)) => {
            if x.len() + y.len() > MOST {
                return Err(Error::other("the result is too long"));
            }
            let kind = if *k == Kind::Outside || *l == Kind::Outside { Kind::Plain } else { *k };
            return Ok(Value::Str(format!("{x}{y}").into(), kind));
        }
        (Binary::Add, Value::Str(..), _) => {
            return Err(Error::typed(format!("can only concatenate str (not \"{}\") to str", b.type_name())));
        }
        (Binary::Add, Value::List(x), Value::List(y)) => {
            let mut out = lock(x).clone();
            let more = lock(y).clone();
            if (out.len() + more.len()) * 32 > MOST {
                return Err(Error::other("the result is too long"));
            }
            out.extend(more);
            return Ok(Value::list(out));
        }
        (Binary::Add, Value::List(_), _) => {
            return Err(Error::typed(format!("can only concatenate list (not \"{}\") to list", b.type_name())));
        }
        (Binary::Add, Value::Tuple(x), Value::Tuple(y)) => {
            return Ok(Value::tuple(x.iter().chain(y.iter()).cloned().collect()));
        }
        (Binary::Mul, x, n) if n.as_int().is_some() => {
            if let Some(out) = repeat(x, n.as_int().unwrap_or(0)) {
                return out;
            }
        }
        (Binary::Mul, n, x) if n.as_int().is_some() => {
            if let Some(out) = repeat(x, n.as_int().unwrap_or(0)) {
                return out;
            }
        }
        (Binary::Mod, Value::Str(s, _), args) => {
            return crate::render::format::percent(s, args).map(Value::from);
        }
        (_, Value::Object(x), y) => {
            if let Some(out) = crate::render::dates::operate(op, x, y) {
                return out;
            }
        }
        _ => {}
    }
    let (a, b) = (a.type_name(), b.type_name());
    Err(Error::typed(format!("unsupported operand type(s) for {}: '{a}' and '{b}'", op.sign())))
}

pub(crate) fn negate(v: &Value) -> Out {
    match v.defined()? {
        Value::Float(f) => Ok(Value::Float(-f)),
        other => match other.as_int() {
            Some(i) => Ok(Value::Int(i.checked_neg().ok_or_else(large)?)),
            None => Err(Error::typed(format!("bad operand type for unary -: '{}'", other.type_name()))),
        },
    }
}

/// `needle in hay`.
pub(crate) fn contains(hay: &Value, needle: &Value) -> Result<bool, Error> {
    needle.defined()?;
    match hay.defined()? {
        Value::Str(s, _) => match needle.as_str() {
            Some(n) => Ok(s.contains(n)),
            None => {
                Err(Error::typed(format!("'in <string>' requires string as left operand, not {}", needle.type_name())))
            }
        },
        Value::Dict(d) => {
            let key = Key::new(needle.clone())?;
            Ok(lock(d).contains_key(&key))
        }
        Value::Object(o) if o.is_mapping() => Ok(o.get_value(needle).is_some()),
        Value::None | Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
            Err(Error::typed(format!("argument of type '{}' is not iterable", hay.type_name())))
        }
        other => Ok(other.iter()?.iter().any(|v| equal(v, needle))),
    }
}

fn place(index: i128, len: usize) -> Option<usize> {
    let len = len as i128;
    let at = if index < 0 { index + len } else { index };
    (0..len).contains(&at).then_some(at as usize)
}

/// `value[key]` of Jinja: the item, then the attribute.
pub(crate) fn item(value: &Value, key: &Value) -> Out {
    if value.is_undefined() {
        return Ok(value.clone());
    }
    key.defined()?;
    let found = match value {
        Value::Dict(d) => Key::new(key.clone()).ok().and_then(|k| lock(d).get(&k).cloned()),
        Value::Object(o) => match (o.get_value(key), key.as_int()) {
            (Some(v), _) => Some(v),
            (None, Some(i)) if !o.is_mapping() => {
                o.iter().and_then(|items| place(i, items.len()).and_then(|at| items.get(at).cloned()))
            }
            _ => None,
        },
        _ => match key.as_int() {
            Some(i) => match value {
                Value::Str(s, _) => {
                    place(i, s.chars().count()).and_then(|at| s.chars().nth(at)).map(|c| Value::from(c.to_string()))
                }
                Value::List(l) => {
                    let items = lock(l);
                    place(i, items.len()).and_then(|at| items.get(at).cloned())
                }
                Value::Tuple(t) => place(i, t.len()).and_then(|at| t.get(at).cloned()),
                Value::Bytes(b) => place(i, b.len()).and_then(|at| b.get(at)).map(|b| Value::Int(i128::from(*b))),
                _ => None,
            },
            None => None,
        },
    };
    if let Some(found) = found {
        return Ok(found);
    }
    match (value, key) {
        (Value::Object(o), Value::Str(name, _)) => Ok(o.missing(name)),
        (_, Value::Str(name, _)) => Ok(value.lacks(name)),
        (Value::Dict(_), _) => Ok(value.lacks(&super::text(key))),
        _ => {
            let what = super::repr(key);
            Ok(Value::undefined(format!("{} object has no element {what}", value.type_name()), what))
        }
    }
}

/// `value[from:to:step]`.
pub(crate) fn slice(value: &Value, from: Option<i128>, to: Option<i128>, step: Option<i128>) -> Out {
    let step = step.unwrap_or(1);
    if step == 0 {
        return Err(Error::other("slice step cannot be zero"));
    }
    let items = match value.defined()? {
        Value::Dict(_) => return Err(Error::typed("unhashable type: 'slice'")),
        other => match other {
            Value::Str(..) | Value::List(_) | Value::Tuple(_) | Value::Bytes(_) | Value::Object(_) => other.iter()?,
            _ => return Err(Error::typed(format!("'{}' object is not subscriptable", value.type_name()))),
        },
    };
    let len = items.len() as i128;
    let clamp = |v: Option<i128>, default: i128| {
        let (low, high) = if step < 0 { (-1, len - 1) } else { (0, len) };
        v.map_or(default, |v| if v < 0 { v.saturating_add(len) } else { v }.clamp(low, high))
    };
    let (start, end) = if step < 0 { (clamp(from, len - 1), clamp(to, -1)) } else { (clamp(from, 0), clamp(to, len)) };
    let mut out = Vec::new();
    let mut at = start;
    while if step < 0 { at > end } else { at < end } {
        if let Some(v) = usize::try_from(at).ok().and_then(|i| items.get(i)) {
            out.push(v.clone());
        }
        at = at.saturating_add(step);
    }
    Ok(match value {
        Value::Str(_, kind) => Value::Str(out.iter().map(super::text).collect::<String>().into(), *kind),
        Value::Tuple(_) => Value::tuple(out),
        Value::Bytes(_) => {
            Value::Bytes(out.iter().filter_map(|v| v.as_int().and_then(|i| u8::try_from(i).ok())).collect())
        }
        _ => Value::list(out),
    })
}
