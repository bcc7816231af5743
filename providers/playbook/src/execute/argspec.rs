//! Checking the arguments of a role against its specs.

use std::sync::Arc;

use serde_json::json;
use towpath_core::Json;

use super::result::One;
use crate::modules::{self, Fields};
use crate::render::{Scope, text, to_json, truthy};

/// The action `validate_argument_spec`.
pub(super) fn validate(args: &Fields, scope: &Arc<Scope>) -> One {
    let wrong = |msg: String| One::of(modules::fields([("failed", json!(true)), ("msg", json!(msg))]));
    let dict = |name: &str| match args.get(name) {
        None | Some(Json::Object(_)) => None,
        Some(other) => Some(wrong(format!("Incorrect type for {name}, expected dict and got {}", class(other)))),
    };
    if let Some(no) = dict("argument_spec").or_else(|| dict("provided_arguments")) {
        return no;
    }
    let Some(Json::Object(spec)) = args.get("argument_spec") else {
        return wrong("\"argument_spec\" arg is required in args: {}".into());
    };
    let mut given = Fields::new();
    for name in spec.keys() {
        if let Some(value) = scope.variable(name) {
            given.insert(name.clone(), to_json(&value));
        }
    }
    if let Some(Json::Object(more)) = args.get("provided_arguments") {
        given.extend(more.clone());
    }
    let mut errors = Vec::new();
    check(spec, &given, "", &mut errors);
    // Only a role's own parameters can be too many: other variables are for anybody.
    let known = |name: &str| {
        let mut aliases = spec.values().filter_map(|o| o.get("aliases")?.as_array()).flatten();
        spec.contains_key(name) || aliases.any(|a| a == name)
    };
    let mut unknown: Vec<&str> = given.keys().map(String::as_str).filter(|k| !known(k)).collect();
    if !unknown.is_empty() {
        unknown.sort_unstable();
        let mut all: Vec<&str> = spec.keys().map(String::as_str).collect();
        all.sort_unstable();
        errors.push(format!("{}. Supported parameters include: {}.", unknown.join(", "), all.join(", ")));
    }
    let context = args.get("validate_args_context").cloned().unwrap_or_else(|| json!({}));
    if errors.is_empty() {
        return One::of(modules::fields([
            ("changed", json!(false)),
            ("msg", json!("The arg spec validation passed")),
            ("validate_args_context", context),
        ]));
    }
    One::of(modules::fields([
        ("changed", json!(false)),
        ("failed", json!(true)),
        ("msg", json!(format!("Validation of arguments failed:\n{}", errors.join("\n")))),
        ("argument_errors", json!(errors)),
        ("argument_spec_data", Json::Object(spec.clone())),
        ("validate_args_context", context),
    ]))
}

fn shown(v: &Json) -> String {
    text(&crate::render::Value::from(v))
}

