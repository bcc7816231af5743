//! Those who do the same: each is a process that is started, timed and judged by its exit status and its own count.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use towpath_core::testkit::Sshd;

use crate::play::{self, Size};

/// What a run cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) seconds: f64,
    /// CPU of the controller, without the hosts.
    pub(crate) cpu: f64,
    pub(crate) rss_kib: u64,
}

/// The world of a run: containers, and files that name them.
pub(crate) struct World {
    pub(crate) servers: Vec<Sshd>,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) size: Size,
    /// Ports through which the hosts are reached.
    ports: Vec<u16>,
}

impl World {
    pub(crate) fn new(hosts: usize) -> Option<Self> {
        let starts: Vec<_> = (0..hosts).map(|_| std::thread::spawn(Sshd::start)).collect();
        let servers = starts.into_iter().map(|t| t.join().unwrap()).collect::<Option<Vec<_>>>()?;
        let dir = tempfile::tempdir().unwrap();
        let size = play::write(dir.path());
        let ports = servers.iter().map(|s| s.port).collect();
        let this = Self { servers, dir, size, ports };
        this.write();
        Some(this)
    }

    /// Reaches the hosts through other ports.
    pub(crate) fn through(&mut self, ports: Vec<u16>) {
        self.ports = ports;
        self.write();
    }

    fn write(&self) {
        let mut inventory = String::new();
        let mut python = String::from("hosts = [\n");
        for (i, (s, port)) in self.servers.iter().zip(&self.ports).enumerate() {
            let (key, known) = (s.key(), self.dir.path().join(format!("known-{i}")));
            let line = std::fs::read_to_string(s.known_hosts()).unwrap();
            let rest = line.split_once(' ').unwrap().1;
            std::fs::write(&known, format!("[127.0.0.1]:{port} {rest}")).unwrap();
            inventory.push_str(&format!(
                "host-{i} ansible_host=127.0.0.1 ansible_port={port} ansible_user=deploy ansible_ssh_private_key_file={} \
                 ansible_ssh_common_args='-o UserKnownHostsFile={} -o IdentitiesOnly=yes'\n",
                key.display(),
                known.display()
            ));
            python.push_str(&format!(
                "  ('host-{i}', {{'ssh_hostname': '127.0.0.1', 'ssh_port': {port}, 'ssh_user': 'deploy', 'ssh_key': '{}', \
                 'ssh_known_hosts_file': '{}', 'ssh_strict_host_key_checking': 'yes', '_sudo': True}}),\n",
                key.display(),
                known.display()
            ));
        }
        python.push_str("]\n");
        let path = |name: &str| self.dir.path().join(name);
        std::fs::write(path("hosts"), inventory).unwrap();
        std::fs::write(path("inventory.py"), python).unwrap();
        play::write_pyinfra(self.dir.path(), self.servers.len());
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// What a run is to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Changes,
    Nothing,
}

/// Runs a process and measures it.
pub(crate) fn measure(command: &mut Command) -> Result<(String, Cost), String> {
    let cpu = || {
        let used = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
        let s = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
        (s(used.user_time()) + s(used.system_time()), used.max_rss().unsigned_abs())
    };
    let before = cpu();
    let from = Instant::now();
    let out = command.stdin(Stdio::null()).output().map_err(|e| e.to_string())?;
    let seconds = from.elapsed().as_secs_f64();
    let after = cpu();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    if !out.status.success() {
        let tail: Vec<&str> = text.lines().rev().take(25).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        return Err(format!("{}: {}\n{}", out.status, String::from_utf8_lossy(&out.stderr), tail.join("\n")));
    }
    let text = text + &String::from_utf8_lossy(&out.stderr);
    Ok((text, Cost { seconds, cpu: after.0 - before.0, rss_kib: after.1 }))
}

/// Checks counts of every host: `ok`, `changed`, `failed`, `unreachable`, `skipped`.
fn judge(world: &World, wanted: Wanted, count: impl Fn(&str, &str) -> Option<usize>) -> Result<(), String> {
    for i in 0..world.servers.len() {
        let host = format!("host-{i}");
        let get = |name: &str| count(&host, name).ok_or_else(|| format!("{host}: no `{name}` in the recap"));
        let (ok, changed, skipped) = (get("ok")?, get("changed")?, get("skipped")?);
        let good = get("failed")? == 0
            && get("unreachable")? == 0
            && skipped == world.size.skipped
            && match wanted {
                // The handler of the templates is one more.
                Wanted::Changes => ok == world.size.ok + 1 && changed > 40,
                Wanted::Nothing => ok == world.size.ok && changed == 0,
            };
        if !good {
            return Err(format!("{host}: ok={ok} changed={changed} skipped={skipped}, wanted {wanted:?}"));
        }
    }
    Ok(())
}

/// ansible-playbook; with Mitogen's strategy if its plugins are given.
pub(crate) fn ansible(world: &World, bin: &Path, mitogen: Option<&Path>, wanted: Wanted) -> Result<Cost, String> {
    let mut command = Command::new(bin.join("ansible-playbook"));
    command
        .arg("-i")
        .arg(world.path("hosts"))
        .arg(world.path("site.yml"))
        .env("ANSIBLE_PIPELINING", "1")
        .env("ANSIBLE_FORKS", "10")
        .env("ANSIBLE_NOCOLOR", "1")
        .env("ANSIBLE_SSH_CONTROL_PATH_DIR", world.path("cp"))
        .env("ANSIBLE_LOCALHOST_WARNING", "0");
    if let Some(plugins) = mitogen {
        command.env("ANSIBLE_STRATEGY_PLUGINS", plugins).env("ANSIBLE_STRATEGY", "mitogen_linear");
    }
    let (text, cost) = measure(&mut command)?;
    let recap = |host: &str, name: &str| {
        let line = text.lines().rev().find(|l| l.split(' ').next() == Some(host) && l.contains("unreachable="))?;
        line.split_whitespace().find_map(|w| w.strip_prefix(name)?.strip_prefix('='))?.parse().ok()
    };
    judge(world, wanted, recap).map_err(|e| format!("{e}\n{text}"))?;
    Ok(cost)
}

pub(crate) fn pyinfra(world: &World, bin: &Path, wanted: Wanted) -> Result<Cost, String> {
    let mut command = Command::new(bin.join("pyinfra"));
    command.args(["-y", "inventory.py", "deploy.py"]).current_dir(world.dir.path());
    let (text, cost) = measure(&mut command)?;
    // Its last line of results counts hosts, changes and what was as it should be.
    let quiet = |l: &&str| l.contains("Grand total");
    let line = text.lines().rev().find(quiet).ok_or_else(|| format!("no total in\n{text}"))?;
    let clean: String = line.chars().filter(|c| c.is_ascii_digit() || *c == ' ' || *c == '-').collect();
    let counts: Vec<&str> = clean.split_whitespace().collect();
    let changed = counts.get(1).copied().unwrap_or_default();
    if (wanted == Wanted::Nothing) != (changed == "-" || changed == "0") {
        return Err(format!("wanted {wanted:?}, but it says: {line}"));
    }
    Ok(cost)
}

/// The script by hand: one cold OpenSSH client for each host, all at once, as one does it.
pub(crate) fn script(world: &World, wanted: Wanted) -> Result<Cost, String> {
    let text = play::script();
    std::fs::write(world.path("mend.sh"), &text).unwrap();
    let mut all = String::from("pids=\n");
    for (i, (s, port)) in world.servers.iter().zip(&world.ports).enumerate() {
        all.push_str(&format!(
            "ssh -F none -o BatchMode=yes -o IdentitiesOnly=yes -o UserKnownHostsFile={} -i {} -p {port} deploy@127.0.0.1 \
             'sudo -n sh -s host-{i} {}' <mend.sh & pids=\"$pids $!\"\n",
            world.path(&format!("known-{i}")).display(),
            s.key().display(),
            world.servers.len()
        ));
    }
    all.push_str("for p in $pids; do wait $p || exit 1; done\n");
    let (text, cost) = measure(Command::new("sh").arg("-c").arg(&all).current_dir(world.dir.path()))?;
    let said: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix("changed=")).collect();
    if said.len() != world.servers.len() || said.iter().any(|c| (wanted == Wanted::Nothing) != (*c == "0")) {
        return Err(format!("wanted {wanted:?}, but the script says {said:?}"));
    }
    Ok(cost)
}

