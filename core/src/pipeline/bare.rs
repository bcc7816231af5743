//! What a pipeline says, without the defaults that it spells out: one value for every spelling.
//!
//! A builder's types write all their fields, a YAML file has the few that its author wrote. Both mean the same run, so an
//! unfinished one is continued by either.

use schemars::generate::SchemaSettings;
use serde_json::Map;

use crate::pipeline::schema::Walker;
use crate::pipeline::{Pipeline, Role, Step, StepUse};
use crate::{Json, Registry};

impl Pipeline {
    /// Gives the pipeline as data without what equals a default. Two pipelines that mean the same run have the same.
    pub fn bare(&self, registry: &Registry) -> Json {
        let mut bare = self.clone();
        for (name, config) in &mut bare.connectors {
            *config = registry.bare_config(Role::Connector, name, config);
        }
        for step in &mut bare.steps {
            step.bare(registry);
        }
        serde_json::to_value(bare).unwrap_or_default()
    }
}

impl Step {
    fn bare(&mut self, registry: &Registry) {
        let StepUse { verb, provider, config } = &mut self.uses;
        let Some(role) = verb.role() else { return };
        *config = registry.bare_config(role, provider, config);
        for decl in verb.inputs() {
            let mut generator = SchemaSettings::draft2020_12().into_generator();
            let schema = (decl.schema)(&mut generator).to_value();
            let root = serde_json::json!({ "$defs": generator.take_definitions(true) });
            if let Some(input) = self.inputs.get_mut(decl.name) {
                input.0 = registry.bare_references(Walker { root: &root }.bare(&schema, &input.0));
            }
        }
        // An input that may be left out and says nothing is left out.
        self.inputs.retain(|name, input| {
            let optional = verb.inputs().iter().any(|d| d.name == name && !d.required);
            !(optional && empty(&input.0))
        });
    }
}

impl Registry {
    fn bare_config(&self, role: Role, name: &str, config: &Json) -> Json {
        let Some(entry) = self.entry(role, name) else { return config.clone() };
        let bare = Walker { root: entry.schema() }.bare(entry.schema(), config);
        if empty(&bare) { Json::Object(Map::new()) } else { bare }
    }

    /// Providers named inside an input have configs, too: the balancer of a rollout, the configurators of an image.
    fn bare_references(&self, value: Json) -> Json {
        match value {
            Json::Array(items) => Json::Array(items.into_iter().map(|v| self.bare_references(v)).collect()),
            Json::Object(mut map) => {
                let name = map.get("provider").and_then(Json::as_str).map(str::to_owned);
                let named = map.keys().all(|k| k == "provider" || k == "config");
                if let (Some(name), true) = (name, named) {
                    let config = map.get("config").cloned().unwrap_or_default();
                    let role = Role::ALL.iter().find(|r| {
                        let empty = Json::Object(Map::new());
                        let config = if config.is_null() { &empty } else { &config };
                        self.check_config(**r, &name, config).is_ok()
                    });
                    if let Some(role) = role {
                        map.insert("config".into(), self.bare_config(*role, &name, &config));
                        return Json::Object(map);
                    }
                }
                Json::Object(map.into_iter().map(|(k, v)| (k, self.bare_references(v))).collect())
            }
            other => other,
        }
    }
}

fn empty(value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::Array(items) => items.is_empty(),
        Json::Object(map) => map.is_empty(),
        _ => false,
    }
}

impl<'a> Walker<'a> {
    /// The value without fields that equal their defaults.
    fn bare(&self, schema: &'a Json, value: &Json) -> Json {
        let schema = self.meant(schema, value);
        let properties = schema.get("properties").and_then(Json::as_object);
        let rest = schema.get("additionalProperties").filter(|s| s.is_object());
        let required = schema.get("required").and_then(Json::as_array);
        match value {
            Json::Object(map) => {
                let mut bare = Map::new();
                for (key, v) in map {
                    let Some(s) = properties.and_then(|p| p.get(key)) else {
                        bare.insert(key.clone(), rest.map_or_else(|| v.clone(), |s| self.bare(s, v)));
                        continue;
                    };
                    let v = self.bare(s, v);
                    let needed = required.is_some_and(|r| r.iter().any(|r| r == key));
                    let default = match s.get("default") {
                        Some(default) => self.bare(s, default) == v,
                        // A default that is not written is not in the schema, either: an empty list, an empty map.
                        None => empty(&v),
                    };
                    if needed || !(default || v.is_null()) {
                        bare.insert(key.clone(), v);
                    }
                }
                Json::Object(bare)
            }
            Json::Array(items) => match schema.get("items") {
                Some(s) => Json::Array(items.iter().map(|v| self.bare(s, v)).collect()),
                None => value.clone(),
            },
            // `5` and `5.0` are one number.
            Json::Number(n) => match n.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 1e15) {
                Some(whole) => Json::from(whole as i64),
                None => value.clone(),
            },
            other => other.clone(),
        }
    }
}
