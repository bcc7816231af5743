use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::{
    Error, ErrorKind, Event, EventKind, FaultPoint, Journal, Json, Listener, Listeners, Masker, Record, Result, RunId,
    Secret, SecretRef, Store, Timestamp,
};

/// What every call gets: where its events go, when it must stop, which secrets to mask, and its place in the journal.
///
/// Cheap to clone. A derived context (another step, host, deadline or scope) shares the rest with its origin.
#[derive(Debug, Clone)]
pub struct Context {
    shared: Arc<Shared>,
    cancel: CancellationToken,
    deadline: Option<Instant>,
    step: Option<Arc<str>>,
    host: Option<Arc<str>>,
    scope: Arc<str>,
    rerun_opaque: bool,
}

#[derive(Debug, Clone)]
struct Shared {
    run: Option<RunId>,
    environment: String,
    listeners: Listeners,
    masker: Masker,
    given: Arc<BTreeMap<String, Secret>>,
    journal: Arc<Journal>,
    store: Option<Arc<dyn Store>>,
}

/// Makes a [`Context`] with more than the defaults.
#[derive(Debug)]
pub struct ContextBuilder {
    shared: Shared,
    cancel: CancellationToken,
}

impl ContextBuilder {
    /// Names the environment; `default` if not given.
    #[must_use]
    pub fn environment(mut self, name: impl Into<String>) -> Self {
        self.shared.environment = name.into();
        self
    }

    /// Adds a listener.
    #[must_use]
    pub fn listener(mut self, listener: Arc<dyn Listener>) -> Self {
        self.shared.listeners.push(listener);
        self
    }

    /// Adds several listeners.
    #[must_use]
    pub fn listeners(mut self, listeners: Listeners) -> Self {
        self.shared.listeners = listeners;
        self
    }

    /// Writes effects to this run's journal.
    #[must_use]
    pub fn journal(mut self, run: RunId, journal: Journal) -> Self {
        self.shared.run = Some(run);
        self.shared.journal = Arc::new(journal);
        self
    }

    /// Gives providers a store for leases and documents.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.shared.store = Some(store);
        self
    }

    /// Shares the secrets to mask with somebody else.
    #[must_use]
    pub fn masker(mut self, masker: Masker) -> Self {
        self.shared.masker = masker;
        self
    }

    /// Gives a secret that [`SecretRef::Given`] names. It is masked from now on, and stored nowhere.
    #[must_use]
    pub fn secret(mut self, name: impl Into<String>, value: Secret) -> Self {
        self.shared.masker.learn(&value);
        Arc::make_mut(&mut self.shared.given).insert(name.into(), value);
        self
    }

    pub(crate) fn secrets(mut self, given: Arc<BTreeMap<String, Secret>>) -> Self {
        self.shared.given = given;
        self
    }

    /// Cancels when `token` does.
    #[must_use]
    pub fn cancel(mut self, token: CancellationToken) -> Self {
        self.cancel = token;
        self
    }

    /// Makes the context.
    pub fn build(self) -> Context {
        Context {
            shared: Arc::new(self.shared),
            cancel: self.cancel,
            deadline: None,
            step: None,
            host: None,
            scope: Arc::from(""),
            rerun_opaque: false,
        }
    }
}

impl Default for Context {
    fn default() -> Self {
        Self::new()
    }
}

impl Context {
    /// A context without a pipeline: journal in memory, no listeners, no deadline.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Starts from the defaults.
    pub fn builder() -> ContextBuilder {
        ContextBuilder {
            shared: Shared {
                run: None,
                environment: "default".to_owned(),
                listeners: Listeners::default(),
                masker: Masker::default(),
                given: Arc::default(),
                journal: Arc::new(Journal::in_memory()),
                store: None,
            },
            cancel: CancellationToken::new(),
        }
    }

    /// The environment's name.
    pub fn environment(&self) -> &str {
        &self.shared.environment
    }

    /// The run, if there is a pipeline.
    pub fn run(&self) -> Option<&RunId> {
        self.shared.run.as_ref()
    }

