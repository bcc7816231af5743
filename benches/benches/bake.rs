//! A play of more than 50 tasks, and one of three that follows, baked into a Docker image: towpath beside Packer's docker builder
//! with its ansible provisioner, in one run on the same machine.
//!
//! Three bakes each: the first one, the same again with nothing changed, and again after a change in the second play. Packer keeps
//! nothing between builds, so each is a whole one to it. A run counts only if both images hold the same, file for file, with
//! the same owners and modes, and if towpath made no container where nothing had changed.
//!
//! Packer's ansible provisioner reaches its container through an SSH server of its own ("proxy adapter"), as the connection plugin
//! `docker` of the collection community.docker is no part of ansible-core. What it needs there: Packer 1.6 signs with SHA-1, which
//! OpenSSH 9 refuses unless `HostKeyAlgorithms` and `PubkeyAcceptedAlgorithms` are given `+ssh-rsa`; and its default
//! `sftp_command` is none of Debian's. It gets pipelining, too, which makes it as fast as it can be.
//!
//! `cargo bench -p towpath-benches --features docker --bench bake`; it needs dockerd, the image of `.ci/sshd-image`, `packer`, and
//! `ansible-playbook` as `TOWPATH_TEST_ANSIBLE` or in the path.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::indexing_slicing)]

// Of this file only the play is wanted here, not what other tools make of it.
#[allow(dead_code)]
#[path = "playbook/play.rs"]
mod play;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use towpath::docker::{DockerConnector, DockerImageBuilder, DockerImageConfig};
use towpath::playbook::Playbook;
use towpath::{ArtifactKind, Base, Configurator, Context, ImageBuilder as _, ImageDefinition};
use towpath_core::testkit::SSHD_IMAGE;

