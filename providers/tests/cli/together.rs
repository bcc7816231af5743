//! Two processes, one environment.

use crate::place::{Place, said, slow};

#[test]
fn the_second_process_waits_and_says_who_holds_the_environment() {
    let place = Place::new();
    let text = slow(&place);
    let place = place.with("p.yml", &text);
    let mut first = place.command(&["run", "p.yml"]).spawn().unwrap();
    place.wait_for("begun", &mut first);

    let held = place.towpath(&["leases"]).ends(0);
    assert!(held.out.contains("environment/default  held by pid"), "{held:?}");
    assert!(held.out.contains("(anna)") && held.out.contains("slow"), "who and why: {held:?}");

    let journal = place.path().join("second.jsonl");
    let args = ["run", "p.yml", "--journal", "second.jsonl"];
    let mut second = place.command(&args).spawn().unwrap();
    loop {
        assert!(second.try_wait().unwrap().is_none(), "it waits");
        assert!(first.try_wait().unwrap().is_none());
        if std::fs::read_to_string(&journal).unwrap_or_default().contains("\"event\":\"waiting\"") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    place.write("go", "");
    let pid = first.id();
    said(first).ends(0);
    let second = said(second).ends(0);
    assert!(second.err.contains(&format!("waits for environment/default, held by pid {pid} (anna)")), "{second:?}");
    assert_eq!(place.runs(".html").len(), 2, "one after the other, each its own run");

    // Another environment of the same store is nobody's business.
    let other = place.towpath(&["run", "p.yml", "-e", "other"]).ends(0);
    assert!(!other.err.contains("waits for"), "{other:?}");
}

#[cfg(unix)]
#[test]
fn a_killed_run_is_continued_without_waiting() {
    let place = Place::new();
    let text = slow(&place)
        .replace("steps:", "steps:\n  done before: { record: local, observations: [] }")
        .replace("  wait:", "  wait:\n    after: done before");
    let place = place.with("p.yml", &text);
    let mut first = place.command(&["run", "p.yml"]).spawn().unwrap();
    place.wait_for("begun", &mut first);
    first.kill().unwrap();
    let out = said(first);
    assert_eq!(out.code, None, "{out:?}");
    let status = place.towpath(&["status"]).ends(0);
    assert!(status.out.contains(": unfinished") && status.out.contains("wait                 under way"), "{status:?}");
    place.write("go", "");
    let second = place.towpath(&["run", "p.yml", "--json"]).ends(0).json();
    assert_eq!((second["resumed"].as_bool(), second["steps"][0]["attempts"].as_u64()), (Some(true), Some(1)));
    let page = std::fs::read_to_string(&place.runs(".html")[0]).unwrap();
    assert!(page.contains("attempt 1: interrupted"), "{page}");
}
