//! Commands that write and read a file, and what their exit codes mean.

use std::path::Path;

use bytes::Bytes;
use tokio::fs::File;

use crate::posix::Input;
use crate::{Error, ErrorKind, Exec, ExecOutput, ExitStatus, PutOptions, Result, Source, shell_quote};

/// The exit status that says that a file is larger than the limit.
const TOO_LARGE: ExitStatus = ExitStatus::Code(46);

/// Refuses what can't be a path on a host. `operation` is `put` or `get`.
///
/// # Errors
///
/// [`InvalidInput`](ErrorKind::InvalidInput): it is empty, or holds a NUL character.
pub fn check_path(provider: &'static str, operation: &'static str, host: &str, path: &str) -> Result<()> {
    if path.is_empty() || path.contains('\0') {
        return Err(Error::new(ErrorKind::InvalidInput, provider, operation, "this is no path of a file")
            .with("host", host)
            .with("path", path.escape_debug()));
    }
    Ok(())
}

/// Opens a file of this machine that is to be sent. Gives its size, too.
///
/// # Errors
///
/// [`NotFound`](ErrorKind::NotFound), [`Denied`](ErrorKind::Denied): it can't be read. [`InvalidInput`](ErrorKind::InvalidInput): it is no file.
pub async fn open_local(provider: &'static str, host: &str, path: &Path) -> Result<(File, u64)> {
    let unreadable = |e: std::io::Error| {
        let kind = if e.kind() == std::io::ErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Denied };
        Error::new(kind, provider, "put", "the local file can't be read")
            .with("file", path.display())
            .with("host", host)
            .caused_by(e)
    };
    let file = File::open(path).await.map_err(unreadable)?;
    let found = file.metadata().await.map_err(unreadable)?;
    if !found.is_file() {
        return Err(Error::new(ErrorKind::InvalidInput, provider, "put", "what is to be sent is no file: name one")
            .with("file", path.display())
            .with("host", host));
    }
    Ok((file, found.len()))
}

/// The command that writes a file, and its input.
///
/// # Errors
///
/// Those of [`open_local`].
pub async fn put_command(
    provider: &'static str,
    host: &str,
    source: Source,
    path: &str,
    options: &PutOptions,
    random: &str,
) -> Result<(Exec, Input)> {
    let (size, input) = match source {
        Source::Bytes(bytes) => (bytes.len() as u64, Input::Bytes(bytes)),
        Source::File(path) => {
            let (file, size) = open_local(provider, host, &path).await?;
            (size, Input::Reader(Box::new(file)))
        }
    };
    let mut exec = Exec::script(put_script(path, size, options, random));
    exec.label = Some(format!("put {path}"));
    exec.r#become = options.r#become.clone();
    Ok((exec, input))
}

/// The command that reads a file.
pub fn get_command(path: &str, limit_bytes: u64) -> Exec {
    let mut exec = Exec::script(get_script(path, limit_bytes));
    exec.label = Some(format!("get {path}"));
    exec.limit_bytes = usize::try_from(limit_bytes).unwrap_or(usize::MAX - 1);
    exec
}

/// What came of one of these commands. `operation` is `put` or `get`.
///
/// # Errors
///
/// Those of [`Connection::put`](crate::Connection::put) and [`Connection::get`](crate::Connection::get).
pub fn transferred(
    provider: &'static str,
    operation: &'static str,
    host: &str,
    path: &str,
    out: Result<ExecOutput>,
) -> Result<Bytes> {
    let out = match out {
        // A file without a size, as in /proc, is too long only once it is read. Nothing else here names its command.
        Err(e) if operation == "get" && e.kind() == ErrorKind::Protocol && e.get("command").is_some() => {
            ExecOutput { status: TOO_LARGE, stdout: Bytes::new(), stderr: Bytes::new() }
        }
        other => other?,
    };
    match out.status.is_success() {
        true => Ok(out.stdout),
        false => Err(transfer_error(provider, operation, host, path, &out)),
    }
}

