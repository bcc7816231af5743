//! Private keys from files.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use russh::keys::{Error as KeyError, PrivateKey, decode_secret_key};
use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;
use towpath_core::{Context, Error, ErrorKind, Result};

use crate::PROVIDER;
use crate::settings::Settings;

/// Keys with a passphrase that were unlocked: that is slow on purpose, so it is done once and not for each host.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    unlocked: Mutex<HashMap<String, Unlocked>>,
}

type Unlocked = Arc<OnceCell<Arc<PrivateKey>>>;

/// What became of a key file.
pub(crate) enum Key {
    Usable(Arc<PrivateKey>),
    /// It needs a passphrase, and there is none.
    Locked,
    /// It can't be used; why.
    Unusable(String),
}

impl Keys {
    /// Reads a key file.
    pub(crate) async fn read(&self, cx: &Context, settings: &Settings, path: &Path) -> Result<Key> {
        let text = match tokio::fs::read_to_string(path).await {
            Ok(text) => text,
            Err(e) => return Ok(Key::Unusable(e.to_string())),
        };
        match decode_secret_key(&text, None) {
            Ok(key) => return Ok(Key::Usable(Arc::new(key))),
            Err(KeyError::KeyIsEncrypted) => {}
            Err(e) => {
                let key = crate::short_scalar::read(&text);
                return Ok(key.map_or_else(|| Key::Unusable(e.to_string()), |k| Key::Usable(Arc::new(k))));
            }
        }
        let Some(passphrase) = &settings.passphrase else { return Ok(Key::Locked) };
        let name = format!("{}{passphrase:?}{}", hex::encode(Sha256::digest(&text)), path.display());
        let cell = {
            let mut all = self.unlocked.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(name).or_default())
        };
        let opened = cell
            .get_or_try_init(|| async {
                let passphrase = cx.resolve(passphrase).await.map_err(|e| e.with("key_file", path.display()))?;
                let work = move || decode_secret_key(&text, Some(passphrase.expose()));
                let done = tokio::task::spawn_blocking(work).await;
                match done {
                    Ok(Ok(key)) => Ok(Arc::new(key)),
                    Ok(Err(e)) => Err(Error::new(
                        ErrorKind::Denied,
                        PROVIDER,
                        "connect",
                        "the passphrase does not open the private key",
                    )
                    .with("key_file", path.display())
                    .caused_by(e)),
                    Err(e) => {
                        Err(Error::new(ErrorKind::Internal, PROVIDER, "connect", "reading a key was interrupted")
                            .caused_by(e))
                    }
                }
            })
            .await;
        match opened {
            Ok(key) => Ok(Key::Usable(Arc::clone(key))),
            // The agent may have it.
            Err(e) if e.kind() == ErrorKind::Denied => Ok(Key::Unusable("the passphrase does not open it".into())),
            Err(e) => Err(e),
        }
    }
}
