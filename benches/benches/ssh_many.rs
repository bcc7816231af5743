//! What many connections cost: 2,000 transports from one process to one SSH server of `local`, each of which runs a command and
//! stays open. Prints connections a second and memory per connection. `cargo bench -p towpath-benches --bench ssh_many`
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::time::Instant;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use towpath::local::{Local, LocalConfig};
use towpath::ssh::{Ssh, SshConfig};
use towpath::{Connector as _, Context, Exec, ExitStatus, Provisioner as _};

const CONNECTIONS: u32 = 2_000;

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

async fn measure() {
    let dir = tempfile::tempdir().unwrap();
    let cx = Context::new();
    let local = Local::new(LocalConfig::hosts(1).state_dir(dir.path().join("local"))).unwrap();
    let host = local.apply(&cx).await.unwrap().environment.inventory.hosts.remove(0);
    let before = resident_kib();
    let from = Instant::now();
    let connect = |_| {
        let (cx, host) = (cx.clone(), host.clone());
        async move {
            // A connector of its own has a transport of its own.
            let ssh = Ssh::new(SshConfig { ssh_config: Some("none".into()), ..SshConfig::default() });
            let connection = ssh.connect(&cx, &host).await?;
            let out = connection.exec(&cx, &Exec::argv(["true"])).await?;
            assert_eq!(out.status, ExitStatus::Code(0));
            Ok::<_, towpath::Error>((ssh, connection))
        }
    };
    let open: Result<Vec<_>, _> = stream::iter(0..CONNECTIONS).map(connect).buffer_unordered(64).try_collect().await;
    let seconds = from.elapsed().as_secs_f64();
    let grown = resident_kib() - before;
    let result = open.map(|open| open.len());
    local.destroy(&cx).await.unwrap();
    let open = result.unwrap_or_else(|e| panic!("{}", e.report()));
    println!(
        "{open} connections open at once, a command on each: {seconds:.2} s, {:.0} a second, {} KiB each",
        f64::from(CONNECTIONS) / seconds,
        grown / u64::from(CONNECTIONS)
    );
}

fn main() {
    towpath::init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(measure());
}
