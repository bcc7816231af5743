use std::sync::Arc;

use async_trait::async_trait;
use towpath_core::testkit::monitor::{MonitorFixture, behaviours};
use towpath_core::testkit::{reference, trial};
use towpath_core::{
    Capabilities, Context, ErrorKind, Gate, Monitor, Observation, Preflight, Result, Silence, SilenceHandle, Targets,
    Verdict, VerdictKind,
};

use crate::{Defect, error};

#[derive(Debug)]
struct Broken {
    real: Arc<dyn Monitor>,
    defect: Defect,
}

#[async_trait]
impl Monitor for Broken {
    fn capabilities(&self) -> Capabilities {
        self.defect.capabilities(self.real.capabilities())
    }

    async fn preflight(&self, cx: &Context) -> Result<Preflight> {
        self.defect.preflight(self.real.preflight(cx).await?)
    }

    async fn record(&self, cx: &Context, observations: &[Observation]) -> Result<()> {
        let notice = observations.iter().any(|o| matches!(o, Observation::Notice(_)));
        match self.defect.name {
            "observations_are_taken" if notice => return Err(error(ErrorKind::Unsupported)),
            "nothing_to_record_is_a_success" if observations.is_empty() => return Err(error(ErrorKind::InvalidInput)),
            // The first value counts.
            "a_recorded_metric_is_judged" if self.defect.before() > 0 => return Ok(()),
            _ => {}
        }
        self.real.record(cx, observations).await
    }

    async fn assess(&self, cx: &Context, gate: &Gate, targets: &Targets) -> Result<Verdict> {
        let (mut gate, mut targets) = (gate.clone(), targets.clone());
        match self.defect.name {
            "one_bad_host_fails_the_gate_and_is_named" => targets.inventory.hosts.truncate(1),
            "one_failing_check_of_two_fails_the_gate" => gate.checks.truncate(1),
            "failures_in_the_start_period_do_not_count" => gate.start_period_s = 0.0,
            _ => {}
        }
        let verdict = self.real.assess(cx, &gate, &targets).await;
        let mut verdict = match (self.defect.name, verdict) {
            ("a_cancelled_gate_says_so", Err(_)) => {
                let reason = "cancelled".to_owned();
                return Ok(Verdict { kind: VerdictKind::Inconclusive, reason, samples: Vec::new() });
            }
            (_, verdict) => verdict?,
        };
        match self.defect.name {
            "a_healthy_target_passes" => verdict.samples.truncate(1),
            "a_failing_check_is_a_verdict_not_an_error" if verdict.kind == VerdictKind::Fail => {
                return Err(error(ErrorKind::Unhealthy));
            }
            "a_metric_that_was_never_recorded_does_not_pass" => verdict.kind = VerdictKind::Pass,
            "samples_are_kept_and_bounded" => {
                let all = verdict.samples.iter().cycle().take(1000).cloned().collect();
                verdict.samples = all;
            }
            _ => {}
        }
        Ok(verdict)
    }

    async fn silence(&self, cx: &Context, silence: &Silence) -> Result<SilenceHandle> {
        self.real.silence(cx, silence).await
    }

    async fn unsilence(&self, cx: &Context, handle: &SilenceHandle) -> Result<()> {
        if self.defect.is("a_silence_is_ended_once_and_again") && self.defect.before() > 1 {
            return Err(error(ErrorKind::NotFound));
        }
        self.real.unsilence(cx, handle).await
    }
}

#[tokio::test]
async fn monitor() {
    trial(
        behaviours(),
        async || reference::monitor(),
        async |defect| {
            let f = reference::monitor();
            let provider = Broken { real: f.provider, defect: Defect::new(defect) };
            MonitorFixture { provider: Arc::new(provider), ..f }
        },
    )
    .await;
}
