//! `wait_for`, `wait_for_connection`: until something is there.

use std::time::{Duration, Instant};

use regex::bytes::Regex;
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use towpath_core::{Endpoint, ErrorKind, Json, Result, shell_quote};

use super::drained;
use super::spec::Rules;
use super::{Call, Decided, Decision, Fields, Module, Output, Place, Remote, fields, head};
use crate::PLAYBOOK;
use crate::carry::Script;

/// `wait_for`.
pub(super) const MODULE: Module =
    Module { names: &["wait_for"], rules: Rules::NONE, missing: &[], place: Place::Host, prepare };

/// `wait_for_connection`.
pub(super) const CONNECTION: Module = Module {
    names: &["wait_for_connection"],
    rules: Rules::NONE,
    missing: &[],
    place: Place::Host,
    prepare: connection,
};

/// A number of seconds.
pub(super) fn seconds(call: &Call, key: &str) -> u64 {
    call.args.get(key).and_then(Json::as_u64).unwrap_or(0)
}

/// The result of a module that does nothing in check mode.
fn skipped(name: &str) -> Decided {
    let msg = format!("remote module ({name}) does not support check mode");
    Ok(Decision::Done(fields([("changed", json!(false)), ("skipped", json!(true)), ("msg", json!(msg))])))
}

/// Runs a script that only reads.
pub(super) async fn run(remote: &mut dyn Remote, text: String) -> Result<Output> {
    remote.run(Script { text, foreign: false }).await
}

pub(super) async fn pause(remote: &mut dyn Remote, time: u64) -> Result<()> {
    remote.cx().sleep(PLAYBOOK, "wait", Duration::from_secs(time)).await
}

/// What is waited for.
pub(super) struct Want {
    pub(super) host: String,
    pub(super) port: Option<u16>,
    path: Option<String>,
    state: String,
    pattern: Option<(String, Regex)>,
    msg: Option<String>,
    pub(super) excluded: Vec<String>,
    pub(super) states: Vec<String>,
    timeout: u64,
    connect: u64,
    delay: u64,
    sleep: u64,
}

fn prepare(call: &Call) -> Decided {
    if call.check {
        return skipped("wait_for");
    }
    let wrong = |msg: String| Ok(Decision::Done(failed(msg, 0)));
    let port = match call.args.get("port").and_then(Json::as_i64) {
        None => None,
        Some(p) => match u16::try_from(p) {
            Ok(p) => Some(p),
            Err(_) => return wrong(format!("port {p} is not between 0 and 65535")),
        },
    };
    let path = call.text("path");
    let state = call.need("state")?;
    let excluded = call.list("exclude_hosts");
    let states = call.list("active_connection_states").unwrap_or_default();
    if port.is_some() && path.is_some() {
        return wrong("port and path parameter can not both be passed to wait_for".into());
    }
    if path.is_some() && matches!(state.as_str(), "stopped" | "drained") {
        return wrong(format!("state={state} should only be used for checking a port in the wait_for module"));
    }
    if excluded.is_some() && state != "drained" {
        return wrong("exclude_hosts should only be with state=drained".into());
    }
    if let Some(other) = states.iter().find(|s| drained::code(s).is_none()) {
        return wrong(format!("unknown active_connection_state ({other}) defined"));
    }
    let pattern = match call.text("search_regex") {
        None => None,
        Some(text) => match Regex::new(&format!("(?m){text}")) {
            Ok(regex) => Some((text, regex)),
            Err(e) => return wrong(format!("search_regex: {e}")),
        },
    };
    let want = Want {
        host: call.need("host")?,
        port,
        path,
        state,
        pattern,
        msg: call.text("msg"),
        excluded: excluded.unwrap_or_default(),
        states,
        timeout: seconds(call, "timeout"),
        connect: seconds(call, "connect_timeout"),
        delay: seconds(call, "delay"),
        sleep: seconds(call, "sleep"),
    };
    Ok(Decision::Drive(Box::new(move |remote| {
        Box::pin(async move { drive(want, remote).await.map(|f| Ok(Decision::Done(f))) })
    })))
}

fn failed(msg: String, elapsed: u64) -> Fields {
    fields([("failed", json!(true)), ("changed", json!(false)), ("msg", json!(msg)), ("elapsed", json!(elapsed))])
}

/// What a match found.
#[derive(Default)]
struct Found {
    groups: Vec<Json>,
    named: Fields,
    file: Fields,
}

