mod hosts;
mod look;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use async_trait::async_trait;
use futures::future::join_all;
use serde_json::json;
use towpath_core::{
    Action, Applied, Capabilities, Certainty, Context, Destroyed, Error, ErrorKind, EventKind, Plan, Preflight, Probed,
    Provisioner, Result,
};

use hosts::{lock, prepare_hosts};
use look::mode_notes;

use crate::files::{private_dir, remove_tree};
use crate::launch::Launcher;
use crate::process::ProcessId;
use crate::state::{EnvironmentDir, EnvironmentRecord, HostRecord, state_dir};
use crate::{LocalBalancer, LocalBalancerConfig, LocalConfig};

/// Name of the provider in errors, and of its documents in a store.
pub(crate) const LOCAL: &str = "local";

/// Provisions hosts on this machine: detached SSH servers, each with a root of its own.
#[derive(Debug, Clone)]
pub struct Local {
    config: LocalConfig,
}

impl Local {
    /// Starts the config of `n` hosts.
    pub fn hosts(n: u32) -> LocalConfig {
        LocalConfig::hosts(n)
    }

    /// A provisioner with this config.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): no host, too many, or a name that is no host name.
    pub fn new(config: LocalConfig) -> Result<Self> {
        let invalid = |message: String| Err(Error::new(ErrorKind::InvalidInput, LOCAL, "config", message));
        if !(1..=200).contains(&config.hosts) {
            return invalid(format!("`hosts` must be 1 to 200, not {}", config.hosts));
        }
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if config.name.is_empty()
            || config.name.len() > 40
            || !config.name.chars().all(good)
            || config.name.starts_with('-')
        {
            return invalid(format!(
                "`name` must be 1 to 40 lower-case letters, digits and `-`, not {:?}",
                config.name
            ));
        }
        let distinct: BTreeSet<&String> = config.ports.iter().collect();
        if distinct.len() != config.ports.len() {
            return invalid("`ports` names a variable twice".into());
        }
        if let Some(balancer) = &config.balancer {
            LocalBalancer::new(balancer.clone())?;
        }
        Ok(Self { config })
    }

    /// The balancer that belongs to the hosts.
    fn balancer(&self, dir: &EnvironmentDir) -> Result<Option<LocalBalancer>> {
        let config = self.config.balancer.clone();
        config.map(|c| LocalBalancer::new(LocalBalancerConfig { state_dir: Some(dir.0.clone()), ..c })).transpose()
    }

    /// The config.
    pub fn config(&self) -> &LocalConfig {
        &self.config
    }

    async fn dir(&self, cx: &Context) -> Result<EnvironmentDir> {
        state_dir(cx, self.config.state_dir.as_deref()).await
    }
}

fn storage(operation: &'static str, path: &Path, what: &str, e: std::io::Error) -> Error {
    Error::new(ErrorKind::Storage, LOCAL, operation, what).with("path", path.display()).caused_by(e)
}

fn failed(host: &str, what: &str, e: std::io::Error) -> Error {
    Error::new(ErrorKind::ToolFailed, LOCAL, "apply", what).with("host", host).caused_by(e)
}

