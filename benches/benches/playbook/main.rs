//! A play of more than 50 tasks and 70 things on the target, with sudo: towpath beside ansible-core with pipelining, Mitogen,
//! pyinfra and a script by hand, in one run on the same machine. Everything changes, then nothing does; 10 hosts, one host, one
//! host 20 ms away; and towpath alone with 1,000 hosts that one other process serves.
//!
//! A run counts only with exit status 0 and the right recap on every host, and `ansible-playbook` says of what towpath left
//! that nothing has changed. Peers that are missing are installed below `target/`.
//! `cargo bench -p towpath-benches --bench playbook`; `TOWPATH_BENCH_ONLY=towpath,script` and `TOWPATH_BENCH_PARTS=ten,one,far,many` choose.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::indexing_slicing)]

mod peers;
mod play;
mod proxy;
mod run;
mod server;

use std::process::Command;
use std::time::Duration;

use peers::{Cost, Wanted, World};

const ROLE: &str = "TOWPATH_BENCH_ROLE";
const ROUNDS: usize = 5;

/// This program in another role.
fn role(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(ROLE, name);
    command
}

fn chosen(variable: &str, name: &str) -> bool {
    std::env::var(variable).map_or(true, |list| list.split(',').any(|n| n == name))
}

/// A line of the table: who, and what the runs cost.
type Line = (&'static str, Option<Cost>, Option<Cost>);

fn print(title: &str, hosts: usize, lines: &[Line]) {
    let find = |who: &str| lines.iter().find(|l| l.0 == who);
    let ours = find("towpath");
    println!("\n{title}");
    println!(
        "{:<22}{:>12}{:>10}{:>12}{:>10}{:>14}{:>10}",
        "", "first run s", "ratio", "nothing s", "ratio", "cpu s/host", "MB"
    );
    for (who, first, nothing) in lines {
        let time = |c: &Option<Cost>| c.map_or("-".to_owned(), |c| format!("{:.2}", c.seconds));
        let ratio = |theirs: &Option<Cost>, ours: Option<Cost>| match (theirs, ours) {
            (Some(t), Some(o)) => format!("{:.1}x", t.seconds / o.seconds),
            _ => "-".to_owned(),
        };
        println!(
            "{who:<22}{:>12}{:>10}{:>12}{:>10}{:>14}{:>10}",
            time(first),
            ratio(first, ours.and_then(|o| o.1)),
            time(nothing),
            ratio(nothing, ours.and_then(|o| o.2)),
            nothing.map_or("-".to_owned(), |c| format!("{:.3}", c.cpu / hosts as f64)),
            nothing.map_or("-".to_owned(), |c| format!("{:.0}", c.rss_kib as f64 / 1024.0)),
        );
    }
}

fn median(mut all: Vec<Cost>) -> Option<Cost> {
    all.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    all.get(all.len() / 2).copied()
}

/// Prints why something does not count.
fn counted<T>(who: &str, result: Result<T, String>) -> Option<T> {
    result.map_err(|e| println!("NOT COUNTED: {who}: {e}")).ok()
}

/// Everyone on so many hosts, each on fresh containers. `far` is a round-trip time.
fn compare(title: &str, hosts: usize, far: Option<Duration>, runtime: &tokio::runtime::Runtime) {
    let bin = peers::find();
    let mut lines: Vec<Line> = Vec::new();
    let mut all: Vec<&'static str> = vec!["towpath", "script by hand"];
    match &bin {
        Ok(_) => all.extend(["pyinfra", "mitogen", "ansible-core"]),
        Err(e) => {
            println!("NOT RUN: ansible-core, mitogen, pyinfra: they can't be installed with python3-venv and pip: {e}")
        }
    }
    for who in all {
        if !chosen("TOWPATH_BENCH_ONLY", who.split(' ').next().unwrap()) {
            continue;
        }
        let Some(mut world) = World::new(hosts) else { return };
        if let Some(rtt) = far {
            let ports: Vec<u16> = world.servers.iter().map(|s| s.port).collect();
            world.through(ports.into_iter().map(|p| runtime.block_on(proxy::start(p, rtt))).collect());
        }
        let bin = bin.clone().unwrap_or_default();
        let mitogen = peers::mitogen(&bin);
        let go = |wanted: Wanted| match who {
            "towpath" => peers::towpath(&world, wanted),
            "script by hand" => peers::script(&world, wanted),
            "pyinfra" => peers::pyinfra(&world, &bin, wanted),
            "mitogen" => match &mitogen {
                Some(plugins) => peers::ansible(&world, &bin, Some(plugins), wanted),
                None => Err("its plugins are not there".into()),
            },
            _ => peers::ansible(&world, &bin, None, wanted),
        };
        let first = counted(who, go(Wanted::Changes));
        // Only the quick ones are worth a median.
        let rounds = if matches!(who, "towpath" | "script by hand") { ROUNDS } else { 1 };
        let nothing: Vec<Cost> = (0..rounds).filter_map(|_| counted(who, go(Wanted::Nothing))).collect();
        let nothing = if nothing.len() == rounds { median(nothing) } else { None };
        lines.push((who, first, nothing));
        if who == "towpath" && far.is_none() && first.is_some() {
            counted("the script by hand finds nothing to do after towpath", peers::script(&world, Wanted::Nothing));
            if bin.join("ansible-playbook").exists() && chosen("TOWPATH_BENCH_ONLY", "ansible-core") {
                let after = peers::ansible(&world, &bin, None, Wanted::Nothing);
                if counted("ansible-playbook finds nothing to do after towpath", after).is_some() {
                    println!("{title}: ansible-playbook reports changed=0 after towpath on {hosts} hosts");
                }
            }
        }
    }
    let size = play::site().1;
    print(&format!("{title}; {} tasks, {} items on each host", size.tasks, size.items), hosts, &lines);
}

fn many() {
    let mut before: Option<(usize, Cost)> = None;
    println!("\nmany hosts, one process serves them, 19 tasks: seconds and CPU of the controller per host");
    println!("{:>8}{:>14}{:>14}{:>14}{:>16}", "hosts", "first ms/host", "nothing ms/h", "cpu ms/host", "KiB/host more");
    for hosts in [10, 100, 1000] {
        let servers = run::Many::start();
        let Some((first, nothing)) = counted("many hosts", servers.run(hosts)) else { return };
        let each = |s: f64| s * 1000.0 / hosts as f64;
        let more = before.map_or("-".to_owned(), |(n, c)| {
            format!("{}", (nothing.rss_kib.saturating_sub(c.rss_kib)) / (hosts - n) as u64)
        });
        println!(
            "{hosts:>8}{:>14.1}{:>14.1}{:>14.1}{more:>16}",
            each(first.seconds),
            each(nothing.seconds),
            each(nothing.cpu)
        );
        before = before.or(Some((hosts, nothing)));
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    match std::env::var(ROLE).as_deref() {
        Ok("run") => {
            run::more_files();
            let forks = args.get(3).and_then(|n| n.parse().ok()).unwrap_or(10);
            return runtime.block_on(run::run(&args[1], &args[2], forks));
        }
        Ok("serve") => {
            run::more_files();
            return runtime.block_on(server::run(&args[1], &args[2]));
        }
        _ => {}
    }
    if chosen("TOWPATH_BENCH_PARTS", "ten") {
        compare("10 hosts", 10, None, &runtime);
    }
    if chosen("TOWPATH_BENCH_PARTS", "one") {
        compare("1 host", 1, None, &runtime);
    }
    if chosen("TOWPATH_BENCH_PARTS", "far") {
        compare("1 host, 20 ms round trip", 1, Some(Duration::from_millis(20)), &runtime);
    }
    if chosen("TOWPATH_BENCH_PARTS", "many") {
        many();
    }
}
