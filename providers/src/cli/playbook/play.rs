//! Running playbooks.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::playbook::{Gathering, Playbook, PlaybookConfig, Vault};
use crate::{Configurator as _, Context, ErrorKind, Targets, Vars};

use super::ask::Person;
use super::connect::Ways;
use super::list::Lists;
use super::options::{Become, PlaybookCli, Running};
use super::session::{Session, retry_file};
use super::setup::{Base, Chosen};
use super::stdout::Printer;
use super::{Outcome, Stop, exit, secrets};

/// `towpath-playbook`.
pub(crate) fn run(name: &str, cli: PlaybookCli) -> Outcome {
    let base = Base::new(name, &cli.common)?;
    if cli.common.version {
        super::super::print(&base.version());
        return Ok(exit::DONE);
    }
    for path in &cli.playbooks {
        if !path.exists() {
            return Err(Stop::new(exit::ERROR, format!("the playbook: {} could not be found", path.display())));
        }
        if path.is_dir() {
            return Err(Stop::new(
                exit::ERROR,
                format!("the playbook: {} does not appear to be a file", path.display()),
            ));
        }
    }
    refuse_modules(&cli.running)?;
    let mut look = base.look();
    look.diff = cli.running.diff || base.settings.flag("DIFF_ALWAYS") == Some(true);
    look.check = cli.running.check;
    let lists = cli.hosts.list_hosts || cli.list_tasks || cli.list_tags || cli.syntax_check;
    let (login, become_password) = if lists { (None, None) } else { base.passwords(&cli.connection, &cli.becoming)? };
    let vault = secrets::vault(&cli.vaults, &base.settings)?;
    let extra = base.extra_vars(&cli.running.extra_vars, &vault)?;
    let tags = words(&cli.tags, base.settings.list("TAGS_RUN"));
    let skip_tags = words(&cli.skip_tags, base.settings.list("TAGS_SKIP"));
    let mut playbooks = Vec::new();
    let defaults = base.connection(&cli.connection, login)?;
    let printer = Arc::new(base.printer(look.clone()));
    let user = defaults.user.clone();
    let chosen = base.choose(&cli.hosts, &vault, defaults, &extra, &printer)?;
    let cwd = std::env::current_dir().unwrap_or_default();
    for path in &cli.playbooks {
        let mut config = config(&base, path, &cli.running, &cli.becoming, &chosen, extra.clone())?;
        config.tags = tags.clone();
        config.skip_tags = skip_tags.clone();
        config.start_at_task = cli.start_at_task.clone();
        config.force_handlers = cli.force_handlers || base.settings.flag("DEFAULT_FORCE_HANDLERS") == Some(true);
        config.become_password = become_password.clone();
        config.remote_user = user.clone();
        playbooks
            .push((path, Playbook::new(config, &cwd)?.with_vault(vault.clone()).with_sources(chosen.from.clone())));
    }
    if lists {
        let lists = Lists {
            cli: &cli,
            inventory: &chosen.loaded.inventory,
            limit: chosen.limit.as_deref(),
            tags: &tags,
            skip_tags: &skip_tags,
        };
        for (path, playbook) in &playbooks {
            lists.print(path, &playbook.outline()?, &printer)?;
        }
        return Ok(exit::DONE);
    }
    if look.verbosity >= 2 {
        let mut plays = BTreeMap::new();
        for (path, playbook) in &playbooks {
            plays.insert((*path).clone(), playbook.outline()?.len());
        }
        ["default", "minimal", "oneline"].iter().for_each(|c| {
            printer.say(&format!("Skipping callback '{c}', as we already have a stdout callback."));
        });
        printer.set_plays(plays);
    }
    let session = Arc::new(Session::new(printer.clone()));
    let person = Arc::new(Person { printer: printer.clone(), step: cli.step });
    let prepare = |(path, playbook): (&std::path::PathBuf, Playbook)| {
        let retry = base.settings.flag("RETRY_FILES_ENABLED") == Some(true);
        let retry = retry.then(|| retry_file(path, base.settings.path("RETRY_FILES_SAVE_PATH")));
        (retry, playbook.with_report(session.clone()).with_ask(person.clone()))
    };
    let all: Vec<_> = playbooks.into_iter().map(prepare).collect();
    let targets = targets(chosen);
    under_way(&printer.clone(), &vault, |cx| async move {
        for (retry, playbook) in all {
            session.next(retry);
            let result = playbook.apply(&cx, &targets).await;
            match (session.code(), result) {
                (_, Err(e)) if e.kind() == ErrorKind::Cancelled => return Err(interrupted()),
                // What failed on hosts has been told.
                (_, Ok(_)) => {}
                (Some(code), Err(e)) => {
                    printer.place(&e);
                    match e.kind() {
                        ErrorKind::ToolFailed | ErrorKind::Unreachable if code != exit::DONE => return Ok(code),
                        ErrorKind::ToolFailed => return Ok(exit::FAILED_HOSTS),
                        _ => return Err(e.into()),
                    }
                }
                (None, Err(e)) => return Err(e.into()),
            }
        }
        Ok(exit::DONE)
    })
}

