//! `modification_time` and `access_time` of `file`.

use super::attrs::Seen;

/// What a time shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Time {
    Preserve,
    Now,
    /// Year, month, day, hour, minute, second of the target's own clock.
    At([u32; 6]),
}

impl Time {
    /// Reads an option's value by its format.
    pub(super) fn read(text: Option<&str>, format: &str, default: Self) -> Result<Self, String> {
        match text {
            None => Ok(default),
            Some("preserve") => Ok(Self::Preserve),
            Some("now") => Ok(Self::Now),
            Some(text) => parse(text, format)
                .map(Self::At)
                .map_err(|why| format!("Error while obtaining timestamp for time {text} using format {format}: {why}")),
        }
    }

    /// Whether a file has it already; `key` is that of the times as text, in the target's own time.
    pub(super) fn holds(&self, seen: &Seen, key: &str) -> bool {
        match self {
            Self::Preserve => true,
            Self::Now => false,
            Self::At([y, mo, d, h, mi, s]) => {
                let (whole, rest) = seen.get(key).split_at_checked(19).unwrap_or_default();
                whole == format!("{y:04}-{mo:02}-{d:02} {h:02}:{mi:02}:{s:02}")
                    && rest.trim_start_matches(['.', '0']).starts_with([' ', '+', '-'])
            }
        }
    }

    /// The option of `touch`; `flag` is `-m` or `-a`.
    pub(super) fn touch(&self, flag: &str) -> Option<String> {
        match self {
            Self::Preserve => None,
            Self::Now => Some(format!("touch -c {flag}")),
            Self::At([y, mo, d, h, mi, s]) => {
                Some(format!("touch -c {flag} -t {y:04}{mo:02}{d:02}{h:02}{mi:02}.{s:02}"))
            }
        }
    }
}

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// Reads a time as C's `strptime`, for the directives that name a moment.
fn parse(text: &str, format: &str) -> Result<[u32; 6], String> {
    let wrong = || format!("time data '{text}' does not match format '{format}'");
    let mut at = [1900, 1, 1, 0, 0, 0];
    let mut rest = text;
    let mut afternoon = None;
    let long =
        format.replace("%T", "%H:%M:%S").replace("%F", "%Y-%m-%d").replace("%D", "%m/%d/%y").replace("%R", "%H:%M");
    let mut chars = long.chars();
    while let Some(c) = chars.next() {
        if c.is_whitespace() {
            rest = rest.trim_start();
            continue;
        }
        if c != '%' {
            rest = rest.strip_prefix(c).ok_or_else(wrong)?;
            continue;
        }
        let mut number = |most: usize| {
            let end = rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
            let (digits, after) = rest.split_at(end);
            rest = after;
            digits.parse::<u32>().map_err(|_| wrong())
        };
        let (place, value, range) = match chars.next() {
            Some('Y') => (0, number(4)?, 1..=9999),
            Some('y') => {
                let short = number(2)?;
                (0, if short < 69 { 2000 + short } else { 1900 + short }, 1..=9999)
            }
            Some('m') => (1, number(2)?, 1..=12),
            Some('d') => (2, number(2)?, 1..=31),
            Some('H') => (3, number(2)?, 0..=23),
            Some('I') => (3, number(2)? % 12, 0..=11),
            Some('M') => (4, number(2)?, 0..=59),
            Some('S') => (5, number(2)?, 0..=60),
            Some('b' | 'B' | 'h') => {
                let lower = rest.to_lowercase();
                let (i, length) = MONTHS
                    .iter()
                    .enumerate()
                    .find_map(|(i, m)| {
                        let short = m.get(..3)?;
                        if lower.starts_with(m) {
                            Some((i, m.len()))
                        } else {
                            lower.starts_with(short).then_some((i, 3))
                        }
                    })
                    .ok_or_else(wrong)?;
                rest = rest.get(length..).unwrap_or_default();
                (1, i as u32 + 1, 1..=12)
            }
            Some('p') => {
                let (half, after) = rest.split_at_checked(2).ok_or_else(wrong)?;
                afternoon = Some(half.eq_ignore_ascii_case("pm"));
                rest = after;
                continue;
            }
            Some('%') => {
                rest = rest.strip_prefix('%').ok_or_else(wrong)?;
                continue;
            }
            other => {
                let other = other.map(String::from).unwrap_or_default();
                return Err(format!(
                    "the directive `%{other}` is not supported; there are %Y %y %m %d %b %B %H %I %p %M %S %T %F %D %R"
                ));
            }
        };
        if !range.contains(&value) {
            return Err(wrong());
        }
        if let Some(slot) = at.get_mut(place) {
            *slot = value;
        }
    }
    if !rest.is_empty() {
        return Err(wrong());
    }
    if let (Some(true), [_, _, _, hour, ..]) = (afternoon, &mut at) {
        *hour += 12;
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn times() {
        let read = |t: &str, f: &str| Time::read(Some(t), f, Time::Preserve);
        assert_eq!(read("202001021530.45", "%Y%m%d%H%M.%S").unwrap(), Time::At([2020, 1, 2, 15, 30, 45]));
        assert_eq!(read("3 Feb 21 1:05 PM", "%d %b %y %I:%M %p").unwrap(), Time::At([2021, 2, 3, 13, 5, 0]));
        assert!(read("bad", "%Y").unwrap_err().ends_with("time data 'bad' does not match format '%Y'"));
        assert!(read("x", "%Q").unwrap_err().contains("`%Q`"));
        assert_eq!(Time::At([2020, 1, 2, 3, 4, 5]).touch("-m").unwrap(), "touch -c -m -t 202001020304.05");
    }
}
