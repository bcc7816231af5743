use std::fmt::Write as _;

use towpath_core::Timestamp;

/// Collects a page. Markup can only be a literal of this program; whatever comes from a run goes through [`Html::text`].
#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    /// Adds markup.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Adds text, or the value of an attribute in double quotes. Nothing in it can end either.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                c if unprintable(c) => self.0.push('\u{FFFD}'),
                c => self.0.push(c),
            }
        }
        self
    }

    /// Adds a whole number.
    pub(super) fn int(&mut self, n: usize) -> &mut Self {
        let _ = write!(self.0, "{n}");
        self
    }

    /// Adds a coordinate.
    pub(super) fn at(&mut self, n: f64) -> &mut Self {
        let _ = write!(self.0, "{:.1}", if n.is_finite() { n } else { 0.0 });
        self
    }

    /// Adds `<open>text<close>`.
    pub(super) fn put(&mut self, open: &'static str, text: &str, close: &'static str) -> &mut Self {
        self.raw(open).text(text).raw(close)
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// Control characters, and those that turn the direction of text around so that it reads as something else.
fn unprintable(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t') || matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Cuts a text after so many characters, and says so.
pub(super) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((end, _)) => {
            let rest = text.get(end..).unwrap_or_default().chars().count();
            format!("{}… ({rest} more characters are not shown)", text.get(..end).unwrap_or_default())
        }
    }
}

/// `1 step`, `2 steps`.
pub(super) fn count(n: usize, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") }
}

/// Seconds for people.
pub(super) fn lasting(seconds: f64) -> String {
    if seconds < 9.95 {
        return format!("{seconds:.1} s");
    }
    let whole = std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default().as_secs_f64().round();
    let (minutes, s) = ((whole / 60.0).floor(), whole % 60.0);
    if minutes < 1.0 {
        format!("{s:.0} s")
    } else if minutes < 60.0 {
        format!("{minutes:.0} min {s:02.0} s")
    } else {
        format!("{:.0} h {:02.0} min", (minutes / 60.0).floor(), minutes % 60.0)
    }
}

/// `2026-11-24 23:30:16 UTC`. A page is read where it was not made, so no local time.
pub(super) fn moment(at: Timestamp) -> String {
    let s = at.0 / 1000;
    let (y, m, d) = date(s / 86_400);
    format!("{y:04}-{m:02}-{d:02} {:02}:{:02}:{:02} UTC", s / 3600 % 24, s / 60 % 60, s % 60)
}

/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
fn date(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let (era, day) = (z / 146_097, z % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let in_year = day - (365 * year + year / 4 - year / 100);
    let part = (5 * in_year + 2) / 153;
    let (d, m) = (in_year - (153 * part + 2) / 5 + 1, if part < 10 { part + 3 } else { part - 9 });
    (year + era * 400 + u64::from(m <= 2), m, d)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_a_text_or_an_attribute() {
        let mut html = Html::default();
        html.text("</script><b a='1' b=\"2\">&amp;\u{1b}[31m\u{202e}");
        assert_eq!(
            html.finish(),
            "&lt;/script&gt;&lt;b a=&#39;1&#39; b=&quot;2&quot;&gt;&amp;amp;\u{FFFD}[31m\u{FFFD}"
        );
    }

    #[test]
    fn times_are_told_for_people() {
        assert_eq!(moment(Timestamp(1_795_563_016_999)), "2026-11-24 23:30:16 UTC");
        assert_eq!(moment(Timestamp(951_782_400_000)), "2000-02-29 00:00:00 UTC");
        let told: Vec<String> = [0.04, 9.94, 59.6, 3_599.0, 7_260.0].into_iter().map(lasting).collect();
        assert_eq!(told, ["0.0 s", "9.9 s", "1 min 00 s", "59 min 59 s", "2 h 01 min"]);
    }
}