fn check(spec: &Fields, given: &Fields, inside: &str, errors: &mut Vec<String>) {
    let found = if inside.is_empty() { String::new() } else { format!(" found in {inside}") };
    let value = |name: &str, opt: &Json| {
        let aliases = opt.get("aliases").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str);
        std::iter::once(name).chain(aliases).find_map(|n| given.get(n)).filter(|v| !v.is_null()).cloned()
    };
    let missing: Vec<&str> = spec
        .iter()
        .filter(|(name, opt)| opt.get("required").and_then(truthy).unwrap_or(false) && value(name, opt).is_none())
        .map(|(name, _)| name.as_str())
        .collect();
    if !missing.is_empty() {
        errors.push(format!("missing required arguments: {}{found}", missing.join(", ")));
    }
    for (name, opt) in spec {
        let Some(value) = value(name, opt).or_else(|| opt.get("default").filter(|d| !d.is_null()).cloned()) else {
            continue;
        };
        let kind = opt.get("type").and_then(Json::as_str).unwrap_or("str");
        let typed = match convert(kind, &value) {
            Ok(typed) => typed,
            Err(why) => {
                errors.push(format!(
                    "argument '{name}' is of type {} and we were unable to convert to {kind}: {why}",
                    class(&value)
                ));
                continue;
            }
        };
        let choices = opt.get("choices").and_then(Json::as_array).cloned().unwrap_or_default();
        let known = |v: &Json| choices.iter().any(|c| c == v || shown(c) == shown(v));
        let all = || choices.iter().map(shown).collect::<Vec<_>>().join(", ");
        match &typed {
            _ if choices.is_empty() => {}
            Json::Array(items) => {
                let other: Vec<String> = items.iter().filter(|v| !known(v)).map(shown).collect();
                if !other.is_empty() {
                    errors.push(format!(
                        "value of {name} must be one or more of: {}. Got no match for: {}{found}",
                        all(),
                        other.join(", ")
                    ));
                }
            }
            one if !known(one) => {
                errors.push(format!("value of {name} must be one of: {}, got: {}{found}", all(), shown(one)));
            }
            _ => {}
        }
        if let (Some(elements), Json::Array(items)) = (opt.get("elements").and_then(Json::as_str), &typed) {
            for item in items {
                if let Err(why) = convert(elements, item) {
                    errors.push(format!(
                        "Elements value for option '{name}'{found} is of type {} and we were unable to convert to {elements}: {why}",
                        class(item)
                    ));
                }
            }
        }
        if let Some(Json::Object(sub)) = opt.get("options") {
            let path = if inside.is_empty() { name.clone() } else { format!("{inside} -> {name}") };
            let parts: Vec<&Json> = match &typed {
                Json::Array(items) => items.iter().collect(),
                one => vec![one],
            };
            for part in parts.into_iter().filter_map(Json::as_object) {
                check(sub, part, &path, errors);
                let unknown: Vec<&str> = part.keys().map(String::as_str).filter(|k| !sub.contains_key(*k)).collect();
                if !unknown.is_empty() {
                    let paths: Vec<String> = unknown.iter().map(|k| format!("{name}.{k}")).collect();
                    let all = sub.keys().cloned().collect::<Vec<_>>().join(", ");
                    errors.push(format!("{}. Supported parameters include: {all}.", paths.join(", ")));
                }
            }
        }
    }
}

fn class(v: &Json) -> &'static str {
    match v {
        Json::Null => "<class 'NoneType'>",
        Json::Bool(_) => "<class 'bool'>",
        Json::Number(n) if n.is_f64() => "<class 'float'>",
        Json::Number(_) => "<class 'int'>",
        Json::String(_) => "<class 'ansible.parsing.yaml.objects.AnsibleUnicode'>",
        Json::Array(_) => "<class 'list'>",
        Json::Object(_) => "<class 'dict'>",
    }
}

fn convert(kind: &str, v: &Json) -> Result<Json, String> {
    let quoted = || {
        format!(
            "\"{}\"",
            crate::render::text(&crate::render::Value::from(&Json::Array(vec![v.clone()])))
                .trim_start_matches('[')
                .trim_end_matches(']')
        )
    };
    let cannot = |article: &str| {
        format!(
            "{} cannot be converted to {article} {kind}",
            if v.is_string() { quoted() } else { class(v).to_owned() }
        )
    };
    Ok(match kind {
        "int" => match v {
            Json::Number(n) if !n.is_f64() => v.clone(),
            other => shown(other).trim().parse::<i64>().map(Json::from).map_err(|_| cannot("an"))?,
        },
        "float" => match v {
            Json::Number(_) => v.clone(),
            other => shown(other).trim().parse::<f64>().map(Json::from).map_err(|_| cannot("a"))?,
        },
        "bool" => Json::Bool(truthy(v).ok_or_else(|| format!("The value '{}' is not a valid boolean.", shown(v)))?),
        "list" => match v {
            Json::Array(_) => v.clone(),
            Json::String(s) => s.split(',').map(|p| Json::from(p.trim())).collect(),
            Json::Number(_) => Json::Array(vec![shown(v).into()]),
            _ => return Err(cannot("a")),
        },
        "dict" => match v {
            Json::Object(_) => v.clone(),
            Json::String(s) => serde_json::from_str(s)
                .ok()
                .filter(Json::is_object)
                .ok_or("dictionary requested, could not parse JSON or key=value")?,
            _ => return Err(cannot("a")),
        },
        "str" | "path" => Json::String(shown(v)),
        _ => v.clone(),
    })
}
