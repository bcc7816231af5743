//! A store whose process dies at one of its changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use towpath_core::{
    Deployment, Entry, Environment, Fence, Json, Lease, LeaseAnswer, LeaseRequest, Record, Result, RunFilter, RunId,
    RunInfo, Store, Timestamp,
};

/// Each change has two points: before it is made, and before its maker hears that it was.
#[derive(Debug)]
pub struct Dying {
    real: Arc<dyn Store>,
    seen: AtomicUsize,
    k: usize,
}

impl Dying {
    pub fn new(real: &Arc<dyn Store>, k: usize) -> Self {
        Self { real: Arc::clone(real), seen: AtomicUsize::new(0), k }
    }

    /// At the `k`th point, and at each later one: the dead do nothing more.
    fn point(&self) {
        if self.seen.fetch_add(1, Ordering::SeqCst) >= self.k {
            std::panic::panic_any("killed");
        }
    }

    async fn change<T>(&self, change: impl Future<Output = Result<T>>) -> Result<T> {
        self.point();
        let done = change.await;
        self.point();
        done
    }
}

#[async_trait]
impl Store for Dying {
    fn location(&self) -> String {
        self.real.location()
    }
    async fn create_run(&self, run: &RunInfo) -> Result<()> {
        self.change(self.real.create_run(run)).await
    }
    async fn update_run(&self, run: &RunInfo) -> Result<()> {
        self.change(self.real.update_run(run)).await
    }
    async fn run(&self, id: &RunId) -> Result<Option<RunInfo>> {
        self.real.run(id).await
    }
    async fn runs(&self, filter: &RunFilter, limit: usize) -> Result<Vec<RunInfo>> {
        self.real.runs(filter, limit).await
    }
    async fn append(&self, run: &RunId, fence: Option<&Fence>, records: &[Record]) -> Result<()> {
        self.change(self.real.append(run, fence, records)).await
    }
    async fn journal(&self, run: &RunId) -> Result<Vec<Entry>> {
        self.real.journal(run).await
    }
    async fn acquire(&self, request: &LeaseRequest) -> Result<LeaseAnswer> {
        self.change(self.real.acquire(request)).await
    }
    async fn renew(&self, fence: &Fence, expires_at: Timestamp) -> Result<()> {
        self.change(self.real.renew(fence, expires_at)).await
    }
    async fn release(&self, fence: &Fence) -> Result<()> {
        self.change(self.real.release(fence)).await
    }
    async fn leases(&self) -> Result<Vec<Lease>> {
        self.real.leases().await
    }
    async fn put_deployment(&self, deployment: &Deployment) -> Result<()> {
        self.change(self.real.put_deployment(deployment)).await
    }
    async fn deployments(&self, environment: &str, service: &str) -> Result<Vec<Deployment>> {
        self.real.deployments(environment, service).await
    }
    async fn put_environment(&self, environment: &Environment) -> Result<()> {
        self.change(self.real.put_environment(environment)).await
    }
    async fn environment(&self, name: &str) -> Result<Option<Environment>> {
        self.real.environment(name).await
    }
    async fn put_document(&self, namespace: &str, key: &str, value: Option<&Json>) -> Result<()> {
        self.change(self.real.put_document(namespace, key, value)).await
    }
    async fn documents(&self, namespace: &str) -> Result<Vec<(String, Json)>> {
        self.real.documents(namespace).await
    }
}
