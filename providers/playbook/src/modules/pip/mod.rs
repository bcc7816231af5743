//! `pip`: packages of Python, by the `pip` of the target.

mod requirement;
mod script;
mod version;

use std::collections::HashMap;

use serde_json::json;
use towpath_core::{Action, Json, shell_quote};

use super::command::{not_started, python_quoted};
use super::spec::Rules;
use super::steps::{exports, failed, no_program, said, umask};
use super::{Call, Decision, Fields, Module, Output, Pending, Place, fields, head};
use crate::load::split_words;
use crate::render::to_json;
use requirement::{Requirement, installed, joined};

/// `pip`.
pub(super) const MODULE: Module = Module {
    names: &["pip"],
    rules: Rules {
        mutually_exclusive: &[&["name", "requirements"], &["executable", "virtualenv"]],
        required_one_of: &[&["name", "requirements"]],
        ..Rules::NONE
    },
    missing: &[],
    place: Place::Host,
    prepare,
};

/// What a task wants. Not to be shown: addresses of indexes may hold passwords.
#[derive(Clone)]
struct Want {
    /// As they are given, for results.
    names: Option<Vec<String>>,
    packages: Vec<Requirement>,
    version: Option<String>,
    requirements: Option<String>,
    state: String,
    virtualenv: Option<String>,
    /// Words that make a virtual environment.
    make: Vec<String>,
    python: Option<String>,
    site: bool,
    /// The interpreter that the playbook names.
    interpreter: Option<String>,
    extra: Vec<String>,
    editable: bool,
    chdir: Option<String>,
    executable: Option<String>,
    begin: String,
}

impl Want {
    fn of(call: &Call, umask: Option<String>) -> Result<Self, String> {
        let some = |k: &str| call.text(k).filter(|v| !v.is_empty());
        // In results, what commas took apart keeps its spaces.
        let names = match call.given.get("name") {
            Some(Json::String(s)) => Some(s.split(',').map(str::to_owned).collect()),
            _ => call.list("name"),
        };
        let version = some("version");
        let state = call.text("state").unwrap_or_else(|| "present".into());
        if state == "latest" && version.is_some() {
            return Err("version is incompatible with state=latest".into());
        }
        let joined = joined(names.as_deref().unwrap_or_default());
        if version.is_some() && joined.len() > 1 {
            return Err("'version' argument is ambiguous when installing multiple package distributions. Please specify version restrictions next to each package in 'name' argument.".into());
        }
        if version.is_some() && joined.iter().any(|n| Requirement::read(n, None).versioned()) {
            return Err("The 'version' argument conflicts with any version specifier provided along with a package name. Please keep the version specifier, but remove the 'version' argument.".into());
        }
        let words = |key: &str, text: &str| match super::words::closed(text) {
            true => Ok(split_words(text)),
            false => Err(format!("`{key}` has no closing quotation: {text}")),
        };
        let make = words("virtualenv_command", &call.need("virtualenv_command")?)?;
        let mut begin = exports(&call.env);
        begin.push_str("LC_ALL=C.UTF-8\nexport LC_ALL\n");
        if call.yes("break_system_packages")? == Some(true) {
            begin.push_str("export PIP_BREAK_SYSTEM_PACKAGES=1\n");
        }
        if let Some(mask) = umask {
            begin.push_str(&format!("umask {mask}\n"));
        }
        let interpreter = call
            .scope
            .variable("ansible_python_interpreter")
            .and_then(|v| to_json(&v).as_str().filter(|p| p.starts_with('/')).map(str::to_owned));
        Ok(Self {
            packages: joined.iter().map(|n| Requirement::read(n, version.as_deref())).collect(),
            names,
            version,
            requirements: some("requirements"),
            state,
            virtualenv: some("virtualenv"),
            make,
            python: some("virtualenv_python"),
            site: call.yes("virtualenv_site_packages")? == Some(true),
            interpreter,
            extra: words("extra_args", &call.text("extra_args").unwrap_or_default())?,
            editable: call.yes("editable")? == Some(true),
            chdir: some("chdir"),
            executable: some("executable"),
            begin,
        })
    }

    /// Whether a virtual environment is made by Python's own module, which has another command line.
    fn plain(&self) -> bool {
        self.make.iter().any(|w| w == "venv" || w.ends_with("pyvenv"))
    }

    /// The words behind `pip`.
    fn words(&self) -> Vec<String> {
        let mut all: Vec<String> = match self.state.as_str() {
            "absent" => vec!["uninstall", "-y"],
            "latest" => vec!["install", "-U"],
            "forcereinstall" => vec!["install", "-U", "--force-reinstall"],
            _ => vec!["install"],
        }
        .into_iter()
        .map(str::to_owned)
        .collect();
        all.extend(self.extra.iter().cloned());
        all.extend(self.editable.then(|| "-e".to_owned()));
        match &self.requirements {
            Some(file) => all.extend(["-r".to_owned(), file.clone()]),
            None => all.extend(self.packages.iter().map(|p| p.text().to_owned())),
        }
        all
    }

