//! Reads `show -json` of the state: resources and outputs.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::json;
use towpath_core::{Context, Environment, Json, MASK_MIN_BYTES, Resource, Result, Secret};

use crate::TerraformConfig;
use crate::hosts::inventory;
use crate::show::redacted;

#[derive(Debug, Default, Deserialize)]
pub(crate) struct State {
    #[serde(default)]
    values: Option<Values>,
}

#[derive(Debug, Default, Deserialize)]
struct Values {
    #[serde(default)]
    outputs: BTreeMap<String, OutputValue>,
    #[serde(default)]
    root_module: Module,
}

#[derive(Debug, Deserialize)]
pub(crate) struct OutputValue {
    #[serde(default)]
    pub(crate) sensitive: bool,
    #[serde(default)]
    pub(crate) value: Json,
}

#[derive(Debug, Default, Deserialize)]
struct Module {
    #[serde(default)]
    resources: Vec<Instance>,
    #[serde(default)]
    child_modules: Vec<Module>,
}

#[derive(Debug, Deserialize)]
struct Instance {
    address: String,
    mode: String,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    values: Json,
    #[serde(default)]
    sensitive_values: Json,
    #[serde(default)]
    tainted: bool,
}

impl Module {
    fn all<'a>(&'a self, into: &mut Vec<&'a Instance>) {
        into.extend(&self.resources);
        for child in &self.child_modules {
            child.all(into);
        }
    }
}

impl State {
    fn instances(&self) -> Vec<&Instance> {
        let mut all = Vec::new();
        if let Some(values) = &self.values {
            values.root_module.all(&mut all);
        }
        // Data sources are read, not made.
        all.retain(|i| i.mode == "managed");
        all
    }

    /// Nothing was made, or all was removed.
    pub(crate) fn is_empty(&self) -> bool {
        self.instances().is_empty() && self.values.as_ref().is_none_or(|v| v.outputs.is_empty())
    }

    /// What is there, as the config reads it. Sensitive values are named and left out, and masked in all output from now on.
    pub(crate) fn environment(&self, cx: &Context, config: &TerraformConfig) -> Result<Environment> {
        self.learn_secrets(cx);
        let mut environment = Environment { name: cx.environment().to_owned(), ..Environment::default() };
        let none = BTreeMap::new();
        let outputs = self.values.as_ref().map_or(&none, |v| &v.outputs);
        for (name, output) in outputs {
            if output.sensitive {
                environment.sensitive.push(name.clone());
            } else {
                environment.outputs.insert(name.clone(), output.value.clone());
            }
        }
        // An environment that was destroyed has no hosts, whatever the config would read.
        if !self.is_empty() {
            environment.inventory = inventory(&config.hosts, outputs)?;
        }
        environment.resources = self.instances().into_iter().map(Instance::resource).collect();
        Ok(environment)
    }

    /// A sensitive value that is also somewhere in clear is no secret: masking an address would make journals useless.
    fn learn_secrets(&self, cx: &Context) {
        let (mut secret, mut public) = (BTreeSet::new(), BTreeSet::new());
        for output in self.values.iter().flat_map(|v| v.outputs.values()) {
            leaves(&output.value, &Json::Bool(output.sensitive), &mut secret, &mut public);
        }
        for instance in self.instances() {
            leaves(&instance.values, &instance.sensitive_values, &mut secret, &mut public);
        }
        for value in secret.difference(&public) {
            cx.learn_secret(&Secret::new(*value));
        }
    }
}

fn leaves<'a>(value: &'a Json, sensitive: &Json, secret: &mut BTreeSet<&'a str>, public: &mut BTreeSet<&'a str>) {
    let whole = *sensitive == Json::Bool(true);
    match value {
        Json::String(text) if text.len() >= MASK_MIN_BYTES => {
            let into = if whole { secret } else { public };
            into.insert(text);
        }
        Json::Object(map) => {
            for (key, inner) in map {
                let below = if whole { sensitive } else { sensitive.get(key).unwrap_or(&Json::Null) };
                leaves(inner, below, secret, public);
            }
        }
        Json::Array(items) => {
            for (i, inner) in items.iter().enumerate() {
                let below = if whole { sensitive } else { sensitive.get(i).unwrap_or(&Json::Null) };
                leaves(inner, below, secret, public);
            }
        }
        _ => {}
    }
}

impl Instance {
    fn resource(&self) -> Resource {
        let id = match redacted(&self.values, &self.sensitive_values, &Json::Null).get("id") {
            Some(Json::String(id)) => id.clone(),
            Some(other) if !other.is_null() => other.to_string(),
            _ => String::new(),
        };
        let detail = match self.tainted {
            true => json!({"type": self.kind, "tainted": true}),
            false => json!({"type": self.kind}),
        };
        Resource { address: self.address.clone(), id, detail }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn state() -> State {
        serde_json::from_value(json!({"format_version": "1.0", "values": {
            "outputs": {
                "token": {"sensitive": true, "value": "s3cret-token"},
                "all": {"sensitive": true, "value": {"address": "192.0.2.17", "password": "hunter2222"}},
                "address": {"sensitive": false, "value": "192.0.2.17"},
            },
            "root_module": {
                "resources": [
                    {"address": "a.b", "mode": "managed", "type": "a", "values": {"id": "i-1", "key": "private-key"}, "sensitive_values": {"key": true}},
                    {"address": "data.c.d", "mode": "data", "type": "c", "values": {"id": "x"}},
                ],
                "child_modules": [{"resources": [{"address": "module.m.a.b", "mode": "managed", "type": "a", "values": {}, "tainted": true}]}],
            },
        }}))
        .unwrap()
    }

    #[test]
    fn sensitive_values_are_named_left_out_and_masked() {
        let cx = Context::new();
        let environment = state().environment(&cx, &TerraformConfig::module("infra")).unwrap();
        assert_eq!(environment.outputs, BTreeMap::from([("address".to_owned(), json!("192.0.2.17"))]));
        assert_eq!(environment.sensitive, ["all", "token"]);
        for secret in ["s3cret-token", "hunter2222", "private-key"] {
            let mut said = json!(format!("it is {secret}"));
            cx.masker().mask_json(&mut said);
            assert_eq!(said, "it is ***", "{secret}");
        }
        let mut said = json!("at 192.0.2.17");
        cx.masker().mask_json(&mut said);
        assert_eq!(said, "at 192.0.2.17", "the address is in clear elsewhere");
    }

    #[test]
    fn resources_of_all_modules_are_listed_and_data_is_not() {
        let environment = state().environment(&Context::new(), &TerraformConfig::module("infra")).unwrap();
        let found: Vec<(&str, &str)> =
            environment.resources.iter().map(|r| (r.address.as_str(), r.id.as_str())).collect();
        assert_eq!(found, [("a.b", "i-1"), ("module.m.a.b", "")]);
    }

    #[test]
    fn no_state_is_empty() {
        let none: State = serde_json::from_value(json!({"format_version": "1.0"})).unwrap();
        assert!(none.is_empty());
    }
}
