//! Runs from beginning to end: what is printed, kept, and how the process ends.

use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::place::{HERE, NOTES, Place, said, slow};

#[test]
fn a_run_is_told_kept_and_shown() {
    let place = Place::new().with("p.yml", NOTES);
    let run = place.towpath(&["run", "p.yml"]).ends(0);
    assert!(run.err.contains("towpath runs notes in default\n"), "{run:?}");
    let lines: Vec<&str> = run.out.lines().collect();
    assert!(lines[0].starts_with("first   done  ") && lines[0].ends_with("  1 attempt"), "{run:?}");
    assert!(lines[2].starts_with("run ") && lines[2].contains(": done in "), "{run:?}");
    let page = lines[3].strip_prefix("page: ").unwrap();
    assert!(place.path().join(page).is_file(), "{page}");
    assert_eq!((place.runs(".html").len(), place.runs(".jsonl").len()), (1, 1));

    let status = place.towpath(&["status"]).ends(0);
    assert!(status.out.contains(" of notes in default: done"), "{status:?}");
    let json = place.towpath(&["status", "--json"]).ends(0).json();
    assert_eq!(json["steps"][1], json!({ "name": "second", "state": "done", "running": false, "attempts": 1 }));
    assert_eq!(place.towpath(&["status", "-e", "other"]).ends(0).out, "no run yet\n");
    assert_eq!(place.towpath(&["leases"]).ends(0).out, "", "nothing is held after a run");
    assert_eq!(place.towpath(&["sweep"]).ends(0).out, "");
    assert_eq!(place.towpath(&["sweep", "--json"]).ends(0).json(), json!([]));
}

#[test]
fn json_is_one_object_with_the_files_of_the_run() {
    let place = Place::new().with("p.yml", NOTES);
    let run = place.towpath(&["run", "p.yml", "--json", "--set", "title=other"]).ends(0).json();
    assert_eq!(
        (&run["state"], &run["resumed"], &run["steps"][0]["state"]),
        (&json!("done"), &json!(false), &json!("done"))
    );
    for key in ["run_page", "journal"] {
        assert!(place.path().join(run[key].as_str().unwrap()).is_file(), "{run}");
    }
}

#[test]
fn page_and_journal_go_where_they_are_told() {
    let place = Place::new().with("p.yml", NOTES);
    let args = ["run", "p.yml", "--store", "memory:", "--page", "web/run.html", "--journal", "events.jsonl"];
    let run = place.towpath(&args).ends(0);
    assert!(run.out.ends_with("page: web/run.html\n"), "{run:?}");
    place.holds_only(&["events.jsonl", "p.yml", "web"]);
    let events = std::fs::read_to_string(place.path().join("events.jsonl")).unwrap();
    let events: Vec<serde_json::Value> = events.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(events[0]["uses"], json!({ "first": "record local", "second": "record local" }));
    assert_eq!(events.last().unwrap()["event"], "run_finished");

    let place = Place::new().with("p.yml", NOTES);
    let run = place.towpath(&["run", "p.yml", "--no-page"]).ends(0);
    assert!(!run.out.contains("page:"), "{run:?}");
    assert_eq!((place.runs(".html").len(), place.runs(".jsonl").len()), (0, 1));
}

#[test]
fn a_failed_step_ends_with_1_and_is_taken_up_again() {
    let text = format!(
        "
name: gated
steps:
  before:
    record: local
    observations: []
  check:
    gate: local
    inventory: {HERE}
    rule:
      checks: [{{ name: ready, probe: {{ command: {{ argv: [test, -e, READY] }} }} }}]
      fall: 1
    after: before
"
    );
    let place = Place::new();
    let place_of_file = place.path().join("ready");
    let place = place.with("p.yml", &text.replace("READY", &place_of_file.display().to_string()));
    let run = place.towpath(&["run", "p.yml"]).ends(1);
    assert!(run.out.contains("check   FAILED  "), "{run:?}");
    assert!(run.err.contains("check ready on here"), "{run:?}");
    let status = place.towpath(&["status"]).ends(0);
    assert!(status.out.contains("FAILED: core gate: check ready on here"), "{status:?}");

    place.write("ready", "");
    let resumed = place.towpath(&["resume", "--json"]).ends(0).json();
    assert_eq!((&resumed["state"], &resumed["resumed"]), (&json!("done"), &json!(true)));
    assert_eq!(resumed["steps"][0]["attempts"], 1, "what was done is not done again");
    let pages = place.runs(".html");
    assert_eq!(pages.len(), 1, "the same run");
    let page = std::fs::read_to_string(&pages[0]).unwrap();
    assert!(page.contains("interrupted and taken up again 1 time"), "{page}");
    assert!(page.contains("check ready on here"), "the first process's failure is told, too");
}

