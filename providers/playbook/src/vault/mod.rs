//! Ansible Vault: encrypted files and values, read and written.

mod cipher;
mod envelope;
#[cfg(test)]
mod fuzz;
mod keys;

use towpath_core::{Error, ErrorKind, Result, Secret};

use crate::PLAYBOOK;

pub use keys::{VaultSource, password_from_file};

/// Passwords for vaults, each under an id.
///
/// A text with an id is tried with the passwords of this id first, then with all others, as Ansible does.
#[derive(Debug, Clone, Default)]
pub struct Vault {
    keys: Vec<(String, Secret)>,
}

tokio::task_local! {
    /// The passwords of the run under way. Files are read in many places, and none of them decides which passwords there are.
    static CURRENT: std::sync::Arc<Vault>;
}

/// Does something with these passwords at hand for whatever is read meanwhile.
pub(crate) async fn with<F: Future>(vault: std::sync::Arc<Vault>, work: F) -> F::Output {
    CURRENT.scope(vault, work).await
}

/// As [`with`], without waiting.
pub(crate) fn with_sync<T>(vault: std::sync::Arc<Vault>, work: impl FnOnce() -> T) -> T {
    CURRENT.sync_scope(vault, work)
}

/// The passwords of the run under way; none outside of one.
pub(crate) fn current() -> std::sync::Arc<Vault> {
    CURRENT.try_with(std::sync::Arc::clone).unwrap_or_default()
}

/// Reads a file on this machine, and opens it if it is a vault.
pub(crate) fn read(path: &std::path::Path) -> std::io::Result<Vec<u8>> {
    let bytes = std::fs::read(path)?;
    current().open(bytes, &path.display().to_string()).map_err(|e| std::io::Error::other(e.report()))
}

/// As [`read`], for text.
pub(crate) fn read_text(path: &std::path::Path) -> std::io::Result<String> {
    read(path).and_then(|bytes| String::from_utf8(bytes).map_err(std::io::Error::other))
}

/// The id of a password that was given without one.
pub const DEFAULT_VAULT_ID: &str = "default";

impl Vault {
    /// No password at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a password.
    #[must_use]
    pub fn key(mut self, id: impl Into<String>, password: Secret) -> Self {
        self.keys.push((id.into(), password));
        self
    }

    /// Whether there is no password.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The ids of all passwords, in their order.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|(id, _)| id.as_str())
    }

    /// All passwords, so that they can be masked.
    pub fn passwords(&self) -> impl Iterator<Item = &Secret> {
        self.keys.iter().map(|(_, password)| password)
    }

    /// Whether this begins as a vault does.
    pub fn is_encrypted(text: &[u8]) -> bool {
        text.starts_with(envelope::HEADER.as_bytes())
    }

    /// Decrypts a vault. `what` names it in errors: a file, or the place of a value.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): it is no vault, or is damaged.
    /// [`Denied`](ErrorKind::Denied): no password was given, or none of them opens it.
    pub fn decrypt(&self, text: &[u8], what: &str) -> Result<Vec<u8>> {
        let text = std::str::from_utf8(text).map_err(|_| damaged("it is no text", what))?;
        let sealed = envelope::open(text).map_err(|e| damaged(&e, what))?;
        if self.keys.is_empty() {
            return Err(denied("Attempting to decrypt but no vault secrets found", what));
        }
        let (mine, others): (Vec<_>, Vec<_>) =
            self.keys.iter().partition(|(id, _)| sealed.id.as_ref().is_some_and(|wanted| wanted == id));
        for (_, password) in mine.into_iter().chain(others) {
            if let Some(plain) = cipher::decrypt(password, &sealed) {
                return Ok(plain);
            }
        }
        Err(denied("Decryption failed (no vault secrets were found that could decrypt)", what))
    }

    /// Encrypts with the password of this id, or with the first one. A password that has an id other than `default` gives the
    /// form 1.2, which names it.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): there is no such password.
    pub fn encrypt(&self, plain: &[u8], id: Option<&str>) -> Result<String> {
        let found = match id {
            Some(id) => self.keys.iter().find(|(have, _)| have == id),
            None => self.keys.first(),
        };
        let wrong = |message: String| Error::new(ErrorKind::InvalidInput, PLAYBOOK, "vault", message);
        let (id, password) = found.ok_or_else(|| match id {
            Some(id) => wrong(format!(
                "Did not find a match for --encrypt-vault-id={id} in the known vault-ids {:?}",
                self.ids().collect::<Vec<_>>()
            )),
            None => wrong("A vault password is required to use Ansible's Vault".into()),
        })?;
        let id = Some(id.as_str()).filter(|id| *id != DEFAULT_VAULT_ID);
        Ok(envelope::seal(&cipher::encrypt(password, plain), id))
    }

    /// Opens a file's bytes if they are a vault, else gives them back.
    ///
    /// # Errors
    ///
    /// As [`decrypt`](Self::decrypt).
    pub fn open(&self, bytes: Vec<u8>, what: &str) -> Result<Vec<u8>> {
        if Self::is_encrypted(&bytes) { self.decrypt(&bytes, what) } else { Ok(bytes) }
    }
}

