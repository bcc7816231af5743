//! What exists, and what would change.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;
use towpath_core::{
    Action, Change, ConnectionSpec, Context, Environment, Error, ErrorKind, Group, Host, Inventory, Json, Plan,
    Resource, Result, Vars,
};

use super::{LOCAL, Local, storage};
use crate::process::ProcessId;
use crate::state::{EnvironmentDir, EnvironmentRecord, HostRecord};
use crate::{LocalMode, host};

impl Local {
    /// Plain mode, if plain hosts can be kept from this machine's files or need not be.
    pub(super) fn plain(&self, why_not_namespaces: Option<String>) -> Result<(LocalMode, Option<String>)> {
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
    pub(super) fn mode(
        &self,
        dir: &EnvironmentDir,
        record: Option<&EnvironmentRecord>,
    ) -> Result<(LocalMode, Option<String>)> {
        if self.config.mode == LocalMode::Plain {
            return self.plain(None);
        }
        // Asked for `auto`, an environment stays as it is.
        if let (LocalMode::Auto, Some(record)) = (self.config.mode, record) {
            // On another kernel than the one that it was made on, plain hosts may be unguarded.
            return if record.mode == LocalMode::Plain { self.plain(None) } else { Ok((record.mode, None)) };
        }
        let there = existing_part(&dir.0);
        let layered = host::layered(&there);
        // Whether namespaces work is another question than where the folder is.
        let scratch = if layered.is_some() { std::env::temp_dir() } else { there };
        match (host::namespaces_work(&scratch), self.config.mode) {
            (Ok(()), _) => match layered {
                None => Ok((LocalMode::Namespace, None)),
                Some(layered) => Err(Error::new(
                    ErrorKind::InvalidInput,
                    LOCAL,
                    "mode",
                    format!(
                        "the folder of the local hosts is in {}, of which each host has a copy-on-write view, and such a view \
                         can't be kept in what it shows; choose a folder elsewhere (`--store`, `state_dir`)",
                        layered.display()
                    ),
                )
                .with("path", dir.0.display())),
            },
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
    pub(super) async fn look(&self, cx: &Context, dir: &EnvironmentDir) -> Result<Look> {
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

    /// The environment as the record says.
    pub(super) fn environment(
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
                LocalMode::Plain => {
                    let tree = dir.host(&name).tree();
                    let note = format!(
                        "this host runs in plain mode: commands run as this user, and nothing outside its folder {} may be written; \
                         name a path below `towpath_root`",
                        tree.display()
                    );
                    vars.insert("towpath_note".into(), note.into());
                    text(tree)
                }
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
}

pub(super) struct Look {
    pub(super) record: Option<EnvironmentRecord>,
    pub(super) mode: LocalMode,
    pub(super) plan: Plan,
    pub(super) alive: BTreeMap<String, ProcessId>,
}

/// The running process of a host: the recorded one, if it lives and answers to its token.
pub(super) fn find_process(dir: &EnvironmentDir, name: &str, host: &HostRecord) -> Option<ProcessId> {
    let id = dir.host(name).read_process().ok().flatten()?;
    (id.token == host.token && id.is_alive()).then_some(id)
}

pub(super) fn existing_part(path: &Path) -> PathBuf {
    path.ancestors().find(|p| p.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

/// What a mode means for people: shown by plan and preflight.
pub(super) fn mode_notes(mode: LocalMode, why_plain: Option<&str>) -> Vec<String> {
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
