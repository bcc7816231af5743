//! What containers log.

use bollard::query_parameters::LogsOptions;
use futures::StreamExt as _;
use towpath_core::{Context, EventKind, Result};

use crate::engine::Engine;
use crate::errors::failed;

/// Most bytes of a line that wait for its end.
const LONGEST: usize = 1 << 20;

fn options(lines: u32, follow: bool) -> LogsOptions {
    LogsOptions { stdout: true, stderr: true, follow, tail: lines.to_string(), ..LogsOptions::default() }
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).trim_end_matches(['\r', '\n']).to_owned()
}

/// The last lines that a container logged, of both its outputs.
pub(crate) async fn logs(engine: &Engine, operation: &'static str, container: &str, lines: u32) -> Result<Vec<String>> {
    let mut stream = Box::pin(engine.docker.logs(container, Some(options(lines, false))));
    let mut all = Vec::new();
    while let Some(said) = stream.next().await {
        let said = said.map_err(|e| {
            failed(operation, "a container's log can't be read: does its logging driver keep one?", e)
                .with("container", container)
        })?;
        all.extend_from_slice(&said.into_bytes());
    }
    Ok(String::from_utf8_lossy(&all).lines().map(|l| l.trim_end_matches('\r').to_owned()).collect())
}

/// Tells the listeners what a container logs, line by line, until it ends.
pub(super) async fn follow(cx: &Context, engine: &Engine, container: &str, lines: u32) -> Result<()> {
    let mut stream = Box::pin(engine.docker.logs(container, Some(options(lines, true))));
    let tell = |line: &[u8]| cx.emit(EventKind::Output { stream: "log".into(), line: text(line) });
    let mut open: Vec<u8> = Vec::new();
    while let Some(said) = stream.next().await {
        let said = said.map_err(|e| {
            failed("logs", "a container's log can't be followed: does its logging driver keep one?", e)
                .with("container", container)
        })?;
        for piece in said.into_bytes().split_inclusive(|b| *b == b'\n') {
            open.extend_from_slice(piece);
            if piece.ends_with(b"\n") || open.len() > LONGEST {
                tell(&open);
                open.clear();
            }
        }
    }
    if !open.is_empty() {
        tell(&open);
    }
    Ok(())
}
