//! The job that moves a group: started, followed, stopped.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Context, Error, ErrorKind, GroupJob, GroupState, Release, Result};

use super::super::Rollout;
use super::super::batches::Course;
use super::super::target::{CALL_LIMIT, Crew, one_line, say, within};

/// Longest wait for a cancelled job to stop.
const STOP_LIMIT: Duration = Duration::from_secs(300);

/// A started job; `None`: the crash took its id, or it was over by then.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Started {
    job: Option<GroupJob>,
    failure: Option<String>,
    /// The failure came before anything was begun.
    #[serde(default)]
    refused: bool,
}

/// What came of a start.
pub(super) enum Begun {
    /// Nothing was begun.
    Refused(String),
    /// It may have begun.
    Failed(String),
    /// How its job ended.
    Ended(Result<GroupState, String>),
}

/// Whether an error of [`Deployer::start`](crate::Deployer::start) says that nothing was begun.
fn refuses(error: &Error) -> bool {
    use ErrorKind::{AlreadyExists, Conflict, Denied, InvalidInput, NotFound, ToolMissing, Unsupported};
    matches!(error.kind(), InvalidInput | NotFound | AlreadyExists | Conflict | Denied | Unsupported | ToolMissing)
}

impl Rollout {
    pub(super) async fn start_and_follow(&self, cx: &Context, release: &Release, crew: &Crew<'_>) -> Result<Begun> {
        let started = self.start(cx, release, crew).await?;
        if let Some(why) = started.failure {
            return Ok(if started.refused { Begun::Refused(why) } else { Begun::Failed(why) });
        }
        say(cx, "follow", &release.version, "");
        Ok(Begun::Ended(match &started.job {
            Some(job) => self.follow(cx, job, crew).await?,
            None => self.wait_still(cx, crew).await.map_err(|e| one_line(&e)),
        }))
    }

    async fn start(&self, cx: &Context, release: &Release, crew: &Crew<'_>) -> Result<Started> {
        cx.check("core", "rollout")?;
        let group = self.group(crew);
        // A start of before the crash may have moved something, whatever is said to the one that follows.
        let again = AtomicBool::new(false);
        let again = &again;
        // Not stopped by a cancel: a start whose answer is thrown away is a job that nobody can end.
        cx.shielded()
            .effect(
                "start",
                serde_json::json!({ "group": group.name, "version": release.version }),
                |cx| async move {
                    say(&cx, "start", &release.version, "");
                    let group = &group;
                    let job =
                        within(&cx, CALL_LIMIT, |cx| async move { self.deployer.start(&cx, group, release).await })
                            .await;
                    Ok(match job {
                        Ok(job) => Started { job: Some(job), ..Started::default() },
                        Err(e) => {
                            let failure = Some(format!("it could not be started: {}", one_line(&e)));
                            Started { job: None, failure, refused: refuses(&e) && !again.load(Ordering::Relaxed) }
                        }
                    })
                },
                |cx| async move {
                    // The crash took the job's id. A job under way can only be waited for; a still group tells by its version.
                    let state = self.wait_still(&cx, crew).await?;
                    again.store(true, Ordering::Relaxed);
                    let there = state.current.as_deref() == Some(release.version.as_str());
                    Ok(there.then_some(Started::default()))
                },
            )
            .await
    }

    /// Follows a job to its end; on a cancel it asks the system to stop it, and waits until it has.
    async fn follow(&self, cx: &Context, job: &GroupJob, crew: &Crew<'_>) -> Result<Result<GroupState, String>> {
        let done = match crew.desk.unless_ended(async { Ok(self.deployer.follow(cx, job).await) }).await? {
            Ok(done) => done,
            Err(end) => {
                let rest = self.end_job(cx, job).await?;
                return match Course::ended(end) {
                    Course::Stopped(why) => Err(stopped(format!("{why}; {rest}"))),
                    Course::Failed(failure) => Ok(Err(format!("{}; {rest}", failure.reason))),
                    Course::Well => Ok(Err(rest)),
                };
            }
        };
        match done {
            Err(_) if cx.is_cancelled() => {
                let rest = self.end_job(cx, job).await?;
                Err(stopped(format!("cancelled; {rest}")))
            }
            Ok(state) => Ok(Ok(state)),
            Err(e) => Ok(Err(one_line(&e))),
        }
    }

    /// Asks the system to stop a job, and waits until it has. Says how that went.
    async fn end_job(&self, cx: &Context, job: &GroupJob) -> Result<String> {
        let calm = cx.shielded();
        within(&calm, CALL_LIMIT, |cx| async move { self.deployer.cancel(&cx, job).await })
            .await
            .map_err(|e| e.with("still_running", &job.id))?;
        let end = within(&calm, STOP_LIMIT, |cx| async move { self.deployer.follow(&cx, job).await }).await;
        Ok(match end {
            Ok(_) => "its job was stopped".to_owned(),
            Err(e) if matches!(e.kind(), ErrorKind::Timeout | ErrorKind::Unreachable) => {
                format!("its job {} may still run: {}", job.id, one_line(&e))
            }
            // What systems say of a job that was stopped.
            Err(e) => format!("its job has ended: {}", one_line(&e)),
        })
    }

    async fn wait_still(&self, cx: &Context, crew: &Crew<'_>) -> Result<GroupState> {
        loop {
            let state = self.group_state(cx, crew).await?;
            if !state.moving {
                return Ok(state);
            }
            cx.sleep("core", "rollout", Duration::from_millis(500)).await?;
        }
    }
}

pub(super) fn stopped(why: String) -> Error {
    Error::new(ErrorKind::Cancelled, "core", "rollout", why)
}
