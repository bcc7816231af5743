//! A release rolled over three hosts behind HAProxy, one at a time, by towpath and by an Ansible play with `serial: 1` that does the
//! same by hand: drain, wait until idle, copy, link, restart, wait until healthy, back to service. Both in one run, on the same hosts, by turns.
//!
//! A round counts only if all three hosts serve the new version afterwards. Ansible is as fast as it can be made: pipelining, a
//! connection that is kept, no facts.
//!
//! `cargo bench -p towpath-benches --bench rollout`; it needs dockerd, the image of `.ci/sshd-image`, `haproxy`, and `ansible-playbook`
//! as `TOWPATH_TEST_ANSIBLE` or in the path. As often as `TOWPATH_BENCH_ROUNDS` says, 3 by default, of which the median counts.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::indexing_slicing)]

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use towpath::haproxy::{HaProxy, HaProxyConfig};
use towpath::local::{LocalMonitor, LocalMonitorConfig};
use towpath::rollout::{Rolling, Rollout, RolloutOutcome};
use towpath::ssh::{ReleaseDirs, ReleaseDirsConfig, Ssh, SshConfig};
use towpath::{Artifact, Backend, Balancer as _, Check, CheckProbe, Context, Gate, Inventory, Release, Targets};
use towpath_core::testkit::Sshd;

/// The service: its version stands beside it. It listens as soon as it can, and ends at once.
const SERVICE: &str = r#"#!/usr/bin/python3
import http.server, os, socketserver
version = os.environ["VERSION"].encode()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", str(len(version))); self.end_headers(); self.wfile.write(version)
    def log_message(self, *args): pass
class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True; allow_reuse_address = True; request_queue_size = 128
Server(("", 8080), Handler).serve_forever()
"#;

const WEBCTL: &str = r#"#!/bin/sh
p=$(cat /srv/web/pid 2>/dev/null)
case $1 in
    status) [ -n "$p" ] && kill -0 "$p" 2>/dev/null; exit ;;
esac
[ -z "$p" ] || { kill "$p" 2>/dev/null; while kill -0 "$p" 2>/dev/null; do sleep 0.01; done; }
set -a; . /srv/web/current/env; set +a
cd /srv/web/current && setsid ./web >/dev/null 2>&1 </dev/null &
echo $! >/srv/web/pid
"#;

/// What a person would write. `hap.py` says one command to HAProxy's socket.
const PLAY: &str = r#"
- hosts: web
  serial: 1
  gather_facts: false
  become: true
  tasks:
    - name: Drain
      command: ./hap.py "set server web/{{ inventory_hostname }} state drain"
      delegate_to: localhost
      become: false
    - name: Wait until idle
      command: ./hap.py sessions {{ inventory_hostname }}
      delegate_to: localhost
      become: false
      register: sessions
      until: sessions.stdout == "0"
      retries: 100
      delay: 0.05
    - file: {path: "/srv/web/releases/{{ version }}", state: directory, mode: "0755"}
    - copy: {src: web, dest: "/srv/web/releases/{{ version }}/web", mode: "0755"}
    - copy: {content: "VERSION={{ version }}\n", dest: "/srv/web/releases/{{ version }}/env", mode: "0644"}
    - file: {src: "releases/{{ version }}", dest: /srv/web/current, state: link, force: true}
    - command: /opt/webctl restart
    - name: Wait until healthy
      uri: {url: "http://127.0.0.1:8080/", return_content: true}
      register: answer
      until: answer.content | default('') == version
      retries: 100
      delay: 0.05
    - name: Back to service
      command: ./hap.py "set server web/{{ inventory_hostname }} state ready"
      delegate_to: localhost
      become: false
"#;

const HAP: &str = r#"#!/usr/bin/env python3
import socket, sys
def ask(text):
    s = socket.socket(socket.AF_UNIX); s.connect("admin.sock"); s.sendall(text.encode() + b"\n")
    out = b""
    while part := s.recv(65536): out += part
    return out.decode()
if sys.argv[1] == "sessions":
    print(next(l.split(",")[4] for l in ask("show stat").splitlines() if l.startswith(f"web,{sys.argv[2]},")))
else:
    out = ask(sys.argv[1]).strip()
    sys.exit(out or 0)
"#;