    /// The step, if there is a pipeline.
    pub fn step(&self) -> Option<&str> {
        self.step.as_deref()
    }

    /// The store, if there is one.
    pub fn store(&self) -> Option<&Arc<dyn Store>> {
        self.shared.store.as_ref()
    }

    /// The journal.
    pub fn journal(&self) -> &Journal {
        &self.shared.journal
    }

    /// The secrets that are masked.
    pub fn masker(&self) -> &Masker {
        &self.shared.masker
    }

    /// A context for a step: its events name it, its effects are journalled under it.
    #[must_use]
    pub fn for_step(&self, step: &str) -> Self {
        Self { step: Some(step.into()), ..self.scoped(step) }
    }

    /// A context whose events name a host.
    #[must_use]
    pub fn for_host(&self, host: &str) -> Self {
        Self { host: Some(host.into()), ..self.clone() }
    }

    /// A context whose effects are journalled below `key`.
    #[must_use]
    pub fn scoped(&self, key: &str) -> Self {
        Self { scope: self.path(key).into(), ..self.clone() }
    }

    /// A context whose events also go to this listener.
    #[must_use]
    pub fn also_heard_by(&self, listener: Arc<dyn Listener>) -> Self {
        let mut shared = Shared::clone(&self.shared);
        shared.listeners.push(listener);
        Self { shared: Arc::new(shared), ..self.clone() }
    }

    /// A context of another environment: for a throw-away machine that a build works in.
    #[must_use]
    pub fn for_environment(&self, name: &str) -> Self {
        let shared = Shared { environment: name.to_owned(), ..Shared::clone(&self.shared) };
        Self { shared: Arc::new(shared), ..self.clone() }
    }

    /// A context that must be done within `d`, or by its own deadline if that is sooner.
    #[must_use]
    pub fn with_timeout(&self, d: Duration) -> Self {
        let at = Instant::now() + d;
        Self { deadline: Some(self.deadline.map_or(at, |old| old.min(at))), ..self.clone() }
    }

    /// A context that is cancelled with this one, or alone through the token.
    #[must_use]
    pub fn child(&self) -> (Self, CancellationToken) {
        let token = self.cancel.child_token();
        (Self { cancel: token.clone(), ..self.clone() }, token)
    }

    /// A context that is *not* cancelled with this one and has no deadline: for undoing what was done.
    #[must_use]
    pub fn shielded(&self) -> Self {
        Self { cancel: CancellationToken::new(), deadline: None, ..self.clone() }
    }

    /// A context whose interrupted opaque effects run again instead of asking (`on_interrupt: rerun`).
    #[must_use]
    pub fn rerun_opaque(&self, yes: bool) -> Self {
        Self { rerun_opaque: yes, ..self.clone() }
    }

    /// Ends when the caller wants this to stop.
    pub async fn cancelled(&self) {
        self.cancel.cancelled().await;
    }

    /// Says whether the caller wants this to stop.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// The token behind [`cancelled`](Self::cancelled).
    pub fn cancel_token(&self) -> &CancellationToken {
        &self.cancel
    }

    /// When this must be done.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Fails if cancelled or out of time.
    pub fn check(&self, provider: &'static str, operation: &'static str) -> Result<()> {
        if self.is_cancelled() {
            return Err(Error::new(ErrorKind::Cancelled, provider, operation, "cancelled; nothing is running"));
        }
        if self.deadline.is_some_and(|at| Instant::now() >= at) {
            return Err(Error::new(ErrorKind::Timeout, provider, operation, "out of time").retry_later());
        }
        Ok(())
    }

    /// Waits for `work`, for a cancel or for the deadline, whichever is first. On the latter two `work` is dropped, so
    /// use it for waiting only, not for effects.
    pub async fn guard<T>(
        &self,
        provider: &'static str,
        operation: &'static str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let out_of_time = async {
            match self.deadline {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.cancelled() => Err(Error::new(ErrorKind::Cancelled, provider, operation, "cancelled; nothing is running")),
            () = out_of_time => Err(Error::new(ErrorKind::Timeout, provider, operation, "out of time").retry_later()),
            result = work => result,
        }
    }

