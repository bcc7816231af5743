use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::time::Instant;
use towpath_core::{Context, Error, ErrorKind, EventKind, GroupJob, GroupState, Result, Retry, Tail, TaskStatus};

use crate::engine_io::Lost;
use crate::history::state;
use crate::job::{Job, Status};
use crate::progress::{News, Progress};
use crate::provider::{STRIDER, Strider};
use crate::socket_io::{Frame, Socket};
use crate::start::Handle;
use crate::{Live, VersionIs};

const DO: &str = "follow";

/// While events come: how often the job itself is looked at, since its end may be among those that were lost.
const SECOND_LOOK: Duration = Duration::from_secs(15);

/// Websockets in a row that bring nothing, before `auto` does without.
const TRIES: u32 = 3;

/// How long the answer to `build:job` may take. Without it nobody knows what events add to, and the job is looked at instead.
const ANSWER: Duration = Duration::from_secs(5);

/// Longest wait before a websocket is opened again.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

impl Strider {
    pub(crate) async fn follow_job(&self, cx: &Context, group: &GroupJob) -> Result<GroupState> {
        let handle = self.handle_of(group, DO)?;
        // One note for each job: a rollback is followed in the same run.
        let note = format!("strider_said_{}", group.id);
        let said = cx.recall(&note).and_then(|n| serde_json::from_value(n).ok()).unwrap_or_default();
        let mut follower = Follower {
            strider: self,
            cx,
            id: &group.id,
            note,
            progress: Progress::from(said),
            tail: Tail::default(),
            trouble: None,
            begun: Instant::now(),
        };
        let job = match follower.run().await {
            Ok(job) => job,
            Err(e)
                if matches!(e.kind(), ErrorKind::Cancelled | ErrorKind::Timeout)
                    && e.get("still_running").is_none() =>
            {
                let (message, kind) = match e.kind() {
                    ErrorKind::Cancelled => ("cancelled; the job itself goes on".to_owned(), ErrorKind::Cancelled),
                    kind => (format!("{}; the job itself goes on", e.message()), kind),
                };
                let error =
                    Error::new(kind, STRIDER, DO, message).with("still_running", &group.id).caused_by(e.report());
                return Err(self.client().placed(error).retry_later());
            }
            Err(e) => return Err(self.client().placed(e.with_missing("job", &group.id))),
        };
        if job.status() != Status::Passed && self.is_cancelled(&group.id) {
            // It ended as it was told to; what runs now is another question.
            let (jobs, now) = self.jobs(cx, DO).await?;
            return Ok(state(&jobs, self.config(), &self.branch_of(cx, &handle.group), now));
        }
        self.judge(cx, &handle, &job, &follower.tail)
    }

    /// What a job that is over means.
    fn judge(&self, cx: &Context, handle: &Handle, job: &Job, tail: &Tail) -> Result<GroupState> {
        let failed = |message: String| {
            let mut error = Error::new(ErrorKind::ToolFailed, STRIDER, DO, message).with("job", &job.id);
            error =
                error.with("project", &handle.project).with("branch", &handle.branch).with("version", &handle.version);
            if !tail.is_empty() {
                error = error.caused_by(tail.text());
            }
            self.client().placed(error)
        };
        match job.status() {
            Status::Passed => {}
            Status::Errored => {
                let why = job.error.as_ref().and_then(|e| e.message.as_deref()).unwrap_or("it does not say why");
                let why = cx.masker().mask(why.lines().next().unwrap_or_default()).into_owned();
                return Err(failed(format!("Strider broke the job off: {why}")));
            }
            _ => {
                let Some((phase, code)) = job.failed_phase() else {
                    return Err(failed(
                        "the job failed, and none of its phases says why: look at it in Strider".into(),
                    ));
                };
                return Err(failed(format!("the job failed: its phase `{phase}` ended with exit code {code}"))
                    .with("phase", phase)
                    .with("exit_code", code));
            }
        }
        if self.config().version_is == VersionIs::Commit {
            match job.commit() {
                Some(commit) if commit == handle.version || (handle.version.len() >= 7 && commit.starts_with(&handle.version)) => {}
                Some(commit) => {
                    let message = format!("the job ran the commit {commit} of `{}`, and not {}", handle.branch, handle.version);
                    return Err(failed(message));
                }
                None => cx.warn(format!(
                    "strider: the server does not say which commit of `{}` the job {} ran, so nobody knows whether it was {}",
                    handle.branch, job.id, handle.version
                )),
            }
        }
        Ok(GroupState { current: Some(handle.version.clone()), moving: false, healthy: true })
    }
}

