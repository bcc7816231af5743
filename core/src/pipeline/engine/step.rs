//! What each verb does with its provider.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::pipeline::engine::logs;
use crate::pipeline::{
    BaseInput, ImageInput, LogFile, Pipeline, ProviderKind, ProviderRef, Step, Values, Verb, artifact_output,
    with_parameters,
};
use crate::rollout::{Rolling, Rollout, RolloutOutcome};
use crate::{
    Balancer, Base, Configurator, Context, Deployer, Error, ErrorKind, ErrorRecord, Gate, ImageBuilder,
    ImageDefinition, Inventory, Json, LogRecord, LogSink, Monitor, Observation, Preflight, Provisioner, Registry,
    Release, RemoteGroup, Result, Setup, StepState, Targets, Vars, VerdictKind,
};

/// What a step's attempt came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) state: StepState,
    pub(crate) outputs: Values,
    /// Why a rollout ended badly: an outcome of its own, not an error.
    pub(crate) failure: Option<ErrorRecord>,
}

impl Outcome {
    fn of(unchanged: bool, outputs: Values) -> Self {
        let state = if unchanged { StepState::Unchanged } else { StepState::Done };
        Self { state, outputs, failure: None }
    }
}

/// Everything that a verb's work needs.
pub(crate) struct Bench<'a> {
    pub(crate) cx: &'a Context,
    pub(crate) setup: &'a Setup,
    pub(crate) registry: &'a Registry,
    pub(crate) pipeline: &'a Pipeline,
    pub(crate) step: &'a Step,
    pub(crate) inputs: &'a Values,
}

pub(crate) async fn perform(
    cx: &Context,
    setup: &Setup,
    registry: &Registry,
    pipeline: &Pipeline,
    step: &Step,
    inputs: Values,
) -> Result<Outcome> {
    let bench = Bench { cx, setup, registry, pipeline, step, inputs: &inputs };
    match step.uses.verb {
        Verb::Provision => bench.provision().await,
        Verb::Configure => bench.configure().await,
        Verb::BuildImage => bench.build_image().await,
        Verb::Deploy => bench.deploy().await,
        Verb::Gate => bench.gate().await,
        Verb::Record => bench.record().await,
        Verb::ShipLogs => bench.ship_logs().await,
        Verb::Call => {
            let function = registry.find_function(&step.uses.provider).ok_or_else(|| {
                Error::new(ErrorKind::InvalidInput, "core", "call", "no function has this name any more")
                    .with("function", &step.uses.provider)
            })?;
            let done = function.function().call(cx, inputs).await?;
            Ok(Outcome::of(done.unchanged, done.outputs))
        }
    }
}

