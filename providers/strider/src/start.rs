use std::time::Duration;

use chrono::{DateTime, Utc};
use hyper::Method;
use serde::Deserialize;
use serde_json::json;
use towpath_core::{Context, Error, ErrorKind, GroupJob, Release, Result, Retry};

use crate::address::encoded;
use crate::history::later_than;
use crate::job::{Job, is_id};
use crate::provider::{STRIDER, Strider};
use crate::tag::{Tag, is_token, new_token};
use crate::{EarlierVersion, reply};

/// Name of the note that holds the token of a start, from before the request on.
const NOTE: &str = "strider_start";

/// How long a job that was taken may stay out of the list. A rollout gives a start one minute.
const APPEARS: Duration = Duration::from_secs(45);

/// How long a job is looked for after an answer that does not say whether it was taken.
const LOST_ANSWER: Duration = Duration::from_secs(5);

/// A job of a group, as the journal keeps it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Handle {
    pub(crate) server: String,
    pub(crate) project: String,
    pub(crate) branch: String,
    pub(crate) group: String,
    pub(crate) service: String,
    pub(crate) version: String,
    pub(crate) token: String,
}

/// A template of branches: what stands in front of the release's part, and behind it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Branches<'a> {
    One(&'a str),
    Many { before: &'a str, after: &'a str },
}

impl<'a> Branches<'a> {
    pub(crate) fn of(template: &'a str) -> Self {
        let first = ["{version}", "{group}", "{environment}"].iter().filter_map(|p| template.find(p)).min();
        match (first, template.rfind('}')) {
            (Some(from), Some(to)) => Self::Many {
                before: template.get(..from).unwrap_or_default(),
                after: template.get(to + 1..).unwrap_or_default(),
            },
            _ => Self::One(template),
        }
    }

    pub(crate) fn may_be(&self, branch: &str) -> bool {
        match self {
            Self::One(name) => *name == branch,
            Self::Many { before, after } => {
                branch.len() > before.len() + after.len() && branch.starts_with(before) && branch.ends_with(after)
            }
        }
    }
}

/// Puts a release's values into a template.
fn filled(template: &str, cx: &Context, release: &Release) -> String {
    template
        .replace("{environment}", cx.environment())
        .replace("{service}", &release.service)
        .replace("{version}", &release.version)
}

/// Refuses what can't be the name of a branch, before it reaches a server that takes any.
pub(crate) fn check_branch(branch: &str, operation: &'static str) -> Result<()> {
    let strange = |c: char| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c);
    let bad = branch.is_empty()
        || branch.starts_with(['-', '/'])
        || branch.ends_with(['/', '.'])
        || branch.contains("..")
        || branch.contains("@{")
        || branch.ends_with(".lock")
        || branch.contains(strange);
    if bad {
        let message =
            format!("{branch:?} can't be the name of a branch: look at `branch` and at the release's version");
        return Err(Error::new(ErrorKind::InvalidInput, STRIDER, operation, message));
    }
    Ok(())
}

/// The part of a project's settings that is looked at. Keys and passwords stand beside it, and are not read.
#[derive(Debug, Deserialize)]
pub(crate) struct Settings<B> {
    pub(crate) project: ProjectSettings<B>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ProjectSettings<B> {
    pub(crate) branches: Vec<B>,
}

#[derive(Debug, Deserialize)]
struct BranchName {
    name: String,
}

/// Whether a branch is one that is configured. A configured name may hold `*`.
pub(crate) fn covers(configured: &str, branch: &str) -> bool {
    let Some((before, rest)) = configured.split_once('*') else { return configured == branch };
    let Some(mut left) = branch.strip_prefix(before) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        match left.split_once(part) {
            Some((_, after)) => left = after,
            None => return false,
        }
    }
    left.ends_with(last)
}

