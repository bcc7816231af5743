use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use towpath_core::rollout::{Rolling, Rollout, RolloutOutcome};
use towpath_core::testkit::Sshd;
use towpath_core::testkit::deployer::DeployerFixture;
use towpath_core::{
    Artifact, ArtifactKind, BecomeSpec, Context, Deployer as _, ErrorKind, Inventory, MemoryStore, Provenance, Release,
    Target, TargetGroup, Targets,
};
use towpath_ssh::{ReleaseDirs, ReleaseDirsConfig, Ssh, SshConfig};

/// A service that answers with its version, from a file in /run.
const CONTROL: &str = r#"#!/bin/sh
root=$2; pid=$root.pid; answer=$root.answer
stop() { [ -f $pid ] && kill $(cat $pid) 2>/dev/null; rm -f $pid $answer; }
case $1 in
restart) stop; . $root/current/env; export VERSION; $root/current/web $answer >/dev/null 2>&1 </dev/null & echo $! >$pid
  i=0; while [ ! -f $answer ] && [ $i -lt 100 ]; do sleep 0.05; i=$((i+1)); done; [ -f $answer ];;
stop) stop;;
running) [ -f $pid ] && kill -0 $(cat $pid) 2>/dev/null;;
esac
"#;

fn release(artifact: &Path, version: &str) -> Release {
    Release {
        service: "web".into(),
        version: version.into(),
        artifact: Some(Artifact {
            name: "web".into(),
            kind: ArtifactKind::Archive,
            id: artifact.display().to_string(),
            digest: String::new(),
            provenance: Provenance::default(),
        }),
        env: [("VERSION".to_owned(), version.to_owned()), ("ODD".to_owned(), "it's $HOME".to_owned())].into(),
    }
}

struct Place {
    sshd: Arc<Sshd>,
    dir: tempfile::TempDir,
    root: String,
    deployer: ReleaseDirs,
    target: Target,
}

async fn place() -> Option<Place> {
    let sshd = crate::sshd().await?;
    let dir = tempfile::tempdir().unwrap();
    let web = dir.path().join("web");
    std::fs::write(&web, "#!/bin/sh\necho \"$VERSION\" >$1\nexec sleep 100000\n").unwrap();
    std::fs::set_permissions(&web, std::fs::Permissions::from_mode(0o755)).unwrap();
    let root = format!("/srv/web{}", crate::number());
    sshd.sh(&format!("cat > {root}.ctl <<'E'\n{CONTROL}E\nchmod 755 {root}.ctl"));
    let command = |verb: &str| [format!("{root}.ctl"), verb.to_owned(), root.clone()];
    let config = ReleaseDirsConfig::new(&root)
        .restart(command("restart"))
        .stop(command("stop"))
        .running(command("running"))
        .keep(2)
        .become_user(BecomeSpec::default());
    let ssh = Ssh::new(SshConfig { ssh_config: Some("none".into()), ..SshConfig::default() });
    let target = Target { host: sshd.host("web1"), connector: Arc::new(ssh) };
    Some(Place { deployer: ReleaseDirs::new(config), sshd, dir, root, target })
}

async fn fixture() -> Option<DeployerFixture> {
    let p = place().await?;
    let web = p.dir.path().join("web");
    let serving = {
        let (sshd, root) = (Arc::clone(&p.sshd), p.root.clone());
        Box::new(move |()| {
            let (sshd, root) = (Arc::clone(&sshd), root.clone());
            let asked = async move {
                let said =
                    sshd.sh(&format!("[ -f {root}.pid ] && kill -0 $(cat {root}.pid) && cat {root}.answer || :"));
                (!said.is_empty()).then_some(said)
            };
            Box::pin(asked) as _
        })
    };
    Some(DeployerFixture {
        provider: Arc::new(p.deployer.clone()),
        group: TargetGroup {
            name: "web".into(),
            inventory: Inventory::default(),
            connector: Arc::clone(&p.target.connector),
        },
        target: p.target.clone(),
        v1: release(&web, "v1"),
        v2: release(&web, "v2"),
        missing: release(Path::new("/nonexistent/web"), "v3"),
        cx: Context::new(),
        serving,
        keep: Box::new((p.sshd, p.dir)),
    })
}

mod behaviour {
    towpath_core::deployer_behaviour!(super::fixture);
}

