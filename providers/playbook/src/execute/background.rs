//! `async`: work that goes on by itself on the host, and asking about it.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::json;
use towpath_core::{Json, Result, TaskStatus};

use super::pool::Link;
use super::result::{One, failure};
use super::task::On;
use super::{Run, lock};
use crate::PLAYBOOK;
use crate::carry::{Output, Script};
use crate::modules::{self, Fields, Finish, Pending};
use crate::report::PlaybookEvent;

enum Job {
    /// Makes the result of what the work printed.
    Runs(Finish),
    Done(Fields),
}

/// The work that this run has started.
#[derive(Default)]
pub(super) struct Jobs(Mutex<HashMap<String, Job>>);

/// What the host says about work.
enum State {
    Gone,
    Runs,
    /// It took too long and was ended.
    Late,
    Ended(Output),
}

fn new_id() -> String {
    format!("j{}.{}", rand::random::<u64>() % 1_000_000_000_000, std::process::id())
}

/// The script that starts other work and comes back at once. The text of the work is in a file that only its user can read.
fn start(jid: &str, script: &str, seconds: u64) -> String {
    let mark = format!("TOWPATH_{}", hex::encode(rand::random::<[u8; 12]>()));
    format!(
        "umask 077\nd=\"$HOME/.ansible_async/{jid}\"\nmkdir -p \"$d\" || exit 1\n\
         cat >\"$d/work\" <<'{mark}'\n{script}\n{mark}\n\
         cat >\"$d/run\" <<'{mark}'\n\
         limit=; if command -v timeout >/dev/null 2>&1; then limit='timeout {seconds}'; fi\n\
         $limit /bin/sh \"$1/work\" </dev/null >\"$1/out\" 2>\"$1/err\"\nrc=$?\n\
         if [ -n \"$limit\" ] && [ $rc = 124 ]; then : >\"$1/late\"; fi\n\
         rm -f \"$1/work\"\necho $rc >\"$1/rc.new\"; mv \"$1/rc.new\" \"$1/rc\"\n{mark}\n\
         s=; if command -v setsid >/dev/null 2>&1; then s=setsid; fi\n\
         umask 022\n$s nohup /bin/sh \"$d/run\" \"$d\" </dev/null >/dev/null 2>&1 &\n\
         echo $! >\"$d/pid\"\nprintf '%s' \"$d\"\n"
    )
}

/// The home folder, where results are, and how far the work is.
async fn state(link: &Link<'_>, jid: &str) -> Result<(String, State)> {
    let text = format!(
        "printf '%s\\n' \"$HOME\"\nd=\"$HOME/.ansible_async/{jid}\"\n[ -d \"$d\" ] || {{ echo gone; exit; }}\n\
         [ -e \"$d/rc\" ] || {{ echo runs; exit; }}\n[ -e \"$d/late\" ] && {{ echo late; exit; }}\n\
         printf 'ended %s\\n' \"$(cat \"$d/rc\")\"; cat \"$d/out\"; cat \"$d/err\" >&2\n"
    );
    let out = link.send(Script { text, foreign: false }).await?;
    let line = |text: &[u8]| {
        let (line, rest) = text.split_at(text.iter().position(|b| *b == b'\n').unwrap_or(text.len()));
        (String::from_utf8_lossy(line).into_owned(), rest.get(1..).unwrap_or_default().to_vec())
    };
    let (home, rest) = line(&out.stdout);
    let (head, rest) = line(&rest);
    let state = match head.as_str() {
        "gone" => State::Gone,
        "runs" => State::Runs,
        "late" => State::Late,
        head => {
            let rc = head.strip_prefix("ended ").and_then(|n| n.trim().parse().ok()).unwrap_or(-1);
            State::Ended(Output { rc, stdout: rest, stderr: out.stderr })
        }
    };
    Ok((home, state))
}

fn good(jid: &str) -> bool {
    !jid.is_empty() && !jid.starts_with('.') && jid.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.')
}

impl Jobs {
    /// Work that was done at once, as work that goes on is told.
    pub(super) fn done(&self, mut fields: Fields, poll: u64) -> Fields {
        let jid = new_id();
        fields.insert("ansible_job_id".into(), json!(jid));
        fields.insert("started".into(), json!(1));
        fields.insert("finished".into(), json!(1));
        if poll == 0 {
            lock(&self.0).insert(jid, Job::Done(fields.clone()));
        }
        fields
    }

