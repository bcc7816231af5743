use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};
use towpath::aws::{AwsImageBuilder, AwsImageConfig};
use towpath::pipeline::Engine;
use towpath_core::testkit::{HttpReply, HttpRequest, Moto, Sshd, forward_http};

/// What the tests' secret key is.
pub(crate) const SECRET: &str = "a-secret-key-of-the-tests";

/// moto, and a container that stands for every instance.
pub(crate) struct Aws {
    pub(crate) moto: Moto,
    pub(crate) sshd: Arc<Sshd>,
    /// Some AMI that moto has.
    pub(crate) base: String,
    ended: Arc<AtomicBool>,
    /// Puts keys into the container.
    keys: Option<JoinHandle<()>>,
}

impl Drop for Aws {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // It holds the container, which would outlive a process that ends now.
        if let Some(keys) = self.keys.take() {
            let _ = keys.join();
        }
    }
}

impl Aws {
    pub(crate) fn start() -> Option<Self> {
        let sshd = Arc::new(Sshd::start()?);
        let moto = Moto::start()?;
        let ended = Arc::new(AtomicBool::new(false));
        let (over, host, port) = (Arc::clone(&ended), Arc::clone(&sshd), moto.port);
        // As cloud-init would on each instance that is started with a key pair; all of them are the same container here.
        let keys = std::thread::spawn(move || {
            let mut known = Vec::new();
            while !over.load(Ordering::SeqCst) {
                install_keys(&host, port, &mut known);
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        let mut this = Self { moto, sshd, base: String::new(), ended, keys: Some(keys) };
        this.base = values(&this.ec2("Action=DescribeImages"), "imageId").remove(0);
        Some(this)
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

    /// What EC2 answers.
    pub(crate) fn ec2(&self, form: &str) -> String {
        ask(self.moto.port, form).expect(form)
    }

    /// Empties moto.
    pub(crate) fn reset(&self) {
        let head = "POST /moto-api/reset HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n".to_owned();
        forward_http(self.moto.port, &HttpRequest { head, body: Vec::new() }).unwrap();
    }

    /// Everything that a build has made and that lives: a line for each.
    pub(crate) fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        let mut add = |what: &str, ids: Vec<String>| left.extend(ids.into_iter().map(|id| format!("{what} {id}")));
        let states = ["pending", "running", "stopping", "stopped", "shutting-down"];
        let states: String = (1..).zip(states).map(|(n, s)| format!("&Filter.1.Value.{n}={s}")).collect();
        let form = format!("Action=DescribeInstances&Filter.1.Name=instance-state-name{states}");
        add("instance", values(&self.ec2(&form), "instanceId"));
        add("key", values(&self.ec2("Action=DescribeKeyPairs"), "keyName"));
        let groups = values(&self.ec2("Action=DescribeSecurityGroups"), "groupName");
        add("group", groups.into_iter().filter(|g| g != "default").collect());
        add("volume", values(&self.ec2("Action=DescribeVolumes"), "volumeId"));
        let images = self.ec2("Action=DescribeImages&Owner.1=self");
        let ready =
            self.ec2("Action=DescribeImages&Owner.1=self&Filter.1.Name=tag:towpath:state&Filter.1.Value.1=ready");
        for id in values(&images, "imageId") {
            add(if ready.contains(&id) { "ami ready" } else { "ami" }, vec![id]);
        }
        for (id, rest) in parts(&self.ec2("Action=DescribeSnapshots&Owner.1=self"), "snapshotId") {
            // One that an AMI uses is part of it; the others are those of moto's own AMIs.
            if rest.contains("CreateImage") && !images.contains(&id) {
                add("snapshot", vec![id]);
            }
        }
        left
    }
}

/// What stands in an element, and what follows until the next of the same name.
fn parts(xml: &str, element: &str) -> Vec<(String, String)> {
    let open = format!("<{element}>");
    let split = |part: &str| {
        let (id, rest) = part.split_once('<').unwrap_or((part, ""));
        (id.to_owned(), rest.to_owned())
    };
    xml.split(&open).skip(1).map(split).collect()
}

/// What stands in all elements of this name, each once.
pub(crate) fn values(xml: &str, element: &str) -> Vec<String> {
    let mut all: Vec<String> = parts(xml, element).into_iter().map(|(id, _)| id).collect();
    all.sort();
    all.dedup();
    all
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

/// What EC2 answers, asked without a client in between. `None`: it is gone.
fn ask(port: u16, form: &str) -> Option<String> {
    let body = format!("Version=2016-11-15&{form}").into_bytes();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: ec2.us-east-1.amazonaws.com\r\ncontent-type: application/x-www-form-urlencoded\r\n\
         authorization: AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/ec2/aws4_request, SignedHeaders=host, Signature=x\r\n\
         content-length: {}\r\n",
        body.len()
    );
    let HttpReply::Raw(bytes) = forward_http(port, &HttpRequest { head, body }).ok()? else { return None };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    text.starts_with("HTTP/1.1 200").then_some(text)
}

fn install_keys(host: &Sshd, port: u16, known: &mut Vec<String>) {
    let Some(instances) = ask(port, "Action=DescribeInstances") else { return };
    for (id, rest) in parts(&instances, "instanceId") {
        let Some((name, _)) = parts(&rest, "keyName").into_iter().next() else { continue };
        if known.contains(&id) {
            continue;
        }
        // The file may be gone again.
        let file = folders().into_iter().map(|d| d.join(&name)).find(|f| f.exists());
        let Some(public) = file.and_then(|f| public_key(&f)) else { continue };
        host.sh(&format!("echo '{public} {name}' >>/home/deploy/.ssh/authorized_keys"));
        known.push(id);
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
