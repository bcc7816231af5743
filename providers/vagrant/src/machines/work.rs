//! What is to be done, and doing it.

use std::collections::BTreeMap;

use serde_json::json;
use towpath_core::local_tool::ask;
use towpath_core::pipeline::nearest;
use towpath_core::{Action, Applied, Change, Context, Destroyed, Error, ErrorKind, Plan, Probed, Result, digest_json};

use super::VAGRANT;
use super::config::{BoxSource, VagrantConfig};
use super::run::{Site, storage};
use super::vagrantfile;
use super::world::Machine;
use crate::files::{private_dir, read_json, write_json, write_private};

/// A site with the provider's config.
pub(super) struct Work<'a> {
    pub(super) config: &'a VagrantConfig,
    pub(super) site: &'a Site,
    pub(super) operation: &'static str,
}

/// What is to be done.
#[derive(Debug, Default)]
struct Todo<'a> {
    boxes: Vec<&'a BoxSource>,
    /// There, and wanted no more.
    remove: Vec<String>,
    /// There, and made from another spec.
    replace: Vec<String>,
    create: Vec<String>,
    start: Vec<(String, String)>,
    /// Names of all that is wanted and to be started, in their order.
    up: Vec<String>,
}

impl Todo<'_> {
    fn count(&self) -> usize {
        self.boxes.len() + self.remove.len() + self.up.len()
    }
}

impl<'a> Work<'a> {
    /// Under which spec each machine was made; only machines of a typed spec have one.
    fn specs(&self) -> BTreeMap<String, String> {
        read_json(&self.site.own().join("specs.json")).ok().flatten().unwrap_or_default()
    }

    fn write_specs(&self, specs: &BTreeMap<String, String>) -> Result<()> {
        let path = self.site.own().join("specs.json");
        private_dir(&self.site.own())
            .and_then(|()| write_json(&path, specs))
            .map_err(|e| storage(self.operation, &path, e))
    }

    fn digest(&self, name: &str) -> Option<String> {
        let spec = self.config.machines.get(name)?;
        Some(digest_json(&json!({"spec": spec, "provider": self.config.provider})))
    }

    /// The names that are wanted, in their order.
    fn wanted(&self, machines: &[Machine]) -> Result<Vec<String>> {
        if self.config.dir.is_none() {
            return Ok(self.config.machines.keys().cloned().collect());
        }
        let there = |name: &String| machines.iter().any(|m| m.name == *name);
        if let Some(name) = self.config.only.iter().find(|n| !there(n)) {
            let what = format!("the Vagrantfile has no machine `{name}`");
            let mut error = Error::new(ErrorKind::InvalidInput, VAGRANT, self.operation, what)
                .with("dir", self.site.folder.display());
            if let Some(near) = nearest(name, machines.iter().map(|m| m.name.as_str())) {
                error = error.with("nearest", near);
            }
            return Err(error);
        }
        let only = |name: &String| self.config.only.is_empty() || self.config.only.contains(name);
        Ok(machines.iter().map(|m| m.name.clone()).filter(only).collect())
    }

