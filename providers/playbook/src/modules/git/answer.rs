//! Results of `git`, from what scripts say.

use std::collections::HashMap;

use serde_json::json;
use towpath_core::Json;

use super::super::command::python_quoted;
use super::super::steps::said;
use super::super::{Fields, Output, fields, head};
use super::look::State;
use super::{Want, outcome};

pub(super) const OLD_SSH: &str =
    "Your ssh client does not support accept_newhostkey option, therefore it cannot be used.";
const NO_DEPTH: &str = "Ignoring depth argument. Shallow clones are only available for HEAD, branches, tags or in combination with refspec.";

/// How a command of git failed.
pub(super) struct Failure {
    kind: String,
    rc: i64,
    words: Vec<String>,
    stdout: String,
    stderr: String,
    /// What else the script told before.
    seen: HashMap<String, String>,
}

impl Failure {
    pub(super) fn read(seen: &HashMap<String, String>, body: &[u8]) -> Self {
        let get = |k: &str| seen.get(k).map(String::as_str).unwrap_or_default();
        let size = get("out").trim().parse::<usize>().unwrap_or(0).min(body.len());
        let (out, err) = body.split_at(size);
        Self {
            kind: get("fail").to_owned(),
            rc: get("rc").parse().unwrap_or(1),
            words: get("cmd").split('\u{1f}').map(str::to_owned).collect(),
            stdout: String::from_utf8_lossy(out).into_owned(),
            stderr: String::from_utf8_lossy(err).into_owned(),
            seen: seen.clone(),
        }
    }

    pub(super) fn fields(self, w: &Want) -> Fields {
        let (out, err) = (mask(&self.stdout), mask(&self.stderr));
        let plain: Vec<String> = self.words.iter().map(|w| veil(w)).collect();
        let mut all = fields([("changed", json!(false)), ("failed", json!(true))]);
        let output = Output { stdout: out.clone().into(), stderr: err.clone().into(), rc: 0 };
        let tell = |all: &mut Fields, rc: bool| {
            said(all, &output, true);
            if rc {
                all.insert("rc".into(), json!(self.rc));
            }
        };
        let get = |k: &str| self.seen.get(k).map(String::as_str).unwrap_or_default();
        let msg = match self.kind.as_str() {
            "url" => format!("Failed to set a new url {} for {}: {out} {err}", mask(&w.url), w.remote),
            "fetch" => {
                all.insert("cmd".into(), json!(plain));
                format!("Failed to download remote objects and refs: {out} {err}")
            }
            "branch" => {
                tell(&mut all, true);
                format!("Failed to checkout branch {}", get("branch"))
            }
            "reset" => {
                tell(&mut all, true);
                all.insert("cmd".into(), json!(plain.join(" ")));
                format!("Failed to checkout branch {}", get("branch"))
            }
            "checkout" => {
                tell(&mut all, true);
                all.insert("cmd".into(), json!(plain.join(" ")));
                format!("Failed to checkout {}", w.version)
            }
            "branches" => {
                tell(&mut all, false);
                format!("Could not determine branch data - received {out}")
            }
            "hashes" => {
                tell(&mut all, true);
                "Unable to determine hashes of submodules".to_owned()
            }
            "modules" => format!("Failed to init/update submodules: {out}{err}"),
            "verify" => {
                tell(&mut all, true);
                format!("Failed to verify GPG signature of commit/tag \"{}\"", w.version)
            }
            "key" => {
                tell(&mut all, true);
                format!("The gpg_allowlist does not include the public key \"{}\" for this commit", get("key"))
            }
            "archive" => {
                let archive = w.archive.as_deref().unwrap_or_default();
                let details = format!(
                    "Git archive command failed to create archive {archive} using {} directory.Error: {err}",
                    w.place()
                );
                all.insert("details".into(), json!(details));
                "Failed to perform archive operation".to_owned()
            }
            "ending" => {
                let details = "Please specify archive as filename with extension. File extension can be one of ['tar', 'tar.gz', 'zip', 'tgz']";
                all.insert("details".into(), json!(details));
                let archive = w.archive.as_deref().unwrap_or_default();
                format!("Unable to get file extension from archive file name : {archive}")
            }
            _ => {
                tell(&mut all, true);
                let words: Vec<String> = plain.iter().map(|w| python_quoted(w)).collect();
                all.insert("cmd".into(), json!(words.join(" ")));
                err.trim_end().to_owned()
            }
        };
        all.insert("msg".into(), json!(msg));
        all
    }
}