impl Bench<'_> {
    pub(crate) fn provider<K: ProviderKind + ?Sized>(&self) -> Result<Arc<K>> {
        let config = with_parameters(&self.step.uses.config, &self.pipeline.parameters)?;
        self.registry.make::<K>(&self.step.uses.provider, &config, self.setup)
    }

    fn named<K: ProviderKind + ?Sized>(&self, by: &ProviderRef) -> Result<Arc<K>> {
        let config = with_parameters(&by.config, &self.pipeline.parameters)?;
        self.registry.make::<K>(&by.provider, &config, self.setup)
    }

    pub(crate) fn input<T: DeserializeOwned>(&self, name: &'static str) -> Result<Option<T>> {
        input(self.inputs, name)
    }

    pub(crate) fn needed<T: DeserializeOwned>(&self, name: &'static str) -> Result<T> {
        self.input(name)?.ok_or_else(|| {
            Error::new(ErrorKind::InvalidInput, "core", "inputs", "the step needs this input").with("input", name)
        })
    }

    pub(crate) fn targets(&self) -> Result<Targets> {
        let inventory: Inventory = self.input("inventory")?.unwrap_or_default();
        let mut targets = Targets::new(inventory, Arc::clone(&self.setup.connector));
        targets.extra_vars = self.input::<Vars>("vars")?.unwrap_or_default();
        targets.limit = self.input("limit")?;
        Ok(targets)
    }

    async fn provision(&self) -> Result<Outcome> {
        let provider = self.provider::<dyn Provisioner>()?;
        let applied = provider.apply(self.cx).await?;
        if let Some(store) = self.cx.store() {
            store.put_environment(&applied.environment).await?;
        }
        Ok(Outcome::of(applied.changed == 0, environment_outputs(&applied.environment)?))
    }

    async fn configure(&self) -> Result<Outcome> {
        let provider = self.provider::<dyn Configurator>()?;
        let done = provider.apply(self.cx, &self.targets()?).await?;
        Ok(Outcome::of(done.changed() == 0, Values::from([("configured".to_owned(), json(&done)?)])))
    }

    pub(crate) fn image(&self) -> Result<ImageDefinition> {
        let image: ImageInput = self.needed("image")?;
        let base = match image.base {
            BaseInput::HostOf { inventory, host } => {
                let found = match &host {
                    Some(name) => inventory.host(name),
                    None => inventory.hosts.first(),
                };
                let found = found.ok_or_else(|| {
                    Error::new(ErrorKind::NotFound, "core", "image", "the inventory has no such host to bake")
                        .with("host", host.as_deref().unwrap_or("(the first one)"))
                })?;
                Base::Host(Box::new(found.clone()))
            }
            BaseInput::Host(host) => Base::Host(host),
            BaseInput::Image(name) => Base::Image(name),
            BaseInput::Artifact(artifact) => Base::Artifact(artifact),
        };
        let configure = image.configure.iter().map(|c| self.named::<dyn Configurator>(c)).collect::<Result<_>>()?;
        Ok(ImageDefinition {
            name: image.name,
            base,
            configure,
            artifacts: image.artifacts,
            connector: Arc::clone(&self.setup.connector),
            labels: image.labels,
        })
    }

    async fn build_image(&self) -> Result<Outcome> {
        let provider = self.provider::<dyn ImageBuilder>()?;
        let built = provider.build(self.cx, &self.image()?).await?;
        let mut outputs = Values::from([("artifacts".to_owned(), json(&built.artifacts)?)]);
        for artifact in &built.artifacts {
            // Of several of a kind the first one: an AMI in its own region before its copies, a file before its checksum.
            outputs.entry(artifact_output(artifact.kind)).or_insert(json(artifact)?);
        }
        Ok(Outcome::of(built.changed == 0, outputs))
    }

    pub(crate) fn rollout(&self) -> Result<Rollout> {
        let strategy: Rolling = self.input("rollout")?.unwrap_or_default();
        let balancer = strategy.balancer.as_ref().map(|b| self.named::<dyn Balancer>(b)).transpose()?;
        let monitor = strategy.monitor.as_ref().map(|m| self.named::<dyn Monitor>(m)).transpose()?;
        let names: Vec<String> = strategy.functions().into_iter().map(str::to_owned).collect();
        let mut rollout = Rollout::new(self.provider::<dyn Deployer>()?, strategy);
        for name in names {
            if let Some(function) = self.registry.find_function(&name) {
                rollout = rollout.function(name, function);
            }
        }
        if let Some(balancer) = balancer {
            rollout = rollout.balancer(balancer);
        }
        if let Some(monitor) = monitor {
            rollout = rollout.monitor(monitor);
        }
        Ok(rollout)
    }

    async fn deploy(&self) -> Result<Outcome> {
        let release: Release = self.needed("release")?;
        let report = self.rollout()?.run(self.cx, &release, &self.targets()?).await?;
        let Some(state) = report.outcome.step_state() else {
            return Err(Error::new(
                ErrorKind::Cancelled,
                "core",
                "rollout",
                "cancelled; every target is at a safe point",
            )
            .with("release", &release.version));
        };
        let failure = matches!(state, StepState::Failed | StepState::RolledBack).then(|| {
            let kind =
                if report.outcome == RolloutOutcome::Refused { ErrorKind::Conflict } else { ErrorKind::Unhealthy };
            let why = report.reason.as_deref().unwrap_or("no reason was given");
            Error::new(kind, "core", "rollout", why).with("release", &release.version).record()
        });
        Ok(Outcome { state, outputs: Values::from([("report".to_owned(), json(&report)?)]), failure })
    }

    async fn gate(&self) -> Result<Outcome> {
        let gate: Gate = self.needed("rule")?;
        let verdict = self.provider::<dyn Monitor>()?.assess(self.cx, &gate, &self.targets()?).await?;
        if verdict.kind != VerdictKind::Pass {
            let error = Error::new(ErrorKind::Unhealthy, "core", "gate", verdict.reason.clone());
            // Neither is an answer: the same question may get one later.
            let unclear = matches!(verdict.kind, VerdictKind::Inconclusive | VerdictKind::Error);
            return Err(if unclear { error.retry_later() } else { error });
        }
        Ok(Outcome::of(false, Values::from([("verdict".to_owned(), json(&verdict)?)])))
    }

    async fn record(&self) -> Result<Outcome> {
        let observations: Vec<Observation> = self.needed("observations")?;
        let provider = self.provider::<dyn Monitor>()?;
        let intent = serde_json::json!({ "observations": observations.len() });
        self.cx
            .effect_idempotent("record", intent, |cx| async move { provider.record(&cx, &observations).await })
            .await?;
        Ok(Outcome::of(false, Values::new()))
    }

    async fn ship_logs(&self) -> Result<Outcome> {
        let files: Vec<LogFile> = self.input("files")?.unwrap_or_default();
        let records: Vec<LogRecord> = self.input("records")?.unwrap_or_default();
        let sink = self.provider::<dyn LogSink>()?;
        let shipped = logs::ship(self.cx, sink.as_ref(), &files, &records, &self.targets()?).await?;
        Ok(Outcome::of(shipped == 0, Values::from([("shipped".to_owned(), shipped.into())])))
    }
}