/// As often as `TOWPATH_BENCH_ROUNDS` says, of which the median counts: a round of Packer takes minutes.
fn rounds() -> usize {
    std::env::var("TOWPATH_BENCH_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(1)
}

/// What is compared of an image: contents, owners and modes; not the time that a handler writes.
const LOOK: &str = "cd / && find etc/bench srv/bench etc/app ! -name restarts -printf '%p %m %u %g %l\\n' | sort; \
                    find etc/bench srv/bench etc/app -type f ! -name restarts -exec sha256sum {} + | sort; \
                    getent passwd ann bob cid dot eve; getent group app ops data";

fn output(program: &str, args: &[&str]) -> Result<String, String> {
    let out = Command::new(program).args(args).output().map_err(|e| format!("{program}: {e}"))?;
    match out.status.success() {
        true => Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned()),
        false => Err(format!("{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr))),
    }
}

/// Writes the second play.
fn write_app(dir: &Path, version: usize) {
    let text = format!(
        "- hosts: all\n  become: yes\n  tasks:\n    - file: {{path: /etc/app, state: directory, mode: \"0755\"}}\n    \
         - copy: {{dest: /etc/app/version, content: \"{version}\\n\", mode: \"0644\"}}\n    \
         - lineinfile: {{path: /etc/app/hosts, line: \"{{{{ inventory_hostname }}}}\", create: yes, mode: \"0644\"}}\n"
    );
    std::fs::write(dir.join("app.yml"), text).unwrap();
}

/// One bake: how long, and the image.
type Baked = Result<(Duration, String), String>;

fn towpath(runtime: &tokio::runtime::Runtime, dir: &Path, name: &str) -> Baked {
    let began = Instant::now();
    let plays = ["site.yml", "app.yml"].map(|file| {
        let playbook = Playbook::new(Playbook::file(file), dir).unwrap_or_else(|e| panic!("{}", e.report()));
        Arc::new(playbook) as Arc<dyn Configurator>
    });
    let image = ImageDefinition {
        name: name.to_owned(),
        base: Base::Image(SSHD_IMAGE.to_owned()),
        configure: plays.to_vec(),
        artifacts: vec![ArtifactKind::DockerImage],
        connector: Arc::new(DockerConnector::default()),
        labels: BTreeMap::new(),
    };
    let builder = DockerImageBuilder::new(DockerImageConfig::default()).unwrap();
    let built = runtime.block_on(builder.build(&Context::new(), &image)).map_err(|e| e.report())?;
    Ok((began.elapsed(), built.artifacts[0].id.clone()))
}

fn packer(dir: &Path, ansible: &str, name: &str) -> Baked {
    let provisioner = |play: &str| {
        let ssh = "-o ControlMaster=no -o IdentitiesOnly=yes -o HostKeyAlgorithms=+ssh-rsa -o PubkeyAcceptedAlgorithms=+ssh-rsa";
        json!({
            "type": "ansible", "command": ansible, "playbook_file": dir.join(play), "user": "root", "host_alias": name,
            "sftp_command": "/usr/lib/openssh/sftp-server -e",
            "ansible_env_vars": ["ANSIBLE_HOST_KEY_CHECKING=False", "ANSIBLE_PIPELINING=True", format!("ANSIBLE_SSH_ARGS={ssh}")],
            "extra_arguments": ["-e", "ansible_python_interpreter=/usr/bin/python3"],
        })
    };
    let template = json!({
        "builders": [{
            "type": "docker", "image": SSHD_IMAGE, "commit": true, "pull": false,
            "run_command": ["-d", "-i", "-t", "--entrypoint=/bin/sh", "{{.Image}}"],
        }],
        "provisioners": [provisioner("site.yml"), provisioner("app.yml")],
    });
    let file = dir.join("packer.json");
    std::fs::write(&file, template.to_string()).unwrap();
    let began = Instant::now();
    let out = Command::new("packer")
        .args(["build", "-machine-readable"])
        .arg(&file)
        .env("CHECKPOINT_DISABLE", "1")
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("packer: {e}"))?;
    let took = began.elapsed();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    if !out.status.success() {
        return Err(text);
    }
    let mut ids = text.lines().filter_map(|l| l.split_once(",artifact,0,id,"));
    let id = ids.next_back().map(|(_, id)| id.trim().to_owned());
    id.map(|id| (took, id)).ok_or(text)
}

/// The three bakes of one tool, and what is in the last image.
struct Bakes {
    times: [Duration; 3],
    holds: String,
    images: Vec<String>,
}

fn bakes(dir: &Path, mut bake: impl FnMut() -> Baked) -> Result<Bakes, String> {
    write_app(dir, 1);
    let first = bake()?;
    let nothing = bake()?;
    write_app(dir, 2);
    let late = bake()?;
    let holds = output("docker", &["run", "--rm", "--entrypoint", "sh", &late.1, "-c", LOOK])?;
    Ok(Bakes { times: [first.0, nothing.0, late.0], holds, images: vec![late.1, nothing.1, first.1] })
}

/// Temporary containers that this process has made so far.
fn containers(since: &str) -> Result<usize, String> {
    let now = output("docker", &["info", "--format", "{{.SystemTime}}"])?;
    let filters = ["--filter", "event=create", "--filter", "label=towpath.build"];
    let format = ["--format", "{{.Actor.Attributes.name}}"];
    let events =
        output("docker", &[&["events", "--since", since, "--until", &now], &filters[..], &format[..]].concat())?;
    let own = format!("-{}-", std::process::id());
    Ok(events.lines().filter(|name| name.contains(&own)).count())
}

fn round(
    runtime: &tokio::runtime::Runtime,
    ansible: Option<&str>,
    round: usize,
) -> Result<(Bakes, Option<Bakes>), String> {
    // A name of its own, which is part of the keys: nothing is kept of an earlier round.
    let name = format!("bench-bake-{}-{round}", std::process::id());
    let dir = tempfile::tempdir().unwrap();
    play::write(dir.path());
    let began = output("docker", &["info", "--format", "{{.SystemTime}}"])?;
    let mut made = Vec::new();
    let bake = || {
        let baked = towpath(runtime, dir.path(), &name).inspect(|(took, _)| println!("towpath {took:.2?}"));
        made.push(containers(&began)?);
        baked
    };
    let ours = bakes(dir.path(), bake)?;
    // One for each play and one for what the image says.
    if made != [3, 3, 5] {
        return Err(format!("{made:?} containers were made after each bake, not 3, 3 and 5"));
    }
    let theirs = match ansible {
        Some(ansible) => Some(bakes(dir.path(), || {
            packer(dir.path(), ansible, &name).inspect(|(took, _)| println!("packer  {took:.2?}"))
        })?),
        None => None,
    };
    for image in theirs.iter().chain([&ours]).flat_map(|b| &b.images) {
        // Those that are one and the same are gone with the first of them.
        let _ = output("docker", &["rmi", "-f", image]);
    }
    if let Some(theirs) = theirs.as_ref().filter(|t| t.holds != ours.holds) {
        return Err(format!("the images differ:\n{}\n--- Packer's:\n{}", ours.holds, theirs.holds));
    }
    Ok((ours, theirs))
}

fn median(mut all: Vec<Duration>) -> Option<f64> {
    all.sort();
    all.get(all.len() / 2).map(Duration::as_secs_f64)
}

fn main() {
    if let Err(e) = output("docker", &["image", "inspect", SSHD_IMAGE]) {
        println!("NOT RUN: Docker: install docker.io and debootstrap, start dockerd, run .ci/sshd-image: {e}");
        return;
    }
    let ansible = std::env::var("TOWPATH_TEST_ANSIBLE").unwrap_or_else(|_| "ansible-playbook".to_owned());
    let missing =
        [("packer", "version"), (ansible.as_str(), "--version")].map(|(tool, say)| output(tool, &[say]).err());
    let theirs = match missing.into_iter().flatten().next() {
        Some(e) => {
            println!("NOT RUN: Packer with Ansible: install packer and ansible-core: {e}");
            None
        }
        None => Some(ansible.as_str()),
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut counted = Vec::new();
    for n in 0..rounds() {
        match round(&runtime, theirs, n) {
            Ok(both) => counted.push(both),
            Err(e) => println!("NOT COUNTED: {e}"),
        }
    }
    println!("\nbake a play of 50 tasks and one of 3 into a Docker image, median of {} rounds", counted.len());
    println!("{:<28}{:>12}{:>12}{:>10}", "", "towpath s", "packer s", "ratio");
    for (n, what) in ["first bake", "again, nothing changed", "again, second play changed"].into_iter().enumerate() {
        let ours = median(counted.iter().map(|(o, _)| o.times[n]).collect());
        let theirs = median(counted.iter().filter_map(|(_, t)| Some(t.as_ref()?.times[n])).collect());
        let show = |s: Option<f64>| s.map_or("-".to_owned(), |s| format!("{s:.2}"));
        let ratio = theirs.zip(ours).map_or("-".to_owned(), |(t, o)| format!("{:.1}x", t / o));
        println!("{what:<28}{:>12}{:>12}{ratio:>10}", show(ours), show(theirs));
    }
}
