//! Checks that look at the end of a log.

use std::sync::{Arc, Mutex};

use towpath_core::{
    Check, CheckProbe, ConnectionSpec, Context, Event, EventKind, Gate, Host, Inventory, Monitor as _, Observation,
    Targets, Verdict, VerdictKind,
};
use towpath_local::{LocalConnector, LocalMonitor};

fn here() -> Targets {
    let connection = ConnectionSpec { kind: "local".into(), ..ConnectionSpec::default() };
    let mut host = Host { name: "web-1".into(), connection, ..Host::default() };
    host.vars.insert("version".into(), "v2".into());
    Targets::new(Inventory { hosts: vec![host], ..Inventory::default() }, Arc::new(LocalConnector))
}

async fn ask(cx: &Context, probe: CheckProbe) -> Verdict {
    let check = Check { name: "log".into(), probe, timeout_s: 5.0 };
    let gate = Gate { fall: 2, interval_s: 0.01, ..Gate::of(vec![check]) };
    LocalMonitor::default().assess(cx, &gate, &here()).await.unwrap()
}

#[tokio::test]
async fn the_end_of_a_log_is_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("-web log");
    let early = format!("v2 is ready\n{}\n", "x".repeat(70_000));
    std::fs::write(&file, format!("{early}v2 listens\nERROR: no database\n")).unwrap();
    let path = file.display().to_string();
    let log = |contains: Option<&str>, absent: Option<&str>| CheckProbe::Log {
        path: path.clone(),
        contains: contains.map(str::to_owned),
        absent: absent.map(str::to_owned),
    };
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&seen);
    let listener = move |event: &Event| {
        if let EventKind::Observed { observation: Observation::Check(check) } = &event.kind {
            kept.lock().unwrap().push(check.detail.clone());
        }
    };
    let cx = Context::builder().listener(Arc::new(listener)).build();
    let well = ask(&cx, log(Some("{{ version }} listens"), Some("PANIC"))).await;
    assert_eq!(well.kind, VerdictKind::Pass, "{well:?}");
    assert!(seen.lock().unwrap().is_empty(), "what is well is no event");
    for (contains, absent, says) in [
        (Some("v3 listens"), None, "does not hold \"v3 listens\""),
        // Too long ago.
        (Some("v2 is ready"), None, "does not hold \"v2 is ready\""),
        (None, Some("ERROR"), "says: ERROR: no database"),
    ] {
        let bad = ask(&cx, log(contains, absent)).await;
        assert_eq!(bad.kind, VerdictKind::Fail, "{bad:?}");
        assert!(bad.reason.contains(says), "{bad:?}");
        let events = std::mem::take(&mut *seen.lock().unwrap());
        assert!(events.len() == 2 && events.iter().all(|e| e.contains(says)), "each failure is told: {events:?}");
    }
    std::fs::remove_file(&file).unwrap();
    let none = ask(&cx, log(Some("v2"), None)).await;
    assert!(none.kind == VerdictKind::Fail && none.reason.contains("can't be read"), "{none:?}");
}
