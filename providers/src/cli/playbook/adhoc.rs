//! `ansible`: one module on hosts.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::playbook::{HostResult, Playbook, PlaybookEvent, Report, select_hosts};
use crate::{Configurator as _, Error, ErrorKind, Json, Secret, SecretRef, TaskStatus, Vars};

use super::options::AdHocCli;
use super::setup::Base;
use super::stdout::{Color, Look, Printer, diff, json, result};
use super::{Outcome, Stop, exit, play, secrets};

pub(crate) fn run(name: &str, cli: AdHocCli) -> Outcome {
    let base = Base::new(name, &cli.common)?;
    if cli.common.version {
        super::super::print(&base.version());
        return Ok(exit::DONE);
    }
    play::refuse_modules(&cli.running)?;
    let configured = base.settings.get("DEFAULT_MODULE_NAME").filter(|m| !m.is_empty()).unwrap_or("command").to_owned();
    let module = cli.module_name.clone().unwrap_or(configured);
    let args =
        cli.args.clone().or_else(|| base.settings.get("DEFAULT_MODULE_ARGS").map(str::to_owned)).unwrap_or_default();
    let short = module.trim_start_matches("ansible.builtin.").trim_start_matches("ansible.legacy.");
    if ["command", "shell", "script", "raw", "win_command", "win_shell"].contains(&short)
        && args.trim().is_empty()
        && !cli.hosts.list_hosts
    {
        return Err(Stop::new(exit::OPTIONS, format!("No argument passed to {module} module")));
    }
    if ["include_role", "include_tasks", "import_role", "import_tasks", "import_playbook"].contains(&short) {
        return Err(Stop::new(exit::OPTIONS, format!("'{module}' is not a valid action for ad-hoc commands")));
    }
    let mut look = base.look();
    look.diff = cli.running.diff || base.settings.flag("DIFF_ALWAYS") == Some(true);
    let (login, of_become) =
        if cli.hosts.list_hosts { (None, None) } else { base.passwords(&cli.connection, &cli.becoming)? };
    let vault = secrets::vault(&cli.vaults, &base.settings)?;
    let extra = base.extra_vars(&cli.running.extra_vars, &vault)?;
    let defaults = base.connection(&cli.connection, login)?;
    let printer = Arc::new(base.printer(look.clone()));
    let user = defaults.user.clone();
    let mut chosen = base.choose(&cli.hosts, &vault, defaults, &extra, &printer)?;
    let pattern = cli.pattern.clone().unwrap_or_default();
    let mut hosts = select_hosts(&chosen.loaded.inventory, &pattern)?;
    if let Some(limit) = &chosen.limit {
        let kept = select_hosts(&chosen.loaded.inventory, limit)?;
        hosts.retain(|h| kept.contains(h));
    }
    if hosts.is_empty() && ["localhost", "127.0.0.1", "::1"].contains(&pattern.as_str()) {
        hosts.push(pattern.clone());
    }
    if cli.hosts.list_hosts {
        printer.say(&format!("  hosts ({}):", hosts.len()));
        hosts.iter().for_each(|h| printer.say(&format!("    {h}")));
        return Ok(exit::DONE);
    }
    if hosts.is_empty() {
        if !pattern.is_empty() {
            printer.warn(&format!("Could not match supplied host pattern, ignoring: {pattern}"));
        }
        printer.warn("No hosts matched, nothing to do");
        return Ok(exit::DONE);
    }
    let text = playbook(&cli, &pattern, &module, &args, base.settings.get("DEFAULT_POLL_INTERVAL"))?;
    let SecretRef::File(file) = base.held.keep(&Secret::new(text))? else {
        return Err(Error::new(ErrorKind::Internal, "playbook", "ad hoc", "a text that was kept has no file").into());
    };
    let mut config = play::config(&base, &file, &cli.running, &cli.becoming, &chosen, extra)?;
    config.become_password = of_become;
    config.remote_user = user;
    let cwd = std::env::current_dir().unwrap_or_default();
    let dir = cli.playbook_dir.clone().map_or_else(|| cwd.clone(), |d| cwd.join(d));
    chosen.limit = chosen.limit.take();
    let seen = Arc::new(OneTask {
        printer: printer.clone(),
        look,
        one_line: cli.one_line,
        tree: cli.tree.clone(),
        code: Mutex::new(exit::DONE),
    });
    let playbook = Playbook::new(config, &cwd)?.playbook_dir(dir).with_vault(vault.clone()).with_report(seen.clone());
    let targets = play::targets(chosen);
    play::under_way(&printer, &vault, |cx| async move {
        let result = playbook.apply(&cx, &targets).await;
        let code = *seen.code.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Err(e) if e.kind() == ErrorKind::Cancelled => {
                Err(Stop::new(exit::INTERRUPTED, "User interrupted execution"))
            }
            Err(e) if code == exit::DONE => Err(e.into()),
            _ => Ok(code),
        }
    })
}