impl Strider {
    pub(crate) async fn start_job(&self, cx: &Context, group: &str, release: &Release) -> Result<GroupJob> {
        const DO: &str = "start";
        let config = self.config();
        if release.service.is_empty() || release.version.is_empty() {
            return Err(Error::new(ErrorKind::InvalidInput, STRIDER, DO, "a release needs a service and a version"));
        }
        let template = self.branch_of(cx, group);
        let branch = template.replace("{version}", &release.version);
        check_branch(&branch, DO)?;
        // A process before the crash may have started it: its token was written down first.
        let before = cx.run().and_then(|_| cx.recall(NOTE)).and_then(|n| n.as_str().map(str::to_owned));
        if let Some(token) = before.filter(|t| is_token(t) && !self.is_own(t)) {
            let handle = self.handle(&branch, group, release, &token);
            if let (Some(job), _) = self.by_token(cx, DO, &token).await? {
                self.own(&token);
                return self.group_job(job, handle);
            }
        }
        self.check_configured(cx, DO, &branch).await?;
        if matches!(Branches::of(&template), Branches::One(_)) && config.earlier_version == EarlierVersion::Refuse {
            let (jobs, _) = self.jobs(cx, DO).await?;
            if let Some(later) = later_than(&jobs, config, &template, &release.service, &release.version) {
                let message = format!(
                    "`{}` is an earlier version than `{later}`, and Strider runs the head of `{branch}` whatever the version is called: \
                     name a branch for each version (`branch: release-{{version}}`), or move the branch back and say `earlier_version: run_head`",
                    release.version
                );
                return Err(self.client().placed(Error::new(ErrorKind::Conflict, STRIDER, DO, message)));
            }
        }
        let token = new_token();
        let handle = self.handle(&branch, group, release, &token);
        cx.note(NOTE, json!(token)).await?;
        let job = self.post(cx, release, &handle).await.map_err(|e| match e.kind() {
            ErrorKind::Denied | ErrorKind::NotFound | ErrorKind::InvalidInput => e,
            // Whoever reads this may find the job in Strider.
            _ => e.with("may_run", format!("a job with `token={token}` in its message")),
        })?;
        // From now on the token is no sign of a crash.
        self.own(&token);
        self.group_job(job, handle)
    }

    async fn post(&self, cx: &Context, release: &Release, handle: &Handle) -> Result<Job> {
        const DO: &str = "start";
        let tag = Tag { service: handle.service.clone(), version: handle.version.clone(), token: handle.token.clone() };
        let message = format!("{} {}", filled(&self.config().message, cx, release), tag.text());
        let body = json!({ "type": self.config().job.as_str(), "branch": handle.branch, "message": message });
        let path = format!("/{}/start", self.project());
        let answer = self.client().ask(cx, DO, Method::POST, &path, Some(&body)).await;
        let answer = answer.and_then(|r| reply::done(&r, DO, "the start").map_err(|e| self.client().placed(e)));
        let (patience, lost) = match answer {
            Ok(()) => (APPEARS.min(Duration::from_secs(self.config().start_deadline_s.into())), None),
            // It may have been taken all the same: a job that nobody follows is worse than a moment's wait.
            Err(e) if e.retry() == Retry::Later => (LOST_ANSWER, Some(e)),
            Err(e) => return Err(e),
        };
        let until = tokio::time::Instant::now() + patience;
        loop {
            match self.by_token(cx, DO, &handle.token).await {
                Ok((Some(job), _)) => return Ok(job),
                Err(e) if e.retry() == Retry::Never => return Err(self.lost_sight(&e)),
                Ok((None, _)) | Err(_) => {}
            }
            if tokio::time::Instant::now() >= until {
                return Err(lost.unwrap_or_else(|| {
                    let message = "the start was taken, but the job does not appear in the project's list, so it can't be followed";
                    let error = Error::new(ErrorKind::Timeout, STRIDER, DO, message);
                    self.client().placed(error).with("branch", &handle.branch)
                }));
            }
            cx.sleep(STRIDER, DO, self.pause()).await?;
        }
    }

