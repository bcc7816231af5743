use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;
use towpath_core::pipeline::ProviderSpec;
use towpath_core::{
    Artifact, Become, BecomeSpec, Capabilities, Connection, Context, Deployer, Error, ErrorKind, Exec, ExecOutput,
    ExitStatus, GroupJob, GroupState, Json, Preflight, PutOptions, Release, Result, Source, Staged, Target,
    TargetGroup, TargetState,
};

use crate::elf::{self, Needs};
use crate::{layout, random_name};

/// The deployer's name in the registry.
pub(crate) const PROVIDER: &str = "release-dirs";

/// Settings of the deployer `release-dirs`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseDirsConfig {
    /// Directory that holds `releases/`, `current` and `previous`. Made if it is not there. `/srv/web` by default.
    ///
    /// Here, and in the commands and `owner`, `{{ name }}` is replaced by the host's variable of this name.
    #[serde(default = "default_root")]
    pub root: String,
    /// Program and arguments that (re)start the service from `<root>/current`. Must return once it is started.
    pub restart: Vec<String>,
    /// Program and arguments that stop it. Without it `deactivate` fails where the service runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Vec<String>>,
    /// Program and arguments that exit with 0 if it runs. Without it, it runs once it was activated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<Vec<String>>,
    /// Releases that are kept; older ones are removed after an activate, but never the current or the previous one.
    /// 5 by default.
    #[serde(default = "default_keep")]
    pub keep: usize,
    /// The user who does all this. The one of the host's `become` by default, else the one who logs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#become: Option<BecomeSpec>,
    /// Owner of the release's files, `user` or `user:group`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Name of the executable in the release. The artifact's file name by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
}

fn default_root() -> String {
    "/srv/web".into()
}

fn default_keep() -> usize {
    5
}

fn words<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Vec<String> {
    argv.into_iter().map(Into::into).collect()
}

impl ReleaseDirsConfig {
    /// Starts with a root; a `restart` command is needed.
    pub fn new(root: impl Into<String>) -> Self {
        Self {
            root: root.into(),
            restart: Vec::new(),
            stop: None,
            running: None,
            keep: default_keep(),
            r#become: None,
            owner: None,
            file_name: None,
        }
    }

    /// Names the executable in the release.
    #[must_use]
    pub fn file_name(mut self, name: impl Into<String>) -> Self {
        self.file_name = Some(name.into());
        self
    }

    /// Sets the command that (re)starts the service.
    #[must_use]
    pub fn restart<S: Into<String>>(mut self, argv: impl IntoIterator<Item = S>) -> Self {
        self.restart = words(argv);
        self
    }

    /// Sets the command that stops it.
    #[must_use]
    pub fn stop<S: Into<String>>(mut self, argv: impl IntoIterator<Item = S>) -> Self {
        self.stop = Some(words(argv));
        self
    }

    /// Sets the command that says whether it runs.
    #[must_use]
    pub fn running<S: Into<String>>(mut self, argv: impl IntoIterator<Item = S>) -> Self {
        self.running = Some(words(argv));
        self
    }

    /// Sets how many releases are kept.
    #[must_use]
    pub fn keep(mut self, releases: usize) -> Self {
        self.keep = releases;
        self
    }

    /// Does it all as another user.
    #[must_use]
    pub fn become_user(mut self, spec: BecomeSpec) -> Self {
        self.r#become = Some(spec);
        self
    }

    /// Sets the owner of the files.
    #[must_use]
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = Some(owner.into());
        self
    }
}

impl From<ReleaseDirsConfig> for ProviderSpec<dyn Deployer> {
    fn from(config: ReleaseDirsConfig) -> Self {
        // Strings, numbers and lists only, which JSON always has a form for.
        ProviderSpec::new(PROVIDER, serde_json::to_value(&config).unwrap_or(Json::Null))
    }
}

/// Puts releases into directories beside each other and switches a link.
#[derive(Debug, Clone)]
pub struct ReleaseDirs {
    config: ReleaseDirsConfig,
    base_dir: PathBuf,
    /// Artifacts that were read, by their id and digest: read once, not once for each host.
    read: Arc<Mutex<HashMap<(String, String), Reading>>>,
}

type Reading = Arc<OnceCell<Arc<Cargo>>>;

/// The marker of a release.
#[derive(Serialize)]
struct Marker<'a> {
    version: &'a str,
    digest: &'a str,
    /// Digest of the environment, whose values may be secret.
    env: String,
}

