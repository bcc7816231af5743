use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use nix::fcntl::{Flock, FlockArg};
use serde_json::json;
use towpath_core::{
    Action, Applied, Capabilities, Certainty, Change, ConnectionSpec, Context, Destroyed, Environment, Error,
    ErrorKind, EventKind, Group, Host, Inventory, Json, Plan, Preflight, Probed, Provisioner, Resource, Result, Vars,
};

use crate::files::{private_dir, remove_tree, write_json, write_private};
use crate::launch::{self, Launcher, Part};
use crate::process::{self, ProcessId};
use crate::state::{
    EnvironmentDir, EnvironmentRecord, HostRecord, HostSettings, key_pair, make_host_dirs, public_line, state_dir,
};
use crate::{LocalBalancer, LocalBalancerConfig, LocalConfig, LocalMode, host, ports};

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

    /// Plain mode, if plain hosts can be kept from this machine's files or need not be.
    fn plain(&self, why_not_namespaces: Option<String>) -> Result<(LocalMode, Option<String>)> {
        match host::guard_works() {
            Err(why) if !self.config.unguarded => Err(Error::new(
                ErrorKind::Unsupported,
                LOCAL,
                "mode",
                "plain hosts could write this machine's own files here; use a newer kernel, or set `unguarded: true` if what \
                 you run may do that",
            )
            .caused_by(match why_not_namespaces {
                Some(other) => format!("{why}; {other}"),
                None => why,
            })),
            _ => Ok((LocalMode::Plain, why_not_namespaces)),
        }
    }

    /// The mode that hosts have or would have, and why not the other one.
    fn mode(&self, dir: &EnvironmentDir, record: Option<&EnvironmentRecord>) -> Result<(LocalMode, Option<String>)> {
        if self.config.mode == LocalMode::Plain {
            return self.plain(None);
        }
        // Asked for `auto`, an environment stays as it is.
        if let (LocalMode::Auto, Some(record)) = (self.config.mode, record) {
            return Ok((record.mode, None));
        }
        match (host::namespaces_work(&existing_part(&dir.0)), self.config.mode) {
            (Ok(()), _) => Ok((LocalMode::Namespace, None)),
            (Err(why), LocalMode::Auto) => self.plain(Some(why)),
            (Err(why), _) => Err(Error::new(
                ErrorKind::Unsupported,
                LOCAL,
                "mode",
                "hosts in namespaces are not possible here; use `mode: plain` or `mode: auto`",
            )
            .caused_by(why)),
        }
    }

    /// What exists, with what would change. `environment`: as it would be after that.
    async fn look(&self, cx: &Context, dir: &EnvironmentDir) -> Result<Look> {
        let record = dir.read_record().map_err(|e| {
            storage(
                "probe",
                &dir.record(),
                "the record of the local hosts can't be read; look, or remove the folder",
                e,
            )
        })?;
        let (mode, why) = self.mode(dir, record.as_ref())?;
        let mut plan = Plan { warnings: mode_notes(mode, why.as_deref()), ..Plan::default() };
        let mut alive = BTreeMap::new();
        let names = self.config.host_names();
        for name in &names {
            let subject = format!("host {name}");
            let known = record.as_ref().and_then(|r| r.hosts.get(name));
            let running = known.and_then(|h| find_process(dir, name, h));
            let after = json!({"mode": mode.as_str(), "state": "running"});
            let change = match (known, &running) {
                (None, _) => Change::will(name, &subject, Action::Create).from_to(None, Some(after)),
                (Some(_), _) if record.as_ref().is_some_and(|r| r.mode != mode) => {
                    let before = json!({"mode": record.as_ref().map(|r| r.mode.as_str())});
                    Change::will(name, &subject, Action::Replace).from_to(Some(before), Some(after))
                }
                (Some(_), None) => {
                    let mut change = Change::will(name, &subject, Action::Update)
                        .from_to(Some(json!({"mode": mode.as_str(), "state": "ended"})), Some(after));
                    change.reason = Some("its process is gone; it starts again with its files as they were".into());
                    change
                }
                (Some(h), Some(_)) if self.config.ports.iter().any(|p| !h.ports.contains_key(p)) => {
                    Change::will(name, &subject, Action::Update)
                        .from_to(Some(json!({"ports": h.ports})), Some(json!({"ports": self.config.ports})))
                }
                (Some(_), Some(_)) => Change::will_not(name, &subject),
            };
            plan.changes.push(change);
            if let Some(id) = running {
                alive.insert(name.clone(), id);
            }
        }
        for name in record.iter().flat_map(|r| r.hosts.keys()).filter(|n| !names.contains(n)) {
            plan.changes.push(
                Change::will(name, format!("host {name}"), Action::Delete)
                    .from_to(Some(json!({"state": "known"})), None),
            );
        }
        if let Some(balancer) = self.balancer(dir)? {
            let (name, subject) = (balancer.name(), format!("balancer {}", balancer.name()));
            plan.changes.push(match balancer.is_current(cx).await? {
                Some(true) => Change::will_not(name, subject),
                Some(false) => Change::will(name, subject, Action::Update),
                None => Change::will(name, subject, Action::Create),
            });
        }
        cx.check(LOCAL, "probe")?;
        Ok(Look { record, mode, plan, alive })
    }

    /// Writes keys, ports and the record, before anything is started.
    fn prepare(&self, cx: &Context, dir: &EnvironmentDir, look: &Look) -> Result<EnvironmentRecord> {
        let fail = |what: &'static str| move |e: std::io::Error| storage("apply", &dir.0, what, e);
        private_dir(&dir.0).map_err(fail("the state folder can't be made"))?;
        private_dir(&dir.hosts()).map_err(fail("the state folder can't be made"))?;
        let mut record = look.record.clone().unwrap_or_else(|| EnvironmentRecord {
            environment: cx.environment().to_owned(),
            mode: look.mode,
            hosts: BTreeMap::new(),
        });
        record.mode = look.mode;
        let mut taken = record.ports();
        for name in self.config.host_names() {
            if !record.hosts.contains_key(&name) {
                let ssh_port = ports::pick(&mut taken).map_err(fail("no port for SSH"))?;
                let token = hex::encode(rand::random::<[u8; 16]>());
                record.hosts.insert(name.clone(), HostRecord { token, ssh_port, ports: BTreeMap::new() });
            }
            if let Some(host) = record.hosts.get_mut(&name) {
                for variable in &self.config.ports {
                    if !host.ports.contains_key(variable) {
                        let port = ports::pick(&mut taken).map_err(fail("no port for a service"))?;
                        host.ports.insert(variable.clone(), port);
                    }
                }
            }
        }
        if look.record.as_ref() != Some(&record) {
            write_json(&dir.record(), &record).map_err(fail("the record of the local hosts can't be written"))?;
        }
        Ok(record)
    }

    /// The running process of a host, once it accepts connections.
    async fn find_ready(&self, dir: &EnvironmentDir, name: &str, host: &HostRecord) -> Option<ProcessId> {
        let until = tokio::time::Instant::now() + Duration::from_secs(u64::from(self.config.start_timeout_s));
        loop {
            let id = find_process(dir, name, host)?;
            if answers(host.ssh_port).await {
                return Some(id);
            }
            if tokio::time::Instant::now() >= until {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn start(&self, dir: &EnvironmentDir, name: &str, mode: LocalMode, token: &str) -> Result<ProcessId> {
        let launcher = Launcher::installed("apply")?;
        let host_dir = dir.host(name);
        let part = Part {
            role: "host",
            dir: &host_dir.0,
            token,
            namespace: mode == LocalMode::Namespace,
            limit: Duration::from_secs(u64::from(self.config.start_timeout_s)),
        };
        // What an earlier start left half done would hold the host's lock and port.
        process::end_by_token(token).await.map_err(|e| failed(name, "leftovers of the host can't be ended", e))?;
        launch::start(&launcher, &part)
            .await
            .map_err(|e| failed(name, "the host did not start", e).with("log", host_dir.0.join("log").display()))
    }

    /// The environment as the record says.
    fn environment(
        &self,
        dir: &EnvironmentDir,
        record: &EnvironmentRecord,
        alive: &BTreeMap<String, ProcessId>,
    ) -> Environment {
        let user = match record.mode {
            LocalMode::Namespace => "root".to_owned(),
            _ => std::env::var("USER").ok().filter(|u| !u.is_empty()).unwrap_or_else(|| "user".into()),
        };
        let text = |path: PathBuf| Json::from(path.display().to_string());
        let mut inventory = Inventory::default();
        let mut resources = Vec::new();
        for name in self.config.host_names() {
            let Some(host) = record.hosts.get(&name) else { continue };
            let mut vars: Vars = self.config.vars.clone();
            for (variable, port) in &host.ports {
                vars.insert(variable.clone(), Json::from(*port));
            }
            let root = match record.mode {
                LocalMode::Plain => text(dir.host(&name).tree()),
                _ => Json::from(""),
            };
            vars.insert("towpath_root".into(), root);
            let options: Vars = [
                ("identity_file".to_owned(), text(dir.client_key())),
                ("identities_only".to_owned(), Json::from(true)),
                ("known_hosts".to_owned(), text(dir.known_hosts())),
            ]
            .into_iter()
            .collect();
            inventory.hosts.push(Host {
                name: name.clone(),
                connection: ConnectionSpec {
                    kind: "ssh".into(),
                    address: Some("127.0.0.1".into()),
                    port: Some(host.ssh_port),
                    user: Some(user.clone()),
                    options,
                    ..ConnectionSpec::default()
                },
                labels: self.config.labels.clone(),
                vars,
            });
            if let Some(id) = alive.get(&name) {
                resources.push(Resource {
                    address: format!("host {name}"),
                    id: id.pid.to_string(),
                    detail: json!({"mode": record.mode.as_str(), "folder": dir.host(&name).0.display().to_string()}),
                });
            }
        }
        for group in &self.config.groups {
            inventory.groups.insert(group.clone(), Group { hosts: self.config.host_names(), ..Group::default() });
        }
        let mut outputs: BTreeMap<String, Json> = [
            ("mode".to_owned(), Json::from(record.mode.as_str())),
            ("mode_notes".to_owned(), json!(mode_notes(record.mode, None))),
            ("state_dir".to_owned(), text(dir.0.clone())),
        ]
        .into_iter()
        .collect();
        if let Some((name, address)) =
            self.config.balancer.as_ref().and_then(|b| Some((&b.name, dir.balancer(&b.name).address()?)))
        {
            outputs.insert("balancer".into(), Json::from(address.clone()));
            resources.push(Resource { address: format!("balancer {name}"), id: address, detail: Json::Null });
        }
        Environment { name: record.environment.clone(), inventory, outputs, sensitive: Vec::new(), resources }
    }

    async fn end_host(&self, dir: &EnvironmentDir, name: &str, token: Option<&str>) -> Result<()> {
        let recorded = dir.host(name).read_process().ok().flatten();
        if let Some(id) = &recorded {
            id.end(Duration::from_secs(4)).await.map_err(|e| failed(name, "the host can't be ended", e))?;
        }
        for token in token.into_iter().chain(recorded.as_ref().map(|id| id.token.as_str())) {
            process::end_by_token(token).await.map_err(|e| failed(name, "the host can't be ended", e))?;
        }
        let path = dir.host(name).0;
        tokio::task::spawn_blocking(move || remove_tree(&path).map_err(|e| (path, e)))
            .await
            .map_err(|e| failed(name, "its removal broke off", std::io::Error::other(e)))?
            .map_err(|(path, e)| storage("destroy", &path, "a host's folder can't be removed", e))
    }
}

/// Writes what hosts read when they start: keys, what they see of this machine, settings.
async fn prepare_hosts(cx: &Context, dir: &EnvironmentDir, record: &EnvironmentRecord) -> Result<()> {
    let (dir, record) = (dir.clone(), record.clone());
    let missing = tokio::task::spawn_blocking(move || {
        let path = dir.0.clone();
        write_hosts(&dir, &record).map_err(|e| storage("apply", &path, "the hosts' folders can't be written", e))
    })
    .await
    .map_err(|e| Error::new(ErrorKind::Internal, LOCAL, "apply", "preparing hosts broke off").caused_by(e))??;
    if missing > 0 {
        cx.warn(format!("local hosts do not see {missing} files of /etc that this user can't read"));
    }
    Ok(())
}

/// Gives the number of files that hosts will not see.
fn write_hosts(dir: &EnvironmentDir, record: &EnvironmentRecord) -> std::io::Result<usize> {
    let client = key_pair(&dir.client_key(), "towpath")?;
    let client_key = public_line(client.public_key())?;
    let missing = if record.mode == LocalMode::Namespace { host::make_base(&dir.base())? } else { Vec::new() };
    let mut known = String::new();
    for (name, host) in &record.hosts {
        let host_dir = dir.host(name);
        let settings = HostSettings {
            name: name.clone(),
            mode: record.mode,
            ssh_port: host.ssh_port,
            client_key: client_key.clone(),
            base: dir.base(),
            guarded: host::guard_works().is_ok(),
        };
        make_host_dirs(&host_dir, &settings)?;
        let key = key_pair(&host_dir.host_key(), name)?;
        let line = public_line(key.public_key())?;
        let words: Vec<&str> = line.split(' ').take(2).collect();
        known.push_str(&format!("[127.0.0.1]:{} {}\n", host.ssh_port, words.join(" ")));
    }
    if std::fs::read_to_string(dir.known_hosts()).ok().as_deref() != Some(known.as_str()) {
        write_private(&dir.known_hosts(), known.as_bytes())?;
    }
    Ok(missing.len())
}

/// Keeps other processes out while an environment changes.
fn lock(dir: &EnvironmentDir) -> Result<Flock<std::fs::File>> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let path = dir.0.join("lock");
    let file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(|e| storage("lock", &path, "the state folder can't be locked", e))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, e)| {
        Error::new(ErrorKind::Conflict, LOCAL, "lock", "another process changes the same local hosts")
            .with("path", path.display())
            .caused_by(e)
            .retry_later()
    })
}

