//! The provisioner `aws`: EC2 instances as hosts.

mod apply;
mod config;
mod hosts;
mod look;

use async_trait::async_trait;
use towpath_core::{
    Applied, Capabilities, Certainty, Context, Destroyed, Error, ErrorKind, Plan, Preflight, Probed, Provisioner,
    Result,
};

use self::apply::Work;
use self::look::{Difference, World};
pub(crate) use apply::{describe, end, ended_early, state, wait_ended};
pub use config::{Address, AwsEnvironmentConfig, HostGroup};
pub(crate) use hosts::{connection, vars};

use crate::PROVIDER;
use crate::client::{Clients, Ec2};

/// Makes environments of EC2 instances.
///
/// Every instance carries tags that say whose it is, so it is found again without any state file, and a client token, so that it is
/// made once however often it is asked for.
#[derive(Debug, Clone)]
pub struct AwsEnvironment {
    config: AwsEnvironmentConfig,
    clients: Clients,
}

impl AwsEnvironment {
    /// A provisioner with this config. Reaches nobody.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): something in the config is wrong; names the field.
    pub fn new(config: AwsEnvironmentConfig) -> Result<Self> {
        config.check()?;
        Ok(Self { clients: Clients::new(&config.client), config })
    }

    /// The config.
    pub fn config(&self) -> &AwsEnvironmentConfig {
        &self.config
    }

    async fn look(&self, cx: &Context, operation: &'static str) -> Result<(Ec2, World, Difference<'_>)> {
        let ec2 = self.clients.ec2(cx, operation).await?;
        let world = Box::pin(World::of(cx, &ec2, operation, self.config.owner())).await?;
        let todo = Box::pin(Difference::of(cx, &self.clients, &ec2, operation, &self.config, &world)).await?;
        Ok((ec2, world, todo))
    }
}

/// The environment's name becomes a tag.
fn check_name(cx: &Context, operation: &'static str) -> Result<()> {
    cx.check(PROVIDER, operation)?;
    if cx.environment().is_empty() || cx.environment().chars().count() > 256 {
        let message = "the environment's name becomes a tag: it must have 1 to 256 characters";
        return Err(Error::new(ErrorKind::InvalidInput, PROVIDER, operation, message));
    }
    Ok(())
}

#[async_trait]
impl Provisioner for AwsEnvironment {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&["plan", "apply", "probe", "destroy"])
    }

    async fn preflight(&self, cx: &Context) -> Result<Preflight> {
        let ec2 = self.clients.ec2(cx, "preflight").await?;
        let who = self.clients.identity(cx, "preflight").await?;
        Ok(Preflight { ok: vec![format!("{who} in {}", ec2.region)], warnings: Vec::new() })
    }

    async fn plan(&self, cx: &Context) -> Result<Plan> {
        check_name(cx, "plan")?;
        Ok(self.look(cx, "plan").await?.2.plan)
    }

    async fn apply(&self, cx: &Context) -> Result<Applied> {
        check_name(cx, "apply")?;
        let (ec2, _, todo) = Box::pin(self.look(cx, "apply")).await?;
        let work = Work { cx, ec2: &ec2, config: &self.config, todo: &todo };
        // Boxed: futures of the SDK are large, and stacks are not.
        Box::pin(work.run()).await?;
        let world = Box::pin(work.wait_running()).await?;
        Box::pin(work.wait_status(&world)).await?;
        let environment = hosts::environment(cx, &ec2, "apply", &self.config, &todo, &world)?;
        Ok(Applied { environment, changed: todo.steps.len() })
    }

    async fn probe(&self, cx: &Context) -> Result<Probed> {
        check_name(cx, "probe")?;
        let (ec2, world, todo) = self.look(cx, "probe").await?;
        let environment = match world.is_empty() {
            true => None,
            false => Some(hosts::environment(cx, &ec2, "probe", &self.config, &todo, &world)?),
        };
        let mut drift = todo.plan;
        drift.changes.retain(|c| c.certainty != Certainty::WillNot);
        Ok(Probed { environment, drift })
    }

    async fn destroy(&self, cx: &Context) -> Result<Destroyed> {
        check_name(cx, "destroy")?;
        let ec2 = self.clients.ec2(cx, "destroy").await?;
        let world = World::of(cx, &ec2, "destroy", self.config.owner()).await?;
        // The last one first.
        let mut ids: Vec<String> = world.all().map(|s| s.id.clone()).collect();
        ids.reverse();
        end(cx, &ec2, "destroy", &ids).await?;
        let all: Vec<String> =
            ids.iter().cloned().chain(world.gone.iter().filter(|s| s.is_ending()).map(|s| s.id.clone())).collect();
        wait_ended(cx, &ec2, "destroy", self.config.wait, &all).await?;
        let left = World::of(cx, &ec2, "destroy", self.config.owner()).await?;
        if let Some(seen) = left.all().next() {
            let message =
                "an instance is there that was not when the destroy began: does somebody else apply? Run it again";
            return Err(Error::new(ErrorKind::Conflict, PROVIDER, "destroy", message)
                .with("instance", &seen.id)
                .with("region", &ec2.region)
                .retry_later());
        }
        Ok(Destroyed { changed: ids.len() })
    }
}