    /// A refusal to list jobs says nothing of the start, which was sent before.
    fn lost_sight(&self, why: &Error) -> Error {
        let message = "the start was sent, and the project's list can't be read since, so the job can't be followed";
        self.client().placed(Error::new(ErrorKind::Protocol, STRIDER, "start", message).caused_by(why.report()))
    }

    /// All jobs that the server lists, and its clock.
    pub(crate) async fn jobs(
        &self,
        cx: &Context,
        operation: &'static str,
    ) -> Result<(Vec<Job>, Option<DateTime<Utc>>)> {
        let path = format!("/api/v2/jobs/{}", self.project());
        let answer = self.client().ask(cx, operation, Method::GET, &path, None).await?;
        let what = format!("the project {}", self.config().project);
        let jobs = reply::whole(answer.status, &answer.body, operation, &what).map_err(|e| self.client().placed(e))?;
        Ok((jobs, answer.date))
    }

    /// One job; `None`: there is none with this id.
    pub(crate) async fn job(
        &self,
        cx: &Context,
        operation: &'static str,
        id: &str,
    ) -> Result<(Option<Job>, Option<DateTime<Utc>>)> {
        check_id(id, operation)?;
        let path = format!("/api/v2/jobs/{}/job/{id}", self.project());
        let answer = self.client().ask(cx, operation, Method::GET, &path, None).await?;
        let job =
            reply::whole(answer.status, &answer.body, operation, "the job").map_err(|e| self.client().placed(e))?;
        Ok((job, answer.date))
    }

    async fn by_token(
        &self,
        cx: &Context,
        operation: &'static str,
        token: &str,
    ) -> Result<(Option<Job>, Option<DateTime<Utc>>)> {
        let (jobs, now) = self.jobs(cx, operation).await?;
        Ok((jobs.into_iter().find(|job| job.tag().is_some_and(|t| t.token == token)), now))
    }

    /// Strider takes jobs for branches that it does not know, and never runs them.
    pub(crate) async fn check_configured(&self, cx: &Context, operation: &'static str, branch: &str) -> Result<()> {
        let settings: Settings<BranchName> = match self.settings(cx, operation).await {
            Ok(settings) => settings,
            Err(e) if e.kind() == ErrorKind::Denied && e.get("status") == Some("403") => {
                cx.warn(format!(
                    "strider: {} may not see the branches of {}, so nobody knows before the start whether `{branch}` is one",
                    self.config().user,
                    self.config().project
                ));
                return Ok(());
            }
            Err(e) => return Err(e),
        };
        let names: Vec<&str> = settings.project.branches.iter().map(|b| b.name.as_str()).collect();
        if names.iter().any(|n| covers(n, branch)) {
            return Ok(());
        }
        let message = format!(
            "the project has no branch `{branch}`; Strider would take the job and never run it, so nothing was started; it has: {}",
            names.join(", ")
        );
        Err(self.client().placed(
            Error::new(ErrorKind::NotFound, STRIDER, operation, message).with("project", &self.config().project),
        ))
    }

    /// The project's settings, for those who may see them.
    pub(crate) async fn settings<B: serde::de::DeserializeOwned>(
        &self,
        cx: &Context,
        operation: &'static str,
    ) -> Result<Settings<B>> {
        let path = format!("/{}/config", self.project());
        let answer = self.client().ask(cx, operation, Method::GET, &path, None).await?;
        let what = format!("the project {}", self.config().project);
        reply::whole(answer.status, &answer.body, operation, &what).map_err(|e| self.client().placed(e))
    }

    fn handle(&self, branch: &str, group: &str, release: &Release, token: &str) -> Handle {
        Handle {
            server: self.client().net.address.shown(),
            project: self.config().project.clone(),
            branch: branch.to_owned(),
            group: group.to_owned(),
            service: release.service.clone(),
            version: release.version.clone(),
            token: token.to_owned(),
        }
    }