fn executable(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// HAProxy, ended on drop.
struct HaProxyProcess(Child);

impl Drop for HaProxyProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Site {
    dir: tempfile::TempDir,
    hosts: Vec<(Sshd, String)>,
    inventory: Inventory,
    _haproxy: HaProxyProcess,
}

impl Site {
    fn start() -> Result<Self, String> {
        let dir = tempfile::tempdir().unwrap();
        let mut hosts = Vec::new();
        for _ in 0..3 {
            let sshd = Sshd::start().ok_or("no containers")?;
            let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
            let out = Command::new("docker").args(["inspect", "-f", format, &sshd.id]).output().unwrap();
            let address = String::from_utf8_lossy(&out.stdout).trim().to_owned();
            sshd.sh(&format!("mkdir -p /srv/web; cat >/opt/webctl <<'E'\n{WEBCTL}E\nchmod 755 /opt/webctl"));
            hosts.push((sshd, address));
        }
        executable(&dir.path().join("hap.py"), HAP);
        executable(&dir.path().join("web"), SERVICE);
        std::fs::write(dir.path().join("play.yml"), PLAY).unwrap();
        let mut inventory = Inventory::default();
        let mut text = String::from("[web]\n");
        for (n, (sshd, address)) in hosts.iter().enumerate() {
            let mut host = sshd.host(&format!("web-{n}"));
            host.connection.r#become = Some(towpath::BecomeSpec { user: "root".into(), ..Default::default() });
            host.vars.insert("address".into(), address.clone().into());
            let line = format!(
                "web-{n} ansible_host=127.0.0.1 ansible_port={} ansible_user=deploy ansible_ssh_private_key_file={} \
                 ansible_ssh_common_args='-o UserKnownHostsFile={} -o ControlMaster=auto -o ControlPersist=60'",
                sshd.port,
                sshd.key().display(),
                sshd.known_hosts().display()
            );
            let _ = writeln!(text, "{line} ansible_python_interpreter=/usr/bin/python3");
            inventory.hosts.push(host);
        }
        std::fs::write(dir.path().join("hosts"), text).unwrap();
        let haproxy = Self::haproxy(dir.path(), &hosts)?;
        Ok(Self { dir, hosts, inventory, _haproxy: haproxy })
    }

    fn haproxy(dir: &Path, hosts: &[(Sshd, String)]) -> Result<HaProxyProcess, String> {
        let servers: String =
            hosts.iter().enumerate().map(|(n, (_, a))| format!("    server web-{n} {a}:8080\n")).collect();
        let config = format!(
            "global\n    stats socket {}/admin.sock mode 600 level admin\ndefaults\n    mode http\n    timeout connect 2s\n    \
             timeout client 30s\n    timeout server 10s\nbackend web\n    balance roundrobin\n{servers}",
            dir.display()
        );
        std::fs::write(dir.join("haproxy.cfg"), config).unwrap();
        let child = Command::new("haproxy")
            .args(["-db", "-f"])
            .arg(dir.join("haproxy.cfg"))
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("haproxy: {e}: apt-get install haproxy"))?;
        let until = Instant::now() + Duration::from_secs(10);
        while !dir.join("admin.sock").exists() {
            if Instant::now() > until {
                return Err("haproxy does not start".into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(HaProxyProcess(child))
    }

    /// What each host answers.
    fn versions(&self) -> Vec<String> {
        let ask = |address: &String| {
            let mut stream = TcpStream::connect((address.as_str(), 8080)).ok()?;
            stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
            let mut out = String::new();
            stream.read_to_string(&mut out).ok()?;
            out.rsplit("\r\n").next().map(str::to_owned)
        };
        self.hosts.iter().map(|(_, address)| ask(address).unwrap_or_default()).collect()
    }

    async fn towpath(&self, version: &str) -> Result<Duration, String> {
        let began = Instant::now();
        let ssh = Ssh::new(SshConfig { ssh_config: Some("none".into()), ..SshConfig::default() });
        let store = towpath::open_store(&format!("sqlite:{}", self.dir.path().join("store.db").display())).await;
        let cx = Context::builder().store(store.map_err(|e| e.report())?).build();
        let socket = self.dir.path().join("admin.sock").display().to_string();
        let haproxy = HaProxyConfig { socket, ..HaProxyConfig::new("web") };
        let probe =
            CheckProbe::Http { port: 8080.into(), path: "/".into(), status: 200, contains: Some(version.to_owned()) };
        let health = Gate::of(vec![Check { name: "up".into(), probe, timeout_s: 2.0 }]);
        let health = Gate { interval_s: 0.05, start_period_s: 2.0, ..health };
        let strategy =
            Rolling::batches_of(1).behind(haproxy.clone()).monitor(LocalMonitorConfig::default()).health(health);
        let deployer = ReleaseDirsConfig {
            file_name: Some("web".into()),
            ..ReleaseDirsConfig::new("/srv/web").restart(["/opt/webctl", "restart"]).running(["/opt/webctl", "status"])
        };
        let release = Release {
            service: "web".into(),
            version: version.into(),
            artifact: Some(Artifact::of_file("web", self.dir.path().join("web")).map_err(|e| e.report())?),
            env: [("VERSION".to_owned(), version.to_owned())].into(),
        };
        let targets = Targets::new(self.inventory.clone(), Arc::new(ssh));
        let report = Rollout::new(Arc::new(ReleaseDirs::new(deployer)), strategy)
            .balancer(Arc::new(HaProxy::new(haproxy).map_err(|e| e.report())?))
            .monitor(Arc::new(LocalMonitor::new(LocalMonitorConfig::default())))
            .run(&cx, &release, &targets)
            .await
            .map_err(|e| e.report())?;
        match report.outcome {
            RolloutOutcome::Deployed => Ok(began.elapsed()),
            other => Err(format!("{other:?}: {:?}", report.reason)),
        }
    }

    fn ansible(&self, ansible: &str, version: &str) -> Result<Duration, String> {
        let began = Instant::now();
        let out = Command::new(ansible)
            .current_dir(self.dir.path())
            .args(["-i", "hosts", "-e", &format!("version={version}"), "play.yml"])
            .envs([("ANSIBLE_PIPELINING", "True"), ("ANSIBLE_NOCOLOR", "1")])
            .stdin(Stdio::null())
            .output()
            .map_err(|e| format!("{ansible}: {e}"))?;
        let took = began.elapsed();
        if out.status.success() { Ok(took) } else { Err(String::from_utf8_lossy(&out.stdout).into_owned()) }
    }
}

fn median(mut all: Vec<Duration>) -> f64 {
    all.sort();
    all[all.len() / 2].as_secs_f64()
}

async fn measure(ansible: &str) -> Result<(), String> {
    let site = Site::start()?;
    let rounds: usize = std::env::var("TOWPATH_BENCH_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(3);
    let check = |version: &str| match site.versions() {
        all if all.iter().all(|v| v == version) => Ok(()),
        all => Err(format!("{version} does not run everywhere: {all:?}")),
    };
    // Something runs before anybody is measured.
    site.towpath("v0").await?;
    check("v0")?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let (own, other) = (format!("t{round}"), format!("a{round}"));
        ours.push(site.towpath(&own).await?);
        check(&own)?;
        theirs.push(site.ansible(ansible, &other)?);
        check(&other)?;
        println!("round {round}: towpath {:.2?}, ansible {:.2?}", ours[round], theirs[round]);
    }
    // Both go through the same balancer.
    let names: Vec<String> = (0..3).map(|n| format!("web-{n}")).collect();
    let haproxy = HaProxy::new(HaProxyConfig {
        socket: site.dir.path().join("admin.sock").display().to_string(),
        ..HaProxyConfig::new("web")
    });
    let serving = haproxy.map_err(|e| e.report())?.backends(&Context::new()).await.map_err(|e| e.report())?;
    assert!(serving.iter().map(|b| &b.backend).all(|Backend { name, .. }| names.contains(name)));
    let (ours, theirs) = (median(ours), median(theirs));
    println!("three hosts, one at a time, median of {rounds}:");
    println!("  towpath                      {ours:.2} s");
    println!("  ansible-playbook, serial: 1  {theirs:.2} s");
    println!("  ratio                        {:.1}x", theirs / ours);
    Ok(())
}

fn main() {
    let ansible = std::env::var("TOWPATH_TEST_ANSIBLE").unwrap_or_else(|_| "ansible-playbook".to_owned());
    for (tool, say) in [("haproxy", "-v"), (ansible.as_str(), "--version"), ("docker", "info")] {
        if !Command::new(tool).arg(say).output().is_ok_and(|out| out.status.success()) {
            println!(
                "NOT RUN: bench rollout: {tool} is missing: apt-get install haproxy docker.io, pip install ansible-core"
            );
            return;
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    if let Err(e) = runtime.block_on(measure(&ansible)) {
        println!("FAILED: {e}");
        std::process::exit(1);
    }
}
