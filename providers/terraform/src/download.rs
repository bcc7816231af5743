//! The program as a download that its user has pinned: fetched once, checked, kept.

use std::fs::File;
use std::io::{self, Read, Seek as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use towpath_core::private_files::{abandoned, new_held, private_dir};
use towpath_core::{Context, Error, ErrorKind, EventKind, Result};

use crate::provider::TERRAFORM;

/// A release of Terraform or OpenTofu as its makers publish it: a ZIP archive with the program in it.
///
/// It is fetched when it is needed first, and kept below `dir` (by default `towpath/terraform` in `XDG_CACHE_HOME`, else in `~/.cache`) under its digest. Anything that has
/// another digest is refused before a byte of it is unpacked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Download {
    /// Where it is: `https://` or `http://`. Proxies are taken from the usual variables (`HTTPS_PROXY`, ...), certificates from the system.
    pub url: String,

    /// The archive's SHA-256, in hex, as its makers publish it beside it.
    pub sha256: String,

    /// Folder where it is kept. Below the user's cache folder by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
}

/// The names that the program may have in an archive.
const PROGRAMS: [&str; 2] = ["terraform", "tofu"];

/// A larger archive is something else.
const LIMIT: u64 = 1 << 30;

/// Starts the name of a folder that a download is made in.
const NEW: &str = ".new-";

/// No answer, or no more bytes, for this long.
const PATIENCE: Duration = Duration::from_secs(60);

impl Download {
    /// A release by its address and the digest that its makers publish.
    pub fn new(url: impl Into<String>, sha256: impl Into<String>) -> Self {
        Self { url: url.into(), sha256: sha256.into(), dir: None }
    }

    pub(crate) fn check(&self) -> Result<()> {
        let invalid = |message: String| Err(Error::new(ErrorKind::InvalidInput, TERRAFORM, "config", message));
        if !self.url.starts_with("https://") && !self.url.starts_with("http://") {
            return invalid(format!("`download.url` must start with `https://` or `http://`, not {:?}", self.url));
        }
        if self.sha256.len() != 64 || !self.sha256.bytes().all(|b| b.is_ascii_hexdigit()) {
            return invalid("`download.sha256` must be 64 hexadecimal digits, as the makers publish it".to_owned());
        }
        Ok(())
    }

    /// The program's path, after it was fetched if it is not there yet.
    pub(crate) async fn program(&self, cx: &Context) -> Result<PathBuf> {
        let dir = self.dir.clone().map_or_else(cache, Ok)?;
        let home = dir.join(self.sha256.to_ascii_lowercase());
        // What is in it is run: nobody else may have put it there.
        private_dir(&dir).map_err(|e| {
            Error::new(ErrorKind::Denied, TERRAFORM, "preflight", "the folder of downloads is not this user's alone")
                .with("folder", dir.display())
                .caused_by(e)
        })?;
        if let Some(there) = found(&home) {
            return Ok(there);
        }
        let message = format!("fetching {}", without_secrets(&self.url));
        cx.emit(EventKind::Progress { message, done: None, total: None });
        let (this, to) = (self.clone(), home.clone());
        // A cancel leaves the thread to its end: what it makes is whole or nothing.
        let fetched = async { tokio::task::spawn_blocking(move || this.fetch(&to)).await.map_err(io::Error::other) };
        let fetched = cx.guard(TERRAFORM, "preflight", async { Ok(fetched.await) }).await?;
        fetched.and_then(|fetched| fetched).map_err(|e| {
            let kind = match e.kind() {
                io::ErrorKind::InvalidData => ErrorKind::Conflict,
                io::ErrorKind::ConnectionAborted => ErrorKind::Unreachable,
                io::ErrorKind::NotFound => ErrorKind::NotFound,
                _ => ErrorKind::Storage,
            };
            Error::new(kind, TERRAFORM, "preflight", "the pinned program can't be had")
                .with("url", without_secrets(&self.url))
                .with("folder", home.display())
                .caused_by(e)
        })
    }

    fn fetch(&self, home: &Path) -> io::Result<PathBuf> {
        let parent = home.parent().ok_or_else(|| io::Error::other("no folder for it"))?;
        // What downloads have left that were killed.
        for (folder, _held) in abandoned(parent, NEW) {
            let _ = std::fs::remove_dir_all(folder);
        }
        let (work, _held) = new_held(parent, NEW)?;
        let fetched = self.fetch_in(&work, home);
        let _ = std::fs::remove_dir_all(&work);
        fetched
    }

