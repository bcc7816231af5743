//! What is wrong with a config as such, before any file is looked at.

use towpath_core::pipeline::nearest;
use towpath_core::{Error, ErrorKind, Result};

use crate::{RunConfig, SCRIPT, ScriptConfig, StepConfig, UploadConfig};

/// Refuses what can't be meant.
pub(crate) fn check(config: &ScriptConfig) -> Result<()> {
    if config.forks == 0 {
        return Err(wrong("`forks` must be at least 1"));
    }
    if config.steps.is_empty() {
        return Err(wrong("there are no `steps`"));
    }
    for (n, step) in config.steps.iter().enumerate() {
        let checked = match step {
            StepConfig::Run(run) => check_run(run),
            StepConfig::Upload(upload) => check_upload(upload),
        };
        let checked = checked.and_then(|()| match step {
            StepConfig::Run(run) => check_names(run, config.steps.get(..n).unwrap_or_default()),
            StepConfig::Upload(_) => Ok(()),
        });
        checked.map_err(|e| e.with("step_number", n + 1).with("task", title(step)))?;
    }
    Ok(())
}

/// A step's name for people.
pub(crate) fn title(step: &StepConfig) -> String {
    let first_line = |text: &str| {
        let line = text.lines().map(str::trim).find(|l| !l.is_empty() && !l.starts_with('#')).unwrap_or_default();
        if line.chars().count() <= 60 { line.to_owned() } else { line.chars().take(57).chain("...".chars()).collect() }
    };
    match step {
        StepConfig::Run(RunConfig { name: Some(name), .. })
        | StepConfig::Upload(UploadConfig { name: Some(name), .. }) => name.clone(),
        StepConfig::Run(run) => match (&run.file, &run.script) {
            (Some(file), _) => format!("run {}", file.display()),
            (None, Some(text)) => format!("run {}", first_line(text)),
            (None, None) => "run".to_owned(),
        },
        StepConfig::Upload(upload) => format!("upload {}", upload.path),
    }
}

fn wrong(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, SCRIPT, "config", message)
}

fn check_run(run: &RunConfig) -> Result<()> {
    match (&run.script, &run.file) {
        (Some(_), Some(_)) => return Err(wrong("both `script` and `file` are given; keep one of them")),
        (None, None) => return Err(wrong("neither `script` nor `file` is given; give one of them")),
        (Some(text), None) if text.trim().is_empty() => return Err(wrong("`script` is empty")),
        _ => {}
    }
    for name in run.env.keys().chain(run.secret_env.keys()) {
        if !towpath_core::posix::is_variable(name) {
            return Err(wrong(format!("`{name}` is no name of an environment variable")));
        }
    }
    if let Some(name) = run.secret_env.keys().find(|n| run.env.contains_key(*n)) {
        return Err(wrong(format!("`{name}` is in both `env` and `secret_env`")));
    }
    if run.timeout_s == Some(0) {
        return Err(wrong("`timeout_s` must be at least 1; leave it out for no limit"));
    }
    if run.interpreter.first().is_some_and(String::is_empty) {
        return Err(wrong("`interpreter` names no program"));
    }
    let texts = [&run.creates, &run.removes, &run.unless, &run.only_if, &run.cwd];
    if texts.iter().any(|t| t.as_deref().is_some_and(|t| t.trim().is_empty())) {
        return Err(wrong("a guard or `cwd` is empty; leave it out"));
    }
    Ok(())
}

/// What `if_changed` names must stand before it.
fn check_names(run: &RunConfig, before: &[StepConfig]) -> Result<()> {
    let titles: Vec<String> = before.iter().map(title).collect();
    match run.if_changed.iter().find(|name| !titles.contains(name)) {
        None => Ok(()),
        Some(name) => {
            let hint = nearest(name, titles.iter().map(String::as_str))
                .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            Err(wrong(format!("`if_changed` names `{name}`, and no step before it is called so{hint}")))
        }
    }
}

fn check_upload(upload: &UploadConfig) -> Result<()> {
    let given = usize::from(upload.source.is_some())
        + usize::from(upload.content.is_some())
        + usize::from(upload.secret.is_some());
    if given != 1 {
        let how = if given == 0 { "none" } else { "more than one" };
        return Err(wrong(format!("{how} of `source`, `content` and `secret` is given; give one of them")));
    }
    for (name, mode) in [("mode", &upload.mode), ("directory_mode", &upload.directory_mode)] {
        if let Some(mode) = mode {
            octal(mode)
                .ok_or_else(|| wrong(format!("`{name}` must be octal digits in quotes, as \"0644\", not {mode:?}")))?;
        }
    }
    let who = |text: &Option<String>| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-$@\\".contains(c);
        text.as_deref().is_some_and(|t| t.is_empty() || t.starts_with('-') || !t.chars().all(plain))
    };
    if who(&upload.owner) || who(&upload.group) {
        return Err(wrong("`owner` and `group` are names or numbers"));
    }
    if !upload.fill {
        check_path(&upload.path)?;
    }
    Ok(())
}

/// Refuses a path that is not one of a file on a host.
pub(crate) fn check_path(path: &str) -> Result<()> {
    let bad = path.contains(['\n', '\0']) || path.split('/').any(|part| part == ".." || part == ".");
    if !path.starts_with('/') || path.trim_end_matches('/').is_empty() || bad {
        return Err(wrong(format!("`path` must be absolute, and without `..`, not {path:?}")));
    }
    Ok(())
}

/// Permission bits.
pub(crate) fn octal(text: &str) -> Option<u32> {
    let digits = (3..=4).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    digits.then(|| u32::from_str_radix(text, 8).ok()).flatten()
}
