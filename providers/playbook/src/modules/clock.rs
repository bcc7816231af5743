//! Times of results, as Python writes them.

use serde_json::json;

use super::{Fields, fields};

/// `start`, `end` and `delta` from two times of the target's clock with nanoseconds: `2024-01-02 03:04:05.678901234`.
pub(super) fn span(start: &str, end: &str) -> Fields {
    // A `date` that does not know `%N` prints something else there.
    let micros = |t: &str| {
        let (whole, fraction) = t.split_once('.').unwrap_or((t, ""));
        let digits = fraction.get(..6).filter(|f| f.bytes().all(|b| b.is_ascii_digit())).unwrap_or("000000");
        format!("{whole}.{digits}")
    };
    let (start, end) = (micros(start), micros(end));
    let delta = match (moment(&start), moment(&end)) {
        (Some(a), Some(b)) => written((b - a).max(0)),
        _ => written(0),
    };
    fields([("start", json!(start)), ("end", json!(end)), ("delta", json!(delta))])
}

/// The time here, in UTC.
pub(super) fn now() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let (seconds, micros) = (since.as_secs() as i64, since.subsec_micros());
    let (days, clock) = (seconds / 86_400, seconds % 86_400);
    // The civil calendar, counted from 1 March of the year 0.
    let z = days + 719_468;
    let era = z / 146_097;
    let doe = z % 146_097;
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    let year = yoe + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}.{micros:06}", clock / 3600, clock / 60 % 60, clock % 60)
}

/// Microseconds since a day long ago.
fn moment(time: &str) -> Option<i64> {
    let numbers: Vec<i64> = time.split(['-', ' ', ':', '.']).map(|p| p.parse().ok()).collect::<Option<_>>()?;
    let &[year, month, day, hour, minute, second, micros] = numbers.as_slice() else { return None };
    // Days of the civil calendar, counted from March so that a leap day is the last.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000 + micros)
}

/// A duration as Python's `timedelta`.
fn written(micros: i64) -> String {
    let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
    let (days, seconds) = (seconds / 86_400, seconds % 86_400);
    let clock = format!("{}:{:02}:{:02}.{rest:06}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    match days {
        0 => clock,
        1 => format!("1 day, {clock}"),
        n => format!("{n} days, {clock}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        let all = span("2024-02-28 23:59:59.900000000", "2024-03-01 00:00:01.000001234");
        assert_eq!(all.get("delta"), Some(&json!("1 day, 0:00:01.100001")));
        let all = span("2024-01-01 00:00:00.N", "2024-01-01 01:00:00.N");
        assert_eq!(all.get("end"), Some(&json!("2024-01-01 01:00:00.000000")));
        assert_eq!(all.get("delta"), Some(&json!("1:00:00.000000")));
    }
}
