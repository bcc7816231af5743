//! Filters of numbers.

use super::{Filter, input};
use crate::render::error::{Error, Out};
use crate::render::eval::State;
use crate::render::value::{Args, Value, parse_float, parse_int, repr};

pub(super) fn get(name: &str) -> Option<Filter> {
    Some(match name {
        "abs" => |_, v, _| match v.defined()? {
            Value::Float(f) => Ok(Value::Float(f.abs())),
            other => match other.as_int() {
                Some(i) => Ok(Value::Int(i.checked_abs().unwrap_or(i128::MAX))),
                None => Err(Error::typed(format!("bad operand type for abs(): '{}'", v.type_name()))),
            },
        },
        "int" => int,
        "float" => |_, v, mut a| {
            let default = a.take("default").unwrap_or(Value::Float(0.0));
            Ok(match (v.as_float(), v.defined()?.as_str()) {
                (Some(f), _) => Value::Float(f),
                (None, Some(s)) => parse_float(s).map_or(default, Value::Float),
                _ => default,
            })
        },
        "round" => round,
        "log" => |_, v, mut a| {
            let x = number("log", &v)?;
            let base = match a.take("base") {
                Some(b) => number("log", &b)?,
                None => std::f64::consts::E,
            };
            if x <= 0.0 || base <= 0.0 {
                return Err(Error::other("math domain error"));
            }
            Ok(Value::Float(if base == 10.0 {
                x.log10()
            } else if base == std::f64::consts::E {
                x.ln()
            } else {
                x.ln() / base.ln()
            }))
        },
        "pow" => |_, v, mut a| {
            let (x, y) = (number("pow", &v)?, a.need("y")?);
            Ok(Value::Float(x.powf(number("pow", &y)?)))
        },
        "root" => |_, v, mut a| {
            let x = number("root", &v)?;
            let base = match a.take("base") {
                Some(b) => number("root", &b)?,
                None => 2.0,
            };
            if base == 2.0 && x < 0.0 {
                return Err(Error::typed("root() can only be used on numbers: math domain error"));
            }
            Ok(Value::Float(if base == 2.0 { x.sqrt() } else { x.powf(1.0 / base) }))
        },
        "bool" => |_, v, _| {
            v.defined()?;
            Ok(match &v {
                Value::None | Value::Bool(_) => v,
                other => {
                    let s = input(other)?.to_lowercase();
                    Value::Bool(matches!(s.as_str(), "yes" | "on" | "1" | "true") || other.as_float() == Some(1.0))
                }
            })
        },
        _ => return None,
    })
}

fn number(who: &str, v: &Value) -> Result<f64, Error> {
    v.defined()?.as_float().ok_or_else(|| {
        Error::typed(format!("{who}() can only be used on numbers: must be real number, not {}", v.type_name()))
    })
}

fn int(_: &mut State, v: Value, mut args: Args) -> Out {
    let default = args.take("default").unwrap_or(Value::Int(0));
    let base = u32::try_from(args.int("base", 10)?).unwrap_or(10);
    Ok(match (v.defined()?, v.as_int()) {
        (_, Some(i)) => Value::Int(i),
        (Value::Float(f), _) if f.is_finite() && f.abs() < 1e36 => Value::Int(*f as i128),
        (Value::Str(s, _), _) => match parse_int(s, base) {
            Some(i) => Value::Int(i),
            None => match parse_float(s) {
                Some(f) if f.is_finite() && f.abs() < 1e36 => Value::Int(f as i128),
                _ => default,
            },
        },
        _ => default,
    })
}

/// Rounds to even at the last digit, as Python does, on the exact decimal value.
fn round_to(f: f64, digits: i128) -> f64 {
    if digits >= 0 {
        let digits = usize::try_from(digits.min(300)).unwrap_or(0);
        return format!("{f:.digits$}").parse().unwrap_or(f);
    }
    let scale = 10f64.powi(i32::try_from((-digits).min(300)).unwrap_or(0));
    (f / scale).round_ties_even() * scale
}

fn round(_: &mut State, v: Value, mut args: Args) -> Out {
    let digits = args.int("precision", 0)?;
    let method = args.text("method")?.unwrap_or_else(|| "common".into());
    let Some(f) = v.defined()?.as_float() else {
        return Err(Error::typed(format!("type {} doesn't define __round__ method", v.type_name())));
    };
    let scale = 10f64.powi(i32::try_from(digits.clamp(-300, 300)).unwrap_or(0));
    match method.as_str() {
        "common" => Ok(match &v {
            Value::Float(_) => Value::Float(round_to(f, digits)),
            _ if digits < 0 => {
                let unit = 10i128.checked_pow(u32::try_from(-digits).unwrap_or(0)).unwrap_or(i128::MAX);
                let i = v.as_int().unwrap_or(0);
                let (down, rest) = (i.div_euclid(unit) * unit, i.rem_euclid(unit));
                let up = rest * 2 > unit || rest * 2 == unit && down.div_euclid(unit) % 2 != 0;
                Value::Int(if up { down + unit } else { down })
            }
            _ => Value::Int(v.as_int().unwrap_or(0)),
        }),
        "ceil" => Ok(Value::Float((f * scale).ceil() / scale)),
        "floor" => Ok(Value::Float((f * scale).floor() / scale)),
        other => Err(Error::other(format!("method must be common, ceil or floor, not {}", repr(&other.into())))),
    }
}
