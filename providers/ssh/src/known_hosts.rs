//! Which host keys are trusted. Source: sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT".

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, Certificate, HashAlg, PublicKey, PublicKeyOrCertificate};
use sha1::{Digest as _, Sha1};
use towpath_core::{Error, ErrorKind, Result};

use crate::PROVIDER;
use crate::config::HostKeys;
use crate::settings::Settings;
use crate::ssh_config::algorithms::allows;
use crate::ssh_config::{Algorithms, wildcard};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Marker {
    Plain,
    Authority,
    Revoked,
}

/// The lines that speak about one host.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    keys: Vec<(Marker, PublicKey)>,
    /// The name in `known_hosts`, or that a key was pinned.
    name: String,
    pinned: bool,
    host_keys: HostKeys,
    algorithms: Algorithms,
    hash_names: bool,
    write_to: Option<PathBuf>,
}

/// A host that is trusted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Trust {
    /// As one knows it.
    Known,
    /// Since checking is off: another key is known.
    Changed,
}

/// The order and files in which new keys are written: one at a time.
static WRITING: Mutex<()> = Mutex::new(());

impl Known {
    /// Reads all files. A missing file is an empty one; a line that can't be read is left out.
    pub(crate) fn read(settings: &Settings) -> Result<Self> {
        let mut this = Self {
            name: settings.key_name.clone(),
            host_keys: settings.host_keys,
            algorithms: settings.algorithms.clone(),
            hash_names: settings.hash_names,
            write_to: settings.known_hosts.first().cloned(),
            ..Self::default()
        };
        if let Some(key) = &settings.host_key {
            let key = PublicKey::from_openssh(key).map_err(|e| {
                Error::new(ErrorKind::InvalidInput, PROVIDER, "connect", "the option `host_key` is no public key")
                    .caused_by(e)
            })?;
            return Ok(Self { keys: vec![(Marker::Plain, key)], pinned: true, ..this });
        }
        for path in &settings.known_hosts {
            match std::fs::read_to_string(path) {
                Ok(text) => this.keys.extend(text.lines().filter_map(|l| parse(l, &this.name))),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => {
                    return Err(Error::new(ErrorKind::Denied, PROVIDER, "connect", "known hosts can't be read")
                        .with("file", path.display())
                        .caused_by(e));
                }
            }
        }
        Ok(this)
    }

    /// Puts algorithms first of which a key is known, so that the host shows that key.
    pub(crate) fn prefer(&self, mut all: Vec<Algorithm>) -> Vec<Algorithm> {
        let known = |a: &Algorithm| {
            self.keys.iter().any(|(m, k)| {
                *m == Marker::Plain && (k.algorithm() == *a || (k.algorithm().is_rsa() && a.clone().is_rsa()))
            })
        };
        all.sort_by_key(|a| !known(a));
        all
    }

    /// Says whether a host certificate could be trusted.
    pub(crate) fn has_authority(&self) -> bool {
        self.keys.iter().any(|(m, _)| *m == Marker::Authority)
    }

