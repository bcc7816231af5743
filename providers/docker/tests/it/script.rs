//! A configurator for tests: a shell script through the connector.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use serde_json::json;
use towpath_core::{
    Capabilities, Configurator, Configured, Context, Exec, HostSummary, Plan, Preflight, Result, Targets, digest_json,
};

/// Runs a script on every host, as an effect.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) text: String,
    /// How often it has run.
    pub(crate) runs: Arc<AtomicUsize>,
}

impl Script {
    pub(crate) fn new(text: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { text: text.into(), runs: Arc::default() })
    }

    pub(crate) fn runs(&self) -> usize {
        self.runs.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Configurator for Script {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&["apply"])
    }

    async fn preflight(&self, _: &Context) -> Result<Preflight> {
        Ok(Preflight::default())
    }

    async fn plan(&self, _: &Context, _: &Targets) -> Result<Plan> {
        Ok(Plan::default())
    }

    async fn apply(&self, cx: &Context, targets: &Targets) -> Result<Configured> {
        let mut hosts = BTreeMap::new();
        for host in &targets.inventory.hosts {
            let c = targets.connector.connect(cx, host).await?;
            let exec = Exec::script(format!("set -eu\n{}", self.text));
            self.runs.fetch_add(1, Ordering::Relaxed);
            let run = |cx: Context| {
                let (c, exec, host) = (&c, &exec, &host.name);
                async move { c.exec(&cx, exec).await?.success("test", "apply", host, exec).map(drop) }
            };
            cx.effect_idempotent(&format!("script/{}", host.name), json!({"run": self.text}), run).await?;
            hosts.insert(host.name.clone(), HostSummary { ok: 1, changed: 1, ..HostSummary::default() });
        }
        Ok(Configured { hosts })
    }

    async fn digest(&self, _: &Context) -> Result<String> {
        Ok(digest_json(&json!({"script": self.text})))
    }
}
