use std::path::PathBuf;
use std::sync::Arc;

use clap::ValueEnum;
use serde_json::json;
use towpath_core::rollout::{RolloutControl, RolloutStatus};
use towpath_core::{DeploymentOutcome, Result, Timestamp};

use super::options::Common;
use super::verbs::{engine, pretty};
use super::{Exit, print};

/// What is wanted of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Order {
    /// Show how far it is, who waits, and what was deployed before
    Status,
    /// Hold it before its next target
    Pause,
    /// Let it go on
    Resume,
    /// End it where it is; nothing is rolled back
    Stop,
    /// Take all targets back to what was seen healthy before
    Rollback,
    /// Answer its question with yes
    Approve,
    /// Answer its question with no
    Refuse,
}

pub(super) async fn rollout(common: &Common, service: &str, order: Order, why: &str) -> Result<Exit> {
    let engine = engine(common, common.registry(), PathBuf::from(".")).await?;
    let control = RolloutControl::new(Arc::clone(engine.store()), &common.environment, service);
    let by = std::env::var("USER").unwrap_or_else(|_| "somebody".to_owned());
    match order {
        Order::Status => {
            let key = format!("deploy/{}/{service}", common.environment);
            let waiting = towpath_core::waiting(engine.store(), &key).await?;
            let ledger = engine.store().deployments(&common.environment, service).await?;
            let status = control.status().await?;
            if common.json {
                print(&pretty(&json!({ "rollout": status, "waiting": waiting, "ledger": ledger })));
                return Ok(Exit::Done);
            }
            match &status {
                Some(status) => show(service, status),
                None => print(&format!("no rollout of {service} is under way in {}", common.environment)),
            }
            for waiter in waiting {
                let seconds = Timestamp::now().since(waiter.since).as_secs();
                print(&format!("  waits since {seconds} s: {} ({})", waiter.label, waiter.reason));
            }
            for entry in ledger.iter().rev().take(10) {
                let seen = if entry.seen_healthy { ", seen healthy" } else { "" };
                let why = entry.reason.as_ref().map_or_else(String::new, |why| format!(": {why}"));
                print(&format!("  {:<16} {}{seen}{why}", entry.release.version, outcome(entry.outcome)));
            }
            return Ok(Exit::Done);
        }
        Order::Pause => control.pause(&by, why).await?,
        Order::Resume => control.resume().await?,
        Order::Stop => control.stop(&by, why).await?,
        Order::Rollback => control.roll_back(&by, why).await?,
        Order::Approve => control.answer(true, &by, why).await?,
        Order::Refuse => control.answer(false, &by, why).await?,
    }
    Ok(Exit::Done)
}

fn show(service: &str, status: &RolloutStatus) {
    let from = status.from.as_deref().map_or_else(String::new, |from| format!("{from} -> "));
    let (version, phase) = (&status.version, &status.phase);
    print(&format!(
        "{service} {from}{version}: {phase}, {} of {} targets, by {}",
        status.done, status.total, status.owner
    ));
    if status.process.as_ref().is_some_and(towpath_core::OwnerProcess::is_dead) {
        print(
            "  its process is dead: the same `towpath run` again goes on, and `towpath sweep` puts drained targets back",
        );
    }
    for question in &status.questions {
        print(&format!("  asks: {}  (answer: towpath rollout {service} approve, or refuse)", question.text));
    }
}

fn outcome(outcome: DeploymentOutcome) -> &'static str {
    match outcome {
        DeploymentOutcome::Running => "under way, or interrupted",
        DeploymentOutcome::Deployed => "deployed",
        DeploymentOutcome::RolledBack => "rolled back",
        DeploymentOutcome::Failed => "failed",
        DeploymentOutcome::Cancelled => "cancelled",
    }
}
