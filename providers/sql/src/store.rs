use async_trait::async_trait;
use sqlx::SqlitePool;
use tokio::sync::{mpsc, oneshot};
use towpath_core::{
    Deployment, Entry, Environment, Error, ErrorKind, Fence, Json, Lease, LeaseAnswer, LeaseRequest, Record, Result,
    RunFilter, RunId, RunInfo, Store, Timestamp,
};

use crate::read::Reader;
use crate::write::{Ticket, Write, Written};

/// A [`Store`] in one SQLite file. Made by [`open`](crate::open()).
#[derive(Debug)]
pub struct SqliteStore {
    reader: Reader,
    writer: mpsc::Sender<Ticket>,
}

impl SqliteStore {
    pub(crate) fn new(location: String, pool: SqlitePool, writer: mpsc::Sender<Ticket>) -> Self {
        Self { reader: Reader { location, pool }, writer }
    }

    async fn write(&self, write: Write) -> Result<Written> {
        let gone = || {
            Error::new(ErrorKind::Storage, "sql", "write", "the store was closed: its runtime has ended")
                .with("store", &self.reader.location)
        };
        let (reply, answer) = oneshot::channel();
        self.writer.send((write, reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    async fn put(&self, write: Write) -> Result<()> {
        self.write(write).await.map(drop)
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn location(&self) -> String {
        self.reader.location.clone()
    }

    async fn create_run(&self, run: &RunInfo) -> Result<()> {
        self.put(Write::CreateRun(run.clone())).await
    }

    async fn update_run(&self, run: &RunInfo) -> Result<()> {
        self.put(Write::UpdateRun(run.clone())).await
    }

    async fn run(&self, id: &RunId) -> Result<Option<RunInfo>> {
        self.reader.run(id).await
    }

    async fn runs(&self, filter: &RunFilter, limit: usize) -> Result<Vec<RunInfo>> {
        self.reader.runs(filter, limit).await
    }

    async fn append(&self, run: &RunId, fence: Option<&Fence>, records: &[Record]) -> Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        self.put(Write::Append { run: run.clone(), fence: fence.cloned(), records: records.to_vec() }).await
    }

    async fn journal(&self, run: &RunId) -> Result<Vec<Entry>> {
        self.reader.journal(run).await
    }

    async fn acquire(&self, request: &LeaseRequest) -> Result<LeaseAnswer> {
        match self.write(Write::Acquire(request.clone())).await? {
            Written::Lease(answer) => Ok(*answer),
            Written::Done => Err(Error::new(ErrorKind::Internal, "sql", "acquire", "the writer gave no lease")),
        }
    }

    async fn renew(&self, fence: &Fence, expires_at: Timestamp) -> Result<()> {
        self.put(Write::Renew(fence.clone(), expires_at)).await
    }

    async fn release(&self, fence: &Fence) -> Result<()> {
        self.put(Write::Release(fence.clone())).await
    }

    async fn leases(&self) -> Result<Vec<Lease>> {
        self.reader.leases().await
    }

    async fn put_deployment(&self, deployment: &Deployment) -> Result<()> {
        self.put(Write::Deployment(deployment.clone())).await
    }

    async fn deployments(&self, environment: &str, service: &str) -> Result<Vec<Deployment>> {
        self.reader.deployments(environment, service).await
    }

    async fn put_environment(&self, environment: &Environment) -> Result<()> {
        self.put(Write::Environment(environment.clone())).await
    }

    async fn environment(&self, name: &str) -> Result<Option<Environment>> {
        self.reader.environment(name).await
    }

    async fn put_document(&self, namespace: &str, key: &str, value: Option<&Json>) -> Result<()> {
        let (namespace, key) = (namespace.to_owned(), key.to_owned());
        self.put(Write::Document { namespace, key, value: value.cloned() }).await
    }

    async fn documents(&self, namespace: &str) -> Result<Vec<(String, Json)>> {
        self.reader.documents(namespace).await
    }
}
