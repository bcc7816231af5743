//! Orders to a rollout under way, and what becomes of a drained host whose deployer was killed.
#![cfg(unix)]

use std::process::Child;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use towpath::local::{LocalBalancer, LocalBalancerConfig};
use towpath::{BackendMode, Balancer as _, Context};

use crate::place::{Place, said};

/// Two hosts of this machine behind a balancer. `rollout` is added to how they are rolled out.
fn place(rollout: &str) -> Place {
    let place = Place::new();
    let dir = place.path().display().to_string();
    place.write("web", "#!/bin/sh\necho serving\n");
    let digest = hex::encode(Sha256::digest(std::fs::read(place.path().join("web")).unwrap()));
    let host = |name: &str, port: u16| {
        format!("{{ name: {name}, connection: {{ kind: local, address: 127.0.0.1 }}, vars: {{ port: {port} }} }}")
    };
    let text = format!(
        "
name: release
parameters: {{ version: v1 }}
steps:
  roll:
    deploy: {{ release-dirs: {{ root: '{dir}/srv-{{{{ port }}}}', restart: ['true'] }} }}
    inventory: {{ hosts: [{}, {}] }}
    release:
      service: web
      version: {{ param: version }}
      artifact: {{ name: web, kind: file, id: {dir}/web, digest: 'sha256:{digest}' }}
    rollout:
      balancer: {{ provider: local, config: {{ mode: tcp, state_dir: {dir}/local }} }}
      backend_port: '{{{{ port }}}}'
      monitor: {{ provider: local }}
{rollout}
",
        host("web-1", 11),
        host("web-2", 12)
    );
    place.write("p.yml", &text);
    place
}

fn balancer(place: &Place) -> LocalBalancer {
    let state_dir = Some(place.path().join("local"));
    LocalBalancer::new(LocalBalancerConfig {
        mode: towpath::local::BalancerMode::Tcp,
        state_dir,
        ..LocalBalancerConfig::default()
    })
    .unwrap()
}

fn block<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(work)
}

fn cx() -> Context {
    Context::builder().environment("default").build()
}

/// The hosts that get no requests.
fn drained(place: &Place) -> Vec<String> {
    let all = block(async { balancer(place).backends(&cx()).await.unwrap() });
    all.into_iter().filter(|b| b.mode != BackendMode::Serving).map(|b| b.backend.name).collect()
}