/// A playbook of this one task.
fn playbook(
    cli: &AdHocCli,
    pattern: &str,
    module: &str,
    args: &str,
    poll: Option<&str>,
) -> std::result::Result<String, Stop> {
    let mut task = Vars::new();
    if args.trim_start().starts_with('{') {
        let given: Json = serde_json::from_str(args)
            .map_err(|e| Stop::new(exit::ERROR, format!("the arguments are no JSON: {e}")))?;
        task.insert(module.to_owned(), given);
    } else {
        task.insert("action".into(), format!("{module} {args}").trim().into());
    }
    if let Some(seconds) = cli.background {
        task.insert("async".into(), seconds.into());
        let configured = poll.and_then(|p| p.parse().ok()).unwrap_or(15);
        task.insert("poll".into(), cli.poll.unwrap_or(configured).into());
    }
    let play =
        serde_json::json!([{ "name": "Ansible Ad-Hoc", "hosts": pattern, "gather_facts": false, "tasks": [task] }]);
    // JSON is YAML.
    Ok(play.to_string())
}

/// Shows results as Ansible's `minimal` and `oneline` callbacks do.
struct OneTask {
    printer: Arc<Printer>,
    look: Look,
    one_line: bool,
    tree: Option<PathBuf>,
    code: Mutex<u8>,
}

impl Report for OneTask {
    fn on(&self, event: &PlaybookEvent) {
        match event {
            PlaybookEvent::TaskFinished(r) => self.result(r),
            PlaybookEvent::Retrying { .. } | PlaybookEvent::Polling { .. } | PlaybookEvent::Warning(_) => {
                self.printer.on(event)
            }
            _ => {}
        }
    }
}

impl OneTask {
    fn result(&self, r: &HostResult) {
        let code = match r.status {
            TaskStatus::Failed => exit::FAILED_HOSTS,
            TaskStatus::Unreachable => exit::UNREACHABLE_OR_UNREADABLE,
            _ => exit::DONE,
        };
        let mut worst = self.code.lock().unwrap_or_else(PoisonError::into_inner);
        *worst = code.max(*worst);
        drop(worst);
        let value = result::visible(r, &self.look, false);
        if let Some(folder) = &self.tree {
            let written = std::fs::create_dir_all(folder)
                .and_then(|()| std::fs::write(folder.join(r.host.replace('/', "_")), json::compact(&value)));
            if let Err(e) = written {
                self.printer.warn(&format!("Unable to write to {}'s file: {e}", r.host));
            }
        }
        if let Some(found) = r.result.get("diff").filter(|_| self.look.diff) {
            let text = diff::text(found, self.look.color);
            if !text.is_empty() {
                self.printer.say(&text);
            }
        }
        let (text, color) = self.line(r, &value);
        self.printer.say_in(&text, color);
    }

    fn line(&self, r: &HostResult, value: &Json) -> (String, Color) {
        let host = &r.host;
        let changed = r.status == TaskStatus::Changed || r.result.get("changed") == Some(&Json::Bool(true));
        let short = r.task.action.rsplit('.').next().unwrap_or_default();
        let is_command =
            ["command", "shell", "raw", "script"].contains(&short) && !r.result.contains_key("ansible_job_id");
        let (word, color) = match r.status {
            TaskStatus::Skipped => return (format!("{host} | SKIPPED"), Color::Skipped),
            TaskStatus::Unreachable if self.one_line => {
                let msg = r.result.get("msg").map(json::python).unwrap_or_default();
                return (format!("{host} | UNREACHABLE!: {msg}"), Color::Unreachable);
            }
            TaskStatus::Unreachable => {
                return (format!("{host} | UNREACHABLE! => {}", json::pretty(value)), Color::Unreachable);
            }
            TaskStatus::Failed | TaskStatus::Ignored => ("FAILED", Color::Failed),
            _ if changed => ("CHANGED", Color::Changed),
            _ => ("SUCCESS", Color::Ok),
        };
        let failed = word == "FAILED";
        let get = |key: &str| r.result.get(key).map(json::python).unwrap_or_default();
        if self.one_line {
            if is_command && !failed {
                let err = get("stderr");
                let err = if err.is_empty() { err } else { format!(" (stderr) {}", err.replace('\n', "\\n")) };
                let out = get("stdout").replace('\n', "\\n").replace('\r', "\\r");
                return (format!("{host} | {word} | rc={} | (stdout) {out}{err}", get("rc")), color);
            }
            let mark = if failed { "!" } else { "" };
            return (format!("{host} | {word}{mark} => {}", json::tight(value)), color);
        }
        if is_command && r.result.contains_key("rc") {
            let text =
                format!("{host} | {word} | rc={} >>\n{}{}{}", get("rc"), get("stdout"), get("stderr"), get("msg"));
            return (text, color);
        }
        let mark = if failed { "!" } else { "" };
        (format!("{host} | {word}{mark} => {}", json::pretty(value)), color)
    }
}
