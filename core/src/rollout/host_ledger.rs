//! The part of the ledger that is on the hosts: what a process knows that comes with another store, or with a new one.

use futures::StreamExt as _;
use futures::future::BoxFuture;

use crate::{Context, Deployment, Host, Json, Result, TargetState};

use super::ledger::{content, detail};
use super::target::{CALL_LIMIT, Crew, one_line, within};
use super::{Rollout, validate_release};

/// An entry as a host keeps it: whoever rules a host must not be able to have anything shipped from here by it, so it says what ran and
/// how that went, and not what to ship.
fn without_cargo(entry: &Deployment) -> Deployment {
    let mut entry = Deployment { detail: detail(&entry.release), ..entry.clone() };
    entry.release.artifact = None;
    entry.release.env.clear();
    entry
}

/// What a host has kept, as far as it can be believed.
fn as_of(host: &str, entry: Deployment) -> Deployment {
    let kept = entry.detail.get("content").and_then(Json::as_str).map(str::to_owned);
    let kept = kept.unwrap_or_else(|| content(&entry.release));
    let mut entry = without_cargo(&entry);
    entry.detail = serde_json::json!({ "content": kept, "host": host });
    // A host knows what ran on itself.
    entry.targets.retain(|name, _| name == host);
    // Entries of several hosts about one rollout are not one entry.
    entry.run = format!("{}@{host}", entry.run);
    entry
}

/// An entry without the values of known secrets: a reason is what tools have said.
pub(super) fn masked(cx: &Context, entry: &Deployment) -> Deployment {
    let reason = entry.reason.as_ref().map(|r| cx.masker().mask(r).into_owned());
    Deployment { reason, ..entry.clone() }
}

impl Rollout {
    /// Asks hosts that run something of which the store has never heard. One that does not answer is warned of: the rollout goes on with
    /// what is known.
    pub(super) async fn ask_hosts(
        &self,
        cx: &Context,
        crew: &Crew<'_>,
        hosts: &[&Host],
        states: &[TargetState],
        known: &[Deployment],
    ) -> Vec<Deployment> {
        let heard_of = |version: &String| known.iter().any(|d| d.release.version == *version);
        let mut questions: Vec<BoxFuture<'_, Vec<Deployment>>> = Vec::new();
        for (host, state) in hosts.iter().zip(states) {
            if state.current.as_ref().is_none_or(heard_of) {
                continue;
            }
            let (target, cx) = (crew.target(host), cx.for_host(&host.name));
            questions.push(Box::pin(async move {
                let target = &target;
                let asked =
                    within(
                        &cx,
                        CALL_LIMIT,
                        |cx| async move { self.deployer.recorded(&cx, target, crew.service).await },
                    );
                let all = asked.await.unwrap_or_else(|e| {
                    cx.warn(format!("the ledger on {} can't be read: {}", host.name, one_line(&e)));
                    Vec::new()
                });
                // What no rollout could have written becomes part of no path here.
                let here = |d: &Deployment| {
                    d.environment == cx.environment()
                        && d.release.service == crew.service
                        && validate_release(&cx, &d.release).is_ok()
                };
                all.into_iter().filter(here).map(|d| as_of(&host.name, d)).collect()
            }));
        }
        futures::stream::iter(questions).buffered(32).concat().await
    }

    /// Keeps what was found on hosts in the store, so that it is known from now on.
    pub(super) async fn keep_found(&self, cx: &Context, found: &[Deployment]) -> Result<()> {
        for entry in found {
            self.record(cx, entry).await?;
        }
        Ok(())
    }

    /// Keeps an entry on each of its hosts. One that can't take it is warned of: the store has it.
    pub(super) async fn record_on_hosts(&self, cx: &Context, crew: &Crew<'_>, hosts: &[&Host], entry: &Deployment) {
        let entry = &without_cargo(&masked(cx, entry));
        let mut work: Vec<BoxFuture<'_, ()>> = Vec::new();
        for host in hosts {
            let (target, cx) = (crew.target(host), cx.for_host(&host.name));
            work.push(Box::pin(async move {
                let target = &target;
                let kept =
                    within(&cx, CALL_LIMIT, |cx| async move { self.deployer.record(&cx, target, entry).await }).await;
                if let Err(e) = kept {
                    cx.warn(format!("the ledger on {} can't be written: {}", host.name, one_line(&e)));
                }
            }));
        }
        futures::stream::iter(work).buffered(32).collect::<Vec<()>>().await;
    }
}
