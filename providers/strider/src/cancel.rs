use std::time::Duration;

use tokio::time::Instant;
use towpath_core::{Context, Error, ErrorKind, GroupJob, Result, Retry};

use crate::engine_io::Lost;
use crate::provider::{STRIDER, Strider};
use crate::socket_io::{Frame, Socket};

const DO: &str = "cancel";

impl Strider {
    pub(crate) async fn cancel_job(&self, cx: &Context, group: &GroupJob) -> Result<()> {
        self.handle_of(group, DO)?;
        let limit = Duration::from_secs(self.config().cancel_deadline_s.into());
        self.has_cancelled(&group.id);
        self.try_cancel(cx, &group.id, limit).await
    }

    /// Asks for the end of a job and waits for it. Only the websocket can ask; the end is also seen by looking.
    pub(crate) async fn try_cancel(&self, cx: &Context, id: &str, limit: Duration) -> Result<()> {
        let until = Instant::now() + limit;
        let mut last = None;
        let mut refused = 0;
        while Instant::now() < until {
            match self.job(cx, DO, id).await {
                // Too late is not an error.
                Ok((Some(job), _)) if job.is_over() => return Ok(()),
                Ok((Some(_), _)) => {}
                Ok((None, _)) => {
                    let error = Error::new(ErrorKind::NotFound, STRIDER, DO, "Strider knows no such job");
                    return Err(self.client().placed(error.with("job", id)));
                }
                Err(e) if e.retry() == Retry::Never => return Err(e),
                Err(e) => last = Some(e.report()),
            }
            match self.ask_to_stop(cx, id, until).await? {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(lost) => {
                    if lost == Lost::Refused {
                        self.forget_session().await;
                        refused += 1;
                    }
                    last = Some(lost.to_string());
                    if refused > 1 {
                        let message =
                            "a job can be cancelled by the websocket only, and that takes no session of this user";
                        let error = Error::new(ErrorKind::Denied, STRIDER, DO, message).with("still_running", id);
                        return Err(self.client().placed(error));
                    }
                    cx.sleep(STRIDER, DO, self.pause()).await?;
                }
            }
        }
        let message = format!(
            "the job was asked to stop and did not end within {} s: stop it in Strider, or restart its runner",
            limit.as_secs()
        );
        let error = Error::new(ErrorKind::Timeout, STRIDER, DO, message).with("still_running", id).retry_later();
        Err(self.client().placed(match last {
            Some(cause) => error.caused_by(cause),
            None => error,
        }))
    }

    /// Over one websocket. `false`: the time is up.
    async fn ask_to_stop(&self, cx: &Context, id: &str, until: Instant) -> Result<Result<bool, Lost>> {
        let cookie = match self.session(cx, DO).await {
            Ok(cookie) => cookie,
            Err(e) if e.retry() == Retry::Never => return Err(e),
            Err(e) => return Ok(Err(Lost::Broken(e.report()))),
        };
        let left = until.saturating_duration_since(Instant::now()).min(self.client().timeout);
        let connect = async { Ok(Socket::connect(&self.client().net, &cookie, left).await) };
        let mut socket = match cx.guard(STRIDER, DO, connect).await? {
            Ok(socket) => socket,
            Err(lost) => return Ok(Err(lost)),
        };
        if let Err(lost) = socket.emit("cancel", id).await {
            return Ok(Err(lost));
        }
        let mut next_look = Instant::now() + self.pause();
        loop {
            let wait = async {
                tokio::select! {
                    frame = socket.next() => Ok(Some(frame)),
                    () = tokio::time::sleep_until(next_look.min(until)) => Ok(None),
                }
            };
            match cx.guard(STRIDER, DO, wait).await? {
                Some(Err(lost)) => return Ok(Err(lost)),
                Some(Ok(Frame::Disconnected)) => return Ok(Err(Lost::Closed)),
                Some(Ok(Frame::Event { name, args })) if name == "job.done" || name == "job.errored" => {
                    let ended = args.first().and_then(|a| a.pointer("/0/_id")).and_then(|v| v.as_str());
                    if ended == Some(id) {
                        return Ok(Ok(true));
                    }
                }
                Some(Ok(_)) => {}
                None if Instant::now() >= until => return Ok(Ok(false)),
                None => {
                    next_look = Instant::now() + self.pause();
                    match self.job(cx, DO, id).await {
                        Ok((Some(job), _)) if job.is_over() => return Ok(Ok(true)),
                        Err(e) if e.retry() == Retry::Never => return Err(e),
                        _ => {}
                    }
                }
            }
        }
    }
}
