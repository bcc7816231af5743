use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use towpath::aws::{AwsImageBuilder, AwsImageConfig};
use towpath::pipeline::Engine;
use towpath_core::testkit::{Moto, Sshd};

/// What the tests' secret key is.
pub(crate) const SECRET: &str = "a-secret-key-of-the-tests";

/// moto, and a container that stands for every instance.
pub(crate) struct Aws {
    pub(crate) moto: Moto,
    pub(crate) sshd: Arc<Sshd>,
    /// Some AMI that moto has.
    pub(crate) base: String,
    ended: Arc<AtomicBool>,
}

impl Drop for Aws {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
    }
}

impl Aws {
    pub(crate) fn start() -> Option<Self> {
        let sshd = Arc::new(Sshd::start()?);
        let moto = Moto::start()?;
        let base = moto.ask("print(ec2().describe_images()['Images'][0]['ImageId'])");
        let ended = Arc::new(AtomicBool::new(false));
        let (over, host) = (Arc::clone(&ended), Arc::clone(&sshd));
        // As cloud-init would on an instance that is started with a key pair.
        std::thread::spawn(move || {
            let mut known = Vec::new();
            while !over.load(Ordering::SeqCst) {
                install_keys(&host, &mut known);
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        Some(Self { moto, sshd, base, ended })
    }

    /// Settings of the builder, against this endpoint.
    pub(crate) fn config(&self, endpoint: &str) -> Value {
        json!({
            "client": {
                "region": "us-east-1", "endpoint_url": endpoint, "max_attempts": 1,
                "credentials": {"access_key_id": {"command": ["echo", "AKIATESTTESTTEST"]}, "secret_access_key": {"command": ["echo", SECRET]}},
            },
            "ssh_from": ["127.0.0.0/8"],
            "connection": {
                "kind": "ssh", "address": "127.0.0.1", "port": self.sshd.port, "user": "deploy",
                "options": {"known_hosts": self.sshd.known_hosts()},
            },
            "wait": {"timeout_s": 60, "poll_ms": 20},
        })
    }

    pub(crate) fn builder(&self, config: Value) -> AwsImageBuilder {
        let config: AwsImageConfig = serde_json::from_value(config).unwrap();
        AwsImageBuilder::new(config).unwrap()
    }

    /// Everything that a build has made and that lives, as moto tells it: a line for each.
    pub(crate) fn left(&self) -> Vec<String> {
        let python = r"
e = ec2()
for r in e.describe_instances()['Reservations']:
    for i in r['Instances']:
        if i['State']['Name'] != 'terminated': print('instance', i['InstanceId'])
for k in e.describe_key_pairs()['KeyPairs']: print('key', k['KeyName'])
for g in e.describe_security_groups()['SecurityGroups']:
    if g['GroupName'] != 'default': print('group', g['GroupId'])
for v in e.describe_volumes()['Volumes']: print('volume', v['VolumeId'], v['State'])
used = set()
for i in e.describe_images(Owners=['self'])['Images']:
    tags = {t['Key']: t['Value'] for t in i.get('Tags', [])}
    used |= {m['Ebs']['SnapshotId'] for m in i['BlockDeviceMappings'] if 'Ebs' in m}
    print('ami', tags.get('towpath:state'), i['ImageId'])
for s in e.describe_snapshots(OwnerIds=['self'])['Snapshots']:
    if 'CreateImage' in s['Description'] and s['SnapshotId'] not in used: print('snapshot', s['SnapshotId'])
";
        self.moto.ask(python).lines().map(str::to_owned).collect()
    }
}

fn folders() -> Vec<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(|d| PathBuf::from(d).join("towpath-aws"));
    let user = String::from_utf8(Command::new("id").arg("-u").output().unwrap().stdout).unwrap();
    runtime.into_iter().chain([std::env::temp_dir().join(format!("towpath-aws-{}", user.trim()))]).collect()
}

/// Temporary private keys on this machine.
pub(crate) fn key_files() -> Vec<PathBuf> {
    let entries = folders().into_iter().filter_map(|d| std::fs::read_dir(d).ok()).flatten().flatten();
    entries
        .map(|e| e.path())
        .filter(|p| p.file_name().unwrap().to_string_lossy().starts_with("towpath-bake-"))
        .collect()
}

fn install_keys(host: &Sshd, known: &mut Vec<PathBuf>) {
    for file in key_files() {
        if known.contains(&file) {
            continue;
        }
        // It may be gone again.
        let Some(public) = public_key(&file) else { continue };
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        host.sh(&format!("echo '{public} {name}' >>/home/deploy/.ssh/authorized_keys"));
        known.push(file);
    }
}

fn public_key(file: &Path) -> Option<String> {
    let out = Command::new("ssh-keygen").args(["-y", "-f"]).arg(file).output().ok()?;
    let text = String::from_utf8(out.stdout).ok()?;
    let mut words = text.split_whitespace();
    out.status.success().then(|| format!("{} {}", words.next().unwrap_or_default(), words.next().unwrap_or_default()))
}

pub(crate) async fn engine(dir: &Path) -> Engine {
    let store = towpath::open_store(&format!("sqlite:{}", dir.join("store.db").display())).await.unwrap();
    Engine::new(Arc::new(towpath::registry()), store)
}
