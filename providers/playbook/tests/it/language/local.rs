//! A connector to this machine: every host is a shell of its own here.

use std::process::Stdio;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::process::{Child, Command};
use towpath_core::{
    Capabilities, Connection, Connector, Context, Endpoint, Error, ErrorKind, Exec, ExecOutput, ExitStatus, Host,
    Preflight, Process, ProcessControl, Program, PutOptions, RemoteGroup, Result, Source, Stream,
};

/// Runs everything here. A host with port 1 can't be reached.
#[derive(Debug)]
pub(crate) struct LocalShell;

#[derive(Debug)]
struct Here(String);

struct Control(Child);

fn unsupported<T>(what: &'static str) -> Result<T> {
    Err(Error::new(ErrorKind::Unsupported, "local-shell", what, "not in this connector"))
}

#[async_trait]
impl Connector for LocalShell {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&["spawn"])
    }

    async fn preflight(&self, _: &Context) -> Result<Preflight> {
        Ok(Preflight::default())
    }

    async fn connect(&self, _: &Context, host: &Host) -> Result<Arc<dyn Connection>> {
        if host.connection.port == Some(1) {
            return Err(Error::new(ErrorKind::Unreachable, "local-shell", "connect", "port 1 is closed"));
        }
        Ok(Arc::new(Here(host.name.clone())))
    }
}

#[async_trait]
impl Connection for Here {
    fn host(&self) -> &str {
        &self.0
    }

    async fn exec(&self, _: &Context, _: &Exec) -> Result<ExecOutput> {
        unsupported("exec")
    }

    async fn spawn(&self, _: &Context, command: &Exec) -> Result<Process> {
        let Program::Argv(argv) = &command.program else { return unsupported("script") };
        let mut shell = Command::new(&argv[0]);
        shell.args(&argv[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = shell.spawn().unwrap();
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
