//! `getent`.

use serde_json::json;
use towpath_core::{Json, shell_quote};

use super::spec::Rules;
use super::steps::failed;
use super::{Call, Decision, Fields, Module, Place, fields};

/// `getent`.
pub(super) const MODULE: Module =
    Module { names: &["getent"], rules: Rules::NONE, missing: &[], place: Place::Host, prepare };

fn prepare(call: &Call) -> Result<Decision, String> {
    let database = call.need("database")?;
    let key = call.text("key");
    let split = call
        .text("split")
        .or_else(|| ["passwd", "shadow", "group", "gshadow"].contains(&database.as_str()).then(|| ":".to_owned()));
    let must = call.yes("fail_key")?.unwrap_or(true);
    let service = call.text("service").map(|s| format!("-s {} ", shell_quote(&s))).unwrap_or_default();
    let what = key.as_ref().map(|k| format!(" {}", shell_quote(k))).unwrap_or_default();
    let probe = format!("getent {service}{}{what}\n", shell_quote(&database));
    Ok(Decision::Probe(
        probe,
        Box::new(move |out| {
            let name = format!("getent_{database}");
            let facts = |found: Fields| {
                fields([("changed", json!(false)), ("ansible_facts", json!({ &name: Json::Object(found) }))])
            };
            match out.rc {
                0 => {}
                1 => return Err("Missing arguments, or database unknown.".into()),
                2 => {
                    let msg = "One or more supplied key could not be found in the database.";
                    let Some(key) = key.filter(|_| !must) else {
                        return Ok(Decision::Done(failed(Fields::new(), msg)));
                    };
                    let mut result = facts(fields([]));
                    result.insert("ansible_facts".into(), json!({ &name: { key: null } }));
                    result.insert("msg".into(), json!(msg));
                    return Ok(Decision::Done(result));
                }
                3 => return Err("Enumeration not supported on this database.".into()),
                _ => return Err("Unexpected failure!".into()),
            }
            let mut found = Fields::new();
            let mut seen: std::collections::HashMap<String, Vec<Json>> = std::collections::HashMap::new();
            for line in out.text().lines() {
                let parts: Vec<&str> = match &split {
                    Some(s) => line.split(s.as_str()).collect(),
                    None => line.split_whitespace().collect(),
                };
                let Some((first, rest)) = parts.split_first() else { continue };
                // A record that comes more than once is a list of its values.
                let all = seen.entry((*first).to_owned()).or_default();
                all.push(json!(rest));
                let value = if all.len() == 1 { json!(rest) } else { json!(all) };
                found.insert((*first).to_owned(), value);
            }
            Ok(Decision::Done(facts(found)))
        }),
    ))
}