pub(crate) fn environment_outputs(environment: &crate::Environment) -> Result<Values> {
    let mut outputs: Values = environment.outputs.clone();
    outputs.insert("inventory".to_owned(), json(&environment.inventory)?);
    outputs.insert("environment".to_owned(), json(environment)?);
    Ok(outputs)
}

fn json(value: &impl Serialize) -> Result<Json> {
    serde_json::to_value(value).map_err(|e| {
        Error::new(ErrorKind::Internal, "core", "outputs", "an output can't be written as JSON").caused_by(e)
    })
}

fn input<T: DeserializeOwned>(inputs: &Values, name: &'static str) -> Result<Option<T>> {
    let Some(value) = inputs.get(name).filter(|v| !v.is_null()) else { return Ok(None) };
    serde_json::from_value(value.clone()).map(Some).map_err(|e| {
        Error::new(ErrorKind::InvalidInput, "core", "inputs", format!("the input is wrong: {e}")).with("input", name)
    })
}

/// Rolls a deploy step back that was finished.
pub(crate) async fn undo_deploy(
    cx: &Context,
    setup: &Setup,
    registry: &Registry,
    step: &Step,
    inputs: Values,
    why: &str,
) -> Result<StepState> {
    let pipeline = Pipeline::default();
    let bench = Bench { cx, setup, registry, pipeline: &pipeline, step, inputs: &inputs };
    let release: Release = bench.needed("release")?;
    let report = bench.rollout()?.undo(cx, &release, &bench.targets()?, why).await?;
    Ok(if report.outcome == RolloutOutcome::RolledBack { StepState::RolledBack } else { StepState::Failed })
}

/// Ends process groups on hosts that an interrupted attempt left running, before anything is done again.
pub(crate) async fn end_survivors(cx: &Context, setup: &Setup, step: &Step, inputs: &Values) -> Result<()> {
    let inventory: Inventory = input(inputs, "inventory").ok().flatten().unwrap_or_default();
    for (path, notes) in cx.journal().notes(&step.name) {
        for (name, value) in notes.iter().filter(|(n, _)| n.starts_with("group/")) {
            let Ok(group) = serde_json::from_value::<RemoteGroup>(value.clone()) else { continue };
            let Some(host) = inventory.host(&group.host) else {
                cx.warn(format!("{} may still run on {}, which is not in the inventory", group.command, group.host));
                continue;
            };
            let cx = cx.for_host(&host.name);
            let connection = setup.connector.connect(&cx, host).await?;
            if connection.end_group(&cx, &group).await? {
                cx.warn(format!("ended what the interrupted run left running: {}", group.command));
            }
            let gone = crate::Record::EffectNote { path: path.clone(), name: name.clone(), value: Json::Null };
            cx.journal().append(vec![gone]).await?;
        }
    }
    Ok(())
}

pub(crate) async fn preflight(
    cx: &Context,
    setup: &Setup,
    registry: &Registry,
    pipeline: &Pipeline,
    step: &Step,
) -> Result<Preflight> {
    let inputs = Values::new();
    let cx = &cx.for_step(&step.name);
    let bench = Bench { cx, setup, registry, pipeline, step, inputs: &inputs };
    match step.uses.verb {
        Verb::Provision => bench.provider::<dyn Provisioner>()?.preflight(cx).await,
        Verb::Configure => bench.provider::<dyn Configurator>()?.preflight(cx).await,
        Verb::BuildImage => bench.provider::<dyn ImageBuilder>()?.preflight(cx).await,
        Verb::Deploy => bench.provider::<dyn Deployer>()?.preflight(cx).await,
        Verb::Gate | Verb::Record => bench.provider::<dyn Monitor>()?.preflight(cx).await,
        Verb::ShipLogs => bench.provider::<dyn LogSink>()?.preflight(cx).await,
        Verb::Call => Ok(Preflight::default()),
    }
}
