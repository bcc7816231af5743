//! Base 64 and the encodings of addresses.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Filter, input};
use crate::render::error::Error;
use crate::render::methods::{decode, encode};
use crate::render::value::{Value, text};

pub(super) fn get(name: &str) -> Option<Filter> {
    Some(match name {
        "b64encode" => |_, v, mut a| {
            let encoding = a.text("encoding")?.unwrap_or_else(|| "utf-8".into());
            Ok(Value::from(STANDARD.encode(encode(&input(&v)?, &encoding)?)))
        },
        "b64decode" => |_, v, mut a| {
            let encoding = a.text("encoding")?.unwrap_or_else(|| "utf-8".into());
            Ok(Value::from(decode(&from_base64(&input(&v)?)?, &encoding, "strict")?))
        },
        "urlencode" => |_, v, _| {
            let pairs = |all: Vec<(Value, Value)>| {
                let one = |(k, v): (Value, Value)| {
                    format!("{}={}", percent(&text(&k), "", true), percent(&text(&v), "", true))
                };
                Value::from(all.into_iter().map(one).collect::<Vec<_>>().join("&"))
            };
            match v.defined()? {
                Value::Str(s, _) => Ok(Value::from(percent(s, "/", false))),
                other => match other.entries() {
                    Some(all) => Ok(pairs(all)),
                    None if other.is_sequence() => {
                        let mut all = Vec::new();
                        for pair in other.iter()? {
                            let mut pair = pair.iter()?.into_iter();
                            if let (Some(k), Some(v)) = (pair.next(), pair.next()) {
                                all.push((k, v));
                            }
                        }
                        Ok(pairs(all))
                    }
                    None => Ok(Value::from(percent(&input(other)?, "/", false))),
                },
            }
        },
        "urldecode" => |_, v, _| Ok(Value::from(unpercent(&input(&v)?))),
        _ => return None,
    })
}

/// Base 64, where characters of no meaning are skipped, as Python does.
fn from_base64(s: &str) -> Result<Vec<u8>, Error> {
    let digits: String = s.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '/')).collect();
    let padded = s.contains('=');
    if digits.len() % 4 == 1 {
        return Err(Error::other(format!(
            "Invalid base64-encoded string: number of data characters ({}) cannot be 1 more than a multiple of 4",
            digits.len()
        )));
    }
    if !digits.len().is_multiple_of(4) && !padded {
        return Err(Error::other("Incorrect padding"));
    }
    let missing = (4 - digits.len() % 4) % 4;
    let whole = format!("{digits}{}", "=".repeat(missing));
    let engine = base64::engine::GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        base64::engine::GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
    );
    engine.decode(whole).map_err(|e| Error::other(format!("Incorrect padding: {e}")))
}

fn percent(s: &str, safe: &str, plus: bool) -> String {
    let mut out = String::new();
    for b in s.bytes() {
        let c = char::from(b);
        if b.is_ascii_alphanumeric() || "_.-~".contains(c) || b.is_ascii() && safe.contains(c) {
            out.push(c);
        } else if plus && b == b' ' {
            out.push('+');
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

fn unpercent(s: &str) -> String {
    let mut out = Vec::new();
    let bytes = s.as_bytes();
    let mut i = 0;
    while let Some(b) = bytes.get(i) {
        let hex = s.get(i + 1..i + 3).filter(|h| *b == b'%' && h.bytes().all(|b| b.is_ascii_hexdigit()));
        match (hex.and_then(|h| u8::from_str_radix(h, 16).ok()), b) {
            (Some(code), _) => {
                out.push(code);
                i += 2;
            }
            (None, b'+') => out.push(b' '),
            (None, b) => out.push(*b),
        }
        i += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}
