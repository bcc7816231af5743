use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use pyo3::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::json;
use towpath::{
    Applied, Artifact, Base, Built, Capabilities, Configurator, Configured, Context, Deployer, Destroyed, Gate,
    GroupJob, GroupState, ImageBuilder, ImageDefinition, Json, LogRecord, LogSink, Monitor, Observation, Plan,
    Preflight, Probed, Provisioner, Release, Result, Silence, SilenceHandle, Staged, Target, TargetGroup, TargetState,
    Targets, Verdict,
};

use crate::errors::{self, parse};
use crate::runtime::python;
use crate::step::StepContext;

/// A provider that is an object of a Python class.
pub(crate) struct PyProvider {
    name: String,
    object: Arc<Py<PyAny>>,
    capabilities: Capabilities,
}

impl fmt::Debug for PyProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PyProvider({})", self.name)
    }
}

impl PyProvider {
    pub(crate) fn make(name: &str, factory: &Py<PyAny>, config: Json) -> Result<Self> {
        let make = || {
            Python::try_attach(|py| {
                let make = || -> PyResult<Self> {
                    let config = pythonize::pythonize(py, &config)?;
                    let made = py.import("towpath._classes")?.call_method1("make", (factory.bind(py), config))?;
                    let (object, verbs): (Py<PyAny>, Vec<String>) = made.extract()?;
                    let verbs: Vec<&str> = verbs.iter().map(String::as_str).collect();
                    Ok(Self { name: name.to_owned(), object: Arc::new(object), capabilities: Capabilities::of(&verbs) })
                };
                make().map_err(|e| errors::caught(py, &e, "make", name))
            })
            .unwrap_or_else(|| Err(errors::invalid("the interpreter is ending")))
        };
        match tokio::runtime::Handle::try_current() {
            Ok(_) => tokio::task::block_in_place(make),
            Err(_) => make(),
        }
    }

    /// Calls a verb of the class: its context, then `arguments` by their names.
    async fn verb<T: DeserializeOwned>(&self, cx: &Context, verb: &'static str, arguments: Json) -> Result<T> {
        let (name, object, cx) = (self.name.clone(), Arc::clone(&self.object), cx.clone());
        let given: Json = python(move |py| {
            let call = || -> PyResult<Json> {
                let arguments = pythonize::pythonize(py, &arguments)?;
                let arguments = (object.bind(py), verb, StepContext(cx), arguments);
                let given = py.import("towpath._classes")?.call_method1("call", arguments)?;
                errors::from_python(py, &given, verb)
            };
            call().map_err(|e| errors::caught(py, &e, verb, &name))
        })
        .await?;
        parse(given, &format!("what `{verb}` of `{}` returned", self.name))
    }
}

/// What a class sees of targets. Reaching the hosts is its own business.
fn targets(targets: &Targets) -> Json {
    json!({ "inventory": targets.inventory, "extra_vars": targets.extra_vars, "limit": targets.limit })
}

fn group(group: &TargetGroup) -> Json {
    json!({ "name": group.name, "inventory": group.inventory })
}

#[async_trait]
impl Provisioner for PyProvider {
    fn capabilities(&self) -> Capabilities {
        self.capabilities.clone()
    }
    async fn preflight(&self, cx: &Context) -> Result<Preflight> {
        self.verb(cx, "preflight", json!({})).await
    }
    async fn plan(&self, cx: &Context) -> Result<Plan> {
        self.verb(cx, "plan", json!({})).await
    }
    async fn apply(&self, cx: &Context) -> Result<Applied> {
        self.verb(cx, "apply", json!({})).await
    }
    async fn probe(&self, cx: &Context) -> Result<Probed> {
        self.verb(cx, "probe", json!({})).await
    }
    async fn destroy(&self, cx: &Context) -> Result<Destroyed> {
        self.verb(cx, "destroy", json!({})).await
    }
}

#[async_trait]
impl Configurator for PyProvider {
    fn capabilities(&self) -> Capabilities {
        self.capabilities.clone()
    }
    async fn preflight(&self, cx: &Context) -> Result<Preflight> {
        self.verb(cx, "preflight", json!({})).await
    }
    async fn plan(&self, cx: &Context, to: &Targets) -> Result<Plan> {
        self.verb(cx, "plan", json!({ "targets": targets(to) })).await
    }
    async fn apply(&self, cx: &Context, to: &Targets) -> Result<Configured> {
        self.verb(cx, "apply", json!({ "targets": targets(to) })).await
    }
    async fn digest(&self, cx: &Context) -> Result<String> {
        self.verb(cx, "digest", json!({})).await
    }
}

