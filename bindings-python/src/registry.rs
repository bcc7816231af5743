use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use serde_json::json;
use towpath::pipeline::{ImageInput, LogFile, Pipeline, Role};
use towpath::rollout::{Rolling, RolloutReport, RolloutStatus};
use towpath::{
    Artifact, Configurator, Deployer, ErrorKind, ImageBuilder, Json, LogSink, Monitor, ProviderEntry, Provisioner,
    Registry,
};

use crate::class::PyProvider;
use crate::errors::{self, from_python, raise, to_python};
use crate::step;

/// A provider that is a Python class.
struct Registered {
    role: Role,
    name: String,
    factory: Py<PyAny>,
    schema: Json,
}

static REGISTERED: Mutex<Vec<Arc<Registered>>> = Mutex::new(Vec::new());

/// Adds what Python has registered, and finds Python's functions by their names.
pub(crate) fn extend(registry: &mut Registry) {
    registry.function_resolver(step::find);
    let all = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for one in all {
        let schema = one.schema.clone();
        add(registry, one).set_schema(schema);
    }
}

fn add(registry: &mut Registry, one: Arc<Registered>) -> &mut ProviderEntry {
    let name = one.name.clone();
    macro_rules! made {
        ($trait:ident) => {
            registry.provider::<dyn $trait, Json, _>(&name, move |config, _| {
                Ok(Arc::new(PyProvider::make(&one.name, &one.factory, config)?))
            })
        };
    }
    match one.role {
        Role::Configurator => made!(Configurator),
        Role::ImageBuilder => made!(ImageBuilder),
        Role::Deployer => made!(Deployer),
        Role::Monitor => made!(Monitor),
        Role::LogSink => made!(LogSink),
        // `register` lets no other role through.
        _ => made!(Provisioner),
    }
}

pub(crate) fn registry() -> Registry {
    let mut registry = towpath::registry();
    extend(&mut registry);
    registry
}

pub(crate) fn role(py: Python<'_>, name: &str) -> PyResult<Role> {
    errors::parse(json!(name), "the role").map_err(|e| raise(py, &e))
}

/// Registers a Python class as a provider: `factory(config, base_dir)` makes one. One of the same name is replaced.
#[pyfunction]
pub(crate) fn register(
    py: Python<'_>,
    role: &str,
    name: String,
    factory: Py<PyAny>,
    schema: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let role = self::role(py, role)?;
    if matches!(role, Role::Balancer | Role::Connector) {
        let message = format!("a {} can't be written in Python: it is on the path of every byte", role.as_str());
        return Err(raise(py, &towpath::Error::new(ErrorKind::Unsupported, "python", "register", message)));
    }
    let one = Arc::new(Registered { role, name, factory, schema: from_python(py, schema, "the schema")? });
    let mut all = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
    all.retain(|old| (old.role, &old.name) != (one.role, &one.name));
    all.push(one);
    Ok(())
}

/// Checks a provider's config alone, and names the field that was probably meant.
#[pyfunction]
pub(crate) fn check_config(py: Python<'_>, role: &str, name: &str, config: &Bound<'_, PyAny>) -> PyResult<()> {
    let (role, config) = (self::role(py, role)?, from_python::<Json>(py, config, "the config")?);
    registry().check_config(role, name, &config).map_err(|e| raise(py, &e))
}

/// Reads a pipeline file, checks it and gives its data.
#[pyfunction]
pub(crate) fn load(py: Python<'_>, path: PathBuf) -> PyResult<Bound<'_, PyAny>> {
    give(py, Pipeline::load(&path, &registry()))
}

/// Reads a pipeline from YAML text, checks it and gives its data.
#[pyfunction]
pub(crate) fn parse<'py>(py: Python<'py>, text: &str, name: &str) -> PyResult<Bound<'py, PyAny>> {
    give(py, Pipeline::from_yaml(text, name, &registry()))
}

fn give(py: Python<'_>, pipeline: towpath::Result<Pipeline>) -> PyResult<Bound<'_, PyAny>> {
    let json = pipeline.and_then(|p| errors::to_json(&p)).map_err(|e| raise(py, &e))?;
    to_python(py, &json)
}

/// A file that was built elsewhere, as an artifact.
#[pyfunction]
pub(crate) fn file_artifact<'py>(py: Python<'py>, name: &str, path: PathBuf) -> PyResult<Bound<'py, PyAny>> {
    let made = py.detach(|| Artifact::of_file(name, path));
    // Nothing is known about where it came from, so nothing is said.
    let made = made.map(|a| json!({ "name": a.name, "kind": a.kind, "id": a.id, "digest": a.digest }));
    to_python(py, &made.map_err(|e| raise(py, &e))?)
}

/// A plan as people read it.
#[pyfunction]
pub(crate) fn plan_text(py: Python<'_>, plan: &Bound<'_, PyAny>) -> PyResult<String> {
    from_python::<towpath::Plan>(py, plan, "the plan").map(|plan| plan.to_string())
}

/// The JSON Schemas of every provider's config and of the inputs that steps take, for the generated classes.
#[pyfunction]
pub(crate) fn schemas(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let registry = towpath::registry();
    let roles = [
        Role::Provisioner,
        Role::Configurator,
        Role::ImageBuilder,
        Role::Deployer,
        Role::Monitor,
        Role::LogSink,
        Role::Balancer,
        Role::Connector,
    ];
    let mut providers = Vec::new();
    for role in roles {
        for name in registry.names(role) {
            if let Some(entry) = registry.entry(role, name) {
                providers.push(json!({ "role": role, "provider": name, "schema": entry.schema() }));
            }
        }
    }
    let types: Vec<Json> = [
        schemars::schema_for!(towpath::Inventory),
        schemars::schema_for!(towpath::Release),
        schemars::schema_for!(towpath::Gate),
        schemars::schema_for!(Rolling),
        schemars::schema_for!(ImageInput),
        schemars::schema_for!(LogFile),
        schemars::schema_for!(towpath::LogRecord),
        schemars::schema_for!(towpath::Observation),
        schemars::schema_for!(towpath::Silence),
        schemars::schema_for!(towpath::pipeline::RetryPolicy),
        schemars::schema_for!(towpath::Environment),
        schemars::schema_for!(towpath::Deployment),
        schemars::schema_for!(RolloutStatus),
        schemars::schema_for!(RolloutReport),
    ]
    .into_iter()
    .map(schemars::Schema::to_value)
    .collect();
    to_python(py, &json!({ "providers": providers, "types": types }))
}
