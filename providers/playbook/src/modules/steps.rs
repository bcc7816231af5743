//! Commands that change something, then a look at what is there now: one script, whose two answers are kept apart.

use std::collections::HashMap;

use serde_json::json;

use super::{Fields, Output, head};

/// Adds the folders of administrators' programs to the path, where they are missing.
pub(super) const PATHS: &str =
    "for d in /usr/local/sbin /usr/sbin /sbin; do case :$PATH: in *:$d:*) ;; *) PATH=$PATH:$d;; esac; done\n";

/// A folder of the script's own, which no other user can look into: `"$tp_w"`. It goes with the script; where it can't be made, the
/// script ends, and nothing is written to a path that begins with no folder.
pub(super) const FOLDER: &str =
    "tp_w=$(umask 077; mktemp -d \"${TMPDIR:-/tmp}/.towpath.XXXXXXXX\") || exit 1\ntrap 'rm -rf -- \"$tp_w\"' EXIT\n";

/// A script of two parts. The mark between them is random, so that no command's output can be taken for it.
pub(super) struct Steps {
    mark: String,
}

impl Steps {
    pub(super) fn new() -> Self {
        Self { mark: hex::encode(rand::random::<[u8; 16]>()) }
    }

    /// `change` may leave early with `exit`; then `look` is not run.
    pub(super) fn script(&self, change: &str, look: &str) -> String {
        format!("{change}printf '%s\\n' {}\n{look}", self.mark)
    }

    /// What the commands said, and the lines `key=value` of the look; no look if they left early.
    pub(super) fn split(&self, out: Output) -> (Output, Option<HashMap<String, String>>) {
        let mark = format!("{}\n", self.mark);
        let mark = mark.as_bytes();
        match out.stdout.windows(mark.len()).position(|w| w == mark) {
            Some(at) => {
                let after = out.stdout.get(at + mark.len()..).unwrap_or_default().to_vec();
                let mut said = out;
                said.stdout.truncate(at);
                (said, Some(lines(after)))
            }
            None => (out, None),
        }
    }
}

/// `key=value` lines.
pub(super) fn lines(mut text: Vec<u8>) -> HashMap<String, String> {
    if !text.ends_with(b"\n") {
        text.push(b'\n');
    }
    text.push(b'\n');
    head(&Output { stdout: text, ..Output::default() }).0
}

/// Puts `stdout` and `stderr` with their lines into a result; `always` also if they are empty.
pub(super) fn said(result: &mut Fields, out: &Output, always: bool) {
    for (key, text) in [("stdout", out.text()), ("stderr", out.error_text())] {
        if always || !text.is_empty() {
            result.insert(format!("{key}_lines"), json!(split(&text)));
            result.insert(key.into(), json!(text));
        }
    }
}

/// Lines as Python takes them apart: a carriage return ends one, too.
fn split(text: &str) -> Vec<&str> {
    let text = text.strip_suffix("\r\n").or_else(|| text.strip_suffix(['\n', '\r'])).unwrap_or(text);
    if text.is_empty() {
        return Vec::new();
    }
    text.split('\n').flat_map(|l| l.strip_suffix('\r').unwrap_or(l).split('\r')).collect()
}

/// The message of a result that failed.
pub(super) fn why(result: &Fields) -> String {
    result.get("msg").and_then(towpath_core::Json::as_str).unwrap_or_default().to_owned()
}

/// Writes a small file of settings by way of a temporary beside it; leaves the script if that fails. `mend` is for `"$p"`.
pub(super) fn put(path: &str, bytes: &[u8], mend: &str) -> String {
    let print = super::content::print(bytes);
    let write = super::content::Write { path, print: &print, mend: (mend, ""), ..Default::default() };
    // A group, not a subshell with `||` behind it: there, a command that fails would not end it.
    format!("set -e\n{{\n{}\n}} 3>&1 1>&2\nset +e\n", write.body(false))
}

/// A result that failed, for a reason that is no error of the arguments.
pub(super) fn failed(mut result: Fields, msg: impl Into<String>) -> Fields {
    result.insert("changed".into(), false.into());
    result.insert("failed".into(), true.into());
    result.insert("msg".into(), msg.into().into());
    result
}

/// What is said where a program is missing that a module needs.
pub(super) fn no_program(name: &str, path: &str) -> String {
    let mut folders: Vec<&str> = Vec::new();
    for folder in path.split(':') {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    format!("Failed to find required executable \"{name}\" in paths: {}", folders.join(":"))
}

/// An `umask` as the shell takes it, or the result that refuses it.
pub(super) fn umask(text: &str) -> Result<String, Fields> {
    let digits = text.trim();
    let digits = digits.strip_prefix("0o").or_else(|| digits.strip_prefix("0O")).unwrap_or(digits);
    match u32::from_str_radix(digits, 8) {
        Ok(bits) if !digits.starts_with('+') => Ok(format!("{:04o}", bits & 0o7777)),
        _ => {
            let mut why = Fields::new();
            why.insert("details".into(), format!("invalid literal for int() with base 8: '{text}'").into());
            Err(failed(why, "umask must be an octal integer"))
        }
    }
}

/// The task's environment, for the programs of a script.
pub(super) fn exports(env: &[(String, String)]) -> String {
    env.iter().map(|(k, v)| format!("export {k}={}\n", towpath_core::shell_quote(v))).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::FOLDER;

    #[test]
    fn a_script_without_a_folder_ends_before_it_writes_anywhere() {
        let run = |temporary: &std::path::Path| {
            let script = format!("{FOLDER}stat -c %a \"$tp_w\"\necho x >\"$tp_w/source\"\n");
            std::process::Command::new("sh").args(["-c", &script]).env("TMPDIR", temporary).output().unwrap()
        };
        let dir = tempfile::tempdir().unwrap();
        let out = run(dir.path());
        assert_eq!((out.status.code(), out.stdout.as_slice()), (Some(0), b"700\n".as_slice()));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the folder goes with its script");
        let out = run(&dir.path().join("nowhere"));
        assert_eq!((out.status.code(), out.stdout.as_slice()), (Some(1), b"".as_slice()));
    }
}
