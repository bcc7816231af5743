use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::pipeline::Values;
use crate::{Artifact, Configured, Environment, Error, ErrorKind, Inventory, Json, Result, Verdict};

/// What an output is, so that hosts can't be wired where a verdict belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OutputKind {
    /// Hosts and groups.
    Inventory,
    /// What a provisioner made.
    Environment,
    /// Something baked.
    Artifact,
    /// What a configurator did.
    Configured,
    /// What became of a release.
    Deployment,
    /// The answer of a gate.
    Verdict,
    /// Text.
    String,
    /// A number.
    Number,
    /// Yes or no.
    Boolean,
    /// Any JSON value.
    Json,
}

impl OutputKind {
    /// Says whether an output of this kind may go where `wanted` is needed. What is only known as JSON is checked when it
    /// is there.
    pub fn fits(self, wanted: Self) -> bool {
        self == wanted || self == Self::Json || wanted == Self::Json
    }

    /// Its name as pipelines spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inventory => "inventory",
            Self::Environment => "environment",
            Self::Artifact => "artifact",
            Self::Configured => "configured",
            Self::Deployment => "deployment",
            Self::Verdict => "verdict",
            Self::String => "string",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Json => "json",
        }
    }
}

/// A type that outputs can have.
pub trait OutputType: DeserializeOwned {
    /// How pipelines call it.
    const KIND: OutputKind;
}

macro_rules! output_types {
    ($($ty:ty => $kind:ident),* $(,)?) => { $(impl OutputType for $ty { const KIND: OutputKind = OutputKind::$kind; })* };
}
output_types! {
    Inventory => Inventory, Environment => Environment, Artifact => Artifact, Configured => Configured,
    crate::Deployment => Deployment, Verdict => Verdict, String => String, f64 => Number, u64 => Number, i64 => Number,
    bool => Boolean, Json => Json, Vec<String> => Json, BTreeMap<String, Json> => Json, Vec<Artifact> => Json,
}

/// An output of a step, by its type. Pass it to a later step; read its value from the run's report.
pub struct Output<T> {
    pub(crate) step: String,
    pub(crate) name: String,
    kind: PhantomData<fn() -> T>,
}

impl<T> Output<T> {
    /// Refers to an output by step and name; the check of the pipeline says whether it exists.
    pub fn of(step: impl Into<String>, name: impl Into<String>) -> Self {
        Self { step: step.into(), name: name.into(), kind: PhantomData }
    }

    /// As references spell it: `step.output`.
    pub fn reference(&self) -> String {
        format!("{}.{}", self.step, self.name)
    }
}

impl<T> Clone for Output<T> {
    fn clone(&self) -> Self {
        Self::of(&self.step, &self.name)
    }
}

impl<T> fmt::Debug for Output<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Output({})", self.reference())
    }
}

/// A parameter of a pipeline, by its type.
pub struct Param<T> {
    pub(crate) name: String,
    kind: PhantomData<fn() -> T>,
}

impl<T> Param<T> {
    pub(crate) fn new(name: String) -> Self {
        Self { name, kind: PhantomData }
    }
}

impl<T> fmt::Debug for Param<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Param({})", self.name)
    }
}

/// What a step gets: JSON in which, at any depth, `{from: step.output}` stands for an output, `{param: name}` for a
/// parameter, and `{literal: value}` for a value that only looks like one of these.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Input(pub Json);

/// What an [`Input`] of type `T` is made from: a `T`, an [`Output<T>`] or a [`Param<T>`].
pub struct In<T> {
    pub(crate) json: Json,
    kind: PhantomData<fn() -> T>,
}

impl<T> In<T> {
    /// Wraps JSON that may hold references. Whether it is a `T` is checked when the step starts.
    pub fn template(json: Json) -> Self {
        Self { json, kind: PhantomData }
    }
}

impl<T> Clone for In<T> {
    fn clone(&self) -> Self {
        Self::template(self.json.clone())
    }
}

impl<T> fmt::Debug for In<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "In({})", self.json)
    }
}

impl<T: Serialize> From<T> for In<T> {
    fn from(value: T) -> Self {
        // Types of the vocabulary have string keys and finite numbers; anything else becomes null and is refused by the
        // step's own type.
        Self::template(escape(serde_json::to_value(value).unwrap_or_default()))
    }
}

impl<T> From<Output<T>> for In<T> {
    fn from(output: Output<T>) -> Self {
        Self::template(serde_json::json!({ "from": output.reference() }))
    }
}

impl<T> From<&Output<T>> for In<T> {
    fn from(output: &Output<T>) -> Self {
        Self::template(serde_json::json!({ "from": output.reference() }))
    }
}

impl<T> From<&Param<T>> for In<T> {
    fn from(param: &Param<T>) -> Self {
        Self::template(serde_json::json!({ "param": param.name }))
    }
}

impl From<&str> for In<String> {
    fn from(text: &str) -> Self {
        Self::template(Json::String(text.to_owned()))
    }
}

impl<T> From<In<T>> for Input {
    fn from(value: In<T>) -> Self {
        Self(value.json)
    }
}

