//! `strptime`.

use super::write::{DAYS, MONTHS};
use super::{Civil, DateTime};
use crate::render::error::Error;

/// `+0100`, `+01:00` or `Z` in seconds.
pub(super) fn zone(s: &str) -> Option<i32> {
    if s == "Z" {
        return Some(0);
    }
    let sign = match s.chars().next()? {
        '+' => 1,
        '-' => -1,
        _ => return None,
    };
    let digits = s.get(1..)?.replace(':', "");
    let hours: i32 = digits.get(..2)?.parse().ok()?;
    let minutes: i32 = digits.get(2..4)?.parse().ok()?;
    Some(sign * (hours * 3600 + minutes * 60))
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn number(&mut self, most: usize) -> Option<i64> {
        let end =
            self.rest.char_indices().take(most).take_while(|(_, c)| c.is_ascii_digit()).last().map(|(i, _)| i + 1)?;
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        digits.parse().ok()
    }

    fn name(&mut self, names: &[&str]) -> Option<usize> {
        let lower = self.rest.to_ascii_lowercase();
        let full = names.iter().position(|n| lower.starts_with(&n.to_ascii_lowercase()));
        let (at, length) = match full {
            Some(at) => (at, names.get(at)?.len()),
            None => {
                let at = names
                    .iter()
                    .position(|n| n.get(..3).is_some_and(|s| lower.starts_with(&s.to_ascii_lowercase())))?;
                (at, 3)
            }
        };
        self.rest = self.rest.get(length..)?;
        Some(at)
    }

    fn literal(&mut self, c: char) -> Option<()> {
        self.rest = self.rest.strip_prefix(c)?;
        Some(())
    }
}

/// The moment that a text says.
pub(crate) fn parse(text: &str, shape: &str) -> Result<DateTime, Error> {
    let mismatch = || {
        let (t, s) = (crate::render::value::repr(&text.into()), crate::render::value::repr(&shape.into()));
        Error::other(format!("time data {t} does not match format {s}"))
    };
    let shape = shape
        .replace("%D", "%m/%d/%y")
        .replace("%F", "%Y-%m-%d")
        .replace("%T", "%H:%M:%S")
        .replace("%R", "%H:%M")
        .replace("%x", "%m/%d/%y")
        .replace("%X", "%H:%M:%S")
        .replace("%c", "%a %b %d %H:%M:%S %Y");
    let mut r = Reader { rest: text };
    let mut c = Civil { year: 1900, month: 1, day: 1, hour: 0, minute: 0, second: 0 };
    let (mut micro, mut offset, mut afternoon, mut yearday, mut epoch) = (0, None, None, None, None);
    let mut chars = shape.chars();
    while let Some(ch) = chars.next() {
        if ch.is_whitespace() {
            r.rest = r.rest.trim_start();
            continue;
        }
        if ch != '%' {
            r.literal(ch).ok_or_else(mismatch)?;
            continue;
        }
        let code = chars.next().ok_or_else(|| Error::other("stray % in format"))?;
        let small = |n: Option<i64>| n.and_then(|n| u32::try_from(n).ok()).ok_or_else(mismatch);
        match code {
            'Y' => c.year = r.number(4).ok_or_else(mismatch)?,
            'y' => {
                let n = r.number(2).ok_or_else(mismatch)?;
                c.year = if n < 69 { 2000 + n } else { 1900 + n };
            }
            'm' => c.month = small(r.number(2))?,
            'd' | 'e' => c.day = small(r.number(2))?,
            'H' | 'I' => c.hour = small(r.number(2))?,
            'M' => c.minute = small(r.number(2))?,
            'S' => c.second = small(r.number(2))?,
            'j' => yearday = Some(small(r.number(3))?),
            'f' => {
                let before = r.rest.len();
                let n = small(r.number(6))?;
                let digits = u32::try_from(before - r.rest.len()).unwrap_or(6);
                micro = n * 10u32.pow(6u32.saturating_sub(digits));
            }
            's' => epoch = Some(r.number(12).ok_or_else(mismatch)?),
            'b' | 'B' | 'h' => c.month = r.name(&MONTHS).ok_or_else(mismatch)? as u32 + 1,
            'a' | 'A' => {
                r.name(&DAYS).ok_or_else(mismatch)?;
            }
            'p' => {
                afternoon = Some(
                    r.name(&["AM ", "PM "])
                        .map(|i| i == 1)
                        .or_else(|| {
                            let lower = r.rest.get(..2)?.to_ascii_lowercase();
                            let yes = match lower.as_str() {
                                "am" => false,
                                "pm" => true,
                                _ => return None,
                            };
                            r.rest = r.rest.get(2..)?;
                            Some(yes)
                        })
                        .ok_or_else(mismatch)?,
                )
            }
            'z' => {
                let end = r.rest.find(|c: char| c.is_whitespace()).unwrap_or(r.rest.len());
                let (z, rest) = r.rest.split_at(end);
                offset = Some(zone(z).ok_or_else(mismatch)?);
                r.rest = rest;
            }
            'Z' => {
                let end = r.rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(r.rest.len());
                r.rest = r.rest.get(end..).unwrap_or("");
            }
            '%' => r.literal('%').ok_or_else(mismatch)?,
            other => {
                return Err(Error::other(format!("'{other}' is a bad directive in format '{shape}'")));
            }
        }
    }
    if !r.rest.is_empty() {
        return Err(Error::other(format!("unconverted data remains: {}", r.rest)));
    }
    if let Some(pm) = afternoon {
        c.hour = c.hour % 12 + if pm { 12 } else { 0 };
    }
    let mut c = c.checked().ok_or_else(mismatch)?;
    if let Some(day) = yearday {
        let first = Civil { month: 1, day: 1, ..c };
        c = Civil::new(first.seconds() + (i64::from(day) - 1) * 86_400).ok_or_else(mismatch)?;
    }
    if let Some(seconds) = epoch {
        c = Civil::new(seconds).ok_or_else(mismatch)?;
    }
    Ok(DateTime { civil: c, micro, offset })
}