    fn group_job(&self, job: Job, handle: Handle) -> Result<GroupJob> {
        check_id(&job.id, "start")?;
        let detail = serde_json::to_value(handle)
            .map_err(|e| Error::new(ErrorKind::Internal, STRIDER, "start", "a handle can't be written").caused_by(e))?;
        Ok(GroupJob { id: job.id, detail })
    }

    /// Reads a handle, and refuses one of another server or project.
    pub(crate) fn handle_of(&self, job: &GroupJob, operation: &'static str) -> Result<Handle> {
        check_id(&job.id, operation)?;
        let wrong =
            |message: &str| Error::new(ErrorKind::InvalidInput, STRIDER, operation, message).with("job", &job.id);
        let handle: Handle = serde_json::from_value(job.detail.clone())
            .map_err(|e| wrong("the job's handle was not made by this deployer").caused_by(e))?;
        let here = self.client().net.address.shown();
        if handle.server != here || handle.project != self.config().project {
            return Err(wrong("the job belongs to another server or project than the config names")
                .with("of_job", format!("{} {}", handle.server, handle.project))
                .with("of_config", format!("{here} {}", self.config().project)));
        }
        Ok(handle)
    }
}

/// For a malformed id the server never answers.
fn check_id(id: &str, operation: &'static str) -> Result<()> {
    if is_id(id) {
        return Ok(());
    }
    let message = format!("{id:?} is no id of a job: it has 24 hexadecimal digits");
    Err(Error::new(ErrorKind::InvalidInput, STRIDER, operation, message))
}

/// `org/repo` as it stands in paths.
pub(crate) fn project_path(project: &str) -> Result<String> {
    let wrong = || {
        let message = format!("`project` must be `organisation/repository`, not {project:?}");
        Error::new(ErrorKind::InvalidInput, STRIDER, "config", message)
    };
    let (org, repo) = project.split_once('/').ok_or_else(wrong)?;
    // Strider changes such names on its own; then nothing would be found again.
    let odd = |part: &str| {
        part.is_empty()
            || [".", ".."].contains(&part)
            || part.contains(['/', ' ', '?', '#', '%', '\\'])
            || part.contains(char::is_control)
    };
    if odd(org) || odd(repo) || ["api", "auth"].contains(&org) {
        return Err(wrong());
    }
    Ok(format!("{}/{}", encoded(&org.to_lowercase()), encoded(&repo.to_lowercase())))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_template_says_which_branches_are_meant() {
        assert_eq!(Branches::of("master"), Branches::One("master"));
        let many = Branches::of("release-{version}/x");
        assert!(many.may_be("release-v1/x") && !many.may_be("release-/x") && !many.may_be("master"));
        assert!(Branches::of("{environment}/{group}-{version}").may_be("live/web-v1"));
    }

    #[test]
    fn configured_names_may_hold_stars() {
        for (configured, branch, want) in [
            ("master", "master", true),
            ("master", "master2", false),
            ("release-*", "release-v1", true),
            ("release-*", "xrelease-v1", false),
            ("*", "anything/at all", true),
            ("f/*/x-*", "f/a/x-b", true),
            ("f/*/x-*", "f/a/y-b", false),
            ("a*b", "ab", true),
            ("a.b*", "axbc", false),
        ] {
            assert_eq!(covers(configured, branch), want, "{configured} {branch}");
        }
    }

    #[test]
    fn names_that_are_none_are_refused() {
        for branch in ["", "-x", "a b", "a..b", "a~1", "x.lock", "a\n", "/a", "a/", "*"] {
            assert_eq!(check_branch(branch, "start").unwrap_err().kind(), ErrorKind::InvalidInput, "{branch:?}");
        }
        check_branch("release/1.2-rc.1", "start").unwrap();
        assert_eq!(project_path("Acme/Web.App").unwrap(), "acme/web.app");
        for project in ["acme", "acme/", "/web", "a/b/c", "acme/we b", "../x", "api/session", "a/..", "a/b?c"] {
            assert_eq!(project_path(project).unwrap_err().kind(), ErrorKind::InvalidInput, "{project:?}");
        }
    }
}
