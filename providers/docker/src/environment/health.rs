//! Waits until containers work, and says what they logged if they don't.

use std::time::{Duration, Instant};

use bollard::models::HealthStatusEnum;
use towpath_core::{Context, Error, ErrorKind, EventKind, Result};

use super::config::DependsOn;
use super::logs::logs;
use super::look::{Seen, World};
use super::names::Owner;
use crate::PROVIDER;
use crate::engine::Engine;

/// How many of its last log lines an error shows.
const LINES: u32 = 20;

/// A container that ends so soon after its start has not started.
const SETTLED: Duration = Duration::from_millis(300);

/// Waits for one container.
pub(super) async fn wait(
    cx: &Context,
    engine: &Engine,
    owner: &Owner,
    name: &str,
    condition: DependsOn,
    patience: Duration,
) -> Result<()> {
    let (began, mut pause) = (Instant::now(), Duration::from_millis(50));
    loop {
        let full = owner.full(name);
        let Some(seen) = World::of_one(engine, "apply", owner, name).await? else {
            return Err(
                unhealthy(cx, "the container is gone: somebody removed it, apply again").with("container", name)
            );
        };
        match look(&seen, condition) {
            Look::Fine => return Ok(()),
            Look::Bad(why) => return Err(with_logs(cx, engine, &full, name, &seen, &why).await),
            Look::Wait(why) if began.elapsed() > patience => {
                let why = format!("{why} after {} s", patience.as_secs());
                return Err(with_logs(cx, engine, &full, name, &seen, &why).await);
            }
            Look::Wait(why) => {
                if pause >= Duration::from_secs(1) {
                    cx.emit(EventKind::Progress { message: format!("{name}: {why}"), done: None, total: None });
                }
            }
        }
        cx.sleep(PROVIDER, "apply", pause).await.map_err(|e| e.with("container", name))?;
        pause = (pause * 3 / 2).min(Duration::from_secs(1));
    }
}

/// What a look at a container says.
enum Look {
    Fine,
    Bad(String),
    Wait(&'static str),
}

fn look(seen: &Seen, condition: DependsOn) -> Look {
    let ended = || format!("the container has ended with exit code {}", seen.state.exit_code.unwrap_or(-1));
    match condition {
        // It may have come to its end before anybody looked.
        DependsOn::Started if seen.once && seen.completed() => Look::Fine,
        DependsOn::Completed if seen.completed() => Look::Fine,
        DependsOn::Completed if seen.state.running == Some(true) => Look::Wait("the container has not come to its end"),
        _ if !seen.runs() && seen.state.restarting != Some(true) => Look::Bad(ended()),
        DependsOn::Completed => Look::Bad(ended()),
        DependsOn::Started | DependsOn::Healthy => match seen.health() {
            _ if seen.state.restarting == Some(true) => Look::Wait("the container starts again and again"),
            Some(HealthStatusEnum::UNHEALTHY) => Look::Bad("the container is unhealthy".into()),
            Some(HealthStatusEnum::STARTING) if condition == DependsOn::Healthy => {
                Look::Wait("the container is not healthy yet")
            }
            _ => Look::Fine,
        },
    }
}

/// Waits until a container that runs once has come to its end, however that is.
pub(super) async fn ended(cx: &Context, engine: &Engine, owner: &Owner, name: &str, patience: Duration) -> Result<()> {
    let began = Instant::now();
    let message = format!("{name}: it runs once, so its end is waited for before it is replaced");
    cx.emit(EventKind::Progress { message, done: None, total: None });
    while World::of_one(engine, "apply", owner, name).await?.is_some_and(|seen| seen.is_under_way()) {
        if began.elapsed() > patience {
            let message = format!(
                "a container that runs once has not come to its end after {} s, so nothing was replaced: wait for it, raise \
                 `health_timeout_s`, or `docker stop` it",
                patience.as_secs()
            );
            let error = Error::new(ErrorKind::Conflict, PROVIDER, "apply", message).retry_later();
            return Err(error.with("container", name).with("environment", owner.environment()));
        }
        cx.sleep(PROVIDER, "apply", Duration::from_millis(200)).await.map_err(|e| e.with("container", name))?;
    }
    Ok(())
}

/// Waits until a container works: by its check if it has one, else by running on for a moment.
pub(super) async fn settle(
    cx: &Context,
    engine: &Engine,
    owner: &Owner,
    name: &str,
    once: bool,
    patience: Duration,
) -> Result<()> {
    if once {
        return wait(cx, engine, owner, name, DependsOn::Completed, patience).await;
    }
    let seen = World::of_one(engine, "apply", owner, name).await?;
    if seen.as_ref().is_some_and(|s| s.health().is_none()) {
        cx.sleep(PROVIDER, "apply", SETTLED).await?;
    }
    wait(cx, engine, owner, name, DependsOn::Healthy, patience).await
}

fn unhealthy(cx: &Context, message: &str) -> Error {
    Error::new(ErrorKind::Unhealthy, PROVIDER, "apply", message).with("environment", cx.environment())
}

/// The error, with the last words of the container and its check as the cause.
async fn with_logs(cx: &Context, engine: &Engine, full: &str, name: &str, seen: &Seen, why: &str) -> Error {
    let mut said = Vec::new();
    let check = seen.state.health.as_ref().and_then(|h| h.log.as_ref()?.last()?.output.clone());
    if let Some(output) = check.filter(|o| !o.trim().is_empty()) {
        said.push(format!("its check: {}", output.trim()));
    }
    match logs(engine, "apply", full, LINES).await {
        Ok(lines) if lines.is_empty() => said.push("it logged nothing".into()),
        Ok(lines) => {
            said.push("the last lines of its log:".into());
            said.extend(lines);
        }
        Err(e) => said.push(format!("its log can't be read: {e}")),
    }
    let text = said.join("\n");
    unhealthy(cx, why).with("container", name).caused_by(cx.masker().mask(&text).into_owned())
}
