use crate::pipeline::engine::{Engine, step};
use crate::pipeline::{Pipeline, RunOptions, Values, Verb};
use crate::{Provisioner, Result};

impl Engine {
    /// Removes what the pipeline's `provision` steps made in this environment, the last one first. Gives the names of the steps
    /// and how many things each has removed. Nothing there is a success with `0`.
    ///
    /// Releases and configuration on hosts that no step made stay as they are, and so does what the store knows.
    ///
    /// # Errors
    ///
    /// The first failure, with its step. What was removed before stays removed; call it again for the rest.
    pub async fn destroy(&self, pipeline: &Pipeline, options: RunOptions) -> Result<Vec<(String, usize)>> {
        let pipeline = pipeline.with_values(&options.values)?;
        pipeline.check(&self.registry)?;
        let (lease, cancel) = self.take_environment(&pipeline.name).await?;
        let result = async {
            let setup = self.setup(&pipeline);
            let cx = self.context_until(cancel);
            let mut removed = Vec::new();
            for step in pipeline.steps.iter().rev().filter(|s| s.uses.verb == Verb::Provision) {
                let inputs = Values::new();
                let cx = cx.for_step(&step.name);
                let bench = step::Bench {
                    cx: &cx,
                    setup: &setup,
                    registry: &self.registry,
                    pipeline: &pipeline,
                    step,
                    inputs: &inputs,
                };
                let provider = bench.provider::<dyn Provisioner>()?;
                let destroyed = provider.destroy(&cx).await.map_err(|e| e.with_missing("step", &step.name))?;
                removed.push((step.name.clone(), destroyed.changed));
            }
            // Its unfinished run would go on with hosts that are gone.
            self.give_up(&pipeline.name).await?;
            Ok(removed)
        }
        .await;
        let freed = lease.give_back().await;
        let removed = result?;
        freed.map(|()| removed)
    }
}
