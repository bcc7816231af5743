//! The deployer, against a real engine.

use std::sync::Arc;

use towpath_core::testkit::deployer::DeployerFixture;
use towpath_core::{Deployer as _, ErrorKind, Inventory, TargetGroup};
use towpath_docker::{DockerDeploy, DockerDeployConfig};

use crate::deploy_support::{Place, ask, image, release, release_of};
use crate::{docker, engine, unique};

fn fixture_at(place: Place) -> DeployerFixture {
    let port = place.port;
    let nothing = format!("sha256:{}", "0".repeat(64));
    DeployerFixture {
        provider: Arc::new(DockerDeploy::new(place.config()).unwrap()),
        group: TargetGroup {
            name: "web".into(),
            inventory: Inventory::default(),
            connector: Arc::clone(&place.target.connector),
        },
        target: place.target.clone(),
        v1: release("v1"),
        v2: release("v2"),
        missing: release_of(&nothing, "v3"),
        cx: place.cx.clone(),
        serving: Box::new(move |()| Box::pin(async move { ask(port) })),
        keep: Box::new(place),
    }
}

mod behaviour {
    async fn fixture() -> Option<super::DeployerFixture> {
        super::engine().then(|| super::fixture_at(super::Place::new()))
    }
    towpath_core::deployer_behaviour!(fixture);
}

mod behaviour_over_a_dialled_socket {
    async fn fixture() -> Option<super::DeployerFixture> {
        super::engine().then(|| super::fixture_at(super::Place::dialled()))
    }
    towpath_core::deployer_behaviour!(fixture);
}

