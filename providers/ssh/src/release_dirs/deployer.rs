use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::OnceCell;
use towpath_core::{
    Become, Capabilities, Connection, Context, Deployer, Deployment, ErrorKind, Exec, ExecOutput, ExitStatus, GroupJob,
    GroupState, Preflight, Release, Result, Staged, Target, TargetGroup, TargetState,
};

use super::config::ReleaseDirsConfig;
use super::source::{self, Cargo};
use super::{PROVIDER, error, layout};

/// Puts releases into directories beside each other and switches a link.
#[derive(Debug, Clone)]
pub struct ReleaseDirs {
    pub(super) config: ReleaseDirsConfig,
    base_dir: PathBuf,
    /// What is shipped, by the artifact's id and digest, and by the version where it is built: had once, not once for each host.
    read: Arc<Mutex<HashMap<Shipped, Reading>>>,
}

/// An artifact's id and digest, and the version.
type Shipped = (String, String, String);
type Reading = Arc<OnceCell<Arc<Cargo>>>;

impl ReleaseDirs {
    /// Starts the config of release directories below `root`; a `restart` command is needed.
    pub fn to(root: impl Into<String>) -> ReleaseDirsConfig {
        ReleaseDirsConfig::new(root)
    }

    /// Makes a deployer; touches nothing.
    pub fn new(config: ReleaseDirsConfig) -> Self {
        Self { config, base_dir: PathBuf::from("."), read: Arc::default() }
    }

    /// Sets where relative paths of artifacts start; the working directory by default.
    #[must_use]
    pub fn base_dir(mut self, dir: &Path) -> Self {
        self.base_dir = dir.to_owned();
        self
    }

    fn check(&self) -> Result<()> {
        let root = &self.config.root;
        let templated = root.starts_with("{{");
        if !(root.starts_with('/') || templated) || root.len() < 2 || root.split('/').any(|p| p == "..") {
            return Err(
                error(ErrorKind::InvalidInput, "config", "`root` is not an absolute directory").with("root", root)
            );
        }
        if self.config.restart.is_empty() {
            return Err(error(ErrorKind::InvalidInput, "config", "`restart` names no command"));
        }
        if let Some(build) = &self.config.build {
            build.check()?;
        }
        layout::check_shared(&self.config.shared)
    }

    /// This deployer for one host: with the host's variables filled in.
    fn on(&self, target: &Target) -> Result<Self> {
        let fill = |text: &String| target.host.fill(text);
        let all = |words: &Vec<String>| words.iter().map(fill).collect::<Result<Vec<_>>>();
        let config = ReleaseDirsConfig {
            root: fill(&self.config.root)?,
            restart: all(&self.config.restart)?,
            stop: self.config.stop.as_ref().map(all).transpose()?,
            running: self.config.running.as_ref().map(all).transpose()?,
            owner: self.config.owner.as_ref().map(fill).transpose()?,
            ..self.config.clone()
        };
        let own = Self { config, ..self.clone() };
        own.check().map_err(|e| e.with("host", &target.host.name))?;
        Ok(own)
    }

    async fn connect(&self, cx: &Context, target: &Target) -> Result<(Arc<dyn Connection>, Option<Become>)> {
        let spec = self.config.r#become.as_ref().or(target.host.connection.r#become.as_ref());
        let to = match spec {
            None => None,
            Some(spec) => Some(spec.resolve(cx).await?),
        };
        Ok((target.connector.connect(cx, &target.host).await?, to))
    }

    pub(super) async fn cargo(&self, cx: &Context, release: &Release) -> Result<Arc<Cargo>> {
        let (id, digest) = release.artifact.as_ref().map(|a| (a.id.clone(), a.digest.clone())).unwrap_or_default();
        // Two versions of one source may be built differently.
        let version = if self.config.build.is_some() { release.version.clone() } else { String::new() };
        let key = (id, digest, version);
        let reading = Arc::clone(self.read.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default());
        reading
            .get_or_try_init(|| async { source::cargo(cx, &self.base_dir, &self.config, release).await.map(Arc::new) })
            .await
            .map(Arc::clone)
    }

    /// Runs a script that must succeed.
    #[allow(clippy::too_many_arguments)]
    pub(super) async fn script(
        &self,
        cx: &Context,
        host: &str,
        connection: &Arc<dyn Connection>,
        to: Option<&Become>,
        operation: &'static str,
        script: String,
        label: &str,
    ) -> Result<ExecOutput> {
        let exec = self.exec(to, script, label);
        connection.exec(cx, &exec).await?.success(PROVIDER, operation, host, &exec)
    }

    pub(super) fn exec(&self, to: Option<&Become>, script: String, label: &str) -> Exec {
        let mut exec = Exec::script(script);
        exec.label = Some(format!("{label} {}", self.config.root));
        exec.r#become = to.cloned();
        exec
    }
}

fn per_target_only<T>(operation: &'static str) -> Result<T> {
    Err(error(ErrorKind::Unsupported, operation, "release directories are moved target by target, not as a group"))
}

