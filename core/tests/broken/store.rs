use std::sync::Arc;

use async_trait::async_trait;
use towpath_core::testkit::store::{StoreFixture, behaviours};
use towpath_core::testkit::{reference, trial};
use towpath_core::{
    Deployment, Entry, Environment, Fence, Json, Lease, LeaseAnswer, LeaseRequest, Record, Result, RunFilter, RunId,
    RunInfo, Store, Timestamp,
};

use crate::Defect;

#[derive(Debug)]
struct Broken {
    real: Arc<dyn Store>,
    defect: Defect,
}

#[async_trait]
impl Store for Broken {
    fn location(&self) -> String {
        self.real.location()
    }

    async fn create_run(&self, run: &RunInfo) -> Result<()> {
        self.real.create_run(run).await
    }

    async fn update_run(&self, run: &RunInfo) -> Result<()> {
        self.real.update_run(run).await
    }

    async fn run(&self, id: &RunId) -> Result<Option<RunInfo>> {
        self.real.run(id).await
    }

    async fn runs(&self, filter: &RunFilter, limit: usize) -> Result<Vec<RunInfo>> {
        let mut runs = self.real.runs(filter, limit).await?;
        if self.defect.is("runs_are_found_and_listed_newest_first") {
            runs.reverse();
        }
        Ok(runs)
    }

    async fn append(&self, run: &RunId, fence: Option<&Fence>, records: &[Record]) -> Result<()> {
        match self.defect.name {
            "a_journal_keeps_its_order_under_concurrent_calls" => {
                for record in records {
                    self.real.append(run, fence, std::slice::from_ref(record)).await?;
                    tokio::task::yield_now().await;
                }
                Ok(())
            }
            "a_lost_lease_fences_its_owner_off" => self.real.append(run, None, records).await,
            _ => self.real.append(run, fence, records).await,
        }
    }

    async fn journal(&self, run: &RunId) -> Result<Vec<Entry>> {
        self.real.journal(run).await
    }

    async fn acquire(&self, request: &LeaseRequest) -> Result<LeaseAnswer> {
        match (self.defect.name, self.real.acquire(request).await?) {
            ("a_lease_is_exclusive_until_it_is_given_back_or_expires", LeaseAnswer::Held(lease))
            | ("an_expired_lease_with_an_undo_is_not_taken", LeaseAnswer::Expired(lease)) => {
                self.real.release(&lease.fence()).await?;
                self.real.acquire(request).await
            }
            ("fencing_numbers_grow_over_releases", LeaseAnswer::Granted(lease)) => {
                Ok(LeaseAnswer::Granted(Lease { fence: 1, ..lease }))
            }
            (_, answer) => Ok(answer),
        }
    }

    async fn renew(&self, fence: &Fence, expires_at: Timestamp) -> Result<()> {
        self.real.renew(fence, expires_at).await
    }

    async fn release(&self, fence: &Fence) -> Result<()> {
        self.real.release(fence).await
    }

    async fn leases(&self) -> Result<Vec<Lease>> {
        self.real.leases().await
    }

    async fn put_deployment(&self, deployment: &Deployment) -> Result<()> {
        let mut deployment = deployment.clone();
        if self.defect.is("a_ledger_replaces_only_the_same_entry") {
            deployment.run = "always the same".into();
        }
        self.real.put_deployment(&deployment).await
    }

    async fn deployments(&self, environment: &str, service: &str) -> Result<Vec<Deployment>> {
        self.real.deployments(environment, service).await
    }

    async fn put_environment(&self, environment: &Environment) -> Result<()> {
        self.real.put_environment(environment).await
    }

    async fn environment(&self, name: &str) -> Result<Option<Environment>> {
        self.real.environment(name).await
    }

    async fn put_document(&self, namespace: &str, key: &str, value: Option<&Json>) -> Result<()> {
        let forgets = self.defect.is("environments_and_documents_are_replaced_and_removed");
        self.real.put_document(if forgets { "one for all" } else { namespace }, key, value).await
    }

    async fn documents(&self, namespace: &str) -> Result<Vec<(String, Json)>> {
        self.real.documents(namespace).await
    }
}

#[tokio::test]
async fn store() {
    trial(
        behaviours(),
        async || reference::store(),
        async |defect| {
            let f = reference::store();
            StoreFixture { store: Arc::new(Broken { real: f.store, defect: Defect::new(defect) }), ..f }
        },
    )
    .await;
}
