//! `environment` and `env_file` of a service.

use std::collections::BTreeMap;

use towpath_core::Result;

use super::compose::Place;
use super::env_file::env_file;
use super::yaml::{Kind, Node};

/// `NAME: value` pairs, or `NAME=value` texts. A name alone has the value that `.env` or this process has.
pub(super) fn environment(node: &Node, place: &Place) -> Result<BTreeMap<String, String>> {
    place.learn_filled(node);
    let mut env = BTreeMap::new();
    let mut put = |name: &str, value: Option<String>| {
        let value = value.or_else(|| {
            let known = place.variable(name)?;
            place.learn(&known);
            Some(known)
        });
        if let Some(value) = value {
            env.insert(name.to_owned(), value);
        }
    };
    match &node.kind {
        Kind::Seq(items) => {
            for item in items {
                let text = item.text("`environment`")?;
                match text.split_once('=') {
                    Some((name, value)) => put(name, Some(value.to_owned())),
                    None => put(&text, None),
                }
            }
        }
        _ => {
            for (name, value) in node.pairs("`environment`")? {
                put(name, if value.is_null() { None } else { Some(value.text("`environment`")?) });
            }
        }
    }
    Ok(env)
}

/// What the files of `env_file` say; a later one wins.
pub(super) fn from_files(node: &Node, place: &Place) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    let one = [node.clone()];
    let files = if let Kind::Seq(items) = &node.kind { items.as_slice() } else { one.as_slice() };
    for node in files {
        let (mut path, mut required) = (None, true);
        if let Kind::Map(pairs) = &node.kind {
            for (key, node) in pairs {
                match key.as_str() {
                    "path" => path = Some(node.text("`path`")?),
                    "required" => required = node.boolean("`required`")?,
                    other => return Err(node.unknown("`env_file`", other, &["path", "required"])),
                }
            }
        } else {
            path = Some(node.text("`env_file`")?);
        }
        let path = place.folder.join(path.ok_or_else(|| node.wrong("`env_file` needs a `path`"))?);
        if !required && !path.exists() {
            continue;
        }
        for (name, value) in env_file(&path, &|name| place.variable(name))? {
            place.learn(&value);
            all.insert(name, value);
        }
    }
    Ok(all)
}