async fn drive(want: Want, remote: &mut dyn Remote) -> Result<Fields> {
    let began = Instant::now();
    if want.delay > 0 {
        pause(remote, want.delay).await?;
    }
    if want.port.is_none() && want.path.is_none() {
        pause(remote, want.timeout).await?;
        return Ok(done(&want, Found::default(), began));
    }
    let end = began + Duration::from_secs(want.timeout);
    loop {
        let seen = match want.state.as_str() {
            "absent" | "stopped" => gone(&want, remote).await?.then(Found::default),
            "drained" => drained::idle(&want, remote).await?.then(Found::default),
            _ => there(&want, remote).await?,
        };
        if let Some(found) = seen {
            return Ok(done(&want, found, began));
        }
        if Instant::now() >= end {
            break;
        }
        let left = end.saturating_duration_since(Instant::now());
        remote.cx().sleep(PLAYBOOK, "wait_for", left.min(Duration::from_secs(want.sleep.max(1)))).await?;
    }
    let at = match (&want.path, want.port) {
        (Some(path), _) => path.clone(),
        (None, port) => format!("{}:{}", want.host, port.unwrap_or(0)),
    };
    let what = match (want.state.as_str(), &want.pattern) {
        ("absent" | "stopped", _) if want.path.is_some() => format!("Timeout when waiting for {at} to be absent."),
        ("absent" | "stopped", _) => format!("Timeout when waiting for {at} to stop."),
        ("drained", _) => format!("Timeout when waiting for {at} to drain"),
        (_, Some((text, _))) => format!("Timeout when waiting for search string {text} in {at}"),
        _ if want.path.is_some() => format!("Timeout when waiting for file {at}"),
        _ => format!("Timeout when waiting for {at}"),
    };
    Ok(failed(want.msg.clone().unwrap_or(what), began.elapsed().as_secs()))
}

fn done(want: &Want, found: Found, began: Instant) -> Fields {
    let mut all = fields([
        ("changed", json!(false)),
        ("state", json!(want.state)),
        ("port", json!(want.port)),
        ("path", json!(want.path)),
        ("search_regex", json!(want.pattern.as_ref().map(|(t, _)| t))),
        ("match_groups", json!(found.groups)),
        ("match_groupdict", Json::Object(found.named)),
        ("elapsed", json!(began.elapsed().as_secs())),
    ]);
    all.extend(found.file);
    all
}

async fn gone(want: &Want, remote: &mut dyn Remote) -> Result<bool> {
    match &want.path {
        Some(path) => Ok(run(remote, format!("[ -e {p} ] || [ -h {p} ]\n", p = shell_quote(path))).await?.rc != 0),
        None => Ok(!dial(want, remote).await?.0),
    }
}

async fn there(want: &Want, remote: &mut dyn Remote) -> Result<Option<Found>> {
    let (body, file) = match &want.path {
        Some(path) => {
            let p = shell_quote(path);
            let read = if want.pattern.is_some() { format!("cat -- {p} 2>/dev/null\n") } else { String::new() };
            let script =
                format!("[ -e {p} ] || exit 1\nstat -c 'stat=%u %g %U %G %a %s %F' -- {p}\necho\n{read}exit 0\n");
            let out = run(remote, script).await?;
            if out.rc != 0 {
                return Ok(None);
            }
            let (seen, body) = head(&out);
            (body, attributes(seen.get("stat").map(String::as_str).unwrap_or_default()))
        }
        None => match dial(want, remote).await? {
            (true, body) => (body, Fields::new()),
            (false, _) => return Ok(None),
        },
    };
    let Some((_, regex)) = &want.pattern else { return Ok(Some(Found { file, ..Found::default() })) };
    let Some(hit) = regex.captures(&body) else { return Ok(None) };
    let text =
        |m: Option<regex::bytes::Match<'_>>| m.map_or(Json::Null, |m| String::from_utf8_lossy(m.as_bytes()).into());
    let groups = hit.iter().skip(1).map(text).collect();
    let names = regex.capture_names().flatten();
    let named = names.map(|n| (n.to_owned(), text(hit.name(n)))).collect();
    Ok(Some(Found { groups, named, file }))
}

fn attributes(stat: &str) -> Fields {
    let words: Vec<&str> = stat.splitn(7, ' ').collect();
    let [uid, gid, owner, group, mode, size, kind] = *words.as_slice() else { return Fields::new() };
    let number = |n: &str| n.parse::<i64>().map_or(Json::Null, Json::from);
    let kind = match kind {
        "directory" => "directory",
        "symbolic link" => "link",
        _ => "file",
    };
    fields([
        ("uid", number(uid)),
        ("gid", number(gid)),
        ("owner", json!(owner)),
        ("group", json!(group)),
        ("mode", json!(format!("{mode:0>4}"))),
        ("size", number(size)),
        ("state", json!(kind)),
    ])
}

