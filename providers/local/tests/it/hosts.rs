use std::path::Path;
use std::process::{Command, Output};

use towpath_core::{Context, ErrorKind, Host, Provisioner};
use towpath_local::{Local, LocalConfig, LocalMode};

pub(crate) struct Env {
    pub(crate) local: Local,
    pub(crate) cx: Context,
    dir: tempfile::TempDir,
}

impl Drop for Env {
    fn drop(&mut self) {
        // A failed test leaves no hosts either. A drop can't wait in a runtime of its own within another one.
        let local = self.local.clone();
        let ended = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(local.destroy(&Context::new()))
        });
        let _ = ended.join();
    }
}

impl Env {
    pub(crate) fn new(hosts: u32, mode: LocalMode) -> Self {
        crate::launcher();
        let dir = tempfile::tempdir().unwrap();
        let state_dir = Some(dir.path().join("state"));
        let config = LocalConfig {
            mode,
            ports: vec!["http_port".into()],
            state_dir,
            name: "web".into(),
            ..LocalConfig::hosts(hosts)
        };
        Self { local: Local::new(config).unwrap(), cx: Context::new(), dir }
    }
}

/// Runs OpenSSH's own client, which knows nothing of this code.
pub(crate) fn ssh(host: &Host, args: &[&str]) -> Output {
    client("ssh", host, "-p")
        .args(["-l", host.connection.user.as_deref().unwrap()])
        .arg("127.0.0.1")
        .args(args)
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap()
}

/// Copies a file to a host with OpenSSH's own client.
pub(crate) fn scp(host: &Host, from: &Path, to: &str) -> Output {
    let user = host.connection.user.as_deref().unwrap();
    client("scp", host, "-P").arg(from).arg(format!("{user}@127.0.0.1:{to}")).output().unwrap()
}

fn client(program: &str, host: &Host, port: &str) -> Command {
    let option = |name: &str| host.connection.options[name].as_str().unwrap().to_owned();
    let mut command = Command::new(program);
    command
        .args(["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=yes"])
        .args(["-o", &format!("UserKnownHostsFile={}", option("known_hosts")), "-i", &option("identity_file")])
        .args([port, &host.connection.port.unwrap().to_string()]);
    command
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn openssh_runs_commands_in_a_root_of_its_own() {
    let env = Env::new(2, LocalMode::Namespace);
    let applied = env.local.apply(&env.cx).await.unwrap();
    assert_eq!(applied.changed, 2);
    let hosts = &applied.environment.inventory.hosts;
    let out = ssh(
        &hosts[0],
        &["id -u; hostname; echo to-stderr >&2; echo hi > /etc/towpath-test; cat /etc/towpath-test; exit 7"],
    );
    assert_eq!(out.status.code(), Some(7), "{}", text(&out.stderr));
    assert_eq!(text(&out.stdout), "0\nweb-1\nhi");
    assert_eq!(text(&out.stderr), "to-stderr");
    assert!(!Path::new("/etc/towpath-test").exists(), "this machine's own file was written");
    let other = ssh(&hosts[1], &["cat /etc/towpath-test"]);
    assert_eq!(other.status.code(), Some(1), "hosts see each other's files");

    assert_eq!(env.local.apply(&env.cx).await.unwrap().changed, 0, "a second apply does nothing");
    assert_eq!(env.local.destroy(&env.cx).await.unwrap().changed, 2);
    assert_eq!(env.local.destroy(&env.cx).await.unwrap().changed, 0);
    assert!(!env.dir.path().join("state").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_is_not_kept_in_what_it_shows() {
    crate::launcher();
    let dir = Path::new("/srv/towpath-test/state");
    let config = LocalConfig { mode: LocalMode::Auto, state_dir: Some(dir.into()), ..LocalConfig::hosts(1) };
    let error = Local::new(config).unwrap().plan(&Context::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
    let report = error.report();
    assert!(report.contains("in /srv,") && report.contains("--store"), "{report}");
    assert!(!Path::new("/srv/towpath-test").exists(), "nothing is touched");
}

#[tokio::test(flavor = "multi_thread")]
async fn openssh_copies_files() {
    for mode in [LocalMode::Namespace, LocalMode::Plain] {
        let env = Env::new(1, mode);
        let host = env.local.apply(&env.cx).await.unwrap().environment.inventory.hosts.remove(0);
        let source = env.dir.path().join("source");
        std::fs::write(&source, "x").unwrap();
        let out = scp(&host, &source, "copied");
        assert!(out.status.success(), "{mode:?} {}", text(&out.stderr));
        assert_eq!(text(&ssh(&host, &["cat copied"]).stdout), "x");
        std::fs::write(&source, "").unwrap();
        let out = scp(&host, &source, "copied");
        assert!(out.status.success(), "{mode:?} {}", text(&out.stderr));
        assert_eq!(text(&ssh(&host, &["cat copied"]).stdout), "");
        env.local.destroy(&env.cx).await.unwrap();
    }
}