    /// Trusts the host, or says why not.
    pub(crate) fn check(&self, shown: &PublicKeyOrCertificate) -> Result<Trust> {
        match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => self.check_key(key),
            PublicKeyOrCertificate::Certificate(certificate) => {
                self.check_revoked(certificate)?;
                match self.check_certificate(certificate) {
                    Err(_) if self.host_keys == HostKeys::Off && !self.pinned => Ok(Trust::Changed),
                    done => done.map(|()| Trust::Known),
                }
            }
        }
    }

    fn denied(&self, message: String) -> Error {
        Error::new(ErrorKind::Denied, PROVIDER, "connect", message).with("known_as", &self.name)
    }

    fn place(&self) -> String {
        self.write_to.as_ref().map_or_else(|| "known_hosts".into(), |p| p.display().to_string())
    }

    fn check_size(&self, key: &KeyData) -> Result<()> {
        match (key.rsa(), self.algorithms.rsa_bits) {
            (Some(rsa), Some(bits)) if u64::from(rsa.key_size()) < bits => {
                Err(self
                    .denied(format!("the host's RSA key has {} bits, and RequiredRSASize is {bits}", rsa.key_size())))
            }
            _ => Ok(()),
        }
    }

    fn check_key(&self, key: &PublicKey) -> Result<Trust> {
        let print = key.fingerprint(HashAlg::Sha256);
        let same = |k: &PublicKey| k.key_data() == key.key_data();
        if self.keys.iter().any(|(m, k)| *m == Marker::Revoked && same(k)) {
            return Err(self.denied(format!("the host shows a key that is marked as revoked ({print})")));
        }
        self.check_size(key.key_data())?;
        let mut plain = self.keys.iter().filter(|(m, _)| *m == Marker::Plain).map(|(_, k)| k).peekable();
        if plain.peek().is_some() {
            if plain.any(same) {
                return Ok(Trust::Known);
            }
            if self.host_keys == HostKeys::Off && !self.pinned {
                return Ok(Trust::Changed);
            }
            let place = if self.pinned { "the option `host_key`".into() } else { self.place() };
            return Err(self.denied(format!(
                "the host key has CHANGED: it is {print} now, and {place} knows another one. Either the host was \
                 reinstalled, or somebody sits in between; check the fingerprint, then remove the old line"
            )));
        }
        match self.host_keys {
            HostKeys::Strict => Err(self.denied(format!(
                "the host key is unknown: it is {print}, and {} has no line for it. Check the fingerprint and add it, or \
                 set `host_keys: accept_new`",
                self.place()
            ))),
            HostKeys::AcceptNew => self.learn(key).map(|()| Trust::Known),
            HostKeys::Off => {
                // Any key is taken, so one that can't be recorded is, too.
                if let Err(error) = self.learn(key) {
                    tracing::debug!(error = error.report(), "A host key was not recorded.");
                }
                Ok(Trust::Known)
            }
        }
    }

    fn learn(&self, key: &PublicKey) -> Result<()> {
        let Some(path) = &self.write_to else { return Ok(()) };
        let _one = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
        // Another connection of this process may have learnt it, or another key, in the meantime.
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<_> = text.lines().filter_map(|l| parse(l, &self.name)).collect();
        if lines.iter().any(|(m, k)| *m == Marker::Plain && k.key_data() == key.key_data()) {
            return Ok(());
        }
        if lines.iter().any(|(m, _)| *m == Marker::Plain) {
            return Err(self.denied("the host showed two different new keys at the same time".into()));
        }
        let bare = PublicKey::new(key.key_data().clone(), "");
        let write = || -> std::io::Result<()> {
            let line = bare.to_openssh().map_err(std::io::Error::other)?;
            append(path, &text, &format!("{} {}\n", self.written_name(), line.trim()))
        };
        write().map_err(|e| {
            Error::new(ErrorKind::Denied, PROVIDER, "connect", "a new host key can't be recorded")
                .with("file", path.display())
                .caused_by(e)
        })
    }

    /// The name as it is recorded; hidden with HashKnownHosts.
    fn written_name(&self) -> String {
        if !self.hash_names {
            return self.name.clone();
        }
        let salt = rand::random::<[u8; 20]>();
        format!("|1|{}|{}", STANDARD.encode(salt), STANDARD.encode(hmac_sha1(&salt, self.name.as_bytes())))
    }

    fn check_revoked(&self, certificate: &Certificate) -> Result<()> {
        let revoked = |data: &KeyData| self.keys.iter().any(|(m, k)| *m == Marker::Revoked && k.key_data() == data);
        if revoked(certificate.signature_key()) || revoked(certificate.public_key()) {
            return Err(self.denied("the host shows a certificate whose key is marked as revoked".into()));
        }
        Ok(())
    }

    fn check_certificate(&self, certificate: &Certificate) -> Result<()> {
        let signer = certificate.signature_key();
        let is = |marker, data: &KeyData| self.keys.iter().any(|(m, k)| *m == marker && k.key_data() == data);
        self.check_size(certificate.public_key())?;
        self.check_size(signer)?;
        let signed_with = certificate.signature().algorithm();
        if !allows(self.algorithms.authority.as_deref(), signed_with.as_str()) {
            return Err(self.denied(format!(
                "the host's certificate is signed with {}, which CASignatureAlgorithms leaves out",
                signed_with.as_str()
            )));
        }
        if !is(Marker::Authority, signer) {
            return Err(self.denied("the host shows a certificate of an authority that is not trusted".into()));
        }
        if !certificate.cert_type().is_host() {
            return Err(self.denied("the host shows a certificate that is not one for hosts".into()));
        }
        // Principals are names without port.
        let bare = self.name.strip_prefix('[').and_then(|n| n.split(']').next()).unwrap_or(&self.name);
        let names = certificate.valid_principals();
        if !names.is_empty() && !names.iter().any(|n| wildcard(n, bare)) {
            return Err(self.denied(format!("the host's certificate is for {}", names.join(", "))));
        }
        if let Some((name, _)) = certificate.critical_options().iter().next() {
            return Err(self.denied(format!("the host's certificate has the unknown critical option `{name}`")));
        }
        let print = signer.fingerprint(HashAlg::Sha256);
        certificate
            .validate([&print])
            .map_err(|e| self.denied("the host's certificate is not valid (now)".into()).caused_by(e))
    }
}