fn damaged(why: &str, what: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, PLAYBOOK, "vault", format!("this is no Ansible Vault that can be read: {why}"))
        .with("in", what)
}

fn denied(message: &str, what: &str) -> Error {
    Error::new(ErrorKind::Denied, PLAYBOOK, "vault", message).with("in", what)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    /// Made by `ansible-vault` of ansible-core 2.18.19 with the password `pw`, from `a: 1` and a line's end.
    const OF_ANSIBLE: &str = "$ANSIBLE_VAULT;1.2;AES256;dev
62326663393739306561353337346134646235396661303231336661623339663532376437353132
6534666230663731373561363864356530633539316665640a653234663432663135663462383565
33646439623266333564326361366133303636666162356263626439643031643364616539333566
3565323434626539340a363866366136303834623266313061656361323337663164396133663562
6635
";

    fn keyring() -> Vault {
        Vault::new().key("other", Secret::new("wrong")).key(DEFAULT_VAULT_ID, Secret::new("pw"))
    }

    #[test]
    fn what_was_encrypted_is_decrypted() {
        for plain in [&b""[..], b"a: 1\n", &[0, 255, 10], &[b'x'; 1000]] {
            let sealed = keyring().encrypt(plain, Some(DEFAULT_VAULT_ID)).unwrap();
            assert!(sealed.starts_with("$ANSIBLE_VAULT;1.1;AES256\n"), "{sealed}");
            assert!(sealed.lines().all(|l| l.len() <= 80) && sealed.ends_with('\n'));
            assert_eq!(keyring().decrypt(sealed.as_bytes(), "x").unwrap(), plain);
        }
        let named = keyring().encrypt(b"x", Some("other")).unwrap();
        assert!(named.starts_with("$ANSIBLE_VAULT;1.2;AES256;other\n"), "{named}");
        assert_eq!(keyring().decrypt(named.replace('\n', "\r\n").as_bytes(), "x").unwrap(), b"x");
    }

    #[test]
    fn errors_say_what_is_wrong_and_no_password() {
        let sealed = keyring().encrypt(b"x", Some(DEFAULT_VAULT_ID)).unwrap();
        let error = Vault::new().key("a", Secret::new("hunter22")).decrypt(sealed.as_bytes(), "vars.yml").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied);
        let report = error.report();
        assert!(
            report.contains("no vault secrets were found that could decrypt") && report.contains("vars.yml"),
            "{report}"
        );
        assert!(!report.contains("hunter22"));
        assert_eq!(Vault::new().decrypt(sealed.as_bytes(), "x").unwrap_err().kind(), ErrorKind::Denied);
        // One digit of the ciphertext is another one.
        let mut spoilt = sealed.into_bytes();
        let at = spoilt.len() - 2;
        spoilt[at] = if spoilt[at] == b'0' { b'1' } else { b'0' };
        assert!(keyring().decrypt(&spoilt, "x").is_err());
        for broken in [
            "plain",
            "$ANSIBLE_VAULT;1.1;AES256",
            "$ANSIBLE_VAULT;1.1;AES256\n6162\n",
            "$ANSIBLE_VAULT;1.0;AES\n6162\n",
            "$ANSIBLE_VAULT;1.1;AES256\nzz\n",
        ] {
            assert_eq!(
                keyring().decrypt(broken.as_bytes(), "x").unwrap_err().kind(),
                ErrorKind::InvalidInput,
                "{broken}"
            );
        }
        assert!(Vault::new().encrypt(b"x", None).is_err() && keyring().encrypt(b"x", Some("nobody")).is_err());
    }

    #[test]
    fn a_vault_of_ansible_is_read() {
        assert_eq!(keyring().decrypt(OF_ANSIBLE.as_bytes(), "x").unwrap(), b"a: 1\n");
    }
}
