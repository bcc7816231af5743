//! `tempfile`.

use serde_json::json;
use towpath_core::{Action, shell_quote};

use super::attrs::Seen;
use super::content::{QUIET, broken};
use super::spec::Rules;
use super::{Call, Decision, Fields, Module, Pending, Place, fields};

/// `tempfile`.
pub(super) const MODULE: Module =
    Module { names: &["tempfile"], rules: Rules::NONE, missing: &[], place: Place::Host, prepare };

fn prepare(call: &Call) -> Result<Decision, String> {
    let folder = call.need("state")? == "directory";
    let (prefix, suffix) = (call.text("prefix").unwrap_or_default(), call.text("suffix").unwrap_or_default());
    // `mktemp` of busybox takes no suffix: the name is made here, and must be new there.
    let letters: String = rand::random::<[u8; 8]>()
        .iter()
        .map(|b| char::from(*b"abcdefghijklmnopqrstuvwxyz0123456789_".get(usize::from(*b) % 37).unwrap_or(&b'_')))
        .collect();
    let name = format!("{prefix}{letters}{suffix}");
    let base = match call.text("path") {
        Some(path) => shell_quote(&path),
        None => "\"${TMPDIR:-/tmp}\"".to_owned(),
    };
    let make = if folder { "mkdir -m 700 -- \"$p\"" } else { "(umask 077; set -C; : >\"$p\")" };
    let script =
        format!("{QUIET}p={base}/{}\nprintf 'path=%s\\n' \"$p\" >&3\n{make}\ntp_stat \"$p\" >&3\n", shell_quote(&name));
    let expected = fields([
        ("changed", json!(false)),
        ("skipped", json!(true)),
        ("msg", json!("remote module (tempfile) does not support check mode")),
    ]);
    Ok(Decision::Change(Pending {
        script,
        action: Action::Create,
        subject: format!("temporary {}", if folder { "folder" } else { "file" }),
        path: None,
        before: None,
        after: None,
        certain: true,
        foreign: false,
        expected,
        finish: Box::new(|out| {
            let (seen, _) = Seen::read(&out);
            if out.rc != 0 {
                let msg = format!("{}: '{}'", super::content::errno(&out.error_text()), seen.get("path"));
                let mut all = broken(&out, &seen);
                all.remove("path");
                all.insert("msg".into(), json!(msg));
                return all;
            }
            let mut all: Fields = seen.facts();
            all.extend(fields([("changed", json!(true)), ("path", json!(seen.get("path")))]));
            all
        }),
    }))
}
