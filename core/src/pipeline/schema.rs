use schemars::generate::SchemaSettings;
use serde_json::Map;

use crate::Json;
use crate::pipeline::{Verb, pointer_token};

/// Something that does not fit a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Misfit {
    pub(crate) pointer: String,
    pub(crate) message: String,
}

impl Misfit {
    /// A value that is not what its field wants. Names the field: `download.sha256`.
    fn of_value(pointer: String, message: &str) -> Self {
        let name = pointer.trim_start_matches('/').replace('/', ".").replace("~1", "/").replace("~0", "~");
        let message = if name.is_empty() { message.to_owned() } else { format!("`{name}`: {message}") };
        Self { pointer, message }
    }
}

/// Finds the nearest of several names, if one is near enough to be meant.
pub fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let (distance, best) =
        names.into_iter().map(|n| (strsim::damerau_levenshtein(name, n), n)).min_by_key(|(d, _)| *d)?;
    (distance <= 1 + name.chars().count() / 3).then_some(best)
}

/// Compares a value with a schema: unknown fields, missing fields, wrong types. References to outputs fit everywhere.
pub(crate) fn misfits(schema: &Json, value: &Json) -> Vec<Misfit> {
    let mut found = Vec::new();
    Walker { root: schema }.walk(schema, value, String::new(), &mut found);
    found
}

/// Walks a value along a schema whose `$ref`s are found in `root`.
pub(super) struct Walker<'a> {
    pub(super) root: &'a Json,
}

impl<'a> Walker<'a> {
    fn walk(&self, schema: &'a Json, value: &Json, at: String, found: &mut Vec<Misfit>) {
        if is_reference(value) {
            return;
        }
        let schema = self.follow(schema);
        for all in schema.get("allOf").and_then(Json::as_array).into_iter().flatten() {
            self.walk(all, value, at.clone(), found);
        }
        for key in ["anyOf", "oneOf"] {
            let Some(choices) = schema.get(key).and_then(Json::as_array) else { continue };
            if let Some(names) = self.constants(choices) {
                if !names.contains(value) {
                    found.push(Misfit::of_value(at.clone(), &not_among(&names, value)));
                }
                continue;
            }
            let mut best: Option<Vec<Misfit>> = None;
            for choice in choices {
                let mut misfits = Vec::new();
                self.walk(choice, value, at.clone(), &mut misfits);
                // The choice that understands most of the value was meant: deeper misfits are better ones.
                let better = best.as_ref().is_none_or(|old| rank(&misfits) < rank(old));
                if better {
                    best = Some(misfits);
                }
            }
            found.extend(best.unwrap_or_default());
        }
        if let Some(message) = wrong_type(schema, value) {
            found.push(Misfit::of_value(at, &message));
            return;
        }
        match value {
            Json::Object(map) => self.walk_object(schema, map, &at, found),
            Json::Array(items) => {
                if let Some(item) = schema.get("items") {
                    for (i, v) in items.iter().enumerate() {
                        self.walk(item, v, format!("{at}/{i}"), found);
                    }
                }
            }
            _ => {}
        }
    }

