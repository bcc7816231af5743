//! `cron`: jobs and variables in a user's crontab or a file of cron.

use serde_json::json;
use towpath_core::{Action, shell_quote};

use super::spec::Rules;
use super::{Call, Decided, Decision, Fields, Module, Output, Pending, Place, fields, head};

/// `cron`.
pub(super) const MODULE: Module = Module {
    names: &["cron"],
    rules: Rules { mutually_exclusive: &[&["insertafter", "insertbefore"]], ..Rules::NONE },
    missing: &[],
    place: Place::Host,
    prepare,
};

const MARK: &str = "#Ansible: ";

/// What the task asks.
struct Want {
    name: String,
    /// The line of a job or a variable.
    line: Option<String>,
    env: bool,
    present: bool,
    after: Option<String>,
    before: Option<String>,
    file: Option<String>,
    user: Option<String>,
    backup: bool,
    diff: bool,
}

fn prepare(call: &Call) -> Decided {
    let yes = |k: &str| call.yes(k).map(|v| v == Some(true));
    let text = |k: &str| call.text(k);
    let (env, disabled) = (yes("env")?, yes("disabled")?);
    let present = text("state").as_deref() == Some("present");
    let file = text("cron_file");
    let special = text("special_time");
    let user = text("user");
    let times = ["minute", "hour", "day", "month", "weekday"].map(|k| text(k).unwrap_or_else(|| "*".into()));
    let timed = times.iter().any(|t| t != "*");
    if special.is_some() && timed {
        return Err("You must specify time and date fields or special time.".into());
    }
    if file.is_some() && present && user.is_none() {
        return Err("To use cron_file=... parameter you must specify user=... as well".into());
    }
    let job = text("job");
    if present && job.is_none() {
        return Err("You must specify 'job' to install a new cron job or variable".into());
    }
    let (after, before) = (text("insertafter"), text("insertbefore"));
    if (after.is_some() || before.is_some()) && !env {
        return Err("Insertafter and insertbefore parameters are valid only with env=yes".into());
    }
    let name = call.need("name")?;
    let line = job.map(|job| {
        if env {
            return format!("{name}=\"{job}\"");
        }
        let job = job.trim_matches(['\r', '\n']);
        let off = if disabled { "#" } else { "" };
        let who = file.as_ref().and(user.as_deref()).map(|u| format!("{u} ")).unwrap_or_default();
        match &special {
            Some(special) => format!("{off}@{special} {who}{job}"),
            None => format!("{off}{} {who}{job}", times.join(" ")),
        }
    });
    let path = file.as_ref().map(|f| if f.starts_with('/') { f.clone() } else { format!("/etc/cron.d/{f}") });
    let look = match &path {
        Some(p) => format!(
            "tp_p={}\n[ -e \"$tp_p\" ] && echo there=1\necho\ncat -- \"$tp_p\" 2>/dev/null\nexit 0\n",
            shell_quote(p)
        ),
        None => {
            let who = user.as_deref().map(|u| format!(" -u {}", shell_quote(u))).unwrap_or_default();
            format!(
                "tp_e=$(crontab{who} -l 2>&1 >/dev/null); tp_r=$?\ncase $tp_e in *'no crontab'*) tp_r=1;; *) [ $tp_r = 0 ] || {{ printf '%s\\n' \"$tp_e\" >&2; exit 2; }};; esac\n\
                 echo there=1\necho \"me=$(id -un)\"\necho\n[ $tp_r = 0 ] && crontab{who} -l 2>/dev/null\nexit 0\n"
            )
        }
    };
    let want =
        Want { name, line, env, present, after, before, file: path, user, backup: yes("backup")?, diff: call.diff };
    let shown = file;
    Ok(Decision::Probe(look, Box::new(move |out| decide(want, shown, &out))))
}

fn variable(line: &str) -> Option<&str> {
    let (name, _) = line.split_once('=')?;
    let name = name.trim();
    let whole = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    whole.then_some(name)
}

/// Changes the lines; gives whether they differ.
fn edit(want: &Want, lines: &mut Vec<String>) -> Result<bool, String> {
    if want.env {
        let at = lines.iter().position(|l| variable(l) == Some(&want.name));
        return Ok(match (want.present, at, &want.line) {
            (false, Some(at), _) => {
                lines.remove(at);
                true
            }
            (true, Some(at), Some(line)) => match lines.get_mut(at) {
                Some(old) if old != line => {
                    line.clone_into(old);
                    true
                }
                _ => false,
            },
            (true, None, Some(line)) => {
                let place = want.after.as_ref().map(|n| (n, 1)).or(want.before.as_ref().map(|n| (n, 0)));
                let to = match place {
                    None => 0,
                    Some((other, offset)) => {
                        let found = lines.iter().position(|l| variable(l) == Some(other));
                        found.ok_or_else(|| format!("Variable named '{other}' not found."))? + offset
                    }
                };
                lines.insert(to, line.clone());
                true
            }
            _ => false,
        });
    }
    let mark = format!("{MARK}{}", want.name);
    let at = lines.iter().position(|l| *l == mark);
    Ok(match (want.present, at, &want.line) {
        (false, Some(at), _) => {
            lines.drain(at..(at + 2).min(lines.len()));
            true
        }
        (true, Some(at), Some(line)) => match lines.get_mut(at + 1) {
            Some(old) if old == line => false,
            Some(old) => {
                line.clone_into(old);
                true
            }
            None => {
                lines.push(line.clone());
                true
            }
        },
        (true, None, Some(line)) => {
            lines.extend([mark, line.clone()]);
            true
        }
        _ => false,
    })
}

