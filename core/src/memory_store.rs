use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::{
    Deployment, Entry, Environment, Error, ErrorKind, Fence, Json, Lease, LeaseAnswer, LeaseRequest, Record, Result,
    RunFilter, RunId, RunInfo, Store, Timestamp,
};

/// A [`Store`] that ends with the process: for tests, and for programs that never need to continue.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    runs: BTreeMap<RunId, RunInfo>,
    journals: HashMap<RunId, Vec<Entry>>,
    leases: BTreeMap<String, Lease>,
    /// The last fencing number of each key, kept when its lease is gone.
    fences: HashMap<String, u64>,
    deployments: Vec<Deployment>,
    environments: BTreeMap<String, Environment>,
    documents: BTreeMap<(String, String), Json>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn own(&mut self, fence: &Fence) -> Result<&mut Lease> {
        self.leases
            .get_mut(&fence.key)
            .filter(|l| l.fence == fence.number && l.owner.id == fence.owner)
            .ok_or_else(|| lost_lease(fence))
    }
}

/// What every store says when a lease is somebody else's by now.
pub fn lost_lease(fence: &Fence) -> Error {
    Error::new(
        ErrorKind::Conflict,
        "store",
        "lease",
        "the lease is no longer held by this process: another one took over, so this one stops",
    )
    .with("lease", &fence.key)
}

#[async_trait]
impl Store for MemoryStore {
    fn location(&self) -> String {
        "memory:".to_owned()
    }

    async fn create_run(&self, run: &RunInfo) -> Result<()> {
        let mut inner = self.lock();
        if inner.runs.contains_key(&run.id) {
            return Err(
                Error::new(ErrorKind::AlreadyExists, "store", "create run", "the run exists").with("run", &run.id)
            );
        }
        inner.runs.insert(run.id.clone(), run.clone());
        Ok(())
    }

    async fn update_run(&self, run: &RunInfo) -> Result<()> {
        self.lock().runs.insert(run.id.clone(), run.clone());
        Ok(())
    }

    async fn run(&self, id: &RunId) -> Result<Option<RunInfo>> {
        Ok(self.lock().runs.get(id).cloned())
    }

    async fn runs(&self, filter: &RunFilter, limit: usize) -> Result<Vec<RunInfo>> {
        let fits = |r: &&RunInfo| {
            filter.pipeline.as_ref().is_none_or(|p| *p == r.pipeline)
                && filter.environment.as_ref().is_none_or(|e| *e == r.environment)
                && filter.state.is_none_or(|s| s == r.state)
        };
        Ok(self.lock().runs.values().rev().filter(fits).take(limit).cloned().collect())
    }

    async fn append(&self, run: &RunId, fence: Option<&Fence>, records: &[Record]) -> Result<()> {
        let mut inner = self.lock();
        if let Some(fence) = fence {
            inner.own(fence)?;
        }
        let journal = inner.journals.entry(run.clone()).or_default();
        for record in records {
            let seq = journal.len() as u64 + 1;
            journal.push(Entry { seq, at: Timestamp::now(), record: record.clone() });
        }
        Ok(())
    }

    async fn journal(&self, run: &RunId) -> Result<Vec<Entry>> {
        Ok(self.lock().journals.get(run).cloned().unwrap_or_default())
    }

    async fn acquire(&self, request: &LeaseRequest) -> Result<LeaseAnswer> {
        let mut inner = self.lock();
        let now = Timestamp::now();
        if let Some(lease) = inner.leases.get(&request.key) {
            if lease.expires_at > now {
                return Ok(LeaseAnswer::Held(lease.clone()));
            }
            if lease.undo.is_some() {
                return Ok(LeaseAnswer::Expired(lease.clone()));
            }
        }
        let number = inner.fences.entry(request.key.clone()).or_default();
        *number += 1;
        let lease = Lease {
            key: request.key.clone(),
            owner: request.owner.clone(),
            reason: request.reason.clone(),
            fence: *number,
            acquired_at: now,
            renewed_at: now,
            expires_at: now.plus(std::time::Duration::from_millis(request.ttl_ms)),
            undo: request.undo.clone(),
        };
        inner.leases.insert(request.key.clone(), lease.clone());
        Ok(LeaseAnswer::Granted(lease))
    }

    async fn renew(&self, fence: &Fence, expires_at: Timestamp) -> Result<()> {
        let mut inner = self.lock();
        let lease = inner.own(fence)?;
        lease.renewed_at = Timestamp::now();
        lease.expires_at = expires_at;
        Ok(())
    }

    async fn release(&self, fence: &Fence) -> Result<()> {
        let mut inner = self.lock();
        if inner.own(fence).is_ok() {
            inner.leases.remove(&fence.key);
        }
        Ok(())
    }

    async fn leases(&self) -> Result<Vec<Lease>> {
        Ok(self.lock().leases.values().cloned().collect())
    }

    async fn put_deployment(&self, deployment: &Deployment) -> Result<()> {
        let mut inner = self.lock();
        let same = |d: &&mut Deployment| {
            d.environment == deployment.environment
                && d.run == deployment.run
                && d.release.service == deployment.release.service
                && d.release.version == deployment.release.version
        };
        match inner.deployments.iter_mut().find(same) {
            Some(old) => *old = deployment.clone(),
            None => inner.deployments.push(deployment.clone()),
        }
        Ok(())
    }

    async fn deployments(&self, environment: &str, service: &str) -> Result<Vec<Deployment>> {
        let fits = |d: &&Deployment| d.environment == environment && d.release.service == service;
        Ok(self.lock().deployments.iter().filter(fits).cloned().collect())
    }

    async fn put_environment(&self, environment: &Environment) -> Result<()> {
        self.lock().environments.insert(environment.name.clone(), environment.clone());
        Ok(())
    }

    async fn environment(&self, name: &str) -> Result<Option<Environment>> {
        Ok(self.lock().environments.get(name).cloned())
    }

    async fn put_document(&self, namespace: &str, key: &str, value: Option<&Json>) -> Result<()> {
        let mut inner = self.lock();
        let at = (namespace.to_owned(), key.to_owned());
        match value {
            Some(value) => inner.documents.insert(at, value.clone()),
            None => inner.documents.remove(&at),
        };
        Ok(())
    }

    async fn documents(&self, namespace: &str) -> Result<Vec<(String, Json)>> {
        let inner = self.lock();
        let found = inner.documents.iter().filter(|((n, _), _)| n == namespace);
        Ok(found.map(|((_, k), v)| (k.clone(), v.clone())).collect())
    }
}