/// The answer that says where events begin.
enum Answer {
    By(Instant),
    Came,
    Missed,
}

struct Follower<'a> {
    strider: &'a Strider,
    cx: &'a Context,
    id: &'a str,
    note: String,
    progress: Progress,
    tail: Tail,
    /// Since when the server can't be asked.
    trouble: Option<Instant>,
    begun: Instant,
}

impl Follower<'_> {
    /// Waits for the end, by whatever way works.
    async fn run(&mut self) -> Result<Job> {
        let config = self.strider.config();
        let mut by_socket = config.live != Live::Polling;
        let mut failures: u32 = 0;
        loop {
            // Once before each websocket, since what happened without one is only here.
            if let Some(job) = self.look().await?
                && self.take(&job).await?
            {
                return Ok(job);
            }
            if !by_socket {
                self.cx.sleep(STRIDER, DO, self.strider.pause()).await?;
                continue;
            }
            let lost = match self.listen(&mut failures).await? {
                Ok(job) => return Ok(job),
                Err(lost) => lost,
            };
            failures += 1;
            if failures >= TRIES && config.live == Live::Auto {
                self.cx.warn(format!("strider: {lost}, {failures} times in a row; the job is polled instead"));
                by_socket = false;
                continue;
            }
            let message = format!("strider: {lost}; it is opened again");
            self.cx.emit(EventKind::Progress { message, done: None, total: None });
            // The first time at once: a proxy that cuts old connections is no outage.
            let pause =
                Duration::from_millis(250) * (1_u32 << failures.saturating_sub(1).min(6)) - Duration::from_millis(250);
            self.cx.sleep(STRIDER, DO, pause.min(LONGEST_PAUSE)).await?;
        }
    }

    /// Listens on one websocket until the job is over. Forgets `failures` once it brings something.
    async fn listen(&mut self, failures: &mut u32) -> Result<Result<Job, Lost>> {
        let Some(cookie) = self.tolerated(self.strider.session(self.cx, DO).await)? else {
            return Ok(Err(Lost::Broken("no session could be had".into())));
        };
        // Until the answer to `build:job` nobody knows what an event adds to.
        self.progress.out_of_step();
        let net = &self.strider.client().net;
        let connect = async { Ok(Socket::connect(net, &cookie, self.strider.client().timeout).await) };
        let mut socket = match self.cx.guard(STRIDER, DO, connect).await? {
            Ok(socket) => socket,
            Err(lost) => return self.refused(lost, *failures).await.map(Err),
        };
        let asked = match socket.ask("build:job", self.id).await {
            Ok(asked) => asked,
            Err(lost) => return Ok(Err(lost)),
        };
        let mut answer = Answer::By(Instant::now() + ANSWER);
        let mut next_look = Instant::now() + self.strider.pause();
        loop {
            // An event, or `None` when it is time for a look.
            let frame = self
                .cx
                .guard(STRIDER, DO, async {
                    tokio::select! {
                        frame = socket.next() => Ok(Some(frame)),
                        () = tokio::time::sleep_until(next_look) => Ok(None),
                    }
                })
                .await?;
            let over = match frame {
                Some(Err(lost)) => return Ok(Err(lost)),
                Some(Ok(Frame::Disconnected)) => return Ok(Err(Lost::Closed)),
                Some(Ok(Frame::Refused)) => return Ok(Err(Lost::Refused)),
                // One that comes too late is older than what was seen since.
                Some(Ok(Frame::Ack { id, args })) if id == asked && matches!(answer, Answer::By(_)) => {
                    *failures = 0;
                    answer = Answer::Came;
                    // Frames come in order: what came before is in this job, and nothing that comes after is.
                    let found = args.into_iter().next().and_then(|j| serde_json::from_value::<Job>(j).ok());
                    match found.filter(|job| job.id == self.id) {
                        Some(job) => self.take(&job).await?,
                        None => return Ok(Err(Lost::Strange("a websocket that does not know the job".into()))),
                    }
                }
                Some(Ok(Frame::Event { name, args })) => self.event(&name, &args).await?,
                Some(Ok(_)) => false,
                None => {
                    let job = self.look().await?;
                    let started = job.as_ref().is_none_or(|job| job.started.is_some());
                    if matches!(answer, Answer::By(at) if Instant::now() >= at) {
                        answer = Answer::Missed;
                    }
                    if let (Answer::Missed, Some(job)) = (&answer, &job) {
                        self.take(job).await?;
                        self.progress.out_of_step();
                    }
                    // The deadline for its start needs closer looks, too.
                    let close = !started || !matches!(answer, Answer::Came);
                    next_look = Instant::now() + if close { self.strider.pause() } else { SECOND_LOOK };
                    job.is_some_and(|job| job.is_over())
                }
            };
            if over {
                let Some(job) = self.last_look().await? else {
                    // The event may be faster than the server's database.
                    next_look = Instant::now() + self.strider.pause();
                    continue;
                };
                self.take(&job).await?;
                return Ok(Ok(job));
            }
        }
    }

    /// A session that is too old gets a second chance, wrong credentials none.
    async fn refused(&mut self, lost: Lost, failures: u32) -> Result<Lost> {
        if lost == Lost::Refused {
            self.strider.forget_session().await;
            if failures + 1 >= TRIES && self.strider.config().live == Live::SocketIo {
                let message = "the websocket takes no session of this user: say `live: polling`";
                return Err(Error::new(ErrorKind::Denied, STRIDER, DO, message));
            }
        }
        Ok(lost)
    }

    /// Takes one event, and says whether it ends the job. Their order is loose: only two of them do.
    async fn event(&mut self, name: &str, args: &[Json]) -> Result<bool> {
        let Some(Json::Array(args)) = args.first() else { return Ok(false) };
        let (Some(first), data) = (args.first(), args.get(1).unwrap_or(&Json::Null)) else { return Ok(false) };
        if name == "job.done" || name == "job.errored" {
            return Ok(first.get("_id").and_then(Json::as_str) == Some(self.id));
        }
        if first.as_str() != Some(self.id) {
            return Ok(false);
        }
        if let Some(name) = name.strip_prefix("job.status.") {
            let news = self.progress.event(name, data);
            self.tell(news).await?;
        }
        Ok(false)
    }

    /// The job now; `None`: the server can't be asked, and may come back.
    async fn look(&mut self) -> Result<Option<Job>> {
        let asked = self.ask().await;
        let Some((job, now)) = self.tolerated(asked)? else { return Ok(None) };
        if job.started.is_none() && !job.is_over() {
            let patience = f64::from(self.strider.config().start_deadline_s);
            // By the server's clock, so that a crash between does not begin anew.
            let waited = job.age_s(now).unwrap_or_else(|| self.begun.elapsed().as_secs_f64());
            if waited > patience {
                return Err(self.never_runs(patience).await);
            }
        }
        Ok(Some(job))
    }

    async fn ask(&self) -> Result<(Job, Option<chrono::DateTime<chrono::Utc>>)> {
        // Only the list has the output of a job that runs.
        let (jobs, now) = self.strider.jobs(self.cx, DO).await?;
        if let Some(job) = jobs.into_iter().find(|job| job.id == self.id) {
            return Ok((job, now));
        }
        self.by_id().await
    }

    async fn by_id(&self) -> Result<(Job, Option<chrono::DateTime<chrono::Utc>>)> {
        let (job, now) = self.strider.job(self.cx, DO, self.id).await?;
        let gone = || {
            let message = "Strider knows no such job (any more): was its project removed?";
            Error::new(ErrorKind::NotFound, STRIDER, DO, message)
        };
        Ok((job.ok_or_else(gone)?, now))
    }

    /// The job with all its output, once it is over.
    async fn last_look(&mut self) -> Result<Option<Job>> {
        let asked = self.by_id().await;
        let job = self.tolerated(asked)?.map(|(job, _)| job);
        if job.is_none() {
            self.cx.sleep(STRIDER, DO, self.strider.pause()).await?;
            return Ok(self.look().await?.filter(Job::is_over));
        }
        Ok(job.filter(Job::is_over))
    }

    /// Lets an outage pass, for as long as the config says.
    fn tolerated<T>(&mut self, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => {
                self.trouble = None;
                Ok(Some(value))
            }
            // The caller's own deadline is no outage.
            Err(e) if e.retry() == Retry::Never || self.cx.check(STRIDER, DO).is_err() => Err(e),
            Err(e) => {
                let since = *self.trouble.get_or_insert_with(Instant::now);
                let limit = Duration::from_secs(self.strider.config().outage_s.into());
                if since.elapsed() < limit {
                    return Ok(None);
                }
                let message = format!("the server was away for {} s (`outage_s`); the job may go on", limit.as_secs());
                Err(Error::new(ErrorKind::Unreachable, STRIDER, DO, message)
                    .with("still_running", self.id)
                    .retry_later()
                    .caused_by(e.report()))
            }
        }
    }

    /// Nobody knows whether it will start one day: it is cancelled, as far as that goes.
    async fn never_runs(&self, patience: f64) -> Error {
        let cancelled = self.strider.try_cancel(self.cx, self.id, Duration::from_secs(5)).await;
        let rest = match cancelled {
            Ok(()) => "it was cancelled",
            Err(_) => "Strider did not confirm that it is cancelled, so it may start later",
        };
        let message = format!(
            "Strider did not run the job within {patience} s (`start_deadline_s`): has its branch a configuration, is a runner free? {rest}"
        );
        Error::new(ErrorKind::Timeout, STRIDER, DO, message)
            .with("still_running", if cancelled.is_ok() { "none" } else { self.id })
    }

    /// Says what is new in a whole job, and whether it is over.
    async fn take(&mut self, job: &Job) -> Result<bool> {
        let news = self.progress.look(job);
        self.tell(news).await?;
        Ok(job.is_over())
    }

    async fn tell(&mut self, news: Vec<News>) -> Result<()> {
        // Before it is said: twice would be worse than not at all, should this process end in between.
        if news.iter().any(|n| matches!(n, News::PhaseDone { .. })) {
            let said = serde_json::to_value(self.progress.kept()).unwrap_or_default();
            self.cx.note(&self.note, said).await?;
        }
        for one in news {
            match one {
                News::Output { from_err, line } => {
                    let line = Tail::shown(self.cx, &line);
                    self.tail.add(self.cx, from_err, line, true);
                }
                News::Started => self.progress_line("Strider runs the job".to_owned()),
                News::CommandStarted { command, plugin } => {
                    self.progress_line(format!("{plugin}: {}", short(&command)))
                }
                News::CommandDone { phase, command, plugin, exit_code, seconds } => {
                    let result = json!({ "exit_code": exit_code, "plugin": plugin, "phase": phase });
                    self.result(format!("command {}", short(&command)), exit_code, seconds, result);
                }
                News::PhaseDone { phase, exit_code, seconds } => {
                    let result = json!({ "exit_code": exit_code, "phase": phase });
                    self.result(format!("phase {phase}"), exit_code, seconds, result);
                }
            }
        }
        Ok(())
    }

    fn progress_line(&self, message: String) {
        self.cx.emit(EventKind::Progress { message, done: None, total: None });
    }

    fn result(&self, task: String, exit_code: i64, seconds: f64, result: Json) {
        let status = if exit_code == 0 { TaskStatus::Ok } else { TaskStatus::Failed };
        self.cx.emit(EventKind::TaskResult { task, file: None, item: None, status, result, seconds });
    }
}

/// A script's first line that says something.
fn short(command: &str) -> String {
    let line = command.lines().map(str::trim).find(|l| !l.is_empty()).unwrap_or_default();
    let mut shown: String = line.chars().take(100).collect();
    if shown.len() < command.trim().len() {
        shown.push_str(" ...");
    }
    shown
}
