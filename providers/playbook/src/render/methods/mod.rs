//! The methods of Python's own types.

mod containers;
pub(crate) mod strings;

use super::error::{Error, Out};
use super::value::{Args, Value, native_pure};

/// Whether a value of Python's own types has a method.
pub(crate) fn has(value: &Value, name: &str) -> bool {
    match value {
        Value::Str(..) => strings::NAMES.contains(&name),
        Value::List(_) => containers::LIST.contains(&name),
        Value::Tuple(_) => matches!(name, "count" | "index"),
        Value::Dict(_) => containers::DICT.contains(&name),
        Value::Int(_) | Value::Bool(_) => matches!(name, "bit_length" | "conjugate" | "is_integer"),
        Value::Float(_) => matches!(name, "is_integer" | "conjugate" | "hex"),
        Value::Bytes(_) => matches!(name, "decode" | "hex"),
        Value::Object(o) if o.is_mapping() => {
            matches!(name, "get" | "keys" | "values" | "items") && o.get_value(&Value::from(name)).is_none()
        }
        _ => false,
    }
}

/// The method as a value.
pub(crate) fn bound(value: &Value, name: &str) -> Value {
    let (value, name) = (value.clone(), name.to_owned());
    native_pure("method", move |args| call(&value, &name, args))
}

/// Calls a method that there is.
pub(crate) fn call(value: &Value, name: &str, args: Args) -> Out {
    match value {
        Value::Str(s, kind) => strings::call(s, *kind, name, args),
        Value::List(l) => containers::list(l, name, args),
        Value::Tuple(t) => containers::sequence(t, name, args),
        Value::Dict(d) => containers::dict(d, name, args),
        Value::Object(_) => containers::mapping(value, name, args),
        Value::Bytes(b) => bytes(b, name, args),
        other => number(other, name),
    }
}

fn number(value: &Value, name: &str) -> Out {
    Ok(match (name, value) {
        ("bit_length", v) => Value::Int(i128::from(128 - v.as_int().unwrap_or(0).unsigned_abs().leading_zeros())),
        ("is_integer", Value::Float(f)) => Value::Bool(f.fract() == 0.0),
        ("is_integer", _) => Value::Bool(true),
        ("conjugate", v) => v.clone(),
        (name, v) => return v.lacks(name).defined().cloned(),
    })
}

fn bytes(b: &[u8], name: &str, mut args: Args) -> Out {
    match name {
        "hex" => Ok(Value::from(hex::encode(b))),
        _ => {
            let encoding = args.text("encoding")?.unwrap_or_else(|| "utf-8".into());
            decode(b, &encoding, &args.text("errors")?.unwrap_or_else(|| "strict".into())).map(Value::from)
        }
    }
}

/// Bytes as text.
pub(crate) fn decode(b: &[u8], encoding: &str, errors: &str) -> Result<String, Error> {
    let wide = |big: bool, b: &[u8]| {
        let units: Vec<u16> = b
            .chunks(2)
            .map(|c| match c {
                [a, b] if big => u16::from_be_bytes([*a, *b]),
                [a, b] => u16::from_le_bytes([*a, *b]),
                _ => 0xfffd,
            })
            .collect();
        String::from_utf16_lossy(&units)
    };
    let name = encoding.to_ascii_lowercase().replace('_', "-");
    Ok(match name.as_str() {
        "utf-8" | "utf8" | "ascii" | "us-ascii" => match std::str::from_utf8(b) {
            Ok(s) => s.to_owned(),
            Err(_) if errors != "strict" => String::from_utf8_lossy(b).into_owned(),
            Err(e) => {
                let at = e.valid_up_to();
                let byte = b.get(at).copied().unwrap_or(0);
                return Err(Error::other(format!(
                    "'utf-8' codec can't decode byte 0x{byte:02x} in position {at}: invalid start byte"
                )));
            }
        },
        "latin-1" | "latin1" | "iso-8859-1" => b.iter().map(|b| char::from(*b)).collect(),
        "utf-16-le" | "utf-16le" => wide(false, b),
        "utf-16-be" | "utf-16be" => wide(true, b),
        "utf-16" | "utf16" => match b {
            [0xfe, 0xff, rest @ ..] => wide(true, rest),
            [0xff, 0xfe, rest @ ..] => wide(false, rest),
            _ => wide(false, b),
        },
        _ => return Err(Error::other(format!("unknown encoding: {encoding}"))),
    })
}

/// Text as bytes.
pub(crate) fn encode(s: &str, encoding: &str) -> Result<Vec<u8>, Error> {
    let name = encoding.to_ascii_lowercase().replace('_', "-");
    Ok(match name.as_str() {
        "utf-8" | "utf8" => s.as_bytes().to_vec(),
        "ascii" | "us-ascii" | "latin-1" | "latin1" | "iso-8859-1" => {
            let most = if name.contains("ascii") { 0x7f } else { 0xff };
            let mut out = Vec::new();
            for (i, c) in s.chars().enumerate() {
                match u8::try_from(c as u32) {
                    Ok(b) if b <= most => out.push(b),
                    _ => {
                        return Err(Error::other(format!(
                            "'{name}' codec can't encode character in position {i}: ordinal not in range({})",
                            u32::from(most) + 1
                        )));
                    }
                }
            }
            out
        }
        "utf-16-le" | "utf-16le" => s.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        "utf-16-be" | "utf-16be" => s.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        "utf-16" | "utf16" => [0xff, 0xfe].into_iter().chain(s.encode_utf16().flat_map(u16::to_le_bytes)).collect(),
        _ => return Err(Error::other(format!("unknown encoding: {encoding}"))),
    })
}
