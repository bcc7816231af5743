//! The JSON Schema of pipeline files as people write them, for editors and checks outside of towpath.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use serde_json::{Map, json};

use crate::pipeline::{OutputKind, Role, StepOptions, Verb};
use crate::{Json, Registry};

const PARAMETER: &str = "#/$defs/parameter";
const REFERENCE: &str = "#/$defs/reference";
/// Types of options and of inputs may have the same name.
const OPTION: &str = "option.";
const INPUT: &str = "input.";

impl Registry {
    /// The JSON Schema (2020-12) of pipeline files, with the config of every registered provider in its place. Where a
    /// parameter or another step's output may stand, it may stand here, too.
    pub fn pipeline_schema(&self) -> Json {
        let mut definitions = Map::new();
        let options = options(&mut definitions);
        let inputs = inputs(&mut definitions);
        for role in Role::ALL {
            for name in self.names(*role) {
                self.define_config(*role, name, &mut definitions);
            }
        }
        let mut steps = [Vec::new(), Vec::new()];
        for verb in Verb::ALL {
            for (listed, steps) in steps.iter_mut().enumerate() {
                let id = format!("{}{}", if listed == 0 { "step." } else { "listed_step." }, verb.as_str());
                let step = self.step(*verb, &options, &inputs, listed == 1);
                definitions.insert(id.clone(), step);
                steps.push((*verb, json!({ "$ref": format!("#/$defs/{id}") })));
            }
        }
        let [named, listed] = steps;
        definitions.insert("step".into(), chosen("A step has one key that names its verb.", named));
        definitions.insert("listed_step".into(), chosen("A step of a list has a name, too.", listed));
        definitions.insert("parameter".into(), parameter());
        definitions.insert("reference".into(), reference());
        let connectors: Map<String, Json> = self
            .names(Role::Connector)
            .into_iter()
            .map(|n| (n.to_owned(), json!({ "$ref": format!("#/$defs/{}", config_name(Role::Connector, n)) })))
            .collect();
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "towpath pipeline file",
            "type": "object",
            "required": ["name", "steps"],
            "additionalProperties": false,
            "properties": {
                "name": {
                    "description": "Its name. Together with the environment it identifies a run that can be continued.",
                    "type": "string",
                },
                "parameters": {
                    "description": "Parameters and their values; a run may give others. Inputs and configs use them as `{param: name}`.",
                    "type": "object",
                },
                "connectors": {
                    "description": "Settings of connectors by their name.",
                    "type": "object",
                    "properties": connectors,
                    "additionalProperties": false,
                },
                "steps": {
                    "description": "The steps by their names. Their order counts only for display: what runs when follows from inputs and `after`.",
                    "type": ["object", "array"],
                    "additionalProperties": { "$ref": "#/$defs/step" },
                    "items": { "$ref": "#/$defs/listed_step" },
                },
            },
            "$defs": definitions,
        })
    }

    /// The JSON Schema of every registered provider's config, by kind and name: `provisioner-local`, `connector-ssh`.
    pub fn config_schemas(&self) -> BTreeMap<String, Json> {
        let of = |role: Role| self.names(role).into_iter().map(move |name| (role, name.to_owned()));
        let all = Role::ALL.iter().flat_map(|role| of(*role));
        all.filter_map(|(role, name)| {
            let schema = self.entry(role, &name)?.schema().clone();
            Some((format!("{}-{name}", role.key()), schema))
        })
        .collect()
    }

    /// Puts the config of a provider among the definitions, with its own types under names that can't clash.
    fn define_config(&self, role: Role, name: &str, into: &mut Map<String, Json>) {
        let Some(entry) = self.entry(role, name) else { return };
        let id = config_name(role, name);
        let mut schema = entry.schema().clone();
        let prefix = format!("{id}.");
        rename_references(&mut schema, &prefix);
        allow_inside(&mut schema, PARAMETER);
        if let Some(map) = schema.as_object_mut() {
            map.remove("$schema");
            if let Some(Json::Object(definitions)) = map.remove("$defs") {
                into.extend(definitions.into_iter().map(|(k, mut v)| {
                    allow_inside(&mut v, PARAMETER);
                    (format!("{prefix}{k}"), v)
                }));
            }
        }
        into.insert(id, schema);
    }

    fn step(&self, verb: Verb, options: &Map<String, Json>, inputs: &Map<String, Json>, listed: bool) -> Json {
        let mut properties = Map::new();
        let mut required = vec![verb.as_str()];
        properties.insert(verb.as_str().to_owned(), self.uses(verb));
        if listed {
            properties
                .insert("name".into(), json!({ "description": "Its name, unique in the pipeline.", "type": "string" }));
            required.push("name");
        }
        for input in verb.inputs() {
            let of = inputs.get(&input_name(verb, input.name)).cloned().unwrap_or_else(|| json!({}));
            let schema = json!({ "description": input.description, "anyOf": [of, { "$ref": REFERENCE }] });
            properties.insert(input.name.to_owned(), schema);
            if input.required {
                required.push(input.name);
            }
        }
        properties.extend(options.clone());
        json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": verb == Verb::Call,
        })
    }

    /// What stands at the key of a verb: a provider's name alone, or with its config.
    fn uses(&self, verb: Verb) -> Json {
        let Some(role) = verb.role() else {
            return json!({ "description": "The name of a registered function: `migrate/v1`.", "type": "string" });
        };
        let mut configs = Map::new();
        let mut alone = Vec::new();
        for name in self.names(role) {
            let config = json!({ "$ref": format!("#/$defs/{}", config_name(role, name)) });
            let needs = self.entry(role, name).and_then(|e| e.schema().get("required")).and_then(Json::as_array);
            if needs.is_none_or(Vec::is_empty) {
                alone.push(name);
                configs.insert(name.to_owned(), json!({ "anyOf": [config, { "type": "null" }] }));
            } else {
                configs.insert(name.to_owned(), config);
            }
        }
        let with_config = json!({
            "type": "object",
            "properties": configs,
            "additionalProperties": false,
            "minProperties": 1,
            "maxProperties": 1,
        });
        let description = format!("The {} that does it, by its name, with its config.", role.as_str());
        if alone.is_empty() {
            let mut one = with_config;
            describe(&mut one, &description);
            return one;
        }
        json!({ "description": description, "anyOf": [with_config, { "enum": alone }] })
    }
}