    /// Sleeps, unless cancelled or out of time.
    pub async fn sleep(&self, provider: &'static str, operation: &'static str, d: Duration) -> Result<()> {
        self.guard(provider, operation, async {
            tokio::time::sleep(d).await;
            Ok(())
        })
        .await
    }

    /// Tells the listeners, with known secrets masked.
    pub fn emit(&self, kind: EventKind) {
        let event = Event {
            at: Timestamp::now(),
            run: self.shared.run.clone(),
            step: self.step.as_deref().map(str::to_owned),
            host: self.host.as_deref().map(str::to_owned),
            kind,
        };
        self.shared.listeners.notify(&self.masked(event));
    }

    /// Tells the listeners something that somebody should know.
    pub fn warn(&self, message: impl Into<String>) {
        self.emit(EventKind::Warning { message: message.into() });
    }

    /// Masks this value, and each of its lines, in all output from now on. One shorter than [`crate::MASK_MIN_BYTES`] gives a warning.
    pub fn learn_secret(&self, secret: &Secret) {
        if !self.shared.masker.learn(secret) && !secret.expose().is_empty() {
            self.warn(format!(
                "a secret is shorter than {} bytes and can't be masked in output",
                crate::MASK_MIN_BYTES
            ));
        }
    }

    /// Resolves a secret and masks it from now on.
    pub async fn resolve(&self, secret: &SecretRef) -> Result<Secret> {
        let given = match secret {
            SecretRef::Given(name) => self.shared.given.get(name).cloned(),
            _ => None,
        };
        let value = match given {
            Some(value) => value,
            None => secret.resolve().await?,
        };
        self.learn_secret(&value);
        Ok(value)
    }

    fn masked<T: Serialize + DeserializeOwned>(&self, value: T) -> T {
        let Ok(mut json) = serde_json::to_value(&value) else { return value };
        self.shared.masker.mask_json(&mut json);
        serde_json::from_value(json).unwrap_or(value)
    }

    fn path(&self, key: &str) -> String {
        if self.scope.is_empty() { key.to_owned() } else { format!("{}/{key}", self.scope) }
    }

    /// Does something to the world, *probed*: after a crash in the middle, `probe` says whether it has happened.
    ///
    /// The intent is durable before `act` starts, its result before this returns. In a resumed run a finished effect is
    /// not done again: its recorded result is returned. Outside a run every call does it. `act` gets a context below this effect, for nested effects and
    /// notes. `key` is unique in its scope and the same in every run of the same step.
    ///
    /// # Errors
    ///
    /// Those of `act` and `probe`; [`Storage`](ErrorKind::Storage) before anything was done.
    pub async fn effect<T, A, AF, P, PF>(&self, key: &str, intent: impl Serialize, act: A, probe: P) -> Result<T>
    where
        T: Serialize + DeserializeOwned,
        A: FnOnce(Context) -> AF,
        AF: Future<Output = Result<T>>,
        P: FnOnce(Context) -> PF,
        PF: Future<Output = Result<Option<T>>>,
    {
        let inner = self.scoped(key);
        let state = self.shared.journal.effect(&inner.scope);
        // Without a run there is nothing to continue: a second call by the same program means what it says.
        if let Some(result) = state.result.filter(|_| self.shared.run.is_some()) {
            return inner.replay(result);
        }
        if state.open
            && let Some(found) = probe(inner.clone()).await?
        {
            inner.close(&found).await?;
            return Ok(found);
        }
        inner.act(intent, act).await
    }

    /// Does something to the world, *idempotent*: after a crash in the middle it is simply done again.
    ///
    /// # Errors
    ///
    /// As [`effect`](Self::effect).
    pub async fn effect_idempotent<T, A, AF>(&self, key: &str, intent: impl Serialize, act: A) -> Result<T>
    where
        T: Serialize + DeserializeOwned,
        A: FnOnce(Context) -> AF,
        AF: Future<Output = Result<T>>,
    {
        self.effect(key, intent, act, |_| async { Ok(None) }).await
    }

