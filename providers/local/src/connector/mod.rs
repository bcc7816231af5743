//! The connector `local`: commands and files of this machine itself, without any isolation.

mod group;
mod run;

use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt as _;
use towpath_core::{
    Capabilities, Connection, Connector, Context, Endpoint, Error, ErrorKind, Exec, ExecOutput, Host, Preflight,
    Process, PutOptions, RemoteGroup, Result, Source, Stream,
};

/// Name of the connector in the registry, and the `kind` of its connections.
pub(crate) const CONNECTOR: &str = "local";

/// Settings of the connector `local`: none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LocalConnectorConfig {}

/// Runs commands on this machine as this user, without any isolation. For `localhost` and for tests.
///
/// It cannot become another user: run the pipeline as that user, or reach the machine over SSH.
#[derive(Debug, Clone, Copy, Default)]
pub struct LocalConnector;

#[derive(Debug)]
struct Here {
    host: String,
}

#[async_trait]
impl Connector for LocalConnector {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&["exec", "spawn", "put", "get", "dial", "signal"])
    }

    async fn preflight(&self, cx: &Context) -> Result<Preflight> {
        cx.check(CONNECTOR, "preflight")?;
        Ok(Preflight { ok: vec!["connections `local` run on this machine, as this user".into()], warnings: Vec::new() })
    }

    async fn connect(&self, cx: &Context, host: &Host) -> Result<Arc<dyn Connection>> {
        cx.check(CONNECTOR, "connect")?;
        let unfit =
            |kind, message: String| Err(Error::new(kind, CONNECTOR, "connect", message).with("host", &host.name));
        if let Some(option) = host.connection.options.keys().next() {
            return unfit(
                ErrorKind::InvalidInput,
                format!("the connection option `{option}` is not known; `local` has none"),
            );
        }
        if let Some(address) = host.connection.address.as_deref()
            && !["localhost", "127.0.0.1", "::1"].contains(&address)
        {
            return unfit(
                ErrorKind::Unreachable,
                format!("{address} is not this machine: `local` reaches localhost only; use kind `ssh`"),
            );
        }
        if let Some(user) = host.connection.user.as_deref() {
            let own = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten().map(|u| u.name);
            if own.as_deref() != Some(user) {
                return unfit(ErrorKind::Denied, format!("`local` runs as this user, and can't log in as {user}"));
            }
        }
        Ok(Arc::new(Here { host: host.name.clone() }))
    }
}

impl Here {
    fn file(&self, operation: &'static str, path: &str, e: std::io::Error) -> Error {
        let (kind, what) = match e.kind() {
            std::io::ErrorKind::NotFound => (ErrorKind::NotFound, "no such file or folder"),
            std::io::ErrorKind::PermissionDenied => (ErrorKind::Denied, "this user may not do that"),
            _ => (ErrorKind::ToolFailed, "the file system said no"),
        };
        Error::new(kind, CONNECTOR, operation, what).with("host", &self.host).with("path", path).caused_by(e)
    }

    fn no_become(&self, operation: &'static str) -> Error {
        Error::new(ErrorKind::Unsupported, CONNECTOR, operation, "`local` can't become another user; use kind `ssh`")
            .with("host", &self.host)
    }
}

/// Number of a user or group given by name or number.
fn number(text: &str, by_name: impl Fn(&str) -> Option<u32>) -> std::io::Result<u32> {
    let found = text.parse().ok().or_else(|| by_name(text));
    found.ok_or_else(|| std::io::Error::other(format!("there is no user or group {text}")))
}

