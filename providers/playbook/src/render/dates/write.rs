//! `strftime` in the C locale.

use super::DateTime;
use crate::render::error::Error;

pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub(super) const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// `+0100`, or `+01:00`.
pub(super) fn zone(offset: i32, colon: bool) -> String {
    let (sign, o) = if offset < 0 { ('-', -offset) } else { ('+', offset) };
    format!("{sign}{:02}{}{:02}", o / 3600, if colon { ":" } else { "" }, o / 60 % 60)
}

/// The text of a moment.
pub(crate) fn format(shape: &str, time: &DateTime) -> Result<String, Error> {
    let c = time.civil;
    let month = MONTHS.get(c.month as usize - 1).copied().unwrap_or_default();
    let day = DAYS.get(c.weekday() as usize).copied().unwrap_or_default();
    let short = |s: &str| s.get(..3).unwrap_or(s).to_owned();
    let twelve = if c.hour.is_multiple_of(12) { 12 } else { c.hour % 12 };
    let sunday = (c.weekday() + 1) % 7;
    let mut out = String::new();
    let mut chars = shape.chars();
    while let Some(ch) = chars.next() {
        if ch != '%' {
            out.push(ch);
            continue;
        }
        let mut next = chars.next();
        let bare = matches!(next, Some('-'));
        let flagged = bare || matches!(next, Some('_' | '0' | '^' | '#'));
        let flag = next;
        if flagged {
            next = chars.next();
        }
        let Some(code) = next else {
            out.push('%');
            break;
        };
        let two = |n: u32| format!("{n:02}");
        let part = match code {
            'Y' => format!("{}", c.year),
            'C' => format!("{:02}", c.year / 100),
            'y' => format!("{:02}", c.year % 100),
            'm' => two(c.month),
            'd' => two(c.day),
            'e' => format!("{:2}", c.day),
            'H' => two(c.hour),
            'k' => format!("{:2}", c.hour),
            'I' => two(twelve),
            'l' => format!("{twelve:2}"),
            'M' => two(c.minute),
            'S' => two(c.second),
            'f' => format!("{:06}", time.micro),
            'p' => (if c.hour < 12 { "AM" } else { "PM" }).into(),
            'P' => (if c.hour < 12 { "am" } else { "pm" }).into(),
            'j' => format!("{:03}", c.yearday()),
            'a' => short(day),
            'A' => day.into(),
            'b' | 'h' => short(month),
            'B' => month.into(),
            'u' => (c.weekday() + 1).to_string(),
            'w' => sunday.to_string(),
            'U' => two((c.yearday() + 6 - sunday) / 7),
            'W' => two((c.yearday() + 6 - c.weekday()) / 7),
            'V' => two(c.iso_week().1),
            'G' => c.iso_week().0.to_string(),
            'g' => format!("{:02}", c.iso_week().0 % 100),
            's' => {
                (c.seconds() - i64::from(time.offset.unwrap_or_else(|| super::local_offset(c.seconds())))).to_string()
            }
            'z' => time.offset.map(|o| zone(o, false)).unwrap_or_default(),
            'Z' => match time.offset {
                Some(0) => "UTC".into(),
                Some(o) => format!("UTC{}", zone(o, true)),
                None => String::new(),
            },
            'D' | 'x' => format!("{:02}/{:02}/{:02}", c.month, c.day, c.year % 100),
            'F' => format!("{}-{:02}-{:02}", c.year, c.month, c.day),
            'T' | 'X' => format!("{:02}:{:02}:{:02}", c.hour, c.minute, c.second),
            'R' => format!("{:02}:{:02}", c.hour, c.minute),
            'r' => format!("{twelve:02}:{:02}:{:02} {}", c.minute, c.second, if c.hour < 12 { "AM" } else { "PM" }),
            'c' => format!(
                "{} {} {:2} {:02}:{:02}:{:02} {}",
                short(day),
                short(month),
                c.day,
                c.hour,
                c.minute,
                c.second,
                c.year
            ),
            'n' => "\n".into(),
            't' => "\t".into(),
            '%' => "%".into(),
            other => format!("%{other}"),
        };
        let trimmed = part.trim_start_matches(['0', ' ']);
        out.push_str(&match flag {
            Some('-') if flagged => (if trimmed.is_empty() { "0" } else { trimmed }).to_owned(),
            Some('_') if flagged => format!("{trimmed:>width$}", width = part.len()),
            Some('^') if flagged => part.to_uppercase(),
            _ => part,
        });
    }
    Ok(out)
}
