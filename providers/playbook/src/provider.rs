use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use towpath_core::{
    Capabilities, Configurator, Configured, Context, Error, ErrorKind, Json, Plan, Preflight, Result, Targets,
};

use crate::execute::{Mode, Run, Setup};
use crate::load::{Inherit, Item, Loader, Play, load_playbook};
use crate::render::Engine;
use crate::vault::{self, Vault};
use crate::{Ask, InventorySources, PLAYBOOK, PlaybookConfig, Report, modules};

/// Runs an Ansible playbook.
///
/// An interrupted apply is done again from its start; `command` and `shell` run again too.
#[derive(Clone)]
pub struct Playbook {
    config: PlaybookConfig,
    path: PathBuf,
    loader: Loader,
    report: Option<Arc<dyn Report>>,
    ask: Option<Arc<dyn Ask>>,
    vault: Arc<Vault>,
    sources: Option<Arc<InventorySources>>,
}

impl std::fmt::Debug for Playbook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Playbook").field("config", &self.config).field("path", &self.path).finish_non_exhaustive()
    }
}

impl Playbook {
    /// Starts the config of a playbook.
    pub fn file(path: impl Into<PathBuf>) -> PlaybookConfig {
        PlaybookConfig::new(path)
    }

    /// A configurator with this config. Relative paths start at `base_dir`. Files are read when they are needed.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): `forks` is 0.
    pub fn new(config: PlaybookConfig, base_dir: &Path) -> Result<Self> {
        if config.forks == 0 {
            return Err(Error::new(ErrorKind::InvalidInput, PLAYBOOK, "config", "`forks` must be at least 1"));
        }
        let path = base_dir.join(&config.file);
        let playbook_dir = path.parent().unwrap_or(base_dir).to_path_buf();
        let roles_path = config.roles_path.iter().map(|p| base_dir.join(p)).collect();
        let extra = Arc::new(config.extra_vars.clone());
        if config.ansible_managed.as_ref().is_some_and(|text| text.contains('%')) {
            let message =
                "`ansible_managed` has a time in it (`%`), so that files would change without a reason; leave it out";
            return Err(Error::new(ErrorKind::InvalidInput, PLAYBOOK, "config", message));
        }
        let defaults = Inherit {
            any_errors_fatal: config.any_errors_fatal.then_some(Json::Bool(true)),
            no_log: config.no_log.then_some(Json::Bool(true)),
            timeout: (config.task_timeout > 0).then(|| config.task_timeout.into()),
            ..Inherit::default()
        };
        let loader = Loader { playbook_dir, roles_path, extra, engine: Arc::new(Engine::new()), defaults };
        Ok(Self { config, path, loader, report: None, ask: None, vault: Arc::default(), sources: None })
    }

    /// Tells everything that happens in a run, in the words and the order of Ansible.
    #[must_use]
    pub fn with_report(mut self, report: Arc<dyn Report>) -> Self {
        self.report = Some(report);
        self
    }

    /// Asks somebody for what `vars_prompt` wants to know, and before each task (`--step`).
    #[must_use]
    pub fn with_ask(mut self, ask: Arc<dyn Ask>) -> Self {
        self.ask = Some(ask);
        self
    }

    /// Takes another folder for the playbook's own, in which roles and variables are looked for.
    #[must_use]
    pub fn playbook_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.loader.playbook_dir = dir.into();
        self
    }

    /// Opens Ansible Vault files and values with these passwords.
    #[must_use]
    pub fn with_vault(mut self, vault: Vault) -> Self {
        self.vault = Arc::new(vault);
        self
    }

    /// Where `meta: refresh_inventory` reads the inventory anew. Without sources that task changes nothing: the inventory of a run
    /// is the one that it was given.
    #[must_use]
    pub fn with_sources(mut self, sources: Arc<InventorySources>) -> Self {
        self.sources = Some(sources);
        self
    }

    /// The config.
    pub fn config(&self) -> &PlaybookConfig {
        &self.config
    }

    /// What stands in it, without running it.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): a file can't be read or understood, with its place.
    pub fn outline(&self) -> Result<Vec<crate::PlayOutline>> {
        Ok(crate::outline::outline(&self.load()?))
    }

    fn load(&self) -> Result<Vec<Play>> {
        vault::with_sync(self.vault.clone(), || load_playbook(&self.loader, &self.path))
    }

    async fn run(&self, cx: &Context, targets: &Targets, mode: Mode) -> Result<(Configured, Plan)> {
        cx.check(PLAYBOOK, if mode == Mode::Plan { "plan" } else { "apply" })?;
        // Names of imported files may hold extra variables.
        let mut loader = self.loader.clone();
        let mut extra = self.config.extra_vars.clone();
        extra.extend(targets.extra_vars.clone());
        loader.extra = Arc::new(extra);
        vault::with(self.vault.clone(), self.walk(cx, targets, mode, &loader)).await
    }

    async fn walk(&self, cx: &Context, targets: &Targets, mode: Mode, loader: &Loader) -> Result<(Configured, Plan)> {
        let plays = load_playbook(loader, &self.path)?;
        let (report, ask) = (self.report.as_ref().filter(|_| mode == Mode::Apply), self.ask.as_ref());
        let sources = self.sources.clone();
        let setup = Setup { cx, config: &self.config, loader, targets, mode, report, ask, sources };
        Run::new(setup)?.plays(&self.config.file, &plays).await
    }
}

