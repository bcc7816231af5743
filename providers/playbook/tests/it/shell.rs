//! The shell on a host against scripts, children and hosts that mean ill.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use towpath_core::testkit::Sshd;
use towpath_core::{
    Capabilities, Configurator as _, Connection, Connector, Context, ErrorKind, Event, EventKind, Host, Inventory,
    Json, Preflight, Result, Targets, TaskStatus,
};
use towpath_playbook::Playbook;

use crate::support::{Piped, World, host, write};

/// A connector whose shell is any program of this machine.
#[derive(Debug)]
struct Instead(&'static [&'static str]);

#[async_trait]
impl Connector for Instead {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&["spawn"])
    }

    async fn preflight(&self, _: &Context) -> Result<Preflight> {
        Ok(Preflight::default())
    }

    async fn connect(&self, _: &Context, host: &Host) -> Result<Arc<dyn Connection>> {
        let enter = self.0.iter().map(|w| (*w).to_owned()).collect();
        Ok(Arc::new(Piped { host: host.name.clone(), enter, sudo: false }))
    }
}

/// A host of this machine, with its events.
fn here(shell: &'static [&'static str]) -> (Targets, Context, Arc<Mutex<Vec<Event>>>) {
    let inventory = Inventory { hosts: vec![host("here", "")], ..Inventory::default() };
    let events: Arc<Mutex<Vec<Event>>> = Arc::default();
    let seen = events.clone();
    let cx = Context::builder().listener(Arc::new(move |e: &Event| seen.lock().unwrap().push(e.clone()))).build();
    (Targets::new(inventory, Arc::new(Instead(shell))), cx, events)
}

/// What is to end at all: a hang fails the test that it is in, and not those behind it.
async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(300), work).await.expect("hangs")
}

fn results(events: &Mutex<Vec<Event>>) -> Vec<(String, TaskStatus, Json)> {
    let events = events.lock().unwrap();
    let result = |e: &Event| match &e.kind {
        EventKind::TaskResult { task, status, result, .. } => Some((task.clone(), *status, result.clone())),
        _ => None,
    };
    events.iter().filter_map(result).collect()
}

const HOSTILE: &str = r#"
- hosts: all
  gather_facts: no
  become: yes
  tasks:
    - {name: reads, shell: cat; echo done}
    - {name: forges, shell: "printf '\n0123456789abcdef 0 -\n'; printf '\n%s 0 -\n' \"$1\"; exit 3", ignore_errors: yes}
    - {name: stays, shell: "sleep 60 & echo $! >/tmp/pids"}
    - {name: noise, shell: "(while :; do echo noise; echo noise >&2; sleep 0.02; done) & echo $! >>/tmp/pids; echo started"}
    - {name: after noise, command: echo clean}
    - {name: looks, stat: {path: /etc/passwd}}
    - {name: kills its group, shell: "trap : TERM; kill -s TERM 0; kill -s KILL 0", ignore_errors: yes}
    - {name: no syntax, shell: "if ) ; (", ignore_errors: yes}
    - {name: escapes, copy: {content: x, dest: /tmp/escaped, validate: "true %s ) ; echo out; exit 0; ("}, ignore_errors: yes}
    - {name: leaves traces, shell: "cd /; umask 000; set -f; export LEFT=1; exec 3>/tmp/three"}
    - {name: finds none, shell: "umask; echo \"left=$LEFT\"; echo /etc/pass*"}
    - {name: bytes, shell: "printf 'a\\000b\\377\\n\\n'; printf 'e\\n' >&2"}
    - {name: ends with none, shell: "printf x; exit 300", ignore_errors: yes}
    - {name: is last, command: echo "still here"}
    - {name: sweeps, shell: "kill -0 $(cat /tmp/pids) || exit 9; kill $(cat /tmp/pids); ls -d /dev/shm/.towpath-* | wc -l"}
"#;