/// Addresses without their passwords.
fn mask(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split_inclusive(char::is_whitespace) {
        let start = word.find("://").map_or(0, |at| at + 3);
        let (scheme, rest) = word.split_at(start);
        let end = rest.find('/').unwrap_or(rest.len());
        let secret = rest.get(..end).and_then(|host| {
            let at = host.rfind('@')?;
            Some((host.get(..at)?.split_once(':')?.0, rest.get(at..)?))
        });
        match secret {
            Some((user, rest)) => out.push_str(&format!("{scheme}{user}:********{rest}")),
            None => out.push_str(word),
        }
    }
    out
}

/// A word of a command, as Ansible hides what may be a password: all between a colon and the last `@`.
fn veil(word: &str) -> String {
    let parts = word.rsplit_once('@').and_then(|(before, host)| Some((before.rsplit_once(':')?.0, host)));
    match parts {
        Some((user, host)) => format!("{user}:********@{host}"),
        None => word.to_owned(),
    }
}

/// The difference of a clone.
pub(super) fn fresh(after: &str) -> Json {
    json!({ "prepared": format!(">> Newly checked out {after}") })
}

/// The difference between two commits, from an answer.
pub(super) fn difference(out: &Output, before: &str, after: &str) -> Json {
    let (seen, body) = head(out);
    let text = String::from_utf8_lossy(&body);
    let prepared = match seen.get("diff").map(String::as_str) {
        Some("1") => text.into_owned(),
        _ => format!(">> Failed to get proper diff between {before} and {after}:\n>> {text}"),
    };
    json!({ "prepared": prepared })
}

/// Reads what a change says.
pub(super) fn finish(w: &Want, state: &State, out: &Output) -> Fields {
    let (seen, body) = head(out);
    if out.rc != 0 {
        let msg = mask(out.error_text().trim());
        return fields([("changed", json!(false)), ("failed", json!(true)), ("msg", json!(msg))]);
    }
    if seen.contains_key("fail") {
        return Failure::read(&seen, &body).fields(w);
    }
    let is = |k: &str| seen.get(k).is_some_and(|v| v == "1");
    let after = seen.get("after").map(String::as_str).unwrap_or_default();
    let (modules, moved) = (is("modules"), state.from.is_some());
    let changed =
        !state.there || state.before != after || state.mods || state.other || modules || moved || is("archived");
    let before = if state.there { json!(state.before) } else { Json::Null };
    let mut all = outcome(before, after, changed);
    if state.there && w.update {
        all.insert("remote_url_changed".into(), json!(state.other));
        if state.mods {
            let msg = format!("Local modifications exist in the destination: {}", w.place());
            all.insert("msg".into(), json!(msg));
        }
    }
    if modules {
        all.insert("submodules_changed".into(), json!(true));
    }
    if let (Some(from), Some(to)) = (&state.from, &w.separate) {
        all.insert("git_dir_before".into(), json!(from));
        all.insert("git_dir_now".into(), json!(to));
    }
    let warnings: Vec<&str> =
        [("oldssh", OLD_SSH), ("nodepth", NO_DEPTH)].iter().filter(|(k, _)| is(k)).map(|(_, text)| *text).collect();
    if !warnings.is_empty() {
        all.insert("warnings".into(), json!(warnings));
    }
    if w.diff && !state.there {
        all.insert("diff".into(), fresh(after));
    } else if seen.contains_key("diff") {
        all.insert("diff".into(), difference(out, &state.before, after));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_masked() {
        assert_eq!(mask("a https://u:p@h/x b"), "a https://u:********@h/x b");
        assert_eq!(mask("u:p@h:x.git"), "u:********@h:x.git");
        assert_eq!(mask("https://u:p:q@r@h/x\n"), "https://u:********@h/x\n");
        assert_eq!(veil("ssh://git@h:22/a"), "ssh:********@h:22/a");
        assert_eq!(veil("https://u:p@h/x"), "https://u:********@h/x");
        assert_eq!(veil("git@h:x"), "git@h:x");
        assert_eq!(mask("git@h:a/b ssh://git@h:22/a fatal: x@y"), "git@h:a/b ssh://git@h:22/a fatal: x@y");
    }
}
