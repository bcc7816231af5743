//! A connector into containers, without SSH.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::process::{Child, Command};
use towpath_core::testkit::Sshd;
use towpath_core::{
    Become, Capabilities, Connection, Connector, Context, Endpoint, Error, ErrorKind, Event, Exec, ExecOutput,
    ExitStatus, Host, Inventory, Preflight, Process, ProcessControl, Program, PutOptions, RemoteGroup, Result, Source,
    Stream, Targets,
};
use towpath_playbook::{Playbook, PlaybookConfig};

/// Runs commands by `docker exec`; the host's address is the container.
#[derive(Debug)]
pub(crate) struct DockerExec;

/// A host whose commands are children of this process, behind some words of their own: `docker exec ...`, or none.
#[derive(Debug)]
pub(crate) struct Piped {
    pub(crate) host: String,
    pub(crate) enter: Vec<String>,
    /// Whether sudo makes another user of them; else they stay who they are.
    pub(crate) sudo: bool,
}

struct Control(Child);

fn unsupported<T>(what: &'static str) -> Result<T> {
    Err(Error::new(ErrorKind::Unsupported, "piped", what, "not in this connector"))
}

#[async_trait]
impl Connector for DockerExec {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&["spawn", "become"])
    }

    async fn preflight(&self, _: &Context) -> Result<Preflight> {
        Ok(Preflight::default())
    }

    async fn connect(&self, _: &Context, host: &Host) -> Result<Arc<dyn Connection>> {
        let id = host.connection.address.clone().unwrap_or_default();
        let up =
            Command::new("docker").args(["exec", &id, "true"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !up.await.is_ok_and(|s| s.success()) {
            return Err(Error::new(ErrorKind::Unreachable, "docker-exec", "connect", "no such container")
                .with("host", &host.name));
        }
        let enter = ["docker", "exec", "-i", "-u", "deploy", "-w", "/home/deploy", &id].map(str::to_owned).to_vec();
        Ok(Arc::new(Piped { host: host.name.clone(), enter, sudo: true }))
    }
}

#[async_trait]
impl Connection for Piped {
    fn host(&self) -> &str {
        &self.host
    }

    async fn exec(&self, _: &Context, _: &Exec) -> Result<ExecOutput> {
        unsupported("exec")
    }

    async fn spawn(&self, _: &Context, command: &Exec) -> Result<Process> {
        let mut argv = self.enter.clone();
        if let (Some(Become { user, .. }), true) = (&command.r#become, self.sudo) {
            argv.extend(["sudo", "-n", "-H", "-u", user].map(str::to_owned));
        }
        match &command.program {
            Program::Argv(words) => argv.extend(words.iter().cloned()),
            Program::Script(_) => return unsupported("script"),
        }
        let mut child = Command::new(&argv[0]);
        child.args(&argv[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = child.spawn().unwrap();
        Ok(Process {
            stdin: Box::new(child.stdin.take().unwrap()),
            stdout: Box::new(child.stdout.take().unwrap()),
            stderr: Box::new(child.stderr.take().unwrap()),
            control: Box::new(Control(child)),
        })
    }

    async fn put(&self, _: &Context, _: Source, _: &str, _: &PutOptions) -> Result<()> {
        unsupported("put")
    }

    async fn get(&self, _: &Context, _: &str, _: u64) -> Result<Bytes> {
        unsupported("get")
    }

    async fn dial(&self, _: &Context, _: &Endpoint) -> Result<Box<dyn Stream>> {
        unsupported("dial")
    }

    async fn end_group(&self, _: &Context, _: &RemoteGroup) -> Result<bool> {
        unsupported("end_group")
    }

    async fn close(&self) {}
}

#[async_trait]
impl ProcessControl for Control {
    fn group(&self) -> Option<RemoteGroup> {
        None
    }

    async fn wait(&mut self) -> Result<ExitStatus> {
        Ok(ExitStatus::Code(self.0.wait().await.unwrap().code().unwrap_or(-1)))
    }

    async fn end(&mut self) -> Result<()> {
        self.0.kill().await.ok();
        Ok(())
    }
}

pub(crate) fn host(name: &str, container: &str) -> Host {
    let mut host = Host { name: name.into(), ..Host::default() };
    host.connection.address = Some(container.into());
    host
}

/// Containers, a folder for playbooks, and every event.
pub(crate) struct World {
    pub(crate) servers: Vec<Sshd>,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) targets: Targets,
    pub(crate) cx: Context,
    pub(crate) events: Arc<Mutex<Vec<Event>>>,
}

impl World {
    pub(crate) fn new(hosts: usize) -> Option<Self> {
        Some(Self::of((0..hosts).map(|_| Sshd::start()).collect::<Option<Vec<_>>>()?))
    }

    /// Of servers that are there.
    pub(crate) fn of(servers: Vec<Sshd>) -> Self {
        let hosts = servers.iter().enumerate().map(|(i, s)| host(&format!("web-{}", i + 1), &s.id)).collect();
        let targets = Targets::new(Inventory { hosts, ..Inventory::default() }, Arc::new(DockerExec));
        let events: Arc<Mutex<Vec<Event>>> = Arc::default();
        let seen = events.clone();
        let cx = Context::builder().listener(Arc::new(move |e: &Event| seen.lock().unwrap().push(e.clone()))).build();
        Self { servers, dir: tempfile::tempdir().unwrap(), targets, cx, events }
    }

    pub(crate) fn write(&self, path: &str, text: &str) -> PathBuf {
        write(self.dir.path(), path, text)
    }

    pub(crate) fn playbook(&self, config: PlaybookConfig) -> Playbook {
        Playbook::new(config, self.dir.path()).unwrap()
    }
}

pub(crate) fn write(dir: &Path, path: &str, text: &str) -> PathBuf {
    let path = dir.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path
}
