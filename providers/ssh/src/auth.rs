//! Logging in.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, Certificate, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey};
use russh::{MethodKind, MethodSet};
use towpath_core::{Context, Error, ErrorKind, Result};

use crate::PROVIDER;
use crate::keys::{Key, Keys};
use crate::session::{Client, broken};
use crate::settings::{Method, Settings};
use crate::ssh_config::algorithms::allows;

/// More rounds than any host wants: several keys, a password, a second one.
const ROUNDS: usize = 6;

/// Tries every credential in OpenSSH's order, as often as the host says that it wants one more.
///
/// `changed`: the host's key is another one than before, and that was accepted. It gets no password.
pub(crate) async fn log_in(
    cx: &Context,
    handle: &mut Handle<Client>,
    settings: &Settings,
    keys: &Keys,
    changed: bool,
) -> Result<()> {
    let mut login = Login {
        cx,
        handle,
        settings,
        keys,
        changed,
        tried: Vec::new(),
        locked: Vec::new(),
        asked: None,
        offered: None,
        password_failed: false,
    };
    for _ in 0..ROUNDS {
        match login.round().await? {
            Outcome::In => return Ok(()),
            Outcome::Partial => {}
            Outcome::No => break,
        }
    }
    Err(login.denied())
}

/// What became of one credential.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Outcome {
    In,
    /// Accepted, and the host wants another one.
    Partial,
    No,
}

struct Login<'a> {
    cx: &'a Context,
    handle: &'a mut Handle<Client>,
    settings: &'a Settings,
    keys: &'a Keys,
    changed: bool,
    /// For the error.
    tried: Vec<String>,
    /// Key files that need a passphrase.
    locked: Vec<PathBuf>,
    /// A question that no password answers.
    asked: Option<String>,
    /// What the host takes, once it has said so.
    offered: Option<MethodSet>,
    password_failed: bool,
}