#[async_trait]
impl Configurator for Playbook {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&["plan", "apply"])
    }

    async fn preflight(&self, _: &Context) -> Result<Preflight> {
        let plays = self.load()?;
        let ok = vec![format!("{}: {} plays", self.path.display(), plays.len())];
        Ok(Preflight { ok, warnings: missing(&plays) })
    }

    async fn plan(&self, cx: &Context, targets: &Targets) -> Result<Plan> {
        let (_, plan) = self.run(cx, targets, Mode::Plan).await?;
        Ok(plan)
    }

    async fn apply(&self, cx: &Context, targets: &Targets) -> Result<Configured> {
        cx.check(PLAYBOOK, "apply")?;
        if cx.run().is_none() {
            return self.run(cx, targets, Mode::Apply).await.map(|(done, _)| done);
        }
        // One step may apply several playbooks, or one to several groups of hosts.
        let hosts: Vec<&str> = targets.inventory.hosts.iter().map(|h| h.name.as_str()).collect();
        let intent =
            json!({ "playbook": self.path, "limit": targets.limit, "hosts": hosts, "extra_vars": targets.extra_vars });
        let what = towpath_core::digest_json(&json!([intent, self.digest(cx).await?]));
        let key = format!("apply-{}", what.get(..16).unwrap_or(&what));
        let intent = json!({ "playbook": self.path, "limit": targets.limit, "hosts": hosts });
        cx.effect_idempotent(&key, intent, |cx| async move {
            self.run(&cx, targets, Mode::Apply).await.map(|(done, _)| done)
        })
        .await
    }

    async fn digest(&self, _: &Context) -> Result<String> {
        let plays = self.load()?;
        let mut files = BTreeSet::from([self.path.clone()]);
        for dir in ["group_vars", "host_vars", "templates", "files", "vars", "tasks", "roles"] {
            walk(&self.loader.playbook_dir.join(dir), &mut files);
        }
        let mut items: Vec<&Item> = Vec::new();
        for play in &plays {
            files.insert(play.pos.file.as_ref().clone());
            for role in &play.roles {
                walk(&role.path, &mut files);
            }
            items.extend(play.items());
            for (file, _) in &play.vars_files {
                files.extend(file.as_str().map(|f| self.loader.playbook_dir.join(f)));
            }
        }
        each_task(items, &mut |t| {
            files.insert(t.pos.file.as_ref().clone());
            for role in &t.inherit.roles {
                walk(&role.path, &mut files);
            }
            for key in ["src", "file", "_raw_params"] {
                if let Some(name) = t.args.get(key).and_then(towpath_core::Json::as_str) {
                    let p = self.loader.playbook_dir.join(name);
                    if name.len() < 200 && p.is_file() {
                        files.insert(p);
                    }
                }
            }
        });
        let mut hash = Sha256::new();
        hash.update(serde_json::to_string(&self.config).unwrap_or_default());
        for file in files {
            if let Ok(bytes) = std::fs::read(&file) {
                let name = file.strip_prefix(&self.loader.playbook_dir).unwrap_or(&file);
                hash.update(format!("\0{}\0{}\0", name.display(), bytes.len()));
                hash.update(bytes);
            }
        }
        Ok(hex::encode(hash.finalize()))
    }
}

fn walk(dir: &Path, files: &mut BTreeSet<PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.is_file() {
            files.insert(path);
        }
    }
}

fn each_task<'a>(items: impl IntoIterator<Item = &'a Item>, see: &mut dyn FnMut(&'a crate::load::Task)) {
    for item in items {
        match item {
            Item::Task(t) => see(t),
            Item::Block(b) => each_task(b.block.iter().chain(&b.rescue).chain(&b.always), see),
        }
    }
}

/// Tasks whose module has no native version.
pub(crate) fn missing(plays: &[Play]) -> Vec<String> {
    let mut out = Vec::new();
    for play in plays {
        each_task(play.items(), &mut |t| {
            const OWN: [&str; 9] = [
                "add_host",
                "async_status",
                "gather_facts",
                "group_by",
                "include_role",
                "include_tasks",
                "meta",
                "set_stats",
                "setup",
            ];
            let own = OWN.contains(&t.action.as_str()) || t.action == "validate_argument_spec";
            if !own && modules::find(&t.action).is_none() {
                out.push(format!(
                    "{}: the module `{}` has no native version; the task will fail when it is reached",
                    t.pos, t.action
                ));
            }
        });
    }
    out
}
