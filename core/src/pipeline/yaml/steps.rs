use serde_json::{Map, json};

use super::tree::Tree;
use crate::pipeline::{Pipeline, Step, Verb, nearest, pointer_token};
use crate::{Json, Result};

const TOP: &[&str] = &["name", "parameters", "connectors", "steps"];
const OPTIONS: &[&str] = &["retry", "timeout_s", "on_failure", "lease", "on_interrupt", "after", "approval"];

/// Where the parts of a pipeline stand in its file: pointers into the pipeline and into the file.
#[derive(Debug, Default)]
pub(super) struct Places(Vec<(String, String)>);

impl Places {
    fn add(&mut self, pipeline: String, file: String) {
        self.0.push((pipeline, file));
    }

    /// The pointer in the file, by the longest part of it that is known.
    pub(super) fn in_file(&self, pointer: &str) -> String {
        let fits = |known: &str| pointer == known || pointer.strip_prefix(known).is_some_and(|r| r.starts_with('/'));
        let best = self.0.iter().filter(|(p, _)| fits(p)).max_by_key(|(p, _)| p.len());
        match best {
            Some((p, f)) => format!("{f}{}", pointer.get(p.len()..).unwrap_or_default()),
            None => pointer.to_owned(),
        }
    }
}

/// Turns the form of files into the pipeline's own.
pub(super) fn convert(tree: &Tree) -> Result<(Pipeline, Places)> {
    let Some(top) = tree.value.as_object() else {
        return Err(tree.error("", "a pipeline file is a mapping with `name` and `steps`"));
    };
    if let Some(key) = top.keys().find(|k| !TOP.contains(&k.as_str())) {
        return Err(tree.error(&format!("/{}", pointer_token(key)), unknown("a pipeline", key, TOP)));
    }
    let mut places = Places::default();
    let mut steps = Vec::new();
    match top.get("steps") {
        Some(Json::Object(named)) => {
            for (name, step) in named {
                let at = format!("/steps/{}", pointer_token(name));
                steps.push(one(tree, name, step, &at, steps.len(), &mut places)?);
            }
        }
        Some(Json::Array(listed)) => {
            for (i, step) in listed.iter().enumerate() {
                let at = format!("/steps/{i}");
                let mut step = step.clone();
                let name = step.as_object_mut().and_then(|s| s.shift_remove("name"));
                let Some(Json::String(name)) = name else {
                    return Err(tree.error(&at, "a step in a list needs a `name`"));
                };
                steps.push(one(tree, &name, &step, &at, i, &mut places)?);
            }
        }
        Some(_) => return Err(tree.error("/steps", "`steps` is a mapping from names to steps")),
        None => return Err(tree.error("", "the pipeline has no `steps`")),
    }
    let parts = json!({
        "name": top.get("name").cloned().unwrap_or_default(),
        "parameters": top.get("parameters").cloned().unwrap_or_else(|| json!({})),
        "connectors": top.get("connectors").cloned().unwrap_or_else(|| json!({})),
        "steps": [],
    });
    let mut pipeline: Pipeline = serde_json::from_value(parts)
        .map_err(|e| tree.error("/name", format!("`name`, `parameters` or `connectors` is wrong: {e}")))?;
    pipeline.steps = steps;
    Ok((pipeline, places))
}

fn one(tree: &Tree, name: &str, step: &Json, at: &str, index: usize, places: &mut Places) -> Result<Step> {
    let fail =
        |pointer: &str, message: String| tree.error(pointer, format!("step `{name}`: {message}")).with("step", name);
    let Some(fields) = step.as_object() else {
        return Err(fail(at, "a step is a mapping".into()));
    };
    let verbs: Vec<Verb> = Verb::ALL.iter().copied().filter(|v| fields.contains_key(v.as_str())).collect();
    let names: Vec<&str> = Verb::ALL.iter().map(|v| v.as_str()).collect();
    let verb = match verbs[..] {
        [verb] => verb,
        [] => {
            let typo = fields.keys().find_map(|k| nearest(k, names.iter().copied()).map(|n| (k, n)));
            let hint = typo.map_or_else(String::new, |(k, n)| format!("; did you mean `{n}` where it says `{k}`?"));
            return Err(fail(at, format!("it needs one of {}{hint}", names.join(", "))));
        }
        [first, second, ..] => {
            let message = format!("it has two verbs, `{}` and `{}`: make two steps", first.as_str(), second.as_str());
            return Err(fail(&format!("{at}/{}", second.as_str()), message));
        }
    };
    let here = format!("/steps/{index}");
    let used = format!("{at}/{}", verb.as_str());
    let (provider, config) = match fields.get(verb.as_str()) {
        Some(Json::String(provider)) => (provider.clone(), Json::Null),
        Some(Json::Object(map)) => match map.iter().next() {
            Some((provider, config)) if map.len() == 1 => (provider.clone(), config.clone()),
            _ => return Err(fail(&used, format!("`{}` names one provider, with its config", verb.as_str()))),
        },
        _ => return Err(fail(&used, format!("`{}` names a provider", verb.as_str()))),
    };
    places.add(here.clone(), at.to_owned());
    places.add(format!("{here}/uses"), used.clone());
    places.add(format!("{here}/uses/provider"), used.clone());
    places.add(format!("{here}/uses/config"), format!("{used}/{}", pointer_token(&provider)));
    let (mut inputs, mut options, mut outputs) = (Map::new(), Map::new(), json!({}));
    let known: Vec<&str> =
        verb.inputs().iter().map(|i| i.name).chain(OPTIONS.iter().copied()).chain(["outputs"]).collect();
    for (key, value) in fields.iter().filter(|(k, _)| *k != verb.as_str()) {
        let from = format!("{at}/{}", pointer_token(key));
        if key == "outputs" {
            places.add(format!("{here}/outputs"), from);
            outputs = value.clone();
        } else if OPTIONS.contains(&key.as_str()) {
            places.add(format!("{here}/options/{key}"), from);
            // One name may stand without brackets.
            let list = matches!(key.as_str(), "after" | "lease") && value.is_string();
            options.insert(key.clone(), if list { json!([value]) } else { value.clone() });
        } else if verb == Verb::Call || known.contains(&key.as_str()) {
            places.add(format!("{here}/inputs/{}", pointer_token(key)), from);
            inputs.insert(key.clone(), value.clone());
        } else {
            let what = format!("`{}`", verb.as_str());
            return Err(fail(&from, unknown(&what, key, &known)));
        }
    }
    let value = json!({
        "name": name,
        "uses": { "verb": verb, "provider": provider, "config": config },
        "inputs": inputs,
        "outputs": outputs,
        "options": options,
    });
    serde_json::from_value(value).map_err(|e| fail(at, format!("an option or output is wrong: {e}")))
}

fn unknown(what: &str, key: &str, known: &[&str]) -> String {
    match nearest(key, known.iter().copied()) {
        Some(near) => format!("{what} has no field `{key}`; did you mean `{near}`?"),
        None => format!("{what} has no field `{key}`; it has: {}", known.join(", ")),
    }
}