fn error(kind: ErrorKind, operation: &'static str, message: impl Into<String>) -> Error {
    Error::new(kind, PROVIDER, operation, message)
}

/// What is brought to the host.
#[derive(Debug)]
struct Cargo {
    path: PathBuf,
    /// Kept until it is uploaded.
    _unpacked: Option<tempfile::NamedTempFile>,
    name: String,
    archive: bool,
    digest: String,
    needs: Option<Needs>,
}

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
        Ok(())
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
            Some(spec) => {
                let password = match &spec.password {
                    Some(p) => Some(cx.resolve(p).await?),
                    None => None,
                };
                Some(Become { user: spec.user.clone(), method: spec.method, password, flags: spec.flags.clone() })
            }
        };
        Ok((target.connector.connect(cx, &target.host).await?, to))
    }

    async fn cargo(&self, artifact: &Artifact) -> Result<Arc<Cargo>> {
        let key = (artifact.id.clone(), artifact.digest.clone());
        let reading = Arc::clone(self.read.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default());
        reading.get_or_try_init(|| async { self.read(artifact).await.map(Arc::new) }).await.map(Arc::clone)
    }

    async fn read(&self, artifact: &Artifact) -> Result<Cargo> {
        let path = self.base_dir.join(&artifact.id);
        let missing = |e: std::io::Error| {
            let kind = if e.kind() == std::io::ErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Denied };
            error(kind, "stage", "the artifact can't be read").with("artifact", path.display()).caused_by(e)
        };
        if !tokio::fs::metadata(&path).await.map_err(missing)?.is_file() {
            return Err(
                error(ErrorKind::InvalidInput, "stage", "the artifact is not a file").with("artifact", path.display())
            );
        }
        let (path, given) = (path.clone(), artifact.digest.clone());
        let wanted = self.config.file_name.clone();
        let work = move || -> std::io::Result<Cargo> {
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            let (tar, packed) = (name.ends_with(".tar"), name.ends_with(".tar.zst"));
            let mut unpacked = None;
            if packed {
                let mut to = tempfile::NamedTempFile::new()?;
                zstd::stream::copy_decode(std::fs::File::open(&path)?, &mut to)?;
                unpacked = Some(to);
            }
            let mut sum = Sha256::new();
            std::io::copy(&mut std::fs::File::open(&path)?, &mut sum)?;
            let digest = format!("sha256:{}", hex::encode(sum.finalize()));
            if !given.is_empty() && given != digest {
                return Err(std::io::Error::other(format!(
                    "it is not what was built: its digest is {digest}, not {given}"
                )));
            }
            let needs = if tar || packed { None } else { elf::read(&std::fs::read(&path)?) };
            let path = unpacked.as_ref().map_or(path, |u| u.path().to_owned());
            Ok(Cargo { path, _unpacked: unpacked, name: wanted.unwrap_or(name), archive: tar || packed, digest, needs })
        };
        let cargo = tokio::task::spawn_blocking(work)
            .await
            .map_err(|e| error(ErrorKind::Internal, "stage", "reading the artifact was interrupted").caused_by(e))?;
        cargo.map_err(|e| {
            error(ErrorKind::InvalidInput, "stage", "the artifact can't be read")
                .with("artifact", &artifact.id)
                .caused_by(e)
        })
    }

    async fn bring(
        &self,
        cx: &Context,
        target: &Target,
        connection: &Arc<dyn Connection>,
        to: Option<&Become>,
        release: &Release,
    ) -> Result<Staged> {
        let host = &target.host.name;
        let artifact = release.artifact.as_ref().ok_or_else(|| {
            error(ErrorKind::InvalidInput, "stage", "the release has no artifact").with("version", &release.version)
        })?;
        let cargo = self.cargo(artifact).await.map_err(|e| e.with("host", host).with("version", &release.version))?;
        let reserved = [layout::MARKER, "env", ".env", "x", ".artifact"].contains(&cargo.name.as_str());
        if cargo.name.is_empty() || cargo.name.contains('/') || (reserved && !cargo.archive) {
            return Err(error(
                ErrorKind::InvalidInput,
                "stage",
                "the artifact's file name is reserved; set `file_name`",
            )
            .with("file_name", &cargo.name));
        }
        let env = layout::env_file(release)?;
        let marker = Marker {
            version: &release.version,
            digest: &cargo.digest,
            env: hex::encode(Sha256::digest(env.as_bytes())),
        };
        let marker = serde_json::to_string(&marker)
            .map_err(|e| error(ErrorKind::Internal, "stage", "the marker can't be written").caused_by(e))?;
        let temporary = format!(".tmp-{}-{}", release.version, random_name());
        let loader = cargo.needs.as_ref().and_then(|n| n.loader.as_deref()).unwrap_or_default();
        let file = (!cargo.archive).then_some((cargo.digest.as_str(), cargo.name.as_str()));
        let found = layout::prepare(&self.config, &release.version, &temporary, loader, &marker, file);
        let found = self.script(cx, host, connection, to, "stage", found, "prepare").await?;
        let text = found.stdout_text();
        let fact = |key: &str| text.lines().find_map(|l| l.strip_prefix(key)).map(str::trim);
        if text.lines().any(|l| l == "unchanged") {
            return Ok(Staged { changed: false });
        }
        let brought = match suits(&cargo, fact("machine "), fact("libc "), &text) {
            Err(e) => Err(e.with("host", host).with("artifact", &artifact.id)),
            Ok(()) => {
                let there = text.lines().any(|l| l == "copied");
                self.upload(cx, host, connection, to, release, &cargo, there, &temporary, &env, &marker).await
            }
        };
        if brought.is_err() {
            // Shielded: nothing is left behind after a cancel, either. Hours later the next stage would remove it, too.
            let script = layout::discard(&self.config, &temporary);
            let cx = cx.shielded().with_timeout(std::time::Duration::from_secs(30));
            let _ = self.script(&cx, host, connection, to, "stage", script, "discard").await;
        }
        brought.map(|()| Staged { changed: true })
    }

    #[allow(clippy::too_many_arguments)]
    async fn upload(
        &self,
        cx: &Context,
        host: &str,
        connection: &Arc<dyn Connection>,
        to: Option<&Become>,
        release: &Release,
        cargo: &Cargo,
        there: bool,
        temporary: &str,
        env: &str,
        marker: &str,
    ) -> Result<()> {
        let dir = format!("{}/releases/{temporary}", self.config.root);
        let name = if cargo.archive { ".artifact" } else { &cargo.name };
        let options = PutOptions { mode: Some(0o755), r#become: to.cloned(), ..PutOptions::default() };
        let private = PutOptions { mode: Some(0o600), r#become: to.cloned(), ..PutOptions::default() };
        let (artifact, variables) = (format!("{dir}/{name}"), format!("{dir}/.env"));
        let bring = async {
            if there {
                return Ok(());
            }
            connection.put(cx, Source::File(cargo.path.clone()), &artifact, &options).await
        };
        tokio::try_join!(bring, connection.put(cx, Source::Bytes(env.to_owned().into()), &variables, &private))?;
        let script = layout::finish(&self.config, &release.version, temporary, cargo.archive, marker);
        self.script(cx, host, connection, to, "stage", script, "finish").await.map(drop)
    }

    /// Runs a script that must succeed.
    #[allow(clippy::too_many_arguments)]
    async fn script(
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

    fn exec(&self, to: Option<&Become>, script: String, label: &str) -> Exec {
        let mut exec = Exec::script(script);
        exec.label = Some(format!("{label} {}", self.config.root));
        exec.r#become = to.cloned();
        exec
    }
}

/// Says whether the host can run it.
fn suits(cargo: &Cargo, machine: Option<&str>, libc: Option<&str>, text: &str) -> Result<()> {
    let Some(needs) = &cargo.needs else { return Ok(()) };
    let no = |message: String| Err(error(ErrorKind::InvalidInput, "stage", message));
    if let Some(machine) = machine.filter(|m| !needs.machine.is_empty() && *m != needs.machine) {
        return no(format!("the executable is for {}, the host is {machine}: build it for the host", needs.machine));
    }
    if let (Some(loader), true) = (&needs.loader, text.lines().any(|l| l == "noloader")) {
        return no(format!(
            "the executable needs the dynamic loader {loader}, which the host does not have: build it for the host's libc, \
             or statically"
        ));
    }
    let version = |l: &str| {
        let (major, minor) = l.strip_prefix("glibc ")?.split_once('.')?;
        Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
    };
    if let (Some((a, b)), Some((c, d))) = (needs.glibc, libc.and_then(version))
        && (a, b) > (c, d)
    {
        return no(format!(
            "the executable needs glibc {a}.{b}, the host has {c}.{d}: build it on an older system, or statically"
        ));
    }
    Ok(())
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
