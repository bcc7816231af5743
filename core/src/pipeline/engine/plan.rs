use std::collections::{BTreeMap, HashSet};
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pipeline::engine::step::{self, Bench};
use crate::pipeline::engine::{Engine, RunOptions};
use crate::pipeline::{Input, Pipeline, Reference, Step, Values, Verb};
use crate::{
    Action, Change, Configurator, Context, Deferred, Deployer, Error, ErrorKind, ImageBuilder, Json, Plan, Provisioner,
    Result, Setup, digest_json,
};

/// What a whole pipeline would change, as a value that can be saved and applied.
///
/// Exact is what was planned from what is there now: a step for which all steps before it change nothing. Its plan is made
/// again just before it starts, and a difference is refused. All others are deferred, or listed as they look from here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PipelinePlan {
    /// The pipeline, with its parameters.
    pub pipeline: Pipeline,
    /// The environment it was planned for.
    pub environment: String,
    /// The changes of all steps, and the steps that can't be planned yet.
    pub plan: Plan,
    /// Digest of each step's plan that must still hold when it starts.
    pub expected: BTreeMap<String, String>,
    /// Digest over all of this, so that a plan file that was changed by hand is noticed.
    pub digest: String,
}

impl PipelinePlan {
    fn seal(mut self) -> Self {
        self.digest = self.content();
        self
    }

    fn content(&self) -> String {
        let bare = Self { digest: String::new(), ..self.clone() };
        digest_json(&serde_json::to_value(bare).unwrap_or_default())
    }

    pub(crate) fn verify(&self) -> Result<()> {
        if self.digest == self.content() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::InvalidInput, "core", "apply", "the plan was changed after it was made: plan again"))
    }

    /// Whether nothing would change.
    pub fn is_empty(&self) -> bool {
        self.plan.is_empty()
    }
}

impl fmt::Display for PipelinePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.plan.fmt(f)
    }
}

impl Engine {
    /// Says what [`run`](Self::run) would change, without changing anything. A step whose input does not exist yet is deferred.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): the pipeline is wrong. Those of the providers' `plan`.
    pub async fn plan(&self, pipeline: &Pipeline, options: RunOptions) -> Result<PipelinePlan> {
        let pipeline = pipeline.with_values(&options.values)?;
        pipeline.check(&self.registry)?;
        let setup = self.setup(&pipeline);
        let cx = self.context();
        let mut known: BTreeMap<(String, String), Json> = BTreeMap::new();
        let mut moving: HashSet<usize> = HashSet::new();
        let mut plan = Plan::default();
        let mut expected = BTreeMap::new();
        let needs = pipeline.needs();
        for index in order(&needs) {
            let Some(step) = pipeline.steps.get(index) else { continue };
            let waits_for = unknown(step, &known);
            if !waits_for.is_empty() {
                moving.insert(index);
                plan.deferred.push(Deferred { step: step.name.clone(), waits_for });
                continue;
            }
            let lookup = |s: &str, o: &str| known.get(&(s.to_owned(), o.to_owned()));
            let mut inputs = Values::new();
            for (name, input) in &step.inputs {
                inputs.insert(name.clone(), input.resolve(&lookup, &pipeline.parameters)?);
            }
            let cx = cx.for_step(&step.name);
            let bench =
                Bench { cx: &cx, setup: &setup, registry: &self.registry, pipeline: &pipeline, step, inputs: &inputs };
            let mut found = bench.plan().await.map_err(|e| e.with_missing("step", &step.name))?;
            for (name, value) in found.outputs {
                known.insert((step.name.clone(), name), value);
            }
            let settled = needs.get(index).is_none_or(|n| n.iter().all(|d| !moving.contains(d)));
            if settled && step.uses.verb.role().is_some() {
                expected.insert(step.name.clone(), found.plan.digest());
            }
            if !settled || !found.plan.is_empty() {
                moving.insert(index);
            }
            for change in &mut found.plan.changes {
                change.stage.clone_from(&step.name);
                cx.emit(crate::EventKind::Change { change: change.clone(), made: false });
            }
            plan.extend(found.plan);
        }
        let environment = self.environment.clone();
        Ok(PipelinePlan { pipeline, environment, plan, expected, digest: String::new() }.seal())
    }