/// The step that the verb says, so that what is told about a wrong one is about that verb only.
fn chosen(description: &str, steps: Vec<(Verb, Json)>) -> Json {
    let required = |verb: &Verb| json!({ "required": [verb.as_str()] });
    let one: Vec<Json> = steps.iter().map(|(verb, _)| required(verb)).collect();
    let then: Vec<Json> = steps.iter().map(|(verb, step)| json!({ "if": required(verb), "then": step })).collect();
    json!({ "description": description, "type": "object", "oneOf": one, "allOf": then })
}

fn describe(schema: &mut Json, description: &str) {
    if let Some(map) = schema.as_object_mut() {
        map.insert("description".into(), description.into());
    }
}

fn config_name(role: Role, name: &str) -> String {
    format!("{}.{name}", role.key())
}

fn input_name(verb: Verb, input: &str) -> String {
    format!("{}.{input}", verb.as_str())
}

fn parameter() -> Json {
    json!({
        "description": "A parameter of the pipeline, or a value that only looks like one.",
        "oneOf": [
            {
                "type": "object",
                "properties": { "param": { "description": "The parameter's name.", "type": "string" } },
                "required": ["param"],
                "additionalProperties": false,
            },
            {
                "type": "object",
                "properties": { "literal": { "description": "The value as it is." } },
                "required": ["literal"],
                "additionalProperties": false,
            },
        ],
    })
}

fn reference() -> Json {
    json!({
        "description": "An output of another step, a parameter, or a value that only looks like one of these.",
        "oneOf": [
            {
                "type": "object",
                "properties": { "from": { "description": "The output: `step.output`.", "type": "string" } },
                "required": ["from"],
                "additionalProperties": false,
            },
            { "$ref": PARAMETER },
        ],
    })
}

