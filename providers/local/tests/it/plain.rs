//! Hosts in plain mode, through OpenSSH's own client.

use std::path::{Path, PathBuf};

use towpath_core::testkit::provisioner::ProvisionerFixture;
use towpath_core::{Context, Environment, Host, Provisioner};
use towpath_local::LocalMode;

use crate::hosts::{Env, scp, ssh, text};

fn root(host: &Host) -> PathBuf {
    PathBuf::from(host.vars["towpath_root"].as_str().unwrap())
}

/// A folder of this machine that plain hosts have no business in, and this user may write to.
fn outside() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_a_folder_and_commands_run_as_this_user() {
    let env = Env::new(2, LocalMode::Plain);
    let plan = env.local.plan(&env.cx).await.unwrap();
    assert!(plan.warnings.iter().any(|w| w.starts_with("plain mode:")), "{:?}", plan.warnings);
    assert!(plan.warnings.iter().any(|w| w.contains("Landlock")), "{:?}", plan.warnings);
    let environment = env.local.apply(&env.cx).await.unwrap().environment;
    assert_eq!(environment.outputs["mode"], "plain");
    assert!(environment.outputs["mode_notes"][0].as_str().unwrap().starts_with("plain mode:"));
    let hosts = &environment.inventory.hosts;
    let out = ssh(
        &hosts[0],
        &["id -u; pwd; echo $TOWPATH_ROOT; echo hi > $TOWPATH_ROOT/etc/motd; echo > /dev/null && exit 7"],
    );
    let own = nix::unistd::geteuid().to_string();
    let folder = root(&hosts[0]).canonicalize().unwrap();
    assert_eq!(out.status.code(), Some(7), "{}", text(&out.stderr));
    assert_eq!(text(&out.stdout), format!("{own}\n{}\n{}", folder.join("root").display(), folder.display()));
    assert_eq!(std::fs::read_to_string(folder.join("etc/motd")).unwrap(), "hi\n");
    assert!(!root(&hosts[1]).join("etc/motd").exists(), "hosts share files");
    let out = ssh(
        &hosts[0],
        &["d=$(mktemp -d) && echo $d && python3 -c 'import os; os.rename(\"etc.new\", \"../etc/new\")'"],
    );
    assert!(Path::new(&text(&out.stdout)).starts_with(&folder), "temporary files are the host's own: {out:?}");
    assert_eq!(env.local.apply(&env.cx).await.unwrap().changed, 0);
    assert_eq!(env.local.destroy(&env.cx).await.unwrap().changed, 2);
    assert!(!folder.exists());
}

/// Whatever a command names or computes, this machine's files stay as they are, and the reason is said.
#[tokio::test(flavor = "multi_thread")]
async fn what_lies_outside_the_folder_is_never_written() {
    let env = Env::new(2, LocalMode::Plain);
    let hosts = env.local.apply(&env.cx).await.unwrap().environment.inventory.hosts;
    let outside = outside();
    let (victim, fresh) = (outside.path().join("victim"), outside.path().join("fresh"));
    std::fs::write(&victim, "mine").unwrap();
    std::fs::create_dir(outside.path().join("folder")).unwrap();
    let (d, v, f) = (outside.path().display(), victim.display(), fresh.display());
    let other = root(&hosts[1]).display().to_string();
    for command in [
        format!("echo x > {v}"),
        format!("echo x >> {v}"),
        format!("sh -c 'echo x > {v}'"),
        // Paths that no look at the command could see.
        format!("p=$(printf %s {d}/vic; printf tim); echo x > $p"),
        format!("cd {d}; echo x > victim"),
        format!("ln -s {v} link && echo x > link"),
        format!("ln -s {d} way && echo x > way/fresh"),
        format!("python3 -c 'import os; os.truncate(\"{v}\", 0)'"),
        format!("echo x > {f}"),
        format!("mkdir {f}"),
        format!("ln -s x {f}"),
        format!("mkfifo {f}"),
        format!("rm -f {v} && ! [ -e {v} ]"),
        format!("rmdir {d}/folder"),
        format!("mv {v} ./stolen"),
        format!("echo x > mine && mv mine {f}"),
        format!("ln {v} hard"),
        format!("echo x | tee {f}"),
        format!("setsid sh -c 'echo x > {f}'"),
        format!("echo x > {other}/etc/motd"),
        "echo x > /etc/towpath-plain".to_owned(),
        "echo x > /tmp/towpath-plain".to_owned(),
        "echo x > /proc/self/root/etc/towpath-plain".to_owned(),
    ] {
        let out = ssh(&hosts[0], &[command.as_str()]);
        assert!(!out.status.success(), "{command}: {out:?}");
        let said = text(&out.stderr);
        assert!(said.contains("plain mode") && said.contains("towpath_root"), "{command}: {said}");
    }
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "mine");
    let left: Vec<_> = std::fs::read_dir(outside.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
    for path in ["/etc/towpath-plain", "/tmp/towpath-plain"] {
        assert!(!Path::new(path).exists(), "{path}");
    }
    assert!(!root(&hosts[1]).join("etc/motd").exists());

    // SFTP names the path and the reason.
    let out = scp(&hosts[0], &victim, &f.to_string());
    assert!(!out.status.success() && !fresh.exists(), "{out:?}");
    ssh(&hosts[0], &[&format!("ln -sf {v} trap")]);
    let source = outside.path().join("folder/source");
    std::fs::write(&source, "x").unwrap();
    let out = scp(&hosts[0], &source, "trap");
    assert!(!out.status.success(), "{out:?}");
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "mine");
    let out = scp(&hosts[0], &source, &root(&hosts[0]).join("etc/copied").display().to_string());
    assert!(out.status.success(), "{out:?}");
    assert_eq!(std::fs::read_to_string(root(&hosts[0]).join("etc/copied")).unwrap(), "x");

    // Nor are this machine's processes reached, where the kernel can tell (Linux 6.12).
    let mut sleeper = std::process::Command::new("sleep").arg("100").spawn().unwrap();
    let out = ssh(&hosts[0], &[&format!("kill {}", sleeper.id())]);
    let survived = sleeper.try_wait().unwrap().is_none();
    let _ = sleeper.kill();
    let _ = sleeper.wait();
    assert_eq!(survived, !out.status.success(), "{out:?}");
    env.local.destroy(&env.cx).await.unwrap();
}

pub(crate) async fn provisioner_fixture(mode: LocalMode) -> Option<ProvisionerFixture> {
    let env = Env::new(2, mode);
    let disturb = |environment: Environment| {
        let pid = environment.resources.iter().find(|r| r.address == "host web-1").unwrap().id.parse().unwrap();
        let pid = nix::unistd::Pid::from_raw(pid);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        Box::pin(async move {
            // Gone is gone once nobody can signal it, or it only waits to be collected.
            let gone = || {
                let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
            };
            while !gone() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        }) as _
    };
    Some(ProvisionerFixture {
        provider: std::sync::Arc::new(env.local.clone()),
        cx: Context::new(),
        disturb: Box::new(disturb),
        keep: Box::new(env),
    })
}

mod behaviour {
    async fn fixture() -> Option<towpath_core::testkit::provisioner::ProvisionerFixture> {
        super::provisioner_fixture(super::LocalMode::Plain).await
    }
    towpath_core::provisioner_behaviour!(fixture);
}

mod behaviour_in_namespaces {
    async fn fixture() -> Option<towpath_core::testkit::provisioner::ProvisionerFixture> {
        super::provisioner_fixture(super::LocalMode::Namespace).await
    }
    towpath_core::provisioner_behaviour!(fixture);
}
