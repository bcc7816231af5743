//! `command` and `shell`.

use serde_json::json;
use towpath_core::{Action, Json, shell_quote};

use super::spec::{self, Rules};
use super::words::expanding;
use super::{Call, Decision, Fields, Module, Output, Pending, Place, content, fields};
use crate::load::split_words;

/// `command`.
pub(super) const COMMAND: Module =
    Module { names: &["command"], rules: RULES, missing: &[], place: Place::Host, prepare };

/// `shell`.
pub(super) const SHELL: Module = Module { names: &["shell"], rules: RULES, missing: &[], place: Place::Host, prepare };

const RULES: Rules = Rules {
    late: true,
    through: Some("ansible.legacy.command"),
    internal: &["_raw_params", "_uses_shell"],
    hidden: &["cmd", "free_form"],
    ..Rules::NONE
};

/// A shell function that fails, with an error number, where there is no such program.
pub(super) const WHICH: &str = r#"which_of() {
case $1 in
*/*) if [ -f "$1" ] && [ -x "$1" ]; then return 0; fi
if [ -e "$1" ]; then echo "13 $1"; else echo "2 $1"; fi; return 1;;
esac
tp_e="2 $1" IFS=:
for tp_d in $PATH; do if [ -f "$tp_d/$1" ]; then if [ -x "$tp_d/$1" ]; then return 0; fi; tp_e="13 $1"; fi; done
echo "$tp_e"
return 1
}
"#;

/// Finds a program, the one that a task names or the one on the path: its word in `$g`. Where it can't be started, tells
/// `unstarted=NUMBER NAME` or `path=FOLDERS`, and ends the script.
pub(super) fn program(named: Option<&str>, name: &str) -> String {
    match named {
        Some(path) => format!(
            "{WHICH}g={}\ntp_x=$(which_of \"$g\") || {{ printf 'unstarted=%s\\n\\n' \"$tp_x\"; exit 0; }}\n",
            shell_quote(path)
        ),
        None => format!("g=$(command -v {name}) || {{ printf 'path=%s\\n\\n' \"$PATH\"; exit 0; }}\n"),
    }
}

/// The result of a program that could not be started, of what [`WHICH`] says: `2 git`. `cmd` is its command line.
pub(super) fn not_started(why: &str, cmd: String) -> Fields {
    let (errno, name) = why.split_once(' ').unwrap_or(("2", why));
    let mut all = fields([("rc", json!(errno.parse::<i64>().unwrap_or(2))), ("cmd", json!(cmd))]);
    super::steps::said(&mut all, &Output::default(), true);
    super::steps::failed(all, format!("[Errno {errno}] {}: b'{name}'", reason(errno)))
}

/// The words of an error number that keeps a program from its start.
fn reason(errno: &str) -> &'static str {
    match errno {
        "13" => "Permission denied",
        "20" => "Not a directory",
        _ => "No such file or directory",
    }
}

/// A command and how it is called in results.
struct Run {
    shown: Json,
    /// As the first lines of the script: what starts it.
    script: String,
    subject: String,
    strip: bool,
    nonce: String,
}

fn lines(s: &str) -> Json {
    json!(super::content::python_lines(s))
}

/// A result of a command that did not run, or not by itself.
fn result(rc: Json, cmd: &Json, msg: &str, stdout: &str, changed: bool) -> Fields {
    fields([
        ("changed", json!(changed)),
        ("cmd", cmd.clone()),
        ("rc", rc),
        ("msg", json!(msg)),
        ("stdout", json!(stdout)),
        ("stderr", json!("")),
        ("stdout_lines", lines(stdout)),
        ("stderr_lines", json!([])),
    ])
}

fn failed(rc: Json, cmd: &Json, msg: &str) -> Fields {
    let mut all = result(rc, cmd, msg, "", false);
    all.insert("failed".into(), true.into());
    all
}

fn prepare(call: &Call) -> Result<Decision, String> {
    let known: Fields =
        call.given.iter().filter(|(k, _)| !k.starts_with('_')).map(|(k, v)| (k.clone(), v.clone())).collect();
    spec::validate(if call.action == "shell" { &SHELL } else { &COMMAND }, &call.action, "", &known, false)?;
    let shell = call.action == "shell";
    if shell && call.given.contains_key("expand_argument_vars") {
        return Err("Unsupported parameters for (shell) module: expand_argument_vars".into());
    }
    let mut line = call.any(&["_raw_params", "cmd"]).unwrap_or_default();
    let argv = call.list("argv").unwrap_or_default();
    if line.trim().is_empty() && argv.is_empty() {
        return Ok(Decision::Done(failed(json!(256), &Json::Null, "no command given")));
    }
    if !line.trim().is_empty() && !argv.is_empty() {
        return Ok(Decision::Done(failed(json!(256), &Json::Null, "only command or argv can be given, not both")));
    }
    let shown = if shell && argv.is_empty() { Some(json!(line)) } else { None };
    if shell && !argv.is_empty() {
        line = argv.iter().map(|w| shell_quote(w)).collect::<Vec<_>>().join(" ");
    }
    let words = match (shell, argv.is_empty()) {
        (true, _) => vec![call.text("executable").unwrap_or_else(|| "/bin/sh".into()), "-c".into(), line.clone()],
        (false, true) => {
            if !super::words::closed(&line) {
                return Err(format!("No closing quotation in `{line}`"));
            }
            split_words(&line)
        }
        (false, false) => argv.clone(),
    };
    let shown = shown.unwrap_or_else(|| if shell { json!(argv) } else { json!(words) });
    let expand = !shell && call.yes("expand_argument_vars")?.unwrap_or(true);
    let run: Vec<String> = words.iter().map(|w| if expand { expanding(w) } else { shell_quote(w) }).collect();
    let nonce = hex::encode(rand::random::<[u8; 12]>());
    let cd = match call.text("chdir") {
        Some(d) => format!(
            "if ! cd {d} 2>/dev/null; then tp_e=2; [ ! -e {d} ] || tp_e=13; [ ! -e {d} ] || [ -d {d} ] || tp_e=20; printf '{nonce} chdir %s %s' \"$tp_e\" {d}; exit 1; fi\n",
            d = shell_quote(&d)
        ),
        None => String::new(),
    };
    let mut script = cd.clone();
    for (k, v) in &call.env {
        script.push_str(&format!("export {k}={}\n", shell_quote(v)));
    }
    // The start of a command that is not there is an error of its own; the search spares a process for it.
    script.push_str(WHICH);
    script.push_str(&format!(
        "set -- {}\ntp_e=$(which_of \"$1\") || {{ printf '{nonce} exec %s' \"$tp_e\"; exit 1; }}\n",
        run.join(" ")
    ));
    let input = match call.text("stdin") {
        Some(text) => {
            let newline = if call.yes("stdin_add_newline")?.unwrap_or(true) { "\n" } else { "" };
            format!("{} | ", content::print(format!("{text}{newline}").as_bytes()))
        }
        None => String::new(),
    };
    // A shell says on its own error output that a child was killed, which is no output of the command; `env` keeps the name of
    // a program from being a word of the shell.
    script.push_str(&format!(
        "tp_b=$(date '+%Y-%m-%d %H:%M:%S.%N')\nexec 4>&2 5>&1\n\
         tp_k=$( ( {input}env -- \"$@\" >&5 2>&4 4>&- 5>&-; exit $? ) 2>&1; echo \"=$?\")\n\
         printf '\\n{nonce} %s|%s|%s' \"$tp_b\" \"$(date '+%Y-%m-%d %H:%M:%S.%N')\" \"$tp_k\"\n"
    ));
    let subject = if line.is_empty() { "command".to_owned() } else { format!("command {}", short(&line)) };
    let strip = call.yes("strip_empty_ends")?.unwrap_or(true);
    let run = Run { shown: shown.clone(), script, subject, strip, nonce };
    let (creates, removes) = (call.text("creates"), call.text("removes"));
    if creates.is_none() && removes.is_none() {
        return Ok(Decision::Change(run.pending(false)));
    }
    let would = if call.check { "Would" } else { "Did" };
    let probe = format!("{}{}", cd, globs(creates.as_deref(), removes.as_deref()));
    let nonce = run.nonce.clone();
    Ok(Decision::Probe(
        probe,
        Box::new(move |out| {
            let text = out.text();
            if let Some(said) = text.strip_prefix(&format!("{nonce} ")) {
                return Ok(Decision::Done(unstarted(said, &shown)));
            }
            let (path, why) = match text.trim() {
                "creates" => (creates.unwrap_or_default(), "exists"),
                "removes" => (removes.unwrap_or_default(), "does not exist"),
                _ => return Ok(Decision::Change(run.pending(true))),
            };
            let msg = format!("{would} not run command since '{path}' {why}");
            Ok(Decision::Done(result(json!(0), &shown, &msg, &format!("skipped, since {path} {why}"), false)))
        }),
    ))
}

/// Prints `creates` or `removes` if the first matches something or the second nothing. Both are shell patterns.
pub(super) fn globs(creates: Option<&str>, removes: Option<&str>) -> String {
    let glob = |p: &str| {
        p.chars()
            .map(|c| if "*?[]".contains(c) { c.to_string() } else { shell_quote(&c.to_string()) })
            .collect::<String>()
    };
    let mut probe = String::new();
    let there = "[ -e \"$f\" ] || [ -L \"$f\" ]";
    if let Some(c) = creates {
        probe.push_str(&format!("for f in {}; do if {there}; then echo creates; exit; fi; done\n", glob(c)));
    }
    if let Some(r) = removes {
        probe.push_str(&format!("for f in {}; do if {there}; then exit; fi; done\necho removes\n", glob(r)));
    }
    probe
}

/// A result of what kept a command from its start: `exec 2`.
fn unstarted(said: &str, shown: &Json) -> Fields {
    let mut words = said.splitn(3, ' ');
    let (kind, errno, name) = (words.next(), words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let text = reason(errno);
    match kind {
        Some("chdir") => {
            let msg = format!("Unable to change directory before execution: [Errno {errno}] {text}: b'{name}'");
            failed(Json::Null, shown, &msg)
        }
        _ => {
            let msg = format!("[Errno {errno}] {text}: b'{name}'");
            let mut all = failed(json!(errno.parse::<i64>().unwrap_or(2)), shown, &msg);
            let cmd = match shown {
                Json::Array(words) => {
                    words.iter().filter_map(Json::as_str).map(python_quoted).collect::<Vec<_>>().join(" ")
                }
                other => format!("{name} -c {}", python_quoted(other.as_str().unwrap_or_default())),
            };
            all.insert("cmd".into(), json!(cmd));
            all
        }
    }
}

/// A word as Python's `shlex.quote` writes it.
pub(super) fn python_quoted(word: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c);
    if !word.is_empty() && word.chars().all(safe) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\"'\"'"))
}

impl Run {
    /// `guarded` by `creates` or `removes`, a command is foreseen in check mode; else it is left out.
    fn pending(self, guarded: bool) -> Pending {
        let Self { shown, script, subject, strip, nonce } = self;
        let mut expected = result(json!(0), &shown, "Command would have run if not in check mode", "", guarded);
        if !guarded {
            expected.insert("skipped".into(), true.into());
        }
        Pending {
            script,
            action: Action::Run,
            subject,
            path: None,
            before: None,
            after: None,
            certain: false,
            foreign: true,
            expected,
            finish: Box::new(move |out: Output| finish(&out, shown, strip, &nonce)),
        }
    }
}

fn finish(out: &Output, shown: Json, strip: bool, nonce: &str) -> Fields {
    let text = out.text();
    if let Some(said) = text.strip_prefix(&format!("{nonce} ")) {
        return unstarted(said, &shown);
    }
    let (stdout, rest) = text.rsplit_once(&format!("\n{nonce} ")).unwrap_or((&text, ""));
    let mut parts = rest.splitn(3, '|');
    let (start, end, status) = (parts.next(), parts.next(), parts.next().unwrap_or_default());
    let (killed, status) = status.rsplit_once('=').unwrap_or(("", ""));
    let rc = match status.trim().parse::<i64>() {
        Ok(rc) if rc > 128 && !killed.trim().is_empty() => 128 - rc,
        Ok(rc) => rc,
        Err(_) => i64::from(out.rc),
    };
    let tidy = |s: &str| if strip { s.trim_end_matches(['\r', '\n']).to_owned() } else { s.to_owned() };
    let (stdout, stderr) = (tidy(stdout), tidy(&out.error_text()));
    let mut all = fields([
        ("changed", json!(true)),
        ("cmd", shown),
        ("rc", json!(rc)),
        ("msg", json!("")),
        ("stdout_lines", lines(&stdout)),
        ("stderr_lines", lines(&stderr)),
        ("stdout", json!(stdout)),
        ("stderr", json!(stderr)),
    ]);
    if let (Some(start), Some(end)) = (start, end) {
        all.extend(super::clock::span(start, end));
    }
    if rc != 0 {
        all.insert("failed".into(), true.into());
        all.insert("msg".into(), "non-zero return code".into());
    }
    all
}

fn short(line: &str) -> String {
    let line = line.lines().next().unwrap_or_default();
    if line.chars().count() > 80 { line.chars().take(77).chain("...".chars()).collect() } else { line.to_owned() }
}
