//! What one logs in with: keys of every kind, an agent, certificates of users; and checking that somebody turned off.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use towpath_core::testkit::Sshd;
use towpath_core::{Connector as _, Context, ErrorKind, Event, EventKind, Exec, Host, SecretRef};
use towpath_ssh::{Ssh, SshConfig};

fn config() -> SshConfig {
    SshConfig { ssh_config: Some("none".into()), ..SshConfig::default() }
}

fn keygen(arguments: &[&str], path: &Path) {
    let made = Command::new("ssh-keygen").args(["-q"]).args(arguments).arg(path).status().unwrap();
    assert!(made.success(), "ssh-keygen {arguments:?}");
}

/// A key that the container's user `deploy` accepts.
fn key(sshd: &Sshd, dir: &Path, arguments: &[&str]) -> PathBuf {
    let path = dir.join(format!("id-{}", arguments.concat()));
    keygen(&[arguments, &["-N", "", "-f"]].concat(), &path);
    let public = std::fs::read_to_string(path.with_extension("pub")).unwrap();
    sshd.sh(&format!("cat >> /home/deploy/.ssh/authorized_keys <<'E'\n{public}E"));
    path
}

fn host(sshd: &Sshd, identity: Option<&Path>, agent: &str) -> Host {
    let mut host = sshd.host("web1");
    host.connection.options.remove("identity_file");
    match identity {
        Some(path) => drop(host.connection.options.insert("identity_file".into(), path.display().to_string().into())),
        None => drop(host.connection.options.insert("identities_only".into(), false.into())),
    }
    host.connection.options.insert("identity_agent".into(), agent.into());
    host
}

async fn logs_in(config: SshConfig, host: &Host) {
    let connection = Ssh::new(config).connect(&Context::new(), host).await.unwrap_or_else(|e| panic!("{}", e.report()));
    let out = connection.exec(&Context::new(), &Exec::argv(["id", "-un"])).await.unwrap();
    assert_eq!(out.stdout_text().trim(), "deploy");
}

#[tokio::test]
async fn keys_of_every_kind() {
    let Some(sshd) = tokio::task::spawn_blocking(Sshd::start).await.unwrap() else { return };
    let dir = tempfile::tempdir().unwrap();
    for arguments in
        [&["-t", "rsa", "-b", "2048"][..], &["-t", "ecdsa"], &["-t", "ecdsa", "-b", "384"], &["-t", "ed25519"]]
    {
        let key = key(&sshd, dir.path(), arguments);
        logs_in(config(), &host(&sshd, Some(&key), "none")).await;
    }
}

/// An agent of its own, ended on drop.
struct Agent(Child, PathBuf);