    /// Refuses a step whose plan is another one by now.
    pub(crate) async fn still_as_planned(
        &self,
        cx: &Context,
        setup: &Setup,
        pipeline: &Pipeline,
        step: &Step,
        inputs: &Values,
        expected: &str,
    ) -> Result<()> {
        let bench = Bench { cx, setup, registry: &self.registry, pipeline, step, inputs };
        let found = bench.plan().await?.plan;
        if found.digest() == expected {
            return Ok(());
        }
        let now: Vec<String> = found
            .changes
            .iter()
            .map(|c| format!("{} {}: {:?} ({:?})", c.target, c.subject, c.action, c.certainty))
            .collect();
        Err(Error::new(
            ErrorKind::Conflict,
            "core",
            "apply",
            "the world changed since the plan was made, so this step was not started: plan again",
        )
        .with("step", &step.name)
        .caused_by(format!("it would now be:\n{}", now.join("\n"))))
    }
}

/// What planning one step found.
struct Found {
    plan: Plan,
    /// Outputs that are known without running it.
    outputs: Values,
}

impl Bench<'_> {
    async fn plan(&self) -> Result<Found> {
        let bare = |plan| Found { plan, outputs: Values::new() };
        Ok(match self.step.uses.verb {
            Verb::Provision => {
                let provider = self.provider::<dyn Provisioner>()?;
                let plan = provider.plan(self.cx).await?;
                let mut outputs = Values::new();
                if plan.is_empty()
                    && let Some(environment) = provider.probe(self.cx).await?.environment
                {
                    outputs = step::environment_outputs(&environment)?;
                }
                Found { plan, outputs }
            }
            Verb::Configure => bare(self.provider::<dyn Configurator>()?.plan(self.cx, &self.targets()?).await?),
            Verb::BuildImage => bare(self.provider::<dyn ImageBuilder>()?.plan(self.cx, &self.image()?).await?),
            Verb::Deploy => {
                // Made first, so that a wrong config is an error of the plan too.
                self.provider::<dyn Deployer>()?;
                bare(self.rollout()?.plan(self.cx, &self.needed("release")?, &self.targets()?).await?)
            }
            Verb::Gate | Verb::Record | Verb::ShipLogs | Verb::Call => {
                let subject = format!("{} {}", self.step.uses.verb.as_str(), self.step.uses.provider);
                let why = "what it finds or does shows when it runs";
                let change = Change::cannot_know(&self.step.name, subject, Action::Run, why);
                bare(Plan { changes: vec![change], ..Plan::default() })
            }
        })
    }
}

/// The outputs that a step waits for, as `step.output`.
fn unknown(step: &Step, known: &BTreeMap<(String, String), Json>) -> Vec<String> {
    let mut waits_for: Vec<String> = step
        .inputs
        .values()
        .flat_map(Input::references)
        .filter_map(|(_, reference)| match reference {
            Reference::Output { step, output } if !known.contains_key(&(step.clone(), output.clone())) => {
                Some(format!("{step}.{output}"))
            }
            _ => None,
        })
        .collect();
    waits_for.sort();
    waits_for.dedup();
    waits_for
}

/// Steps after those that they need, else in the pipeline's order. The pipeline has no circle.
fn order(needs: &[Vec<usize>]) -> Vec<usize> {
    let mut order = Vec::with_capacity(needs.len());
    let mut done = vec![false; needs.len()];
    while order.len() < needs.len() {
        let before = order.len();
        for (i, n) in needs.iter().enumerate() {
            let ready = n.iter().all(|d| done.get(*d) == Some(&true));
            if let Some(flag) = done.get_mut(i).filter(|flag| !**flag && ready) {
                *flag = true;
                order.push(i);
            }
        }
        if order.len() == before {
            break;
        }
    }
    order
}
