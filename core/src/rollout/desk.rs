use std::future::Future;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::local_tool::ask;
use crate::{Context, ErrorKind, EventKind, Json, Release, Result, Timestamp};

use super::control::{Answer, End, OpenQuestion, Orders, RolloutControl, RolloutStatus, Said};
use super::hooks::Functions;
use super::strategy::Approval;
use super::target::say;

/// How often orders are looked for.
const TICK: Duration = Duration::from_millis(250);
/// How often a function or a command is asked again that has no answer yet.
const FUNCTION_TICK: Duration = Duration::from_secs(2);
/// Longest time of one such question to a command: nobody is heard meanwhile.
const COMMAND_LIMIT: Duration = Duration::from_secs(10);

/// Where a rollout hears what people want of it, and says how far it is.
#[derive(Debug)]
pub(super) struct Desk {
    control: Option<RolloutControl>,
    functions: Functions,
    status: Mutex<RolloutStatus>,
    /// On the way back nothing ends it any more: a rollback is always finished.
    back: AtomicBool,
}

impl Desk {
    /// Without a store nobody can say anything but by cancelling.
    pub(super) fn new(control: Option<RolloutControl>, functions: Functions, release: &Release, owner: String) -> Self {
        let status = RolloutStatus {
            id: String::new(),
            version: release.version.clone(),
            from: None,
            phase: "beginning".to_owned(),
            done: 0,
            total: 0,
            questions: Vec::new(),
            owner,
            process: crate::OwnerProcess::this(),
            at: Timestamp::now(),
        };
        Self { control, functions, status: Mutex::new(status), back: AtomicBool::new(false) }
    }

