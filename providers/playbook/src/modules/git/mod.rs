//! `git`.
//!
//! The probe reads what is there and what the remote has. Where both are the same, nothing more is done; else the change
//! fetches, switches and updates as Ansible does, command by command.

mod answer;
mod change;
mod look;

use serde_json::json;
use towpath_core::{Json, shell_quote};

use super::spec::Rules;
use super::steps::{FOLDER, PATHS, exports, umask};
use super::{Call, Decision, Fields, Module, Place, fields};

/// `git`.
pub(super) const MODULE: Module = Module {
    names: &["git"],
    rules: Rules {
        early: Some(early),
        // Not needed to ask what a remote has.
        optional: &["dest"],
        mutually_exclusive: &[&["separate_git_dir", "bare"], &["accept_hostkey", "accept_newhostkey"]],
        required_by: &[("archive_prefix", &["archive"])],
        ..Rules::NONE
    },
    missing: &[],
    place: Place::Host,
    prepare,
};

fn early(call: &Call) -> Result<(), String> {
    let given = |names: &[&str]| names.iter().any(|k| call.given.get(*k).is_some_and(|v| !v.is_null()));
    if given(&["repo", "name"]) {
        return Ok(());
    }
    Err("missing required arguments: repo".into())
}

/// Whose host keys are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HostKeys {
    Known,
    Any,
    New,
}

/// What a task wants. Not to be shown: an address may hold a password.
#[derive(Clone)]
struct Want {
    /// As the remote's address is written.
    url: String,
    dest: Option<String>,
    version: String,
    remote: String,
    refspec: Option<String>,
    force: bool,
    depth: Option<String>,
    clone: bool,
    update: bool,
    executable: Option<String>,
    bare: bool,
    umask: Option<String>,
    recursive: bool,
    single: bool,
    track: bool,
    keys: HostKeys,
    key_file: Option<String>,
    ssh_opts: Option<String>,
    reference: Option<String>,
    archive: Option<String>,
    prefix: Option<String>,
    separate: Option<String>,
    verify: bool,
    allowed: Vec<String>,
    env: String,
    check: bool,
    diff: bool,
}

impl Want {
    fn of(call: &Call, umask: Option<String>) -> Result<Self, String> {
        let yes = |k: &str, default: bool| Ok::<_, String>(call.yes(k)?.unwrap_or(default));
        let some = |k: &str| call.text(k).filter(|v| !v.is_empty());
        let repo = call.need("repo")?;
        Ok(Self {
            url: if repo.starts_with('/') { format!("file://{repo}") } else { repo },
            dest: some("dest"),
            version: call.text("version").unwrap_or_else(|| "HEAD".into()),
            remote: call.text("remote").unwrap_or_else(|| "origin".into()),
            refspec: some("refspec"),
            force: yes("force", false)?,
            depth: some("depth").filter(|d| d != "0"),
            clone: yes("clone", true)?,
            update: yes("update", true)?,
            executable: some("executable"),
            bare: yes("bare", false)?,
            umask,
            recursive: yes("recursive", true)?,
            single: yes("single_branch", false)?,
            track: yes("track_submodules", false)?,
            keys: match (yes("accept_hostkey", false)?, yes("accept_newhostkey", false)?) {
                (true, _) => HostKeys::Any,
                (_, true) => HostKeys::New,
                _ => HostKeys::Known,
            },
            key_file: some("key_file"),
            ssh_opts: some("ssh_opts"),
            reference: some("reference"),
            archive: some("archive"),
            prefix: some("archive_prefix"),
            separate: some("separate_git_dir"),
            verify: yes("verify_commit", false)?,
            allowed: call.list("gpg_allowlist").unwrap_or_default(),
            env: exports(&call.env),
            check: call.check,
            diff: call.diff,
        })
    }

    fn head(&self) -> bool {
        self.version == "HEAD"
    }

    /// Where git works; only asked for where there is a `dest`.
    fn place(&self) -> &str {
        self.dest.as_deref().unwrap_or_default()
    }

