use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use serde::{Deserialize, Serialize};

use crate::{
    Context, ErrorKind, EventKind, Fence, Lease, LeaseAnswer, LeaseOwner, LeaseRequest, OwnerProcess, Result, RunId,
    Store, Timestamp,
};

const TICK: Duration = Duration::from_millis(200);
/// A waiter that has not shown itself for so long has gone.
const WAITER_TTL: Duration = Duration::from_secs(15);

/// A lease that is renewed until it is given back or dropped.
#[derive(Debug)]
pub(crate) struct HeldLease {
    store: Arc<dyn Store>,
    fence: Fence,
    /// Renews; ends when this is dropped.
    _renewal: JoinSet<()>,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Wanted<'a> {
    pub(crate) key: String,
    pub(crate) reason: String,
    pub(crate) owner: &'a LeaseOwner,
    pub(crate) ttl: Duration,
    /// Cancelled when the lease is lost to somebody else.
    pub(crate) lost: CancellationToken,
}

impl Wanted<'_> {
    /// An earlier process of this very run. It is dead, or it would hold the run itself; two steps of one process are not that.
    fn is_from_before(&self, lease: &Lease) -> bool {
        self.owner.run.is_some() && lease.owner.run == self.owner.run && lease.owner.process != self.owner.process
    }
}

/// Somebody who waits for a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiter {
    /// Tells it from the others; sorts by the time at which it came.
    pub id: String,
    /// Who: `build-3 pid 4711 (anna)`.
    pub label: String,
    /// What for.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// When it counts as gone unless it shows itself.
    pub expires_at: Timestamp,
    process: Option<OwnerProcess>,
}

/// Lists who waits for a lease, the next one first. Those that died are left out.
///
/// # Errors
///
/// [`Storage`](ErrorKind::Storage).
pub async fn waiting(store: &Arc<dyn Store>, key: &str) -> Result<Vec<Waiter>> {
    let all = store.documents(&queue(key)).await?;
    let all = all.into_iter().filter_map(|(_, value)| serde_json::from_value::<Waiter>(value).ok());
    let gone = |w: &Waiter| w.expires_at <= Timestamp::now() || w.process.as_ref().is_some_and(OwnerProcess::is_dead);
    Ok(all.filter(|w| !gone(w)).collect())
}

fn queue(key: &str) -> String {
    format!("queue/{key}")
}

/// A place in a queue.
struct Place {
    store: Arc<dyn Store>,
    queue: String,
    waiter: Waiter,
}

impl Place {
    async fn take(store: &Arc<dyn Store>, wanted: &Wanted<'_>) -> Result<Self> {
        let now = Timestamp::now();
        let waiter = Waiter {
            id: RunId::new().0,
            label: wanted.owner.label.clone(),
            reason: wanted.reason.clone(),
            since: now,
            expires_at: now,
            process: wanted.owner.process.clone(),
        };
        let place = Self { store: Arc::clone(store), queue: queue(&wanted.key), waiter };
        place.keep().await?;
        Ok(place)
    }

    /// Shows that it is still wanted.
    async fn keep(&self) -> Result<()> {
        let waiter = Waiter { expires_at: Timestamp::now().plus(WAITER_TTL), ..self.waiter.clone() };
        let document = serde_json::to_value(waiter).unwrap_or_default();
        self.store.put_document(&self.queue, &self.waiter.id, Some(&document)).await
    }

    async fn leave(&self) -> Result<()> {
        self.store.put_document(&self.queue, &self.waiter.id, None).await
    }
}

impl HeldLease {
    /// Takes a lease, and waits while somebody alive holds it, behind those that wait already. The waiter is told who holds it,
    /// once for each holder.
    pub(crate) async fn take(cx: &Context, store: &Arc<dyn Store>, wanted: &Wanted<'_>) -> Result<Self> {
        if waiting(store, &wanted.key).await?.is_empty()
            && let Some(held) = Self::try_take(store, wanted).await?.ok()
        {
            return Ok(held);
        }
        let place = Place::take(store, wanted).await?;
        let taken = Self::wait(cx, store, wanted, &place).await;
        place.leave().await?;
        taken
    }

