//! Target groups of Elastic Load Balancing as a balancer.

mod config;
mod look;

use std::time::{Duration, Instant};

use async_trait::async_trait;
use towpath_core::{Backend, BackendMode, BackendState, Balancer, Capabilities, Context, ErrorKind, Preflight, Result};

pub use config::AwsTargetGroupConfig;
pub(crate) use look::healthy;
use look::{Key, Place, Seen};

use crate::PROVIDER;
use crate::client::Clients;
use crate::wait::{Look, Wait};

/// Registers hosts in a target group, and takes them out.
#[derive(Debug, Clone)]
pub struct AwsTargetGroup {
    config: AwsTargetGroupConfig,
    clients: Clients,
}

impl AwsTargetGroup {
    /// A balancer with this config.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): something in the config is wrong.
    pub fn new(config: AwsTargetGroupConfig) -> Result<Self> {
        config.check()?;
        Ok(Self { clients: Clients::new(&config.client), config })
    }

    /// The config.
    pub fn config(&self) -> &AwsTargetGroupConfig {
        &self.config
    }

    async fn place(&self, cx: &Context, operation: &'static str) -> Result<Place<'_>> {
        cx.check(PROVIDER, operation)?;
        Place::find(cx, &self.clients, &self.config, operation).await
    }
}

/// The target of a host.
fn of<'a>(all: &'a [Seen], name: &str) -> Option<&'a Seen> {
    all.iter().find(|t| t.name == name)
}

async fn deregister(place: &Place<'_>, key: &Key) -> Result<()> {
    let at = place.balancing.at(place.operation, "DeregisterTargets", &key.id);
    let request = place.balancing.api.deregister_targets().target_group_arn(&place.arn).targets(key.description());
    request.send().await.map(drop).map_err(|e| at.failed(e))
}

#[async_trait]
impl Balancer for AwsTargetGroup {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&["add", "drain", "remove", "wait_idle"])
    }

    async fn preflight(&self, cx: &Context) -> Result<Preflight> {
        let place = self.place(cx, "preflight").await?;
        let at = place.balancing.at("preflight", "DescribeTargetGroupAttributes", &place.arn);
        let request = place.balancing.api.describe_target_group_attributes().target_group_arn(&place.arn);
        let attributes = at.ask(cx, request.send()).await?;
        let delay = attributes.attributes().iter().find(|a| a.key() == Some("deregistration_delay.timeout_seconds"));
        let all = place.look(cx).await?;
        let mut found = Preflight::default();
        found.ok.push(format!(
            "target group {} in {}: {} targets, connections of drained ones end after at most {} s",
            self.config.target_group,
            place.balancing.region,
            all.iter().filter(|t| !t.is_out()).count(),
            delay.and_then(|d| d.value()).unwrap_or("300")
        ));
        if place.group.load_balancer_arns().is_empty() {
            found.warnings.push("no load balancer sends requests to the target group".to_owned());
        }
        Ok(found)
    }

    async fn add(&self, cx: &Context, backend: &Backend) -> Result<()> {
        let place = self.place(cx, "add").await?;
        let all = place.look(cx).await?;
        let known = of(&all, &backend.name);
        let id = match known {
            Some(seen) => seen.key.id.clone(),
            None => place.resolve(cx, &backend.name, &backend.address).await?,
        };
        let port = if backend.port == 0 { known.map(|s| s.key.port) } else { Some(backend.port) };
        let says = "the backend has no port";
        let port = port.ok_or_else(|| place.error("RegisterTargets", ErrorKind::InvalidInput, says))?;
        let key = Key { id, port };
        if known.is_none_or(|s| s.key != key || s.is_out()) {
            let at = place.balancing.at("add", "RegisterTargets", &key.id);
            let request = place.balancing.api.register_targets().target_group_arn(&place.arn);
            request.targets(key.description()).send().await.map_err(|e| at.failed(e).with("backend", &backend.name))?;
            if let Some(old) = known.filter(|s| s.key != key && s.health.is_some()) {
                deregister(&place, &old.key).await?;
            }
        }
        if known.is_some_and(|s| s.drained) {
            place.forget(&backend.name).await?;
        }
        let goal = format!("the target {} of {} to be healthy", key.id, backend.name);
        let region = &place.balancing.region;
        let wait = Wait { cx, region, operation: "add", goal, patience: self.config.patience() };
        wait.until(|| async {
            let all = place.look(cx).await?;
            match all.iter().find(|s| s.key == key) {
                Some(seen) if seen.is_well() => Ok(Look::Done(())),
                Some(seen) => Ok(Look::NotYet(seen.says())),
                None => Ok(Look::NotYet("not registered".to_owned())),
            }
        })
        .await
        .map_err(|e| e.with_missing("backend", &backend.name))
    }

    async fn drain(&self, cx: &Context, name: &str) -> Result<()> {
        let place = self.place(cx, "drain").await?;
        let all = place.look(cx).await?;
        let Some(seen) = of(&all, name) else {
            let names: Vec<&str> = all.iter().map(|t| t.name.as_str()).collect();
            return Err(place
                .error("DeregisterTargets", ErrorKind::NotFound, "the target group has no target of this name")
                .with("backend", name)
                .with("there_are", if names.is_empty() { "none".to_owned() } else { names.join(" ") }));
        };
        if !seen.drained {
            // First the note: AWS forgets a target once it has left, and a later `add` needs to know which one it was.
            place.note(name, &seen.key).await?;
        }
        if seen.health.is_some() && !seen.is_busy() {
            deregister(&place, &seen.key).await?;
        }
        Ok(())
    }

    async fn remove(&self, cx: &Context, name: &str) -> Result<()> {
        let place = self.place(cx, "remove").await?;
        let all = place.look(cx).await?;
        let Some(seen) = of(&all, name) else { return Ok(()) };
        if seen.health.is_some() && !seen.is_busy() {
            deregister(&place, &seen.key).await?;
        }
        if seen.drained { place.forget(name).await } else { Ok(()) }
    }

    async fn wait_idle(&self, cx: &Context, name: &str, limit: Duration) -> Result<u64> {
        let place = self.place(cx, "wait_idle").await?;
        let until = Instant::now() + limit;
        loop {
            let all = place.look(cx).await?;
            // AWS does not say how many connections are left, only that some are.
            if of(&all, name).is_none_or(|seen| !seen.is_busy()) {
                return Ok(0);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(1);
            }
            cx.sleep(PROVIDER, "wait_idle", self.config.patience().pause().min(left)).await?;
        }
    }

    async fn backends(&self, cx: &Context) -> Result<Vec<BackendState>> {
        let place = self.place(cx, "backends").await?;
        let all = place.look(cx).await?;
        let state = |seen: Seen| BackendState {
            backend: Backend { name: seen.name.clone(), address: seen.address.clone(), port: seen.key.port },
            mode: if seen.is_out() { BackendMode::Draining } else { BackendMode::Serving },
            connections: u64::from(seen.is_busy()),
        };
        // One that leaves and that nobody here has drained is on its way out of the group.
        Ok(all.into_iter().filter(|s| s.drained || !s.is_busy()).map(state).collect())
    }
}
