//! Files through a command's streams: that needs no SFTP server, and works the same as another user.

use bytes::Bytes;
use towpath_core::{Context, Error, ErrorKind, Exec, ExecOutput, ExitStatus, PutOptions, Result, Source, shell_quote};

use super::local;
use crate::exec::{Place, run};
use crate::start::Input;
use crate::{PROVIDER, random_name};

fn failed(operation: &'static str, place: &Place, path: &str, out: &ExecOutput) -> Error {
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
    let error = Error::new(kind, PROVIDER, operation, message).with("host", &place.host).with("path", path);
    let said = out.stderr_text();
    if said.is_empty() { error } else { error.caused_by(said) }
}

pub(super) async fn put(cx: &Context, place: &Place, source: Source, path: &str, options: &PutOptions) -> Result<()> {
    let (size, input) = match source {
        Source::Bytes(bytes) => (bytes.len() as u64, Input::Bytes(bytes)),
        Source::File(path) => {
            let (file, size) = local(&place.host, &path).await?;
            (size, Input::Reader(Box::new(file)))
        }
    };
    let owner = match (&options.owner, &options.group) {
        (None, None) => String::new(),
        (owner, group) => {
            let group = group.as_ref().map(|g| format!(":{g}")).unwrap_or_default();
            format!(
                "chown -- {} \"$t\" || exit 47\n",
                shell_quote(&format!("{}{group}", owner.as_deref().unwrap_or("")))
            )
        }
    };
    let mode = options.mode.map(|m| format!("{m:o}")).unwrap_or_default();
    let script = format!(
        r#"f={path} m={mode}
case $f in /*) ;; *) f=./$f ;; esac
d=${{f%/*}}; d=${{d:-/}}
[ -d "$f" ] && exit 45
[ -d "$d" ] || exit 44
t="$d/.towpath-{random}"
umask 077
trap 'rm -f -- "$t"' EXIT
trap 'exit 143' HUP INT TERM
true >"$t" || {{ [ -w "$d" ] || exit 43; exit 48; }}
cat >"$t" || exit 48
[ "$(wc -c <"$t")" -eq {size} ] || exit 48
[ -n "$m" ] || {{ [ -f "$f" ] && m=$(stat -c %a -- "$f" 2>/dev/null || stat -f %Lp -- "$f"); }}
{owner}chmod -- "${{m:-600}}" "$t" || exit 47
mv -f -- "$t" "$f" || exit 48
trap - EXIT"#,
        path = shell_quote(path),
        random = random_name(),
    );
    let mut exec = Exec::script(script);
    exec.label = Some(format!("put {path}"));
    exec.r#become = options.r#become.clone();
    let out = run(cx, place, &exec, Some(input)).await?;
    if out.status.is_success() { Ok(()) } else { Err(failed("put", place, path, &out)) }
}

pub(super) async fn get(cx: &Context, place: &Place, path: &str, limit_bytes: u64) -> Result<Bytes> {
    let script = format!(
        r#"f={}
case $f in /*) ;; *) f=./$f ;; esac
[ -d "$f" ] && exit 45
[ -e "$f" ] || exit 44
[ -r "$f" ] || exit 43
[ ! -f "$f" ] || [ "$(wc -c <"$f")" -le {limit_bytes} ] || exit 46
exec cat -- "$f""#,
        shell_quote(path)
    );
    let mut exec = Exec::script(script);
    exec.label = Some(format!("get {path}"));
    exec.limit_bytes = usize::try_from(limit_bytes).unwrap_or(usize::MAX - 1);
    let out = match run(cx, place, &exec, None).await {
        // A file without a size, as in /proc, is too long only once it is read.
        Err(e) if e.kind() == ErrorKind::Protocol && e.message().contains("wrote more than") => {
            let refused = ExecOutput { status: ExitStatus::Code(46), stdout: Bytes::new(), stderr: Bytes::new() };
            return Err(failed("get", place, path, &refused));
        }
        other => other?,
    };
    if out.status.is_success() { Ok(out.stdout) } else { Err(failed("get", place, path, &out)) }
}
