//! `--extra-vars`.

use std::path::Path;

use towpath_core::{Error, ErrorKind, Json, Result, Vars};

use crate::PLAYBOOK;
use crate::load::{split_words, yaml};
use crate::vault::Vault;

/// The variables that an argument of `--extra-vars` stands for: `@file` in YAML or JSON, YAML or JSON itself where it begins with
/// a brace or a bracket, else `name=value` several times.
///
/// # Errors
///
/// [`NotFound`](ErrorKind::NotFound): the file can't be read.
/// [`InvalidInput`](ErrorKind::InvalidInput): it is no mapping, with its place.
/// [`Denied`](ErrorKind::Denied): the file is a vault that can't be opened.
pub fn parse_extra_vars(text: &str, vault: &Vault) -> Result<Vars> {
    if let Some(name) = text.strip_prefix('@') {
        let path = match name.strip_prefix("~/") {
            Some(rest) => std::env::home_dir().unwrap_or_default().join(rest),
            None => name.into(),
        };
        let wrong = |message: String| {
            Error::new(ErrorKind::InvalidInput, PLAYBOOK, "extra-vars", message).with("file", path.display())
        };
        let bytes = std::fs::read(&path).map_err(|e| {
            let full = std::path::absolute(&path).unwrap_or_else(|_| path.clone());
            let message = format!("Could not find or access '{}' on the Ansible Controller.", full.display());
            Error::new(ErrorKind::NotFound, PLAYBOOK, "extra-vars", message).caused_by(e)
        })?;
        let bytes = vault.open(bytes, name)?;
        let text = String::from_utf8(bytes).map_err(|_| wrong("it is no UTF-8".into()))?;
        return mapping(&path, &text);
    }
    if text.trim_start().starts_with(['{', '[']) {
        return mapping(Path::new("--extra-vars"), text);
    }
    let mut vars = Vars::new();
    for word in split_words(text) {
        if let Some((name, value)) = word.split_once('=') {
            vars.insert(name.trim().to_owned(), Json::String(value.to_owned()));
        }
    }
    Ok(vars)
}

fn mapping(path: &Path, text: &str) -> Result<Vars> {
    let root = yaml::parse(path, text)?;
    match root.json() {
        Json::Object(map) => Ok(map),
        Json::Null => Ok(Vars::new()),
        _ => Err(root.wrong("extra variables must be a mapping")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use serde_json::json;
    use towpath_core::Secret;

    use super::*;

    #[test]
    fn three_spellings_are_understood() {
        let of = |text: &str| Json::Object(parse_extra_vars(text, &Vault::new()).unwrap());
        assert_eq!(of("a=1 b='two words' c=x=y"), json!({ "a": "1", "b": "two words", "c": "x=y" }));
        assert_eq!(of(r#"{"a": 1, "b": [true]}"#), json!({ "a": 1, "b": [true] }));
        assert_eq!(of("x"), json!({}));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("v.yml");
        let vault = Vault::new().key("default", Secret::new("pw"));
        std::fs::write(&path, vault.encrypt(b"a: yes\n", None).unwrap()).unwrap();
        let found = parse_extra_vars(&format!("@{}", path.display()), &vault).unwrap();
        assert_eq!(Json::Object(found), json!({ "a": true }));
        assert_eq!(parse_extra_vars("@/nowhere", &vault).unwrap_err().kind(), ErrorKind::NotFound);
        for wrong in ["{\"a", "[1]"] {
            assert_eq!(parse_extra_vars(wrong, &vault).unwrap_err().kind(), ErrorKind::InvalidInput, "{wrong}");
        }
    }
}