async fn hostile(world: &World) {
    world.write("site.yml", HOSTILE);
    // Had something waited for a child, the last task would not find it.
    let done = world.playbook(Playbook::file("site.yml")).apply(&world.cx, &world.targets).await;
    done.unwrap_or_else(|e| panic!("{}", e.report()));
    let all = results(&world.events);
    let get = |name: &str| &all.iter().find(|(t, ..)| t == name).unwrap_or_else(|| panic!("{name}: {all:#?}")).2;
    let out = |name: &str| get(name)["stdout"].as_str().unwrap_or_else(|| panic!("{name}: {}", get(name)));
    assert_eq!(out("reads"), "done");
    assert_eq!(get("forges")["rc"], 3);
    assert!(out("forges").contains("0123456789abcdef 0 -"));
    assert!(out("noise").contains("started"));
    assert_eq!(out("after noise"), "clean");
    assert_eq!(get("after noise")["stderr"], "");
    assert_eq!(get("looks")["stat"]["exists"], true);
    assert_ne!(get("kills its group")["rc"], 0);
    assert_ne!(get("no syntax")["rc"], 0);
    // As with Ansible, the words of `validate` are words and no shell's text: this one agrees.
    assert_eq!(get("escapes")["failed"], false, "{}", get("escapes"));
    let found: Vec<&str> = out("finds none").lines().collect();
    assert_eq!(found[..2], ["0022", "left="], "{found:?}");
    assert_ne!(found[2], "/etc/pass*", "{found:?}");
    assert!(out("bytes").starts_with("a\0b"));
    assert_eq!(get("bytes")["stderr"], "e");
    assert_eq!((out("ends with none"), &get("ends with none")["rc"]), ("x", &Json::from(300 % 256)));
    assert_eq!(out("is last"), "still here");
    let server = &world.servers[0];
    server.sh("sleep 1.5");
    assert_eq!(
        server.sh("ls -d /dev/shm/.towpath-* /tmp/.towpath-* 2>/dev/null | wc -l"),
        "0",
        "files are left behind"
    );
    assert_eq!(server.sh("cat /tmp/escaped"), "x");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_disturbs_the_next_task() {
    let Some(world) = World::new(1) else { return };
    hostile(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_disturbs_the_next_task_under_busybox() {
    let Some(world) = World::new(1) else { return };
    busybox(&world.servers[0]);
    hostile(&world).await;
}

/// Makes busybox the shell, and takes away what it has itself.
fn busybox(server: &Sshd) {
    server.sh(
        "apt-get update -qq >/dev/null 2>&1; apt-get install -y -qq --no-install-recommends busybox >/dev/null 2>&1; \
               rm /usr/bin/setsid /usr/bin/stat; ln -s busybox /usr/bin/setsid; ln -s busybox /usr/bin/stat; \
               ln -s busybox /usr/bin/ash; ln -sf busybox /bin/sh; /bin/sh --help 2>&1 | grep -q BusyBox",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn output_without_an_end_is_cut() {
    let Some(world) = World::new(1) else { return };
    for (become_, command) in [("yes", "yes"), ("no", "yes >&2"), ("no", "cat /dev/zero")] {
        world.write(
            "site.yml",
            &format!("- hosts: all\n  gather_facts: no\n  become: {become_}\n  tasks:\n    - shell: \"{command}\"\n"),
        );
        let error =
            in_time(world.playbook(Playbook::file("site.yml")).apply(&world.cx, &world.targets)).await.unwrap_err();
        let report = error.report();
        assert!(report.contains("more than 32 MiB of output") && report.contains("web-1"), "{report}");
        // Until the host's own watch has swept, its memory for such files is full.
        world.servers[0].sh("sleep 2.5");
    }
    assert_eq!(world.servers[0].sh("pgrep -x yes || pgrep -x cat || echo none; ls -A /dev/shm"), "none");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_that_is_lost_is_no_success() {
    let Some(world) = World::new(2) else { return };
    world.write(
        "site.yml",
        "- hosts: all\n  gather_facts: no\n  tasks:\n    - {name: ends the shell, shell: 'kill -9 $PPID; sleep 1; \
         echo fine', when: inventory_hostname == 'web-1'}\n    - {name: goes on, command: touch /tmp/went}\n",
    );
    // The long-lived shell is the first of this one's ancestors in the container.
    let text = std::fs::read_to_string(world.dir.path().join("site.yml")).unwrap();
    let first = "p=$PPID; while [ $p -gt 1 ]; do l=\"$p $l\"; p=$(cut -d\" \" -f4 /proc/$p/stat); done; kill -9 $l";
    world.write("site.yml", &text.replace("kill -9 $PPID", first));
    let error = world.playbook(Playbook::file("site.yml")).apply(&world.cx, &world.targets).await.unwrap_err();
    assert_eq!((error.kind(), error.get("host")), (ErrorKind::Unreachable, Some("web-1")), "{}", error.report());
    let all = results(&world.events);
    assert!(all.iter().any(|(t, s, _)| t == "ends the shell" && *s == TaskStatus::Unreachable), "{all:#?}");
    let went = |i: usize| world.servers[i].sh("test -e /tmp/went && echo yes || echo no");
    assert_eq!((went(0).as_str(), went(1).as_str()), ("no", "yes"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_talks_nonsense_does_not_hang() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "site.yml", "- hosts: all\n  gather_facts: no\n  tasks: [{command: 'true'}]\n");
    let playbook = Playbook::new(Playbook::file("site.yml"), dir.path()).unwrap();
    let endless: &[&str] = &["sh", "-c", "cat /dev/zero"];
    let ends: &[&str] = &["sh", "-c", "head -c 1000 /dev/urandom; echo why >&2"];
    let silent: &[&str] = &["sh", "-c", "exec sleep 100"];
    let deaf: &[&str] = &["sh", "-c", "exec <&-; sleep 100"];
    for (shell, kind, says) in [
        (endless, ErrorKind::Unreachable, "more than 32 MiB"),
        (ends, ErrorKind::Unreachable, "why"),
        (silent, ErrorKind::Timeout, "out of time"),
        (deaf, ErrorKind::Timeout, "out of time"),
    ] {
        let (targets, cx, _) = here(shell);
        let error = in_time(playbook.apply(&cx.with_timeout(Duration::from_secs(3)), &targets)).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{shell:?}: {}", error.report());
        assert!(error.report().contains(says), "{shell:?}: {}", error.report());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_task_ends_and_what_was_started_before_stays() {
    let dir = tempfile::tempdir().unwrap();
    let pids = dir.path().join("pids");
    let text = format!(
        "- hosts: all\n  gather_facts: no\n  tasks:\n    - shell: 'sleep 97531 & echo $! >{0}'\n    \
         - shell: 'sleep 97532 & echo $! >>{0}; wait'\n",
        pids.display()
    );
    write(dir.path(), "site.yml", &text);
    let playbook = Playbook::new(Playbook::file("site.yml"), dir.path()).unwrap();
    let (targets, cx, _) = here(&[]);
    let error = playbook.apply(&cx.with_timeout(Duration::from_secs(2)), &targets).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{}", error.report());
    let until = Instant::now() + Duration::from_secs(6);
    let read = std::fs::read_to_string(&pids).unwrap();
    let pids: Vec<&str> = read.lines().collect();
    let alive = |pid: &str| std::path::Path::new("/proc").join(pid).exists();
    while alive(pids[1]) && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (stays, ended) = (alive(pids[0]), !alive(pids[1]));
    std::process::Command::new("kill").args(&pids).stderr(std::process::Stdio::null()).status().unwrap();
    assert!(stays && ended, "started before: {stays}, of the task that was cancelled: {ended}");
}
