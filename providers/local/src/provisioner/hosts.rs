//! Hosts as processes and folders: made, started, ended.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use towpath_core::{Context, Error, ErrorKind, Result};

use super::look::{Look, find_process};
use super::{LOCAL, Local, failed, storage};
use crate::files::{private_dir, remove_tree, write_json, write_private};
use crate::launch::{self, Launcher, Part};
use crate::process::{self, ProcessId};
use crate::state::{
    EnvironmentDir, EnvironmentRecord, HostRecord, HostSettings, key_pair, make_host_dirs, public_line,
};
use crate::{LocalMode, host, ports};

impl Local {
    /// Writes keys, ports and the record, before anything is started.
    pub(super) fn prepare(&self, cx: &Context, dir: &EnvironmentDir, look: &Look) -> Result<EnvironmentRecord> {
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
    pub(super) async fn find_ready(&self, dir: &EnvironmentDir, name: &str, host: &HostRecord) -> Option<ProcessId> {
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

    pub(super) async fn start(
        &self,
        dir: &EnvironmentDir,
        name: &str,
        mode: LocalMode,
        token: &str,
    ) -> Result<ProcessId> {
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

    pub(super) async fn end_host(&self, dir: &EnvironmentDir, name: &str, token: Option<&str>) -> Result<()> {
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
pub(super) async fn prepare_hosts(cx: &Context, dir: &EnvironmentDir, record: &EnvironmentRecord) -> Result<()> {
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
pub(super) fn write_hosts(dir: &EnvironmentDir, record: &EnvironmentRecord) -> std::io::Result<usize> {
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
pub(super) fn lock(dir: &EnvironmentDir) -> Result<Flock<std::fs::File>> {
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
pub(super) async fn answers(port: u16) -> bool {
    use tokio::io::AsyncReadExt as _;
    let banner = async {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
        let mut start = [0u8; 4];
        stream.read_exact(&mut start).await?;
        Ok::<bool, std::io::Error>(&start == b"SSH-")
    };
    matches!(tokio::time::timeout(Duration::from_secs(2), banner).await, Ok(Ok(true)))
}