fn interrupted() -> Stop {
    Stop::new(exit::INTERRUPTED, "User interrupted execution")
}

/// Tags of options, else of settings; one text may hold several.
fn words(given: &[String], configured: Vec<String>) -> Vec<String> {
    if given.is_empty() {
        return configured;
    }
    given.iter().flat_map(|g| g.split(',')).map(|t| t.trim().to_owned()).filter(|t| !t.is_empty()).collect()
}

/// `--module-path` would be read over if it held modules.
pub(crate) fn refuse_modules(running: &Running) -> std::result::Result<(), Stop> {
    for dir in running.module_path.iter().flat_map(|p| p.split(':')).filter(|p| !p.is_empty()) {
        let python = std::fs::read_dir(dir)
            .into_iter()
            .flatten()
            .flatten()
            .find(|e| e.path().extension().is_some_and(|x| x == "py"));
        if let Some(file) = python {
            let message = format!("--module-path: modules in Python are not supported: {}", file.path().display());
            return Err(Stop::new(exit::OPTIONS, message));
        }
    }
    Ok(())
}

/// What options say about a run.
pub(crate) fn config(
    base: &Base,
    file: &Path,
    running: &Running,
    becoming: &Become,
    chosen: &Chosen,
    extra: Vars,
) -> std::result::Result<PlaybookConfig, Stop> {
    let s = &base.settings;
    let mut config = PlaybookConfig::new(file);
    config.extra_vars = extra;
    config.roles_path = s.paths("DEFAULT_ROLES_PATH", ':');
    config.check = running.check;
    config.diff = running.diff || s.flag("DIFF_ALWAYS") == Some(true);
    config.verbosity = base.verbosity;
    config.r#become = becoming.r#become || s.flag("DEFAULT_BECOME") == Some(true);
    config.become_user = becoming.become_user.clone().or_else(|| s.get("DEFAULT_BECOME_USER").map(str::to_owned));
    config.become_method = becoming.become_method.clone().or_else(|| s.get("DEFAULT_BECOME_METHOD").map(str::to_owned));
    if let Some(forks) = running.forks.or(s.number("DEFAULT_FORKS")?.and_then(|f| usize::try_from(f).ok())) {
        if forks == 0 {
            return Err(Stop::new(exit::OPTIONS, "The number of processes (--forks) must be >= 1"));
        }
        config.forks = forks;
    }
    config.gathering = match s.get("DEFAULT_GATHERING").map(str::to_lowercase).as_deref() {
        None | Some("implicit") => Gathering::Implicit,
        Some("explicit") => Gathering::Explicit,
        Some("smart") => Gathering::Smart,
        Some(other) => {
            let message = format!("`gathering = {other}` is not known; there are implicit, explicit and smart");
            return Err(Stop::new(exit::OPTIONS, message));
        }
    };
    config.strategy = s.get("DEFAULT_STRATEGY").map(|name| name.strip_prefix("mitogen_").unwrap_or(name).to_owned());
    config.any_errors_fatal = s.flag("ANY_ERRORS_FATAL") == Some(true);
    config.no_log = s.flag("DEFAULT_NO_LOG") == Some(true);
    config.task_timeout = s.number("TASK_TIMEOUT")?.unwrap_or(0);
    config.ansible_managed = s.get("DEFAULT_MANAGED_STR").map(str::to_owned);
    config.inventory_sources = chosen.sources.iter().map(Into::into).collect();
    Ok(config)
}

pub(crate) fn targets(chosen: Chosen) -> Targets {
    let mut targets = Targets::new(chosen.loaded.inventory, Arc::new(Ways::new()));
    targets.limit = chosen.limit;
    targets
}

/// Does the work on a runtime; Ctrl-C and SIGTERM end it in order, a second one at once.
pub(crate) fn under_way<F: Future<Output = Outcome>>(
    printer: &Arc<Printer>,
    vault: &Vault,
    work: impl FnOnce(Context) -> F,
) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Stop::new(exit::FAULT, format!("there is no runtime: {e}")))?;
    runtime.block_on(async {
        let token = CancellationToken::new();
        let (asked, printer) = (token.clone(), printer.clone());
        let watch = tokio::spawn(async move {
            if super::super::asked_to_stop().await {
                printer.warn("cancelling; waiting until nothing runs any more (Ctrl-C again: do not wait)");
                asked.cancel();
                if super::super::asked_to_stop().await {
                    std::process::exit(i32::from(exit::INTERRUPTED));
                }
            }
        });
        let cx = Context::builder().cancel(token).build();
        vault.passwords().for_each(|p| cx.learn_secret(p));
        let outcome = work(cx).await;
        watch.abort();
        outcome
    })
}
