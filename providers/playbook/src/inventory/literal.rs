//! Values of an INI inventory: a Python literal if the text is one, else the text.

use towpath_core::Json;

/// The value that a text stands for.
pub(super) fn value(text: &str) -> Json {
    let mut reader = Reader { rest: text.trim() };
    match reader.value(0) {
        Some(value) if reader.at_end() => value,
        _ => Json::String(text.to_owned()),
    }
}

/// Deeper ones are text.
const DEEPEST: usize = 50;

struct Reader<'t> {
    rest: &'t str,
}

impl Reader<'_> {
    fn skip(&mut self) {
        loop {
            self.rest = self.rest.trim_start();
            match self.rest.strip_prefix('#') {
                Some(comment) => self.rest = comment.split_once('\n').map_or("", |(_, after)| after),
                None => return,
            }
        }
    }

    fn at_end(&mut self) -> bool {
        self.skip();
        self.rest.is_empty()
    }

    fn eat(&mut self, mark: &str) -> bool {
        self.skip();
        match self.rest.strip_prefix(mark) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn value(&mut self, depth: usize) -> Option<Json> {
        if depth > DEEPEST {
            return None;
        }
        self.skip();
        match self.rest.chars().next()? {
            '[' => self.list('[', ']', depth).map(|(items, _)| Json::Array(items)),
            '(' => self.list('(', ')', depth).map(|(mut items, commas)| match items.len() {
                // `(x)` is x, `(x,)` a list of one.
                1 if commas == 0 => items.remove(0),
                _ => Json::Array(items),
            }),
            '{' => self.map(depth),
            '\'' | '"' => self.text(),
            '+' | '-' | '.' | '0'..='9' => self.number(),
            _ => self.word(),
        }
    }

    fn list(&mut self, open: char, close: char, depth: usize) -> Option<(Vec<Json>, usize)> {
        self.rest = self.rest.strip_prefix(open)?;
        let (mut items, mut commas) = (Vec::new(), 0);
        let close = close.to_string();
        while !self.eat(&close) {
            if items.len() > commas {
                return None;
            }
            items.push(self.value(depth + 1)?);
            if self.eat(",") {
                commas += 1;
            }
        }
        Some((items, commas))
    }

    fn map(&mut self, depth: usize) -> Option<Json> {
        self.rest = self.rest.strip_prefix('{')?;
        let mut map = serde_json::Map::new();
        let mut more = true;
        while !self.eat("}") {
            if !more {
                return None;
            }
            let key = match self.value(depth + 1)? {
                Json::String(s) => s,
                Json::Array(_) | Json::Object(_) => return None,
                other => other.to_string(),
            };
            if !self.eat(":") {
                return None;
            }
            map.insert(key, self.value(depth + 1)?);
            more = self.eat(",");
        }
        Some(Json::Object(map))
    }

    /// One text, or several beside each other, which are one.
    fn text(&mut self) -> Option<Json> {
        let mut out = String::new();
        loop {
            self.skip();
            let mark = match self.rest.chars().next() {
                Some(c @ ('\'' | '"')) => c,
                _ => return Some(Json::String(out)),
            };
            let mut chars = self.rest.char_indices().skip(1);
            let end = loop {
                match chars.next()? {
                    (at, c) if c == mark => break at + 1,
                    (_, '\n') => return None,
                    (_, '\\') => match chars.next()?.1 {
                        'n' => out.push('\n'),
                        't' => out.push('\t'),
                        'r' => out.push('\r'),
                        '0' => out.push('\0'),
                        'x' => out.push(code(&mut chars, 2)?),
                        'u' => out.push(code(&mut chars, 4)?),
                        '\n' => {}
                        c @ ('\\' | '\'' | '"') => out.push(c),
                        c => {
                            out.push('\\');
                            out.push(c);
                        }
                    },
                    (_, c) => out.push(c),
                }
            };
            self.rest = self.rest.get(end..)?;
        }
    }

    fn word(&mut self) -> Option<Json> {
        let end = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        match word {
            "True" => Some(Json::Bool(true)),
            "False" => Some(Json::Bool(false)),
            "None" => Some(Json::Null),
            _ => None,
        }
    }

    fn number(&mut self) -> Option<Json> {
        let mut negative = false;
        while let Some(sign) = self.rest.chars().next().filter(|c| ['+', '-'].contains(c)) {
            negative ^= sign == '-';
            self.rest = self.rest.get(1..)?.trim_start();
        }
        let mut end = 0;
        let mut before = ' ';
        for c in self.rest.chars() {
            let of_exponent = ['+', '-'].contains(&c) && ['e', 'E'].contains(&before) && !self.rest.starts_with("0x");
            if !(c.is_ascii_alphanumeric() || c == '.' || c == '_' || of_exponent) {
                break;
            }
            (before, end) = (c, end + 1);
        }
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        // `_` stands between digits only.
        if word.starts_with('_') || word.ends_with('_') || word.contains("__") {
            return None;
        }
        let word = word.replace('_', "").to_ascii_lowercase();
        let based =
            [("0x", 16), ("0o", 8), ("0b", 2)].into_iter().find_map(|(p, base)| Some((word.strip_prefix(p)?, base)));
        if let Some((digits, base)) = based {
            let n = i64::from_str_radix(digits, base).ok().filter(|_| !digits.starts_with(['+', '-']))?;
            return Some(Json::from(if negative { -n } else { n }));
        }
        if word.bytes().all(|b| b.is_ascii_digit()) {
            // A leading zero is no number in Python, and a mode or an account in real life.
            if word.starts_with('0') && word.bytes().any(|b| b != b'0') {
                return None;
            }
            let n: i64 = word.parse().ok()?;
            return Some(Json::from(if negative { -n } else { n }));
        }
        if !word.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            return None;
        }
        let f: f64 = word.parse().ok().filter(|f: &f64| f.is_finite())?;
        Some(Json::from(if negative { -f } else { f }))
    }
}

