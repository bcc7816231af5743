//! Modules that work on this side: `debug`, `set_fact`, `assert`, `fail`, `include_vars`.

use serde_json::json;
use towpath_core::Json;

use super::spec::Rules;
use super::{Call, Decision, Fields, Module, Place, fields};
use crate::render::to_json;

fn done(result: Fields) -> Result<Decision, String> {
    Ok(Decision::Done(result))
}

/// `assert`.
pub(super) const ASSERT: Module = Module {
    names: &["assert"],
    rules: Rules { free: true, ..Rules::NONE },
    missing: &[],
    place: Place::Here,
    prepare,
};

/// `debug`.
pub(super) const DEBUG: Module =
    Module { names: &["debug"], rules: Rules::NONE, missing: &[], place: Place::Here, prepare };

/// `fail`.
pub(super) const FAIL: Module =
    Module { names: &["fail"], rules: Rules::NONE, missing: &[], place: Place::Here, prepare };

/// `include_vars`.
pub(super) const INCLUDE_VARS: Module = Module {
    names: &["include_vars"],
    rules: Rules { free: true, ..Rules::NONE },
    missing: &[
        "depth",
        "dir",
        "extensions",
        "files_matching",
        "free-form",
        "hash_behaviour",
        "ignore_files",
        "ignore_unknown_extensions",
    ],
    place: Place::Here,
    prepare,
};

/// `set_fact`.
pub(super) const SET_FACT: Module = Module {
    names: &["set_fact"],
    rules: Rules { free: true, ..Rules::NONE },
    missing: &[],
    place: Place::Here,
    prepare,
};

/// `ping`.
pub(super) const PING: Module =
    Module { names: &["ping"], rules: Rules::NONE, missing: &[], place: Place::Host, prepare };

fn prepare(call: &Call) -> Result<Decision, String> {
    match call.action.as_str() {
        "debug" => {
            if let Some(var) = call.text("var") {
                let value = if call.scope.raw(&var).is_some() {
                    call.scope.variable(&var).map_or_else(|| json!("VARIABLE IS NOT DEFINED!"), |v| to_json(&v))
                } else {
                    call.scope
                        .render(&json!(format!("{{{{ {var} }}}}")))
                        .unwrap_or_else(|_| json!("VARIABLE IS NOT DEFINED!"))
                };
                return done([("changed".to_owned(), json!(false)), (var, value)].into_iter().collect());
            }
            // It keeps its type: a list is shown as a list.
            let msg = call.given.get("msg").cloned().unwrap_or_else(|| json!("Hello world!"));
            done(fields([("changed", json!(false)), ("msg", msg)]))
        }
        "set_fact" => {
            let facts: Fields =
                call.args.iter().filter(|(k, _)| *k != "cacheable").map(|(k, v)| (k.clone(), v.clone())).collect();
            if facts.is_empty() {
                return Err("No key/value pairs provided, at least one is required for this action to succeed".into());
            }
            done(fields([("changed", json!(false)), ("ansible_facts", Json::Object(facts))]))
        }
        "include_vars" => {
            let file = call.any(&["_raw_params", "file"]).ok_or("missing required argument: file")?;
            let path = call
                .scope
                .search
                .find("vars", &file)
                .map_err(|s| format!("there is no file of variables `{file}`; searched {s}"))?;
            let vars = crate::load::yaml::read_vars(&path).map_err(|e| e.report())?;
            let vars = match call.text("name") {
                Some(n) => [(n, Json::Object(vars))].into_iter().collect(),
                None => vars,
            };
            done(fields([("changed", json!(false)), ("ansible_facts", Json::Object(vars))]))
        }
        "assert" => {
            let that = call.args.get("that").cloned().ok_or("missing required argument: that")?;
            let all = match that {
                Json::Array(items) => items,
                one => vec![one],
            };
            for condition in all {
                if !call.scope.test(&condition).map_err(|e| e.message)? {
                    let msg = call.any(&["fail_msg", "msg"]).unwrap_or_else(|| "Assertion failed".into());
                    return done(fields([
                        ("changed", json!(false)),
                        ("failed", json!(true)),
                        ("assertion", condition),
                        ("evaluated_to", json!(false)),
                        ("msg", json!(msg)),
                    ]));
                }
            }
            let msg = call.text("success_msg").unwrap_or_else(|| "All assertions passed".into());
            done(fields([("changed", json!(false)), ("msg", json!(msg))]))
        }
        "fail" => {
            let msg = call.given.get("msg").cloned().unwrap_or_else(|| "Failed as requested from task".into());
            done(fields([("changed", json!(false)), ("failed", json!(true)), ("msg", msg)]))
        }
        _ => Ok(Decision::Probe(
            "exit 0\n".into(),
            Box::new(|_| done(fields([("changed", json!(false)), ("ping", json!("pong"))]))),
        )),
    }
}
