//! Probes travel ahead, changes take their turn: nothing is changed that Ansible would not have changed, no answer is older than the last
//! change, and round trips are few.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use towpath_core::{
    Capabilities, Configurator as _, Connection, Connector, Context, Endpoint, EventKind, Exec, ExecOutput, Host,
    Inventory, Json, Preflight, Process, PutOptions, RemoteGroup, Result, Source, Stream, Targets, TaskStatus,
};
use towpath_playbook::Playbook;

use crate::support::{Piped, World, host, write};

/// Plays that end early on some hosts, and who was changed by which task, as ansible-core 2.18 does it.
/// `B` breaks on web-2 only.
const ENDS_EARLY: &[(&str, &str, [&str; 3])] = &[
    ("any_errors_fatal", "  any_errors_fatal: true\n  tasks: [T1, B, T2, T3]\n", ["1", "1", "1"]),
    ("plain failure", "  tasks: [T1, B, T2, T3]\n", ["123", "1", "123"]),
    ("max_fail_percentage", "  max_fail_percentage: 20\n  tasks: [T1, B, T2, T3]\n", ["1", "1", "1"]),
    ("max_fail_percentage is not reached", "  max_fail_percentage: 50\n  tasks: [T1, B, T2]\n", ["12", "1", "12"]),
    ("serial", "  serial: 2\n  max_fail_percentage: 10\n  tasks: [T1, B, T2]\n", ["1", "1", ""]),
    ("serial without a limit", "  serial: 1\n  tasks: [T1, B, T2]\n", ["12", "1", ""]),
    ("rescue", "  tasks:\n  - block: [T1, B, T2]\n    rescue: [T3]\n", ["12", "13", "12"]),
    ("always", "  tasks:\n  - block: [T1, B, T2]\n    always: [T3]\n  - T2\n", ["123", "13", "123"]),
    (
        "ends its host",
        "  tasks:\n  - T1\n  - {meta: end_host, when: inventory_hostname == 'web-2'}\n  - T2\n",
        ["12", "1", "12"],
    ),
    // What ends a play is asked once, of the first host.
    (
        "does not end the play",
        "  tasks:\n  - T1\n  - {meta: end_play, when: inventory_hostname == 'web-2'}\n  - T2\n",
        ["12", "12", "12"],
    ),
    (
        "runs once",
        "  tasks:\n  - {file: {path: /tmp/t/1, state: touch}, run_once: yes}\n  - B\n  - {file: {path: /tmp/t/2, state: touch}, run_once: yes}\n",
        ["12", "", ""],
    ),
    (
        "delegates",
        "  tasks:\n  - T1\n  - B\n  - {file: {path: /tmp/t/2, state: touch}, delegate_to: web-3, when: inventory_hostname == 'web-1'}\n",
        ["1", "1", "12"],
    ),
    ("free", "  strategy: free\n  tasks: [T1, B, T2, T3]\n", ["123", "1", "123"]),
    (
        "skips by what it registered",
        "  tasks:\n  - {stat: {path: '/tmp/{{ inventory_hostname }}'}, register: s}\n  - {file: {path: /tmp/t/1, state: touch}, when: s.stat.exists}\n  - T2\n",
        ["12", "2", "2"],
    ),
];

fn expand(text: &str) -> String {
    let mut text = text.to_owned();
    for n in 1..=3 {
        let task = format!("{{file: {{path: /tmp/t/{n}, state: touch}}}}");
        for (before, after) in [("[", ","), ("[", "]"), (" ", ","), (" ", "]"), ("- ", "\n")] {
            text = text.replace(&format!("{before}T{n}{after}"), &format!("{before}{task}{after}"));
        }
    }
    for (before, after) in [(" ", ","), ("- ", "\n")] {
        let task = "{fail: {msg: broken}, when: inventory_hostname == 'web-2'}";
        text = text.replace(&format!("{before}B{after}"), &format!("{before}{task}{after}"));
    }
    format!("- hosts: all\n  gather_facts: no\n{text}")
}

#[tokio::test(flavor = "multi_thread")]
async fn no_host_is_changed_that_ansible_would_not_change() {
    let Some(world) = World::new(3) else { return };
    world.servers[0].sh("touch /tmp/web-1");
    for (name, play, changed) in ENDS_EARLY {
        world.servers.iter().for_each(|s| drop(s.sh("rm -rf /tmp/t; mkdir -m 777 /tmp/t")));
        world.write("site.yml", &expand(play));
        let _ = world.playbook(Playbook::file("site.yml")).apply(&world.cx, &world.targets).await;
        let found: Vec<String> = world.servers.iter().map(|s| s.sh("cd /tmp/t; echo * | tr -d ' *'")).collect();
        assert_eq!(found, changed, "{name}");
    }
}

