//! Waits until a container works, and says what it logged if it does not.

use std::time::{Duration, Instant};

use bollard::models::HealthStatusEnum;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt as _;
use towpath_core::{Context, Error, ErrorKind, EventKind, Result};

use super::config::DockerDeployConfig;
use super::look::{Seen, World};
use super::names::Owner;
use super::reach::Place;
use crate::PROVIDER;
use crate::environment::last_logs;

/// How many of its last log lines an error shows.
const LINES: u32 = 20;

/// A container without any check that ends so soon after its start has not started.
const SETTLED: Duration = Duration::from_secs(1);

/// Longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(5);

/// What publishes a port may take a connection before it knows that nobody listens in the container; it closes it at once then.
const CLOSES: Duration = Duration::from_millis(500);

/// What a look says.
enum Look {
    Fine,
    Bad(String),
    Wait(String),
}

/// Waits until the container `id` works. `fresh`: this process has started it.
pub(super) async fn wait(
    cx: &Context,
    place: &Place<'_>,
    owner: &Owner,
    config: &DockerDeployConfig,
    (id, fresh): (&str, bool),
) -> Result<()> {
    let (began, mut pause) = (Instant::now(), Duration::from_millis(50));
    let patience = Duration::from_secs(config.ready.timeout_s.into());
    // One that runs for long may have been started again long ago.
    let mut restarts = fresh.then_some(0);
    loop {
        let world = World::of(&place.engine, "activate", owner).await?;
        let Some(seen) = world.all.iter().find(|c| c.id == id) else {
            let message = "the container is gone: somebody removed it, activate again";
            return Err(Error::new(ErrorKind::Conflict, PROVIDER, "activate", message).with("container", id));
        };
        let why = match state(seen, config, *restarts.get_or_insert(seen.restarts)) {
            Look::Fine => match answers(cx, place, config, seen).await {
                Ok(()) if config.ready_port().is_some() || seen.health().is_some() || began.elapsed() >= SETTLED => {
                    return Ok(());
                }
                Ok(()) => "it has just been started".to_owned(),
                Err(why) => why,
            },
            Look::Bad(why) => return Err(with_logs(cx, place, seen, &why).await),
            Look::Wait(why) => why,
        };
        if began.elapsed() > patience {
            let why = format!("it does not work after {} s: {why}", patience.as_secs());
            return Err(with_logs(cx, place, seen, &why).await);
        }
        if pause >= Duration::from_secs(1) {
            cx.emit(EventKind::Progress { message: format!("{}: {why}", seen.version), done: None, total: None });
        }
        cx.sleep(PROVIDER, "activate", pause).await?;
        pause = (pause * 3 / 2).min(Duration::from_secs(1));
    }
}

/// What its state says.
fn state(seen: &Seen, config: &DockerDeployConfig, restarts: i64) -> Look {
    let ended = || {
        let code = seen.state.exit_code.unwrap_or(-1);
        // Started again, it has no exit code.
        let again = seen.runs() && seen.state.restarting != Some(true);
        match (seen.state.oom_killed == Some(true), config.container.memory_bytes) {
            (true, Some(limit)) => format!("it was killed for want of memory: it may use {limit} bytes"),
            (true, None) => "it was killed for want of memory".to_owned(),
            (false, _) if again => "it ends, and the engine starts it again and again".to_owned(),
            (false, _) => format!("it has ended with exit code {code}"),
        }
    };
    if !seen.runs() || seen.state.restarting == Some(true) || seen.restarts > restarts {
        return Look::Bad(ended());
    }
    match seen.health() {
        Some(HealthStatusEnum::UNHEALTHY) => Look::Bad("its health check fails".into()),
        Some(HealthStatusEnum::STARTING) => Look::Wait("its health check has not passed yet".into()),
        _ => Look::Fine,
    }
}

/// Asks the service itself. The error says why not.
async fn answers(cx: &Context, place: &Place<'_>, config: &DockerDeployConfig, seen: &Seen) -> Result<(), String> {
    let Some(port) = config.ready_port() else { return Ok(()) };
    let target = format!("{port}/tcp");
    let (address, at) = match seen.published.iter().find(|(t, ..)| *t == target) {
        Some((_, address, published)) => (loopback(address), *published),
        None => (seen.address.clone().unwrap_or_else(|| "127.0.0.1".into()), port),
    };
    let whole = async {
        let mut stream =
            place.dial(cx, &address, at).await.map_err(|_| format!("nothing listens on its port {port}"))?;
        let Some(path) = &config.ready.path else {
            let mut first = [0u8; 1];
            return match tokio::time::timeout(CLOSES, stream.read(&mut first)).await {
                Ok(Ok(0) | Err(_)) => Err(format!("nothing listens on its port {port}")),
                _ => Ok(()),
            };
        };
        let silent = |e: hyper::Error| format!("no answer on its port {port} to {path}: {e}");
        let (mut sender, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(silent)?;
        let driver = tokio::spawn(driver);
        let request = Request::get(path).header("host", "localhost").header("connection", "close");
        let request = request.body(Empty::<bytes::Bytes>::new()).map_err(|e| e.to_string())?;
        let status = sender.send_request(request).await.map(|r| r.status());
        driver.abort();
        let status = status.map_err(silent)?;
        let good = (StatusCode::OK..StatusCode::BAD_REQUEST).contains(&status);
        if good { Ok(()) } else { Err(format!("its port {port} answers {path} with {status}")) }
    };
    tokio::time::timeout(ANSWER, whole).await.unwrap_or_else(|_| Err(format!("no answer on its port {port}")))
}

/// Where a port that is published on all addresses is reached from its machine.
pub(super) fn loopback(address: &str) -> String {
    match address {
        "" | "0.0.0.0" => "127.0.0.1".into(),
        "::" => "::1".into(),
        other => other.into(),
    }
}

/// The error, with the last words of the container and its check as the cause.
pub(super) async fn with_logs(cx: &Context, place: &Place<'_>, seen: &Seen, why: &str) -> Error {
    let mut said = Vec::new();
    let check = seen.state.health.as_ref().and_then(|h| h.log.as_ref()?.last()?.output.clone());
    if let Some(output) = check.filter(|o| !o.trim().is_empty()) {
        said.push(format!("its check: {}", output.trim()));
    }
    match last_logs(&place.engine, "activate", &seen.id, LINES).await {
        Ok(lines) if lines.is_empty() => said.push("it logged nothing".into()),
        Ok(lines) => {
            said.push("the last lines of its log:".into());
            said.extend(lines);
        }
        Err(e) => said.push(format!("its log can't be read: {e}")),
    }
    let text = said.join("\n");
    Error::new(ErrorKind::Unhealthy, PROVIDER, "activate", format!("the new container does not work: {why}"))
        .with("version", &seen.version)
        .with("container", &seen.name)
        .caused_by(cx.masker().mask(&text).into_owned())
}