    async fn wait(cx: &Context, store: &Arc<dyn Store>, wanted: &Wanted<'_>, place: &Place) -> Result<Self> {
        let (mut told, mut shown) = (None, Instant::now());
        loop {
            if shown.elapsed() > WAITER_TTL / 3 {
                place.keep().await?;
                shown = Instant::now();
            }
            let ahead = waiting(store, &wanted.key).await?;
            let first = ahead.first().is_none_or(|w| w.id == place.waiter.id);
            // One behind others only looks who holds it.
            let holder = if first {
                match Self::try_take(store, wanted).await? {
                    Ok(held) => return Ok(held),
                    Err(lease) => Some(lease),
                }
            } else {
                store.leases().await?.into_iter().find(|l| l.key == wanted.key)
            };
            if let Some(lease) = holder.filter(|l| told.as_ref() != Some(&l.owner.id)) {
                let holder = format!("{}: {}", lease.owner.label, lease.reason);
                cx.emit(EventKind::Waiting { key: wanted.key.clone(), holder });
                told = Some(lease.owner.id);
            }
            cx.sleep("core", "lease", TICK).await?;
        }
    }

    /// Takes a lease, or gives the one of a living holder.
    async fn try_take(store: &Arc<dyn Store>, wanted: &Wanted<'_>) -> Result<Result<Self, Lease>> {
        let request = LeaseRequest {
            key: wanted.key.clone(),
            owner: wanted.owner.clone(),
            reason: wanted.reason.clone(),
            ttl_ms: u64::try_from(wanted.ttl.as_millis()).unwrap_or(u64::MAX),
            undo: None,
        };
        loop {
            match store.acquire(&request).await? {
                LeaseAnswer::Granted(lease) => return Ok(Ok(Self::hold(store, &lease, wanted))),
                // These leases have no undo, so nothing is left to be carried out.
                LeaseAnswer::Expired(lease) => store.release(&lease.fence()).await?,
                LeaseAnswer::Held(lease) if is_dead(&lease) || wanted.is_from_before(&lease) => {
                    store.release(&lease.fence()).await?;
                }
                LeaseAnswer::Held(lease) => return Ok(Err(lease)),
            }
        }
    }

    fn hold(store: &Arc<dyn Store>, lease: &Lease, wanted: &Wanted<'_>) -> Self {
        let (fence, lost) = (lease.fence(), wanted.lost.clone());
        Self { store: Arc::clone(store), _renewal: renewal(store, &fence, wanted.ttl, lost), fence }
    }

    pub(crate) fn fence(&self) -> &Fence {
        &self.fence
    }

    pub(crate) async fn give_back(self) -> Result<()> {
        self.store.release(&self.fence).await
    }
}

/// Renews a lease until this is dropped; cancels `lost` when it is somebody else's by now.
pub(crate) fn renewal(store: &Arc<dyn Store>, fence: &Fence, ttl: Duration, lost: CancellationToken) -> JoinSet<()> {
    let (store, fence) = (Arc::clone(store), fence.clone());
    let mut renewal = JoinSet::new();
    renewal.spawn(async move {
        loop {
            tokio::time::sleep(ttl / 3).await;
            let end = Timestamp::now().plus(ttl);
            // Any other failure is tried again: the lease lives for two more turns.
            if store.renew(&fence, end).await.is_err_and(|e| e.kind() == ErrorKind::Conflict) {
                lost.cancel();
                return;
            }
        }
    });
    renewal
}

/// Whether a lease's owner was a process of this machine that is gone. Nobody need wait for its expiry then.
pub(crate) fn is_dead(lease: &Lease) -> bool {
    lease.owner.process.as_ref().is_some_and(crate::OwnerProcess::is_dead)
}
