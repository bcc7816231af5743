//! `rpm_key`, through `rpm` and, for what is in a file, `gpg`.

use serde_json::json;
use towpath_core::{Action, shell_quote};

use super::spec::Rules;
use super::steps::{FOLDER, PATHS, exports, failed, no_program};
use super::{Call, Decided, Decision, Fields, Module, Output, Pending, Place, fields, head};

/// `rpm_key`.
pub(super) const MODULE: Module =
    Module { names: &["rpm_key"], rules: Rules::NONE, missing: &[], place: Place::Host, prepare };

/// Puts the key's file into `$tp_k`; one from an address stays in the script's folder.
fn fetch(key: &str, check: bool) -> String {
    let k = shell_quote(key);
    if !key.contains("://") {
        return format!("tp_k={k}\n");
    }
    if let Some(path) = key.strip_prefix("file://") {
        // As Ansible, whose answer to such an address has no status that it takes for success.
        let p = shell_quote(path);
        return format!("printf 'OK (%s bytes)\\n' \"$(wc -c <{p})\"; echo no_key=1; echo; exit 0\n");
    }
    let (curl, wget) = if check { ("", "") } else { (" -k", " --no-check-certificate") };
    format!(
        "tp_k=$tp_w/key\n\
         {{ if command -v curl >/dev/null; then curl -fsSL{curl} -o \"$tp_k\" {k}; else wget -q{wget} -O \"$tp_k\" {k}; fi; }} 2>&1 || {{ echo no_key=1; echo; exit 0; }}\n"
    )
}

struct Task {
    key: String,
    /// The key's own number, if the task names no file.
    id: Option<String>,
    absent: bool,
    prints: Vec<String>,
    fetch: String,
    env: String,
}

fn prepare(call: &Call) -> Decided {
    let key = call.need("key")?;
    let absent = call.text("state").as_deref() == Some("absent");
    let bare = |s: &String| s.replace(' ', "").to_uppercase();
    let prints: Vec<String> = call.list("fingerprint").unwrap_or_default().iter().map(bare).collect();
    let file = key.contains("://") || key.contains('/');
    let id = if file { None } else { Some(number(&key)?) };
    let task = Task {
        fetch: fetch(&key, call.yes("validate_certs")?.unwrap_or(true)),
        env: format!("{PATHS}export LC_ALL=C\n{}", exports(&call.env)),
        key,
        id,
        absent,
        prints,
    };
    let read = if task.id.is_some() {
        String::new()
    } else {
        format!(
            "{FOLDER}{}if [ -f \"$tp_k\" ]; then echo file=1; fi\ncommand -v gpg >/dev/null || {{ echo no_gpg=1; echo; exit 0; }}\n\
             gpg --homedir \"$tp_w\" --no-tty --batch --with-colons --fixed-list-mode --show-keys -- \"$tp_k\" 2>/dev/null | while IFS=: read -r tp_a tp_b tp_c tp_d tp_e tp_f tp_g tp_h tp_i tp_j tp_r; do\n\
             case $tp_a in pub) echo \"id=$tp_e\";; fpr) echo \"print_$tp_j=1\";; esac; done\n",
            task.fetch
        )
    };
    let probe = format!(
        "{}printf 'path=%s\\n' \"$PATH\"\ncommand -v rpm >/dev/null || {{ echo no_rpm=1; echo; exit 0; }}\n{read}echo\n\
         rpm -q gpg-pubkey --qf '%{{VERSION}}\\n' 2>/dev/null\nexit 0\n",
        task.env
    );
    Ok(Decision::Probe(probe, Box::new(move |out| task.decide(&out))))
}

/// The number of a key, however it is written.
fn number(key: &str) -> Result<String, String> {
    let id = key.trim().to_uppercase();
    let id = id.strip_prefix("0X").unwrap_or(&id);
    if id.len() < 8 || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(format!("Not a valid key {key}"));
    }
    Ok(id.to_owned())
}

impl Task {
    fn decide(self, out: &Output) -> Decided {
        let (seen, rest) = head(out);
        let path = seen.get("path").map(String::as_str).unwrap_or_default();
        for (mark, program) in [("no_rpm", "rpm"), ("no_gpg", "gpg")] {
            if seen.contains_key(mark) {
                return Err(no_program(program, path));
            }
        }
        if seen.contains_key("no_key") {
            let text = out.text();
            let said = text.lines().nth(1).unwrap_or_default();
            // What curl calls 7.
            let why = if said.starts_with("curl: (7)") {
                "Request failed: <urlopen error [Errno 111] Connection refused>"
            } else {
                said
            };
            return Err(format!("failed to fetch key at {} , error was: {why}", self.key));
        }
        let id = match (&self.id, seen.get("id")) {
            (Some(id), _) | (None, Some(id)) => id.clone(),
            (None, None) => return Err(format!("Not a valid key {}", self.key)),
        };
        // rpm calls a key by the last eight digits of its number.
        let short = id.get(id.len().saturating_sub(8)..).unwrap_or_default().to_lowercase();
        let there = String::from_utf8_lossy(&rest).lines().any(|l| l.trim() == short);
        let changed = there == self.absent;
        let result = fields([("changed", json!(changed))]);
        if !changed {
            return Ok(Decision::Done(result));
        }
        let prints: Vec<&str> = seen.keys().filter_map(|k| k.strip_prefix("print_")).collect();
        if !self.absent && !self.prints.iter().all(|p| prints.contains(&p.as_str())) {
            let set = |all: Vec<&str>| all.iter().map(|p| format!("'{p}'")).collect::<Vec<_>>().join(", ");
            return Err(format!(
                "The specified fingerprint, '{{{}}}', does not match any key fingerprints in 'frozenset({{{}}})'",
                set(self.prints.iter().map(String::as_str).collect()),
                set(prints)
            ));
        }
        let script = if self.absent {
            format!("rpm --erase --allmatches {}\n", shell_quote(&format!("gpg-pubkey-{short}")))
        } else if self.id.is_some() {
            return Err("When importing a key, a valid file must be given".into());
        } else {
            format!("{FOLDER}{}rpm --import -- \"$tp_k\"\n", self.fetch)
        };
        Ok(Decision::Change(Pending {
            script: format!("{}{script}", self.env),
            action: if self.absent { Action::Delete } else { Action::Create },
            subject: format!("key {short} of rpm"),
            path: None,
            before: self.absent.then(|| json!(short)),
            after: (!self.absent).then(|| json!(short)),
            certain: true,
            foreign: false,
            expected: result.clone(),
            finish: Box::new(move |out: Output| {
                if out.rc == 0 {
                    return result;
                }
                failed(Fields::new(), out.error_text().trim())
            }),
        }))
    }
}
