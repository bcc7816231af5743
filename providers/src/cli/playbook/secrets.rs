//! Passwords: asked on the terminal without echo, read from files, kept in memory.

use std::io::{BufRead as _, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};

use crate::playbook::{AnsibleSettings, DEFAULT_VAULT_ID, Vault, VaultSource, password_from_file};
use crate::{Error, ErrorKind, Result, Secret, SecretRef};

use super::options::Vaults;

fn wrong(message: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, "playbook", "secrets", message)
}

/// Passwords that must not be in any file, environment or argument: in memory that has no name, for as long as this lives.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held(Arc<Mutex<Vec<OwnedFd>>>);

impl Held {
    /// Keeps a password, and says how to get at it again from this process.
    pub(crate) fn keep(&self, secret: &Secret) -> Result<SecretRef> {
        let failed = |e: std::io::Error| wrong("memory for a password can't be had").caused_by(e);
        let fd = memfd_create(c"password", MFdFlags::MFD_CLOEXEC).map_err(|e| failed(e.into()))?;
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let mut file = std::fs::File::from(fd.try_clone().map_err(failed)?);
        // One trailing newline is taken off when it is read.
        file.write_all(secret.expose().as_bytes()).and_then(|()| file.write_all(b"\n")).map_err(failed)?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(fd);
        Ok(SecretRef::File(path.into()))
    }
}

/// Asks on the terminal; what is typed is not shown. Without a terminal, a line of standard input is the answer.
pub(crate) fn ask(prompt: &str) -> Result<Secret> {
    let nobody =
        |e: std::io::Error| wrong("there is nobody to ask for a password").with("question", prompt.trim()).caused_by(e);
    let mut line = zeroize::Zeroizing::new(String::new());
    match std::fs::OpenOptions::new().read(true).write(true).open("/dev/tty") {
        Ok(mut tty) => {
            let before = tcgetattr(tty.as_fd()).map_err(|e| nobody(e.into()))?;
            let mut silent = before.clone();
            silent.local_flags.remove(LocalFlags::ECHO);
            silent.local_flags.insert(LocalFlags::ECHONL);
            tcsetattr(tty.as_fd(), SetArg::TCSAFLUSH, &silent).map_err(|e| nobody(e.into()))?;
            let read = write!(tty, "{prompt}")
                .and_then(|()| tty.flush())
                .and_then(|()| std::io::BufReader::new(&tty).read_line(&mut line));
            let _ = tcsetattr(tty.as_fd(), SetArg::TCSAFLUSH, &before);
            read.map_err(nobody)?;
        }
        Err(_) => {
            let mut err = std::io::stderr();
            let _ = write!(err, "{prompt}").and_then(|()| err.flush());
            let read = std::io::stdin().lock().read_line(&mut line).map_err(nobody)?;
            if read == 0 {
                return Err(wrong("there is nobody to ask for a password").with("question", prompt.trim()));
            }
        }
    }
    Ok(Secret::new(line.trim_end_matches(['\n', '\r'])))
}

/// The password in a file; `-` is standard input.
pub(crate) fn from_file(path: &Path) -> Result<Secret> {
    if path.as_os_str() == "-" {
        let mut text = zeroize::Zeroizing::new(String::new());
        std::io::stdin().read_to_string(&mut text).map_err(|e| wrong("the password can't be read").caused_by(e))?;
        return Ok(Secret::new(text.trim()));
    }
    password_from_file(path, DEFAULT_VAULT_ID)
}

/// All passwords of vaults that options and settings name, asked for where they say so.
pub(crate) fn vault(options: &Vaults, settings: &AnsibleSettings) -> Result<Vault> {
    let mut sources: Vec<VaultSource> = options.vault_id.iter().map(|t| VaultSource::parse(t)).collect();
    let configured = settings.list("DEFAULT_VAULT_IDENTITY_LIST");
    let base = settings.file.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
    sources.splice(
        0..0,
        configured.iter().map(|text| {
            let mut source = VaultSource::parse(text);
            source.file = source.file.map(|f| if text.contains("~/") { expand(&f) } else { base.join(f) });
            source
        }),
    );
    let files = options.vault_password_file.iter().map(Into::into);
    let of_settings = settings.path("DEFAULT_VAULT_PASSWORD_FILE").filter(|_| options.vault_password_file.is_empty());
    sources.extend(files.chain(of_settings).map(|file| VaultSource { id: DEFAULT_VAULT_ID.into(), file: Some(file) }));
    let asked = options.ask_vault_password || settings.flag("DEFAULT_ASK_VAULT_PASS") == Some(true);
    if asked && !sources.iter().any(|s| s.file.is_none()) {
        sources.push(VaultSource { id: DEFAULT_VAULT_ID.into(), file: None });
    }
    let mut vault = Vault::new();
    for source in sources {
        let secret = match &source.file {
            Some(file) => password_from_file(&expand(file), &source.id)?,
            None if source.id == DEFAULT_VAULT_ID => ask("Vault password: ")?,
            None => ask(&format!("Vault password ({}): ", source.id))?,
        };
        vault = vault.key(source.id, secret);
    }
    Ok(vault)
}

fn expand(path: &Path) -> std::path::PathBuf {
    match path.strip_prefix("~") {
        Ok(rest) => std::env::home_dir().unwrap_or_default().join(rest),
        Err(_) => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_kept_password_comes_back_and_is_in_no_file() {
        let held = Held::default();
        let reference = held.keep(&Secret::new("correct horse\n")).unwrap();
        for _ in 0..2 {
            assert_eq!(reference.resolve().await.unwrap().expose(), "correct horse\n");
        }
        drop(held);
        assert!(reference.resolve().await.is_err());
    }
}
