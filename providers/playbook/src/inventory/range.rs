//! Names of hosts: ranges and ports.

/// How many names one pattern may stand for, and how many ranges may be in it.
const MOST_NAMES: usize = 1_000_000;
const MOST_RANGES: usize = 20;

/// The names that a pattern of the inventory stands for: `web[01:03].example` gives three, a plain name itself.
///
/// The error says what is wrong with it.
pub(super) fn expand(pattern: &str) -> Result<Vec<String>, String> {
    let wrong = || format!("`{pattern}` is no range: write `web[1:3]`, `web[01:10:2]` or `web[a:c]`");
    let many = || format!("`{pattern}` stands for more than {MOST_NAMES} hosts, or has more than {MOST_RANGES} ranges");
    let mut names = vec![String::new()];
    let mut rest = pattern;
    for _ in 0..=MOST_RANGES {
        let Some((head, range)) = rest.split_once('[') else {
            names.iter_mut().for_each(|n| n.push_str(rest));
            return Ok(names);
        };
        let (range, tail) = range.split_once(']').ok_or_else(wrong)?;
        let parts: Vec<&str> = range.split(':').collect();
        let (from, to, step) = match parts.as_slice() {
            [from, to] => (*from, *to, 1),
            [from, to, step] => (*from, *to, step.parse().ok().filter(|s| *s > 0).ok_or_else(wrong)?),
            _ => return Err(wrong()),
        };
        let middle: Vec<String> = match (letter(from), letter(to)) {
            (Some(a), Some(b)) if a <= b => {
                LETTERS.chars().take(b + 1).skip(a).step_by(step).map(String::from).collect()
            }
            (None, None) => numbers(from, to, step).ok_or_else(wrong)?,
            _ => return Err(wrong()),
        };
        if names.len().saturating_mul(middle.len()) > MOST_NAMES {
            return Err(many());
        }
        names = names.iter().flat_map(|n| middle.iter().map(move |m| format!("{n}{head}{m}"))).collect();
        rest = tail;
    }
    Err(many())
}

const LETTERS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

fn letter(text: &str) -> Option<usize> {
    LETTERS.find(text).filter(|_| text.len() == 1)
}

fn numbers(from: &str, to: &str, step: usize) -> Option<Vec<String>> {
    let first: u64 = if from.is_empty() { 0 } else { from.parse().ok()? };
    let last: u64 = to.parse().ok()?;
    let width = if from.starts_with('0') { from.len() } else { 0 };
    // `01` and `100` would not be of one length.
    if last < first || last - first > 100_000 || (width > 1 && to.len() != width) {
        return None;
    }
    Some((first..=last).step_by(step).map(|n| format!("{n:0width$}")).collect())
}

/// `web:2222` has a port, `web[1:3]` a range, `fe80::1` is an address, `[fe80::1]:22` one with a port.
pub(super) fn port(name: &str) -> Result<(&str, Option<u16>), String> {
    if name.ends_with(':') {
        return Err(format!("`{name}` ends with `:`, behind which a port would stand"));
    }
    let is_address = |s: &str| s.parse::<std::net::Ipv6Addr>().is_ok();
    if is_address(name) {
        return Ok((name, None));
    }
    if let Some((inner, rest)) =
        name.strip_prefix('[').and_then(|n| n.split_once(']')).filter(|(inner, _)| is_address(inner))
    {
        return match rest.strip_prefix(':') {
            Some(port) => port.parse().map(|p| (inner, Some(p))).map_err(|_| format!("`{port}` is no port")),
            None if rest.is_empty() => Ok((inner, None)),
            None => Err(format!("`{name}` is no address")),
        };
    }
    match name.rsplit_once(':') {
        Some((head, port)) if !port.contains(']') && !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => {
            port.parse().map(|p| (head, Some(p))).map_err(|_| format!("`{port}` is no port"))
        }
        _ => Ok((name, None)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn ranges_count_in_letters_and_numbers() {
        let of = |p: &str| expand(p).unwrap().join(" ");
        assert_eq!(of("web[01:10:3].x"), "web01.x web04.x web07.x web10.x");
        assert_eq!(of("db-[a:b][1:2]"), "db-a1 db-a2 db-b1 db-b2");
        assert_eq!(of("c[:3]"), "c0 c1 c2 c3");
        assert_eq!(of("[y:B]"), "y z A B");
        for wrong in
            ["w[3:1]", "w[1]", "w[a:3]", "w[1:2", "w[01:100]", "w[1:3:0]", "w[1:999999999]", "w[1:2000][1:2000]"]
        {
            assert!(expand(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ports_are_told_from_ranges_and_addresses() {
        assert_eq!(port("bare:2222"), Ok(("bare", Some(2222))));
        assert_eq!(port("db-[a:c]:2222"), Ok(("db-[a:c]", Some(2222))));
        assert_eq!(port("fe80::1"), Ok(("fe80::1", None)));
        assert_eq!(port("[fe80::2]:22"), Ok(("fe80::2", Some(22))));
        assert_eq!(port("web[1:3]"), Ok(("web[1:3]", None)));
        assert!(port("all:").is_err() && port("x:99999").is_err());
    }
}
