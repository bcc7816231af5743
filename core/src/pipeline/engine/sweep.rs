use crate::lease;
use crate::pipeline::engine::Engine;
use crate::{
    Backend, Balancer, Deployer, Error, ErrorKind, ErrorRecord, Lease, Monitor, Result, RunId, Setup, SilenceHandle,
    Timestamp, Undo,
};

/// A lease of a dead owner, and what came of its undo.
#[derive(Debug, Clone, PartialEq)]
pub struct Swept {
    /// The lease.
    pub lease: Lease,
    /// Whether its undo was carried out. A failure leaves the lease for the next sweep.
    pub outcome: Result<(), ErrorRecord>,
}

impl Engine {
    /// Carries out what dead owners left to be undone, and removes their leases. Leases of living owners stay.
    ///
    /// # Errors
    ///
    /// [`Storage`](ErrorKind::Storage). An undo that fails is in the list, not an error.
    pub async fn sweep(&self) -> Result<Vec<Swept>> {
        self.sweep_but(None).await
    }

    /// As [`sweep`](Self::sweep), without the leases of a run that is about to go on: it answers for them itself.
    pub(crate) async fn sweep_but(&self, run: Option<&RunId>) -> Result<Vec<Swept>> {
        let mut swept = Vec::new();
        for lease in self.store.leases().await? {
            let dead = lease.expires_at <= Timestamp::now() || lease::is_dead(&lease);
            if !dead || (run.is_some() && lease.owner.run.as_ref() == run) {
                continue;
            }
            let outcome = match &lease.undo {
                Some(undo) => self.undo(undo).await,
                None => Ok(()),
            };
            if outcome.is_ok() {
                self.store.release(&lease.fence()).await?;
            }
            swept.push(Swept { lease, outcome: outcome.map_err(|e| e.record()) });
        }
        Ok(swept)
    }

    async fn undo(&self, undo: &Undo) -> Result<()> {
        let environment = Some(&undo.environment).filter(|e| !e.is_empty()).unwrap_or(&self.environment);
        let cx = self.context().for_environment(environment);
        let setup = Setup { environment: environment.clone(), ..self.setup(&crate::pipeline::Pipeline::default()) };
        let wrong = |e: serde_json::Error| {
            Error::new(ErrorKind::Storage, "core", "sweep", "the arguments of an undo can't be read")
                .with("provider", &undo.provider)
                .caused_by(e)
        };
        if let Some(function) = self.registry.undos.get(&(undo.provider.clone(), undo.verb.clone())) {
            return function.undo(&cx, &undo.config, &undo.arguments).await;
        }
        match undo.verb.as_str() {
            "add" => {
                let backend: Backend = serde_json::from_value(undo.arguments.clone()).map_err(wrong)?;
                let balancer = self.registry.make::<dyn Balancer>(&undo.provider, &undo.config, &setup)?;
                balancer.add(&cx, &backend).await
            }
            "unsilence" => {
                let handle: SilenceHandle = serde_json::from_value(undo.arguments.clone()).map_err(wrong)?;
                let monitor = self.registry.make::<dyn Monitor>(&undo.provider, &undo.config, &setup)?;
                monitor.unsilence(&cx, &handle).await
            }
            "resume" => {
                let group: String = serde_json::from_value(undo.arguments.clone()).map_err(wrong)?;
                let deployer = self.registry.make::<dyn Deployer>(&undo.provider, &undo.config, &setup)?;
                deployer.resume(&cx, &group).await
            }
            verb => Err(Error::new(ErrorKind::Unsupported, "core", "sweep", "nobody knows how to carry this undo out")
                .with("provider", &undo.provider)
                .with("verb", verb)),
        }
    }
}
