//! Hand-made events, against what ansible-playbook printed for the same.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::{Arc, Mutex};

use serde_json::json;

use super::*;
use crate::{HostSummary, Vars};

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn printed(look: Look, events: &[PlaybookEvent]) -> (String, String) {
    let (out, err) = (Shared::default(), Shared::default());
    let printer = Printer::new(look, Box::new(out.clone()), Box::new(err.clone()));
    events.iter().for_each(|e| printer.on(e));
    let text = |s: &Shared| String::from_utf8(s.0.lock().unwrap().clone()).unwrap();
    (text(&out), text(&err))
}

fn task(name: &str, action: &str) -> Arc<TaskInfo> {
    Arc::new(TaskInfo {
        name: name.into(),
        action: action.into(),
        file: "/p/site.yml".into(),
        line: 7,
        ..TaskInfo::default()
    })
}

fn started(task: &Arc<TaskInfo>) -> PlaybookEvent {
    PlaybookEvent::TaskStarted { task: task.clone(), check: false }
}

fn result(task: &Arc<TaskInfo>, status: TaskStatus, result: Json) -> HostResult {
    let Json::Object(result) = result else { panic!("a result is a mapping") };
    HostResult {
        host: "web1".into(),
        delegated: None,
        task: task.clone(),
        status,
        result,
        item: None,
        looped: false,
        seconds: 0.1,
    }
}

fn stars(title: &str) -> String {
    format!("{title} {}", "*".repeat(79 - title.len()))
}

#[test]
fn a_run_looks_as_ansibles() {
    let say = task("Say it", "debug");
    let run = task("Run", "command");
    let mut summary = HostSummary { ok: 2, changed: 1, failed: 1, ignored: 1, ..HostSummary::default() };
    let hosts = BTreeMap::from([
        ("web1".to_owned(), summary),
        ("db1".to_owned(), {
            summary = HostSummary { ok: 1, ..HostSummary::default() };
            summary
        }),
    ]);
    let mut delegated = result(
        &run,
        TaskStatus::Ok,
        json!({ "changed": false, "_ansible_delegated_vars": { "ansible_host": "10.0.0.1" } }),
    );
    delegated.delegated = Some("db1".into());
    let (out, err) = printed(
        Look::default(),
        &[
            PlaybookEvent::PlayStarted { name: "First play".into(), hosts: vec!["web1".into()] },
            started(&say),
            PlaybookEvent::TaskFinished(result(
                &say,
                TaskStatus::Ok,
                json!({ "msg": "Hello", "_ansible_verbose_always": true }),
            )),
            started(&run),
            PlaybookEvent::TaskFinished(result(
                &run,
                TaskStatus::Changed,
                json!({ "changed": true, "rc": 0, "warnings": ["careful"] }),
            )),
            PlaybookEvent::TaskFinished(result(&run, TaskStatus::Ignored, json!({ "changed": true, "rc": 1 }))),
            PlaybookEvent::TaskFinished(result(
                &run,
                TaskStatus::Unreachable,
                json!({ "changed": false, "unreachable": true }),
            )),
            PlaybookEvent::TaskFinished(delegated),
            PlaybookEvent::TaskFinished(result(&run, TaskStatus::Skipped, json!({}))),
            PlaybookEvent::Finished { hosts, custom: BTreeMap::new() },
        ],
    );
    let wanted = format!(
        "\n{}\n\n{}\nok: [web1] => {{\n    \"msg\": \"Hello\"\n}}\n\n{}\nchanged: [web1]\nfatal: [web1]: FAILED! => {{\"changed\": true, \"rc\": 1}}\n\
         ...ignoring\nfatal: [web1]: UNREACHABLE! => {{\"changed\": false, \"unreachable\": true}}\nok: [web1 -> db1(10.0.0.1)]\nskipping: [web1]\n\n{}\n\
         db1                        : ok=1    changed=0    unreachable=0    failed=0    skipped=0    rescued=0    ignored=0   \n\
         web1                       : ok=2    changed=1    unreachable=0    failed=1    skipped=0    rescued=0    ignored=1   \n\n",
        stars("PLAY [First play]"),
        stars("TASK [Say it]"),
        stars("TASK [Run]"),
        stars("PLAY RECAP")
    );
    assert_eq!(out, wanted);
    assert_eq!(err, "[WARNING]: careful\n");
}