    /// The beginning of each script: environment, mask, a folder for what git says, and `tp_g`, which runs git.
    fn prelude(&self, probe: bool) -> String {
        let umask = self.umask.as_ref().map(|u| format!("umask {u}\n")).unwrap_or_default();
        // A probe neither writes indexes anew, nor asks for passwords, nor makes hosts known.
        let (locks, known) = match probe {
            true => (
                "export GIT_OPTIONAL_LOCKS=0 GIT_TERMINAL_PROMPT=0\n",
                "cat ~/.ssh/known_hosts ~/.ssh/known_hosts2 >\"$tp_w/known\" 2>/dev/null\ntp_a=\"$tp_a -o UserKnownHostsFile='$tp_w/known'\"\n",
            ),
            false => ("", ""),
        };
        let accept = match self.keys {
            HostKeys::Known => String::new(),
            HostKeys::Any => format!("tp_a=\"$tp_a -o StrictHostKeyChecking=no\"\n{known}"),
            HostKeys::New => format!(
                "if ssh -o StrictHostKeyChecking=accept-new -V >/dev/null 2>&1; then\n\
                 tp_a=\"$tp_a -o StrictHostKeyChecking=accept-new\"\n{known}else echo oldssh=1; fi\n"
            ),
        };
        let opts = self.ssh_opts.as_ref().map(|o| format!(" {o}")).unwrap_or_default();
        let key = match &self.key_file {
            Some(k) => format!(" -i {} -o IdentitiesOnly=yes", shell_quote(k)),
            None => String::new(),
        };
        format!(
            "{}{PATHS}{locks}{umask}LC_ALL=C\nexport LC_ALL\n\
             {FOLDER}\
             tp_a={}\n{accept}\
             GIT_SSH_COMMAND=\"${{GIT_SSH_COMMAND:-${{GIT_SSH:-ssh}}}}$tp_a -o BatchMode=yes\"{}\nexport GIT_SSH_COMMAND\n\
             {}d={}\nv={}\nR={}\n{TOOLS}",
            self.env,
            shell_quote(&opts),
            shell_quote(&key),
            self.address(),
            shell_quote(self.place()),
            shell_quote(&self.version),
            shell_quote(&self.remote),
        )
    }

    /// The remote's address in `$u`; a home folder is known to the target only.
    fn address(&self) -> String {
        match self.url.starts_with('~') {
            true => format!("u={}\nu=file://$u\n", super::words::expanding(&self.url)),
            false => format!("u={}\n", shell_quote(&self.url)),
        }
    }

    /// Whether options count that git takes only since 2.3.
    fn connects(&self) -> Option<&'static str> {
        match (self.keys, &self.key_file, &self.ssh_opts) {
            (HostKeys::Any, ..) => Some("accept_hostkey"),
            (HostKeys::New, ..) => Some("accept_newhostkey"),
            (_, Some(_), _) => Some("key_file"),
            (_, _, Some(_)) => Some("ssh_opts"),
            _ => None,
        }
    }
}

/// `tp_g WORDS` runs git and keeps what it says; `tp_no KIND WORDS` tells how a command failed, and ends the script.
const TOOLS: &str = r#"tp_g() {
"$g" "$@" >"$tp_w/o" 2>"$tp_w/e" </dev/null
tp_v=$?
return $tp_v
}
tp_no() {
printf 'fail=%s\nrc=%s\n' "$1" "$tp_v"
shift
printf 'cmd=%s' "$g"
for tp_x; do printf '\037%s' "$tp_x"; done | tr '\n' ' '
printf '\nout=%s\n\n' "$(wc -c <"$tp_w/o")"
cat "$tp_w/o" "$tp_w/e"
exit 0
}
"#;

fn prepare(call: &Call) -> Result<Decision, String> {
    let mask = match call.args.get("umask") {
        None | Some(Json::Null) => None,
        Some(Json::String(s)) => match umask(s) {
            Ok(mask) => Some(mask),
            Err(why) => return Ok(Decision::Done(why)),
        },
        Some(_) => return Err("umask must be defined as a quoted octal integer".into()),
    };
    let want = Want::of(call, mask)?;
    if want.dest.is_none() && want.clone {
        return Err("the destination directory must be specified unless clone=no".into());
    }
    Ok(Decision::Probe(look::script(&want), Box::new(move |out| look::decide(want, &out))))
}

/// The result's beginning: what was there, what is there.
fn outcome(before: Json, after: &str, changed: bool) -> Fields {
    fields([("changed", json!(changed)), ("before", before), ("after", json!(after))])
}
