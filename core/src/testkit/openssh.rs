//! A connector through the `ssh` command: what a provider's tests reach an [`Sshd`](super::Sshd) with, since a provider may not
//! know another one.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::{
    Become, Capabilities, Connection, Connector, Context, Endpoint, Error, ErrorKind, Exec, ExecOutput, ExitStatus,
    Host, Preflight, Process, ProcessControl, Program, PutOptions, RemoteGroup, Result, Source, Stream, shell_quote,
};

const NAME: &str = "openssh";

/// Reaches hosts that [`Sshd::host`](super::Sshd::host) gives, through OpenSSH's own client. Becomes another user by sudo without
/// a password; dials nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenSsh;

/// A host, behind the words that lead to it.
#[derive(Debug, Clone)]
struct Way {
    host: String,
    ssh: Vec<String>,
}

struct Control {
    way: Way,
    child: Child,
    group: RemoteGroup,
    until: Option<tokio::time::Instant>,
    over: Option<ExitStatus>,
}

fn error(kind: ErrorKind, operation: &'static str, host: &str, message: impl Into<String>) -> Error {
    Error::new(kind, NAME, operation, message).with("host", host)
}

#[async_trait]
impl Connector for OpenSsh {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&["become", "exec", "get", "put", "signal", "spawn"])
    }

    async fn preflight(&self, _: &Context) -> Result<Preflight> {
        Ok(Preflight::default())
    }

    async fn connect(&self, cx: &Context, host: &Host) -> Result<Arc<dyn Connection>> {
        cx.check(NAME, "connect")?;
        let option = |name: &str| host.connection.options.get(name).and_then(crate::Json::as_str).unwrap_or_default();
        let key = PathBuf::from(option("identity_file"));
        // One connection carries all commands of a host, as a real connector's does.
        let control = key.with_file_name(format!("to-{}", host.connection.port.unwrap_or(22)));
        let ssh = [
            "ssh",
            "-F",
            "none",
            "-T",
            "-o",
            "BatchMode=yes",
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "ControlMaster=auto",
            "-o",
            "ControlPersist=60",
            "-o",
            "LogLevel=ERROR",
            "-o",
            &format!("ControlPath={}", control.display()),
            "-o",
            &format!("UserKnownHostsFile={}", option("known_hosts")),
            "-i",
            option("identity_file"),
            "-p",
            &host.connection.port.unwrap_or(22).to_string(),
            "-l",
            host.connection.user.as_deref().unwrap_or("root"),
            host.connection.address.as_deref().unwrap_or(&host.name),
        ]
        .map(str::to_owned)
        .to_vec();
        let way = Way { host: host.name.clone(), ssh };
        let mut command = way.command("exit 0");
        let up = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().await;
        match up {
            Ok(status) if status.success() => Ok(Arc::new(way)),
            _ => Err(error(ErrorKind::Unreachable, "connect", &host.name, "nobody answers").retry_later()),
        }
    }
}