#[async_trait]
impl Provisioner for Local {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&["plan", "apply", "probe", "destroy"])
    }

    async fn preflight(&self, cx: &Context) -> Result<Preflight> {
        Launcher::installed("preflight")?;
        let dir = self.dir(cx).await?;
        let (mode, why) = self.mode(&dir, None)?;
        Ok(Preflight {
            ok: vec![format!("local hosts: {} mode", mode.as_str())],
            warnings: mode_notes(mode, why.as_deref()),
        })
    }

    async fn plan(&self, cx: &Context) -> Result<Plan> {
        let dir = self.dir(cx).await?;
        Ok(self.look(cx, &dir).await?.plan)
    }

    async fn apply(&self, cx: &Context) -> Result<Applied> {
        Launcher::installed("apply")?;
        cx.check(LOCAL, "apply")?;
        let dir = self.dir(cx).await?;
        private_dir(&dir.0).map_err(|e| storage("apply", &dir.0, "the state folder can't be made", e))?;
        let _lock = lock(&dir)?;
        let look = self.look(cx, &dir).await?;
        for note in &look.plan.warnings {
            cx.emit(EventKind::Progress { message: note.clone(), done: None, total: None });
        }
        if let Some(store) = cx.store() {
            let document = json!({"state_dir": dir.0.display().to_string()});
            store.put_document(LOCAL, cx.environment(), Some(&document)).await?;
        }
        let action =
            |name: &str| look.plan.changes.iter().find(|c| c.target == name).map_or(Action::None, |c| c.action);
        let old = look.record.iter().flat_map(|r| &r.hosts);
        let gone: Vec<(&String, &HostRecord)> =
            old.filter(|(name, _)| matches!(action(name), Action::Delete | Action::Replace)).collect();
        for (name, host) in &gone {
            let intent = json!({"remove": name, "token": host.token});
            cx.effect_idempotent(&format!("remove/{name}"), intent, |_| self.end_host(&dir, name, Some(&host.token)))
                .await?;
        }
        let names = self.config.host_names();
        let intent = json!({"hosts": names, "mode": look.mode.as_str(), "folder": dir.0.display().to_string()});
        let (this, dir, look) = (self, &dir, &look);
        let record: EnvironmentRecord = cx
            .effect_idempotent("environment", intent, |cx| async move {
                let record = this.prepare(&cx, dir, look)?;
                prepare_hosts(&cx, dir, &record).await?;
                Ok(record)
            })
            .await?;
        let replaced = |name: &str| action(name) == Action::Replace;
        let record_ref = &record;
        let starts = names.iter().filter_map(|name| {
            let host = record_ref.hosts.get(name)?;
            if look.alive.contains_key(name) && !replaced(name) {
                return None;
            }
            let intent = json!({"start": name, "token": host.token, "mode": record_ref.mode.as_str()});
            Some(async move {
                let id: ProcessId = cx
                    .for_host(name)
                    .effect(
                        &format!("host/{name}"),
                        intent,
                        |_| this.start(dir, name, record_ref.mode, &host.token),
                        |_| async { Ok(this.find_ready(dir, name, host).await) },
                    )
                    .await?;
                Ok((name.clone(), id))
            })
        });
        let started: Vec<Result<(String, ProcessId)>> = join_all(starts).await;
        let mut alive: BTreeMap<String, ProcessId> =
            look.alive.iter().filter(|(n, _)| !replaced(n)).map(|(n, id)| (n.clone(), id.clone())).collect();
        for result in started {
            let (name, id) = result?;
            alive.insert(name, id);
        }
        if let Some(balancer) = self.balancer(dir)? {
            let intent = json!({"start": format!("balancer {}", balancer.name())});
            let balancer = &balancer;
            cx.effect_idempotent("balancer", intent, |cx| async move { balancer.address(&cx).await }).await?;
        }
        let changed = look.plan.changes.iter().filter(|c| c.certainty == Certainty::Will).count();
        Ok(Applied { environment: self.environment(dir, &record, &alive), changed })
    }

    async fn probe(&self, cx: &Context) -> Result<Probed> {
        let dir = self.dir(cx).await?;
        let look = self.look(cx, &dir).await?;
        let environment = look.record.as_ref().map(|r| self.environment(&dir, r, &look.alive));
        let mut drift = look.plan;
        drift.changes.retain(|c| c.certainty != Certainty::WillNot);
        Ok(Probed { environment, drift })
    }

    async fn destroy(&self, cx: &Context) -> Result<Destroyed> {
        cx.check(LOCAL, "destroy")?;
        let dir = self.dir(cx).await?;
        if !dir.0.exists() {
            return Ok(Destroyed { changed: 0 });
        }
        let _lock = lock(&dir)?;
        // A record that can't be read must not keep hosts alive: the folders name them too.
        let record = dir.read_record().ok().flatten();
        let mut hosts: BTreeMap<String, Option<String>> =
            record.iter().flat_map(|r| &r.hosts).map(|(n, h)| (n.clone(), Some(h.token.clone()))).collect();
        for entry in std::fs::read_dir(dir.hosts()).into_iter().flatten().flatten() {
            if let Ok(name) = entry.file_name().into_string() {
                hosts.entry(name).or_insert(None);
            }
        }
        let (this, dir) = (self, &dir);
        let ends = hosts.iter().map(|(name, token)| async move {
            let intent = json!({"remove": name, "token": token});
            cx.effect_idempotent(&format!("remove/{name}"), intent, |_| this.end_host(dir, name, token.as_deref()))
                .await
        });
        for result in join_all(ends).await {
            result?;
        }
        let mut balancers = 0;
        for entry in std::fs::read_dir(dir.balancers()).into_iter().flatten().flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            if entry.path().is_dir() {
                let intent = json!({"remove": format!("balancer {name}")});
                let key = format!("remove balancer/{name}");
                let end = |_| async {
                    dir.balancer(&name).end().await.map_err(|e| failed(&name, "the balancer can't be ended", e))
                };
                balancers += usize::from(cx.effect_idempotent(&key, intent, end).await?);
            }
        }
        let _ = std::fs::remove_file(dir.balancers().join("lock"));
        let _ = std::fs::remove_dir(dir.balancers());
        for file in ["environment.json", "known_hosts", "id", "id.pub", "lock"] {
            let _ = std::fs::remove_file(dir.0.join(file));
        }
        remove_tree(&dir.base()).map_err(|e| storage("destroy", &dir.base(), "a folder can't be removed", e))?;
        // Whatever else somebody has put there stays.
        let _ = std::fs::remove_dir(dir.hosts());
        let _ = std::fs::remove_dir(&dir.0);
        if let Some(store) = cx.store() {
            store.put_document(LOCAL, cx.environment(), None).await?;
        }
        Ok(Destroyed { changed: hosts.len() + balancers })
    }
}
