//! What is needed to reach one host, put together from all places that say something about it.

use std::path::PathBuf;

use towpath_core::{Error, ErrorKind, Host, Result, SecretRef};

use crate::config::{HostKeys, SshConfig, expand, expand_path};
use crate::files::Files;
use crate::ssh_config::{self, Algorithms, Family, Found, Proxy};
use crate::{PROVIDER, home_dir};

/// Everything needed to reach one host; equal settings share a transport.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    pub(crate) address: String,
    pub(crate) port: u16,
    pub(crate) family: Family,
    pub(crate) user: String,
    /// The name under which `known_hosts` knows it.
    pub(crate) key_name: String,
    pub(crate) known_hosts: Vec<PathBuf>,
    pub(crate) hash_names: bool,
    pub(crate) host_key: Option<String>,
    pub(crate) host_keys: HostKeys,
    pub(crate) identities: Vec<PathBuf>,
    pub(crate) certificates: Vec<PathBuf>,
    pub(crate) identities_only: bool,
    pub(crate) agent: Option<PathBuf>,
    pub(crate) passphrase: Option<SecretRef>,
    pub(crate) password: Option<SecretRef>,
    /// In which order one logs in.
    pub(crate) methods: Vec<Method>,
    pub(crate) algorithms: Algorithms,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) files: Files,
    pub(crate) connect_timeout_s: u64,
    pub(crate) keepalive_s: u64,
    pub(crate) keepalive_max: usize,
    pub(crate) idle_s: u64,
}

/// A way to log in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Method {
    PublicKey,
    Interactive,
    Password,
}

impl Method {
    /// OpenSSH's order.
    const ALL: [(&str, Self); 3] =
        [("publickey", Self::PublicKey), ("keyboard-interactive", Self::Interactive), ("password", Self::Password)];

    fn of(found: &Found) -> Vec<Self> {
        let on = |m: &Self| match m {
            Self::PublicKey => found.public_key != Some(false),
            Self::Interactive => found.interactive != Some(false),
            Self::Password => found.password != Some(false),
        };
        let all: Vec<Self> = match &found.preferred {
            None => Self::ALL.iter().map(|(_, m)| *m).collect(),
            Some(names) => {
                names.iter().filter_map(|n| Self::ALL.iter().find(|(name, _)| name == n)).map(|(_, m)| *m).collect()
            }
        };
        all.into_iter().filter(on).collect()
    }
}