async fn run(place: &Place, deployer: &DockerDeploy, version: &str) {
    deployer.stage(&place.cx, &place.target, &release(version)).await.unwrap();
    deployer.activate(&place.cx, &place.target, &release(version)).await.unwrap();
    assert_eq!(ask(place.port).as_deref(), Some(version));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_container_that_serves_has_the_name_and_the_one_before_is_kept_and_started_again() {
    if !engine() {
        return;
    }
    let place = Place::new();
    let config = DockerDeployConfig { name: Some(place.environment.clone()), ..place.config() };
    let deployer = DockerDeploy::new(config).unwrap();
    run(&place, &deployer, "v1").await;
    let first = docker(&["inspect", "-f", "{{.Id}}", &place.environment]);
    assert_eq!(docker(&["exec", &first, "printenv", "EXTRA"]), "it's $HOME");
    run(&place, &deployer, "v2").await;
    let second = docker(&["inspect", "-f", "{{.Id}}", &place.environment]);
    let states: Vec<String> = place.containers().into_iter().map(|c| c.1).collect();
    assert_eq!(states, ["running", "exited"], "{:?}", place.containers());
    run(&place, &deployer, "v1").await;
    assert_eq!(docker(&["inspect", "-f", "{{.Id}}", &place.environment]), first, "started again, not made anew");
    run(&place, &deployer, "v3").await;
    let ids = place.ids();
    assert!(ids.contains(&first) && !ids.contains(&second) && ids.len() == 2, "one is kept: {ids:?}");
    let state = deployer.probe(&place.cx, &place.target).await.unwrap();
    assert_eq!(state.staged, ["v1", "v3"], "the version that is not kept is no longer staged");
}

/// What fails to start never costs the version that serves.
async fn bad(name: &str, dockerfile: &str, change: impl FnOnce(&mut DockerDeployConfig), words: &[&str]) {
    if !engine() {
        return;
    }
    let place = Place::new();
    let deployer = DockerDeploy::new(place.config()).unwrap();
    run(&place, &deployer, "v1").await;
    let before = place.containers();
    let mut config = place.config();
    config.ready.timeout_s = 3;
    change(&mut config);
    let new = DockerDeploy::new(config).unwrap();
    let release = release_of(&image(name, dockerfile), "bad");
    new.stage(&place.cx, &place.target, &release).await.unwrap();
    let error = new.activate(&place.cx, &place.target, &release).await.expect_err("it does not work");
    let text = error.report();
    for word in words {
        assert!(text.contains(word), "{word:?} is missing: {text}");
    }
    assert!(text.contains("host=web1"), "{text}");
    assert_eq!(place.containers(), before, "nothing else is left, and the old one runs: {text}");
    let state = deployer.probe(&place.cx, &place.target).await.unwrap();
    assert_eq!((state.current.as_deref(), state.running), (Some("v1"), true));
    deployer.activate(&place.cx, &place.target, &crate::deploy_support::release("v1")).await.unwrap();
    assert_eq!(ask(place.port).as_deref(), Some("v1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_ends_at_once() {
    // The engine reads the two streams side by side: without the pause the last word may come before the lines.
    let lines = "for i in $(seq 30); do echo line-$i; done; sleep 0.5; echo no configuration >&2; exit 3";
    let words = ["exit code 3", "no configuration", "line-30", "line-12", "started_again=v1"];
    let once = |c: &mut DockerDeployConfig| c.container.restart = towpath_docker::Restart::No;
    bad("exits", &format!("CMD [\"sh\", \"-c\", \"{lines}\"]"), once, &words).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_ends_with_zero() {
    let once = |c: &mut DockerDeployConfig| c.container.restart = towpath_docker::Restart::No;
    bad("done", "CMD [\"true\"]", once, &["exit code 0", "it logged nothing"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_never_listens() {
    let words = ["does not work after 3 s", "port 80"];
    bad("deaf", "CMD [\"sleep\", \"1000\"]", |_| {}, &words).await;
    // Whatever publishes the port takes connections all the same.
    let plain = |c: &mut DockerDeployConfig| c.ready.path = None;
    bad("deaf", "CMD [\"sleep\", \"1000\"]", plain, &["nothing listens on its port 80"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_listens_on_another_port() {
    let words = ["does not work after 3 s", "port 80"];
    bad("other-port", "CMD [\"python3\", \"-m\", \"http.server\", \"8080\"]", |_| {}, &words).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_answers_with_an_error() {
    let server = "CMD [\"python3\", \"-m\", \"http.server\", \"80\"]";
    let path = |c: &mut DockerDeployConfig| c.ready.path = Some("/no-such-page".into());
    bad("errors", server, path, &["404", "/no-such-page"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_health_check_fails() {
    let check = "HEALTHCHECK --interval=1s --retries=1 CMD echo the database is away; exit 1";
    let server = format!("CMD [\"python3\", \"-m\", \"http.server\", \"80\"]\n{check}");
    bad("unhealthy", &server, |c| c.ready.timeout_s = 30, &["health check fails", "the database is away"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_uses_too_much_memory() {
    let eat = "CMD [\"python3\", \"-c\", \"x = bytearray(200_000_000); import time; time.sleep(1000)\"]";
    let limit = |c: &mut DockerDeployConfig| {
        c.container.memory_bytes = Some(32 << 20);
        c.ready.timeout_s = 20;
    };
    bad("memory", eat, limit, &["want of memory", "33554432"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_program_is_not_there() {
    bad("no-program", "CMD [\"/no/such/program\"]", |_| {}, &["/no/such/program"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_may_not_do_what_it_must() {
    let low = |c: &mut DockerDeployConfig| {
        c.container.user = Some("nobody".into());
        c.container.command = Some(vec!["sh".into(), "-c".into(), "echo >/etc/x".into()]);
    };
    bad("denied", "CMD [\"true\"]", low, &["Permission denied"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_started_again_and_again() {
    let after = "CMD [\"sh\", \"-c\", \"sleep 0.3; echo again; exit 1\"]";
    bad("loops", after, |c| c.ready.timeout_s = 20, &["the new container does not work: it ", "again"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_its_log_is_masked() {
    let secret = |c: &mut DockerDeployConfig| {
        let from = towpath_core::SecretRef::Command(vec!["echo".into(), "hidden-token-1".into()]);
        c.container.secret_env.insert("TOKEN".into(), from);
    };
    let tells = "CMD [\"sh\", \"-c\", \"echo token=$TOKEN; exit 1\"]";
    bad("tells", tells, secret, &["token=***"]).await;
}

/// Refused, with nothing touched at all.
async fn refused(place: &Place, config: DockerDeployConfig, kind: ErrorKind, words: &[&str]) {
    let deployer = DockerDeploy::new(config).unwrap();
    let before = place.containers();
    deployer.stage(&place.cx, &place.target, &release("v2")).await.unwrap();
    let error = deployer.activate(&place.cx, &place.target, &release("v2")).await.expect_err("refused");
    assert_eq!(error.kind(), kind, "{error:?}");
    for word in words {
        assert!(error.report().contains(word), "{word:?}: {error:?}");
    }
    assert_eq!(place.containers(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_way_is_told_before_anything_is_touched() {
    if !engine() {
        return;
    }
    let place = Place::new();
    let deployer = DockerDeploy::new(place.config()).unwrap();
    run(&place, &deployer, "v1").await;

    let other = crate::Container { id: docker(&["run", "-d", "-p", "127.0.0.1::80", crate::BASE, "sleep", "1000"]) };
    let name = docker(&["inspect", "-f", "{{.Name}}", &other.id]);
    let port = docker(&["port", &other.id, "80/tcp"]).rsplit(':').next().unwrap().to_owned();
    let mut taken = place.config();
    taken.container.ports = vec![format!("0.0.0.0:{port}:80")];
    refused(&place, taken, ErrorKind::Conflict, &["taken by the container", name.trim_start_matches('/'), &port]).await;

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut taken = place.config();
    taken.container.ports = vec![format!("{}:80", listener.local_addr().unwrap().port())];
    refused(&place, taken, ErrorKind::Conflict, &["a program of the target"]).await;

    let named = DockerDeployConfig { name: Some(name.trim_start_matches('/').into()), ..place.config() };
    refused(&place, named, ErrorKind::AlreadyExists, &["not this service's"]).await;

    let mut network = place.config();
    network.container.networks = vec![unique("no-network")];
    refused(&place, network, ErrorKind::NotFound, &["no such network"]).await;

    // Told by the engine when it makes the container, before the old one is stopped.
    let mut bind = place.config();
    bind.container.mounts.push(towpath_docker::MountSpec {
        r#type: towpath_docker::MountKind::Bind,
        source: Some("/no/such/folder".into()),
        target: "/data".into(),
        read_only: true,
        options: None,
    });
    refused(&place, bind, ErrorKind::InvalidInput, &["/no/such/folder"]).await;
    assert_eq!(ask(place.port).as_deref(), Some("v1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_does_not_say_which_image_is_refused() {
    if !engine() {
        return;
    }
    let place = Place::new();
    let deployer = DockerDeploy::new(place.config()).unwrap();
    let refuse = async |change: &dyn Fn(&mut towpath_core::Release), word: &str| {
        let mut release = release("v1");
        change(&mut release);
        for error in [
            deployer.stage(&place.cx, &place.target, &release).await.expect_err("refused"),
            deployer.activate(&place.cx, &place.target, &release).await.expect_err("refused"),
        ] {
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
            assert!(error.report().contains(word), "{word:?}: {error:?}");
        }
    };
    refuse(&|r| r.artifact = None, "docker_image").await;
    refuse(&|r| r.artifact.as_mut().unwrap().kind = towpath_core::ArtifactKind::Archive, "docker_image").await;
    refuse(&|r| r.artifact.as_mut().unwrap().digest = "latest".into(), "digest").await;
    refuse(&|r| r.artifact.as_mut().unwrap().digest = format!("sha256:{}", "1".repeat(64)), "two images").await;
    refuse(&|r| r.artifact.as_mut().unwrap().id = "../x".into(), "no reference").await;
    refuse(&|r| r.version = "v1/../x".into(), "tag").await;
    refuse(&|r| r.service = "db".into(), "another service").await;
    refuse(&|r| drop(r.env.insert("A=B".into(), "x".into())), "environment variable").await;
    assert_eq!(place.containers(), Vec::new());

    // A name whose image is another one than the digest says, and there is nowhere to get that from.
    let mut release = release("v1");
    let artifact = release.artifact.as_mut().unwrap();
    (artifact.id, artifact.digest) = ("towpath-test/deploy:v1".into(), format!("sha256:{}", "1".repeat(64)));
    let never = DockerDeployConfig { pull: towpath_docker::Pull::Never, ..place.config() };
    let error = DockerDeploy::new(never).unwrap().stage(&place.cx, &place.target, &release).await.expect_err("missing");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
}

/// Networks of this test, removed on drop.
struct Networks([String; 2]);

impl Drop for Networks {
    fn drop(&mut self) {
        for name in &self.0 {
            let _ = std::process::Command::new("docker").args(["network", "rm", name]).output();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_in_all_its_networks_under_the_services_name_and_as_limited_as_told() {
    if !engine() {
        return;
    }
    let networks = Networks([unique("front"), unique("back")]);
    networks.0.iter().for_each(|n| drop(docker(&["network", "create", n])));
    let place = Place::new();
    let mut config = place.config();
    config.container.networks = networks.0.to_vec();
    (config.container.memory_bytes, config.container.cpus, config.container.pids_limit) =
        (Some(256 << 20), Some(0.5), Some(64));
    (config.container.read_only, config.container.cap_drop) = (true, vec!["ALL".into()]);
    config.container.cap_add = vec!["NET_BIND_SERVICE".into()];
    config.container.mounts.push(towpath_docker::MountSpec {
        r#type: towpath_docker::MountKind::Tmpfs,
        source: None,
        target: "/scratch".into(),
        read_only: false,
        options: Some("size=1m".into()),
    });
    let deployer = DockerDeploy::new(config).unwrap();
    run(&place, &deployer, "v1").await;
    run(&place, &deployer, "v2").await;
    let running = place.containers().into_iter().find(|c| c.1 == "running").unwrap().0;
    for network in &networks.0 {
        let asks = "import socket; print(socket.gethostbyname('web'))";
        let found = docker(&["run", "--rm", "--network", network, crate::BASE, "python3", "-c", asks]);
        let format = format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}");
        assert_eq!(found, docker(&["inspect", "-f", &format, &running]), "{network}");
    }
    let limits =
        "{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}} {{.HostConfig.ReadonlyRootfs}}";
    assert_eq!(docker(&["inspect", "-f", limits, &running]), "268435456 500000000 64 true");
    assert_eq!(docker(&["exec", &running, "sh", "-c", "echo x >/scratch/x && cat /scratch/x"]), "x");
}

/// A cancel in the middle leaves what served before, not a gap.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_activate_goes_back_to_what_served_before() {
    if !engine() {
        return;
    }
    let place = Place::new();
    let deployer = DockerDeploy::new(place.config()).unwrap();
    run(&place, &deployer, "v1").await;
    let before = place.containers();
    let deaf = release_of(&image("deaf", "CMD [\"sleep\", \"1000\"]"), "deaf");
    deployer.stage(&place.cx, &place.target, &deaf).await.unwrap();
    let (cx, token) = place.cx.child();
    let (target, new) = (place.target.clone(), deployer.clone());
    let activating = tokio::spawn(async move { new.activate(&cx, &target, &deaf).await });
    crate::until("the new one runs", || {
        place.containers().iter().any(|(name, state)| name.contains("-deaf-") && state == "running")
    })
    .await;
    token.cancel();
    let error = activating.await.unwrap().expect_err("cancelled");
    assert_eq!((error.kind(), error.get("started_again")), (ErrorKind::Cancelled, Some("v1")), "{error:?}");
    assert_eq!(place.containers(), before);
    deployer.activate(&place.cx, &place.target, &release("v1")).await.unwrap();
    assert_eq!(ask(place.port).as_deref(), Some("v1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_of_somebody_else_with_our_labels_is_left_alone() {
    if !engine() {
        return;
    }
    let place = Place::new();
    let deployer = DockerDeploy::new(place.config()).unwrap();
    run(&place, &deployer, "v1").await;
    let environment = format!("towpath.deploy.environment={}", place.environment);
    let labels = ["towpath.deploy.service=web", "towpath.deploy.target=web1", "towpath.deploy.version=v0"];
    let mut args = vec!["run", "-d", "--label", &environment];
    labels.iter().for_each(|l| args.extend(["--label", l]));
    let other = docker(&[&args[..], &[crate::BASE, "sleep", "1000"]].concat());
    run(&place, &deployer, "v2").await;
    assert_eq!(deployer.sweep(&place.cx, &place.target).await.unwrap(), Vec::<String>::new());
    deployer.deactivate(&place.cx, &place.target).await.unwrap();
    assert_eq!(docker(&["inspect", "-f", "{{.State.Running}}", &other]), "true");
}

/// One that ran with the mark of readiness not given yet, and one that was made only: what kills leave.
#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_removes_what_was_begun_and_leaves_what_serves() {
    if !engine() {
        return;
    }
    let place = Place::new();
    let deployer = DockerDeploy::new(place.config()).unwrap();
    run(&place, &deployer, "v1").await;
    let before = place.containers();
    let name = before[0].0.clone();
    let id = docker(&["inspect", "-f", "{{.Image}}", &name]);
    for (verb, spec) in [("create", "aaaaaaaabbbb"), ("run", "ccccccccdddd")] {
        let labels = [
            format!("towpath.deploy.environment={}", place.environment),
            "towpath.deploy.service=web".into(),
            "towpath.deploy.target=web1".into(),
            "towpath.deploy.version=v9".into(),
            format!("towpath.deploy.spec={spec}"),
        ];
        let called = format!("{name}-v9-{}", &spec[..8]);
        let mut args = vec![verb, "--name", &called];
        labels.iter().for_each(|l| args.extend(["--label", l]));
        if verb == "run" {
            args.push("-d");
        }
        docker(&[&args[..], &[&id]].concat());
    }
    assert_eq!(deployer.sweep(&place.cx, &place.target).await.unwrap().len(), 2);
    assert_eq!(place.containers(), before);
    assert_eq!(ask(place.port).as_deref(), Some("v1"));
}