    fn fetch_in(&self, work: &Path, home: &Path) -> io::Result<PathBuf> {
        let mut archive = self.archive(&work.join("archive.zip"))?;
        archive.rewind()?;
        let unpacked = work.join("unpacked");
        private_dir(&unpacked)?;
        let mut zip = zip::ZipArchive::new(archive).map_err(not_an_archive)?;
        let name = PROGRAMS.into_iter().find(|name| zip.by_name(name).is_ok());
        let name = name.ok_or_else(|| invalid("there is neither `terraform` nor `tofu` in the archive"))?;
        let program = unpacked.join(name);
        let mut file = File::create_new(&program)?;
        io::copy(&mut zip.by_name(name).map_err(not_an_archive)?, &mut file)?;
        file.set_permissions(std::fs::Permissions::from_mode(0o700))?;
        file.sync_all()?;
        drop(file);
        // Another process may have been quicker: what it made has the same digest.
        match std::fs::rename(&unpacked, home) {
            Err(e) if found(home).is_none() => Err(e),
            _ => found(home).ok_or_else(|| io::Error::other("somebody removed it again")),
        }
    }

    /// Fetches the archive, and gives it only if it is the one that was pinned.
    fn archive(&self, path: &Path) -> io::Result<File> {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_connect(Some(PATIENCE))
            .timeout_recv_response(Some(PATIENCE))
            .tls_config(ureq::tls::TlsConfig::builder().root_certs(ureq::tls::RootCerts::PlatformVerifier).build())
            .build()
            .into();
        let mut reply = agent.get(&self.url).call().map_err(|e| match e {
            ureq::Error::StatusCode(404 | 410) => io::Error::new(io::ErrorKind::NotFound, e),
            _ => io::Error::new(io::ErrorKind::ConnectionAborted, e),
        })?;
        let mut body = reply.body_mut().with_config().limit(LIMIT).reader();
        let mut file = File::options().read(true).write(true).create_new(true).open(path)?;
        let mut digest = Sha256::new();
        let mut buffer = vec![0; 256 << 10];
        loop {
            let n = body.read(&mut buffer).map_err(|e| io::Error::new(io::ErrorKind::ConnectionAborted, e))?;
            let Some(new) = buffer.get(..n).filter(|new| !new.is_empty()) else { break };
            digest.update(new);
            file.write_all(new)?;
        }
        let found = hex::encode(digest.finalize());
        if !found.eq_ignore_ascii_case(&self.sha256) {
            let message = format!(
                "what came is not what was pinned: its SHA-256 is {found}, and `download.sha256` is {}; nothing of it was run",
                self.sha256
            );
            return Err(invalid(&message));
        }
        Ok(file)
    }
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

fn not_an_archive(e: zip::result::ZipError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("it is no ZIP archive that can be read: {e}"))
}

/// The program in a folder of the cache.
fn found(home: &Path) -> Option<PathBuf> {
    PROGRAMS.into_iter().map(|name| home.join(name)).find(|program| program.is_file())
}

/// Source: XDG Base Directory Specification, "Basics".
fn cache() -> Result<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let home = || absolute("HOME").map(|home| home.join(".cache"));
    absolute("XDG_CACHE_HOME").or_else(home).map(|cache| cache.join("towpath").join("terraform")).ok_or_else(|| {
        let message =
            "there is no folder for a download: set `XDG_CACHE_HOME` or `HOME`, or name the program with `program`";
        Error::new(ErrorKind::InvalidInput, TERRAFORM, "preflight", message)
    })
}

/// Without user, password and query.
fn without_secrets(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = host.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}/{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_what_may_be_secret() {
        assert_eq!(without_secrets("https://me:word@h.test/a/b.zip?token=x"), "https://h.test/a/b.zip");
        assert_eq!(without_secrets("http://h.test"), "http://h.test/");
    }

    #[test]
    fn what_is_no_address_or_digest_is_refused() {
        let digest = "0".repeat(64);
        assert!(Download::new("https://h.test/a.zip", &digest).check().is_ok());
        for (url, digest) in [("file:///a.zip", digest.as_str()), ("https://h.test/a.zip", "abc")] {
            assert!(Download::new(url, digest).check().is_err(), "{url} {digest}");
        }
    }
}
