//! Sizes for people.

use super::{Filter, input};
use crate::render::error::{Error, Out};
use crate::render::eval::State;
use crate::render::value::{Args, Value};

const UNITS: [(char, f64); 9] = [
    ('Y', (1u128 << 80) as f64),
    ('Z', (1u128 << 70) as f64),
    ('E', (1u128 << 60) as f64),
    ('P', (1u128 << 50) as f64),
    ('T', (1u128 << 40) as f64),
    ('G', (1u128 << 30) as f64),
    ('M', (1u128 << 20) as f64),
    ('K', (1u128 << 10) as f64),
    ('B', 1.0),
];

pub(super) fn get(name: &str) -> Option<Filter> {
    Some(match name {
        "human_readable" => readable,
        "human_to_bytes" => to_bytes,
        "filesizeformat" => size,
        _ => return None,
    })
}

fn readable(_: &mut State, v: Value, mut args: Args) -> Out {
    let bits = args.flag("isbits", false)?;
    let wanted = args.text("unit")?.and_then(|u| u.chars().next()).map(|c| c.to_ascii_uppercase());
    let Some(size) = v.defined()?.as_float() else {
        return Err(Error::typed(format!(
            "human_readable() failed on bad input: '>=' not supported between instances of '{}' and 'int'",
            v.type_name()
        )));
    };
    let base = if bits { "bits" } else { "Bytes" };
    let (letter, limit) =
        UNITS.into_iter().find(|(letter, limit)| wanted.map_or(size >= *limit, |w| w == *letter)).unwrap_or(('B', 1.0));
    let unit = if limit == 1.0 { base.to_owned() } else { format!("{letter}{}", if bits { "b" } else { "B" }) };
    Ok(Value::from(format!("{:.2} {unit}", size / limit)))
}

fn to_bytes(_: &mut State, v: Value, mut args: Args) -> Out {
    let default = args.text("default_unit")?;
    let bits = args.flag("isbits", false)?;
    let source = input(&v)?;
    let cannot = || Error::other(format!("human_to_bytes() can't interpret following string: {source}"));
    let text = source.trim();
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| cannot())?;
    let unit = unit.trim();
    let unit = if unit.is_empty() { default.as_deref().unwrap_or("") } else { unit };
    let Some(first) = unit.chars().next() else { return Ok(Value::Int(number.round_ties_even() as i128)) };
    let upper = first.to_ascii_uppercase();
    let Some((_, limit)) = UNITS.into_iter().find(|(l, _)| *l == upper) else { return Err(cannot()) };
    let rest = unit.get(first.len_utf8()..).unwrap_or("");
    let lower = unit.to_ascii_lowercase();
    let good = match (upper, rest) {
        ('B', _) => {
            if bits {
                matches!(lower.as_str(), "b" | "bit" | "bits")
            } else {
                matches!(lower.as_str(), "b" | "byte" | "bytes")
            }
        }
        (_, "") => true,
        (_, "b") => bits,
        (_, "B") => !bits,
        (_, _) => {
            let names = ["kilo", "mega", "giga", "tera", "peta", "exa", "zetta", "yotta"];
            let stem = lower.strip_suffix(if bits { "bits" } else { "bytes" }).or(lower.strip_suffix(if bits {
                "bit"
            } else {
                "byte"
            }));
            stem.is_some_and(|s| names.contains(&s))
        }
    };
    if !good {
        let kind = if bits { "bit" } else { "byte" };
        return Err(Error::other(format!(
            "human_to_bytes() failed to convert {source}. Value is not a valid string ({kind} identifier)"
        )));
    }
    Ok(Value::Int((number * limit).round_ties_even() as i128))
}

fn size(_: &mut State, v: Value, mut args: Args) -> Out {
    let binary = args.flag("binary", false)?;
    let bytes = match v.defined()? {
        Value::Str(s, _) => crate::render::value::parse_float(s).ok_or_else(|| {
            Error::other(format!("could not convert string to float: {}", crate::render::value::repr(&v)))
        })?,
        other => other.as_float().ok_or_else(|| {
            Error::typed(format!("float() argument must be a string or a real number, not '{}'", v.type_name()))
        })?,
    };
    let base: f64 = if binary { 1024.0 } else { 1000.0 };
    let names = if binary {
        ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"]
    } else {
        ["kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"]
    };
    if bytes == 1.0 {
        return Ok(Value::from("1 Byte"));
    }
    if bytes < base {
        return Ok(Value::from(format!("{} Bytes", bytes as i128)));
    }
    let mut unit = base;
    for name in names {
        unit *= base;
        if bytes < unit || name.starts_with('Y') {
            return Ok(Value::from(format!("{:.1} {name}", base * bytes / unit)));
        }
    }
    Ok(Value::None)
}