impl Agent {
    fn start(dir: &Path) -> Self {
        let socket = dir.join("agent");
        let mut child =
            Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::piped()).spawn().unwrap();
        // It says where it listens, once it does.
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("SSH_AUTH_SOCK"), "{line}");
        Self(child, socket)
    }

    fn add(&self, key: &Path) {
        let added = Command::new("ssh-add").arg("-q").arg(key).env("SSH_AUTH_SOCK", &self.1).status().unwrap();
        assert!(added.success());
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn an_agent_signs_without_a_key_file() {
    let Some(sshd) = tokio::task::spawn_blocking(Sshd::start).await.unwrap() else { return };
    let dir = tempfile::tempdir().unwrap();
    let agent = Agent::start(dir.path());
    let socket = agent.1.display().to_string();
    let error = Ssh::new(config()).connect(&Context::new(), &host(&sshd, None, &socket)).await.expect_err("no key");
    assert_eq!(error.kind(), ErrorKind::Denied, "{}", error.report());

    let (rsa, other) = (key(&sshd, dir.path(), &["-t", "rsa", "-b", "2048"]), dir.path().join("other"));
    keygen(&["-t", "ed25519", "-N", "", "-f"], &other);
    agent.add(&other);
    agent.add(&rsa);
    std::fs::remove_file(&rsa).unwrap();
    logs_in(config(), &host(&sshd, None, &socket)).await;
}

#[tokio::test]
async fn a_certificate_of_a_user_stands_for_the_key() {
    let Some(sshd) = tokio::task::spawn_blocking(Sshd::start).await.unwrap() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (authority, key) = (dir.path().join("ca"), dir.path().join("id"));
    keygen(&["-t", "ed25519", "-N", "", "-f"], &authority);
    keygen(&["-t", "ed25519", "-N", "", "-f"], &key);
    let public = std::fs::read_to_string(authority.with_extension("pub")).unwrap();
    sshd.sh(&format!(
        "cat > /etc/ssh/ca.pub <<'E'\n{public}E\necho 'TrustedUserCAKeys /etc/ssh/ca.pub' > /etc/ssh/towpath.d/ca.conf"
    ));
    sshd.reload();
    let error =
        Ssh::new(config()).connect(&Context::new(), &host(&sshd, Some(&key), "none")).await.expect_err("unsigned");
    assert_eq!(error.kind(), ErrorKind::Denied, "{}", error.report());
    let mut sign = Command::new("ssh-keygen");
    sign.args(["-q", "-I", "anna", "-n", "deploy", "-s"]).arg(&authority).arg(dir.path().join("id.pub"));
    assert!(sign.status().unwrap().success());
    logs_in(config(), &host(&sshd, Some(&key), "none")).await;
}

#[tokio::test]
async fn a_key_with_a_passphrase() {
    let Some(sshd) = tokio::task::spawn_blocking(Sshd::start).await.unwrap() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (path, secret) = (dir.path().join("locked"), dir.path().join("passphrase"));
    // One round: the slowness is not what is tested.
    keygen(&["-t", "ed25519", "-a", "1", "-N", "open sesame", "-f"], &path);
    let public = std::fs::read_to_string(path.with_extension("pub")).unwrap();
    sshd.sh(&format!("cat >> /home/deploy/.ssh/authorized_keys <<'E'\n{public}E"));
    let host = host(&sshd, Some(&path), "none");
    let error = Ssh::new(config()).connect(&Context::new(), &host).await.expect_err("no passphrase");
    assert_eq!((error.kind(), error.get("host")), (ErrorKind::Denied, Some("web1")));
    assert!(error.message().contains("locked") && error.message().contains("`passphrase`"), "{error}");

    std::fs::write(&secret, "wrong one").unwrap();
    let with = |secret: SecretRef| SshConfig { passphrase: Some(secret), ..config() };
    let wrong =
        Ssh::new(with(SecretRef::File(secret.clone()))).connect(&Context::new(), &host).await.expect_err("wrong");
    assert_eq!(wrong.kind(), ErrorKind::Denied);
    assert!(wrong.get("tried").unwrap().contains("the passphrase does not open it"), "{}", wrong.report());
    assert!(!format!("{wrong:?} {}", wrong.report()).contains("wrong one"));

    std::fs::write(&secret, "open sesame\n").unwrap();
    logs_in(with(SecretRef::File(secret.clone())), &host).await;
    // In the host's own options, too.
    let mut own = host.clone();
    let option = serde_json::to_value(SecretRef::File(secret)).unwrap();
    own.connection.options.insert("passphrase".into(), option);
    logs_in(config(), &own).await;
    let missing = with(SecretRef::Env("TOWPATH_NOT_SET".into()));
    let error = Ssh::new(missing).connect(&Context::new(), &host).await.expect_err("no such variable");
    assert!(error.get("key_file").unwrap().contains("locked"), "{}", error.report());
}

/// With PAM, as most hosts ask for passwords when they don't take the method `password`.
#[tokio::test]
async fn keyboard_interactive_gets_the_password() {
    let Some(sshd) = tokio::task::spawn_blocking(Sshd::start).await.unwrap() else { return };
    // Debian's own file says `no` first, and the first value counts.
    sshd.sh(
        "sed -i '/^KbdInteractiveAuthentication/d; /^PasswordAuthentication/d; /^UsePAM/d' /etc/ssh/sshd_config\n\
         printf 'KbdInteractiveAuthentication yes\nPasswordAuthentication no\nUsePAM yes\n' > /etc/ssh/towpath.d/pam.conf\n\
         pkill -HUP -o -x sshd; sleep 1\n/usr/sbin/sshd -T | grep -qx 'kbdinteractiveauthentication yes'\n\
         /usr/sbin/sshd -T | grep -qx 'passwordauthentication no'",
    );
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("password");
    std::fs::write(&secret, Sshd::PASSWORD).unwrap();
    let mut host = sshd.host_as("web1", "asks");
    host.connection.options.insert("identity_file".into(), "/nonexistent".into());
    host.connection.options.insert("identity_agent".into(), "none".into());
    host.connection.password = Some(SecretRef::File(secret.clone()));
    let connection =
        Ssh::new(config()).connect(&Context::new(), &host).await.unwrap_or_else(|e| panic!("{}", e.report()));
    assert_eq!(connection.exec(&Context::new(), &Exec::argv(["id", "-un"])).await.unwrap().stdout_text(), "asks");
    std::fs::write(&secret, "something else").unwrap();
    // PAM takes its time over a wrong password, and longer on a busy machine.
    let patient = SshConfig { connect_timeout_s: Some(60), ..config() };
    let error = Ssh::new(patient).connect(&Context::new(), &host).await.expect_err("a wrong password");
    assert_eq!(
        (error.kind(), error.get("tried")),
        (ErrorKind::Denied, Some("keyboard-interactive")),
        "{}",
        error.report()
    );
    // A key, and then the password.
    sshd.sh("echo 'AuthenticationMethods publickey,keyboard-interactive' >> /etc/ssh/towpath.d/pam.conf");
    sshd.reload();
    std::fs::write(&secret, Sshd::PASSWORD).unwrap();
    host.connection.options.insert("identity_file".into(), sshd.key().display().to_string().into());
    Ssh::new(config()).connect(&Context::new(), &host).await.unwrap_or_else(|e| panic!("{}", e.report()));
    host.connection.password = None;
    let error = Ssh::new(config()).connect(&Context::new(), &host).await.expect_err("the key alone");
    assert_eq!(error.kind(), ErrorKind::Denied, "{}", error.report());
}

#[tokio::test]
async fn checking_that_is_turned_off_is_said_once_in_each_run() {
    let Some(sshd) = tokio::task::spawn_blocking(Sshd::start).await.unwrap() else { return };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config");
    let known = dir.path().join("known");
    let write = |known: &str| {
        let text = format!("Host *\n  StrictHostKeyChecking no\n  UserKnownHostsFile {known}\n");
        std::fs::write(&file, text).unwrap();
    };
    let mut host = sshd.host("web1");
    host.connection.options.remove("known_hosts");
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let listener = {
        let seen = Arc::clone(&seen);
        move |event: &Event| {
            if let EventKind::Warning { message } = &event.kind {
                seen.lock().unwrap().push(message.clone());
            }
        }
    };
    let listener: Arc<dyn towpath_core::Listener> = Arc::new(listener);
    let run = || {
        let of = Context::builder().listener(Arc::clone(&listener));
        of.journal(towpath_core::RunId::new(), towpath_core::Journal::in_memory()).build()
    };
    let ssh = || Ssh::new(SshConfig { ssh_config: Some(file.clone()), ..SshConfig::default() });
    write(&known.display().to_string());
    let (one, two) = (ssh(), run());
    for _ in 0..2 {
        one.connect(&two, &host).await.unwrap();
    }
    {
        let seen = seen.lock().unwrap();
        assert!(seen.len() == 1 && seen[0].contains("StrictHostKeyChecking"), "{seen:?}");
    }
    one.connect(&run(), &host).await.unwrap();
    assert_eq!(seen.lock().unwrap().len(), 2, "another run says it again");
    assert_eq!(std::fs::read_to_string(&known).unwrap().lines().count(), 1, "the key is recorded");

    // The idiom for hosts that come and go.
    write("/dev/null");
    for _ in 0..2 {
        ssh().connect(&run(), &host).await.unwrap();
    }
    assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
}
