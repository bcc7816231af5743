use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::pipeline::Values;
use crate::{ConnectionSpec, Context, Error, ErrorKind, Exec, FunctionEntry, Host, Release, Result};

use super::strategy::{HookRun, Phase, Rolling, When};
use super::target::{Crew, fatal, one_line, say, within};

/// The functions that hooks and approvals name.
#[derive(Debug, Clone, Default)]
pub(super) struct Functions(pub(super) BTreeMap<String, FunctionEntry>);

impl Functions {
    pub(super) async fn call(&self, cx: &Context, name: &str, inputs: Values) -> Result<Values> {
        let entry = self.0.get(name).ok_or_else(|| unknown_function(name))?;
        Ok(entry.function().call(cx, inputs).await?.outputs)
    }

    /// Refuses a strategy that names a function which was not handed over, before anything is touched.
    pub(super) fn check(&self, strategy: &Rolling) -> Result<()> {
        match strategy.functions().into_iter().find(|name| !self.0.contains_key(*name)) {
            Some(name) => Err(unknown_function(name)),
            None => Ok(()),
        }
    }
}

fn unknown_function(name: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, "core", "rollout", "no function of this name is registered")
        .with("function", name)
}

impl Rolling {
    /// The names of all functions that hooks and approvals call.
    pub fn functions(&self) -> Vec<&str> {
        let runs = self.hooks.iter().flat_map(|h| std::iter::once(&h.run).chain(&h.undo));
        let hooks = runs.filter_map(|run| match run {
            HookRun::Function(name) => Some(name.as_str()),
            HookRun::Command { .. } => None,
        });
        hooks.chain(self.approvals().filter_map(|a| a.function.as_deref())).collect()
    }
}

/// Which hooks were begun on the way forth: their undos take them back.
#[derive(Debug, Default)]
pub(super) struct Begun(Mutex<Vec<(usize, Option<String>)>>);

impl Begun {
    fn list(&self) -> std::sync::MutexGuard<'_, Vec<(usize, Option<String>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A hook's end, journalled: what failed is not run again by a resumed run.
#[derive(Debug, Serialize, Deserialize)]
struct Ran {
    failure: Option<String>,
}

/// What a hook is told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Occasion<'a> {
    pub(super) release: &'a Release,
    pub(super) from: Option<&'a str>,
    pub(super) host: Option<&'a str>,
    /// Whether it is on the way forth, so that its undo is wanted if the rollout goes back.
    pub(super) forth: bool,
}

impl Crew<'_> {
    /// Runs the hooks of a phase in their order, up to the first that fails. Gives why it failed.
    ///
    /// # Errors
    ///
    /// The journal or the store can't be written.
    pub(super) async fn hooks(
        &self,
        cx: &Context,
        when: When,
        phase: Phase,
        of: Occasion<'_>,
    ) -> Result<Option<String>> {
        for (n, hook) in self.rollout.strategy.hooks.iter().enumerate() {
            if hook.when != when || hook.phase != phase {
                continue;
            }
            if of.forth {
                self.begun.list().push((n, of.host.map(str::to_owned)));
            }
            let name = format!("{} {}", when.as_str(), phase.as_str());
            let failure = self.run_hook(cx, &format!("hook/{n}"), &name, &hook.run, hook.limit_s, of).await?;
            if failure.is_some() {
                return Ok(failure);
            }
        }
        Ok(None)
    }

    /// Takes back what hooks did, the last one first. Gives what could not be taken back.
    pub(super) async fn compensate(&self, cx: &Context, release: &Release, from: Option<&str>) -> Result<Vec<String>> {
        let begun = self.begun.list().clone();
        let mut left = Vec::new();
        for (n, host) in begun.into_iter().rev() {
            let Some((hook, undo)) = self.rollout.strategy.hooks.get(n).and_then(|h| Some((h, h.undo.as_ref()?)))
            else {
                continue;
            };
            let key = match &host {
                Some(host) => format!("undo-hook/{n}/{host}"),
                None => format!("undo-hook/{n}"),
            };
            let of = Occasion { release, from, host: host.as_deref(), forth: false };
            let name = format!("undo of {} {}", hook.when.as_str(), hook.phase.as_str());
            left.extend(self.run_hook(cx, &key, &name, undo, hook.limit_s, of).await?);
        }
        Ok(left)
    }

    async fn run_hook(
        &self,
        cx: &Context,
        key: &str,
        name: &str,
        run: &HookRun,
        limit_s: f64,
        of: Occasion<'_>,
    ) -> Result<Option<String>> {
        let limit = Duration::from_secs_f64(limit_s);
        let ran: Ran = cx
            .effect_idempotent(key, name, |cx| async move {
                say(&cx, "hook", &of.release.version, name);
                let done = within(&cx, limit, |cx| async move {
                    match run {
                        HookRun::Command { argv, on } => self.command(&cx, argv, on.as_deref(), limit, of).await,
                        HookRun::Function(function) => {
                            let inputs = self.inputs(of);
                            self.rollout.functions.call(&cx, function, inputs).await.map(drop)
                        }
                    }
                })
                .await;
                match done {
                    Err(e) if fatal(&e) || (e.kind() == ErrorKind::Cancelled && cx.is_cancelled()) => Err(e),
                    done => {
                        Ok(Ran { failure: done.err().map(|e| format!("the hook {name} failed: {}", one_line(&e))) })
                    }
                }
            })
            .await?;
        Ok(ran.failure)
    }

    fn inputs(&self, of: Occasion<'_>) -> Values {
        let mut inputs = Values::from([
            ("service".to_owned(), self.service.into()),
            ("version".to_owned(), of.release.version.clone().into()),
            ("from".to_owned(), of.from.into()),
        ]);
        if let Some(host) = of.host {
            inputs.insert("host".to_owned(), host.into());
        }
        inputs
    }

    async fn command(
        &self,
        cx: &Context,
        argv: &[String],
        on: Option<&str>,
        limit: Duration,
        of: Occasion<'_>,
    ) -> Result<()> {
        let host = match on.or(of.host) {
            None | Some("localhost") => this_machine(),
            Some(name) => self.inventory.effective(self.host(name)?),
        };
        let mut command = Exec::argv(argv).timeout(limit);
        let told = [
            ("TOWPATH_SERVICE", Some(self.service)),
            ("TOWPATH_VERSION", Some(of.release.version.as_str())),
            ("TOWPATH_FROM", Some(of.from.unwrap_or_default())),
            ("TOWPATH_ENVIRONMENT", Some(cx.environment())),
            ("TOWPATH_HOST", of.host),
        ];
        command.env = told.into_iter().filter_map(|(k, v)| Some((k.to_owned(), v?.to_owned()))).collect();
        let cx = cx.for_host(&host.name);
        let connection = self.connector.connect(&cx, &host).await?;
        connection.exec(&cx, &command).await?.success("core", "hook", &host.name, &command).map(drop)
    }
}

fn this_machine() -> Host {
    let connection = ConnectionSpec { kind: "local".to_owned(), ..ConnectionSpec::default() };
    Host { name: "localhost".to_owned(), connection, ..Host::default() }
}