const FRESH: &str = r#"
- hosts: all
  gather_facts: no
  tasks:
    - {name: none, stat: {path: /tmp/f/a}, register: a1}
    - {name: makes, command: mkdir -p /tmp/f/a}
    - {name: there, stat: {path: /tmp/f/a}, register: a2}
    - assert: {that: [not a1.stat.exists, a2.stat.exists]}
    - {name: mode, file: {path: /tmp/f/a, state: directory, mode: "0700"}}
    - {name: seen, stat: {path: /tmp/f/a}, register: a3}
    - assert: {that: "a3.stat.mode == '0700'"}
    - {name: as root, file: {path: /tmp/f/root, state: touch}, become: yes}
    - {name: as deploy, stat: {path: /tmp/f/root}, register: a4}
    - assert: {that: a4.stat.exists}
    - {name: elsewhere, file: {path: /tmp/f/b, state: directory}, delegate_to: web-2, run_once: yes}
    - {name: look there, stat: {path: /tmp/f/b}, register: a5}
    - assert: {that: "a5.stat.exists == (inventory_hostname == 'web-2')"}
    - {name: later, shell: "(sleep 2; mkdir /tmp/f/late) >/dev/null 2>&1 &"}
    - {name: waits, stat: {path: /tmp/f/late}, register: a6, until: a6.stat.exists, retries: 20, delay: 1}
    - {name: sees, stat: {path: /tmp/f/late}, register: a7}
    - assert: {that: [a6.stat.exists, a7.stat.exists]}
    - {name: items, file: {path: "/tmp/f/{{ item }}", state: directory}, loop: [x, x/y, x], register: a8}
    - assert: {that: ["a8.results | map(attribute='changed') | list == [true, true, false]"]}
    - {name: one user, user: {name: newly}, become: yes}
    - {name: owns, file: {path: /tmp/f/own, state: directory, owner: newly}, become: yes}
    - {name: is, stat: {path: /tmp/f/own}, register: a9}
    - assert: {that: "a9.stat.pw_name == 'newly'"}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_is_older_than_the_last_change() {
    let Some(world) = World::new(2) else { return };
    world.write("site.yml", FRESH);
    let done = world.playbook(Playbook::file("site.yml")).apply(&world.cx, &world.targets).await;
    done.unwrap_or_else(|e| panic!("{}", e.report()));
    // Once more: what is there now is seen as it is.
    world.servers.iter().for_each(|s| drop(s.sh("rm -rf /tmp/f; userdel -r newly 2>/dev/null; true")));
    let done = world.playbook(Playbook::file("site.yml")).apply(&world.cx, &world.targets).await;
    done.unwrap_or_else(|e| panic!("{}", e.report()));
}

/// This machine, so far away; and how often something was sent after an answer had come.
#[derive(Debug)]
struct Far(Duration, Arc<AtomicUsize>);

#[derive(Debug)]
struct FarConnection(Piped, Duration, Arc<AtomicUsize>);

#[async_trait]
impl Connector for Far {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&["spawn"])
    }

    async fn preflight(&self, _: &Context) -> Result<Preflight> {
        Ok(Preflight::default())
    }

    async fn connect(&self, _: &Context, host: &Host) -> Result<Arc<dyn Connection>> {
        Ok(Arc::new(FarConnection(
            Piped { host: host.name.clone(), enter: Vec::new(), sudo: false },
            self.0,
            self.1.clone(),
        )))
    }
}

#[async_trait]
impl Connection for FarConnection {
    fn host(&self) -> &str {
        self.0.host()
    }

    async fn exec(&self, cx: &Context, command: &Exec) -> Result<ExecOutput> {
        self.0.exec(cx, command).await
    }

