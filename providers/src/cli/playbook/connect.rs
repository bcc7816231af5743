//! The ways to hosts: SSH and containers. This machine is reached by the engine itself.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use crate::ssh::{Ssh, SshConfig};
use crate::{
    BecomeMethod, Capabilities, Connection, Connector, Context, Endpoint, Error, ErrorKind, Exec, ExecOutput,
    ExitStatus, Host, Preflight, Process, ProcessControl, Program, PutOptions, RemoteGroup, Result, Source, Stream,
};

/// Chooses the way by the host's `ansible_connection`.
#[derive(Debug)]
pub(crate) struct Ways {
    ssh: Ssh,
}

impl Ways {
    pub(crate) fn new() -> Self {
        Self { ssh: Ssh::new(SshConfig::default()) }
    }
}

fn error(kind: ErrorKind, operation: &'static str, message: impl Into<String>) -> Error {
    Error::new(kind, "playbook", operation, message)
}

#[async_trait]
impl Connector for Ways {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&["spawn", "become"])
    }

    async fn preflight(&self, _: &Context) -> Result<Preflight> {
        Ok(Preflight::default())
    }

    async fn connect(&self, cx: &Context, host: &Host) -> Result<Arc<dyn Connection>> {
        let enter = match host.connection.kind.as_str() {
            "" | "ssh" => return self.ssh.connect(cx, host).await,
            "docker" => {
                let container = host.connection.address.clone().unwrap_or_else(|| host.name.clone());
                if container.starts_with('-') {
                    return Err(error(ErrorKind::InvalidInput, "connect", "this is no name of a container")
                        .with("host", &host.name));
                }
                let mut words = vec!["docker".to_owned(), "exec".into(), "-i".into()];
                if let Some(user) = &host.connection.user {
                    words.extend(["-u".to_owned(), user.clone()]);
                }
                words.push(container);
                let mut test = Command::new("docker");
                test.args(words.get(1..).unwrap_or_default()).arg("true").stdin(Stdio::null());
                let out = test.output().await.map_err(|e| {
                    error(ErrorKind::ToolMissing, "connect", "`docker` can't be run")
                        .with("host", &host.name)
                        .caused_by(e)
                })?;
                if !out.status.success() {
                    let said = String::from_utf8_lossy(&out.stderr).trim().to_owned();
                    return Err(error(ErrorKind::Unreachable, "connect", said).with("host", &host.name));
                }
                words
            }
            other => {
                let message =
                    format!("the connection type `{other}` is not supported: there are ssh, local and docker");
                return Err(error(ErrorKind::InvalidInput, "connect", message).with("host", &host.name));
            }
        };
        Ok(Arc::new(Piped { host: host.name.clone(), enter }))
    }
}

/// Commands behind some words of their own: `docker exec ...`.
#[derive(Debug)]
struct Piped {
    host: String,
    enter: Vec<String>,
}

struct Control(Child);

impl Piped {
    fn unsupported<T>(&self, operation: &'static str) -> Result<T> {
        Err(error(ErrorKind::Unsupported, operation, "this connection runs commands only").with("host", &self.host))
    }
}

/// Says on standard error that it runs, then becomes its arguments: so a prompt of sudo is told from the command's own words.
const STARTED: &str = r#"printf '%s\n' "$0" >&2; exec "$@""#;

#[async_trait]
impl Connection for Piped {
    fn host(&self) -> &str {
        &self.host
    }

    async fn exec(&self, _: &Context, _: &Exec) -> Result<ExecOutput> {
        self.unsupported("exec")
    }

