//! Scripts that write and read a file, and what their exit codes mean.

use crate::{Error, ErrorKind, ExecOutput, ExitStatus, PutOptions, shell_quote};

/// The exit status that says that a file is larger than the limit.
pub const TOO_LARGE: ExitStatus = ExitStatus::Code(46);

/// What a `put` or `get` script that did not succeed has met. `operation` is `put` or `get`.
pub fn transfer_error(
    provider: &'static str,
    operation: &'static str,
    host: &str,
    path: &str,
    out: &ExecOutput,
) -> Error {
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

/// Writes standard input, `size` bytes, to a file: a temporary beside it with mode 0600, then owner and mode, then rename.
/// `random` is a part of the temporary's name.
pub fn put_script(path: &str, size: u64, options: &PutOptions, random: &str) -> String {
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
    format!(
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
    )
}

/// Reads a file of at most `limit_bytes` to standard output.
pub fn get_script(path: &str, limit_bytes: u64) -> String {
    format!(
        r#"f={}
case $f in /*) ;; *) f=./$f ;; esac
[ -d "$f" ] && exit 45
[ -e "$f" ] || exit 44
[ -r "$f" ] || exit 43
[ ! -f "$f" ] || [ "$(wc -c <"$f")" -le {limit_bytes} ] || exit 46
exec cat -- "$f""#,
        shell_quote(path)
    )
}
