//! What is switched off while a group moves: under a lease whose undo switches it on again, whoever is alive then.

use std::time::Duration;

use crate::{Context, Result};

use super::super::Rollout;
use super::super::target::{CALL_LIMIT, Crew, fatal, one_line, say, within};

/// A group whose scaling is switched off. Holds the key of the lease.
#[derive(Debug)]
pub(super) struct Frozen(String);

impl Rollout {
    /// Switches off what the deployer wants off while the group moves. `Ok(Ok(None))`: nothing. `Ok(Err(..))`: it could not be, and
    /// is on again as far as possible.
    pub(super) async fn freeze(&self, cx: &Context, crew: &Crew<'_>) -> Result<Result<Option<Frozen>, String>> {
        let group = &self.group(crew).name;
        let Some(undo) = self.deployer.suspends(cx, group) else { return Ok(Ok(None)) };
        let key = format!("freeze/{}/{group}", cx.environment());
        // The lease comes first: what is switched off without one would stay off after a crash.
        crew.leases.take(cx, &key, &undo).await?;
        let frozen = Frozen(key);
        say(cx, "suspend", "", group);
        // Awaited, whatever `cx` says: dropped half-way, it would be neither on nor off.
        let done =
            within(&cx.shielded(), CALL_LIMIT, |cx| async move { self.deployer.suspend(&cx, group).await }).await;
        match done {
            Ok(()) => Ok(Ok(Some(frozen))),
            Err(e) if fatal(&e) => Err(e),
            Err(e) => {
                self.thaw(cx, crew, frozen).await?;
                Ok(Err(format!("its scaling could not be suspended: {}", one_line(&e))))
            }
        }
    }

    /// Switches it on again. Where that fails, the lease runs out, so that a guardian or a sweep tries again, and a warning says so.
    pub(super) async fn thaw(&self, cx: &Context, crew: &Crew<'_>, frozen: Frozen) -> Result<()> {
        let (calm, group) = (cx.shielded(), &self.group(crew).name);
        let mut tries = 0;
        let result = loop {
            tries += 1;
            let result = within(&calm, CALL_LIMIT, |cx| async move { self.deployer.resume(&cx, group).await }).await;
            if result.is_ok() || tries == 3 {
                break result;
            }
            tokio::time::sleep(Duration::from_millis(100 * tries)).await;
        };
        match result {
            Ok(()) => {
                say(&calm, "resume", "", group);
                crew.leases.give_back(&frozen.0).await
            }
            Err(e) => {
                crew.leases.abandon(&frozen.0).await;
                calm.warn(format!(
                    "the scaling of {group} is still suspended: a guardian tries again, or `towpath sweep`: {}",
                    one_line(&e)
                ));
                Ok(())
            }
        }
    }
}
