//! The throw-away machine that an image from a reference is configured in.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;
use towpath_core::{Context, Error, ErrorKind, EventKind, Host, Json, Provisioner, Result};

use super::VAGRANT_BOX;
use super::store::Store;
use crate::files::{read_json, remove, storage, write_json};

/// Stands for the base's reference in a machine's spec.
const PLACEHOLDER: &str = "{base}";

type Make = dyn Fn(Json) -> Result<Arc<dyn Provisioner>> + Send + Sync;

/// How throw-away machines are made: a provisioner, and its spec with `{base}` where the image's base belongs.
#[derive(Clone)]
pub(super) struct Machines {
    make: Arc<Make>,
    spec: Json,
}

impl fmt::Debug for Machines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machines").field("spec", &self.spec).finish_non_exhaustive()
    }
}

/// A machine that exists, or may exist, as the folder tells it after a crash.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    environment: String,
    spec: Json,
}

/// A machine that is there.
pub(super) struct Machine {
    provisioner: Arc<dyn Provisioner>,
    cx: Context,
    record: PathBuf,
}

fn fill(value: &mut Json, base: &str) -> usize {
    match value {
        Json::String(text) => {
            let count = text.matches(PLACEHOLDER).count();
            *text = text.replace(PLACEHOLDER, base);
            count
        }
        Json::Array(list) => list.iter_mut().map(|v| fill(v, base)).sum(),
        Json::Object(map) => map.values_mut().map(|v| fill(v, base)).sum(),
        Json::Null | Json::Bool(_) | Json::Number(_) => 0,
    }
}

impl Machines {
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): the spec has no place for the base.
    pub(super) fn new(make: Arc<Make>, spec: Json) -> Result<Self> {
        if fill(&mut spec.clone(), "") == 0 {
            let what = format!("the machine's spec must hold `{PLACEHOLDER}` where the image's base belongs");
            return Err(Error::new(ErrorKind::InvalidInput, VAGRANT_BOX, "config", what));
        }
        Ok(Self { make, spec })
    }

    pub(super) fn spec(&self) -> &Json {
        &self.spec
    }

    /// Checks the spec with this base, and the provisioner's tools. Makes nothing.
    pub(super) async fn preflight(&self, cx: &Context, base: &str) -> Result<()> {
        self.provisioner(base)?.1.preflight(cx).await.map(|_| ())
    }

    fn provisioner(&self, base: &str) -> Result<(Json, Arc<dyn Provisioner>)> {
        let mut spec = self.spec.clone();
        fill(&mut spec, base);
        let provisioner = (self.make)(spec.clone())?;
        Ok((spec, provisioner))
    }

    /// Makes the machine; the store's lock is held. Gives it with its host.
    pub(super) async fn start(&self, cx: &Context, store: &Store, base: &str, key: &str) -> Result<(Machine, Host)> {
        let (spec, provisioner) = self.provisioner(base)?;
        let short: String = key.chars().take(16).collect();
        let environment = format!("towpath-box-{short}");
        let record = store.dir.join("machine.json");
        // Before the machine: whatever is made after this is found.
        write_json(&record, &Record { environment: environment.clone(), spec })
            .map_err(|e| storage("build", &record, e))?;
        // Its effects are not those of the run: a resumed run must not take a machine for granted that was thrown away.
        let attempt = format!("machine/{:016x}", rand::random::<u64>());
        let cx = cx.for_environment(&environment).scoped(&attempt);
        let machine = Machine { provisioner, cx, record };
        match machine.apply().await {
            Ok(host) => Ok((machine, host)),
            Err(error) => Err(machine.remove_after(error).await),
        }
    }

    /// Removes what a crash left; the store's lock is held, so no build works with it.
    pub(super) async fn sweep(machines: Option<&Self>, cx: &Context, store: &Store) -> Result<()> {
        let path = store.dir.join("machine.json");
        let record = match read_json::<Record>(&path) {
            Ok(Some(record)) => record,
            Ok(None) => return Ok(()),
            Err(e) => return Err(storage("sweep", &path, e)),
        };
        let Some(machines) = machines else {
            cx.warn(format!(
                "the environment `{}` may be left of an interrupted build: only a build with a machine removes it",
                record.environment
            ));
            return Ok(());
        };
        let provisioner = (machines.make)(record.spec)?;
        let scope = format!("sweep/{:016x}", rand::random::<u64>());
        let cx = cx.for_environment(&record.environment).scoped(&scope);
        let destroyed = provisioner.destroy(&cx).await?;
        if destroyed.changed > 0 {
            let message = format!("removed {}, which an interrupted build had left", record.environment);
            cx.emit(EventKind::Progress { message, done: None, total: None });
        }
        remove(&path).map_err(|e| storage("sweep", &path, e)).map(|_| ())
    }
}

impl Machine {
    pub(super) fn cx(&self) -> &Context {
        &self.cx
    }

    async fn apply(&self) -> Result<Host> {
        let applied = self.provisioner.apply(&self.cx).await?;
        match <[Host; 1]>::try_from(applied.environment.inventory.hosts) {
            Ok([host]) => Ok(host),
            Err(hosts) => Err(Error::new(
                ErrorKind::InvalidInput,
                VAGRANT_BOX,
                "build",
                "the machine's spec must make one host: that is what is baked",
            )
            .with("hosts", json!(hosts.iter().map(|h| &h.name).collect::<Vec<_>>()))),
        }
    }

    /// Removes it. Not cancelled with the build: a cancel is why it must go.
    pub(super) async fn remove(self) -> Result<()> {
        self.provisioner.destroy(&self.cx.shielded()).await?;
        remove(&self.record).map_err(|e| storage("build", &self.record, e)).map(|_| ())
    }

    /// Removes it after a failure, which counts more than one of removing: then the next build sweeps.
    pub(super) async fn remove_after(self, error: Error) -> Error {
        let environment = self.cx.environment().to_owned();
        match self.remove().await {
            Ok(()) => error,
            Err(_) => error.with("left", environment),
        }
    }
}
