use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use towpath_core::testkit::balancer::{BalancerFixture, behaviours};
use towpath_core::testkit::{reference, trial};
use towpath_core::{Backend, BackendState, Balancer, Capabilities, Context, ErrorKind, Preflight, Result};

use crate::{Defect, error};

#[derive(Debug)]
struct Broken {
    real: Arc<dyn Balancer>,
    defect: Defect,
    added: Mutex<BTreeSet<String>>,
}

#[async_trait]
impl Balancer for Broken {
    fn capabilities(&self) -> Capabilities {
        self.defect.capabilities(self.real.capabilities())
    }

    async fn preflight(&self, cx: &Context) -> Result<Preflight> {
        self.defect.preflight(self.real.preflight(cx).await?)
    }

    async fn add(&self, cx: &Context, backend: &Backend) -> Result<()> {
        let fresh = self.added.lock().unwrap().insert(backend.name.clone());
        match self.defect.name {
            "an_added_backend_serves" => return Ok(()),
            "add_is_idempotent" if !fresh => return Err(error(ErrorKind::AlreadyExists)),
            "both_backends_get_connections" if self.defect.before() > 0 => return Ok(()),
            "a_drained_backend_serves_again_after_add" if !fresh => return Ok(()),
            _ => {}
        }
        self.real.add(cx, backend).await
    }

    async fn drain(&self, cx: &Context, name: &str) -> Result<()> {
        match self.defect.name {
            "a_drained_backend_gets_no_new_connection" => return Ok(()),
            "drain_is_idempotent" if self.defect.before() > 0 => return Err(error(ErrorKind::Conflict)),
            _ => {}
        }
        let drained = self.real.drain(cx, name).await;
        if self.defect.is("drain_of_an_unknown_backend_is_not_found") { Ok(()) } else { drained }
    }

    async fn remove(&self, cx: &Context, name: &str) -> Result<()> {
        match self.defect.name {
            "a_removed_backend_is_gone" => return Ok(()),
            "remove_is_idempotent" if self.defect.before() > 0 => return Err(error(ErrorKind::NotFound)),
            _ => {}
        }
        self.real.remove(cx, name).await
    }

    async fn wait_idle(&self, cx: &Context, name: &str, limit: Duration) -> Result<u64> {
        match self.defect.name {
            "an_idle_backend_is_idle_at_once" => return Ok(1),
            "waiting_for_idle_ends_at_its_limit" | "waiting_for_idle_ends_with_the_last_connection" => return Ok(0),
            _ => {}
        }
        let left = self.real.wait_idle(cx, name, limit).await;
        if self.defect.is("a_cancelled_wait_says_so") { Ok(left.unwrap_or(1)) } else { left }
    }

    async fn backends(&self, cx: &Context) -> Result<Vec<BackendState>> {
        let mut all = self.real.backends(cx).await?;
        if self.defect.is("a_drained_backend_keeps_its_connections") {
            all.iter_mut().for_each(|b| b.connections = 0);
        }
        Ok(all)
    }
}

#[tokio::test]
async fn balancer() {
    trial(
        behaviours(),
        async || reference::balancer(),
        async |defect| {
            let f = reference::balancer();
            let provider = Broken { real: f.provider, defect: Defect::new(defect), added: Mutex::default() };
            BalancerFixture { provider: Arc::new(provider), ..f }
        },
    )
    .await;
}
