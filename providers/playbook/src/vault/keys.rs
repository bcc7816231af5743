//! Where a vault's password comes from.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use towpath_core::{Error, ErrorKind, Result, Secret};

use super::DEFAULT_VAULT_ID;
use crate::PLAYBOOK;

/// A password as `--vault-id` names it: `dev@file`, `dev@prompt`, `file`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultSource {
    /// Its id; `default` if not given.
    pub id: String,
    /// The file or program; `None`: whoever runs this is asked.
    pub file: Option<PathBuf>,
}

impl VaultSource {
    /// Takes `id@source` or `source` apart.
    pub fn parse(text: &str) -> Self {
        let (id, source) = match text.split_once('@') {
            Some((id, source)) if !id.is_empty() => (id, source),
            Some((_, source)) => (DEFAULT_VAULT_ID, source),
            None => (DEFAULT_VAULT_ID, text),
        };
        let asked = ["prompt", "prompt_ask_vault_pass"].contains(&source);
        Self { id: id.to_owned(), file: (!asked).then(|| PathBuf::from(source)) }
    }
}

/// The password in a file, or what a program prints if the file can be executed. A program whose name ends with `-client` is told
/// the id: `--vault-id ID`.
///
/// # Errors
///
/// [`NotFound`](ErrorKind::NotFound): there is no such file. [`ToolFailed`](ErrorKind::ToolFailed): the program failed.
/// [`InvalidInput`](ErrorKind::InvalidInput): the password is empty. What a file or program holds is in no error.
pub fn password_from_file(path: &Path, id: &str) -> Result<Secret> {
    let wrong = |kind, message: &str| Error::new(kind, PLAYBOOK, "vault", message).with("file", path.display());
    let missing = |e: std::io::Error| wrong(ErrorKind::NotFound, "The vault password file was not found").caused_by(e);
    let about = std::fs::metadata(path).map_err(missing)?;
    let bytes = if is_executable(&about) {
        let path = std::path::absolute(path).map_err(missing)?;
        let mut command = Command::new(&path);
        if path.file_stem().is_some_and(|s| s.to_string_lossy().ends_with("-client")) {
            command.args(["--vault-id", id]);
        }
        let out = command.stdin(Stdio::inherit()).stderr(Stdio::inherit()).output().map_err(|e| {
            wrong(ErrorKind::ToolFailed, "the program that gives the vault password can't be run; if it is no program, remove its executable bit").caused_by(e)
        })?;
        if !out.status.success() {
            return Err(wrong(ErrorKind::ToolFailed, "the program that gives the vault password failed")
                .with("status", out.status));
        }
        out.stdout
    } else {
        std::fs::read(path).map_err(missing)?
    };
    let text =
        String::from_utf8(bytes).map_err(|_| wrong(ErrorKind::InvalidInput, "the vault password is no UTF-8"))?;
    let password = text.trim();
    if password.is_empty() {
        return Err(wrong(ErrorKind::InvalidInput, "Invalid vault password was provided: it is empty"));
    }
    Ok(Secret::new(password))
}

fn is_executable(about: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    about.is_file() && about.permissions().mode() & 0o111 != 0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn sources_have_an_id_and_a_file() {
        let of = |text: &str| VaultSource::parse(text);
        assert_eq!(of("dev@pw"), VaultSource { id: "dev".into(), file: Some("pw".into()) });
        assert_eq!(of("pw"), VaultSource { id: "default".into(), file: Some("pw".into()) });
        assert_eq!(of("dev@prompt"), VaultSource { id: "dev".into(), file: None });
        assert_eq!(of("@pw").id, "default");
    }

    #[test]
    fn files_and_programs_give_passwords() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str, mode: u32| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        let plain = put("pw", "secret word\n", 0o600);
        assert_eq!(password_from_file(&plain, "x").unwrap().expose(), "secret word");
        let client = put("key-client.sh", "#!/bin/sh\necho \"$1 $2\"\n", 0o700);
        assert_eq!(password_from_file(&client, "dev").unwrap().expose(), "--vault-id dev");
        let failing = put("failing", "#!/bin/sh\necho hunter22; exit 3\n", 0o700);
        let error = password_from_file(&failing, "x").unwrap_err();
        assert!(error.kind() == ErrorKind::ToolFailed && !error.report().contains("hunter22"), "{}", error.report());
        assert_eq!(password_from_file(&put("empty", "\n", 0o600), "x").unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(password_from_file(&dir.path().join("no"), "x").unwrap_err().kind(), ErrorKind::NotFound);
    }
}
