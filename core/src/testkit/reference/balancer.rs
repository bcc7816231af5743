use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

use super::{Shared, error};
use crate::testkit::balancer::{BalancerFixture, Opened};
use crate::{Backend, BackendMode, BackendState, Balancer, Capabilities, Context, ErrorKind, Preflight, Result};

/// Counts connections that exist in memory only.
#[derive(Debug, Clone, Default)]
pub struct MemoryBalancer {
    pool: Shared<Pool>,
    closed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Pool {
    backends: Vec<BackendState>,
    next: usize,
}

impl Pool {
    fn find(&mut self, name: &str) -> Option<&mut BackendState> {
        self.backends.iter_mut().find(|b| b.backend.name == name)
    }
}

/// An open connection; dropping it closes it.
struct Open {
    balancer: MemoryBalancer,
    name: String,
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(backend) = self.balancer.pool.lock().find(&self.name) {
            backend.connections -= 1;
        }
        self.balancer.closed.notify_waiters();
    }
}

/// A balancer without backends.
pub fn balancer() -> BalancerFixture {
    let provider = MemoryBalancer::default();
    let client = provider.clone();
    let open = move |()| {
        let opened = client.open();
        Box::pin(async move { opened }) as _
    };
    let backend = |name: &str| Backend { name: name.into(), address: "memory".into(), port: 80 };
    BalancerFixture {
        provider: Arc::new(provider),
        backends: [backend("web-1"), backend("web-2")],
        open: Box::new(open),
        cx: Context::new(),
        keep: Box::new(()),
    }
}

impl MemoryBalancer {
    fn open(&self) -> Option<Opened> {
        let mut pool = self.pool.lock();
        let serving = pool.backends.iter().filter(|b| b.mode == BackendMode::Serving).count();
        let next = pool.next;
        pool.next += 1;
        let chosen = pool.backends.iter_mut().filter(|b| b.mode == BackendMode::Serving).nth(next % serving.max(1))?;
        chosen.connections += 1;
        let name = chosen.backend.name.clone();
        Some((name.clone(), Box::new(Open { balancer: self.clone(), name })))
    }
}

#[async_trait]
impl Balancer for MemoryBalancer {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&["add", "drain", "remove", "wait_idle"])
    }

    async fn preflight(&self, _: &Context) -> Result<Preflight> {
        Ok(Preflight::default())
    }

    async fn add(&self, cx: &Context, backend: &Backend) -> Result<()> {
        cx.check("memory", "add")?;
        let mut pool = self.pool.lock();
        match pool.find(&backend.name) {
            Some(there) => there.mode = BackendMode::Serving,
            None => pool.backends.push(BackendState {
                backend: backend.clone(),
                mode: BackendMode::Serving,
                connections: 0,
            }),
        }
        Ok(())
    }

    async fn drain(&self, cx: &Context, name: &str) -> Result<()> {
        cx.check("memory", "drain")?;
        match self.pool.lock().find(name) {
            Some(backend) => backend.mode = BackendMode::Draining,
            None => return Err(error(ErrorKind::NotFound, "drain", "there is no such backend").with("backend", name)),
        }
        Ok(())
    }

    async fn remove(&self, cx: &Context, name: &str) -> Result<()> {
        cx.check("memory", "remove")?;
        self.pool.lock().backends.retain(|b| b.backend.name != name);
        Ok(())
    }

    async fn wait_idle(&self, cx: &Context, name: &str, limit: Duration) -> Result<u64> {
        let left = || self.pool.lock().find(name).map_or(0, |b| b.connections);
        let idle = async {
            loop {
                // Asked for before the look, so that no close in between is missed.
                let closed = self.closed.notified();
                if left() == 0 {
                    return Ok(0);
                }
                closed.await;
            }
        };
        cx.guard("memory", "wait_idle", async {
            tokio::time::timeout(limit, idle).await.unwrap_or_else(|_| Ok(left()))
        })
        .await
    }

    async fn backends(&self, cx: &Context) -> Result<Vec<BackendState>> {
        cx.check("memory", "backends")?;
        Ok(self.pool.lock().backends.clone())
    }
}
