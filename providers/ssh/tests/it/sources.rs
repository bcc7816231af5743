//! Where releases come from: addresses, revisions of Git repositories, builds; and what they share.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sha2::{Digest as _, Sha256};
use towpath_core::testkit::{HttpReply, HttpServer, Sshd};
use towpath_core::{
    Artifact, ArtifactKind, BecomeSpec, Context, Deployer as _, Error, ErrorKind, Provenance, Release, Target,
};
use towpath_ssh::{BuildStep, ReleaseDirs, ReleaseDirsConfig, Ssh, SshConfig};

struct Place {
    sshd: Arc<Sshd>,
    root: String,
    target: Target,
    dir: tempfile::TempDir,
}

impl Place {
    async fn new() -> Option<Self> {
        let sshd = crate::sshd().await?;
        let ssh = Ssh::new(SshConfig { ssh_config: Some("none".into()), ..SshConfig::default() });
        let target = Target { host: sshd.host("web1"), connector: Arc::new(ssh) };
        let root = format!("/srv/sources{}", crate::number());
        Some(Self { sshd, root, target, dir: tempfile::tempdir().unwrap() })
    }

    fn config(&self) -> ReleaseDirsConfig {
        ReleaseDirsConfig::new(&self.root).restart(["true"]).become_user(BecomeSpec::default())
    }

    async fn stage(&self, config: ReleaseDirsConfig, release: &Release) -> Result<bool, Error> {
        let deployer = ReleaseDirs::new(config).base_dir(self.dir.path());
        deployer.stage(&Context::new(), &self.target, release).await.map(|s| s.changed)
    }

    fn sh(&self, script: &str) -> String {
        self.sshd.sh(&format!("cd {}; {script}", self.root))
    }
}

fn release(version: &str, id: &str, digest: &str) -> Release {
    let artifact = Artifact {
        name: "web".into(),
        kind: ArtifactKind::Archive,
        id: id.into(),
        digest: digest.into(),
        provenance: Provenance::default(),
    };
    Release { service: "web".into(), version: version.into(), artifact: Some(artifact), env: BTreeMap::new() }
}

fn says(error: &Error, kind: ErrorKind, words: &[&str]) {
    let text = error.report();
    assert_eq!(error.kind(), kind, "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is missing: {text}");
    }
}

