//! Starts one command and waits until it is known to run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bollard::exec::StartExecResults;
use bollard::models::ExecConfig;
use futures::future::BoxFuture;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::oneshot;
use towpath_core::posix::{Input, Seen, Start, Tracked, Wrapped, count_prompts, find_frame, impatient, wrap};
use towpath_core::{BecomeMethod, Context, Error, ErrorKind, Exec, ExecOutput, Result};

use super::exec::{Place, run};
use super::running::{Running, Said, feed};
use crate::errors::{failed, status};
use crate::{PROVIDER, random_name};

/// The longest a started command may take to say that it runs, after somebody has lost patience.
const GRACE: Duration = Duration::from_secs(5);

/// Starts a command and waits until it is known to run.
///
/// In a task of its own: a caller who goes away in the middle would else leave a command behind whose group nobody knows.
pub(super) async fn start(
    cx: &Context,
    place: &Place,
    exec: &Exec,
    input: Option<Input>,
    until: Option<Instant>,
) -> Result<Running> {
    cx.check(PROVIDER, "exec").map_err(|e| e.with("host", &place.host))?;
    let (place, exec) = who(cx, place, exec).await?;
    let wrapped = wrap(PROVIDER, &exec, Start::AtHome, random_name).map_err(|e| e.with("host", &place.host))?;
    let (mut tell, told) = oneshot::channel();
    let (cx, own) = (cx.clone(), place.clone());
    tokio::spawn(async move {
        let mut begin = begin(&cx, &own, &exec, wrapped, input, until);
        tokio::select! {
            begun = &mut begin => drop(tell.send(begun)),
            // What has begun by then is ended as it is dropped.
            () = tell.closed() => drop(tokio::time::timeout(GRACE, begin).await),
        }
    });
    told.await.unwrap_or_else(|_| Err(place.error(ErrorKind::Internal, "starting a command was interrupted")))
}

/// Decides who changes the user: sudo or su in the container, or, where it has no sudo, the engine itself, which may run
/// commands as anybody.
async fn who(cx: &Context, place: &Place, exec: &Exec) -> Result<(Place, Exec)> {
    let (place, exec) = (place.clone(), exec.clone());
    let Some(to) = exec.r#become.as_ref().filter(|to| to.method == BecomeMethod::Sudo) else {
        return Ok((place, exec));
    };
    if place.has_sudo(cx).await? {
        return Ok((place, exec));
    }
    if let Some(flag) = to.flags.first() {
        return Err(place
            .error(ErrorKind::Unsupported, "the container has no sudo, so its flags mean nothing: install sudo there")
            .with("flag", flag));
    }
    let user = to.user.clone();
    if user.is_empty() || user.starts_with('-') {
        return Err(place.error(ErrorKind::InvalidInput, "the user to become is not a name").with("user", &user));
    }
    Ok((Place { user: Some(user.as_str().into()), ..place }, Exec { r#become: None, ..exec }))
}

impl Place {
    async fn has_sudo(&self, cx: &Context) -> Result<bool> {
        let ask = || async {
            let mut exec = Exec::script("command -v sudo >/dev/null 2>&1").timeout(Duration::from_secs(60));
            exec.label = Some("look for sudo".into());
            let out: ExecOutput = Box::pin(run(cx, self, &exec, None)).await?;
            Ok(out.status.is_success())
        };
        self.has_sudo.get_or_try_init(ask).await.copied()
    }
}

/// Boxed, since ending a command runs another one.
fn begin<'a>(
    cx: &'a Context,
    place: &'a Place,
    exec: &'a Exec,
    wrapped: Wrapped,
    input: Option<Input>,
    until: Option<Instant>,
) -> BoxFuture<'a, Result<Running>> {
    Box::pin(run_until_known(cx, place, exec, wrapped, input, until))
}