/// Says whether an SSH server answers on a loopback port.
async fn answers(port: u16) -> bool {
    use tokio::io::AsyncReadExt as _;
    let banner = async {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
        let mut start = [0u8; 4];
        stream.read_exact(&mut start).await?;
        Ok::<bool, std::io::Error>(&start == b"SSH-")
    };
    matches!(tokio::time::timeout(Duration::from_secs(2), banner).await, Ok(Ok(true)))
}

struct Look {
    record: Option<EnvironmentRecord>,
    mode: LocalMode,
    plan: Plan,
    alive: BTreeMap<String, ProcessId>,
}

/// The running process of a host: the recorded one, if it lives and answers to its token.
fn find_process(dir: &EnvironmentDir, name: &str, host: &HostRecord) -> Option<ProcessId> {
    let id = dir.host(name).read_process().ok().flatten()?;
    (id.token == host.token && id.is_alive()).then_some(id)
}

fn existing_part(path: &Path) -> PathBuf {
    path.ancestors().find(|p| p.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

fn storage(operation: &'static str, path: &Path, what: &str, e: std::io::Error) -> Error {
    Error::new(ErrorKind::Storage, LOCAL, operation, what).with("path", path.display()).caused_by(e)
}

fn failed(host: &str, what: &str, e: std::io::Error) -> Error {
    Error::new(ErrorKind::ToolFailed, LOCAL, "apply", what).with("host", host).caused_by(e)
}

/// What a mode means for people: shown by plan and preflight.
fn mode_notes(mode: LocalMode, why_plain: Option<&str>) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(why) = why_plain {
        notes.push(format!("local hosts run in plain mode: {why}"));
    }
    match mode {
        LocalMode::Plain => {
            notes.push(
                "plain mode: a host is a folder (`towpath_root`), and commands run as this user, without sudo".into(),
            );
            notes.push(match host::guard_works() {
                Ok(()) => "the kernel (Landlock) refuses plain hosts to write, make, move or remove files outside their folder; \
                           modes and owners of this user's files, reading and the network are not restricted"
                    .into(),
                Err(why) => format!("plain hosts are unguarded, and can write this machine's own files: {why}"),
            });
        }
        _ => notes.push(
            "namespace mode: a host has one user, its root, which is this user outside: chown to other users fails, and sudo \
             and su run the command as that root; hosts share this machine's network and are kept apart from mistakes, not \
             from attackers"
                .into(),
        ),
    }
    notes
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
