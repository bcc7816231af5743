//! Logging in.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{Certificate, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey, load_secret_key};
use towpath_core::{Context, Error, ErrorKind, Result};

use crate::PROVIDER;
use crate::config::Settings;
use crate::session::{Client, broken};

/// Tries every credential in OpenSSH's order: certificates and keys from files, the agent's, the password.
pub(crate) async fn log_in(cx: &Context, handle: &mut Handle<Client>, settings: &Settings) -> Result<()> {
    let mut tried = Vec::new();
    if with_files(handle, settings, &mut tried).await? || with_agent(handle, settings, &mut tried).await? {
        return Ok(());
    }
    if let Some(password) = &settings.password {
        let password = cx.resolve(password).await?;
        tried.push("password".to_owned());
        let done = handle.authenticate_password(&settings.user, password.expose()).await.map_err(broken)?;
        if matches!(done, AuthResult::Success) || interactive(handle, settings, password.expose()).await? {
            return Ok(());
        }
    }
    let tried =
        if tried.is_empty() { "nothing to try: no key file, agent or password".into() } else { tried.join(", ") };
    Err(Error::new(
        ErrorKind::Denied,
        PROVIDER,
        "connect",
        "the host accepts none of the credentials; add the public key to its authorized_keys, or set `identity_file`",
    )
    .with("user", &settings.user)
    .with("tried", tried))
}

async fn rsa_hash(handle: &Handle<Client>, rsa: bool) -> Result<Option<HashAlg>> {
    if !rsa {
        return Ok(None);
    }
    Ok(handle.best_supported_rsa_hash().await.map_err(broken)?.unwrap_or(Some(HashAlg::Sha512)))
}

fn certificates(settings: &Settings, key_file: &Path, key: &PrivateKey) -> Vec<Certificate> {
    let mut beside = key_file.as_os_str().to_owned();
    beside.push("-cert.pub");
    let beside = PathBuf::from(beside);
    settings
        .certificates
        .iter()
        .chain([&beside])
        .filter_map(|p| Certificate::read_file(p).ok())
        .filter(|c| c.public_key() == key.public_key().key_data())
        .collect()
}

async fn with_files(handle: &mut Handle<Client>, settings: &Settings, tried: &mut Vec<String>) -> Result<bool> {
    for path in &settings.identities {
        if !path.is_file() {
            continue;
        }
        let key = match load_secret_key(path, None) {
            Ok(key) => Arc::new(key),
            Err(e) => {
                // One with a passphrase may be in the agent.
                tried.push(format!("{} (not usable: {e})", path.display()));
                continue;
            }
        };
        for certificate in certificates(settings, path, &key) {
            tried.push(format!("{} with certificate {}", path.display(), certificate.key_id()));
            let done = handle.authenticate_openssh_cert(&settings.user, Arc::clone(&key), certificate).await;
            if matches!(done.map_err(broken)?, AuthResult::Success) {
                return Ok(true);
            }
        }
        tried.push(path.display().to_string());
        let hash = rsa_hash(handle, key.algorithm().is_rsa()).await?;
        let key = PrivateKeyWithHashAlg::new(key, hash);
        if matches!(handle.authenticate_publickey(&settings.user, key).await.map_err(broken)?, AuthResult::Success) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The public halves of the identity files, for `identities_only`.
fn wanted(settings: &Settings) -> Vec<PublicKey> {
    let of = |path: &PathBuf| {
        let mut public = path.as_os_str().to_owned();
        public.push(".pub");
        PublicKey::read_openssh_file(Path::new(&public)).or_else(|_| PublicKey::read_openssh_file(path)).ok()
    };
    settings.identities.iter().filter_map(of).collect()
}

async fn with_agent(handle: &mut Handle<Client>, settings: &Settings, tried: &mut Vec<String>) -> Result<bool> {
    let Some(socket) = &settings.agent else { return Ok(false) };
    // No agent is no error: it is one of several ways.
    let Ok(mut agent) = AgentClient::connect_uds(socket).await else { return Ok(false) };
    let Ok(identities) = agent.request_identities().await else { return Ok(false) };
    let wanted = wanted(settings);
    for identity in identities {
        let data = match &identity {
            AgentIdentity::PublicKey { key, .. } => key.key_data().clone(),
            AgentIdentity::Certificate { certificate, .. } => certificate.public_key().clone(),
        };
        if settings.identities_only && !wanted.iter().any(|k| *k.key_data() == data) {
            continue;
        }
        tried.push(format!("agent key {}", data.fingerprint(HashAlg::Sha256)));
        let hash = rsa_hash(handle, data.is_rsa()).await?;
        let done = match identity {
            AgentIdentity::PublicKey { key, .. } => {
                handle.authenticate_publickey_with(&settings.user, key, hash, &mut agent).await
            }
            AgentIdentity::Certificate { certificate, .. } => {
                handle.authenticate_certificate_with(&settings.user, certificate, hash, &mut agent).await
            }
        };
        // An agent that declines to sign (a user who said no) leaves the others.
        if matches!(done, Ok(AuthResult::Success)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The way in which PAM asks for a password. Every prompt gets it, at most three times.
async fn interactive(handle: &mut Handle<Client>, settings: &Settings, password: &str) -> Result<bool> {
    let mut reply = handle.authenticate_keyboard_interactive_start(&settings.user, None).await.map_err(broken)?;
    for _ in 0..3 {
        match reply {
            KeyboardInteractiveAuthResponse::Success => return Ok(true),
            KeyboardInteractiveAuthResponse::Failure { .. } => return Ok(false),
            KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => {
                let answers = prompts.iter().map(|_| password.to_owned()).collect();
                reply = handle.authenticate_keyboard_interactive_respond(answers).await.map_err(broken)?;
            }
        }
    }
    Ok(matches!(reply, KeyboardInteractiveAuthResponse::Success))
}
