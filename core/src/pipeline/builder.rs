use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use crate::pipeline::{
    CallStep, ConfigureStep, DeployStep, GateStep, ImageInput, ImageStep, In, Input, LogFile, OutputType, Param,
    Pipeline, ProviderSpec, ProvisionStep, RecordStep, ShipLogsStep, Step, StepHandle, StepOptions, StepUse, Verb,
};
use crate::{
    Configurator, Deployer, Gate, ImageBuilder, Inventory, Json, LogSink, Monitor, Observation, Provisioner, Release,
};

/// Writes a [`Pipeline`] with typed handles, so that wiring a verdict where hosts belong does not compile.
///
/// ```
/// use towpath_core::pipeline::{PipelineBuilder, ProviderSpec};
/// # use serde_json::json;
/// let p = PipelineBuilder::new("web");
/// let fleet = p.provision("fleet", ProviderSpec::new("local", json!({ "hosts": 3 })));
/// let site = p.configure("site", ProviderSpec::new("playbook", json!({ "file": "site.yml" })), fleet.inventory());
/// p.call("announce", "announce/v1").input("configured", site.configured());
/// let pipeline = p.finish();
/// assert_eq!(pipeline.steps.len(), 3);
/// ```
#[derive(Debug, Clone)]
pub struct PipelineBuilder(Arc<Mutex<Pipeline>>);

impl PipelineBuilder {
    /// Starts an empty pipeline.
    pub fn new(name: impl Into<String>) -> Self {
        Self(Arc::new(Mutex::new(Pipeline { name: name.into(), ..Pipeline::default() })))
    }

    /// Gives the pipeline as it is now.
    pub fn finish(&self) -> Pipeline {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pipeline> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Declares a parameter with its default.
    pub fn parameter<T: OutputType + serde::Serialize>(&self, name: impl Into<String>, default: T) -> Param<T> {
        let name = name.into();
        self.lock().parameters.insert(name.clone(), serde_json::to_value(default).unwrap_or_default());
        Param::new(name)
    }

    /// Sets the config of a connector: `ssh`, `{"host_keys": "accept_new"}`.
    pub fn connector(&self, name: impl Into<String>, config: Json) {
        self.lock().connectors.insert(name.into(), config);
    }

    fn add<V>(&self, name: &str, uses: StepUse, inputs: Vec<(&str, Input)>) -> StepHandle<V> {
        let mut pipeline = self.lock();
        pipeline.steps.push(Step {
            name: name.to_owned(),
            uses,
            inputs: inputs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
            outputs: BTreeMap::new(),
            options: StepOptions::default(),
        });
        StepHandle {
            pipeline: Arc::clone(&self.0),
            index: pipeline.steps.len() - 1,
            name: name.to_owned(),
            verb: PhantomData,
        }
    }

    /// Makes hosts.
    pub fn provision(&self, name: &str, with: impl Into<ProviderSpec<dyn Provisioner>>) -> ProvisionStep {
        self.add(name, uses(Verb::Provision, with.into()), Vec::new())
    }

    /// Brings hosts into a state.
    pub fn configure(
        &self,
        name: &str,
        with: impl Into<ProviderSpec<dyn Configurator>>,
        inventory: impl Into<In<Inventory>>,
    ) -> ConfigureStep {
        self.add(name, uses(Verb::Configure, with.into()), vec![("inventory", inventory.into().into())])
    }

    /// Bakes artifacts. Write `image` with [`ImageSpec`](crate::pipeline::ImageSpec).
    pub fn build_image(
        &self,
        name: &str,
        with: impl Into<ProviderSpec<dyn ImageBuilder>>,
        image: impl Into<In<ImageInput>>,
    ) -> ImageStep {
        self.add(name, uses(Verb::BuildImage, with.into()), vec![("image", image.into().into())])
    }

    /// Rolls a release out. Write `release` with [`ReleaseSpec`](crate::pipeline::ReleaseSpec) if parts of it come from
    /// elsewhere.
    pub fn deploy(
        &self,
        name: &str,
        with: impl Into<ProviderSpec<dyn Deployer>>,
        release: impl Into<In<Release>>,
        inventory: impl Into<In<Inventory>>,
    ) -> DeployStep {
        let inputs = vec![("release", release.into().into()), ("inventory", inventory.into().into())];
        self.add(name, uses(Verb::Deploy, with.into()), inputs)
    }

    /// Asks a monitor whether all is well; anything but a pass fails the step.
    pub fn gate(
        &self,
        name: &str,
        with: impl Into<ProviderSpec<dyn Monitor>>,
        gate: impl Into<In<Gate>>,
        inventory: impl Into<In<Inventory>>,
    ) -> GateStep {
        let inputs = vec![("rule", gate.into().into()), ("inventory", inventory.into().into())];
        self.add(name, uses(Verb::Gate, with.into()), inputs)
    }

    /// Hands observations to a monitor.
    pub fn record(
        &self,
        name: &str,
        with: impl Into<ProviderSpec<dyn Monitor>>,
        observations: impl Into<In<Vec<Observation>>>,
    ) -> RecordStep {
        self.add(name, uses(Verb::Record, with.into()), vec![("observations", observations.into().into())])
    }

    /// Collects files of hosts into a log sink.
    pub fn ship_logs(
        &self,
        name: &str,
        with: impl Into<ProviderSpec<dyn LogSink>>,
        files: impl Into<In<Vec<LogFile>>>,
        inventory: impl Into<In<Inventory>>,
    ) -> ShipLogsStep {
        let inputs = vec![("files", files.into().into()), ("inventory", inventory.into().into())];
        self.add(name, uses(Verb::ShipLogs, with.into()), inputs)
    }

    /// Calls a function that the registry knows under this stable name and version: `migrate/v1`.
    pub fn call(&self, name: &str, function: &str) -> CallStep {
        let uses = StepUse { verb: Verb::Call, provider: function.to_owned(), config: Json::Null };
        self.add(name, uses, Vec::new())
    }
}

fn uses<K: ?Sized>(verb: Verb, spec: ProviderSpec<K>) -> StepUse {
    StepUse { verb, provider: spec.provider, config: spec.config }
}

impl From<&PipelineBuilder> for Pipeline {
    fn from(builder: &PipelineBuilder) -> Self {
        builder.finish()
    }
}