/// Waits until `towpath rollout web` says this of what a process does.
#[track_caller]
fn until_it_says(place: &Place, what: &str, by: &mut Child) -> String {
    loop {
        assert!(by.try_wait().unwrap().is_none(), "ended before it said {what}");
        let shown = place.towpath(&["rollout", "web"]).ends(0).out;
        if shown.contains(what) {
            return shown;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_rollout_is_shown_and_takes_answers_and_orders() {
    let place = place("      approval: { question: 'now?' }");
    let mut first = place.command(&["run", "p.yml"]).spawn().unwrap();
    let shown = until_it_says(&place, "asks: now?", &mut first);
    assert!(shown.contains("web v1: asking, 0 of 2 targets"), "{shown}");
    place.towpath(&["rollout", "web", "pause", "--why", "lunch"]).ends(0);
    place.towpath(&["rollout", "web", "approve"]).ends(0);
    until_it_says(&place, "web v1: paused", &mut first);
    place.towpath(&["rollout", "web", "resume"]).ends(0);
    let first = said(first).ends(0);
    assert!(first.err.contains("asks: now?  (answer: towpath rollout web approve, or refuse)"), "{first:?}");

    let mut second = place.command(&["run", "p.yml", "--set", "version=v2"]).spawn().unwrap();
    until_it_says(&place, "asks: now?", &mut second);
    let deploys = place.towpath(&["leases"]).ends(0).out;
    assert!(deploys.contains("deploy/default/web  held by"), "{deploys}");
    place.towpath(&["rollout", "web", "refuse", "--why", "not today"]).ends(0);
    let second = said(second).ends(1);
    assert!(second.err.contains("refused by anna: not today"), "{second:?}");

    let shown = place.towpath(&["rollout", "web"]).ends(0).out;
    assert!(shown.starts_with("no rollout of web is under way in default"), "{shown}");
    assert!(shown.contains("deployed, seen healthy") && shown.contains("failed: refused by anna"), "{shown}");
    let nobody = place.towpath(&["rollout", "web", "pause"]);
    assert!(nobody.code != Some(0) && nobody.err.contains("no rollout of this service is under way"), "{nobody:?}");
    block(async { balancer(&place).stop(&cx()).await.unwrap() });
}

/// Kills a deployer that has drained a host and waits for its health.
fn killed_while_a_host_is_drained(more: &[&str]) -> Place {
    let place = place(
        "      health: { checks: [{ name: go, probe: { command: { argv: [sh, -c, 'cd \"$DIR\"; touch begun; test -e go'] } } }], fall: 100000, deadline_s: 120 }",
    );
    let dir = place.path().display().to_string();
    let text = std::fs::read_to_string(place.path().join("p.yml")).unwrap().replace("\"$DIR\"", &dir);
    let place = place.with("p.yml", &text).with("go", "");
    place.towpath(&["run", "p.yml"]).ends(0);
    for name in ["go", "begun"] {
        std::fs::remove_file(place.path().join(name)).unwrap();
    }
    let args = [&["run", "p.yml", "--set", "version=v2"], more].concat();
    let mut child = place.command(&args).spawn().unwrap();
    place.wait_for("begun", &mut child);
    assert_eq!(drained(&place), ["web-1"]);
    child.kill().unwrap();
    assert_eq!(said(child).code, None);
    place
}

/// Kills the balancer's own process.
fn kill_balancer(place: &Place) {
    let mut folders = vec![place.path().join("local")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else if entry.file_name() == "process.json" {
                let text = std::fs::read_to_string(entry.path()).unwrap();
                let process: serde_json::Value = serde_json::from_str(&text).unwrap();
                let pid = process["pid"].as_u64().unwrap().to_string();
                assert!(std::process::Command::new("kill").args(["-9", &pid]).status().unwrap().success());
                return;
            }
        }
    }
    panic!("the balancer has no process");
}

#[test]
fn a_guardian_puts_back_what_its_dead_owner_drained() {
    let place = killed_while_a_host_is_drained(&[]);
    // Nobody starts anything.
    while !drained(&place).is_empty() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let log = place.path().join(".towpath/guardian.log");
    while !std::fs::read_to_string(&log).unwrap_or_default().contains("undone: drain/default/web/web-1") {
        std::thread::sleep(Duration::from_millis(20));
    }
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&log).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    // The run goes on where it was all the same.
    place.write("go", "");
    let report = place.towpath(&["run", "p.yml", "--set", "version=v2", "--json"]).ends(0).json();
    assert_eq!(report["resumed"], true);
    assert_eq!(drained(&place), [""; 0]);
    block(async { balancer(&place).stop(&cx()).await.unwrap() });
}

#[test]
fn a_guardian_starts_a_balancer_that_died_too() {
    // What it starts inherits its environment, and must not take itself for one more guardian.
    let place = killed_while_a_host_is_drained(&["--no-guardian"]);
    kill_balancer(&place);
    let url = format!("sqlite:{}", place.path().join(".towpath/store.db").display());
    let log = place.path().join("log");
    let role = serde_json::json!({ "store": url, "log": log });
    let guardian = place.command(&[]).env("TOWPATH_GUARDIAN", role.to_string()).spawn().unwrap();
    let guardian = said(guardian).ends(0);
    assert_eq!(guardian.out, "", "{guardian:?}");
    assert!(std::fs::read_to_string(&log).unwrap().contains("undone: drain/default/web/web-1"));
    assert_eq!(drained(&place), [""; 0]);
    block(async { balancer(&place).stop(&cx()).await.unwrap() });
}

#[test]
fn without_a_guardian_a_sweep_does() {
    let place = killed_while_a_host_is_drained(&["--no-guardian"]);
    assert_eq!(drained(&place), ["web-1"]);
    let status = place.towpath(&["rollout", "web"]).ends(0).out;
    assert!(status.contains("its process is dead"), "{status}");
    let swept = place.towpath(&["sweep"]).ends(0);
    assert!(swept.out.contains("undone: drain/default/web/web-1"), "{swept:?}");
    assert_eq!(drained(&place), [""; 0]);
    block(async { balancer(&place).stop(&cx()).await.unwrap() });
}

#[test]
fn what_a_rollout_can_not_mean_is_told_with_its_line_and_nothing_is_made() {
    for (rollout, says) in [
        ("      canary: [{ targets: 2 }, { targets: 1 }]", "each step of a canary must have more targets"),
        ("      blue_green: { groups: [blue, blue] }", "blue and green must be two groups"),
        (
            "      hooks: [{ when: before, phase: rollout, run: { function: 'shop:migrat' } }]",
            "no function called `shop:migrat`",
        ),
    ] {
        let place = place(rollout);
        let refused = place.towpath(&["run", "p.yml"]).ends(2);
        assert!(refused.err.contains(says) && refused.err.contains("p.yml:"), "{refused:?}");
        place.holds_only(&["p.yml", "web"]);
    }
}