/// What a class sees of an image. Configurators are objects that it can't call; an image with some is refused.
fn image(image: &ImageDefinition) -> Result<Json> {
    if !image.configure.is_empty() {
        return Err(towpath::Error::new(
            towpath::ErrorKind::Unsupported,
            "python",
            "image",
            "an image builder written in Python can't run configurators: configure the host in a step before",
        ));
    }
    let base = match &image.base {
        Base::Host(host) => json!({ "host": host }),
        Base::Image(name) => json!({ "image": name }),
        Base::Artifact(artifact) => json!({ "artifact": artifact }),
    };
    Ok(json!({ "image": { "name": image.name, "base": base, "artifacts": image.artifacts, "labels": image.labels } }))
}

#[async_trait]
impl ImageBuilder for PyProvider {
    fn capabilities(&self) -> Capabilities {
        self.capabilities.clone()
    }
    async fn preflight(&self, cx: &Context) -> Result<Preflight> {
        self.verb(cx, "preflight", json!({})).await
    }
    async fn plan(&self, cx: &Context, of: &ImageDefinition) -> Result<Plan> {
        self.verb(cx, "plan", image(of)?).await
    }
    async fn build(&self, cx: &Context, of: &ImageDefinition) -> Result<Built> {
        self.verb(cx, "build", image(of)?).await
    }
    async fn probe(&self, cx: &Context, artifact: &Artifact) -> Result<Option<Artifact>> {
        self.verb(cx, "probe", json!({ "artifact": artifact })).await
    }
    async fn remove(&self, cx: &Context, artifact: &Artifact) -> Result<bool> {
        self.verb(cx, "remove", json!({ "artifact": artifact })).await
    }
}

#[async_trait]
impl Deployer for PyProvider {
    fn capabilities(&self) -> Capabilities {
        self.capabilities.clone()
    }
    async fn preflight(&self, cx: &Context) -> Result<Preflight> {
        self.verb(cx, "preflight", json!({})).await
    }
    async fn stage(&self, cx: &Context, target: &Target, release: &Release) -> Result<Staged> {
        self.verb(cx, "stage", json!({ "host": target.host, "release": release })).await
    }
    async fn activate(&self, cx: &Context, target: &Target, release: &Release) -> Result<()> {
        self.verb(cx, "activate", json!({ "host": target.host, "release": release })).await
    }
    async fn deactivate(&self, cx: &Context, target: &Target) -> Result<()> {
        self.verb(cx, "deactivate", json!({ "host": target.host })).await
    }
    async fn probe(&self, cx: &Context, target: &Target) -> Result<TargetState> {
        self.verb(cx, "probe", json!({ "host": target.host })).await
    }
    async fn start(&self, cx: &Context, to: &TargetGroup, release: &Release) -> Result<GroupJob> {
        self.verb(cx, "start", json!({ "group": group(to), "release": release })).await
    }
    async fn follow(&self, cx: &Context, job: &GroupJob) -> Result<GroupState> {
        self.verb(cx, "follow", json!({ "job": job })).await
    }
    async fn cancel(&self, cx: &Context, job: &GroupJob) -> Result<()> {
        self.verb(cx, "cancel", json!({ "job": job })).await
    }
    async fn probe_group(&self, cx: &Context, of: &TargetGroup) -> Result<GroupState> {
        self.verb(cx, "probe_group", json!({ "group": group(of) })).await
    }
}

#[async_trait]
impl Monitor for PyProvider {
    fn capabilities(&self) -> Capabilities {
        self.capabilities.clone()
    }
    async fn preflight(&self, cx: &Context) -> Result<Preflight> {
        self.verb(cx, "preflight", json!({})).await
    }
    async fn record(&self, cx: &Context, observations: &[Observation]) -> Result<()> {
        self.verb(cx, "record", json!({ "observations": observations })).await
    }
    async fn assess(&self, cx: &Context, gate: &Gate, to: &Targets) -> Result<Verdict> {
        self.verb(cx, "assess", json!({ "gate": gate, "targets": targets(to) })).await
    }
    async fn silence(&self, cx: &Context, silence: &Silence) -> Result<SilenceHandle> {
        self.verb(cx, "silence", json!({ "silence": silence })).await
    }
    async fn unsilence(&self, cx: &Context, handle: &SilenceHandle) -> Result<()> {
        self.verb(cx, "unsilence", json!({ "handle": handle })).await
    }
}

#[async_trait]
impl LogSink for PyProvider {
    fn capabilities(&self) -> Capabilities {
        self.capabilities.clone()
    }
    async fn preflight(&self, cx: &Context) -> Result<Preflight> {
        self.verb(cx, "preflight", json!({})).await
    }
    async fn append(&self, cx: &Context, records: &[LogRecord]) -> Result<()> {
        self.verb(cx, "append", json!({ "records": records })).await
    }
    async fn flush(&self, cx: &Context) -> Result<()> {
        self.verb(cx, "flush", json!({})).await
    }
    async fn close(&self, cx: &Context) -> Result<()> {
        self.verb(cx, "close", json!({})).await
    }
}
