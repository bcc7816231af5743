//! Keeps what was changed at run time for HAProxy's next reload.

use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use towpath_core::{Context, Error, ErrorKind, PutOptions, Result, Source};

use crate::output;
use crate::provider::HAPROXY;
use crate::session::Session;

/// Writes the state of all servers. Another process may change something between the look and the write, and its own file may be
/// there first: the last one to write looks again, and writes again if there is something new.
pub(crate) async fn save(session: &Session<'_>, cx: &Context, operation: &'static str) -> Result<()> {
    let Some(path) = session.config.state_file.as_deref() else { return Ok(()) };
    let mut text = all(session, cx, operation).await?;
    // Somebody who changes servers all the time writes the file, too.
    for _ in 0..8 {
        write(session, cx, operation, path, &text).await?;
        let now = all(session, cx, operation).await?;
        if output::lasting(&now) == output::lasting(&text) {
            break;
        }
        text = now;
    }
    Ok(())
}

async fn all(session: &Session<'_>, cx: &Context, operation: &'static str) -> Result<String> {
    let reply = session.socket.ask(cx, operation, "show servers state").await?;
    // Looked at before it replaces a good file.
    output::servers(&reply.text).map_err(|e| session.nonsense(operation, &e))?;
    Ok(format!("{}\n", reply.text))
}

async fn write(session: &Session<'_>, cx: &Context, operation: &'static str, path: &str, text: &str) -> Result<()> {
    let written = match &session.socket.connection {
        Some(connection) => {
            let source = Source::Bytes(text.as_bytes().to_vec().into());
            connection.put(cx, source, path, &PutOptions::default()).await
        }
        None => {
            let (to, text) = (path.to_owned(), text.to_owned());
            let done = tokio::task::spawn_blocking(move || replace(Path::new(&to), text.as_bytes())).await;
            done.unwrap_or_else(|e| Err(io::Error::other(e)))
                .map_err(|e| Error::new(ErrorKind::Storage, HAPROXY, operation, "no file").caused_by(e))
        }
    };
    written.map_err(|e| {
        let message = "HAProxy has made the change, but its state can't be saved: a reload would undo it";
        let error = Error::new(ErrorKind::Storage, HAPROXY, operation, message).with("state_file", path).caused_by(e);
        session.socket.place(error)
    })
}

/// A temporary beside it with the old file's mode and owner, then a rename.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::other("the path names no file"))?.to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{:016x}", rand::random::<u64>()));
    let result = (|| {
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        if let Ok(old) = std::fs::metadata(path) {
            // Only root may give a file away; for anybody else it is theirs anyway, or stays so.
            let _ = std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()));
            file.set_permissions(std::fs::Permissions::from_mode(old.mode() & 0o777))?;
        }
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    })();
    if result.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    result
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_keeps_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        replace(&path, b"one").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary is left");
        assert!(replace(&dir.path().join("none/state"), b"x").is_err());
    }
}
