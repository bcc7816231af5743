//! OpenSSH's client configuration. Source: ssh_config(5).

pub(crate) mod algorithms;
mod keywords;
mod pattern;
mod reader;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use towpath_core::{Error, ErrorKind, Result};

use crate::config::HostKeys;
use crate::{PROVIDER, home_dir};
pub(crate) use pattern::{Tokens, wildcard};

/// A way round a direct connection.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Proxy {
    None,
    Jump(String),
    Command(String),
}

/// What applies to one host.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Found {
    pub(crate) host_name: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) port: Option<u16>,
    /// `none` among them: no file at all.
    pub(crate) identity_files: Vec<String>,
    pub(crate) certificate_files: Vec<String>,
    pub(crate) identities_only: Option<bool>,
    pub(crate) identity_agent: Option<String>,
    pub(crate) known_hosts: Option<Vec<String>>,
    pub(crate) global_known_hosts: Option<Vec<String>>,
    pub(crate) host_keys: Option<HostKeys>,
    pub(crate) local_unchecked: Option<bool>,
    pub(crate) hash_known_hosts: Option<bool>,
    pub(crate) host_key_alias: Option<String>,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) connect_timeout_s: Option<u64>,
    pub(crate) alive_interval_s: Option<u64>,
    pub(crate) alive_count: Option<u64>,
    pub(crate) family: Option<Family>,
    pub(crate) public_key: Option<bool>,
    pub(crate) password: Option<bool>,
    pub(crate) interactive: Option<bool>,
    pub(crate) preferred: Option<Vec<String>>,
    pub(crate) algorithms: Algorithms,
    pub(crate) refused: Option<String>,
    ignored: Option<String>,
    tag: Option<String>,
}

/// Which addresses of a host may be used.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) enum Family {
    #[default]
    Any,
    V4,
    V6,
}

/// Lists of algorithms, as they are written.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Algorithms {
    pub(crate) ciphers: Option<String>,
    pub(crate) macs: Option<String>,
    pub(crate) kex: Option<String>,
    pub(crate) host_key: Option<String>,
    /// With which a user's key may sign.
    pub(crate) user_key: Option<String>,
    /// With which an authority may have signed a host's certificate.
    pub(crate) authority: Option<String>,
    /// The fewest bits of an RSA key.
    pub(crate) rsa_bits: Option<u64>,
}

/// A file of the configuration.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    /// Somebody named it, so it must be there.
    pub(crate) named: bool,
    /// Where relative paths of `Include` start.
    pub(crate) includes: PathBuf,
}

/// The files that are read, in their order: of each option the first value counts. One that is named replaces both.
pub(crate) fn sources(named: Option<&Path>) -> Vec<Source> {
    let user = home_dir().join(".ssh");
    match named {
        Some(path) if path.as_os_str() == "none" => Vec::new(),
        Some(path) => vec![Source { path: path.to_owned(), named: true, includes: user }],
        None => {
            let system = PathBuf::from("/etc/ssh");
            vec![
                Source { path: user.join("config"), named: false, includes: user },
                Source { path: system.join("ssh_config"), named: false, includes: system },
            ]
        }
    }
}

/// Reads what applies to `asked`. A missing file is an empty one, unless somebody named it.
pub(crate) fn read(sources: &[Source], asked: &str, user: Option<&str>) -> Result<Found> {
    let mut reader = reader::Reader::new(asked, user);
    reader.pass(sources)?;
    if reader.wants_final() {
        // With the name that was found, for what stands in `Match final`.
        reader.begin_final();
        reader.pass(sources)?;
    }
    let found = reader.found();
    if let Some(why) = &found.refused {
        let message = "the OpenSSH configuration refuses this connection (RefuseConnection)";
        return Err(Error::new(ErrorKind::Denied, PROVIDER, "ssh_config", message)
            .with("host", asked)
            .caused_by(why.clone()));
    }
    Ok(found)
}

/// The user who runs this process.
pub(crate) fn local_user() -> String {
    ["USER", "LOGNAME"].iter().find_map(|v| std::env::var(v).ok()).filter(|u| !u.is_empty()).unwrap_or("root".into())
}

fn bad(path: &Path, line: usize, message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, PROVIDER, "ssh_config", message).with("file", path.display()).with("line", line)
}