#[tokio::test]
async fn old_releases_are_removed_and_archives_unpacked() {
    let Some(p) = place().await else { return };
    let cx = Context::new();
    let tree = p.dir.path().join("tree");
    std::fs::create_dir_all(tree.join("static")).unwrap();
    std::fs::copy(p.dir.path().join("web"), tree.join("web")).unwrap();
    std::fs::write(tree.join("static/.hidden file"), "x").unwrap();
    let tar = p.dir.path().join("web.tar");
    let made = std::process::Command::new("tar").arg("-cf").arg(&tar).arg("-C").arg(&tree).arg(".").status().unwrap();
    assert!(made.success());
    let packed = p.dir.path().join("web.tar.zst");
    std::fs::write(&packed, zstd::encode_all(std::fs::File::open(&tar).unwrap(), 3).unwrap()).unwrap();
    for (n, file) in [&tar, &packed, &tar, &packed].into_iter().enumerate() {
        let release = release(file, &format!("1.{n}"));
        p.deployer.stage(&cx, &p.target, &release).await.unwrap_or_else(|e| panic!("{}", e.report()));
        p.deployer.activate(&cx, &p.target, &release).await.unwrap_or_else(|e| panic!("{}", e.report()));
    }
    let root = &p.root;
    assert_eq!(p.sshd.sh(&format!("ls -A {root}/releases")), "1.2\n1.3");
    assert_eq!(
        p.sshd.sh(&format!(
            "ls -A {root}/current/; cat '{root}/current/static/.hidden file'; . {root}/current/env; echo \"$ODD\""
        )),
        ".towpath.json\nenv\nstatic\nweb\nxit's $HOME"
    );
    let mut changed = release(&packed, "1.3");
    changed.env.insert("VERSION".into(), "anew".into());
    assert!(p.deployer.stage(&cx, &p.target, &changed).await.unwrap().changed, "the environment is part of a release");
    p.deployer.activate(&cx, &p.target, &changed).await.unwrap();
    assert_eq!(p.sshd.sh(&format!("cat {root}.answer")), "anew");
    p.deployer.deactivate(&cx, &p.target).await.unwrap();
}

#[tokio::test]
async fn what_the_host_cannot_run_is_refused_before_it_is_brought() {
    let Some(p) = place().await else { return };
    let cx = Context::new();
    let file = p.dir.path().join("foreign");
    let mut elf = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    elf[18] = if std::env::consts::ARCH == "x86_64" { 183 } else { 62 };
    std::fs::write(&file, &elf).unwrap();
    let error = p.deployer.stage(&cx, &p.target, &release(&file, "v1")).await.expect_err("another machine");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.message().contains(std::env::consts::ARCH), "{error}");
    assert_eq!(p.sshd.sh(&format!("ls -A {}/releases", p.root)), "", "nothing is left");
    let error = p.deployer.stage(&cx, &p.target, &release(&file, "../x")).await.expect_err("not a name");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

/// The ledger on the host, through core's rollout: a process with a new store goes back to what the host has seen healthy.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_store_goes_back_to_what_the_host_has_kept() {
    let Some(p) = place().await else { return };
    let web = p.dir.path().join("web");
    let targets = Targets::new(
        Inventory { hosts: vec![p.target.host.clone()], ..Inventory::default() },
        p.target.connector.clone(),
    );
    let rollout = || Rollout::new(Arc::new(p.deployer.clone()), Rolling::default());
    let cx = || Context::builder().store(Arc::new(MemoryStore::new())).build();
    let run = async |cx: &Context, release: &Release| rollout().run(cx, release, &targets).await.unwrap();
    let first = cx();
    for version in ["v1", "v2"] {
        assert_eq!(run(&first, &release(&web, version)).await.outcome, RolloutOutcome::Deployed);
    }
    let kept = p.deployer.recorded(&cx(), &p.target, "web").await.unwrap();
    let all: Vec<(&str, bool)> = kept.iter().map(|d| (d.release.version.as_str(), d.seen_healthy)).collect();
    assert_eq!(all, [("v1", true), ("v2", true)]);
    assert!(p.deployer.recorded(&cx(), &p.target, "other").await.unwrap().is_empty());
    p.deployer.record(&cx(), &p.target, &kept[1]).await.unwrap();
    let root = &p.root;
    assert_eq!(
        p.sshd.sh(&format!(
            "wc -l <{root}/.ledger.jsonl; stat -c %a {root}/.ledger.jsonl; ls -A {root} | grep -c ledger"
        )),
        "2\n600\n1"
    );
    assert!(!p.sshd.sh(&format!("cat {root}/.ledger.jsonl")).contains("it's $HOME"), "no value of the environment");
    let bad = p.dir.path().join("bad");
    std::fs::write(&bad, "#!/bin/sh\nexit 1\n").unwrap();
    std::fs::set_permissions(&bad, std::fs::Permissions::from_mode(0o755)).unwrap();
    p.sshd.sh(&format!("echo 'a torn line' >>{root}/.ledger.jsonl"));
    let mut worse = release(&bad, "v3");
    worse.env.insert("VERSION".into(), "v3".into());
    let report = run(&cx(), &worse).await;
    assert_eq!(report.outcome, RolloutOutcome::RolledBack, "{report:?}");
    let state = p.deployer.probe(&cx(), &p.target).await.unwrap();
    assert_eq!((state.current.as_deref(), state.running), (Some("v2"), true));
    let report = run(&cx(), &worse).await;
    assert_eq!(report.outcome, RolloutOutcome::Refused, "the host knows that it was bad: {report:?}");
    p.deployer.deactivate(&cx(), &p.target).await.unwrap();
}