#[async_trait]
impl Deployer for ReleaseDirs {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&["per_target"])
    }

    async fn preflight(&self, _cx: &Context) -> Result<Preflight> {
        self.check()?;
        let mut found =
            Preflight { ok: vec![format!("releases go to {}/releases", self.config.root)], warnings: Vec::new() };
        if self.config.stop.is_none() {
            found.warnings.push("no `stop` command: a release can't be deactivated".into());
        }
        Ok(found)
    }

    async fn stage(&self, cx: &Context, target: &Target, release: &Release) -> Result<Staged> {
        layout::check_version(&release.version)?;
        let own = self.on(target)?;
        let (connection, to) = own.connect(cx, target).await?;
        own.bring(cx, target, &connection, to.as_ref(), release).await
    }

    async fn activate(&self, cx: &Context, target: &Target, release: &Release) -> Result<()> {
        layout::check_version(&release.version)?;
        cx.check(PROVIDER, "activate")?;
        let own = self.on(target)?;
        let (connection, to) = own.connect(cx, target).await?;
        let exec = own.exec(to.as_ref(), layout::activate(&own.config, &release.version), "activate");
        let out = connection.exec(cx, &exec).await?;
        let (kind, message) = match out.status {
            ExitStatus::Code(0) => return Ok(()),
            ExitStatus::Code(layout::NOT_STAGED) => (ErrorKind::NotFound, "the release is not staged on the host"),
            ExitStatus::Code(layout::RESTART_FAILED) => {
                (ErrorKind::ToolFailed, "the restart command failed; `current` is the new release already")
            }
            _ => (ErrorKind::ToolFailed, "the release can't be activated"),
        };
        let failed = error(kind, "activate", message).with("host", &target.host.name).with("version", &release.version);
        let said = [out.stderr_text(), out.stdout_text()].into_iter().find(|s| !s.is_empty());
        Err(match said {
            Some(said) => failed.caused_by(said),
            None => failed,
        })
    }

    async fn deactivate(&self, cx: &Context, target: &Target) -> Result<()> {
        let own = self.on(target)?;
        let (connection, to) = own.connect(cx, target).await?;
        let script = layout::deactivate(&own.config);
        own.script(cx, &target.host.name, &connection, to.as_ref(), "deactivate", script, "deactivate").await.map(drop)
    }

    async fn probe(&self, cx: &Context, target: &Target) -> Result<TargetState> {
        let own = self.on(target)?;
        let (connection, to) = own.connect(cx, target).await?;
        let script = layout::probe(&own.config);
        let out = own.script(cx, &target.host.name, &connection, to.as_ref(), "probe", script, "probe").await?;
        let mut state = TargetState::default();
        for line in out.stdout_text().lines() {
            match line.split_once(' ') {
                Some(("current", version)) => state.current = Some(version.to_owned()),
                Some(("staged", version)) => state.staged.push(version.to_owned()),
                _ if line == "running" => state.running = true,
                _ => {}
            }
        }
        state.running &= state.current.is_some();
        Ok(state)
    }

    async fn record(&self, cx: &Context, target: &Target, entry: &Deployment) -> Result<()> {
        let own = self.on(target)?;
        let (connection, to) = own.connect(cx, target).await?;
        let broken = |e| error(ErrorKind::Internal, "record", "the entry can't be written").caused_by(e);
        let line = serde_json::to_string(entry).map_err(broken)?;
        // As it stands in the line.
        let run = serde_json::to_string(&entry.run).map_err(broken)?;
        let key = format!("\"run\":{run},\"started_at\":{}", entry.started_at.0);
        let script = layout::record(&own.config, &key, &line);
        own.script(cx, &target.host.name, &connection, to.as_ref(), "record", script, "record").await.map(drop)
    }

    async fn recorded(&self, cx: &Context, target: &Target, service: &str) -> Result<Vec<Deployment>> {
        let own = self.on(target)?;
        let (connection, to) = own.connect(cx, target).await?;
        let script = layout::recorded(&own.config);
        let out = own.script(cx, &target.host.name, &connection, to.as_ref(), "recorded", script, "recorded").await?;
        // A line that can't be read is of another version of towpath, or damaged: what is left is still true.
        let text = out.stdout_text();
        let all = text.lines().filter_map(|line| serde_json::from_str::<Deployment>(line).ok());
        Ok(all.filter(|d| d.release.service == service).collect())
    }

    async fn start(&self, _cx: &Context, _group: &TargetGroup, _release: &Release) -> Result<GroupJob> {
        per_target_only("start")
    }

    async fn follow(&self, _cx: &Context, _job: &GroupJob) -> Result<GroupState> {
        per_target_only("follow")
    }

    async fn cancel(&self, _cx: &Context, _job: &GroupJob) -> Result<()> {
        per_target_only("cancel")
    }

    async fn probe_group(&self, _cx: &Context, _group: &TargetGroup) -> Result<GroupState> {
        per_target_only("probe_group")
    }
}