/// What a command that did not succeed has met.
fn transfer_error(provider: &'static str, operation: &'static str, host: &str, path: &str, out: &ExecOutput) -> Error {
    let (kind, message) = match out.status {
        ExitStatus::Code(43) => (ErrorKind::Denied, "no permission"),
        ExitStatus::Code(44) if operation == "put" => (ErrorKind::NotFound, "its directory does not exist"),
        ExitStatus::Code(44) => (ErrorKind::NotFound, "there is no such file"),
        ExitStatus::Code(45) => (ErrorKind::InvalidInput, "it is a directory"),
        ExitStatus::Code(46) => (ErrorKind::InvalidInput, "the file is larger than the limit"),
        ExitStatus::Code(47) => (ErrorKind::ToolFailed, "owner or mode can't be set"),
        ExitStatus::Code(48) => (ErrorKind::ToolFailed, "not all of it could be written"),
        _ => (ErrorKind::ToolFailed, "the file can't be transferred"),
    };
    let error = Error::new(kind, provider, operation, message).with("host", host).with("path", path);
    let said = out.stderr_text();
    if said.is_empty() { error } else { error.caused_by(said) }
}

/// Exits with what is true of a path that does not seem to be there: behind a folder that may not be entered nothing is known to be absent.
const ABSENT: &str = r#"absent() {
p=${1%/*}
while [ -n "$p" ] && [ ! -e "$p" ]; do p=${p%/*}; done
[ -x "${p:-/}" ] || exit 43
exit 44
}"#;

/// Writes standard input, `size` bytes, to a file: a temporary beside it with mode 0600, then owner and mode, then rename.
/// `random` is a part of the temporary's name.
fn put_script(path: &str, size: u64, options: &PutOptions, random: &str) -> String {
    let owner = match (&options.owner, &options.group) {
        (None, None) => String::new(),
        (owner, group) => {
            let group = group.as_ref().map(|g| format!(":{g}")).unwrap_or_default();
            format!(
                "chown -h -- {} \"$t\" || exit 47\n",
                shell_quote(&format!("{}{group}", owner.as_deref().unwrap_or("")))
            )
        }
    };
    let mode = options.mode.map(|m| format!("{m:o}")).unwrap_or_default();
    format!(
        r#"f={path} m={mode}
case $f in /*) ;; *) f=./$f ;; esac
d=${{f%/*}}; d=${{d:-/}}
{ABSENT}
[ -d "$f" ] && exit 45
[ -d "$d" ] || absent "$d"
t="$d/.towpath-{random}"
umask 077
trap 'rm -f -- "$t"' EXIT
trap 'exit 143' HUP INT TERM
true >"$t" || {{ [ -w "$d" ] || exit 43; exit 48; }}
cat >"$t" || exit 48
[ "$(wc -c <"$t")" -eq {size} ] || exit 48
[ -n "$m" ] || {{ [ -f "$f" ] && m=$(stat -L -c %a -- "$f" 2>/dev/null || stat -L -f %Lp -- "$f"); }}
{owner}# Where others may write, somebody may have put a link there meanwhile.
[ ! -L "$t" ] && chmod -- "${{m:-600}}" "$t" || exit 47
mv -f -- "$t" "$f" || exit 48
trap - EXIT"#,
        path = shell_quote(path),
    )
}

/// Reads a file of at most `limit_bytes` to standard output.
fn get_script(path: &str, limit_bytes: u64) -> String {
    format!(
        r#"f={}
case $f in /*) ;; *) f=./$f ;; esac
{ABSENT}
[ -d "$f" ] && exit 45
[ -e "$f" ] || absent "$f"
[ -r "$f" ] || exit 43
[ ! -f "$f" ] || [ "$(wc -c <"$f")" -le {limit_bytes} ] || exit 46
exec cat -- "$f""#,
        shell_quote(path)
    )
}
