use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use towpath_core::{
    Capabilities, Context, Deployer, Error, ErrorKind, GroupJob, GroupState, Preflight, Release, Result, Secret,
    Staged, Target, TargetGroup, TargetState,
};

use crate::address::Address;
use crate::client::Client;
use crate::net::Net;
use crate::start::{Branches, check_branch, project_path};
use crate::{Live, StriderConfig, history};

/// Name of the provider in errors and registries.
pub(crate) const STRIDER: &str = "strider";

/// Deploys by jobs of a Strider server.
#[derive(Debug, Clone)]
pub struct Strider {
    config: StriderConfig,
    client: Client,
    /// `org/repo` as it stands in paths.
    project: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// The cookie of a session, once a websocket was needed.
    session: tokio::sync::Mutex<Option<Secret>>,
    /// Tokens of starts that this process brought to their end.
    own: Mutex<BTreeSet<String>>,
    /// Ids of jobs that this process cancelled.
    cancelled: Mutex<BTreeSet<String>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared(..)")
    }
}

impl Strider {
    /// A deployer with this config.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): a URL, project or branch that can't be one, plain HTTP to another machine, a limit of 0,
    /// a `ca_file` without certificates.
    pub fn new(config: StriderConfig) -> Result<Self> {
        let invalid = |message: String| Err(Error::new(ErrorKind::InvalidInput, STRIDER, "config", message));
        let limits = [
            ("start_deadline_s", config.start_deadline_s),
            ("cancel_deadline_s", config.cancel_deadline_s),
            ("outage_s", config.outage_s),
            ("timeout_s", config.timeout_s),
        ];
        if let Some((name, _)) = limits.into_iter().find(|(_, limit)| *limit == 0) {
            return invalid(format!("`{name}` must be 1 or more"));
        }
        if config.poll_ms < 50 {
            return invalid("`poll_ms` must be 50 or more".to_owned());
        }
        if config.user.is_empty() || config.user.contains([':', '\r', '\n']) {
            return invalid("`user` must be an e-mail address".to_owned());
        }
        if config.message.contains(char::is_control) {
            return invalid("`message` must be one line".to_owned());
        }
        let example =
            ["{version}", "{group}", "{environment}"].iter().fold(config.branch.clone(), |b, p| b.replace(p, "x"));
        check_branch(&example, "config")?;
        if example.contains(['{', '}']) {
            return invalid(format!(
                "`branch` holds a placeholder that there is not: {}; there are `{{version}}`, `{{group}}` and `{{environment}}`",
                config.branch
            ));
        }
        let project = project_path(&config.project)?;
        let address = Address::parse(&config.url, config.allow_http)?;
        let client = Client::new(Net::new(address, config.ca_file.as_deref())?, &config);
        Ok(Self { config, client, project, shared: Arc::default() })
    }

    /// The config.
    pub fn config(&self) -> &StriderConfig {
        &self.config
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn project(&self) -> &str {
        &self.project
    }

    /// The template of the branches of a group: what is left in it is the version.
    pub(crate) fn branch_of(&self, cx: &Context, group: &str) -> String {
        self.config.branch.replace("{environment}", cx.environment()).replace("{group}", group)
    }

    /// Between two looks.
    pub(crate) fn pause(&self) -> Duration {
        Duration::from_millis(self.config.poll_ms.into())
    }

    /// The session's cookie, after a login if there is none yet.
    pub(crate) async fn session(&self, cx: &Context, operation: &'static str) -> Result<Secret> {
        let mut session = self.shared.session.lock().await;
        if let Some(cookie) = session.as_ref() {
            // Another context masks on its own.
            cx.learn_secret(cookie);
            return Ok(cookie.clone());
        }
        let cookie = self.client.log_in(cx, operation).await?;
        *session = Some(cookie.clone());
        Ok(cookie)
    }

    /// The next [`session`](Self::session) logs in anew.
    pub(crate) async fn forget_session(&self) {
        *self.shared.session.lock().await = None;
    }

    pub(crate) fn own(&self, token: &str) {
        self.shared.own.lock().unwrap_or_else(PoisonError::into_inner).insert(token.to_owned());
    }

    pub(crate) fn has_cancelled(&self, id: &str) {
        self.shared.cancelled.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned());
    }

    pub(crate) fn is_cancelled(&self, id: &str) -> bool {
        self.shared.cancelled.lock().unwrap_or_else(PoisonError::into_inner).contains(id)
    }

    pub(crate) fn is_own(&self, token: &str) -> bool {
        self.shared.own.lock().unwrap_or_else(PoisonError::into_inner).contains(token)
    }
}

fn whole_groups_only<T>(operation: &'static str) -> Result<T> {
    let message = "Strider moves a whole group by a job of its own: there is no single target to work on";
    Err(Error::new(ErrorKind::Unsupported, STRIDER, operation, message))
}

#[async_trait]
impl Deployer for Strider {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&["group"])
    }

    async fn preflight(&self, cx: &Context) -> Result<Preflight> {
        let status = self.client.status(cx).await?;
        let text = |name: &str| status.get(name).and_then(|v| v.as_str()).unwrap_or_default();
        if text("status") != "ok" {
            let error = Error::new(ErrorKind::Unreachable, STRIDER, "preflight", "the server says that it is not well");
            return Err(self.client.placed(error).retry_later());
        }
        let mut found = Preflight { ok: vec![text("version").to_owned()], warnings: Vec::new() };
        self.jobs(cx, "preflight").await?;
        found.ok.push(format!("{} may see {}", self.config.user, self.config.project));
        // Which group is meant nobody knows here.
        let branch = self.branch_of(cx, "{group}");
        if matches!(Branches::of(&branch), Branches::One(_)) {
            self.check_configured(cx, "preflight", &branch).await?;
            let message = format!("all versions are the branch `{branch}`: there is no way back to an earlier one");
            found.warnings.push(message);
        }
        if self.config.live != Live::Polling {
            self.session(cx, "preflight").await?;
            found.ok.push("a session for the websocket".to_owned());
        }
        Ok(found)
    }

    async fn stage(&self, _: &Context, _: &Target, _: &Release) -> Result<Staged> {
        whole_groups_only("stage")
    }

    async fn activate(&self, _: &Context, _: &Target, _: &Release) -> Result<()> {
        whole_groups_only("activate")
    }

    async fn deactivate(&self, _: &Context, _: &Target) -> Result<()> {
        whole_groups_only("deactivate")
    }

    async fn probe(&self, _: &Context, _: &Target) -> Result<TargetState> {
        whole_groups_only("probe")
    }

    async fn start(&self, cx: &Context, group: &TargetGroup, release: &Release) -> Result<GroupJob> {
        cx.check(STRIDER, "start")?;
        self.start_job(cx, &group.name, release).await
    }

    async fn follow(&self, cx: &Context, job: &GroupJob) -> Result<GroupState> {
        self.follow_job(cx, job).await
    }

    async fn cancel(&self, cx: &Context, job: &GroupJob) -> Result<()> {
        self.cancel_job(cx, job).await
    }

    async fn probe_group(&self, cx: &Context, group: &TargetGroup) -> Result<GroupState> {
        let (jobs, now) = self.jobs(cx, "probe").await?;
        Ok(history::state(&jobs, &self.config, &self.branch_of(cx, &group.name), now))
    }
}