fn code(chars: &mut impl Iterator<Item = (usize, char)>, digits: usize) -> Option<char> {
    let text: String = chars.take(digits).map(|(_, c)| c).collect();
    (text.len() == digits).then(|| u32::from_str_radix(&text, 16).ok().and_then(char::from_u32)).flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn literals_of_python_are_values_and_everything_else_is_text() {
        // As `ansible-inventory --list` of ansible-core 2.18 shows them.
        let cases = [
            ("8080", json!(8080)),
            ("-3", json!(-3)),
            ("0x10", json!(16)),
            ("0o17", json!(15)),
            ("1_000", json!(1000)),
            ("1.5", json!(1.5)),
            ("1e3", json!(1000.0)),
            ("010", json!("010")),
            ("1+1", json!("1+1")),
            ("True", json!(true)),
            ("true", json!("true")),
            ("yes", json!("yes")),
            ("None", json!(null)),
            ("\"5\"", json!("5")),
            ("'it''s'", json!("its")),
            ("'a' # c", json!("a")),
            ("plain text # with comment", json!("plain text # with comment")),
            ("[1, 'a', {'b': (1, 2)},]", json!([1, "a", { "b": [1, 2] }])),
            ("[1,2", json!("[1,2")),
            ("[1,a]", json!("[1,a]")),
            ("{\"a\": \"b\"}", json!({ "a": "b" })),
            ("()", json!([])),
            ("(1)", json!(1)),
            ("", json!("")),
            ("# x", json!("# x")),
            ("10.0.0.9", json!("10.0.0.9")),
            ("2026-01-01", json!("2026-01-01")),
            ("'a\\tb\\x41'", json!("a\tbA")),
        ];
        for (text, wanted) in cases {
            assert_eq!(value(text), wanted, "{text}");
        }
        assert_eq!(value(&"[".repeat(1000)), json!("[".repeat(1000)));
    }
}