/// A literal that looks like a reference is wrapped, so that it stays one.
fn escape(value: Json) -> Json {
    match value {
        Json::Object(map) if reference(&map).is_some() => serde_json::json!({ "literal": map }),
        Json::Object(map) => Json::Object(map.into_iter().map(|(k, v)| (k, escape(v))).collect()),
        Json::Array(items) => Json::Array(items.into_iter().map(escape).collect()),
        other => other,
    }
}

/// A reference inside an [`Input`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// `{from: step.output}`.
    Output {
        /// The step.
        step: String,
        /// Its output.
        output: String,
    },
    /// `{param: name}`.
    Param(String),
}

enum Special<'a> {
    From(&'a str),
    Param(&'a str),
    Literal(&'a Json),
}

fn reference(map: &serde_json::Map<String, Json>) -> Option<Special<'_>> {
    let (key, value) = map.iter().next().filter(|_| map.len() == 1)?;
    match (key.as_str(), value) {
        ("from", Json::String(s)) => Some(Special::From(s)),
        ("param", Json::String(s)) => Some(Special::Param(s)),
        ("literal", value) => Some(Special::Literal(value)),
        _ => None,
    }
}

fn split(from: &str) -> (&str, &str) {
    from.split_once('.').unwrap_or((from, ""))
}

impl Input {
    /// All references in it, each with its JSON pointer inside the input (empty for the input itself).
    pub fn references(&self) -> Vec<(String, Reference)> {
        let mut found = Vec::new();
        collect(&self.0, String::new(), &mut found);
        found
    }

    /// Replaces all references by values.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): an output or parameter that does not exist.
    pub fn resolve<'a>(&self, outputs: &dyn Fn(&str, &str) -> Option<&'a Json>, parameters: &Values) -> Result<Json> {
        resolve(&self.0, outputs, parameters)
    }
}

/// Replaces `{param: name}` in a config.
///
/// # Errors
///
/// [`InvalidInput`](ErrorKind::InvalidInput): a parameter that does not exist.
pub(crate) fn with_parameters(config: &Json, parameters: &Values) -> Result<Json> {
    match config {
        Json::Object(map) => match reference(map) {
            Some(Special::Param(name)) => parameter(name, parameters),
            Some(Special::Literal(value)) => Ok(value.clone()),
            _ => Ok(Json::Object(
                map.iter().map(|(k, v)| Ok((k.clone(), with_parameters(v, parameters)?))).collect::<Result<_>>()?,
            )),
        },
        Json::Array(items) => {
            Ok(Json::Array(items.iter().map(|v| with_parameters(v, parameters)).collect::<Result<_>>()?))
        }
        other => Ok(other.clone()),
    }
}

fn parameter(name: &str, parameters: &Values) -> Result<Json> {
    parameters.get(name).cloned().ok_or_else(|| {
        Error::new(ErrorKind::InvalidInput, "core", "inputs", "the pipeline has no such parameter")
            .with("parameter", name)
    })
}

fn collect(value: &Json, at: String, found: &mut Vec<(String, Reference)>) {
    match value {
        Json::Object(map) => match reference(map) {
            Some(Special::From(from)) => {
                let (step, output) = split(from);
                found.push((at, Reference::Output { step: step.into(), output: output.into() }));
            }
            Some(Special::Param(name)) => found.push((at, Reference::Param(name.to_owned()))),
            Some(Special::Literal(_)) => {}
            None => map.iter().for_each(|(k, v)| collect(v, format!("{at}/{}", pointer_token(k)), found)),
        },
        Json::Array(items) => {
            items.iter().enumerate().for_each(|(i, v)| collect(v, format!("{at}/{i}"), found));
        }
        _ => {}
    }
}

/// Escapes a key for a JSON pointer (RFC 6901).
pub(crate) fn pointer_token(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn resolve<'a>(value: &Json, outputs: &dyn Fn(&str, &str) -> Option<&'a Json>, parameters: &Values) -> Result<Json> {
    match value {
        Json::Object(map) => match reference(map) {
            Some(Special::From(from)) => {
                let (step, output) = split(from);
                outputs(step, output).cloned().ok_or_else(|| {
                    Error::new(ErrorKind::InvalidInput, "core", "inputs", "the step did not give this output")
                        .with("from", from)
                })
            }
            Some(Special::Param(name)) => parameter(name, parameters),
            Some(Special::Literal(value)) => Ok(value.clone()),
            None => Ok(Json::Object(
                map.iter().map(|(k, v)| Ok((k.clone(), resolve(v, outputs, parameters)?))).collect::<Result<_>>()?,
            )),
        },
        Json::Array(items) => {
            Ok(Json::Array(items.iter().map(|v| resolve(v, outputs, parameters)).collect::<Result<_>>()?))
        }
        other => Ok(other.clone()),
    }
}

impl<T> From<Output<T>> for Input {
    fn from(output: Output<T>) -> Self {
        In::from(output).into()
    }
}

impl<T> From<&Output<T>> for Input {
    fn from(output: &Output<T>) -> Self {
        In::from(output).into()
    }
}

impl<T> From<&Param<T>> for Input {
    fn from(param: &Param<T>) -> Self {
        In::from(param).into()
    }
}

impl From<Json> for Input {
    /// Takes JSON as it is, references included.
    fn from(json: Json) -> Self {
        Self(json)
    }
}
