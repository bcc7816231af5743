#![allow(clippy::unwrap_used)]

use serde_json::json;
use towpath_core::{Action, Context, Error, ErrorKind, Timestamp};
use towpath_core::{
    Change, ErrorRecord, Event, EventKind, Listener as _, Plan, RunId, RunState, StepState, TaskStatus,
};

use super::RunPage;

const HOSTILE: &str = "</script></style></title>--><script>alert(1)</script><img src=x onerror=alert(2)>\"'&\u{1b}[2J";

fn event(at: u64, step: Option<&str>, host: Option<&str>, kind: EventKind) -> Event {
    let owned = |s: Option<&str>| s.map(str::to_owned);
    Event { at: Timestamp(at), run: Some(RunId("run-1".into())), step: owned(step), host: owned(host), kind }
}

fn started(graph: Vec<(String, Vec<String>)>, resumed: bool) -> EventKind {
    let uses = graph.iter().map(|(n, _)| (n.clone(), format!("call {n}"))).collect();
    EventKind::RunStarted { pipeline: HOSTILE.into(), environment: HOSTILE.into(), resumed, graph, uses }
}

fn finished(state: StepState, error: Option<ErrorRecord>) -> EventKind {
    EventKind::StepFinished { state, seconds: 1.0, attempts: 1, error }
}

fn hostile_error() -> ErrorRecord {
    Error::new(ErrorKind::ToolFailed, "playbook", "apply", HOSTILE).with("host", HOSTILE).caused_by(HOSTILE).record()
}

#[test]
fn nothing_that_a_host_says_becomes_markup() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new").join("page.html");
    let plan = Plan { changes: vec![Change::will(HOSTILE, HOSTILE, Action::Create)], ..Plan::default() };
    let page = RunPage::new(&path).plan(&plan);
    let step = Some(HOSTILE);
    let task = |status| EventKind::TaskResult {
        task: HOSTILE.into(),
        file: Some(HOSTILE.into()),
        item: None,
        status,
        result: json!({ "msg": HOSTILE, "stdout": HOSTILE, HOSTILE: HOSTILE }),
        seconds: 0.1,
    };
    let kinds = [
        EventKind::StepStarted { attempt: 1 },
        EventKind::Output { stream: HOSTILE.into(), line: HOSTILE.into() },
        EventKind::Progress { message: HOSTILE.into(), done: Some(1), total: Some(2) },
        EventKind::Warning { message: HOSTILE.into() },
        EventKind::Waiting { key: HOSTILE.into(), holder: HOSTILE.into() },
        EventKind::ApprovalNeeded { question: HOSTILE.into(), service: None },
        EventKind::Rollout { phase: HOSTILE.into(), version: HOSTILE.into(), detail: HOSTILE.into() },
        EventKind::Change { change: Change::will(HOSTILE, HOSTILE, Action::Delete), made: true },
        task(TaskStatus::Failed),
        task(TaskStatus::Ignored),
        EventKind::StepRetry { attempt: 1, wait_s: 1.0, error: hostile_error() },
        EventKind::StepStarted { attempt: 2 },
        finished(StepState::Failed, Some(hostile_error())),
    ];
    page.on_event(&event(1_000, None, None, started(vec![(HOSTILE.into(), vec![])], false)));
    for (at, kind) in kinds.into_iter().enumerate() {
        page.on_event(&event(2_000 + u64::try_from(at).unwrap(), step, step, kind));
    }
    page.on_event(&event(9_000, None, None, EventKind::RunFinished { state: RunState::Failed, seconds: 8.0 }));
    assert_eq!(page.close(None).unwrap().as_deref(), Some(path.as_path()));

    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.matches("<script").count() + text.matches("<img").count(), 0);
    assert_eq!(text.matches("</style>").count(), 1);
    assert_eq!(text.matches("</title></head>").count() + text.matches("</title><style>").count(), 1);
    assert!(text.contains("&lt;/script&gt;&lt;/style&gt;"), "{text}");
    assert!(!text.contains('\u{1b}'));
    for loaded in ["http:", "https:", "src=\"", "url(", "@import", "<link", "<iframe", "javascript:", "style=\""] {
        assert!(!text.contains(loaded), "{loaded}");
    }
    assert!(text.contains("default-src 'none'; style-src 'sha256-"));
    assert!(!text.contains("http-equiv=\"refresh\""), "the run is over");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |p: &std::path::Path| std::fs::metadata(p).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    }
    let names: Vec<_> = std::fs::read_dir(path.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["page.html"], "nothing is left beside it");
}