    async fn spawn(&self, cx: &Context, command: &Exec) -> Result<Process> {
        let process = self.0.spawn(cx, command).await?;
        let (mut near, far) = tokio::io::duplex(1 << 20);
        let (mut sent, to_send) = tokio::io::duplex(1 << 20);
        let (mut stdout, mut stdin, by) = (process.stdout, process.stdin, self.1);
        let answered = Arc::new(AtomicBool::new(true));
        let (trips, seen) = (self.2.clone(), answered.clone());
        tokio::spawn(async move {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(n @ 1..) = sent.read(&mut buffer).await {
                if seen.swap(false, Ordering::AcqRel) {
                    trips.fetch_add(1, Ordering::AcqRel);
                }
                if stdin.write_all(&buffer[..n]).await.is_err() || stdin.flush().await.is_err() {
                    return;
                }
            }
            let _ = stdin.shutdown().await;
        });
        tokio::spawn(async move {
            let (send, mut held) = tokio::sync::mpsc::unbounded_channel::<(tokio::time::Instant, Vec<u8>)>();
            tokio::spawn(async move {
                while let Some((due, bytes)) = held.recv().await {
                    tokio::time::sleep_until(due).await;
                    answered.store(true, Ordering::Release);
                    if near.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
            });
            let mut buffer = vec![0; 1 << 16];
            while let Ok(n @ 1..) = stdout.read(&mut buffer).await {
                let _ = send.send((tokio::time::Instant::now() + by, buffer[..n].to_vec()));
            }
        });
        Ok(Process {
            stdin: Box::new(to_send),
            stdout: Box::new(far),
            stderr: process.stderr,
            control: process.control,
        })
    }

    async fn put(&self, cx: &Context, source: Source, path: &str, options: &PutOptions) -> Result<()> {
        self.0.put(cx, source, path, options).await
    }

    async fn get(&self, cx: &Context, path: &str, limit_bytes: u64) -> Result<bytes::Bytes> {
        self.0.get(cx, path, limit_bytes).await
    }

    async fn dial(&self, cx: &Context, to: &Endpoint) -> Result<Box<dyn Stream>> {
        self.0.dial(cx, to).await
    }

    async fn end_group(&self, cx: &Context, group: &RemoteGroup) -> Result<bool> {
        self.0.end_group(cx, group).await
    }

    async fn close(&self) {
        self.0.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn round_trips_grow_with_dependencies_and_not_with_tasks() {
    const TASKS: usize = 60;
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().display();
    let mut play = String::from("- hosts: all\n  gather_facts: no\n  tasks:\n");
    for n in 0..TASKS {
        play.push_str(&match n % 3 {
            0 => format!("    - copy: {{dest: {at}/c{n}, content: 'c{n}'}}\n"),
            1 => format!("    - file: {{path: '{at}/d{n}-{{{{ item }}}}', state: directory}}\n      loop: [a, b]\n"),
            _ => format!("    - stat: {{path: {at}/c{}}}\n      register: s{n}\n", n - 2),
        });
    }
    play.push_str("    - assert: {that: s59.stat.exists}\n");
    write(dir.path(), "site.yml", &play);
    let inventory = Inventory { hosts: vec![host("far", "")], ..Inventory::default() };
    let playbook = Playbook::new(Playbook::file("site.yml"), dir.path()).unwrap();
    let near = Targets::new(inventory.clone(), Arc::new(Far(Duration::ZERO, Arc::default())));
    let first = playbook.apply(&Context::new(), &near).await.unwrap();
    assert_eq!(first.hosts["far"].changed, 2 * TASKS / 3);
    let trips: Arc<AtomicUsize> = Arc::default();
    let far = Targets::new(inventory, Arc::new(Far(Duration::from_millis(500), trips.clone())));
    let events: Arc<std::sync::Mutex<Vec<(String, TaskStatus, Json)>>> = Arc::default();
    let seen = events.clone();
    let listener = move |e: &towpath_core::Event| {
        if let EventKind::TaskResult { task, status, result, .. } = &e.kind {
            seen.lock().unwrap().push((task.clone(), *status, result.clone()));
        }
    };
    let cx = Context::builder().listener(Arc::new(listener)).build();
    let second = playbook.apply(&cx, &far).await.unwrap();
    let trips = trips.load(Ordering::Acquire);
    assert_eq!(second.hosts["far"].changed, 0);
    // 80 questions. One by one they were 80 round trips.
    assert!(trips < 20, "{trips} round trips");
    assert!(events.lock().unwrap().len() > TASKS, "every task has its result");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lookup_that_does_something_waits_for_its_turn() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().display();
    let inventory = Inventory { hosts: vec![host("near", "")], ..Inventory::default() };
    let near = Targets::new(inventory, Arc::new(Far(Duration::from_millis(50), Arc::default())));
    let copy = |n: u32| {
        format!(
            "    - copy: {{dest: {at}/c{n}, content: \"{{{{ lookup('pipe', 'echo x >> {at}/count; echo y') }}}}\"}}\n"
        )
    };
    let stat = format!("    - stat: {{path: {at}/c}}\n");
    let mut counts = Vec::new();
    for tasks in [copy(1), format!("{stat}{stat}{}{stat}", copy(2))] {
        write(dir.path(), "site.yml", &format!("- hosts: all\n  gather_facts: no\n  tasks:\n{tasks}"));
        let playbook = Playbook::new(Playbook::file("site.yml"), dir.path()).unwrap();
        playbook.apply(&Context::new(), &near).await.unwrap();
        counts.push(std::fs::read_to_string(dir.path().join("count")).unwrap().lines().count());
        std::fs::remove_file(dir.path().join("count")).unwrap();
    }
    assert_eq!(counts[0], counts[1], "behind other tasks it runs as often as alone");
}
