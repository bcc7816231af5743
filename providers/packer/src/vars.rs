//! The variables of a template, as one file that only this user can read.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Map;
use towpath_core::{Context, Error, ErrorKind, Json, Result, Secret};

use crate::PackerConfig;
use crate::definition::{BASE_VAR, IMAGE_VAR};
use crate::message::unescape;
use crate::provider::PACKER;
use crate::references::{Template, collect_values, texts};

/// The variables that are not secret.
pub(crate) fn open_vars(
    config: &PackerConfig,
    template: &Template,
    name: &str,
    base: &str,
) -> Result<Map<String, Json>> {
    let mut vars = Map::new();
    for (name, value) in &config.vars {
        vars.insert(name.clone(), if template.hcl { value.clone() } else { text(name, value)? });
    }
    let (name_var, base_var) = match config.definition {
        Some(_) => (Some(IMAGE_VAR), Some(BASE_VAR)),
        None => (config.name_var.as_deref(), config.base_var.as_deref()),
    };
    vars.extend(name_var.map(|v| (v.to_owned(), Json::from(name))));
    vars.extend(base_var.map(|v| (v.to_owned(), Json::from(base))));
    Ok(vars)
}

/// Variables of JSON templates are text.
fn text(name: &str, value: &Json) -> Result<Json> {
    match value {
        Json::String(_) => Ok(value.clone()),
        Json::Number(n) => Ok(n.to_string().into()),
        Json::Bool(b) => Ok(b.to_string().into()),
        _ => Err(Error::new(
            ErrorKind::InvalidInput,
            PACKER,
            "config",
            format!("the variable `{name}` must be text, a number or a boolean: JSON templates know no others"),
        )),
    }
}

/// Adds the secret ones. They are masked from now on.
pub(crate) async fn with_secrets(cx: &Context, config: &PackerConfig, mut vars: Map<String, Json>) -> Result<Json> {
    for (name, secret) in &config.secret_vars {
        let value = cx.resolve(secret).await.map_err(|e| e.with_missing("variable", name))?;
        learn(cx, value.expose());
        vars.insert(name.clone(), value.expose().into());
    }
    Ok(Json::Object(vars))
}

/// Masks what a template calls sensitive: Packer 1.6 itself prints it in its machine-readable output.
pub(crate) fn learn_sensitive(cx: &Context, config: &PackerConfig, template: &Template) {
    let mut files: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in &config.var_files {
        if let Ok(text) = std::fs::read_to_string(path) {
            collect_values(path, &text, &mut files);
        }
    }
    for (name, values) in &template.sensitive {
        let mut known = values.clone();
        known.extend(files.remove(name).unwrap_or_default());
        if let Some(value) = config.vars.get(name) {
            texts(value, &mut known);
        }
        known.extend(env(config, &format!("PKR_VAR_{name}")));
        // A default such as `{{env `TOKEN`}}` or `env("TOKEN")`.
        let read = known.iter().filter_map(|text| env_name(text)).filter_map(|name| env(config, name));
        known.extend(read.collect::<Vec<_>>());
        for value in known {
            learn(cx, &value);
        }
    }
}

/// A variable of Packer's environment, if it is text.
pub(crate) fn env(config: &PackerConfig, name: &str) -> Option<String> {
    config.env.get(name).cloned().or_else(|| std::env::var(name).ok())
}

/// The variable of the environment that a text may name: in HCL2 it is the argument of `env`.
fn env_name(text: &str) -> Option<&str> {
    let of_json = text.trim().strip_prefix("{{").and_then(|t| t.strip_suffix("}}")).map(str::trim);
    match of_json {
        Some(inside) => Some(inside.strip_prefix("env")?.trim().trim_matches(['`', '"'])),
        None => Some(text),
    }
}

/// A value of several lines, such as a key, is printed line by line; so is one with a `\n` of two characters, which Packer's output can't
/// tell from the end of a line.
fn learn(cx: &Context, value: &str) {
    if value.is_empty() {
        return;
    }
    cx.learn_secret(&Secret::new(value));
    let printed = unescape(value);
    for line in value.lines().chain(printed.lines()).map(str::trim) {
        if line != value && line.len() >= towpath_core::MASK_MIN_BYTES {
            cx.learn_secret(&Secret::new(line));
        }
    }
}

/// The references, in place of the values: what the content key may hold of secrets.
pub(crate) fn secret_names(config: &PackerConfig) -> Json {
    serde_json::to_value(&config.secret_vars).unwrap_or_default()
}

/// Says which file of variables is not there.
pub(crate) fn check_files(config: &PackerConfig, operation: &'static str) -> Result<()> {
    let missing = |p: &&std::path::PathBuf| !Path::new(p).is_file();
    match config.var_files.iter().find(missing) {
        None => Ok(()),
        Some(path) => Err(Error::new(ErrorKind::NotFound, PACKER, operation, "there is no such file of variables")
            .with("file", path.display())),
    }
}