/// The options of steps, and what a step declares beside them.
fn options(definitions: &mut Map<String, Json>) -> Map<String, Json> {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let mut all = generator.root_schema_for::<StepOptions>().to_value();
    let mut outputs = generator.subschema_for::<OutputKind>().to_value();
    rename_references(&mut all, OPTION);
    rename_references(&mut outputs, OPTION);
    for (name, mut schema) in generator.take_definitions(true) {
        rename_references(&mut schema, OPTION);
        definitions.insert(format!("{OPTION}{name}"), schema);
    }
    definitions.remove(&format!("{OPTION}StepOptions"));
    let mut options = match all.get_mut("properties").map(Json::take) {
        Some(Json::Object(options)) => options,
        _ => Map::new(),
    };
    for key in ["after", "lease"] {
        if let Some(list) = options.get_mut(key) {
            let description = list.get("description").cloned().unwrap_or_default();
            *list = json!({
                "description": description,
                "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }],
            });
        }
    }
    options.insert(
        "outputs".into(),
        json!({
            "description": "Outputs that the provider can't declare, since only this step's author knows them.",
            "type": "object",
            "additionalProperties": outputs,
        }),
    );
    options
}

/// The inputs of all verbs, as `verb.input`.
fn inputs(definitions: &mut Map<String, Json>) -> Map<String, Json> {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let mut inputs = Map::new();
    for verb in Verb::ALL {
        for input in verb.inputs() {
            let mut schema = (input.schema)(&mut generator).to_value();
            rename_references(&mut schema, INPUT);
            allow_inside(&mut schema, REFERENCE);
            inputs.insert(input_name(*verb, input.name), schema);
        }
    }
    for (name, mut schema) in generator.take_definitions(true) {
        rename_references(&mut schema, INPUT);
        allow_inside(&mut schema, REFERENCE);
        definitions.insert(format!("{INPUT}{name}"), schema);
    }
    inputs
}

/// Lets a reference stand wherever a value stands inside a schema, but not in the place of the whole.
fn allow_inside(schema: &mut Json, reference: &str) {
    let Some(map) = schema.as_object_mut() else { return };
    for (key, value) in map {
        match (key.as_str(), value) {
            ("properties" | "patternProperties", Json::Object(values)) => {
                values.values_mut().for_each(|v| allow(v, reference));
            }
            ("items" | "additionalProperties", value @ Json::Object(_)) => allow(value, reference),
            ("prefixItems", Json::Array(items)) => items.iter_mut().for_each(|v| allow(v, reference)),
            ("allOf" | "anyOf" | "oneOf", Json::Array(choices)) => {
                choices.iter_mut().for_each(|v| allow_inside(v, reference));
            }
            _ => {}
        }
    }
}

fn allow(schema: &mut Json, reference: &str) {
    allow_inside(schema, reference);
    let Some(map) = schema.as_object_mut() else { return };
    let says = |k: &str| !matches!(k, "description" | "title" | "default" | "examples" | "deprecated");
    if !map.keys().any(|k| says(k)) {
        return; // Anything may stand here already.
    }
    // What editors show stays where they look for it.
    let mut around = Map::new();
    for key in ["description", "title", "default", "examples", "deprecated"] {
        if let Some(value) = map.shift_remove(key) {
            around.insert(key.to_owned(), value);
        }
    }
    around.insert("anyOf".into(), json!([Json::Object(std::mem::take(map)), { "$ref": reference }]));
    *schema = Json::Object(around);
}

fn rename_references(schema: &mut Json, prefix: &str) {
    match schema {
        Json::Object(map) => {
            for (key, value) in map {
                match value {
                    Json::String(s) if key == "$ref" => {
                        if let Some(name) = s.strip_prefix("#/$defs/") {
                            *s = format!("#/$defs/{prefix}{name}");
                        }
                    }
                    other => rename_references(other, prefix),
                }
            }
        }
        Json::Array(items) => items.iter_mut().for_each(|v| rename_references(v, prefix)),
        _ => {}
    }
}