    fn status(&self) -> std::sync::MutexGuard<'_, RolloutStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn publish(&self, change: impl FnOnce(&mut RolloutStatus)) -> Result<()> {
        let status = {
            let mut status = self.status();
            change(&mut status);
            status.at = Timestamp::now();
            status.clone()
        };
        match &self.control {
            Some(control) => control.publish(&status).await,
            None => Ok(()),
        }
    }

    /// Opens for the rollout of this id; what was ordered for another one is forgotten.
    pub(super) async fn open(&self, id: &str, from: Option<&str>, total: usize) -> Result<()> {
        if let Some(control) = &self.control
            && control.status().await?.is_some_and(|old| old.id != id)
        {
            control.close().await?;
        }
        self.publish(|s| {
            s.id = id.to_owned();
            s.from = from.map(str::to_owned);
            s.total = total;
            s.phase = "rolling".to_owned();
        })
        .await
    }

    pub(super) async fn progress(&self, phase: &str, done: usize) -> Result<()> {
        self.publish(|s| {
            s.phase = phase.to_owned();
            s.done = done;
        })
        .await
    }

    /// From here on it goes back, and takes no orders but answers.
    pub(super) async fn turn_back(&self) -> Result<()> {
        self.back.store(true, Ordering::Relaxed);
        self.progress("rolling back", 0).await
    }

    pub(super) async fn close(&self) -> Result<()> {
        match &self.control {
            Some(control) => control.close().await,
            None => Ok(()),
        }
    }

    async fn orders(&self) -> Result<Orders> {
        let id = self.status().id.clone();
        let mut orders = match &self.control {
            Some(control) => control.orders(&id).await?,
            None => Orders::default(),
        };
        orders.end = orders.end.filter(|_| !self.back.load(Ordering::Relaxed));
        Ok(orders)
    }

    /// How the rollout shall end, if somebody wants that.
    pub(super) async fn end(&self) -> Result<Option<End>> {
        Ok(self.orders().await?.end)
    }

    /// A safe point: waits while the rollout is paused. Gives how it shall end, if somebody wants that.
    pub(super) async fn safe_point(&self, cx: &Context) -> Result<Option<End>> {
        let mut paused = false;
        loop {
            let orders = self.orders().await?;
            if orders.end.is_some() {
                return Ok(orders.end);
            }
            let Some(said) = orders.pause else { break };
            if !paused {
                paused = true;
                let version = self.status().version.clone();
                say(cx, "paused", &version, &said.text());
                self.publish(|s| s.phase = "paused".to_owned()).await?;
            }
            cx.sleep("core", "rollout", TICK).await?;
        }
        if paused {
            self.publish(|s| s.phase = "rolling".to_owned()).await?;
        }
        Ok(None)
    }

    /// Waits for `work`, unless somebody wants the rollout to end. `work` is dropped then, so it must be a wait only.
    pub(super) async fn unless_ended<T>(&self, work: impl Future<Output = Result<T>>) -> Result<Result<T, End>> {
        if self.control.is_none() {
            return work.await.map(Ok);
        }
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done.map(Ok),
                () = tokio::time::sleep(TICK) => {
                    // A store that is busy for a moment must not end a rollout that goes well; the next look counts.
                    if let Ok(Some(end)) = self.orders().await.map(|orders| orders.end) {
                        return Ok(Err(end));
                    }
                }
            }
        }
    }

    /// Asks a question and waits for the answer. The answer is journalled: a resumed run does not ask again.
    pub(super) async fn ask(
        &self,
        cx: &Context,
        key: &str,
        approval: &Approval,
        release: &Release,
    ) -> Result<Result<Answer, End>> {
        let answer: Option<Answer> = cx
            .effect_idempotent(&format!("ask/{key}"), &approval.question, |cx| async move {
                let phase = self.status().phase.clone();
                self.publish(|s| {
                    s.phase = "asking".to_owned();
                    s.questions.push(OpenQuestion { key: key.to_owned(), text: approval.question.clone() });
                })
                .await?;
                cx.emit(EventKind::ApprovalNeeded {
                    question: approval.question.clone(),
                    service: Some(release.service.clone()),
                });
                let answer = self.await_answer(&cx, key, approval, release).await;
                self.publish(|s| {
                    s.phase = phase;
                    s.questions.retain(|q| q.key != key);
                })
                .await?;
                answer
            })
            .await?;
        match answer {
            Some(answer) => {
                let word = if answer.granted { "approved" } else { "refused" };
                say(cx, word, &release.version, &answer.said.text());
                Ok(Ok(answer))
            }
            // Journalled as "no answer": the order itself is still there to be read.
            None => {
                let end = self.orders().await?.end;
                Ok(Err(end.unwrap_or_else(|| End::Stop(Said { by: "somebody".into(), why: String::new() }))))
            }
        }
    }

    async fn await_answer(
        &self,
        cx: &Context,
        key: &str,
        approval: &Approval,
        release: &Release,
    ) -> Result<Option<Answer>> {
        let asked = match cx.recall("asked_at").and_then(|at| serde_json::from_value(at).ok()) {
            Some(at) => at,
            None => {
                let now = Timestamp::now();
                cx.note("asked_at", serde_json::to_value(now).unwrap_or_default()).await?;
                now
            }
        };
        let limit = Duration::from_secs_f64(approval.limit_s);
        let (from, mut odd) = (Instant::now(), false);
        let (mut next_call, mut next_command) = (from, from);
        loop {
            let orders = self.orders().await?;
            if orders.end.is_some() {
                return Ok(None);
            }
            if let Some(answer) = orders.answers.get(key) {
                return Ok(Some(answer.clone()));
            }
            if let Some(path) = &approval.file {
                match read_answer(path, asked) {
                    Ok(Some(answer)) => return Ok(Some(answer)),
                    Err(why) if !odd => {
                        odd = true;
                        cx.warn(why);
                    }
                    _ => {}
                }
            }
            if let Some(name) = approval.function.as_ref().filter(|_| next_call <= Instant::now()) {
                if let Some(answer) = self.call(cx, name, approval, release).await? {
                    return Ok(Some(answer));
                }
                next_call = Instant::now() + FUNCTION_TICK;
            }
            if !approval.command.is_empty() && next_command <= Instant::now() {
                match command_answer(cx, approval, release, asked).await? {
                    Ok(Some(answer)) => return Ok(Some(answer)),
                    Err(why) if !odd => {
                        odd = true;
                        cx.warn(why);
                    }
                    _ => {}
                }
                next_command = Instant::now() + FUNCTION_TICK;
            }
            if from.elapsed() >= limit {
                let why = format!("nobody answered within {} s: {}", approval.limit_s, approval.question);
                return Ok(Some(Answer { granted: false, said: Said { by: "towpath".into(), why } }));
            }
            cx.sleep("core", "rollout", TICK.min(limit.saturating_sub(from.elapsed()))).await?;
        }
    }

    async fn call(&self, cx: &Context, name: &str, approval: &Approval, release: &Release) -> Result<Option<Answer>> {
        let inputs = [
            ("question".to_owned(), approval.question.clone().into()),
            ("service".to_owned(), release.service.clone().into()),
            ("version".to_owned(), release.version.clone().into()),
        ];
        let outputs = self.functions.call(cx, name, inputs.into_iter().collect()).await?;
        let Some(granted) = outputs.get("granted").and_then(Json::as_bool) else { return Ok(None) };
        let text = |key: &str| outputs.get(key).and_then(Json::as_str).map(str::to_owned);
        let said = Said { by: text("by").unwrap_or_else(|| name.to_owned()), why: text("why").unwrap_or_default() };
        Ok(Some(Answer { granted, said }))
    }
}

