use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::lease::renewal;
use crate::{
    Context, Error, ErrorKind, EventKind, Fence, Lease, LeaseAnswer, LeaseOwner, LeaseRequest, Result, Store,
    Timestamp, Undo,
};

/// The drain leases of one rollout. While a lease is held, somebody else can undo its drain once this process is dead.
#[derive(Debug)]
pub(super) struct Leases {
    store: Option<Arc<dyn Store>>,
    owner: LeaseOwner,
    reason: String,
    ttl: Duration,
    held: Mutex<HashMap<String, Held>>,
}

#[derive(Debug)]
struct Held {
    fence: Fence,
    /// Renews the lease; ends when this is dropped.
    _renewal: JoinSet<()>,
}

impl Leases {
    pub(super) fn new(store: Option<Arc<dyn Store>>, owner: LeaseOwner, reason: String, ttl: Duration) -> Self {
        Self { store, owner, reason, ttl, held: Mutex::default() }
    }

    /// Takes a lease, waiting while somebody alive holds it. Held already is a success.
    ///
    /// A lease that a dead process left behind is taken over with its undo, which this rollout answers for from now on.
    pub(super) async fn take(&self, cx: &Context, key: &str, undo: &Undo) -> Result<()> {
        let Some(store) = &self.store else { return Ok(()) };
        let mut told = false;
        loop {
            if self.held.lock().await.contains_key(key) {
                return self.clear_bridge(store, key).await;
            }
            let lease = match store.acquire(&self.request(key, undo)).await? {
                LeaseAnswer::Granted(lease) => {
                    self.hold(store, &lease).await;
                    continue;
                }
                LeaseAnswer::Expired(lease) => {
                    self.take_over(store, &lease, undo).await?;
                    continue;
                }
                LeaseAnswer::Held(lease) => lease,
            };
            if self.is_from_before(&lease) {
                self.take_over(store, &lease, undo).await?;
                continue;
            }
            if !told {
                told = true;
                cx.emit(EventKind::Waiting {
                    key: key.to_owned(),
                    holder: format!("{}: {}", lease.owner.label, lease.reason),
                });
            }
            cx.sleep("core", "rollout", Duration::from_millis(200)).await?;
        }
    }

    /// An earlier process, or attempt, of this very rollout. It is dead, or it would hold the run itself.
    fn is_from_before(&self, lease: &Lease) -> bool {
        self.owner.run.is_some() && lease.owner.run == self.owner.run && lease.reason == self.reason
    }

    /// Frees what a crash in the middle of [`take_over`](Self::take_over) left: carried out later by somebody, its undo would put
    /// the backend back while this rollout works on it.
    async fn clear_bridge(&self, store: &Arc<dyn Store>, key: &str) -> Result<()> {
        let bridge = bridge(key);
        match store.leases().await?.iter().find(|l| l.key == bridge) {
            Some(left) => store.release(&left.fence()).await,
            None => Ok(()),
        }
    }

    /// Frees a dead owner's lease. A second lease with the same undo spans the gap, so that a crash in it still leaves
    /// somebody the undo.
    async fn take_over(&self, store: &Arc<dyn Store>, dead: &Lease, undo: &Undo) -> Result<()> {
        if dead.undo.as_ref().is_some_and(|left| left != undo) {
            return Err(Error::new(
                ErrorKind::Conflict,
                "core",
                "rollout",
                "a dead process left a drain that this rollout can't undo: run `towpath sweep`, then try again",
            )
            .with("lease", &dead.key)
            .with("owner", &dead.owner.label));
        }
        let bridge = bridge(&dead.key);
        match store.acquire(&self.request(&bridge, undo)).await? {
            LeaseAnswer::Granted(bridge) => {
                store.release(&dead.fence()).await?;
                match store.acquire(&self.request(&dead.key, undo)).await? {
                    LeaseAnswer::Granted(lease) => self.hold(store, &lease).await,
                    // Somebody was quicker: it is theirs, and the caller waits for them.
                    LeaseAnswer::Held(_) | LeaseAnswer::Expired(_) => {}
                }
                store.release(&bridge.fence()).await
            }
            // A crash in just this gap left it; its undo is the same as that of the lease it bridges.
            LeaseAnswer::Expired(old) => store.release(&old.fence()).await,
            LeaseAnswer::Held(old) if self.is_from_before(&old) => store.release(&old.fence()).await,
            LeaseAnswer::Held(_) => {
                tokio::time::sleep(Duration::from_millis(200)).await;
                Ok(())
            }
        }
    }

    /// Fails if the lease is somebody else's by now, so that the backend may have been put back behind our back.
    pub(super) async fn confirm(&self, key: &str) -> Result<()> {
        let Some(store) = &self.store else { return Ok(()) };
        let fence = self.held.lock().await.get(key).map(|h| h.fence.clone());
        let lost = || {
            Error::new(
                ErrorKind::Conflict,
                "core",
                "rollout",
                "the drain lease was lost: its undo may have been carried out",
            )
            .with("lease", key)
        };
        let fence = fence.ok_or_else(lost)?;
        match store.renew(&fence, Timestamp::now().plus(self.ttl)).await {
            Err(e) if e.kind() == ErrorKind::Conflict => {
                self.held.lock().await.remove(key);
                Err(lost().caused_by(e))
            }
            other => other,
        }
    }

    /// Gives a lease back: its undo was carried out, or is not wanted. Also one that an earlier process of this rollout took.
    pub(super) async fn give_back(&self, key: &str) -> Result<()> {
        let Some(store) = &self.store else { return Ok(()) };
        if let Some(held) = self.held.lock().await.remove(key) {
            return store.release(&held.fence).await;
        }
        match store.leases().await?.iter().find(|l| l.key == key && self.is_from_before(l)) {
            Some(left) => store.release(&left.fence()).await,
            None => Ok(()),
        }
    }

    /// Lets a lease run out, so that its undo is carried out by somebody else.
    pub(super) async fn abandon(&self, key: &str) {
        self.held.lock().await.remove(key);
    }

    fn request(&self, key: &str, undo: &Undo) -> LeaseRequest {
        LeaseRequest {
            key: key.to_owned(),
            owner: self.owner.clone(),
            reason: self.reason.clone(),
            ttl_ms: u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX),
            undo: Some(undo.clone()),
        }
    }

    async fn hold(&self, store: &Arc<dyn Store>, lease: &Lease) {
        let fence = lease.fence();
        // Nobody waits to hear that it was lost: `confirm` has the last word before anything is touched.
        let renewal = renewal(store, &fence, self.ttl, CancellationToken::new());
        self.held.lock().await.insert(lease.key.clone(), Held { fence, _renewal: renewal });
    }
}

fn bridge(key: &str) -> String {
    format!("{key}/takeover")
}
