//! Which quotes a text of YAML needs. Source: PyYAML (MIT), "emitter.py", `analyze_scalar`.

use towpath_core::Json;

/// Characters that stand for themselves.
fn printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}')
        && c != '\u{feff}'
}

/// Whether a character needs no escape.
pub(super) fn stands(c: char, unicode: bool) -> bool {
    (' '..='~').contains(&c) || unicode && printable(c)
}

/// The escape of a character in double quotes.
pub(super) fn escape(c: char) -> String {
    match c {
        '\0' => "\\0".into(),
        '\x07' => "\\a".into(),
        '\x08' => "\\b".into(),
        '\t' => "\\t".into(),
        '\n' => "\\n".into(),
        '\x0b' => "\\v".into(),
        '\x0c' => "\\f".into(),
        '\r' => "\\r".into(),
        '\x1b' => "\\e".into(),
        '"' => "\\\"".into(),
        '\\' => "\\\\".into(),
        '\u{85}' => "\\N".into(),
        '\u{a0}' => "\\_".into(),
        '\u{2028}' => "\\L".into(),
        '\u{2029}' => "\\P".into(),
        c if (c as u32) <= 0xff => format!("\\x{:02X}", c as u32),
        c if (c as u32) <= 0xffff => format!("\\u{:04X}", c as u32),
        c => format!("\\U{:08X}", c as u32),
    }
}

/// The quotes of a text; none if it can stand plainly.
pub(super) fn style(s: &str, string: bool, flow: bool, key: bool, unicode: bool, wanted: Option<char>) -> Option<char> {
    let a = Analysis::new(s, unicode);
    if wanted == Some('"') {
        return Some('"');
    }
    let resolves = string && (odd(s) || !matches!(crate::load::yaml::plain(s), Json::String(_)));
    let allowed = if flow { a.flow_plain } else { a.block_plain };
    let broken_key = key && a.multiline;
    let plain = allowed && !resolves && wanted.is_none() && !broken_key && !a.empty;
    if plain {
        None
    } else if a.single && !broken_key {
        Some('\'')
    } else {
        Some('"')
    }
}

/// Texts that YAML 1.1 gives another type, of which the loader makes none.
fn odd(s: &str) -> bool {
    let date = s.len() >= 8 && s.get(..4).is_some_and(|y| y.bytes().all(|b| b.is_ascii_digit())) && {
        let rest = s.get(4..).unwrap_or("");
        let mut parts = rest.strip_prefix('-').unwrap_or("x").splitn(2, '-');
        let number =
            |p: Option<&str>| p.is_some_and(|p| (1..=2).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit()));
        let month = number(parts.next());
        let day = parts.next();
        let bare = day.map(|d| d.split(['T', 't', ' ']).next().unwrap_or(d));
        let timed = day.is_some_and(|d| d.contains(':'));
        month && number(bare) && (bare == day && s.len() == 10 || timed)
    };
    let sexagesimal = s.contains(':')
        && s.trim_start_matches(['-', '+']).split(':').enumerate().all(|(i, p)| {
            !p.is_empty() && (i == 0 || p.len() <= 2) && p.bytes().all(|b| b.is_ascii_digit() || b == b'_')
        })
        && !s.starts_with('0');
    date || sexagesimal || matches!(s, "=" | "<<")
}

struct Analysis {
    empty: bool,
    multiline: bool,
    flow_plain: bool,
    block_plain: bool,
    single: bool,
}

impl Analysis {
    fn new(s: &str, unicode: bool) -> Self {
        if s.is_empty() {
            return Self { empty: true, multiline: false, flow_plain: false, block_plain: true, single: true };
        }
        let chars: Vec<char> = s.chars().collect();
        let at = |i: usize| chars.get(i).copied();
        let blank = |c: Option<char>| {
            c.is_none_or(|c| matches!(c, '\0' | ' ' | '\t' | '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}'))
        };
        let is_break = |c: char| matches!(c, '\n' | '\u{85}' | '\u{2028}' | '\u{2029}');
        let (mut block_mark, mut flow_mark) = (s.starts_with("---") || s.starts_with("..."), false);
        flow_mark |= block_mark;
        let (mut breaks, mut special) = (false, false);
        let (mut lead_space, mut lead_break, mut trail_space, mut trail_break) = (false, false, false, false);
        let (mut break_space, mut space_break) = (false, false);
        let (mut was_space, mut was_break) = (false, false);
        let mut preceded = true;
        for (i, c) in chars.iter().copied().enumerate() {
            let followed = blank(at(i + 1));
            if i == 0 {
                if "#,[]{}&*!|>'\"%@`".contains(c) || matches!(c, '?' | ':') && followed || c == '-' && followed {
                    block_mark = true;
                    flow_mark = true;
                }
                if matches!(c, '?' | ':') {
                    flow_mark = true;
                }
            } else {
                if ",?[]{}".contains(c) {
                    flow_mark = true;
                }
                if c == ':' {
                    flow_mark = true;
                    block_mark |= followed;
                }
                if c == '#' && preceded {
                    flow_mark = true;
                    block_mark = true;
                }
            }
            breaks |= is_break(c);
            special |= c != '\n' && !stands(c, unicode);
            if c == ' ' {
                lead_space |= i == 0;
                trail_space |= i + 1 == chars.len();
                break_space |= was_break;
                was_space = true;
                was_break = false;
            } else if is_break(c) {
                lead_break |= i == 0;
                trail_break |= i + 1 == chars.len();
                space_break |= was_space;
                was_space = false;
                was_break = true;
            } else {
                was_space = false;
                was_break = false;
            }
            preceded = blank(Some(c));
        }
        let mut flow_plain = !(lead_space || lead_break || trail_space || trail_break);
        let mut block_plain = flow_plain;
        let mut single = true;
        if break_space {
            flow_plain = false;
            block_plain = false;
            single = false;
        }
        if space_break || special {
            flow_plain = false;
            block_plain = false;
            single = false;
        }
        if breaks {
            flow_plain = false;
            block_plain = false;
        }
        Self {
            empty: false,
            multiline: breaks,
            flow_plain: flow_plain && !flow_mark,
            block_plain: block_plain && !block_mark,
            single,
        }
    }
}
