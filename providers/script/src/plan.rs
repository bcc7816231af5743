//! What would change on a host, as far as that can be known.

use towpath_core::{Action, Certainty, Change, Connector, Context, Result};

use crate::host::{Job, Link, Task};
use crate::run::{Guarded, Look, Run, guards};
use crate::upload::{Found, Seen, Upload, states};

/// Files that decide what names of users and groups mean, and who may do what.
const OF_USERS: [&str; 5] = ["/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/sudoers", "/etc/shadow"];

/// Whether a path is another one, or something in it.
fn inside(path: &str, of: &str) -> bool {
    path.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What earlier steps would do to the host.
#[derive(Debug, Default)]
struct Before {
    /// The first step after which nothing is certain.
    dirty: Option<String>,
    /// Paths that uploads would change: title, path (as it is named, and with its links followed), and whether it is made.
    touched: Vec<(String, String, bool)>,
    /// What was said of each step: the most certain of its changes.
    said: Vec<(String, Certainty)>,
}

impl Before {
    /// What is known of the steps that a script waits for; `None`: it waits for none.
    fn called(&self, run: &Run) -> Option<Certainty> {
        let names = &run.config.if_changed;
        let of_them = || self.said.iter().filter(|(title, _)| names.contains(title)).map(|(_, c)| *c);
        let is = |wanted| of_them().any(|c| c == wanted);
        (!names.is_empty()).then(|| match (is(Certainty::Will), is(Certainty::CannotKnow)) {
            (true, _) => Certainty::Will,
            (false, true) => Certainty::CannotKnow,
            (false, false) => Certainty::WillNot,
        })
    }

    fn spoil(&mut self, title: &str) {
        self.dirty.get_or_insert_with(|| format!("`{title}` runs before it, and may change anything"));
    }

    /// Why something about a path is not certain.
    fn about(&self, path: &str) -> Option<String> {
        let touched = self.touched.iter().find(|(_, t, _)| inside(t, path) || inside(path, t));
        self.dirty.clone().or_else(|| touched.map(|(title, ..)| format!("`{title}` before it changes the same path")))
    }

    /// Why an answer of a user's command is not certain.
    fn about_anything(&self) -> Option<String> {
        let first = self.touched.first();
        self.dirty.clone().or_else(|| first.map(|(title, ..)| format!("`{title}` before it changes the host")))
    }

    /// Why it is not certain that a path stays missing. Conservative: a link may lead there under another name.
    fn about_missing(&self) -> Option<String> {
        let made = self.touched.iter().find(|(.., made)| *made);
        self.dirty.clone().or_else(|| made.map(|(title, ..)| format!("`{title}` before it makes something")))
    }
}

/// The one absolute path that a guard is about; `None` if it is a pattern, or starts in a folder that only the host knows.
fn named(path: &str, cwd: Option<&str>) -> Option<String> {
    if path.contains(['*', '?', '[', '\\']) {
        return None;
    }
    let whole = if path.starts_with('/') { path.to_owned() } else { format!("{}/{path}", cwd?) };
    let parts: Vec<&str> = whole.split('/').filter(|p| !p.is_empty() && *p != ".").collect();
    (whole.starts_with('/') && !parts.contains(&"..")).then(|| format!("/{}", parts.join("/")))
}

/// Plans the steps of a host.
pub(crate) async fn plan(cx: &Context, job: &Job, connector: &dyn Connector) -> Result<Vec<Change>> {
    let cx = &cx.for_host(&job.host.name);
    let link = Link::new(&job.host, connector);
    let planned = steps(cx, job, &link).await;
    link.close().await;
    planned.map_err(|e| e.with_missing("host", &job.host.name))
}

async fn steps(cx: &Context, job: &Job, link: &Link<'_>) -> Result<Vec<Change>> {
    let host = job.host.name.as_str();
    let mut before = Before::default();
    let mut changes = Vec::new();
    for ready in &job.steps {
        let at = |e: towpath_core::Error| e.with_missing("task", ready.title());
        let connection = link.get(cx).await.map_err(at)?;
        let first = changes.len();
        match &ready.task {
            Task::Upload(upload) => {
                let seen = upload.look(cx, connection).await.map_err(at)?;
                changes.extend(upload_changes(host, upload, &seen, &mut before, cx, link).await.map_err(at)?);
            }
            Task::Run(run) => {
                let look = match run.config.is_guarded() {
                    true => Some(guards(run, cx, connection).await.map_err(at)?),
                    false => None,
                };
                changes.push(run_change(host, run, look, &mut before));
            }
        }
        let of_step = changes.get(first..).unwrap_or_default();
        before.said.extend(of_step.iter().map(|c: &Change| (ready.title().to_owned(), c.certainty)));
    }
    Ok(changes)
}

/// What becomes of a script. `look`: what its guards say, if it has any.
fn run_change(host: &str, run: &Run, look: Option<Look>, before: &mut Before) -> Change {
    let title = run.title.as_str();
    let unknown = |why: String| Change::cannot_know(host, title, Action::Run, why);
    let because = |guard: Guarded| {
        let mut change = Change::will_not(host, title);
        change.reason = Some(guard.shown(run));
        change
    };
    let called = before.called(run);
    if called == Some(Certainty::WillNot) {
        return because(Guarded::IfChanged);
    }
    let change = match look {
        Some(Look::Held(guard)) => {
            let doubt = match guard {
                // Uploads remove nothing.
                Guarded::Creates => before.dirty.clone(),
                Guarded::Removes => before.about_missing(),
                Guarded::Unless | Guarded::OnlyIf | Guarded::IfChanged => before.about_anything(),
            };
            match doubt {
                Some(why) => unknown(why),
                None => return because(guard),
            }
        }
        _ if called == Some(Certainty::CannotKnow) => {
            unknown(format!("it is not known whether {} changes anything", run.config.if_changed.join(" or ")))
        }
        Some(Look::NoDirectory) => unknown(match before.about_anything() {
            Some(why) => why,
            None => format!("its working directory {} is not there", run.config.cwd.as_deref().unwrap_or_default()),
        }),
        Some(Look::Runs) => {
            let commands = run.config.unless.is_some() || run.config.only_if.is_some();
            let made = run.config.creates.as_deref().and_then(|path| match named(path, run.config.cwd.as_deref()) {
                Some(path) => before.about(&path),
                None => before.about_missing(),
            });
            let doubt = if commands { before.about_anything() } else { before.dirty.clone().or(made) };
            match doubt {
                Some(why) => unknown(why),
                None if run.config.changed_when_status.is_some() => {
                    unknown("it runs, and its exit status tells whether it has changed anything".into())
                }
                None => Change::will(host, title, Action::Run),
            }
        }
        None if called == Some(Certainty::Will) => match run.config.changed_when_status {
            Some(_) => unknown("it runs, and its exit status tells whether it has changed anything".into()),
            None => Change::will(host, title, Action::Run),
        },
        None => unknown("it has no guard, so only running it can tell what it changes".into()),
    };
    // Also if it counts as changing nothing: that is how it is told, not what it does.
    before.spoil(title);
    match &run.config.changed_when_status {
        Some(list) if list.is_empty() && look != Some(Look::NoDirectory) => {
            let mut change = Change::will_not(host, title);
            change.reason = Some("counts as changing nothing: `changed_when_status` is empty".into());
            change
        }
        _ => change,
    }
}

async fn upload_changes(
    host: &str,
    upload: &Upload,
    seen: &Seen,
    before: &mut Before,
    cx: &Context,
    link: &Link<'_>,
) -> Result<Vec<Change>> {
    let title = upload.title.as_str();
    let differs = upload.differing(seen);
    let links: Vec<&str> = upload.linked(seen).collect();
    let behind = |path: &str| links.iter().any(|l| inside(path, l));
    if differs.is_empty() {
        let doubt = before.about(&seen.real).or_else(|| before.about(&upload.path));
        // Where a link in it leads is not looked at, so it may be anywhere.
        return Ok(vec![match doubt.or_else(|| before.about_anything().filter(|_| !links.is_empty())) {
            Some(why) => Change::cannot_know(host, title, Action::Update, why),
            None => Change::will_not(host, title),
        }]);
    }
    let connection = link.get(cx).await?;
    let mut changes = Vec::new();
    let mut touched = Vec::new();
    let mut anywhere = false;
    for (wanted, found) in differs {
        let subject = match wanted.path == upload.path && title.ends_with(&upload.path) {
            true => title.to_owned(),
            false => format!("{title}: {}", wanted.path),
        };
        let action = if *found == Found::Nothing { Action::Create } else { Action::Update };
        let real = match wanted.path.strip_prefix(&upload.path) {
            Some(below) => format!("{}{below}", seen.real),
            None => wanted.path.clone(),
        };
        let mut change = Change::will(host, subject, action);
        let doubt = before.about(&real).or_else(|| before.about(&wanted.path));
        let doubt = doubt.or_else(|| before.about_anything().filter(|_| behind(&wanted.path)));
        if let Some(why) =
            doubt.or_else(|| upload.refuse(wanted, found).err().map(|e| format!("it would fail: {}", e.message())))
        {
            change.certainty = Certainty::CannotKnow;
            change.reason = Some(why);
        }
        let (was, will) = states(upload, wanted, found, cx, connection).await?;
        changes.push(change.from_to(was, will));
        // A link that is replaced may have led anywhere, and so may one that is followed.
        anywhere |=
            matches!(found, Found::Other(_)) || behind(&wanted.path) || OF_USERS.iter().any(|p| real.starts_with(p));
        let made = *found == Found::Nothing;
        if real != wanted.path {
            touched.push((title.to_owned(), wanted.path.clone(), made));
        }
        touched.push((title.to_owned(), real, made));
    }
    before.touched.extend(touched);
    if anywhere {
        before.spoil(title);
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_names_a_path_if_all_of_it_is_known() {
        assert_eq!(named("/srv//app/./x/", None).as_deref(), Some("/srv/app/x"));
        assert_eq!(named("x", Some("/srv/app")).as_deref(), Some("/srv/app/x"));
        for (path, cwd) in
            [("x", None), ("x", Some("app")), ("../x", Some("/srv")), ("/srv/*", None), ("x?", Some("/"))]
        {
            assert_eq!(named(path, cwd), None, "{path}");
        }
    }

    #[test]
    fn what_overlaps_is_in_doubt() {
        let touched = vec![("conf".to_owned(), "/etc/app/conf".to_owned(), false)];
        let before = Before { touched, ..Before::default() };
        assert!(before.about("/etc/app/conf").is_some());
        assert!(before.about("/etc/app").is_some(), "a folder around it");
        assert!(before.about("/etc/app/conf/x").is_some(), "something in it");
        assert_eq!(before.about("/etc/app/conf2"), None);
        assert_eq!(before.about_missing(), None, "it is there already");
        assert!(before.about_anything().is_some());
    }
}
