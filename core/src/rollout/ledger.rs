use crate::{Context, Deployment, DeploymentOutcome, Json, Release, digest_json};

use super::{Rolling, Superseded};

/// Digest over what a release is. Two releases of one version may differ in their artifact or environment.
pub(super) fn content(release: &Release) -> String {
    digest_json(&serde_json::to_value(release).unwrap_or_default())
}

/// The content of what was deployed: as the entry keeps it, since one that came from a host has no artifact.
fn content_of(entry: &Deployment) -> String {
    let kept = entry.detail.get("content").and_then(Json::as_str);
    kept.map_or_else(|| content(&entry.release), str::to_owned)
}

/// The host that an entry came from; `None`: it is the store's own.
fn origin(entry: &Deployment) -> Option<&str> {
    entry.detail.get("host").and_then(Json::as_str)
}

/// What a service's ledger says about one release.
#[derive(Debug)]
pub(super) struct Ledger<'a> {
    entries: Vec<(String, &'a Deployment)>,
    content: String,
    version: &'a str,
}

/// Whether the ledger lets a release through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing speaks against it.
    Open,
    /// It was rolled back here, for this reason.
    Refused(String),
    /// This later version has replaced it.
    Superseded(String),
}

impl<'a> Ledger<'a> {
    pub(super) fn new(entries: &'a [Deployment], release: &'a Release) -> Self {
        let mut entries: Vec<&Deployment> = entries.iter().collect();
        // What this store has seen itself comes last, where the word counts that is said last: a host may claim any time.
        entries.sort_by_key(|d| (origin(d).is_none(), d.started_at));
        Self {
            entries: entries.into_iter().map(|d| (content_of(d), d)).collect(),
            content: content(release),
            version: &release.version,
        }
    }

    /// The newest clear word on a content: it was deployed, or it was rolled back.
    fn word(&self, content: &str) -> Option<&'a Deployment> {
        self.word_among(content, |_| true)
    }

    fn word_among(&self, content: &str, counts: impl Fn(&Deployment) -> bool) -> Option<&'a Deployment> {
        let clear = |d: &Deployment| matches!(d.outcome, DeploymentOutcome::Deployed | DeploymentOutcome::RolledBack);
        self.entries.iter().rev().find(|(c, d)| c == content && clear(d) && counts(d)).map(|(_, d)| *d)
    }

    /// The release that the service runs by the ledger.
    fn serving(&self) -> Option<&(String, &'a Deployment)> {
        self.entries.iter().rev().find(|(_, d)| d.outcome == DeploymentOutcome::Deployed)
    }

    pub(super) fn standing(&self, strategy: &Rolling) -> Standing {
        let Some(word) = self.word(&self.content) else { return Standing::Open };
        if word.outcome == DeploymentOutcome::RolledBack {
            if strategy.retry_refused {
                return Standing::Open;
            }
            let why = word.reason.as_deref().unwrap_or("no reason was recorded");
            return Standing::Refused(format!(
                "{} was rolled back in this environment before ({why}); change its content, or set `retry_refused: true`",
                self.version
            ));
        }
        match self.serving() {
            Some((content, later)) if strategy.superseded == Superseded::Skip && *content != self.content => {
                Standing::Superseded(later.release.version.clone())
            }
            _ => Standing::Open,
        }
    }

    /// Whether a target that runs this version runs this very content: it was deployed, and no other content of the
    /// same version came after it.
    pub(super) fn is_known(&self) -> bool {
        let latest = self.entries.iter().rev().find(|(_, d)| d.release.version == self.version);
        latest.is_some_and(|(c, _)| *c == self.content)
            && self.word(&self.content).is_some_and(|d| d.outcome == DeploymentOutcome::Deployed)
    }

    /// Whether the service runs this very release by the ledger, so that work on a target repairs that target only.
    pub(super) fn is_serving(&self) -> bool {
        self.is_known() && self.serving().is_some_and(|(c, _)| *c == self.content)
    }

    /// The release that `host` goes back to: what ran there if that was seen healthy, else the last that was.
    pub(super) fn predecessor(&self, host: &str, before: Option<&str>) -> Option<&'a Release> {
        // A host's word is good for that host only.
        let trusted = |d: &Deployment| origin(d).is_none_or(|h| h == host);
        let healthy: Vec<&Deployment> = self
            .entries
            .iter()
            .rev()
            .filter(|(c, d)| {
                let word = self.word_among(c, trusted);
                let refused = word.is_some_and(|w| w.outcome == DeploymentOutcome::RolledBack);
                d.seen_healthy && *c != self.content && !refused && trusted(d)
            })
            .map(|(_, d)| *d)
            .collect();
        let ran = healthy.iter().find(|d| Some(d.release.version.as_str()) == before);
        let here = || healthy.iter().find(|d| d.targets.get(host) == Some(&d.release.version));
        ran.or_else(here).or(healthy.first()).map(|d| &d.release)
    }
}

/// What the ledger keeps beside the release.
pub(super) fn detail(release: &Release) -> Json {
    serde_json::json!({ "content": content(release) })
}

/// Why there is nothing to go back to, as reports say it.
pub(super) fn no_predecessor(cx: &Context, release: &Release) -> String {
    format!("no earlier release of {} was seen healthy in environment {}", release.service, cx.environment())
}
