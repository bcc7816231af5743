//! `healthcheck` of a Compose file, and its times.

use towpath_core::Result;

use super::config::Healthcheck;
use super::yaml::{Kind, Node};

pub(super) fn healthcheck(node: &Node) -> Result<Healthcheck> {
    // As Compose: every 30 seconds unless said otherwise.
    let mut check = Healthcheck { interval_ms: Some(30_000), ..Healthcheck::default() };
    let mut disabled = false;
    for (key, node) in node.pairs("`healthcheck`")? {
        match key.as_str() {
            "test" => {
                check.test = match &node.kind {
                    Kind::Seq(_) => node.texts("`test`")?,
                    _ => vec!["CMD-SHELL".to_owned(), node.text("`test`")?],
                }
            }
            "interval" => check.interval_ms = Some(duration_ms(node, "`interval`")?),
            "timeout" => check.timeout_ms = Some(duration_ms(node, "`timeout`")?),
            "start_period" => check.start_period_ms = Some(duration_ms(node, "`start_period`")?),
            "retries" => check.retries = Some(node.number("`retries`")?),
            "disable" => disabled = node.boolean("`disable`")?,
            other => {
                let all = ["test", "interval", "timeout", "start_period", "retries", "disable"];
                return Err(node.unknown("`healthcheck`", other, &all));
            }
        }
    }
    if disabled {
        // It wins over a `test`, wherever that stands: a service switches off the check that it merged from another one.
        check.test = vec!["NONE".to_owned()];
    }
    if check.test.is_empty() {
        return Err(node.wrong("`healthcheck` needs a `test`, or `disable: true`"));
    }
    Ok(check)
}

/// `1h2m3s4ms`; a number alone is seconds.
pub(super) fn duration_ms(node: &Node, what: &str) -> Result<u64> {
    let text = node.text(what)?;
    milliseconds(&text).map_err(|why| node.wrong(format!("{what} {why}, not `{text}`")))
}

fn milliseconds(text: &str) -> Result<u64, &'static str> {
    const WRONG: &str = "must be a time like `30s` or `1m30s`";
    const LONG: &str = "must be less than 292 years";
    if let Ok(seconds) = text.parse::<u64>() {
        return seconds.checked_mul(1000).filter(|ms| *ms <= super::spec::MOST_MS).ok_or(LONG);
    }
    let (mut all, mut rest) = (0_f64, text);
    if text.is_empty() {
        return Err(WRONG);
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(WRONG)?;
        let (number, tail) = rest.split_at(end);
        let end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let ms = match unit {
            "us" => 0.001,
            "ms" => 1.0,
            "s" => 1e3,
            "m" => 60e3,
            "h" => 3600e3,
            _ => return Err(WRONG),
        };
        all += number.parse::<f64>().map_err(|_| WRONG)? * ms;
        rest = tail;
    }
    // Not a number, neither, if the digits were too many.
    if all <= super::spec::MOST_MS as f64 { Ok(all as u64) } else { Err(LONG) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_or_refused_and_never_wrap_around() {
        for (text, want) in [("30", 30_000), ("1m30s", 90_000), ("1.5s", 1500), ("250ms", 250), ("1h", 3_600_000)] {
            assert_eq!(milliseconds(text), Ok(want), "{text}");
        }
        let digits = "9".repeat(400);
        for long in ["18446744073709551", "99999999999h", &format!("{digits}s"), "9223372036855"] {
            assert!(milliseconds(long).is_err_and(|e| e.contains("292")), "{long}");
        }
        for bad in ["", "x", "5x", "5 s", "s", ".s", "1.2.3s", "-5s", "18446744073709551616"] {
            assert!(milliseconds(bad).is_err_and(|e| e.contains("30s")), "{bad}");
        }
    }
}