fn decide(want: Want, shown: Option<String>, out: &Output) -> Decided {
    if out.rc == 2 {
        return Err(out.error_text());
    }
    let (_, body) = head(out);
    let before = String::from_utf8_lossy(&body).into_owned();
    // The header that some implementations of `crontab -l` put before the text.
    let old: Vec<String> = before
        .lines()
        .enumerate()
        .filter(|(n, l)| {
            *n > 2
                || ![
                    "# DO NOT EDIT THIS FILE - edit the master and reinstall.",
                    "# (/tmp/",
                    "# (- installed on",
                    "# (Cron version",
                ]
                .iter()
                .any(|p| l.starts_with(p))
        })
        .map(|(_, l)| l.to_owned())
        .collect();
    let mut lines = old.clone();
    let changed = edit(&want, &mut lines)?;
    let text = |lines: &[String]| lines.iter().map(|l| format!("{l}\n")).collect::<String>();
    let (before, after) = (text(&old), text(&lines));
    let jobs: Vec<&str> = lines.iter().filter_map(|l| l.strip_prefix(MARK)).collect();
    let envs: Vec<&str> = lines.iter().filter_map(|l| variable(l)).collect();
    let mut result = fields([("jobs", json!(jobs)), ("envs", json!(envs)), ("changed", json!(changed))]);
    if let Some(file) = &shown {
        result.insert("cron_file".into(), json!(file));
    }
    // A file of cron with nothing in it is taken away.
    let remove = want.file.is_some() && !want.present && changed && lines.is_empty();
    if remove {
        result = fields([("changed", json!(true)), ("cron_file", json!(shown)), ("state", json!("absent"))]);
    }
    if want.diff && changed {
        let header = match (&want.file, &want.user) {
            (Some(file), _) => file.clone(),
            (None, Some(user)) => format!("crontab for user \"{user}\""),
            (None, None) => "crontab".into(),
        };
        result.insert(
            "diff".into(),
            json!({ "before": before, "before_header": header, "after": after, "after_header": header }),
        );
    }
    if !changed {
        return Ok(Decision::Done(result));
    }
    let user = want.user.as_deref().map(|u| format!(" -u {}", shell_quote(u))).unwrap_or_default();
    let mut script = "umask 077\n".to_owned();
    if want.backup {
        script.push_str(&format!(
            "tp_b=$(mktemp /tmp/crontabXXXXXXXX) && printf %s {} >\"$tp_b\" && echo \"backup=$tp_b\" || exit 1\n",
            shell_quote(&before)
        ));
    }
    script.push_str(&match &want.file {
        Some(file) if remove => format!("rm -f -- {}\n", shell_quote(file)),
        Some(file) => {
            let p = shell_quote(file);
            format!(
                "tp_t=$(mktemp {p}.XXXXXX) || exit 1\nprintf %s {} >\"$tp_t\" && chmod 644 \"$tp_t\" && mv -f \"$tp_t\" {p} || {{ rm -f \"$tp_t\"; exit 1; }}\n",
                shell_quote(&after)
            )
        }
        // A disk that is full must not leave a user without jobs, nor jobs readable by all on their way.
        None => format!(
            "tp_t=$(mktemp /tmp/crontabXXXXXXXX) || exit 1\nprintf %s {} >\"$tp_t\" && crontab{user} \"$tp_t\"; tp_r=$?; rm -f \"$tp_t\"; exit $tp_r\n",
            shell_quote(&after)
        ),
    });
    Ok(Decision::Change(Pending {
        script,
        action: if want.present { Action::Update } else { Action::Delete },
        subject: format!("cron {}", want.name),
        path: want.file.clone(),
        before: Some(json!(before)),
        after: Some(json!(after)),
        certain: true,
        foreign: false,
        expected: result.clone(),
        finish: Box::new(move |out: Output| -> Fields {
            if out.rc != 0 {
                return fields([("changed", json!(false)), ("failed", json!(true)), ("msg", json!(out.error_text()))]);
            }
            let mut all = result;
            all.extend(
                out.text()
                    .lines()
                    .find_map(|l| l.strip_prefix("backup="))
                    .map(|b| ("backup_file".to_owned(), json!(b))),
            );
            all
        }),
    }))
}
