//! Files to and from a container, through a command's streams: the engine's own archives can neither rename nor look up owners.

use bytes::Bytes;
use tokio::fs::File;
use towpath_core::posix::{TOO_LARGE, get_script, put_script, transfer_error};
use towpath_core::{Context, Error, ErrorKind, Exec, ExecOutput, PutOptions, Result, Source};

use super::exec::{Place, run};
use super::start::Input;
use crate::{PROVIDER, random_name};

fn check(place: &Place, operation: &'static str, path: &str) -> Result<()> {
    if path.is_empty() || path.contains('\0') {
        return Err(Error::new(ErrorKind::InvalidInput, PROVIDER, operation, "this is no path of a file")
            .with("host", &place.host)
            .with("path", path.escape_debug()));
    }
    Ok(())
}

fn finish(operation: &'static str, place: &Place, path: &str, out: ExecOutput) -> Result<Bytes> {
    match out.status.is_success() {
        true => Ok(out.stdout),
        false => Err(transfer_error(PROVIDER, operation, &place.host, path, &out)),
    }
}

/// Opens a file of this machine that is to be sent.
async fn local(place: &Place, path: &std::path::Path) -> Result<(File, u64)> {
    let unreadable = |e: std::io::Error| {
        let kind = if e.kind() == std::io::ErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Denied };
        Error::new(kind, PROVIDER, "put", "the local file can't be read")
            .with("file", path.display())
            .with("host", &place.host)
            .caused_by(e)
    };
    let file = File::open(path).await.map_err(unreadable)?;
    let size = file.metadata().await.map_err(unreadable)?.len();
    Ok((file, size))
}

pub(super) async fn put(cx: &Context, place: &Place, source: Source, path: &str, options: &PutOptions) -> Result<()> {
    check(place, "put", path)?;
    let (size, input) = match source {
        Source::Bytes(bytes) => (bytes.len() as u64, Input::Bytes(bytes)),
        Source::File(path) => {
            let (file, size) = local(place, &path).await?;
            (size, Input::Reader(Box::new(file)))
        }
    };
    let mut exec = Exec::script(put_script(path, size, options, &random_name()));
    exec.label = Some(format!("put {path}"));
    exec.r#become = options.r#become.clone();
    let out = run(cx, place, &exec, Some(input)).await?;
    finish("put", place, path, out).map(drop)
}

pub(super) async fn get(cx: &Context, place: &Place, path: &str, limit_bytes: u64) -> Result<Bytes> {
    check(place, "get", path)?;
    let mut exec = Exec::script(get_script(path, limit_bytes));
    exec.label = Some(format!("get {path}"));
    exec.limit_bytes = usize::try_from(limit_bytes).unwrap_or(usize::MAX - 1);
    let out = match run(cx, place, &exec, None).await {
        // A file without a size, as in /proc, is too long only once it is read. Nothing else here writes too much.
        Err(e) if e.kind() == ErrorKind::Protocol && e.get("command").is_some() => {
            ExecOutput { status: TOO_LARGE, stdout: Bytes::new(), stderr: Bytes::new() }
        }
        other => other?,
    };
    finish("get", place, path, out)
}