async fn run_until_known(
    cx: &Context,
    place: &Place,
    exec: &Exec,
    wrapped: Wrapped,
    input: Option<Input>,
    until: Option<Instant>,
) -> Result<Running> {
    let Wrapped { argv, header, token, prompt } = wrapped;
    let docker = &place.engine.docker;
    let config = ExecConfig {
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(argv),
        user: place.user.as_deref().map(str::to_owned),
        ..ExecConfig::default()
    };
    let id = match docker.create_exec(&place.container, config).await {
        Ok(created) => created.id,
        Err(e) => return Err(not_begun(place, e).await),
    };
    let (output, writer) = match docker.start_exec(&id, None).await {
        Ok(StartExecResults::Attached { output, input }) => (output, input),
        Ok(StartExecResults::Detached) => return Err(place.error(ErrorKind::Protocol, "a command without streams")),
        Err(e) => return Err(not_begun(place, e).await),
    };
    let tracked = Tracked::new(PROVIDER, Arc::clone(&place.host), cx, exec);
    let mut run = Running::new(place.clone(), tracked, id, output);
    let password = exec.r#become.as_ref().and_then(|b| b.password.as_ref());
    let mut held = Some((writer, header, input));
    if password.is_none()
        && let Some((writer, header, input)) = held.take()
    {
        // Nobody else reads it: the command's text may follow at once.
        feed(writer, header, input);
    }
    let (mut answered, mut asked) = (false, 0);
    let patience = impatient(cx, until);
    tokio::pin!(patience);
    let mut lost: Option<bool> = None;
    loop {
        let limit = async {
            match lost.is_some() {
                true => tokio::time::sleep(GRACE).await,
                false => std::future::pending().await,
            }
        };
        let said = tokio::select! {
            biased;
            cancelled = &mut patience, if lost.is_none() => {
                if held.is_some() {
                    // It waits for its text still, and will not get it.
                    run.tracked.over = true;
                    return Err(run.tracked.gave_up(cancelled, "; it had not started"));
                }
                lost = Some(cancelled);
                continue;
            }
            () = limit => {
                run.tracked.over = true;
                let what = "; the container did not say what it started: it may be running still";
                return Err(run.tracked.gave_up(lost == Some(true), what));
            }
            said = run.next() => said?,
        };
        match said {
            Said::Out(data) => run.stdout.extend_from_slice(&data),
            Said::Err(data) => run.stderr.extend_from_slice(&data),
            Said::Ended(_) => {
                run.tracked.over = true;
                return Err(run.tracked.not_started(&run.stderr, "container"));
            }
        }
        if let Seen::Frame { end, group, .. } = find_frame(&run.stderr, &token) {
            // What came before it is a prompt and a lecture.
            run.stderr.drain(..end);
            run.tracked.begun(group);
            if let Some(cancelled) = lost {
                return Err(run.end_for(cancelled).await);
            }
            if let Some((writer, header, input)) = held.take() {
                feed(writer, header, input);
            }
            run.tracked.note().await?;
            return Ok(run);
        }
        if let (Some(password), Some((writer, ..))) = (password, &mut held) {
            let prompts = count_prompts(&run.stderr, &prompt);
            if prompts > asked {
                asked = prompts;
                if answered {
                    run.tracked.over = true;
                    return Err(run.tracked.denied(&run.stderr, "the password is not accepted"));
                }
                answered = true;
                let answer = format!("{}\n", password.expose());
                let sent = async {
                    writer.write_all(answer.as_bytes()).await?;
                    writer.flush().await
                };
                sent.await.map_err(|e| {
                    place
                        .error(ErrorKind::Unreachable, "the connection broke before the command ran")
                        .retry_later()
                        .caused_by(e)
                })?;
            }
        }
    }
}

/// Why the engine does not start a command: which status it gives for a container that does not run differs between engines.
async fn not_begun(place: &Place, e: bollard::errors::Error) -> Error {
    let answered = status(&e).is_some();
    let e = failed("exec", "the engine does not start the command: see what it says about it", e)
        .with("host", &place.host)
        .with("container", &place.container);
    if !answered {
        return e;
    }
    match place.engine.container("exec", &place.container).await {
        Ok(found) if found.as_ref().is_none_or(|c| super::not_running(c).is_some()) => place
            .error(ErrorKind::Unreachable, "the container is gone, or does not run")
            .retry_later()
            .caused_by(e.report()),
        _ => e,
    }
}
