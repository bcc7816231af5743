//! A connection to this machine, for `connection: local` and tasks that are delegated to localhost.

use std::process::Stdio;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::process::{Child, Command};
use towpath_core::{
    Become, BecomeMethod, Connection, Context, Endpoint, Error, ErrorKind, Exec, ExecOutput, ExitStatus, Process,
    ProcessControl, Program, PutOptions, RemoteGroup, Result, Source, Stream, shell_quote,
};

use crate::PLAYBOOK;

/// Runs commands as children of this process.
#[derive(Debug)]
pub(crate) struct LocalConnection {
    host: String,
}

struct Control(Child);

fn unsupported<T>(what: &'static str) -> Result<T> {
    Err(Error::new(ErrorKind::Unsupported, PLAYBOOK, what, "a local connection runs commands and nothing else"))
}

impl LocalConnection {
    pub(crate) fn open(host: &str) -> Arc<dyn Connection> {
        Arc::new(Self { host: host.to_owned() })
    }

    /// The words that run `argv` as another user.
    fn becoming(&self, become_: &Become, argv: Vec<String>) -> Result<Vec<String>> {
        if become_.password.is_some() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                PLAYBOOK,
                "become",
                "a become password is not supported on a local connection; let sudo ask for none, or use SSH",
            )
            .with("host", &self.host));
        }
        let mut words: Vec<String> = match become_.method {
            BecomeMethod::Sudo => ["sudo", "-n", "-H"].map(str::to_owned).to_vec(),
            BecomeMethod::Su => vec!["su".to_owned()],
        };
        words.extend(become_.flags.iter().cloned());
        match become_.method {
            BecomeMethod::Sudo => {
                words.extend(["-u".to_owned(), become_.user.clone(), "--".to_owned()]);
                words.extend(argv);
            }
            BecomeMethod::Su => {
                let line = argv.iter().map(|a| shell_quote(a)).collect::<Vec<_>>().join(" ");
                words.extend([become_.user.clone(), "-c".to_owned(), format!("exec {line}")]);
            }
        }
        Ok(words)
    }
}

#[async_trait]
impl Connection for LocalConnection {
    fn host(&self) -> &str {
        &self.host
    }

    async fn exec(&self, _: &Context, _: &Exec) -> Result<ExecOutput> {
        unsupported("exec")
    }

    async fn spawn(&self, _: &Context, command: &Exec) -> Result<Process> {
        let mut argv = match &command.program {
            Program::Argv(words) => words.clone(),
            Program::Script(text) => vec!["/bin/sh".to_owned(), "-c".to_owned(), text.clone()],
        };
        if let Some(become_) = &command.r#become {
            argv = self.becoming(become_, argv)?;
        }
        let mut words = argv.iter();
        let mut child = Command::new(words.next().map_or("/bin/sh", String::as_str));
        child.args(words).envs(command.env.iter().cloned());
        if let Some(dir) = &command.cwd {
            child.current_dir(dir);
        }
        // A group of its own: Ctrl-C reaches this process only, which then ends it in order.
        child.process_group(0);
        child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let failed = |e: std::io::Error| {
            Error::new(ErrorKind::Unreachable, PLAYBOOK, "spawn", "a command can't be started on this machine")
                .with("host", &self.host)
                .caused_by(e)
        };
        let mut child = child.spawn().map_err(failed)?;
        let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(failed(std::io::Error::other("no pipes")));
        };
        Ok(Process {
            stdin: Box::new(stdin),
            stdout: Box::new(stdout),
            stderr: Box::new(stderr),
            control: Box::new(Control(child)),
        })
    }

    async fn put(&self, _: &Context, _: Source, _: &str, _: &PutOptions) -> Result<()> {
        unsupported("put")
    }

    async fn get(&self, _: &Context, path: &str, limit_bytes: u64) -> Result<Bytes> {
        let bytes = tokio::fs::read(path).await.map_err(|e| {
            let kind = if e.kind() == std::io::ErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Denied };
            Error::new(kind, PLAYBOOK, "get", "a file can't be read").with("file", path).caused_by(e)
        })?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit_bytes {
            return Err(Error::new(ErrorKind::InvalidInput, PLAYBOOK, "get", "a file is too large").with("file", path));
        }
        Ok(bytes.into())
    }

    async fn dial(&self, _: &Context, to: &Endpoint) -> Result<Box<dyn Stream>> {
        let failed = |e: std::io::Error| {
            Error::new(ErrorKind::Unreachable, PLAYBOOK, "dial", "nobody listens there").caused_by(e)
        };
        Ok(match to {
            Endpoint::Tcp(host, port) => {
                Box::new(tokio::net::TcpStream::connect((host.as_str(), *port)).await.map_err(failed)?)
            }
            Endpoint::Unix(path) => Box::new(tokio::net::UnixStream::connect(path).await.map_err(failed)?),
        })
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
        let status = self.0.wait().await.map_err(|e| {
            Error::new(ErrorKind::Unreachable, PLAYBOOK, "wait", "a command on this machine is lost").caused_by(e)
        })?;
        Ok(ExitStatus::Code(status.code().unwrap_or(-1)))
    }

    async fn end(&mut self) -> Result<()> {
        // The shell's children are in its group; `kill` is the shell's own word, so that nothing unsafe is needed.
        if let Some(pid) = self.0.id() {
            let text = format!("kill -TERM -- -{pid} 2>/dev/null");
            let _ = Command::new("/bin/sh").arg("-c").arg(text).status().await;
        }
        let _ = self.0.kill().await;
        Ok(())
    }
}
