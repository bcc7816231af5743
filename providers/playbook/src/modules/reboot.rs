//! `reboot`: sends the host down, and waits until it has come up anew.

use std::time::{Duration, Instant};

use serde_json::json;
use towpath_core::{ErrorKind, Result, shell_quote};

use super::spec::Rules;
use super::wait::{pause, run};
use super::{Call, Decided, Decision, Fields, Module, Place, Remote, fields};

/// `reboot`. It checks its options by itself, since its messages are its own.
pub(super) const MODULE: Module = Module {
    names: &["reboot"],
    rules: Rules { free: true, ..Rules::NONE },
    missing: &[],
    place: Place::Host,
    prepare,
};

const OPTIONS: [&str; 9] = [
    "boot_time_command",
    "connect_timeout",
    "msg",
    "post_reboot_delay",
    "pre_reboot_delay",
    "reboot_command",
    "reboot_timeout",
    "search_paths",
    "test_command",
];
const FOLDERS: [&str; 5] = ["/sbin", "/bin", "/usr/sbin", "/usr/bin", "/usr/local/sbin"];

struct Want {
    boot: String,
    /// The program that reboots, if the task names one, and its words.
    program: Option<String>,
    words: String,
    folders: Vec<String>,
    test: String,
    timeout: u64,
    connect: u64,
    after: u64,
}

/// A failure before anything was tried.
fn early(msg: String, more: &[(&str, &str)]) -> Decided {
    let mut all = super::action::early(msg);
    all.extend(more.iter().map(|(k, v)| ((*k).to_owned(), json!(v))));
    Ok(Decision::Done(all))
}

fn prepare(call: &Call) -> Decided {
    let other: Vec<&str> = call.given.keys().map(String::as_str).filter(|k| !OPTIONS.contains(k)).collect();
    if !other.is_empty() {
        return Err(format!("Invalid options for reboot: {}", other.join(",")));
    }
    if call.check {
        let all = fields([("changed", json!(true)), ("elapsed", json!(0)), ("rebooted", json!(true))]);
        return Ok(Decision::Done(all));
    }
    let mut bad = None;
    let mut seconds = |key: &str, default: i64| match call.text(key) {
        None => default,
        Some(text) => text.trim().parse().unwrap_or_else(|_| {
            bad.get_or_insert(text);
            default
        }),
    };
    let (timeout, connect) = (seconds("reboot_timeout", 600), seconds("connect_timeout", 0));
    // `shutdown` counts in minutes.
    let (after, minutes) = (seconds("post_reboot_delay", 0), seconds("pre_reboot_delay", 0).max(0) / 60);
    if let Some(text) = bad {
        let why = format!("invalid literal for int() with base 10: '{text}'");
        return early(format!("Unexpected failure during module execution: {why}"), &[("stdout", "")]);
    }
    let message = call.text("msg").unwrap_or_else(|| "Reboot initiated by Ansible".into());
    let (program, words) = match call.text("reboot_command") {
        Some(command) => {
            let (program, words) = command.trim().split_once(' ').unwrap_or((command.trim(), ""));
            (Some(program.to_owned()), words.to_owned())
        }
        None => (None, format!("-r {minutes} {}", shell_quote(&message))),
    };
    let whole = |n: i64| u64::try_from(n).unwrap_or(0);
    let want = Want {
        boot: call.text("boot_time_command").unwrap_or_else(|| "cat /proc/sys/kernel/random/boot_id".into()),
        program,
        words,
        folders: call.list("search_paths").unwrap_or_else(|| FOLDERS.map(str::to_owned).to_vec()),
        test: call.text("test_command").unwrap_or_else(|| "whoami".into()),
        timeout: whole(timeout),
        connect: whole(connect).max(5),
        after: whole(after),
    };
    Ok(Decision::Drive(Box::new(move |remote| Box::pin(async move { drive(want, remote).await }))))
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

async fn drive(want: Want, remote: &mut dyn Remote) -> Result<Decided> {
    let began = Instant::now();
    let command = match find(&want, remote).await? {
        Ok(command) => command,
        Err(why) => return Ok(early(why, &[])),
    };
    reboot(&want, command, began, remote).await.map(|f| Ok(Decision::Done(f)))
}

/// The command line that reboots, with the whole path of its program.
async fn find(want: &Want, remote: &mut dyn Remote) -> Result<std::result::Result<String, String>> {
    let name = want.program.as_deref().unwrap_or("shutdown");
    if name.contains('/') {
        return Ok(Ok(format!("{name} {}\n", want.words)));
    }
    let folders: Vec<String> = want.folders.iter().map(|f| shell_quote(f)).collect();
    // Where busybox is the system, its `reboot` takes the place of `shutdown`.
    let other = if want.program.is_none() { "[ -e /etc/alpine-release ] && tp_n=reboot\n" } else { "" };
    let script = format!(
        "tp_n={}\n{other}for tp_f in {}; do if [ -x \"$tp_f/$tp_n\" ]; then printf '%s\\n' \"$tp_f/$tp_n\"; exit 0; fi; done\nexit 1\n",
        shell_quote(name),
        folders.join(" ")
    );
    let out = run(remote, script).await?;
    if out.rc != 0 {
        let folders = want.folders.iter().map(|f| format!("'{f}'")).collect::<Vec<_>>().join(", ");
        return Ok(Err(format!("Unable to find command \"{name}\" in search paths: [{folders}]")));
    }
    let path = out.text().trim().to_owned();
    let words = if want.program.is_none() && path.ends_with("/reboot") { "" } else { want.words.as_str() };
    Ok(Ok(format!("{} {words}\n", shell_quote(&path))))
}

async fn reboot(want: &Want, command: String, began: Instant, remote: &mut dyn Remote) -> Result<Fields> {
    let before = run(remote, format!("{}\n", want.boot)).await?;
    if before.rc != 0 {
        let msg = format!(
            "{}: failed to get host boot time info, rc: {}, stdout: {}, stderr: {}",
            "reboot",
            before.rc,
            before.text(),
            before.error_text()
        );
        let mut all = failed(msg, began, false);
        all.remove("rebooted");
        all.insert("reboot".into(), json!(false));
        return Ok(all);
    }
    // A host that goes down may take its answer along.
    match tokio::time::timeout(Duration::from_secs(60), run(remote, command)).await {
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
            let msg = format!("Timed out waiting for {what} (timeout={})", want.timeout);
            let mut all = failed(msg, began, true);
            all.insert("changed".into(), json!(false));
            return Ok(all);
        }
        pause(remote, wait).await?;
        // Soon after it has gone it is asked often, later less.
        wait = (wait * 2).min(12);
    }
    let elapsed = began.elapsed().as_secs();
    Ok(fields([("changed", json!(true)), ("elapsed", json!(elapsed)), ("rebooted", json!(true))]))
}