fn write_file(path: &Path, source: Source, options: &PutOptions) -> std::io::Result<()> {
    use std::io::Write as _;
    let name = path.file_name().ok_or_else(|| std::io::Error::other("the path names no file"))?.to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{:016x}", rand::random::<u64>()));
    let result = (|| {
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        match source {
            Source::Bytes(bytes) => file.write_all(&bytes)?,
            Source::File(from) => {
                std::io::copy(&mut std::fs::File::open(from)?, &mut file)?;
            }
        }
        let owner = options.owner.as_deref();
        let group = options.group.as_deref();
        let user =
            owner.map(|o| number(o, |n| Some(nix::unistd::User::from_name(n).ok()??.uid.as_raw()))).transpose()?;
        let group =
            group.map(|g| number(g, |n| Some(nix::unistd::Group::from_name(n).ok()??.gid.as_raw()))).transpose()?;
        if user.is_some() || group.is_some() {
            std::os::unix::fs::fchown(&file, user, group)?;
        }
        let old = std::fs::metadata(path).ok().map(|m| m.mode() & 0o7777);
        file.set_permissions(std::fs::Permissions::from_mode(options.mode.or(old).unwrap_or(0o600)))?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    })();
    if result.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    result
}

#[async_trait]
impl Connection for Here {
    fn host(&self) -> &str {
        &self.host
    }

    async fn exec(&self, cx: &Context, command: &Exec) -> Result<ExecOutput> {
        if command.r#become.is_some() {
            return Err(self.no_become("exec"));
        }
        run::exec(cx, &self.host, command).await
    }

    async fn spawn(&self, cx: &Context, command: &Exec) -> Result<Process> {
        if command.r#become.is_some() {
            return Err(self.no_become("spawn"));
        }
        run::spawn(cx, &self.host, command)
    }

    async fn put(&self, cx: &Context, source: Source, path: &str, options: &PutOptions) -> Result<()> {
        cx.check(CONNECTOR, "put")?;
        if options.r#become.is_some() {
            return Err(self.no_become("put"));
        }
        let (to, options) = (Path::new(path).to_owned(), options.clone());
        tokio::task::spawn_blocking(move || write_file(&to, source, &options))
            .await
            .map_err(|e| Error::new(ErrorKind::Internal, CONNECTOR, "put", "writing broke off").caused_by(e))?
            .map_err(|e| self.file("put", path, e))
    }

    async fn get(&self, cx: &Context, path: &str, limit_bytes: u64) -> Result<Bytes> {
        let read = async {
            let file = tokio::fs::File::open(path).await.map_err(|e| self.file("get", path, e))?;
            let mut bytes = Vec::new();
            let mut some = file.take(limit_bytes.saturating_add(1));
            some.read_to_end(&mut bytes).await.map_err(|e| self.file("get", path, e))?;
            if bytes.len() as u64 > limit_bytes {
                return Err(Error::new(ErrorKind::InvalidInput, CONNECTOR, "get", "the file is larger than the limit")
                    .with("path", path)
                    .with("limit_bytes", limit_bytes));
            }
            Ok(Bytes::from(bytes))
        };
        cx.guard(CONNECTOR, "get", read).await
    }

    async fn dial(&self, cx: &Context, to: &Endpoint) -> Result<Box<dyn Stream>> {
        let open = async {
            let opened: std::io::Result<Box<dyn Stream>> = match to {
                Endpoint::Tcp(address, port) => {
                    tokio::net::TcpStream::connect((address.as_str(), *port)).await.map(|s| Box::new(s) as _)
                }
                Endpoint::Unix(path) => tokio::net::UnixStream::connect(path).await.map(|s| Box::new(s) as _),
            };
            opened.map_err(|e| {
                let denied = e.kind() == std::io::ErrorKind::PermissionDenied;
                let kind = if denied { ErrorKind::Denied } else { ErrorKind::Unreachable };
                let error =
                    Error::new(kind, CONNECTOR, "dial", "nobody answers there").with("host", &self.host).caused_by(e);
                if denied { error } else { error.retry_later() }
            })
        };
        cx.guard(CONNECTOR, "dial", open).await
    }

    async fn end_group(&self, cx: &Context, group: &RemoteGroup) -> Result<bool> {
        cx.check(CONNECTOR, "end_group")?;
        group::end_recorded(group).await.map_err(|e| self.file("end_group", &group.command, e))
    }

    async fn close(&self) {}
}