    /// Whether only the list of packages tells what changed.
    fn listed(&self) -> bool {
        let control = |n: &str| ["svn", "git", "hg", "bzr"].iter().any(|k| n.starts_with(&format!("{k}+")));
        self.requirements.is_some() || self.names.iter().flatten().any(|n| control(n))
    }
}

fn prepare(call: &Call) -> Result<Decision, String> {
    let mask = match call.text("umask").map(|u| umask(&u)).transpose() {
        Ok(mask) => mask,
        Err(why) => return Ok(Decision::Done(why)),
    };
    let want = Want::of(call, mask)?;
    if want.names.as_ref().is_some_and(Vec::is_empty) {
        return Ok(Decision::Done(fields([
            ("changed", json!(false)),
            ("warnings", json!(["No valid name or requirements file found."])),
        ])));
    }
    if want.python.is_some() && want.virtualenv.is_some() && want.plain() {
        // Only where the environment is not there yet; this tells it without a look.
        let script = format!("{}printf 'there=%s\\n\\n' \"$k\"\n", want.prelude());
        let check = call.check;
        return Ok(Decision::Probe(
            script,
            Box::new(move |out| match head(&out).0.get("there").map(String::as_str) {
                Some("1") => Ok(go(want, check)),
                _ if check => Ok(go(want, check)),
                _ => Err(
                    "virtualenv_python should not be used when using the venv module or pyvenv as virtualenv_command"
                        .into(),
                ),
            }),
        ));
    }
    Ok(go(want, call.check))
}

fn go(w: Want, check: bool) -> Decision {
    if !check {
        return Decision::Change(pending(w, fields([("changed", json!(true))])));
    }
    let blind = !w.extra.is_empty() || w.requirements.is_some() || w.state == "latest" || w.editable;
    let list = if blind { "echo blind=1\n" } else { "tp_list list \"$@\"\n" };
    // A look asks no index for a newer `pip`.
    let script = format!(
        "export PIP_DISABLE_PIP_VERSION_CHECK=1\n{}if [ -z \"$k\" ]; then printf 'blind=1\\n\\n'; exit 0; fi\n{}{list}tp_v=0\ntp_tell\n",
        w.prelude(),
        w.find()
    );
    Decision::Probe(script, Box::new(move |out| foresee(w, &out)))
}

/// What check mode gives.
fn foresee(w: Want, out: &Output) -> Result<Decision, String> {
    let said_ = Said::read(out)?;
    if let Some(why) = said_.failure(&w) {
        return why.map(Decision::Done);
    }
    if said_.get("blind") == "1" {
        return Ok(Decision::Change(pending(w, fields([("changed", json!(true))]))));
    }
    let have = installed(&said_.stdout);
    let absent = w.state == "absent";
    let changed = w.packages.iter().any(|p| p.met(&have) == absent) || !absent && w.listed();
    let last = if said_.get("freeze") == "1" { "freeze" } else { "list --format=freeze" };
    let cmd = format!("{} {last}", said_.pip().join(" "));
    let mut result = fields([("changed", json!(changed)), ("cmd", json!(cmd))]);
    said_.tell(&mut result);
    if !changed && w.state != "forcereinstall" {
        return Ok(Decision::Done(result));
    }
    Ok(Decision::Change(pending(w, result)))
}

fn pending(w: Want, expected: Fields) -> Pending {
    let words: String = w.words().iter().map(|x| format!(" {}", shell_quote(x))).collect();
    let (before, after) = match (w.listed(), w.state == "absent") {
        (false, _) => ("", ""),
        (true, true) => ("tp_list before \"$@\"\n", ""),
        (true, false) => (
            "tp_list before \"$@\"\n",
            "if [ \"$tp_v\" -eq 0 ]; then\nmv \"$tp_w/o\" \"$tp_w/ro\"; mv \"$tp_w/e\" \"$tp_w/re\"\ntp_list after \"$@\"\n\
             cmp -s \"$tp_w/before\" \"$tp_w/after\" || echo differ=1\nmv \"$tp_w/ro\" \"$tp_w/o\"; mv \"$tp_w/re\" \"$tp_w/e\"\nfi\n",
        ),
    };
    let script = format!("{}{}{}{before}tp_r \"$@\"{words}\n{after}tp_tell\n", w.prelude(), w.environment(), w.find());
    let subject = match (&w.requirements, &w.virtualenv) {
        (Some(file), _) => format!("python packages of {file}"),
        (None, Some(env)) => format!("python packages in {env}"),
        (None, None) => "python packages".to_owned(),
    };
    let certain = expected.contains_key("cmd") && expected.get("changed") == Some(&json!(true));
    Pending {
        script,
        action: if w.state == "absent" { Action::Delete } else { Action::Update },
        subject,
        path: None,
        before: None,
        after: w.names.as_ref().map(|n| json!(n)),
        certain,
        // Packages bring commands of their own.
        foreign: true,
        expected,
        finish: Box::new(move |out| finish(&w, &out)),
    }
}