    async fn spawn(&self, cx: &Context, command: &Exec) -> Result<Process> {
        cx.check("playbook", "spawn")?;
        if !command.env.is_empty() || command.cwd.is_some() {
            // Both would be the client's; the engine's shells set theirs themselves.
            return self.unsupported("spawn with an environment or a folder");
        }
        let (token, prompt) =
            (format!("<{:032x}>", rand::random::<u128>()), format!("[{:016x}] ", rand::random::<u64>()));
        let mut argv = self.enter.clone();
        let to = command.r#become.as_ref();
        if let Some(to) = to {
            if to.user.is_empty() || to.user.starts_with('-') {
                return Err(
                    error(ErrorKind::InvalidInput, "spawn", "the user to become is not a name").with("user", &to.user)
                );
            }
            let words: Vec<&str> = match (to.method, &to.password) {
                (BecomeMethod::Sudo, None) => vec!["sudo", "-H", "-n", "-u", &to.user],
                (BecomeMethod::Sudo, Some(_)) => vec!["sudo", "-H", "-S", "-p", &prompt, "-u", &to.user],
                (BecomeMethod::Su, _) => vec!["su", "-s", "/bin/sh"],
            };
            argv.extend(words.into_iter().map(str::to_owned));
            argv.extend(to.flags.iter().cloned());
            match to.method {
                BecomeMethod::Sudo => argv.push("--".into()),
                BecomeMethod::Su => {
                    // su takes one text, which it gives to the shell.
                    let inner: Vec<String> =
                        ["/bin/sh", "-c", STARTED, &token].iter().map(|w| crate::shell_quote(w)).collect();
                    argv.extend([
                        to.user.clone(),
                        "-c".into(),
                        format!("exec {} {}", inner.join(" "), words_of(command)?.join(" ")),
                    ]);
                }
            }
        }
        if to.is_none_or(|to| to.method == BecomeMethod::Sudo) {
            argv.extend(["/bin/sh", "-c", STARTED, &token].map(str::to_owned));
            argv.extend(plain_words(command)?);
        }
        let (program, rest) =
            argv.split_first().ok_or_else(|| error(ErrorKind::Internal, "spawn", "there is no program"))?;
        let mut child = Command::new(program);
        child.args(rest).process_group(0);
        child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = child.spawn().map_err(|e| {
            error(ErrorKind::ToolMissing, "spawn", format!("`{program}` can't be run"))
                .with("host", &self.host)
                .caused_by(e)
        })?;
        let (Some(mut stdin), Some(stdout), Some(mut stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(error(ErrorKind::Internal, "spawn", "a child has no streams"));
        };
        let secret = to.and_then(|to| {
            Some((to.password.as_ref()?, if to.method == BecomeMethod::Su { ": " } else { prompt.as_str() }))
        });
        let began = begun(&mut stdin, &mut stderr, &token, secret);
        match tokio::time::timeout(Duration::from_secs(30), began).await {
            Ok(Ok(())) => {}
            Ok(Err(said)) => {
                let _ = child.kill().await;
                return Err(error(ErrorKind::Denied, "spawn", said).with("host", &self.host));
            }
            Err(_) => {
                let _ = child.kill().await;
                return Err(error(ErrorKind::Timeout, "spawn", "the command did not start within 30 s")
                    .with("host", &self.host));
            }
        }
        Ok(Process {
            stdin: Box::new(stdin),
            stdout: Box::new(stdout),
            stderr: Box::new(stderr),
            control: Box::new(Control(child)),
        })
    }

    async fn put(&self, _: &Context, _: Source, _: &str, _: &PutOptions) -> Result<()> {
        self.unsupported("put")
    }

    async fn get(&self, _: &Context, _: &str, _: u64) -> Result<Bytes> {
        self.unsupported("get")
    }

    async fn dial(&self, _: &Context, _: &Endpoint) -> Result<Box<dyn Stream>> {
        self.unsupported("dial")
    }

    async fn end_group(&self, _: &Context, _: &RemoteGroup) -> Result<bool> {
        self.unsupported("end_group")
    }

    async fn close(&self) {}
}

fn plain_words(command: &Exec) -> Result<Vec<String>> {
    match &command.program {
        Program::Argv(words) if !words.is_empty() => Ok(words.clone()),
        Program::Argv(_) => Err(error(ErrorKind::InvalidInput, "spawn", "there is no program to run")),
        Program::Script(script) => Ok(vec!["/bin/sh".into(), "-c".into(), script.clone()]),
    }
}

fn words_of(command: &Exec) -> Result<Vec<String>> {
    Ok(plain_words(command)?.iter().map(|w| crate::shell_quote(w)).collect())
}

/// Waits until the command says that it runs; answers a prompt once. The error is what was said instead.
async fn begun(
    stdin: &mut tokio::process::ChildStdin,
    stderr: &mut tokio::process::ChildStderr,
    token: &str,
    secret: Option<(&crate::Secret, &str)>,
) -> std::result::Result<(), String> {
    let mut seen: Vec<u8> = Vec::new();
    let mut answered = false;
    let mark = format!("{token}\n");
    loop {
        if seen.windows(mark.len()).any(|w| w == mark.as_bytes()) {
            return Ok(());
        }
        if let Some((password, prompt)) = secret.filter(|(_, p)| seen.windows(p.len()).any(|w| w == p.as_bytes())) {
            if answered {
                return Err("Incorrect become password".into());
            }
            answered = true;
            seen.clear();
            let line = zeroize::Zeroizing::new(format!("{}\n", password.expose()));
            stdin.write_all(line.as_bytes()).await.and(stdin.flush().await).map_err(|e| format!("{prompt}{e}"))?;
        }
        // Byte by byte: what comes behind the mark is the command's own.
        match stderr.read_u8().await {
            Ok(byte) if seen.len() < 64 << 10 => seen.push(byte),
            _ => {
                let said = String::from_utf8_lossy(&seen).trim().to_owned();
                return Err(if said.is_empty() { "the command ended before it began".into() } else { said });
            }
        }
    }
}

#[async_trait]
impl ProcessControl for Control {
    fn group(&self) -> Option<RemoteGroup> {
        None
    }

    async fn wait(&mut self) -> Result<ExitStatus> {
        let status = self.0.wait().await;
        let status = status.map_err(|e| error(ErrorKind::ToolFailed, "wait", "a command was lost").caused_by(e))?;
        Ok(ExitStatus::Code(status.code().unwrap_or(255)))
    }

    async fn end(&mut self) -> Result<()> {
        if let Some(pid) = self.0.id().and_then(|p| i32::try_from(p).ok()) {
            let _ = nix::sys::signal::killpg(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
        }
        let _ = tokio::time::timeout(Duration::from_secs(5), self.0.wait()).await;
        let _ = self.0.kill().await;
        Ok(())
    }
}