impl Login<'_> {
    async fn round(&mut self) -> Result<Outcome> {
        for method in &self.settings.methods {
            let kind = match method {
                Method::PublicKey => MethodKind::PublicKey,
                Method::Interactive => MethodKind::KeyboardInteractive,
                Method::Password => MethodKind::Password,
            };
            if self.offered.as_ref().is_some_and(|o| !o.contains(&kind)) {
                continue;
            }
            let outcome = match method {
                Method::PublicKey => match self.with_files().await? {
                    Outcome::No => self.with_agent().await?,
                    done => done,
                },
                Method::Interactive => self.with_questions().await?,
                Method::Password => self.with_password().await?,
            };
            if outcome != Outcome::No {
                return Ok(outcome);
            }
        }
        Ok(Outcome::No)
    }

    fn denied(&self) -> Error {
        let tried = match self.tried.is_empty() {
            true => "nothing to try: no key file, agent or password".into(),
            false => self.tried.join(", "),
        };
        let message = match (self.locked.first(), &self.asked) {
            (Some(file), _) => format!(
                "the host accepts none of the credentials, and the private key {} has a passphrase: set `passphrase`, or add \
                 the key to the agent",
                file.display()
            ),
            (None, Some(question)) => {
                format!("the host asks what only a person can answer: {}", question.trim().escape_debug())
            }
            (None, None) => {
                "the host accepts none of the credentials; add the public key to its authorized_keys, or set \
                             `identity_file`"
                    .into()
            }
        };
        Error::new(ErrorKind::Denied, PROVIDER, "connect", message)
            .with("user", &self.settings.user)
            .with("tried", tried)
    }

    fn outcome(&mut self, result: AuthResult) -> Outcome {
        match result {
            AuthResult::Success => Outcome::In,
            AuthResult::Failure { remaining_methods, partial_success } => {
                self.offered = Some(remaining_methods);
                if partial_success { Outcome::Partial } else { Outcome::No }
            }
        }
    }

    /// The hash that an RSA key signs with, nothing for other keys. `Err`: why the key may not be used.
    async fn hash(
        &self,
        key: &KeyData,
        algorithm: &Algorithm,
        certificate: bool,
    ) -> Result<std::result::Result<Option<HashAlg>, &'static str>> {
        let lists = &self.settings.algorithms;
        let may = |a: &Algorithm| {
            let name = if certificate { a.to_certificate_type() } else { a.as_str().to_owned() };
            allows(lists.user_key.as_deref(), &name)
        };
        let refused = Ok(Err("PubkeyAcceptedAlgorithms leaves it out"));
        if !matches!(algorithm, Algorithm::Rsa { .. }) {
            return if may(algorithm) { Ok(Ok(None)) } else { refused };
        }
        if let (Some(rsa), Some(bits)) = (key.rsa(), lists.rsa_bits) {
            if u64::from(rsa.key_size()) < bits {
                return Ok(Err("shorter than RequiredRSASize"));
            }
        }
        let best = self.handle.best_supported_rsa_hash().await.map_err(broken)?.unwrap_or(Some(HashAlg::Sha512));
        let hash = [best, Some(HashAlg::Sha512), Some(HashAlg::Sha256)]
            .into_iter()
            .find(|hash| may(&Algorithm::Rsa { hash: *hash }));
        match hash {
            Some(hash) => Ok(Ok(hash)),
            None => refused,
        }
    }

    fn certificates(&self, key_file: &Path, key: &PrivateKey) -> Vec<Certificate> {
        let mut beside = key_file.as_os_str().to_owned();
        beside.push("-cert.pub");
        let beside = PathBuf::from(beside);
        self.settings
            .certificates
            .iter()
            .chain([&beside])
            .filter_map(|p| Certificate::read_file(p).ok())
            .filter(|c| c.public_key() == key.public_key().key_data())
            .collect()
    }

    async fn with_files(&mut self) -> Result<Outcome> {
        for path in &self.settings.identities {
            if !path.is_file() {
                continue;
            }
            let key = match self.keys.read(self.cx, self.settings, path).await? {
                Key::Usable(key) => key,
                Key::Locked => {
                    if !self.locked.contains(path) {
                        self.locked.push(path.clone());
                        self.tried.push(format!("{} (not usable: it has a passphrase)", path.display()));
                    }
                    continue;
                }
                Key::Unusable(why) => {
                    self.tried.push(format!("{} (not usable: {why})", path.display()));
                    continue;
                }
            };
            let data = key.public_key().key_data().clone();
            for certificate in self.certificates(path, &key) {
                if self.hash(&data, &key.algorithm(), true).await?.is_err() {
                    continue;
                }
                self.tried.push(format!("{} with certificate {}", path.display(), certificate.key_id()));
                let done =
                    self.handle.authenticate_openssh_cert(&self.settings.user, Arc::clone(&key), certificate).await;
                let done = done.map_err(broken)?;
                match self.outcome(done) {
                    Outcome::No => {}
                    done => return Ok(done),
                }
            }
            let hash = match self.hash(&data, &key.algorithm(), false).await? {
                Ok(hash) => hash,
                Err(why) => {
                    self.tried.push(format!("{} (not used: {why})", path.display()));
                    continue;
                }
            };
            self.tried.push(path.display().to_string());
            let key = PrivateKeyWithHashAlg::new(key, hash);
            let done = self.handle.authenticate_publickey(&self.settings.user, key).await.map_err(broken)?;
            match self.outcome(done) {
                Outcome::No => {}
                done => return Ok(done),
            }
        }
        Ok(Outcome::No)
    }

    /// The public halves of the identity files, for `identities_only`.
    fn wanted(&self) -> Vec<PublicKey> {
        let of = |path: &PathBuf| {
            let mut public = path.as_os_str().to_owned();
            public.push(".pub");
            PublicKey::read_openssh_file(Path::new(&public)).or_else(|_| PublicKey::read_openssh_file(path)).ok()
        };
        self.settings.identities.iter().filter_map(of).collect()
    }

    async fn with_agent(&mut self) -> Result<Outcome> {
        let Some(socket) = &self.settings.agent else { return Ok(Outcome::No) };
        // No agent is no error: it is one of several ways.
        let Ok(mut agent) = AgentClient::connect_uds(socket).await else { return Ok(Outcome::No) };
        let Ok(identities) = agent.request_identities().await else { return Ok(Outcome::No) };
        let wanted = self.wanted();
        for identity in identities {
            let (data, certificate) = match &identity {
                AgentIdentity::PublicKey { key, .. } => (key.key_data().clone(), false),
                AgentIdentity::Certificate { certificate, .. } => (certificate.public_key().clone(), true),
            };
            if self.settings.identities_only && !wanted.iter().any(|k| *k.key_data() == data) {
                continue;
            }
            let Ok(hash) = self.hash(&data, &data.algorithm(), certificate).await? else { continue };
            self.tried.push(format!("agent key {}", data.fingerprint(HashAlg::Sha256)));
            let user = &self.settings.user;
            let done = match identity {
                AgentIdentity::PublicKey { key, .. } => {
                    self.handle.authenticate_publickey_with(user, key, hash, &mut agent).await
                }
                AgentIdentity::Certificate { certificate, .. } => {
                    self.handle.authenticate_certificate_with(user, certificate, hash, &mut agent).await
                }
            };
            // An agent that declines to sign (a user who said no) leaves the others.
            if let Ok(done) = done {
                match self.outcome(done) {
                    Outcome::No => {}
                    done => return Ok(done),
                }
            }
        }
        Ok(Outcome::No)
    }

    /// The password, unless it must not be sent.
    async fn password(&mut self, way: &str) -> Result<Option<towpath_core::Secret>> {
        let Some(password) = &self.settings.password else { return Ok(None) };
        if self.changed {
            self.tried.push(format!("{way} (not sent: the host's key has changed)"));
            return Ok(None);
        }
        self.cx.resolve(password).await.map(Some)
    }

    async fn with_password(&mut self) -> Result<Outcome> {
        // Asked for it already, in the other way.
        if self.password_failed {
            return Ok(Outcome::No);
        }
        let Some(password) = self.password("password").await? else { return Ok(Outcome::No) };
        self.tried.push("password".to_owned());
        let user = &self.settings.user;
        let done = self.handle.authenticate_password(user, password.expose()).await.map_err(broken)?;
        Ok(self.outcome(done))
    }

    /// The way in which PAM asks. Every hidden question gets the password; what is shown while it is typed is none.
    async fn with_questions(&mut self) -> Result<Outcome> {
        let Some(password) = self.password("keyboard-interactive").await? else { return Ok(Outcome::No) };
        let user = &self.settings.user;
        let mut reply = self.handle.authenticate_keyboard_interactive_start(user, None).await.map_err(broken)?;
        let mut answered = false;
        for _ in 0..ROUNDS {
            match reply {
                KeyboardInteractiveAuthResponse::Success => return Ok(Outcome::In),
                KeyboardInteractiveAuthResponse::Failure { remaining_methods, partial_success } => {
                    if answered {
                        self.tried.push("keyboard-interactive".to_owned());
                        self.password_failed = !partial_success;
                    }
                    return Ok(self.outcome(AuthResult::Failure { remaining_methods, partial_success }));
                }
                KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => {
                    // One password; the same again is a second guess, which locks accounts.
                    let hidden = prompts.iter().filter(|p| !p.echo).count();
                    if let Some(other) = prompts.iter().find(|p| p.echo || (answered && hidden > 0)) {
                        self.asked = Some(other.prompt.clone());
                        self.tried.push("keyboard-interactive".to_owned());
                        self.password_failed = answered;
                        return Ok(Outcome::No);
                    }
                    answered |= hidden > 0;
                    let answers = prompts.iter().map(|_| password.expose().to_owned()).collect();
                    reply = self.handle.authenticate_keyboard_interactive_respond(answers).await.map_err(broken)?;
                }
            }
        }
        Ok(Outcome::No)
    }
}