fn append(path: &Path, before: &str, line: &str) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
    if let Some(dir) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let mut file = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let gap = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
    file.write_all(format!("{gap}{line}").as_bytes())
}

fn parse(line: &str, name: &str) -> Option<(Marker, PublicKey)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let mut words = line.split_whitespace();
    let mut names = words.next()?;
    let marker = match names {
        "@cert-authority" => Marker::Authority,
        "@revoked" => Marker::Revoked,
        _ => Marker::Plain,
    };
    if marker != Marker::Plain {
        names = words.next()?;
    }
    if !names_match(names, name) {
        return None;
    }
    let key = PublicKey::from_openssh(&format!("{} {}", words.next()?, words.next()?)).ok()?;
    Some((marker, key))
}

fn names_match(names: &str, name: &str) -> bool {
    let mut hit = false;
    for pattern in names.split(',') {
        if let Some(hashed) = pattern.strip_prefix("|1|") {
            hit |= hash_matches(hashed, name).unwrap_or(false);
        } else if let Some(not) = pattern.strip_prefix('!') {
            if wildcard(not, name) {
                return false;
            }
        } else {
            hit |= wildcard(pattern, name);
        }
    }
    hit
}

fn hash_matches(hashed: &str, name: &str) -> Option<bool> {
    let (salt, hash) = hashed.split_once('|')?;
    let (salt, hash) = (STANDARD.decode(salt).ok()?, STANDARD.decode(hash).ok()?);
    Some(hmac_sha1(&salt, name.as_bytes()) == hash)
}

/// RFC 2104 over SHA-1, which OpenSSH hides names with; nothing depends on its strength.
fn hmac_sha1(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut block = [0u8; 64];
    let short = if key.len() > 64 { Sha1::digest(key).to_vec() } else { key.to_vec() };
    for (b, k) in block.iter_mut().zip(short) {
        *b = k;
    }
    let inner = Sha1::new().chain_update(block.map(|b| b ^ 0x36)).chain_update(text).finalize();
    Sha1::new().chain_update(block.map(|b| b ^ 0x5c)).chain_update(inner).finalize().to_vec()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn hmac_is_the_one_of_rfc_2202() {
        let sum = hmac_sha1(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(hex::encode(sum), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    }

    #[test]
    fn patterns_match_and_exclude() {
        assert!(names_match("web1,[web1]:2222", "[web1]:2222"));
        assert!(names_match("*.example.org,!bad.example.org", "a.example.org"));
        assert!(!names_match("*.example.org,!bad.example.org", "bad.example.org"));
    }
}
