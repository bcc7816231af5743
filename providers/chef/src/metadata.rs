//! The name that a cookbook gives itself.

use std::path::Path;

use towpath_core::{Error, ErrorKind, Result};

use crate::CHEF;

/// What `metadata.rb` says about the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Named {
    /// Nothing: the folder's name counts.
    Not,
    /// This one.
    As(String),
    /// One that only Ruby can find, in this line.
    Computed(usize),
}

/// Reads `name 'web'`, `name("web") # the site`, and the like. Anything but one plain string is computed.
pub(crate) fn of_ruby(text: &str) -> Named {
    let mut comment = false;
    for (n, line) in text.lines().enumerate() {
        match line.split_whitespace().next() {
            Some("=begin") if line.starts_with('=') => comment = true,
            Some("=end") if line.starts_with('=') => comment = false,
            Some("__END__") if line == "__END__" => break,
            _ => {}
        }
        if comment {
            continue;
        }
        // Other statements may stand before it in its line, but nobody writes them so.
        let Some(rest) = line.trim_start().strip_prefix("name") else { continue };
        match rest.trim_start().chars().next() {
            // Something that is only called alike, or asked for.
            _ if rest.starts_with(|c: char| c.is_alphanumeric() || "_?!.=".contains(c)) => {}
            Some('=' | '.') => {}
            _ => return string(rest).map_or(Named::Computed(n + 1), Named::As),
        }
    }
    Named::Not
}

/// The one plain string behind `name`.
fn string(rest: &str) -> Option<String> {
    let rest = rest.trim();
    let (rest, open) = rest.strip_prefix('(').map_or((rest, false), |inner| (inner.trim_start(), true));
    let quote = rest.chars().next().filter(|c| ['\'', '"'].contains(c))?;
    let (name, rest) = rest.get(1..)?.split_once(quote)?;
    // In double quotes `#{}` is a value, and a backslash is an escape in both.
    if name.is_empty() || name.contains('\\') || (quote == '"' && name.contains('#')) {
        return None;
    }
    let rest = rest.trim_start();
    let rest = if open { rest.strip_prefix(')')?.trim_start() } else { rest };
    (rest.is_empty() || rest.starts_with(['#', ';'])).then(|| name.to_owned())
}

/// The name in `metadata.json`.
///
/// # Errors
///
/// [`InvalidInput`](ErrorKind::InvalidInput): it is no JSON object, or its name is no text.
pub(crate) fn of_json(text: &str, path: &Path) -> Result<Named> {
    let wrong = |message: &str, line: usize| {
        let place = format!("{}:{line}", path.display());
        Error::new(ErrorKind::InvalidInput, CHEF, "load", message).with("file", place)
    };
    let json: serde_json::Value =
        serde_json::from_str(text).map_err(|e| wrong("the cookbook's metadata are no JSON", e.line()).caused_by(e))?;
    match json.as_object().map(|all| all.get("name")) {
        Some(None) => Ok(Named::Not),
        Some(Some(serde_json::Value::String(name))) => Ok(Named::As(name.clone())),
        _ => Err(wrong("the cookbook's metadata must be an object whose `name` is text", 1)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_plain_string() {
        for text in [
            "name 'web'",
            "name\t\"web\"",
            "  name('web')",
            "name( \"web\" ) # the site",
            "name 'web' # not 'other'",
            "name 'web';version '1.0'",
            "name'web'\r\nversion '1.0'",
            "# name 'other'\nname 'web'",
            "=begin\nname 'other'\n=end\nname 'web'",
            "names = []\nname_of_it 'other'\nname = 'x'\nname.freeze\nname 'web'",
            "maintainer 'x'\nname 'web'\nname 'later'",
        ] {
            assert_eq!(of_ruby(text), Named::As("web".into()), "{text:?}");
        }
    }

    #[test]
    fn what_only_ruby_can_tell_is_computed() {
        for text in [
            "\nname File.basename(__dir__)",
            "\nname \"web-#{suffix}\"",
            "\nname 'web' + suffix",
            "\nname 'web' if true",
            "\nname 'it\\'s'",
            "\nname NAME",
            "\nname('web'",
            "\nname %q(web)",
            "\nname",
        ] {
            assert_eq!(of_ruby(text), Named::Computed(2), "{text:?}");
        }
        for text in ["", "version '1.0'", "# name 'x'", "__END__\nname 'x'", "=begin\nname 'x'"] {
            assert_eq!(of_ruby(text), Named::Not, "{text:?}");
        }
    }

    #[test]
    fn json_that_is_broken_is_told_with_its_line() {
        let path = Path::new("c/metadata.json");
        assert_eq!(of_json(r#"{ "name": "web" }"#, path).unwrap(), Named::As("web".into()));
        assert_eq!(of_json("{}", path).unwrap(), Named::Not);
        assert_eq!(of_json("{\n\"name\": \"web\",\n}", path).unwrap_err().get("file"), Some("c/metadata.json:3"));
        assert!(of_json(r#"{ "name": 1 }"#, path).unwrap_err().message().contains("is text"));
    }
}