#[test]
fn a_page_stays_small_and_says_what_it_leaves_out() {
    let dir = tempfile::tempdir().unwrap();
    let page = RunPage::in_folder(dir.path());
    assert_eq!(page.path(), None);
    let name = |i: usize| format!("step {i}");
    let graph = (0..10_000).map(|i| (name(i), if i == 0 { vec![] } else { vec![name(i - 1)] })).collect();
    page.on_event(&event(0, None, None, started(graph, false)));
    for i in 0..10_000 {
        let name = name(i);
        let say = |kind| page.on_event(&event(u64::try_from(i).unwrap(), Some(&name), Some("web-1"), kind));
        say(EventKind::StepStarted { attempt: 1 });
        for n in 0..if i == 5_000 { 100_000 } else { 2 } {
            say(EventKind::Output { stream: "stdout".into(), line: format!("line {n} {}", "x".repeat(5_000)) });
        }
        let status = if i % 3 == 0 { TaskStatus::Failed } else { TaskStatus::Changed };
        say(EventKind::TaskResult {
            task: name.clone(),
            file: None,
            item: None,
            status,
            result: json!(null),
            seconds: 0.0,
        });
        say(finished(if i == 7_777 { StepState::Failed } else { StepState::Done }, (i == 7_777).then(hostile_error)));
    }
    page.on_event(&event(10_000, None, None, EventKind::RunFinished { state: RunState::Failed, seconds: 1.0 }));
    let text = std::fs::read_to_string(page.path().unwrap()).unwrap();
    assert!(text.len() < 8 << 20, "{} bytes", text.len());
    assert!(text.contains("The run has 10000 steps; 400 are shown"));
    assert!(text.contains("Not drawn: it has 10000 steps"));
    assert!(text.contains("step 7777"), "what failed is always shown");
    assert!(text.contains("more failed results left out"));
}

#[test]
fn a_later_process_tells_of_the_earlier_ones_too() {
    let dir = tempfile::tempdir().unwrap();
    let graph = || vec![("one".to_owned(), vec![]), ("two".to_owned(), vec!["one".to_owned()])];
    let first = [
        event(1_000, None, None, started(graph(), false)),
        event(1_000, Some("one"), None, EventKind::StepStarted { attempt: 1 }),
        event(2_000, Some("one"), None, EventKind::Warning { message: "said by the first process".into() }),
        event(3_000, Some("one"), None, finished(StepState::Done, None)),
        event(3_000, Some("two"), None, EventKind::StepStarted { attempt: 1 }),
    ];
    let mut lines: Vec<u8> =
        first.iter().flat_map(|e| [serde_json::to_vec(e).unwrap(), b"\n".to_vec()].concat()).collect();
    lines.extend(b"{\"at\": 3500, \"ev"); // killed in the middle of a line
    std::fs::write(dir.path().join("run-1.jsonl"), lines).unwrap();

    let page = RunPage::in_folder(dir.path());
    let early = Event { run: None, ..event(900_000, None, None, EventKind::Warning { message: "waited".into() }) };
    page.on_event(&early);
    page.on_event(&event(1_000_000, None, None, started(graph(), true)));
    page.on_event(&event(1_000_000, Some("one"), None, finished(StepState::Done, None)));
    page.on_event(&event(1_000_000, Some("two"), None, EventKind::StepStarted { attempt: 1 }));
    page.on_event(&event(1_001_000, Some("two"), None, finished(StepState::Done, None)));
    let error = Error::new(ErrorKind::Storage, "sql", "append", "the disk is full").with("store", "x.db");
    let path = page.close(Some(&error)).unwrap().unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    for part in ["said by the first process", "waited", "interrupted and taken up again 1 time", "<dd>3.0 s</dd>"] {
        assert!(text.contains(part), "{part}");
    }
    for part in ["STOPPED", "the disk is full", "x.db", "attempt 1: interrupted"] {
        assert!(text.contains(part), "{part}");
    }
}

#[test]
fn a_page_that_cannot_be_written_says_so_and_stops_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let page = RunPage::new(file.join("page.html"));
    page.on_event(&event(0, None, None, started(vec![], false)));
    page.on_event(&event(1, None, None, EventKind::RunFinished { state: RunState::Done, seconds: 0.1 }));
    let error = page.close(None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(error.to_string().contains("--page"), "{error}");
}

#[tokio::test]
async fn a_page_is_there_while_the_run_is_under_way() {
    let dir = tempfile::tempdir().unwrap();
    let page = std::sync::Arc::new(RunPage::in_folder(dir.path()));
    let path = dir.path().join("run-1.html");
    page.on_event(&event(0, None, None, started(vec![("one".into(), vec![])], false)));
    page.on_event(&event(0, Some("one"), None, EventKind::StepStarted { attempt: 1 }));
    let cx = Context::new();
    let mut text = String::new();
    while !text.contains("under way</span><b>one") {
        cx.sleep("test", "wait", std::time::Duration::from_millis(20)).await.unwrap();
        text = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(text.is_empty() || text.ends_with("</html>\n"), "always whole");
    }
    assert!(text.contains("http-equiv=\"refresh\""));
}
