//! `reboot`: sends the host down, and waits until it has come up anew.

use std::time::{Duration, Instant};

use serde_json::json;
use towpath_core::{ErrorKind, Result, shell_quote};

use super::spec::Rules;
use super::wait::{pause, run, seconds};
use super::{Call, Decided, Decision, Fields, Module, Place, Remote, fields};

/// `reboot`.
pub(super) const MODULE: Module =
    Module { names: &["reboot"], rules: Rules::NONE, missing: &[], place: Place::Host, prepare };

struct Want {
    boot: String,
    command: String,
    test: String,
    timeout: u64,
    connect: u64,
    after: u64,
}

fn prepare(call: &Call) -> Decided {
    if call.check {
        let all = fields([("changed", json!(true)), ("elapsed", json!(0)), ("rebooted", json!(true))]);
        return Ok(Decision::Done(all));
    }
    let given = call.text("reboot_command").filter(|c| !c.starts_with("[determined"));
    let folders = call.list("search_paths").unwrap_or_default();
    let path: String = folders.iter().map(|f| format!(":{}", shell_quote(f))).collect();
    // `shutdown` counts in minutes.
    let minutes = seconds(call, "pre_reboot_delay") / 60;
    let command = match given {
        Some(command) => format!("PATH=$PATH{path}\n{command}\n"),
        None => format!(
            "PATH=$PATH{path}\nif command -v shutdown >/dev/null 2>&1; then shutdown -r {minutes} {}; else reboot; fi\n",
            shell_quote(&call.need("msg")?)
        ),
    };
    let want = Want {
        boot: call.need("boot_time_command")?,
        command,
        test: call.need("test_command")?,
        timeout: seconds(call, "reboot_timeout"),
        connect: seconds(call, "connect_timeout").max(5),
        after: seconds(call, "post_reboot_delay"),
    };
    Ok(Decision::Drive(Box::new(move |remote| {
        Box::pin(async move { drive(want, remote).await.map(|f| Ok(Decision::Done(f))) })
    })))
}

fn failed(msg: String, began: Instant, rebooted: bool) -> Fields {
    fields([
        ("failed", json!(true)),
        ("changed", json!(rebooted)),
        ("rebooted", json!(rebooted)),
        ("elapsed", json!(began.elapsed().as_secs())),
        ("msg", json!(msg)),
    ])
}

async fn drive(want: Want, remote: &mut dyn Remote) -> Result<Fields> {
    let began = Instant::now();
    let before = run(remote, format!("{}\n", want.boot)).await?;
    if before.rc != 0 {
        let msg = format!(
            "{}: failed to get host boot time info, rc: {}, stdout: {}, stderr: {}",
            "reboot",
            before.rc,
            before.text(),
            before.error_text()
        );
        return Ok(failed(msg, began, false));
    }
    // A host that goes down may take its answer along.
    match tokio::time::timeout(Duration::from_secs(60), run(remote, want.command)).await {
        Ok(Ok(out)) if out.rc > 0 && out.rc < 128 => {
            let msg = format!("Reboot command failed. Error was: '{}, {}'", out.text().trim(), out.error_text().trim());
            return Ok(failed(msg, began, false));
        }
        Ok(Err(e)) if e.kind() == ErrorKind::Cancelled => return Err(e),
        _ => {}
    }
    if want.after > 0 {
        pause(remote, want.after).await?;
    }
    let end = Instant::now() + Duration::from_secs(want.timeout);
    let mut rebooted = false;
    let mut wait = 1;
    loop {
        remote.reset().await;
        let script = if rebooted { &want.test } else { &want.boot };
        let limit = Duration::from_secs(want.connect + 10);
        match tokio::time::timeout(limit, run(remote, format!("{script}\n"))).await {
            Ok(Ok(out)) if out.rc == 0 && rebooted => break,
            Ok(Ok(out)) if out.rc == 0 && !rebooted && out.stdout != before.stdout => {
                rebooted = true;
                continue;
            }
            Ok(Err(e)) if e.kind() == ErrorKind::Cancelled => return Err(e),
            _ => {}
        }
        if Instant::now() >= end {
            let what = if rebooted { "post-reboot test command" } else { "last boot time check" };
            return Ok(failed(format!("Timed out waiting for {what} (timeout={})", want.timeout), began, rebooted));
        }
        pause(remote, wait).await?;
        // Soon after it has gone it is asked often, later less.
        wait = (wait * 2).min(12);
    }
    let elapsed = began.elapsed().as_secs();
    Ok(fields([("changed", json!(true)), ("elapsed", json!(elapsed)), ("rebooted", json!(true))]))
}