    async fn todo(&self, cx: &Context, machines: &[Machine]) -> Result<Todo<'a>> {
        let config: &'a VagrantConfig = self.config;
        let provider = config.provider.as_deref().unwrap_or_default();
        let boxes = self.site.missing_boxes(cx, self.operation, &config.boxes, provider).await?;
        let mut todo = Todo { boxes, ..Todo::default() };
        let wanted = self.wanted(machines)?;
        let specs = self.specs();
        if config.dir.is_none() {
            let surplus = machines.iter().filter(|m| m.exists() && !wanted.contains(&m.name));
            todo.remove = surplus.map(|m| m.name.clone()).collect();
        }
        for name in wanted {
            let machine = machines.iter().find(|m| m.name == name).filter(|m| m.exists());
            let other_spec = self.digest(&name).is_some_and(|d| specs.get(&name) != Some(&d));
            match machine {
                Some(_) if other_spec => todo.replace.push(name.clone()),
                Some(machine) if machine.runs() => continue,
                Some(machine) => todo.start.push((name.clone(), machine.state.clone())),
                None => todo.create.push(name.clone()),
            }
            todo.up.push(name);
        }
        Ok(todo)
    }

    fn as_plan(&self, todo: &Todo<'_>) -> Plan {
        let mut plan = Plan::default();
        for source in &todo.boxes {
            let version = source.version.as_deref().map(|v| format!(" {v}")).unwrap_or_default();
            plan.changes.push(Change::will(&source.name, format!("box {}{version}", source.name), Action::Create));
        }
        let machine = |name: &String, action| Change::will(name, format!("machine {name}"), action);
        plan.changes.extend(todo.remove.iter().map(|n| machine(n, Action::Delete)));
        plan.changes.extend(todo.replace.iter().map(|n| machine(n, Action::Replace)));
        plan.changes.extend(todo.create.iter().map(|n| machine(n, Action::Create)));
        for (name, state) in &todo.start {
            let change = machine(name, Action::Update);
            plan.changes.push(change.from_to(Some(json!({"state": state})), Some(json!({"state": "running"}))));
        }
        plan
    }

    pub(super) async fn plan(&self, cx: &Context) -> Result<Plan> {
        let machines = self.site.machines(cx, self.operation).await?;
        Ok(self.as_plan(&self.todo(cx, &machines).await?))
    }

    pub(super) async fn probe(&self, cx: &Context) -> Result<Probed> {
        let machines = self.site.machines(cx, self.operation).await?;
        let drift = self.as_plan(&self.todo(cx, &machines).await?);
        let environment = match machines.iter().any(Machine::exists) {
            true => Some(self.site.environment(cx, self.operation, &machines).await?),
            false => None,
        };
        Ok(Probed { environment, drift })
    }

    /// `up` and `box add` may be done again, so a crash in their middle needs no more than that; a vagrant that goes on
    /// by itself is waited for.
    pub(super) async fn apply(&self, cx: &Context) -> Result<Applied> {
        let intent = json!({"folder": self.site.folder.display().to_string(), "operation": self.operation});
        cx.effect_idempotent("apply", intent, |cx| async move {
            self.site.wait_for_survivor(&cx, self.operation).await?;
            let machines = self.site.machines(&cx, self.operation).await?;
            let todo = self.todo(&cx, &machines).await?;
            self.make(&cx, &todo).await?;
            let machines = if todo.count() > 0 { self.site.machines(&cx, self.operation).await? } else { machines };
            let environment = self.site.environment(&cx, self.operation, &machines).await?;
            Ok(Applied { environment, changed: todo.count() })
        })
        .await
    }

    async fn make(&self, cx: &Context, todo: &Todo<'_>) -> Result<()> {
        let run = |args: Vec<&str>| {
            let args: Vec<String> = args.into_iter().map(str::to_owned).collect();
            async move {
                let args: Vec<&str> = args.iter().map(String::as_str).collect();
                self.site.ok(cx, self.operation, &args, true).await
            }
        };
        let mut specs = self.specs();
        // With the old Vagrantfile, since the new one may not know them.
        let gone: Vec<&str> = todo.remove.iter().chain(&todo.replace).map(String::as_str).collect();
        if !gone.is_empty() {
            run(["destroy", "-f"].into_iter().chain(gone.iter().copied()).collect()).await?;
            specs.retain(|name, _| !gone.contains(&name.as_str()));
            self.write_specs(&specs)?;
        }
        if self.config.dir.is_none() {
            self.write_vagrantfile()?;
        }
        for source in &todo.boxes {
            let provider = self.config.provider.as_deref().unwrap_or_default();
            let mut args = vec!["box", "add", "--provider", provider];
            args.extend(source.version.iter().flat_map(|v| ["--box-version", v.as_str()]));
            args.push(&source.catalogue);
            run(args).await?;
        }
        if todo.up.is_empty() {
            return Ok(());
        }
        if self.config.dir.is_none() {
            // Before the machines: one that was made by a run that crashed is not taken for another's.
            for name in &todo.up {
                specs.extend(self.digest(name).map(|digest| (name.clone(), digest)));
            }
            self.write_specs(&specs)?;
        }
        for name in todo.create.iter().chain(&todo.replace) {
            self.remove_lost_container(cx, name).await?;
        }
        let mut args = vec!["up"];
        args.extend(self.config.provider.iter().flat_map(|p| ["--provider", p.as_str()]));
        if !self.config.provision {
            args.push("--no-provision");
        }
        args.extend(todo.up.iter().map(String::as_str));
        match run(args.clone()).await {
            // Vagrant lists all containers and then looks at each: it fails where somebody else removes one in between.
            Err(e) if e.get("class") == Some("VagrantPlugins::DockerProvider::Errors::ExecuteError") => {
                cx.warn(format!("a command of Docker's failed, `vagrant up` is tried once more: {}", e.message()));
                run(args).await?;
            }
            other => {
                other?;
            }
        }
        let names: Vec<&str> = todo.up.iter().map(String::as_str).collect();
        self.site.learn_host_keys(cx, self.operation, &names).await
    }

    /// A container that was made for this machine, and of which Vagrant does not know: it was killed before it wrote that down.
    async fn remove_lost_container(&self, cx: &Context, name: &str) -> Result<()> {
        let is_container = self.config.machines.get(name).is_some_and(|m| m.docker.is_some());
        if !is_container || self.config.provider.as_deref() != Some("docker") {
            return Ok(());
        }
        let container = vagrantfile::container(&self.site.folder, name);
        let docker = async |args: &[&str]| {
            let mut command = tokio::process::Command::new("docker");
            command.args(args).envs(self.site.env.iter().map(|(k, v)| (k, v)));
            let asked = ask(cx, VAGRANT, self.operation, &mut command).await?;
            // Without a `docker`, `up` says so.
            Ok::<_, Error>(asked.is_ok_and(|out| out.status.success()))
        };
        if docker(&["container", "inspect", &container]).await? {
            cx.warn(format!("removing the container {container}, which an interrupted vagrant had left"));
            docker(&["rm", "-f", &container]).await?;
        }
        Ok(())
    }

    fn write_vagrantfile(&self) -> Result<()> {
        let path = self.site.folder.join("Vagrantfile");
        let text = vagrantfile::of(&self.site.folder, &self.config.machines);
        if std::fs::read_to_string(&path).is_ok_and(|there| there == text) {
            return Ok(());
        }
        let write = private_dir(&self.site.folder).and_then(|()| write_private(&path, text.as_bytes()));
        write.map_err(|e| storage(self.operation, &path, e))
    }

    pub(super) async fn halt(&self, cx: &Context) -> Result<usize> {
        let intent = json!({"folder": self.site.folder.display().to_string(), "operation": "halt"});
        cx.effect_idempotent("halt", intent, |cx| async move {
            self.site.wait_for_survivor(&cx, self.operation).await?;
            let machines = self.site.machines(&cx, self.operation).await?;
            let wanted = self.wanted(&machines)?;
            let running: Vec<&str> =
                machines.iter().filter(|m| m.runs() && wanted.contains(&m.name)).map(|m| m.name.as_str()).collect();
            if running.is_empty() {
                return Ok(0);
            }
            let args: Vec<&str> = std::iter::once("halt").chain(running.iter().copied()).collect();
            self.site.ok(&cx, self.operation, &args, true).await?;
            Ok(running.len())
        })
        .await
    }

    pub(super) async fn destroy(&self, cx: &Context) -> Result<Destroyed> {
        if self.config.dir.is_none() && !self.site.folder.is_dir() {
            return Ok(Destroyed { changed: 0 });
        }
        let intent = json!({"folder": self.site.folder.display().to_string(), "operation": "destroy"});
        cx.effect_idempotent("destroy", intent, |cx| async move {
            self.site.wait_for_survivor(&cx, self.operation).await?;
            let machines = self.site.machines(&cx, self.operation).await?;
            let wanted = match self.config.dir {
                Some(_) => self.wanted(&machines)?,
                // Also those that the spec had once.
                None => machines.iter().map(|m| m.name.clone()).collect(),
            };
            let exists = |m: &&Machine| m.exists() && wanted.contains(&m.name);
            let names: Vec<&str> = machines.iter().filter(exists).map(|m| m.name.as_str()).collect();
            if !names.is_empty() {
                let args: Vec<&str> = ["destroy", "-f"].into_iter().chain(names.iter().copied()).collect();
                self.site.ok(&cx, self.operation, &args, true).await?;
                let left = self.site.machines(&cx, self.operation).await?;
                if let Some(machine) = left.iter().find(exists) {
                    let what = "a machine is still there after vagrant has destroyed it";
                    return Err(Error::new(ErrorKind::ToolFailed, VAGRANT, self.operation, what)
                        .with("machine", &machine.name)
                        .with("state", &machine.state));
                }
            }
            if self.config.dir.is_none() {
                let folder = &self.site.folder;
                std::fs::remove_dir_all(folder).map_err(|e| storage(self.operation, folder, e))?;
            }
            Ok(Destroyed { changed: names.len() })
        })
        .await
    }
}