    fn walk_object(&self, schema: &'a Json, map: &Map<String, Json>, at: &str, found: &mut Vec<Misfit>) {
        let none = Map::new();
        let known = schema.get("properties").and_then(Json::as_object);
        let rest = schema.get("additionalProperties");
        for (key, v) in map {
            let here = format!("{at}/{}", pointer_token(key));
            match (known.and_then(|k| k.get(key)), rest) {
                (Some(s), _) => self.walk(s, v, here, found),
                (None, Some(Json::Bool(false))) => {
                    let mut message = format!("unknown field `{key}`");
                    let names = known.unwrap_or(&none).keys().map(String::as_str);
                    match nearest(key, names.clone()) {
                        Some(near) => message.push_str(&format!("; did you mean `{near}`?")),
                        None => {
                            let all: Vec<&str> = names.collect();
                            if !all.is_empty() {
                                message.push_str(&format!("; known are: {}", all.join(", ")));
                            }
                        }
                    }
                    found.push(Misfit { pointer: here, message });
                }
                (None, Some(s @ Json::Object(_))) => self.walk(s, v, here, found),
                _ => {}
            }
        }
        for key in schema.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str) {
            if !map.contains_key(key) {
                found.push(Misfit { pointer: at.to_owned(), message: format!("the field `{key}` is missing") });
            }
        }
    }

    /// The values of an enum whose variants are documented: a choice of constants.
    fn constants(&self, choices: &'a [Json]) -> Option<Vec<Json>> {
        let mut all = Vec::new();
        for choice in choices.iter().map(|c| self.follow(c)) {
            match (choice.get("const"), choice.get("enum").and_then(Json::as_array)) {
                (Some(one), _) => all.push(one.clone()),
                (None, Some(some)) => all.extend(some.iter().cloned()),
                (None, None) => return None,
            }
        }
        Some(all)
    }

    /// The plain schema that a value was written for: references followed, the best of several choices taken.
    pub(super) fn meant(&self, schema: &'a Json, value: &Json) -> &'a Json {
        let mut schema = self.follow(schema);
        for _ in 0..16 {
            let choices = ["anyOf", "oneOf", "allOf"].iter().find_map(|k| schema.get(k)).and_then(Json::as_array);
            let best = choices.into_iter().flatten().min_by_key(|choice| {
                let mut misfits = Vec::new();
                self.walk(choice, value, String::new(), &mut misfits);
                rank(&misfits)
            });
            match best {
                Some(best) => schema = self.follow(best),
                None => break,
            }
        }
        schema
    }

    fn follow(&self, schema: &'a Json) -> &'a Json {
        let mut schema = schema;
        // A chain of plain references is short; the bound only keeps a circular schema from hanging us.
        for _ in 0..16 {
            let Some(name) = schema.get("$ref").and_then(Json::as_str) else { break };
            match name.strip_prefix('#').and_then(|p| self.root.pointer(p)) {
                Some(target) => schema = target,
                None => break,
            }
        }
        schema
    }
}

/// Fewer misfits are better; of equally many the deeper ones.
fn rank(misfits: &[Misfit]) -> (usize, std::cmp::Reverse<usize>) {
    let depth = misfits.iter().map(|m| m.pointer.matches('/').count()).max().unwrap_or(usize::MAX);
    (misfits.len(), std::cmp::Reverse(depth))
}

fn is_reference(value: &Json) -> bool {
    let Some(map) = value.as_object().filter(|m| m.len() == 1) else { return false };
    map.get("from").is_some_and(Json::is_string)
        || map.get("param").is_some_and(Json::is_string)
        || map.contains_key("literal")
}

fn wrong_type(schema: &Json, value: &Json) -> Option<String> {
    if let Some(constant) = schema.get("const") {
        return (constant != value).then(|| format!("must be {constant}"));
    }
    if let Some(choices) = schema.get("enum").and_then(Json::as_array) {
        if choices.contains(value) {
            return None;
        }
        return Some(not_among(choices, value));
    }
    let wanted: Vec<&str> = match schema.get("type") {
        Some(Json::String(one)) => vec![one],
        Some(Json::Array(many)) => many.iter().filter_map(Json::as_str).collect(),
        _ => return None,
    };
    let fits = wanted.iter().any(|w| match *w {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|f| f.fract() == 0.0),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => true,
    });
    (!fits).then(|| format!("must be {}, not {}", wanted.join(" or "), type_name(value)))
}

fn not_among(choices: &[Json], value: &Json) -> String {
    let near = value.as_str().and_then(|v| nearest(v, choices.iter().filter_map(Json::as_str)));
    match near {
        Some(near) => format!("unknown value {value}; did you mean `{near}`?"),
        None => {
            let all: Vec<String> = choices.iter().map(ToString::to_string).collect();
            format!("must be one of {}", all.join(", "))
        }
    }
}

fn type_name(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a string",
        Json::Array(_) => "a list",
        Json::Object(_) => "a mapping",
    }
}

/// The schema of an input of a verb.
pub(crate) fn input_schema(verb: Verb, input: &str) -> Option<Json> {
    let decl = verb.inputs().iter().find(|i| i.name == input)?;
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let schema = (decl.schema)(&mut generator);
    let mut schema = schema.to_value();
    let definitions = generator.take_definitions(true);
    if let Some(map) = schema.as_object_mut() {
        map.insert("$defs".into(), Json::Object(definitions));
    }
    Some(schema)
}