    /// Asks about work; `clean` forgets it.
    pub(super) async fn ask(&self, link: &Link<'_>, jid: &str, clean: bool) -> Result<Fields> {
        let gone = |home: &str| {
            let mut fields = quiet(jid, 1);
            fields.extend(failure("could not find job"));
            fields.insert("finished".into(), json!(1));
            fields.insert("results_file".into(), json!(format!("{home}/.ansible_async/{jid}")));
            fields
        };
        if !good(jid) {
            return Ok(gone("~"));
        }
        if clean {
            lock(&self.0).remove(jid);
            let text =
                format!("d=\"$HOME/.ansible_async/{jid}\"\nprintf '%s' \"$d\"; [ ! -e \"$d\" ] || rm -rf \"$d\"\n");
            let out = link.send(Script { text, foreign: false }).await?;
            let mut fields = quiet(jid, 0);
            fields.insert("erased".into(), json!(out.text()));
            return Ok(fields);
        }
        if let Some(Job::Done(fields)) = lock(&self.0).get(jid) {
            return Ok(fields.clone());
        }
        let (home, state) = state(link, jid).await?;
        let mut fields = match state {
            State::Gone => return Ok(gone(&home)),
            State::Runs => quiet(jid, 1),
            State::Late => failure("async task did not complete within the requested time"),
            State::Ended(out) => {
                let finish = match lock(&self.0).remove(jid) {
                    Some(Job::Runs(finish)) => finish,
                    // Another run has started it.
                    _ => Box::new(plain),
                };
                finish(out)
            }
        };
        let ended = fields.get("finished") != Some(&json!(0));
        fields.insert("ansible_job_id".into(), json!(jid));
        fields.insert("started".into(), json!(1));
        fields.insert("results_file".into(), json!(format!("{home}/.ansible_async/{jid}")));
        if ended {
            fields.insert("finished".into(), json!(1));
            lock(&self.0).insert(jid.to_owned(), Job::Done(fields.clone()));
        }
        Ok(fields)
    }
}

/// A result of work that says nothing, or nothing yet.
fn quiet(jid: &str, started: u8) -> Fields {
    modules::fields([
        ("changed", json!(false)),
        ("ansible_job_id", json!(jid)),
        ("started", json!(started)),
        ("finished", json!(0)),
        ("stdout", json!("")),
        ("stderr", json!("")),
        ("stdout_lines", json!([])),
        ("stderr_lines", json!([])),
    ])
}

/// The result of a command of which only its output is known.
fn plain(out: Output) -> Fields {
    let tidy = |b: &[u8]| String::from_utf8_lossy(b).trim_end_matches(['\r', '\n']).to_owned();
    let (stdout, stderr) = (tidy(&out.stdout), tidy(&out.stderr));
    let lines = |s: &str| json!(s.lines().collect::<Vec<_>>());
    let mut fields = modules::fields([
        ("changed", json!(true)),
        ("rc", json!(out.rc)),
        ("stdout_lines", lines(&stdout)),
        ("stderr_lines", lines(&stderr)),
        ("stdout", json!(stdout)),
        ("stderr", json!(stderr)),
    ]);
    if out.rc != 0 {
        fields.insert("failed".into(), true.into());
        fields.insert("msg".into(), "non-zero return code".into());
    }
    fields
}

impl Run<'_> {
    /// Starts a change that goes on by itself, and waits for it if `poll` says so.
    pub(super) async fn background(
        &self,
        on: &On<'_>,
        link: &Link<'_>,
        pending: Pending,
        seconds: u64,
        poll: u64,
    ) -> Result<One> {
        let jid = new_id();
        let text = start(&jid, &pending.script, seconds);
        let out = link.send(Script { text, foreign: false }).await?;
        if out.rc != 0 {
            return Ok(One::failing(format!("async work can't be started: {}", out.error_text().trim())));
        }
        lock(&self.jobs.0).insert(jid.clone(), Job::Runs(pending.finish));
        let started = modules::fields([
            ("changed", json!(true)),
            ("ansible_job_id", json!(jid)),
            ("started", json!(1)),
            ("finished", json!(0)),
            ("results_file", json!(out.text())),
        ]);
        if poll == 0 {
            return Ok(One::of(started));
        }
        let since = Instant::now();
        loop {
            self.cx.sleep(PLAYBOOK, "apply", Duration::from_secs(poll)).await?;
            let mut fields = self.jobs.ask(link, &jid, false).await?;
            if fields.get("finished") == Some(&json!(1)) {
                fields.extend(started.get("results_file").map(|file| ("results_file".to_owned(), file.clone())));
                self.jobs.ask(link, &jid, true).await?;
                let late = fields.get("rc").is_none() && fields.get("failed") == Some(&Json::Bool(true));
                return Ok(if late && since.elapsed() >= Duration::from_secs(seconds) {
                    late_result(&jid, seconds)
                } else {
                    One::of(fields)
                });
            }
            if since.elapsed() > Duration::from_secs(seconds + poll) {
                let text = format!(
                    "d=\"$HOME/.ansible_async/{jid}\"; p=$(cat \"$d/pid\") && {{ kill -TERM -- -\"$p\" 2>/dev/null || kill -TERM \"$p\"; }}; rm -rf \"$d\"\n"
                );
                link.send(Script { text, foreign: false }).await?;
                return Ok(late_result(&jid, seconds));
            }
            let one = One::of(fields);
            let result = on.result(&one, TaskStatus::Ok, false, since);
            on.lane.say(PlaybookEvent::Polling { result });
        }
    }
}

fn late_result(jid: &str, seconds: u64) -> One {
    let mut fields = failure(format!("async task did not complete within the requested time - {seconds}s"));
    fields.insert("ansible_job_id".into(), json!(jid));
    fields.insert("started".into(), json!(1));
    fields.insert("finished".into(), json!(0));
    One::of(fields)
}
