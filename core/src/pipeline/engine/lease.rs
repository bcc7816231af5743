use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    Context, ErrorKind, EventKind, Fence, Lease, LeaseAnswer, LeaseOwner, LeaseRequest, Result, Store, Timestamp,
};

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

impl HeldLease {
    /// Takes a lease, and waits while somebody alive holds it. The waiter is told who that is, once for each holder.
    pub(crate) async fn take(cx: &Context, store: &Arc<dyn Store>, wanted: &Wanted<'_>) -> Result<Self> {
        let mut told = None;
        loop {
            let request = LeaseRequest {
                key: wanted.key.clone(),
                owner: wanted.owner.clone(),
                reason: wanted.reason.clone(),
                ttl_ms: u64::try_from(wanted.ttl.as_millis()).unwrap_or(u64::MAX),
                undo: None,
            };
            match store.acquire(&request).await? {
                LeaseAnswer::Granted(lease) => return Ok(Self::hold(store, &lease, wanted)),
                // These leases have no undo, so nothing is left to be carried out.
                LeaseAnswer::Expired(lease) => store.release(&lease.fence()).await?,
                LeaseAnswer::Held(lease) if is_dead(&lease) => store.release(&lease.fence()).await?,
                LeaseAnswer::Held(lease) => {
                    if told.as_ref() != Some(&lease.owner.id) {
                        let holder = format!("{}: {}", lease.owner.label, lease.reason);
                        cx.emit(EventKind::Waiting { key: wanted.key.clone(), holder });
                        told = Some(lease.owner.id.clone());
                    }
                    cx.sleep("core", "lease", Duration::from_millis(200)).await?;
                }
            }
        }
    }

    fn hold(store: &Arc<dyn Store>, lease: &Lease, wanted: &Wanted<'_>) -> Self {
        let (fence, ttl, lost) = (lease.fence(), wanted.ttl, wanted.lost.clone());
        let mut renewal = JoinSet::new();
        renewal.spawn({
            let (store, fence) = (Arc::clone(store), fence.clone());
            async move {
                loop {
                    tokio::time::sleep(ttl / 3).await;
                    let end = Timestamp::now().plus(ttl);
                    // Any other failure is tried again: the lease lives for two more turns.
                    if store.renew(&fence, end).await.is_err_and(|e| e.kind() == ErrorKind::Conflict) {
                        lost.cancel();
                        return;
                    }
                }
            }
        });
        Self { store: Arc::clone(store), fence, _renewal: renewal }
    }

    pub(crate) fn fence(&self) -> &Fence {
        &self.fence
    }

    pub(crate) async fn give_back(self) -> Result<()> {
        self.store.release(&self.fence).await
    }
}

/// Whether a lease's owner was a process of this machine that is gone. Nobody need wait for its expiry then.
pub(crate) fn is_dead(lease: &Lease) -> bool {
    lease.owner.process.as_ref().is_some_and(crate::OwnerProcess::is_dead)
}
