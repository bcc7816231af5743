//! The state folder of an environment: what is in it and where.
//!
//! ```text
//! environment.json     token, mode, ports: written before anything is started
//! id, id.pub           the client's key
//! known_hosts          the hosts' keys
//! base/                what every host sees below its own changes
//! balancers/<name>/    a balancer's record, backends, socket
//! hosts/<name>/        settings.json, host_key, process.json, log, tree/ (its root), upper/ and work/ (its changes)
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use russh::keys::ssh_key::{self, LineEnding, private::Ed25519Keypair};
use russh::keys::{PrivateKey, PublicKey};
use serde::{Deserialize, Serialize};
use towpath_core::{Context, Error, ErrorKind, Json, Result};

use crate::LocalMode;
use crate::balancer::BalancerDir;
use crate::files::{private_dir, read_json, write_json, write_private};
use crate::process::ProcessId;
use crate::provisioner::LOCAL;

/// Finds the state folder of the context's environment: the configured one, the one that the store knows, or the default.
pub(crate) async fn state_dir(cx: &Context, configured: Option<&Path>) -> Result<EnvironmentDir> {
    let known = match (configured, cx.store()) {
        (Some(dir), _) => Some(dir.to_owned()),
        (None, Some(store)) => {
            let documents = store.documents(LOCAL).await?;
            let document = documents.into_iter().find(|(key, _)| key == cx.environment());
            document.and_then(|(_, d)| d.get("state_dir").and_then(Json::as_str).map(PathBuf::from))
        }
        (None, None) => None,
    };
    let path = known.unwrap_or_else(|| Path::new(".towpath").join("local").join(cx.environment()));
    std::path::absolute(&path).map(EnvironmentDir).map_err(|e| {
        Error::new(ErrorKind::Storage, LOCAL, "state", "the state folder can't be named")
            .with("path", path.display())
            .caused_by(e)
    })
}

/// Folders of an environment.
#[derive(Debug, Clone)]
pub(crate) struct EnvironmentDir(pub(crate) PathBuf);

impl EnvironmentDir {
    pub(crate) fn record(&self) -> PathBuf {
        self.0.join("environment.json")
    }

    pub(crate) fn client_key(&self) -> PathBuf {
        self.0.join("id")
    }

    pub(crate) fn known_hosts(&self) -> PathBuf {
        self.0.join("known_hosts")
    }

    pub(crate) fn base(&self) -> PathBuf {
        self.0.join("base")
    }

    pub(crate) fn hosts(&self) -> PathBuf {
        self.0.join("hosts")
    }

    pub(crate) fn host(&self, name: &str) -> HostDir {
        HostDir(self.hosts().join(name))
    }

    pub(crate) fn balancers(&self) -> PathBuf {
        self.0.join("balancers")
    }

    pub(crate) fn balancer(&self, name: &str) -> BalancerDir {
        BalancerDir(self.balancers().join(name))
    }

    /// Keeps others from starting or ending balancers; waits for them.
    pub(crate) async fn lock_balancers(&self) -> io::Result<Flock<std::fs::File>> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = self.balancers().join("lock");
        tokio::task::spawn_blocking(move || {
            let file = std::fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
            Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, e)| io::Error::from(e))
        })
        .await
        .map_err(io::Error::other)?
    }

    pub(crate) fn read_record(&self) -> io::Result<Option<EnvironmentRecord>> {
        read_json(&self.record())
    }
}

/// Folders of a host.
#[derive(Debug, Clone)]
pub(crate) struct HostDir(pub(crate) PathBuf);

impl HostDir {
    pub(crate) fn settings(&self) -> PathBuf {
        self.0.join("settings.json")
    }

    pub(crate) fn host_key(&self) -> PathBuf {
        self.0.join("host_key")
    }

    pub(crate) fn process(&self) -> PathBuf {
        self.0.join("process.json")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    pub(crate) fn tree(&self) -> PathBuf {
        self.0.join("tree")
    }

    pub(crate) fn upper(&self) -> PathBuf {
        self.0.join("upper")
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.0.join("work")
    }

    pub(crate) fn read_process(&self) -> io::Result<Option<ProcessId>> {
        read_json(&self.process())
    }
}

/// What exists, or is about to: written before the first host is started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct EnvironmentRecord {
    /// The environment's name.
    pub(crate) environment: String,
    /// How its hosts are kept apart: `namespace` or `plain`, never `auto`.
    pub(crate) mode: LocalMode,
    /// Its hosts by name.
    pub(crate) hosts: BTreeMap<String, HostRecord>,
}

impl EnvironmentRecord {
    /// All ports that belong to its hosts.
    pub(crate) fn ports(&self) -> BTreeSet<u16> {
        self.hosts.values().flat_map(|h| h.ports.values().copied().chain([h.ssh_port])).collect()
    }
}

/// A host of the record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct HostRecord {
    /// Marks its processes.
    pub(crate) token: String,
    /// The port of its SSH server.
    pub(crate) ssh_port: u16,
    /// Its reserved ports by variable name.
    pub(crate) ports: BTreeMap<String, u16>,
}

/// What a host process reads when it starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct HostSettings {
    pub(crate) name: String,
    pub(crate) mode: LocalMode,
    pub(crate) ssh_port: u16,
    /// The client's public key, as OpenSSH writes it.
    pub(crate) client_key: String,
    pub(crate) base: PathBuf,
    /// Whether the kernel keeps a plain host from writing outside its folder.
    #[serde(default)]
    pub(crate) guarded: bool,
}

/// Reads an Ed25519 key, or makes one: 0600, its public half beside it.
pub(crate) fn key_pair(path: &Path, comment: &str) -> io::Result<PrivateKey> {
    if path.exists() {
        return PrivateKey::read_openssh_file(path)
            .map_err(|e| io::Error::other(format!("{} is no usable key: {e}", path.display())));
    }
    let mut seed: [u8; 32] = rand::random();
    let pair = Ed25519Keypair::from_seed(&seed);
    seed.fill(0);
    let key = PrivateKey::new(ssh_key::private::KeypairData::from(pair), comment).map_err(io::Error::other)?;
    let text = key.to_openssh(LineEnding::LF).map_err(io::Error::other)?;
    write_private(path, text.as_bytes())?;
    let public = format!("{}\n", public_line(key.public_key())?);
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    write_private(Path::new(&name), public.as_bytes())?;
    Ok(key)
}

/// A public key as `authorized_keys` and `known_hosts` write it.
pub(crate) fn public_line(key: &PublicKey) -> io::Result<String> {
    key.to_openssh().map_err(io::Error::other)
}

/// Makes the folders of a host.
pub(crate) fn make_host_dirs(dir: &HostDir, settings: &HostSettings) -> io::Result<()> {
    for path in [&dir.0, &dir.upper(), &dir.work()] {
        private_dir(path)?;
    }
    write_json(&dir.settings(), settings)
}