fn git(dir: &Path, args: &[&str]) -> String {
    let names = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"];
    let out = Command::new("git").args(names).args(args).current_dir(dir).env_remove("GIT_DIR").output().unwrap();
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

/// A repository with two commits: the first one is tagged `v1`.
fn repository(dir: &Path) -> (String, [String; 2]) {
    let repo = dir.join("repo");
    std::fs::create_dir_all(repo.join("app")).unwrap();
    git(&repo, &["init", "-q"]);
    let commit = |text: &str| {
        std::fs::write(repo.join("app/page"), text).unwrap();
        git(&repo, &["add", "."]);
        git(&repo, &["commit", "-q", "-m", text]);
        git(&repo, &["rev-parse", "HEAD"])
    };
    let first = commit("one");
    git(&repo, &["tag", "-a", "v1", "-m", "one"]);
    let second = commit("two");
    (format!("git+file://{}", repo.display()), [first, second])
}

#[cfg(feature = "url")]
#[tokio::test(flavor = "multi_thread")]
async fn a_file_at_an_address_is_fetched_once_and_must_be_the_right_one() {
    let Some(place) = Place::new().await else { return };
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let server = HttpServer::start(move |request| {
        count.fetch_add(1, Ordering::SeqCst);
        let there = request.head.starts_with("GET /dist/web?x=1 ");
        HttpReply::Answer(if there { 200 } else { 404 }, "text/plain".into(), b"#!/bin/sh\necho hello\n".into())
    });
    let digest = format!("sha256:{}", hex::encode(Sha256::digest(b"#!/bin/sh\necho hello\n")));
    let url = format!("{}/dist/web?x=1", server.url());
    let deployer = ReleaseDirs::new(place.config());
    let cx = Context::new();
    for (version, changed) in [("v1", true), ("v1", false), ("v2", true)] {
        let staged = deployer.stage(&cx, &place.target, &release(version, &url, &digest)).await.unwrap();
        assert_eq!(staged.changed, changed);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1, "for all versions and hosts");
    assert_eq!(place.sh("releases/v1/web"), "hello");
    let other = format!("sha256:{}", "00".repeat(32));
    let error = place.stage(place.config(), &release("v3", &url, &other)).await.unwrap_err();
    says(&error, ErrorKind::InvalidInput, &["it is not what was built", &other, "host=web1"]);
    let missing = format!("{}/dist/other", server.url());
    let error = place.stage(place.config(), &release("v3", &missing, &digest)).await.unwrap_err();
    says(&error, ErrorKind::NotFound, &["404", &missing]);
    let error = place.stage(place.config(), &release("v3", &url, "")).await.unwrap_err();
    says(&error, ErrorKind::InvalidInput, &["needs its digest"]);
    drop(server);
    let error = place.stage(place.config(), &release("v3", &url, &digest)).await.unwrap_err();
    says(&error, ErrorKind::Unreachable, &["can't be fetched"]);
    assert_eq!(place.sh("ls -A releases"), "v1\nv2", "nothing half-made is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_of_a_repository_is_its_tree() {
    let Some(place) = Place::new().await else { return };
    let (repo, [first, second]) = repository(place.dir.path());
    for (version, revision, path, text) in [
        ("tag", "v1".to_owned(), "app/page", "one"),
        ("commit", second.clone(), "app/page", "two"),
        ("short", second[..9].to_owned(), "app/page", "two"),
        ("folder", format!("{second}:app"), "page", "two"),
    ] {
        let changed = place.stage(place.config(), &release(version, &format!("{repo}#{revision}"), "")).await.unwrap();
        assert!(changed);
        assert_eq!(place.sh(&format!("cat releases/{version}/{path}")), text, "{version}");
    }
    let tag = format!("{repo}#v1");
    assert!(
        !place.stage(place.config(), &release("tag", &tag, &format!("git:{first}"))).await.unwrap(),
        "the same tree"
    );
    let error = place.stage(place.config(), &release("x", &tag, &format!("git:{second}"))).await.unwrap_err();
    says(&error, ErrorKind::Conflict, &["was the tag moved?", &first]);
    let error = place.stage(place.config(), &release("x", &format!("{repo}#main"), "")).await.unwrap_err();
    says(&error, ErrorKind::InvalidInput, &["this is a branch"]);
    let error = place.stage(place.config(), &release("x", &format!("{repo}#v9"), "")).await.unwrap_err();
    says(&error, ErrorKind::NotFound, &["no such tag or commit", "v9"]);
    let error = place.stage(place.config(), &release("x", "git+file:///no/such/repo#v1", "")).await.unwrap_err();
    says(&error, ErrorKind::NotFound, &["can't be fetched", "/no/such/repo"]);
    let error = place.stage(place.config(), &release("x", &format!("{tag}:lib"), "")).await.unwrap_err();
    says(&error, ErrorKind::ToolFailed, &["check the folder"]);
}

/// As in a hook, where Git names the hook's repository to all that it starts.
#[test]
fn a_hook_of_git_leads_nothing_astray() {
    let hook = tempfile::tempdir().unwrap();
    git(hook.path(), &["init", "-q", "--bare", "."]);
    let inner = ["sources::a_revision_of_a_repository_is_its_tree", "--exact"];
    let out = Command::new(std::env::current_exe().unwrap()).args(inner).env("GIT_DIR", hook.path()).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
    assert_eq!(git(hook.path(), &["for-each-ref"]), "", "nothing was fetched into the hook's repository");
    assert_eq!(git(hook.path(), &["count-objects"]), "0 objects, 0 kilobytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_makes_what_is_shipped_before_any_host_is_touched() {
    let Some(place) = Place::new().await else { return };
    let (repo, _) = repository(place.dir.path());
    let script = "mkdir -p out/bin && sed \"s/^/$TOWPATH_SERVICE $TOWPATH_VERSION /\" app/page >out/page && ln -s ../page out/bin/link";
    let build = |script: &str, output: &str| place.config().build(BuildStep::new(["sh", "-c", script], output));
    let v1 = release("v1", &format!("{repo}#v1"), "");
    assert!(place.stage(build(script, "out"), &v1).await.unwrap());
    assert_eq!(place.sh("cat releases/v1/page; echo; cat releases/v1/bin/link"), "web v1 one\nweb v1 one");
    assert!(!place.stage(build(script, "out"), &v1).await.unwrap(), "the same source makes the same archive");
    // Without an artifact, in the pipeline file's folder.
    std::fs::write(place.dir.path().join("name"), "plain").unwrap();
    let plain = Release { artifact: None, ..release("v2", "", "") };
    assert!(place.stage(build("echo echo $(cat name) >run; chmod +x run", "run"), &plain).await.unwrap());
    assert_eq!(place.sh("sh releases/v2/run"), "plain");
    let error = place.stage(build("echo compiling; echo no such header >&2; exit 3", "run"), &v1).await.unwrap_err();
    says(&error, ErrorKind::ToolFailed, &["the build failed", "no such header", "exit status: 3", "version=v1"]);
    let error = place.stage(build("true", "dist"), &v1).await.unwrap_err();
    says(&error, ErrorKind::NotFound, &["did not make its `output`", "dist"]);
    let error = place.stage(build("true", "../dist"), &v1).await.unwrap_err();
    says(&error, ErrorKind::InvalidInput, &["build.output"]);
    let mut slow = build("sleep 600.0729 & sleep 600.0729; true", "dist");
    slow.build.as_mut().unwrap().limit_s = 1;
    let error = place.stage(slow, &v1).await.unwrap_err();
    says(&error, ErrorKind::Timeout, &["build.limit_s"]);
    let left = Command::new("pgrep").args(["-f", "sleep 600.0729"]).output().unwrap();
    assert!(left.stdout.is_empty(), "what the build started is gone, too");
    let unknown = Release { version: "v9".into(), ..plain.clone() };
    let error = place.stage(place.config(), &unknown).await.unwrap_err();
    says(&error, ErrorKind::InvalidInput, &["no artifact", "no `build`", "version=v9"]);
    assert!(!place.stage(place.config(), &plain).await.unwrap(), "known by its version, and staged");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shared_outlives_releases() {
    let Some(place) = Place::new().await else { return };
    let (repo, _) = repository(place.dir.path());
    let config = || place.config().shared(["log/", "app/uploads/", "app/settings.ini"]);
    let v1 = release("v1", &format!("{repo}#v1"), "");
    let error = place.stage(config(), &v1).await.unwrap_err();
    says(&error, ErrorKind::ToolFailed, &["app/settings.ini is shared, and is not there"]);
    assert_eq!(place.sh("ls -A releases"), "", "half a release is none");
    place.sh("mkdir -p shared/app; echo colour=blue >shared/app/settings.ini");
    assert!(place.stage(config(), &v1).await.unwrap());
    place.sh("echo line >releases/v1/log/web.log; echo picture >releases/v1/app/uploads/a.png");
    let v2 = Release { version: "v2".into(), ..v1.clone() };
    assert!(place.stage(config(), &v2).await.unwrap());
    let seen = place.sh(
        "cat releases/v2/log/web.log releases/v2/app/uploads/a.png releases/v2/app/settings.ini releases/v2/app/page",
    );
    assert_eq!(seen, "line\npicture\ncolour=blue\none");
    assert!(place.stage(place.config().shared(["log/"]), &v2).await.unwrap(), "it is another release then");
    place.sh("rm -rf releases/v1");
    assert_eq!(place.sh("cat shared/app/uploads/a.png"), "picture", "a removed release takes nothing with it");
    for (path, words) in [("../x", "relative"), ("/etc", "relative"), ("env", "not `env`"), ("log/a", "inside another")]
    {
        let error = place.stage(place.config().shared(["log/", path]), &v1).await.unwrap_err();
        says(&error, ErrorKind::InvalidInput, &[words, path]);
    }
}
