//! YAML as `ansible-inventory --yaml` writes it: blocks, keys sorted.

use crate::Json;

use super::stdout::json;

/// The text of a value.
pub(crate) fn text(value: &Json) -> String {
    let mut out = String::new();
    block(value, 0, &mut out);
    out
}

fn is_leaf(value: &Json) -> bool {
    match value {
        Json::Object(map) => map.is_empty(),
        Json::Array(items) => items.is_empty(),
        _ => true,
    }
}

fn block(value: &Json, depth: usize, out: &mut String) {
    let pad = "  ".repeat(depth);
    match value {
        Json::Object(map) if !map.is_empty() => {
            let mut pairs: Vec<_> = map.iter().collect();
            pairs.sort_by(|a, b| a.0.cmp(b.0));
            for (key, value) in pairs {
                out.push_str(&format!("{pad}{}:", scalar(&Json::String(key.clone()))));
                if is_leaf(value) {
                    out.push_str(&format!(" {}\n", scalar(value)));
                } else {
                    out.push('\n');
                    // A list stands as deep as its key.
                    block(value, if value.is_array() { depth } else { depth + 1 }, out);
                }
            }
        }
        Json::Array(items) if !items.is_empty() => {
            for item in items {
                if is_leaf(item) {
                    out.push_str(&format!("{pad}- {}\n", scalar(item)));
                } else {
                    let mut inner = String::new();
                    block(item, depth + 1, &mut inner);
                    out.push_str(&format!("{pad}- {}", inner.trim_start_matches(' ')));
                }
            }
        }
        leaf => out.push_str(&format!("{pad}{}\n", scalar(leaf))),
    }
}

fn scalar(value: &Json) -> String {
    match value {
        Json::Object(_) => "{}".into(),
        Json::Array(_) => "[]".into(),
        Json::String(s) => string(s),
        other => json::compact(other),
    }
}

fn string(text: &str) -> String {
    if text.chars().any(|c| c.is_control()) {
        return json::compact(&Json::String(text.to_owned()));
    }
    let first = text.chars().next();
    let odd_start = first.is_none_or(|c| " -?:,[]{}#&*!|>'\"%@`".contains(c))
        && !(text.starts_with(['-', '?', ':']) && text.chars().nth(1).is_some_and(|c| c != ' '));
    let odd = odd_start || text.ends_with([' ', ':']) || text.contains(": ") || text.contains(" #");
    let word = text.to_ascii_lowercase();
    let special = ["", "~", "null", "true", "false", "yes", "no", "on", "off", "=", "<<"].contains(&word.as_str());
    let digits = text.trim_start_matches(['-', '+']);
    let number = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.chars().all(|c| c.is_ascii_hexdigit() || "._:xXoOeE+-TZ ".contains(c));
    // Addresses and versions are no numbers, dates are.
    let number = number && (digits.matches('.').count() <= 1 || digits.contains(':'));
    if odd || special || number { format!("'{}'", text.replace('\'', "''")) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_is_laid_out_as_ansibles() {
        let value = json!({ "all": { "children": { "web": { "hosts": { "w2": {}, "w1": { "a": { "k": [1, { "x": "y", "z": null }] }, "on": "on", "v": "1.0", "ip": "10.0.0.1" } } } } } });
        assert_eq!(
            text(&value),
            "all:\n  children:\n    web:\n      hosts:\n        w1:\n          a:\n            k:\n            - 1\n            - x: y\n              z: null\n          \
             ip: 10.0.0.1\n          'on': 'on'\n          v: '1.0'\n        w2: {}\n"
        );
    }
}
