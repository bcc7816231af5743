//! Lookups of variables and settings.

use super::Query;
use crate::render::error::Error;
use crate::render::filters::Pattern;
use crate::render::value::Value;

pub(super) fn env(q: &mut Query) -> Result<Vec<Value>, Error> {
    let default = q.options.named("default");
    q.scope.note_impure();
    q.texts()?
        .iter()
        .map(|name| match (std::env::var(name), &default) {
            (Ok(v), _) => Ok(Value::outside(v)),
            (Err(_), Some(Value::Undefined(_))) => {
                Err(Error::undefined(format!("The \"env\" lookup, found an undefined variable: {name}")))
            }
            (Err(_), Some(d)) => Ok(d.clone()),
            (Err(_), None) => Ok(Value::outside("")),
        })
        .collect()
}

pub(super) fn vars(q: &mut Query) -> Result<Vec<Value>, Error> {
    let default = q.options.named("default");
    q.texts()?
        .iter()
        .map(|name| match (q.scope.find(name)?, &default) {
            (Some(v @ Value::Undefined(_)), Some(d)) => Ok(if v.is_undefined() { d.clone() } else { v }),
            (Some(v), _) => v.defined().cloned(),
            (None, Some(d)) => Ok(d.clone()),
            (None, None) => Err(Error::undefined(format!("No variable found with this name: {name}"))),
        })
        .collect()
}

pub(super) fn names(q: &mut Query) -> Result<Vec<Value>, Error> {
    let mut out = Vec::new();
    for term in q.texts()? {
        let pattern = Pattern::new(&term, false, false)
            .map_err(|e| Error::other(format!("Unable to use \"{term}\" as a search parameter: {}", e.message)))?;
        for name in q.scope.names() {
            if pattern.is_match(&name)? {
                out.push(Value::from(name));
            }
        }
    }
    Ok(out)
}

/// Settings that playbooks ask for, with what they are unless changed.
const SETTINGS: &[(&str, &str)] = &[
    ("DEFAULT_BECOME", "false"),
    ("DEFAULT_BECOME_METHOD", "\"sudo\""),
    ("DEFAULT_BECOME_USER", "\"root\""),
    ("DEFAULT_FORKS", "5"),
    ("DEFAULT_GATHERING", "\"implicit\""),
    ("DEFAULT_HASH_BEHAVIOUR", "\"replace\""),
    ("DEFAULT_HOST_LIST", "[\"/etc/ansible/hosts\"]"),
    ("DEFAULT_JINJA2_NATIVE", "false"),
    ("DEFAULT_LOCAL_TMP", "\"~/.ansible/tmp\""),
    ("DEFAULT_MANAGED_STR", "\"Ansible managed\""),
    ("DEFAULT_MODULE_NAME", "\"command\""),
    ("DEFAULT_POLL_INTERVAL", "15"),
    ("DEFAULT_REMOTE_PORT", "null"),
    ("DEFAULT_REMOTE_USER", "null"),
    ("DEFAULT_STRATEGY", "\"linear\""),
    ("DEFAULT_TIMEOUT", "10"),
    ("DEFAULT_TRANSPORT", "\"ssh\""),
    ("HOST_KEY_CHECKING", "true"),
    ("INVENTORY_ENABLED", "[\"host_list\", \"script\", \"auto\", \"yaml\", \"ini\", \"toml\"]"),
    ("RETRY_FILES_ENABLED", "false"),
];

pub(super) fn config(q: &mut Query) -> Result<Vec<Value>, Error> {
    let missing = q.text("on_missing")?.unwrap_or_else(|| "error".into());
    let mut out = Vec::new();
    for name in q.texts()? {
        if name == "DEFAULT_ROLES_PATH" {
            let home = std::env::var("HOME").unwrap_or_default();
            let paths =
                [format!("{home}/.ansible/roles"), "/usr/share/ansible/roles".into(), "/etc/ansible/roles".into()];
            out.push(Value::list(paths.into_iter().map(Value::from).collect()));
            continue;
        }
        match SETTINGS.iter().find(|(n, _)| *n == name) {
            Some((_, v)) => out.push(Value::from(&serde_json::from_str::<towpath_core::Json>(v).unwrap_or_default())),
            None if missing == "error" => {
                return Err(Error::other(format!(
                    "Unable to find setting {name}. module 'ansible.constants' has no attribute '{name}'"
                )));
            }
            None => {}
        }
    }
    Ok(out)
}
