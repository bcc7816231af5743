//! Connect and run one script on 10 OpenSSH containers, cold: towpath beside 10 OpenSSH clients that do the same at once.
//!
//! Both check the host key against a `known_hosts` file and log in with an Ed25519 key; nothing is connected before, and the
//! clients' time includes that they are started, since that is how one uses them. Prints the median of the rounds, taken in
//! turns, and the ratio. `cargo bench -p towpath-benches --bench ssh_connect`
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use futures::future::join_all;
use towpath::ssh::{Ssh, SshConfig};
use towpath::{Connector as _, Context, Exec, ExitStatus};
use towpath_core::testkit::Sshd;

const HOSTS: usize = 10;
const ROUNDS: usize = 9;
const SCRIPT: &str = "uname -s; id -un; cat /etc/os-release | wc -l";

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times.get(times.len() / 2).unwrap().as_secs_f64()
}

async fn towpath(servers: &[Sshd]) {
    let ssh = Ssh::new(SshConfig { ssh_config: Some("none".into()), ..SshConfig::default() });
    let cx = Context::new();
    let all = servers.iter().enumerate().map(|(i, server)| {
        let (ssh, cx, host) = (&ssh, &cx, server.host(&format!("host-{i}")));
        async move {
            let connection = ssh.connect(cx, &host).await.unwrap();
            let out = connection.exec(cx, &Exec::script(SCRIPT)).await.unwrap();
            assert_eq!(out.status, ExitStatus::Code(0), "{}", out.stderr_text());
            assert!(out.stdout_text().starts_with("Linux\ndeploy"), "{}", out.stdout_text());
        }
    });
    join_all(all).await;
}

fn openssh(servers: &[Sshd]) {
    let clients: Vec<_> = servers
        .iter()
        .map(|server| {
            Command::new("ssh")
                .args([
                    "-F",
                    "none",
                    "-o",
                    "BatchMode=yes",
                    "-o",
                    "IdentitiesOnly=yes",
                    "-o",
                    "StrictHostKeyChecking=yes",
                    "-o",
                ])
                .arg(format!("UserKnownHostsFile={}", server.known_hosts().display()))
                .arg("-i")
                .arg(server.key())
                .args(["-p", &server.port.to_string(), "deploy@127.0.0.1", SCRIPT])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for client in clients {
        let out = client.wait_with_output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        assert!(out.stdout.starts_with(b"Linux\ndeploy"));
    }
}

fn main() {
    let Some(servers) = (0..HOSTS).map(|_| Sshd::start()).collect::<Option<Vec<_>>>() else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let from = Instant::now();
        runtime.block_on(towpath(&servers));
        ours.push(from.elapsed());
        let from = Instant::now();
        openssh(&servers);
        theirs.push(from.elapsed());
    }
    let (ours, theirs) = (median(ours), median(theirs));
    println!(
        "{HOSTS} hosts, cold, median of {ROUNDS}: towpath {ours:.3} s, OpenSSH {theirs:.3} s, ratio {:.2}",
        theirs / ours
    );
}