/// Reads an answer: `yes anna`. `by` says so where nobody is named. The error is a first word that is neither.
fn parse_answer(text: &str, by: &str) -> Result<Option<Answer>, String> {
    let mut words = text.split_whitespace();
    let granted = match words.next().map(str::to_ascii_lowercase).as_deref() {
        Some("yes") => true,
        Some("no") => false,
        None => return Ok(None),
        Some(word) => return Err(format!("{by}: the answer must begin with yes or no, not with {word:?}")),
    };
    let rest: Vec<&str> = words.take(20).collect();
    let by = if rest.is_empty() { by.to_owned() } else { rest.join(" ") };
    Ok(Some(Answer { granted, said: Said { by, why: String::new() } }))
}

/// Reads the answer in a file. A file that is older than the question answers an earlier one.
fn read_answer(path: &Path, asked: Timestamp) -> Result<Option<Answer>, String> {
    let Ok(text) = std::fs::read_to_string(path) else { return Ok(None) };
    let answer = parse_answer(&text, &path.display().to_string())?;
    let written = std::fs::metadata(path).and_then(|m| m.modified()).ok();
    let written = written.and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok()).map_or(0, |d| d.as_millis());
    // File times are coarser than the clock.
    if answer.is_some() && written + 1000 < u128::from(asked.0) {
        return Err(format!("{}: older than the question, so it does not count; write it again", path.display()));
    }
    Ok(answer)
}

/// Asks a command of this machine. The inner error says why it gave no answer that can be read.
async fn command_answer(
    cx: &Context,
    approval: &Approval,
    release: &Release,
    asked: Timestamp,
) -> Result<Result<Option<Answer>, String>> {
    let Some((program, arguments)) = approval.command.split_first() else { return Ok(Ok(None)) };
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).envs([
        ("TOWPATH_SERVICE", release.service.as_str()),
        ("TOWPATH_VERSION", release.version.as_str()),
        ("TOWPATH_ENVIRONMENT", cx.environment()),
        ("TOWPATH_QUESTION", approval.question.as_str()),
        ("TOWPATH_ASKED_AT", asked.0.to_string().as_str()),
    ]);
    let asked = ask(&cx.with_timeout(COMMAND_LIMIT), "core", "rollout", &mut command).await;
    // Its arguments may hold a token.
    let shown = format!("the approval's command {program}");
    let done = match asked {
        Err(e) if e.kind() == ErrorKind::Timeout && !cx.is_cancelled() => {
            return Ok(Err(format!("{shown}: no answer within {} s; it is asked again", COMMAND_LIMIT.as_secs())));
        }
        other => other?,
    };
    Ok(match done {
        Err(e) => Err(format!("{shown}: it can't be run: {e}")),
        Ok(done) if !done.status.success() => {
            let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
            Err(format!("{shown}: {}: {said}; it is asked again", done.status))
        }
        Ok(done) => parse_answer(&String::from_utf8_lossy(&done.stdout), &shown),
    })
}