#[test]
fn items_and_differences_are_shown_in_colour() {
    let copy = task("Copy", "copy");
    let mut item =
        result(&copy, TaskStatus::Changed, json!({ "changed": true, "diff": { "before": "a\n", "after": "b\n" } }));
    (item.item, item.looped) = (Some(json!({ "k": null })), true);
    let mut skipped = result(&copy, TaskStatus::Skipped, json!({ "changed": false }));
    (skipped.item, skipped.looped) = (Some(json!("b")), true);
    let mut failed = result(&copy, TaskStatus::Failed, json!({ "msg": "no" }));
    (failed.item, failed.looped) = (Some(json!("c")), true);
    let mut whole = result(&copy, TaskStatus::Ignored, json!({ "results": [] }));
    whole.looped = true;
    let look = Look { color: true, diff: true, ..Look::default() };
    let (out, _) = printed(
        look,
        &[
            started(&copy),
            PlaybookEvent::ItemFinished(item),
            PlaybookEvent::ItemFinished(skipped),
            PlaybookEvent::ItemFinished(failed),
            PlaybookEvent::TaskFinished(whole),
        ],
    );
    let wanted = format!(
        "\n{}\n^[0;31m--- before^[0m\n^[0;31m^[0m^[0;32m+++ after^[0m\n^[0;32m^[0m^[0;36m@@ -1 +1 @@^[0m\n^[0;36m^[0m\
         ^[0;31m-a^[0m\n^[0;31m^[0m^[0;32m+b^[0m\n^[0;32m^[0m\n^[0;33mchanged: [web1] => (item={{'k': None}})^[0m\n\
         ^[0;36mskipping: [web1] => (item=b) ^[0m\n^[0;31mfailed: [web1] (item=c) => {{\"msg\": \"no\"}}^[0m\n^[0;36m...ignoring^[0m\n",
        stars("TASK [Copy]")
    );
    assert_eq!(out, wanted.replace('^', "\x1b"));
}

#[test]
fn verbosity_adds_results_and_places() {
    let run = task("Run", "command");
    let done = PlaybookEvent::TaskFinished(result(
        &run,
        TaskStatus::Changed,
        json!({ "rc": 0, "changed": true, "invocation": {}, "_ansible_no_log": false }),
    ));
    let with = |verbosity| printed(Look { verbosity, ..Look::default() }, &[started(&run), done.clone()]).0;
    let head = format!("\n{}\n", stars("TASK [Run]"));
    assert_eq!(with(1), format!("{head}changed: [web1] => {{\"changed\": true, \"rc\": 0}}\n"));
    let place = "task path: /p/site.yml:7\n";
    assert_eq!(with(2), format!("{head}{place}changed: [web1] => {{\"changed\": true, \"rc\": 0}}\n"));
    assert_eq!(
        with(3),
        format!(
            "{head}{place}changed: [web1] => {{\n    \"changed\": true,\n    \"invocation\": {{}},\n    \"rc\": 0\n}}\n"
        )
    );
}

#[test]
fn retries_polls_and_inclusions_have_lines_of_their_own() {
    let run = task("Run", "command");
    let (out, _) = printed(
        Look::default(),
        &[
            PlaybookEvent::Retrying { result: result(&run, TaskStatus::Failed, json!({})), left: 3 },
            PlaybookEvent::Polling {
                result: result(&run, TaskStatus::Ok, json!({ "ansible_job_id": "j1.2", "started": 1, "finished": 0 })),
            },
            PlaybookEvent::Included {
                file: "/p/a.yml".into(),
                hosts: vec!["web1".into(), "web2".into()],
                label: Some(json!(1)),
            },
            PlaybookEvent::NoHostsMatched,
        ],
    );
    assert_eq!(
        out,
        "FAILED - RETRYING: [web1]: Run (3 retries left).\nASYNC POLL on web1: jid=j1.2 started=1 finished=0\n\
        included: /p/a.yml for web1, web2 => (item=1)\nskipping: no hosts matched\n"
    );
}

#[test]
fn what_is_hidden_leaves_no_banner() {
    let (run, more) = (task("Run", "command"), task("More", "command"));
    let look = Look { skipped_hosts: false, ..Look::default() };
    let (out, _) = printed(
        look,
        &[
            started(&run),
            PlaybookEvent::TaskFinished(result(&run, TaskStatus::Skipped, json!({}))),
            started(&more),
            PlaybookEvent::TaskFinished(result(&more, TaskStatus::Ok, json!({}))),
        ],
    );
    assert_eq!(out, format!("\n{}\nok: [web1]\n", stars("TASK [More]")));
}

#[test]
fn warnings_are_wrapped_and_said_once() {
    let text = "provided hosts list is empty, only localhost is available. Note that the implicit localhost does not match 'all'";
    let (_, err) =
        printed(Look::default(), &[PlaybookEvent::Warning(text.into()), PlaybookEvent::Warning(text.into())]);
    assert_eq!(
        err,
        "[WARNING]: provided hosts list is empty, only localhost is available. Note that\nthe implicit localhost does not match 'all'\n"
    );
}

#[test]
fn what_was_set_by_set_stats_is_shown_on_demand() {
    let total: Vars = [("total".to_owned(), json!(6))].into_iter().collect();
    let look = Look { custom_stats: true, ..Look::default() };
    let custom = BTreeMap::from([("_run".to_owned(), total)]);
    let (out, _) = printed(look, &[PlaybookEvent::Finished { hosts: BTreeMap::new(), custom }]);
    assert_eq!(
        out,
        format!("\n{}\n\n\n{}\n\n\tRUN: {{ \"total\": 6}}\n\n", stars("PLAY RECAP"), stars("CUSTOM STATS:"))
    );
}