/// This program again, as a process that runs the play with towpath.
pub(crate) fn towpath(world: &World, wanted: Wanted) -> Result<Cost, String> {
    let mut command = crate::role("run");
    command.arg(world.path("hosts")).arg(world.path("site.yml"));
    let (text, cost) = measure(&mut command)?;
    let said: serde_json::Value =
        serde_json::from_str(text.lines().next().unwrap_or_default()).map_err(|e| format!("{e}: {text}"))?;
    judge(world, wanted, |host, name| said["hosts"][host][name].as_u64().map(|n| n as usize))?;
    Ok(Cost { rss_kib: said["rss_kib"].as_u64().unwrap_or(0), ..cost })
}

/// Where the peers are; installed below `target/` if they are nowhere.
pub(crate) fn find() -> Result<PathBuf, String> {
    if let Some(ansible) = std::env::var_os("TOWPATH_TEST_ANSIBLE") {
        let bin = PathBuf::from(ansible).parent().map(Path::to_owned).unwrap_or_default();
        if bin.join("pyinfra").exists() {
            return Ok(bin);
        }
    }
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench-peers");
    let bin = venv.join("bin");
    if !bin.join("pyinfra").exists() {
        let _ = writeln!(std::io::stderr(), "installing the peers into {}", venv.display());
        let run = |c: &mut Command| match c.output() {
            Ok(out) if out.status.success() => Ok(()),
            Ok(out) => Err(String::from_utf8_lossy(&out.stderr).into_owned()),
            Err(e) => Err(e.to_string()),
        };
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        let packages = ["ansible-core==2.18.*", "mitogen==0.3.54", "pyinfra==3.10.0"];
        run(Command::new(bin.join("pip")).args(["install", "-q"]).args(packages))?;
    }
    Ok(bin)
}

/// The folder of Mitogen's strategies.
pub(crate) fn mitogen(bin: &Path) -> Option<PathBuf> {
    let out = Command::new(bin.join("python"))
        .args(["-c", "import ansible_mitogen, os; print(os.path.join(os.path.dirname(ansible_mitogen.__file__), 'plugins/strategy'))"])
        .output()
        .ok()?;
    out.status.success().then(|| PathBuf::from(String::from_utf8_lossy(&out.stdout).trim()))
}