/// Whether the port answers, as seen from the host, and what it says where a pattern looks for it.
async fn dial(want: &Want, remote: &mut dyn Remote) -> Result<(bool, Vec<u8>)> {
    let port = want.port.unwrap_or(0);
    let limit = Duration::from_secs(want.connect.max(1));
    let connection = remote.connection().await?;
    let endpoint = Endpoint::Tcp(want.host.clone(), port);
    let dialled = tokio::time::timeout(limit, connection.dial(remote.cx(), &endpoint)).await;
    let mut stream = match dialled {
        Err(_) => return Ok((false, Vec::new())),
        Ok(Ok(stream)) => stream,
        Ok(Err(e)) if e.kind() == ErrorKind::Unreachable => return Ok((false, Vec::new())),
        Ok(Err(e)) if e.kind() == ErrorKind::Cancelled => return Err(e),
        // A connection that can't, or a server that may not: with what the host has.
        Ok(Err(_)) => return by_hand(want, remote).await,
    };
    let mut body = Vec::new();
    if let Some((_, regex)) = &want.pattern {
        let until = tokio::time::Instant::now() + limit;
        while body.len() < 1 << 20 && !regex.is_match(&body) {
            match tokio::time::timeout_at(until, stream.read_buf(&mut body)).await {
                Ok(Ok(n)) if n > 0 => {}
                _ => break,
            }
        }
    }
    Ok((true, body))
}

async fn by_hand(want: &Want, remote: &mut dyn Remote) -> Result<(bool, Vec<u8>)> {
    let (h, p, t) = (shell_quote(&want.host), want.port.unwrap_or(0), want.connect.max(1));
    let read = want.pattern.is_some();
    let bash = if read { "exec 3<>/dev/tcp/$0/$1 && cat <&3" } else { "exec 3<>/dev/tcp/$0/$1" };
    let nc = if read { "nc -w" } else { "nc -z -w" };
    let script = format!(
        "tp_t=; command -v timeout >/dev/null 2>&1 && tp_t='timeout {t}'\n\
         if command -v bash >/dev/null 2>&1; then $tp_t bash -c '{bash}' {h} {p} 2>/dev/null; tp_r=$?; [ $tp_r = 124 ] && [ {read} = true ] && tp_r=0; exit $tp_r\n\
         elif command -v nc >/dev/null 2>&1; then {nc} {t} {h} {p} 2>/dev/null </dev/null; exit $?\n\
         else exit 77; fi\n"
    );
    let out = run(remote, script).await?;
    if out.rc == 77 {
        return Err(towpath_core::Error::new(
            ErrorKind::Unsupported,
            PLAYBOOK,
            "wait_for",
            "the connection can't dial, and the host has neither bash nor nc to try a port with",
        ));
    }
    Ok((out.rc == 0, out.stdout))
}

fn connection(call: &Call) -> Decided {
    if call.check {
        return Ok(Decision::Done(fields([("changed", json!(false)), ("skipped", json!(true))])));
    }
    let (timeout, delay, sleep) = (seconds(call, "timeout"), seconds(call, "delay"), seconds(call, "sleep"));
    let connect = Duration::from_secs(seconds(call, "connect_timeout").max(1));
    Ok(Decision::Drive(Box::new(move |remote| {
        Box::pin(async move {
            let began = Instant::now();
            if delay > 0 {
                pause(remote, delay).await?;
            }
            loop {
                remote.reset().await;
                // The first greeting of a host takes longer than a dial.
                let why = match tokio::time::timeout(connect + Duration::from_secs(10), run(remote, "exit 0\n".into()))
                    .await
                {
                    Ok(Ok(_)) => {
                        let elapsed = began.elapsed().as_secs();
                        return Ok(Ok(Decision::Done(fields([
                            ("changed", json!(false)),
                            ("elapsed", json!(elapsed)),
                        ]))));
                    }
                    Ok(Err(e)) if e.kind() == ErrorKind::Cancelled => return Err(e),
                    Ok(Err(e)) => e.report(),
                    Err(_) => "no answer in time".to_owned(),
                };
                if began.elapsed() >= Duration::from_secs(timeout) {
                    let msg = format!("timed out waiting for ping module test: {why}");
                    return Ok(Ok(Decision::Done(failed(msg, began.elapsed().as_secs()))));
                }
                pause(remote, sleep.max(1)).await?;
            }
        })
    })))
}