impl Settings {
    /// Puts together what the host, the config and OpenSSH's configuration say, in this order.
    pub(crate) fn of(config: &SshConfig, host: &Host) -> Result<Self> {
        let own = config.for_host(host)?;
        let c = &host.connection;
        let asked = c.address.clone().unwrap_or_else(|| host.name.clone());
        let named = own.ssh_config.as_deref().map(expand_path);
        let found = ssh_config::read(&ssh_config::sources(named.as_deref()), &asked, c.user.as_deref())?;
        let user = c.user.clone().or(found.user.clone()).unwrap_or_else(ssh_config::local_user);
        let port = c.port.or(found.port).unwrap_or(22);
        let address = found.host_name.clone().unwrap_or_else(|| asked.clone());
        let given = match own.proxy_jump.as_deref() {
            Some("none") => None,
            Some(jump) => Some(Proxy::Jump(jump.to_owned())),
            None => match own.proxy_command.as_deref() {
                Some("none") => None,
                Some(command) => Some(Proxy::Command(command.to_owned())),
                None => found.proxy.clone().filter(|p| *p != Proxy::None),
            },
        };
        let tokens = ssh_config::Tokens {
            address: &address,
            port,
            user: &user,
            asked: &asked,
            alias: found.host_key_alias.as_deref().unwrap_or(&asked),
            jump: match &given {
                Some(Proxy::Jump(jump)) => jump,
                _ => "",
            },
        };
        let fill = |text: &str| {
            tokens.fill(text).map_err(|unknown| {
                let message = format!("the OpenSSH configuration has `{unknown}`, which stands for nothing here");
                Error::new(ErrorKind::InvalidInput, PROVIDER, "connect", message)
                    .with("value", text)
                    .with("host", &host.name)
            })
        };
        let files = |list: &[String]| list.iter().map(|f| Ok(expand(&fill(f)?))).collect::<Result<Vec<_>>>();
        let proxy = match &given {
            Some(Proxy::Command(command)) => Some(Proxy::Command(fill(command)?)),
            other => other.clone(),
        };
        let mut certificates: Vec<PathBuf> = own.certificate_file.iter().map(|p| expand_path(p)).collect();
        certificates.extend(files(&found.certificate_files)?);
        let agent = match own.identity_agent.clone().or(found.identity_agent.clone()).as_deref() {
            Some("none") => None,
            None | Some("SSH_AUTH_SOCK") => std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from),
            // `$NAME`: a variable that holds it.
            Some(text) => match text.strip_prefix('$').filter(|n| !n.starts_with('{')) {
                Some(name) => std::env::var_os(name).map(PathBuf::from),
                None => Some(expand(&fill(text)?)),
            },
        };
        let host_keys = own.host_keys.or(found.host_keys).unwrap_or_default();
        let key_name = match &found.host_key_alias {
            Some(alias) => alias.clone(),
            None => {
                let name = address.to_lowercase();
                if port == 22 { name } else { format!("[{name}]:{port}") }
            }
        };
        Ok(Self {
            identities: identities(&own, &found, files)?,
            known_hosts: known_hosts(&own, &found, files)?,
            hash_names: found.hash_known_hosts.unwrap_or(false),
            host_key: own.host_key,
            host_keys: match found.local_unchecked {
                Some(true) if own.host_keys.is_none() && is_loopback(&address) => HostKeys::Off,
                _ => host_keys,
            },
            key_name,
            address,
            port,
            family: found.family.unwrap_or_default(),
            user,
            certificates,
            identities_only: own.identities_only.or(found.identities_only).unwrap_or(false),
            agent,
            passphrase: own.passphrase,
            password: c.password.clone(),
            methods: Method::of(&found),
            algorithms: found.algorithms,
            proxy,
            files: own.files.unwrap_or_default(),
            connect_timeout_s: own.connect_timeout_s.or(found.connect_timeout_s).unwrap_or(10),
            keepalive_s: own.keepalive_s.or(found.alive_interval_s).unwrap_or(15),
            keepalive_max: found.alive_count.and_then(|n| usize::try_from(n).ok()).unwrap_or(3),
            idle_s: own.idle_s.unwrap_or(60),
        })
    }
}

fn identities(
    own: &SshConfig,
    found: &Found,
    files: impl Fn(&[String]) -> Result<Vec<PathBuf>>,
) -> Result<Vec<PathBuf>> {
    if let Some(path) = &own.identity_file {
        return Ok(vec![expand_path(path)]);
    }
    if found.identity_files.iter().any(|f| f == "none") {
        return Ok(Vec::new());
    }
    if !found.identity_files.is_empty() {
        return files(&found.identity_files);
    }
    let dir = home_dir().join(".ssh");
    Ok(["id_ed25519", "id_ecdsa", "id_rsa"].iter().map(|n| dir.join(n)).collect())
}

/// The user's files, of which the first one is written to, then those of the machine.
fn known_hosts(
    own: &SshConfig,
    found: &Found,
    files: impl Fn(&[String]) -> Result<Vec<PathBuf>>,
) -> Result<Vec<PathBuf>> {
    if let Some(path) = &own.known_hosts {
        return Ok(vec![expand_path(path)]);
    }
    let list = |given: &Option<Vec<String>>, default: Vec<PathBuf>| match given {
        None => Ok(default),
        Some(list) if list.iter().any(|f| f == "none") => Ok(Vec::new()),
        Some(list) => files(list),
    };
    let dir = home_dir().join(".ssh");
    let mut all = list(&found.known_hosts, vec![dir.join("known_hosts"), dir.join("known_hosts2")])?;
    if all.is_empty() {
        // Nothing of the user's: what is learnt is forgotten, and not written to the machine's files.
        all.push(PathBuf::from("/dev/null"));
    }
    let global = vec![PathBuf::from("/etc/ssh/ssh_known_hosts"), PathBuf::from("/etc/ssh/ssh_known_hosts2")];
    all.extend(list(&found.global_known_hosts, global)?);
    Ok(all)
}

fn is_loopback(address: &str) -> bool {
    address.eq_ignore_ascii_case("localhost") || address.parse::<std::net::IpAddr>().is_ok_and(|a| a.is_loopback())
}