#[test]
fn a_saved_plan_is_carried_out_as_it_is_or_refused() {
    let place = Place::new().with("p.yml", NOTES);
    let plan = place.towpath(&["plan", "p.yml", "--out", "plan.json"]).ends(0);
    assert!(plan.out.contains("2 known only when it runs"), "{plan:?}");
    assert_eq!(place.runs("").len(), 0, "a plan is no run");
    let run = place.towpath(&["run", "--plan", "plan.json"]).ends(0);
    assert!(run.out.contains(": done in "), "{run:?}");
    let page = std::fs::read_to_string(&place.runs(".html")[0]).unwrap();
    assert!(page.contains("What was planned before the run"), "{page}");

    let changed = std::fs::read_to_string(place.path().join("plan.json")).unwrap().replace("hello", "changed by hand");
    place.write("plan.json", &changed);
    place.towpath(&["run", "--plan", "plan.json"]).ends(2).complains(&["plan"]);
}

#[test]
fn a_step_that_asks_waits_for_an_answer() {
    for (answer, code) in [(&[][..], 0), (&["--refuse"], 1)] {
        let place = Place::new().with("p.yml", &NOTES.replace("after: first", "after: first\n    approval: Go on?"));
        let mut child = place.command(&["run", "p.yml"]).spawn().unwrap();
        let asked = loop {
            assert!(child.try_wait().unwrap().is_none(), "it waits");
            let events = place.runs(".jsonl").pop().map(|p| std::fs::read_to_string(p).unwrap()).unwrap_or_default();
            if let Some(line) = events.lines().find(|l| l.contains("approval_needed") && l.ends_with('}')) {
                break serde_json::from_str::<serde_json::Value>(line).unwrap();
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        };
        assert_eq!((&asked["step"], &asked["question"]), (&json!("second"), &json!("Go on?")));
        let run = asked["run"].as_str().unwrap();
        place.towpath(&["approve", run, "frist"]).ends(2).complains(&["no such step"]);
        place.towpath(&[&["approve", run, "second"], answer].concat()).ends(0);
        let ended = said(child).ends(code);
        assert!(ended.err.contains(&format!("towpath approve {run} 'second'")), "{ended:?}");
        if code == 1 {
            assert!(ended.err.contains("anna"), "who refused: {ended:?}");
        }
    }
}

#[test]
fn preflight_looks_at_every_step() {
    let place = Place::new().with("p.yml", NOTES);
    let said = place.towpath(&["preflight", "p.yml"]).ends(0);
    assert!(said.out.contains("first: ok") && said.out.contains("second: ok"), "{said:?}");
    let json = place.towpath(&["preflight", "p.yml", "--json"]).ends(0).json();
    assert_eq!((&json[0]["step"], &json[1]["warnings"]), (&json!("first"), &json!([])));
}

#[test]
fn a_release_that_is_rolled_back_ends_with_3() {
    let place = Place::new();
    let dir = place.path().display().to_string();
    place.write("web", "#!/bin/sh\necho serving\n");
    let digest = hex::encode(Sha256::digest(std::fs::read(place.path().join("web")).unwrap()));
    place.write(
        "p.yml",
        &format!(
            "
name: release
parameters: {{ version: v1, health: ok }}
steps:
  roll out:
    deploy: {{ release-dirs: {{ root: {dir}/srv, restart: [sh, -c, 'cp {dir}/srv/current/env {dir}/serving'] }} }}
    inventory: {HERE}
    release:
      service: web
      version: {{ param: version }}
      artifact: {{ name: web, kind: file, id: {dir}/web, digest: 'sha256:{digest}' }}
      env: {{ HEALTH: {{ param: health }} }}
    rollout:
      monitor: {{ provider: local }}
      health:
        checks: [{{ name: health, probe: {{ command: {{ argv: [grep, -q, ok, {dir}/serving] }} }} }}]
        fall: 1
"
        ),
    );
    place.towpath(&["run", "p.yml"]).ends(0);
    let again = place.towpath(&["run", "p.yml", "--json"]).ends(0).json();
    assert_eq!(again["steps"][0]["state"], "unchanged");
    let bad = place.towpath(&["run", "p.yml", "--set", "version=v2", "--set", "health=sick"]).ends(3);
    assert!(bad.out.contains("ROLLED BACK"), "{bad:?}");
    assert!(std::fs::read_to_string(place.path().join("serving")).unwrap().contains("ok"), "v1 serves again");
    let refused = place.towpath(&["run", "p.yml", "--set", "version=v2", "--set", "health=sick"]).ends(3);
    assert!(refused.err.contains("v2"), "the ledger remembers: {refused:?}");
}

#[cfg(unix)]
#[test]
fn a_signal_cancels_leaves_nothing_and_ends_with_130() {
    for signal in ["-INT", "-TERM"] {
        let place = Place::new();
        let text = slow(&place).replace("test -e", "echo $$ >pid; exec sleep 100000; test -e");
        let place = place.with("p.yml", &text);
        let mut child = place.command(&["run", "p.yml"]).spawn().unwrap();
        place.wait_for("begun", &mut child);
        let killed = std::process::Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        let ended = said(child).ends(130);
        assert!(ended.err.contains("cancelling") && ended.out.contains(": cancelled in "), "{ended:?}");
        let status = place.towpath(&["status"]).ends(0);
        assert!(status.out.contains(": cancelled"), "{status:?}");
        assert_eq!(place.towpath(&["leases"]).ends(0).out, "");
        let page = std::fs::read_to_string(&place.runs(".html")[0]).unwrap();
        assert!(page.contains("cancelled</span>") && !page.contains("http-equiv=\"refresh\""));
    }
}
