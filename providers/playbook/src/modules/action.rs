//! Modules that work on this side: `debug`, `set_fact`, `assert`, `fail`; and `ping`.

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
    Module { names: &["debug"], rules: DEBUG_RULES, missing: &[], place: Place::Here, prepare };

const DEBUG_RULES: Rules = Rules { mutually_exclusive: &[&["msg", "var"]], ..Rules::NONE };

/// `fail`.
pub(super) const FAIL: Module =
    Module { names: &["fail"], rules: Rules { free: true, ..Rules::NONE }, missing: &[], place: Place::Here, prepare };

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
            // The command's `-v` is not known here; a run by itself is not verbose.
            let level = call.scope.variable("ansible_verbosity").and_then(|v| to_json(&v).as_i64()).unwrap_or(0);
            if call.args.get("verbosity").and_then(Json::as_i64).unwrap_or(0) > level {
                return done(fields([
                    ("changed", json!(false)),
                    ("skipped", json!(true)),
                    ("skipped_reason", json!("Verbosity threshold not met.")),
                ]));
            }
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
            // Nothing that is given is nothing, and not the default.
            let msg = call.given.get("msg").filter(|m| m.is_null()).or_else(|| call.args.get("msg"));
            let msg = msg.cloned().unwrap_or_else(|| json!("Hello world!"));
            done(fields([("changed", json!(false)), ("msg", msg)]))
        }
        "set_fact" => {
            let facts: Fields =
                call.args.iter().filter(|(k, _)| *k != "cacheable").map(|(k, v)| (k.clone(), v.clone())).collect();
            // As without native types: a word that means yes or no is that.
            let facts: Fields = facts
                .into_iter()
                .map(|(k, v)| match v.as_str().map(str::to_lowercase).as_deref() {
                    Some("yes" | "true") => (k, json!(true)),
                    Some("no" | "false") => (k, json!(false)),
                    _ => (k, v),
                })
                .collect();
            if facts.is_empty() {
                return Err("No key/value pairs provided, at least one is required for this action to succeed".into());
            }
            let name = |k: &str| {
                k.starts_with(|c: char| c.is_alphabetic() || c == '_')
                    && k.chars().all(|c| c.is_alphanumeric() || c == '_')
            };
            if let Some(bad) = facts.keys().find(|k| !name(k)) {
                return Err(format!(
                    "The variable name '{bad}' is not valid. Variables must start with a letter or underscore character, and contain only letters, numbers and underscores."
                ));
            }
            done(fields([("changed", json!(false)), ("ansible_facts", Json::Object(facts))]))
        }
        "assert" => assert(call),
        "fail" => {
            if let Some(other) = call.given.keys().find(|k| *k != "msg") {
                return Err(format!("Invalid options for fail: {other}"));
            }
            let msg = call.given.get("msg").filter(|v| !v.is_null()).cloned();
            let msg = msg.unwrap_or_else(|| json!("Failed as requested from task"));
            done(fields([("changed", json!(false)), ("failed", json!(true)), ("msg", msg)]))
        }
        _ => {
            let data = call.text("data").unwrap_or_else(|| "pong".into());
            if data == "crash" {
                return Err("boom".into());
            }
            let answer = move |_| done(fields([("changed", json!(false)), ("ping", json!(data))]));
            Ok(Decision::Probe("exit 0\n".into(), Box::new(answer)))
        }
    }
}

/// A failure before the work begins: it does not speak of changes, and nothing that the task says turns it into a success.
pub(super) fn wrong(msg: String) -> Result<Decision, String> {
    done(early(msg))
}

/// The fields of such a failure.
pub(super) fn early(msg: String) -> Fields {
    fields([(super::EARLY, json!(true)), ("failed", json!(true)), ("msg", json!(msg))])
}

fn assert(call: &Call) -> Result<Decision, String> {
    let that = match call.args.get("that") {
        None | Some(Json::Null) => return wrong("conditional required in \"that\" string".into()),
        Some(Json::Array(items)) => items.clone(),
        Some(one) => vec![one.clone()],
    };
    let text = |keys: [&str; 2], what: &str| match keys.iter().find_map(|k| call.args.get(*k)).filter(|v| !v.is_null())
    {
        None => Ok(None),
        Some(v @ (Json::String(_) | Json::Array(_))) => Ok(Some(v.clone())),
        Some(other) => {
            Err(format!("Incorrect type for {what}, expected a string or list and got {}", super::spec::class(other)))
        }
    };
    let (fail, good) = match (text(["fail_msg", "msg"], "fail_msg or msg"), text(["success_msg"; 2], "success_msg")) {
        (Ok(fail), Ok(good)) => (fail, good),
        (Err(e), _) | (_, Err(e)) => return wrong(e),
    };
    let fail = fail.unwrap_or_else(|| json!("Assertion failed"));
    let good = good.unwrap_or_else(|| json!("All assertions passed"));
    for condition in that {
        let holds = match call.scope.test(&condition) {
            Ok(holds) => holds,
            Err(e) => {
                let shown = crate::render::text(&crate::render::Value::from(&condition));
                return wrong(format!("The conditional check '{shown}' failed. The error was: {}", e.message));
            }
        };
        if !holds {
            return done(fields([
                ("changed", json!(false)),
                ("failed", json!(true)),
                ("assertion", condition),
                ("evaluated_to", json!(false)),
                ("msg", fail),
            ]));
        }
    }
    done(fields([("changed", json!(false)), ("msg", good)]))
}