/// What a script said.
struct Said {
    seen: HashMap<String, String>,
    stdout: String,
    stderr: String,
}

impl Said {
    fn read(out: &Output) -> Result<Self, String> {
        if out.rc != 0 {
            return Err(out.error_text().trim().to_owned());
        }
        let (seen, body) = head(out);
        let size = |k: &str| seen.get(k).and_then(|s| s.trim().parse::<usize>().ok()).unwrap_or(0);
        let (stdout, stderr) = body.split_at((size("mo") + size("o")).min(body.len()));
        Ok(Self {
            stdout: String::from_utf8_lossy(stdout).into_owned(),
            stderr: String::from_utf8_lossy(stderr).into_owned(),
            seen,
        })
    }

    fn get(&self, key: &str) -> &str {
        self.seen.get(key).map(String::as_str).unwrap_or_default()
    }

    fn pip(&self) -> Vec<String> {
        self.get("pip").split('\u{1f}').map(str::to_owned).collect()
    }

    fn tell(&self, result: &mut Fields) {
        let out = Output { stdout: self.stdout.clone().into(), stderr: self.stderr.clone().into(), rc: 0 };
        said(result, &out, true);
    }

    /// A command that failed, as Ansible tells it.
    fn broken(&self, cmd: Vec<String>) -> Fields {
        let mut msg = String::new();
        if !self.stdout.is_empty() {
            msg.push_str(&format!("stdout: {}", self.stdout));
        }
        if !self.stderr.is_empty() {
            msg.push_str(&format!("\n:stderr: {}", self.stderr));
        }
        failed(fields([("cmd", json!(cmd))]), msg)
    }

    /// How the script failed before `pip` did its work.
    fn failure(&self, w: &Want) -> Option<Result<Fields, String>> {
        let mut cmd = self.pip();
        Some(match self.get("fail") {
            "" => return None,
            "none" => Err(format!("Unable to find any of {} to use.  pip needs to be installed.", self.get("names"))),
            "venv" => Err(format!(
                "Unable to find pip in the virtualenv, {}, under any of these names: pip3, pip. Make sure pip is present in the virtualenv.",
                self.get("venv")
            )),
            "program" => Err(no_program(self.get("program"), self.get("path"))),
            "help" => {
                Err(format!("Could not get output from {} --help: {}{}", self.get("program"), self.stdout, self.stderr))
            }
            "start" => {
                cmd.extend(w.words());
                Ok(not_started(self.get("why"), shown(&cmd)))
            }
            "help-start" => {
                let program = self.get("why").split_once(' ').map(|(_, p)| p.to_owned()).unwrap_or_default();
                Ok(not_started(self.get("why"), shown(&[program, "--help".into()])))
            }
            "make" => Ok(self.broken(self.get("cmd").split('\u{1f}').map(str::to_owned).collect())),
            _ => {
                cmd.push("freeze".into());
                Ok(self.broken(cmd))
            }
        })
    }
}

fn shown(cmd: &[String]) -> String {
    cmd.iter().map(|w| python_quoted(w)).collect::<Vec<_>>().join(" ")
}

fn finish(w: &Want, out: &Output) -> Fields {
    let told = match Said::read(out) {
        Ok(told) => told,
        Err(why) => return failed(Fields::new(), why),
    };
    if let Some(why) = told.failure(w) {
        return why.unwrap_or_else(|msg| failed(Fields::new(), msg));
    }
    let mut cmd = told.pip();
    cmd.extend(w.words());
    let absent = w.state == "absent";
    let gone = absent
        && told.get("rc") == "1"
        && (told.stdout.contains("not installed") || told.stderr.contains("not installed"));
    if told.get("rc") != "0" && !gone {
        return told.broken(cmd);
    }
    let changed = match (absent, w.listed()) {
        (true, _) => told.stdout.contains("Successfully uninstalled"),
        (false, true) => told.get("differ") == "1",
        (false, false) => told.stdout.contains("Successfully installed"),
    };
    let mut all = fields([
        ("changed", json!(changed || told.get("made") == "1")),
        ("cmd", json!(cmd)),
        ("name", json!(w.names)),
        ("version", json!(w.version)),
        ("state", json!(w.state)),
        ("requirements", json!(w.requirements)),
        ("virtualenv", json!(env_of(w))),
    ]);
    told.tell(&mut all);
    all
}

/// The virtual environment as results have it.
fn env_of(w: &Want) -> Json {
    match (&w.virtualenv, &w.chdir) {
        (Some(env), Some(d)) if !env.starts_with('/') => json!(format!("{}/{env}", d.trim_end_matches('/'))),
        (env, _) => json!(env),
    }
}
