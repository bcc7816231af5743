//! Files through a command's streams: that needs no SFTP server, and works the same as another user.

use bytes::Bytes;
use towpath_core::posix::{TOO_LARGE, get_script, put_script, transfer_error};
use towpath_core::{Context, Error, ErrorKind, Exec, ExecOutput, PutOptions, Result, Source};

use super::local;
use crate::exec::{Place, run};
use crate::start::Input;
use crate::{PROVIDER, random_name};

fn failed(operation: &'static str, place: &Place, path: &str, out: &ExecOutput) -> Error {
    transfer_error(PROVIDER, operation, &place.host, path, out)
}

pub(super) async fn put(cx: &Context, place: &Place, source: Source, path: &str, options: &PutOptions) -> Result<()> {
    let (size, input) = match source {
        Source::Bytes(bytes) => (bytes.len() as u64, Input::Bytes(bytes)),
        Source::File(path) => {
            let (file, size) = local(&place.host, &path).await?;
            (size, Input::Reader(Box::new(file)))
        }
    };
    let mut exec = Exec::script(put_script(path, size, options, &random_name()));
    exec.label = Some(format!("put {path}"));
    exec.r#become = options.r#become.clone();
    let out = run(cx, place, &exec, Some(input)).await?;
    if out.status.is_success() { Ok(()) } else { Err(failed("put", place, path, &out)) }
}

pub(super) async fn get(cx: &Context, place: &Place, path: &str, limit_bytes: u64) -> Result<Bytes> {
    let mut exec = Exec::script(get_script(path, limit_bytes));
    exec.label = Some(format!("get {path}"));
    exec.limit_bytes = usize::try_from(limit_bytes).unwrap_or(usize::MAX - 1);
    let out = match run(cx, place, &exec, None).await {
        // A file without a size, as in /proc, is too long only once it is read.
        Err(e) if e.kind() == ErrorKind::Protocol && e.message().contains("wrote more than") => {
            let refused = ExecOutput { status: TOO_LARGE, stdout: Bytes::new(), stderr: Bytes::new() };
            return Err(failed("get", place, path, &refused));
        }
        other => other?,
    };
    if out.status.is_success() { Ok(out.stdout) } else { Err(failed("get", place, path, &out)) }
}