    /// Does something to the world, *opaque*: after a crash in the middle nobody can tell whether it has happened, so the
    /// resumed run stops and asks, unless its step says `on_interrupt: rerun`.
    ///
    /// # Errors
    ///
    /// As [`effect`](Self::effect); [`Interrupted`](ErrorKind::Interrupted): a crash lies in the middle.
    pub async fn effect_opaque<T, A, AF>(&self, key: &str, intent: impl Serialize, act: A) -> Result<T>
    where
        T: Serialize + DeserializeOwned,
        A: FnOnce(Context) -> AF,
        AF: Future<Output = Result<T>>,
    {
        let rerun = self.rerun_opaque;
        self.effect(key, intent, act, |cx| async move {
            if rerun {
                return Ok(None);
            }
            Err(Error::new(
                ErrorKind::Interrupted,
                "core",
                "effect",
                "a crash interrupted this, and nothing can tell whether it happened: look, then resume with `--rerun STEP`, or set \
                 `on_interrupt: rerun` on the step",
            )
            .with("effect", &cx.scope))
        })
        .await
    }

    /// Keeps something about the running effect across a crash: an id, a process group. `null` removes it.
    pub async fn note(&self, name: &str, value: Json) -> Result<()> {
        let record = Record::EffectNote { path: self.scope.to_string(), name: name.to_owned(), value };
        self.shared.journal.append(vec![record]).await
    }

    /// Reads a note of this effect, also one of a process before the crash.
    pub fn recall(&self, name: &str) -> Option<Json> {
        self.shared.journal.effect(&self.scope).notes.get(name).cloned()
    }

    /// Whether the effect of this key is finished, so that it would be replayed and not done: nothing has to be made ready for it.
    pub fn is_done(&self, key: &str) -> bool {
        self.shared.run.is_some() && self.shared.journal.effect(&self.path(key)).result.is_some()
    }

    fn replay<T: DeserializeOwned>(&self, result: Json) -> Result<T> {
        serde_json::from_value(result).map_err(|e| {
            Error::new(
                ErrorKind::Storage,
                "core",
                "replay",
                "a journalled result does not fit this version of the step",
            )
            .with("effect", &self.scope)
            .caused_by(e)
        })
    }

    async fn close<T: Serialize>(&self, result: &T) -> Result<()> {
        let mut result = serde_json::to_value(result).map_err(|e| {
            Error::new(ErrorKind::Internal, "core", "effect", "a result can't be written as JSON")
                .with("effect", &self.scope)
                .caused_by(e)
        })?;
        self.shared.masker.mask_json(&mut result);
        self.shared.journal.append(vec![Record::EffectDone { path: self.scope.to_string(), result }]).await
    }

    async fn act<T, A, AF>(&self, intent: impl Serialize, act: A) -> Result<T>
    where
        T: Serialize + DeserializeOwned,
        A: FnOnce(Context) -> AF,
        AF: Future<Output = Result<T>>,
    {
        let path = self.scope.to_string();
        let mut intent = serde_json::to_value(intent).unwrap_or_default();
        self.shared.masker.mask_json(&mut intent);
        self.shared.journal.append(vec![Record::EffectIntent { path: path.clone(), intent }]).await?;
        self.shared.journal.faults().reach(&FaultPoint::BeforeAct(&path));
        match act(self.clone()).await {
            Ok(done) => {
                self.shared.journal.faults().reach(&FaultPoint::AfterAct(&path));
                self.close(&done).await?;
                Ok(done)
            }
            Err(error) => {
                // After a broken connection, a timeout or a cancel in the middle nobody knows whether it happened: the
                // effect stays open, and the next attempt probes it, or asks.
                let unknown = matches!(
                    error.kind(),
                    ErrorKind::Unreachable
                        | ErrorKind::Timeout
                        | ErrorKind::Protocol
                        | ErrorKind::Cancelled
                        | ErrorKind::Storage
                        | ErrorKind::Interrupted
                );
                if !unknown {
                    let record = self.masked(error.record());
                    self.shared.journal.append(vec![Record::EffectFailed { path, error: record }]).await?;
                }
                Err(error)
            }
        }
    }
}
