//! Bytes of a file through the shell.

use towpath_core::shell_quote;

/// Prints bytes with nothing but the shell's own `printf`.
pub(super) fn print(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return ":".into();
    }
    let mut out = String::from("{\n");
    for chunk in bytes.chunks(4000) {
        out.push_str("printf '%b' '");
        for b in chunk {
            match b {
                b'\n' => out.push('\n'),
                b'\'' => out.push_str(r"'\''"),
                b'\\' => out.push_str(r"\\"),
                b' '..=b'~' => out.push(char::from(*b)),
                b => out.push_str(&format!("\\0{b:03o}")),
            }
        }
        out.push_str("'\n");
    }
    out.push('}');
    out
}

/// Replaces a file by way of a temporary beside it. `attrs` mends owner and mode of `"$p"`. `old` says whether the owner and
/// mode of a file that is there are kept.
pub(super) fn replace(
    path: &str,
    bytes: &[u8],
    attrs: &str,
    seen: &std::collections::HashMap<String, String>,
    validate: Option<&str>,
) -> String {
    let get = |k: &str| seen.get(k).map(String::as_str).unwrap_or_default();
    let keep = if get("type") == "file" {
        format!("chown {}:{} \"$p\" 2>/dev/null || :\nchmod {} \"$p\"\n", get("uid"), get("gid"), get("mode"))
    } else {
        "chmod \"$tp_new\" \"$p\"\n".to_owned()
    };
    let check = validate.map(|v| format!("{}\n", v.replace("%s", "\"$p\""))).unwrap_or_default();
    format!(
        "set -e\nd={}\np=\"$d.towpath.$$\"\ntp_new=$(printf '%o' $((0666 & ~0$(umask))))\ntrap 'rm -f \"$p\"' EXIT\n\
         (umask 077; {} > \"$p\")\n{keep}{attrs}{check}mv -f \"$p\" \"$d\"\ntrap - EXIT\n",
        shell_quote(path),
        print(bytes),
    )
}

/// A text for a plan's difference; `None` if it is large or no text.
pub(super) fn shown(bytes: &[u8]) -> Option<towpath_core::Json> {
    if bytes.len() > 100_000 {
        return None;
    }
    std::str::from_utf8(bytes).ok().map(towpath_core::Json::from)
}
