//! `raw` and `script`: a command line for the user's shell, and a script of this side.

use serde_json::json;
use towpath_core::{Action, shell_quote};

use super::content::{print, python_lines};
use super::copy::not_found;
use super::spec::Rules;
use super::steps::FOLDER;
use super::{Call, Decision, Fields, Module, Output, Pending, Place, fields};
use crate::load::split_words;

/// `raw`.
pub(super) const RAW: Module =
    Module { names: &["raw"], rules: Rules { free: true, ..Rules::NONE }, missing: &[], place: Place::Host, prepare };

/// `script`.
pub(super) const SCRIPT: Module = Module {
    names: &["script"],
    rules: Rules {
        required_one_of: &[&["_raw_params", "cmd"]],
        mutually_exclusive: &[&["_raw_params", "cmd"]],
        internal: &["_raw_params"],
        hidden: &["free_form", "decrypt"],
        ..Rules::NONE
    },
    missing: &[],
    place: Place::Host,
    prepare: prepare_script,
};

/// The variables that `environment` gives.
fn exports(call: &Call) -> String {
    call.env.iter().map(|(k, v)| format!("export {k}={}\n", shell_quote(v))).collect()
}

fn prepare(call: &Call) -> Result<Decision, String> {
    let line = call.text("_raw_params").unwrap_or_else(|| "None".into());
    let shell = call.text("executable").unwrap_or_else(|| "/bin/sh".into());
    let script = format!("{}{} -c {}\n", exports(call), shell_quote(&shell), shell_quote(&line));
    let expected = fields([("changed", json!(false)), ("skipped", json!(true))]);
    Ok(Decision::Change(pending(script, format!("command {line}"), expected)))
}

fn pending(script: String, subject: String, expected: Fields) -> Pending {
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
        finish: Box::new(said),
    }
}

fn said(out: Output) -> Fields {
    let (stdout, stderr) = (out.text(), out.error_text());
    let mut all = fields([
        ("changed", json!(true)),
        ("rc", json!(out.rc)),
        ("stdout_lines", json!(python_lines(&stdout))),
        ("stderr_lines", json!(python_lines(&stderr))),
        ("stdout", json!(stdout)),
        ("stderr", json!(stderr)),
    ]);
    if out.rc != 0 {
        all.insert("failed".into(), true.into());
        all.insert("msg".into(), "non-zero return code".into());
    }
    all
}

fn prepare_script(call: &Call) -> Result<Decision, String> {
    let line = call.any(&["_raw_params", "cmd"]).unwrap_or_default();
    let words = split_words(&line);
    let name = words.first().cloned().unwrap_or_default();
    // What follows the script's name is for the shell as it is written.
    let arguments = after_first(&line);
    let (creates, removes) = (call.text("creates"), call.text("removes"));
    let guarded = creates.is_some() || removes.is_some();
    let cd = call.text("chdir").map(|d| format!("cd {} || exit 2\n", shell_quote(&d))).unwrap_or_default();
    let path = call.scope.search.find("files", &name).map_err(|_| not_found(call, "files", &name));
    let mut expected = fields([("changed", json!(guarded))]);
    if !guarded {
        expected
            .extend(fields([("skipped", json!(true)), ("msg", json!("Check mode is not supported for this task."))]));
    }
    let env = exports(call);
    let executable = call.text("executable");
    let first = cd.replace("exit 2", "exit 0");
    let there = |p: &Option<String>| p.as_deref().map(shell_quote).unwrap_or_default();
    let look = match (&creates, &removes) {
        (Some(_), _) => format!("if [ -e {} ]; then echo creates; exit; fi\n", there(&creates)),
        (None, _) => String::new(),
    } + &match &removes {
        Some(_) => format!("if [ ! -e {} ]; then echo removes; fi\n", there(&removes)),
        None => String::new(),
    };
    let ready = move || -> Result<Decision, String> {
        let path = path?;
        let bytes = std::fs::read(&path).map_err(|e| format!("script: can't read {}: {e}", path.display()))?;
        let file = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let run = match executable {
            Some(shell) => format!("{shell} \"$tp_x\" {arguments}"),
            None => format!("\"$tp_x\" {arguments}"),
        };
        // In a folder of its own, so that the script has its name and nobody else's hand in it.
        let script = format!(
            "{FOLDER}\
             tp_x=$tp_w/{}\n{} >\"$tp_x\" && chmod 700 \"$tp_x\" || exit 1\n{cd}{env}{run}\n",
            shell_quote(&file),
            print(&bytes)
        );
        Ok(Decision::Change(pending(script, format!("script {}", path.display()), expected)))
    };
    if !guarded {
        return ready();
    }
    Ok(Decision::Probe(
        format!("{first}{look}"),
        Box::new(move |out| {
            let msg = match out.text().trim() {
                "creates" => format!("{} exists, matching creates option", creates.unwrap_or_default()),
                "removes" => format!("{} does not exist, matching removes option", removes.unwrap_or_default()),
                _ => return ready(),
            };
            Ok(Decision::Done(fields([("changed", json!(false)), ("skipped", json!(true)), ("msg", json!(msg))])))
        }),
    ))
}

/// What stands behind the first word of a command line.
fn after_first(line: &str) -> String {
    let mut quote = None;
    let line = line.trim_start();
    let mut chars = line.char_indices();
    while let Some((i, c)) = chars.next() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '\\') => {
                chars.next();
            }
            (None, c) if c.is_whitespace() => return line.get(i..).unwrap_or_default().trim().to_owned(),
            _ => {}
        }
    }
    String::new()
}