/// Says its process group, then reads its text from standard input up to a random line, so that nothing of it is an argument.
const WRAPPER: &str = r#"read -r l </proc/$$/stat
set -- ${l##*) }; g=$3
read -r l </proc/$g/stat
set -- ${l##*) }; shift 9; shift 9
printf '%s %s %s\n' $t $g $2 >&2
p=
while IFS= read -r l; do
[ "$l" = $t ] && break
p="$p$l
"
done
eval "$p""#;

/// TERM, 5 s, KILL. Exits with 3 if it is gone or somebody else's.
fn end_script(group: &RemoteGroup) -> String {
    format!(
        r#"g={} w={}
if read -r l 2>/dev/null </proc/$g/stat; then set -- ${{l##*) }}; shift 9; shift 9; [ "$2" = "$w" ] || exit 3; fi
alive() {{
kill -s 0 -- "-$g" 2>/dev/null || return 1
for f in /proc/[0-9]*/stat; do
read -r l 2>/dev/null <"$f" || continue
set -- ${{l##*) }}
[ "$3" = "$g" ] && [ "$1" != Z ] && [ "$1" != X ] && return 0
done
return 1
}}
kill -s TERM -- "-$g" 2>/dev/null || exit 3
i=0
while alive; do i=$((i+1)); [ $i -le 50 ] || kill -s KILL -- "-$g"; [ $i -le 80 ] || exit 4; sleep 0.1; done"#,
        group.pgid, group.started
    )
}

impl Way {
    fn command(&self, line: &str) -> Command {
        let (program, words) = self.ssh.split_first().expect("it begins with ssh");
        let mut command = Command::new(program);
        command.args(words).arg(line);
        command
    }

    /// Starts a command and waits until it has said its group.
    async fn begin(&self, cx: &Context, exec: &Exec) -> Result<Process> {
        cx.check(NAME, "exec").map_err(|e| e.with("host", &self.host))?;
        let token = format!("towpath-{}", uuid::Uuid::now_v7().simple());
        let text = shell_quote(&format!("t={token}\n{WRAPPER}"));
        let line = match &exec.r#become {
            None => format!("exec /bin/sh -c {text}"),
            Some(Become { user, .. }) => format!("exec sudo -n -H -u {} -- /bin/sh -c {text}", shell_quote(user)),
        };
        let mut text = String::from("unset t g l p; set --\n");
        for (name, value) in &exec.env {
            text.push_str(&format!("export {name}={}\n", shell_quote(value)));
        }
        match &exec.cwd {
            Some(dir) => text.push_str(&format!("cd -- {} || exit 1\n", shell_quote(dir))),
            None => text.push_str("cd\n"),
        }
        match &exec.program {
            Program::Argv(argv) => {
                let words: Vec<String> = argv.iter().map(|w| shell_quote(w)).collect();
                text.push_str(&format!("exec {}\n", words.join(" ")));
            }
            Program::Script(script) => text.push_str(&format!("{script}\n")),
        }
        text.push_str(&format!("{token}\n"));
        let mut command = self.command(&line);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let broken = |what: String| error(ErrorKind::Unreachable, "exec", &self.host, what).retry_later();
        let mut child = piped.spawn().map_err(|e| broken(e.to_string()))?;
        let (mut to, mut stderr) = (child.stdin.take().unwrap(), BufReader::new(child.stderr.take().unwrap()));
        let stdout = child.stdout.take().unwrap();
        let (stdin, mut reader) = tokio::io::duplex(1 << 16);
        let first = exec.stdin.clone().unwrap_or_default();
        tokio::spawn(async move {
            // A command may end without reading all of it.
            if to.write_all(text.as_bytes()).await.is_ok() && to.write_all(&first).await.is_ok() {
                let _ = tokio::io::copy(&mut reader, &mut to).await;
            }
        });
        let mut said = String::new();
        let group = loop {
            said.clear();
            let read = tokio::io::AsyncBufReadExt::read_line(&mut stderr, &mut said).await;
            if !read.is_ok_and(|n| n > 0) {
                return Err(broken("the command did not start".into()));
            }
            let Some(numbers) = said.strip_prefix(&token) else { continue };
            let mut numbers = numbers.split_whitespace().map(|n| n.parse::<u64>().unwrap_or_default());
            break RemoteGroup {
                host: self.host.clone(),
                pgid: u32::try_from(numbers.next().unwrap_or_default()).unwrap_or_default(),
                started: numbers.next().unwrap_or_default(),
                boot: String::new(),
                user: exec.r#become.as_ref().map(|b| b.user.clone()),
                command: exec.shown(),
            };
        };
        if cx.step().is_some() {
            cx.note(&format!("group/{}", group.pgid), serde_json::to_value(&group).unwrap()).await?;
        }
        let until = [exec.timeout.map(|d| tokio::time::Instant::now() + d), cx.deadline().map(Into::into)];
        let until = until.into_iter().flatten().min();
        let control = Control { way: self.clone(), child, group, until, over: None };
        Ok(Process {
            stdin: Box::new(stdin),
            stdout: Box::new(stdout),
            stderr: Box::new(stderr),
            control: Box::new(control),
        })
    }

    async fn end(&self, group: &RemoteGroup) -> Result<bool> {
        let script = shell_quote(&end_script(group));
        let line = match &group.user {
            None => format!("exec /bin/sh -c {script}"),
            Some(user) => format!("exec sudo -n -u {} -- /bin/sh -c {script}", shell_quote(user)),
        };
        let mut command = self.command(&line);
        let ended = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().await;
        match ended.ok().and_then(|s| s.code()) {
            Some(0) => Ok(true),
            Some(3) => Ok(false),
            _ => Err(error(ErrorKind::ToolFailed, "end_group", &self.host, "a process group can't be ended")),
        }
    }
}

#[async_trait]
impl ProcessControl for Control {
    fn group(&self) -> Option<RemoteGroup> {
        Some(self.group.clone())
    }

    async fn wait(&mut self) -> Result<ExitStatus> {
        if let Some(status) = &self.over {
            return Ok(status.clone());
        }
        let late = async {
            match self.until {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            ended = self.child.wait() => ended,
            () = late => {
                self.way.end(&self.group).await?;
                return Err(error(ErrorKind::Timeout, "exec", &self.way.host, "out of time; the command was ended"));
            }
        };
        let status = match ended.ok().and_then(|s| s.code()) {
            // OpenSSH's own status: the connection broke.
            Some(255) | None => return Err(error(ErrorKind::Unreachable, "exec", &self.way.host, "it broke")),
            Some(code) => ExitStatus::Code(code),
        };
        self.over = Some(status.clone());
        Ok(status)
    }

    async fn end(&mut self) -> Result<()> {
        if self.over.is_none() {
            self.way.end(&self.group).await?;
            self.over = Some(ExitStatus::Signal("TERM".into()));
        }
        Ok(())
    }
}

#[async_trait]
impl Connection for Way {
    fn host(&self) -> &str {
        &self.host
    }

    async fn exec(&self, cx: &Context, command: &Exec) -> Result<ExecOutput> {
        let Process { stdin, mut stdout, mut stderr, mut control } = self.begin(cx, command).await?;
        drop(stdin);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let status = {
            let all = async {
                let (a, b, status) =
                    tokio::join!(stdout.read_to_end(&mut out), stderr.read_to_end(&mut err), control.wait());
                let _ = (a, b);
                status
            };
            tokio::select! {
                status = all => Some(status?),
                () = cx.cancelled() => None,
            }
        };
        match status {
            Some(status) => Ok(ExecOutput { status, stdout: out.into(), stderr: err.into() }),
            None => {
                control.end().await?;
                Err(error(ErrorKind::Cancelled, "exec", &self.host, "cancelled; the command was ended"))
            }
        }
    }

    async fn spawn(&self, cx: &Context, command: &Exec) -> Result<Process> {
        self.begin(cx, command).await
    }

    async fn put(&self, cx: &Context, source: Source, path: &str, options: &PutOptions) -> Result<()> {
        let bytes = match source {
            Source::Bytes(bytes) => bytes,
            Source::File(file) => tokio::fs::read(&file).await.unwrap().into(),
        };
        let owner = match (&options.owner, &options.group) {
            (None, None) => String::new(),
            (owner, group) => {
                let group = group.as_ref().map(|g| format!(":{g}")).unwrap_or_default();
                let who = shell_quote(&format!("{}{group}", owner.as_deref().unwrap_or_default()));
                format!("chown -- {who} \"$t\" || exit 47\n")
            }
        };
        let script = format!(
            r#"f={} m={}
d=${{f%/*}}; d=${{d:-/}}; [ -d "$d" ] || exit 44
t=$d/.towpath-put-$$; umask 077; trap 'rm -f -- "$t"' EXIT
cat >"$t" || exit 43
[ -n "$m" ] || {{ [ -f "$f" ] && m=$(stat -c %a -- "$f"); }}
{owner}chmod -- "${{m:-600}}" "$t" && mv -f -- "$t" "$f" || exit 48"#,
            shell_quote(path),
            options.mode.map(|m| format!("{m:o}")).unwrap_or_default(),
        );
        let mut exec = Exec::script(script).stdin(bytes);
        exec.r#become = options.r#become.clone();
        exec.label = Some(format!("put {path}"));
        let out = self.exec(cx, &exec).await?;
        let kind = match out.status {
            ExitStatus::Code(0) => return Ok(()),
            ExitStatus::Code(43) => ErrorKind::Denied,
            ExitStatus::Code(44) => ErrorKind::NotFound,
            _ => ErrorKind::ToolFailed,
        };
        Err(error(kind, "put", &self.host, "the file can't be written").with("path", path).caused_by(out.stderr_text()))
    }

    async fn get(&self, cx: &Context, path: &str, limit_bytes: u64) -> Result<Bytes> {
        let out = self.exec(cx, &Exec::argv(["cat", "--", path])).await?;
        if !out.status.is_success() {
            return Err(error(ErrorKind::NotFound, "get", &self.host, "the file can't be read").with("path", path));
        }
        if out.stdout.len() as u64 > limit_bytes {
            return Err(error(ErrorKind::InvalidInput, "get", &self.host, "it is larger than the limit"));
        }
        Ok(out.stdout)
    }

    async fn dial(&self, _: &Context, _: &Endpoint) -> Result<Box<dyn Stream>> {
        Err(error(ErrorKind::Unsupported, "dial", &self.host, "not in this connector"))
    }

    async fn end_group(&self, _: &Context, group: &RemoteGroup) -> Result<bool> {
        tokio::time::timeout(Duration::from_secs(30), self.end(group))
            .await
            .unwrap_or_else(|_| Err(error(ErrorKind::Timeout, "end_group", &self.host, "it does not end")))
    }

    async fn close(&self) {}
}
