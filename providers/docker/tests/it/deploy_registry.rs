//! Images by digest from a real registry that asks for a password.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use towpath_core::{Deployer as _, ErrorKind, Release, SecretRef};
use towpath_docker::{DockerDeploy, DockerDeployConfig, RegistryLogin};

use crate::deploy_support::{Place, ask, free_port, image, release_of, server};
use crate::{docker, engine, unique};

/// `robot` with the password `only-for-tests`, as `htpasswd -B` writes it.
const HTPASSWD: &str = "robot:$2y$05$zUCsp.ZYw658rwiEOF.lNeuCLd2rww0g.EFZqvGpv4azxfTiLEj5y\n";

/// Ended on drop.
struct Registry {
    process: Child,
    address: String,
    dir: tempfile::TempDir,
}

impl Registry {
    async fn start() -> Option<Self> {
        let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
        let at = dir.path().display();
        std::fs::write(dir.path().join("htpasswd"), HTPASSWD).unwrap();
        let config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {at}/data}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n\
             auth: {{htpasswd: {{realm: test, path: {at}/htpasswd}}}}\n"
        );
        std::fs::write(dir.path().join("config.yml"), config).unwrap();
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(dir.path().join("config.yml"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        let Ok(process) = process else {
            let what = "NOT RUN: a registry: apt-get install docker-registry";
            eprintln!("{what}");
            assert!(std::env::var_os("TOWPATH_TEST_REQUIRE").is_none(), "{what}");
            return None;
        };
        let this = Self { process, address: format!("127.0.0.1:{port}"), dir };
        crate::until("the registry listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()).await;
        Some(this)
    }

    /// Pushes a local image and gives what the registry calls it: name, tag and digest.
    fn push(&self, image: &str, tag: &str) -> (String, String) {
        let name = format!("{}/web", self.address);
        docker(&["tag", image, &format!("{name}:{tag}")]);
        // A config folder of its own, so that no login is left on this machine.
        let config = self.dir.path().join("client").display().to_string();
        let login = ["--config", &config, "login", "-u", "robot", "-p", "only-for-tests", &self.address];
        docker(&login);
        docker(&["--config", &config, "push", "-q", &format!("{name}:{tag}")]);
        let digests = docker(&["image", "inspect", "-f", "{{join .RepoDigests \"\\n\"}}", image]);
        let digest = digests.lines().find_map(|d| d.strip_prefix(&format!("{name}@"))).unwrap().to_owned();
        docker(&["rmi", &format!("{name}:{tag}")]);
        (name, digest)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn named(name: &str, tag: &str, digest: &str, version: &str) -> Release {
    let mut release = release_of(digest, version);
    release.artifact.as_mut().unwrap().id = format!("{name}:{tag}");
    release
}

/// An image of this test alone, which the engine loses when its names are gone.
fn own_image(version: &str) -> String {
    let base = server(version);
    image(&unique(version), &format!("LABEL n={}\nENV V={version}\n{}", unique("n"), cmd_of(&base)))
}

fn cmd_of(image: &str) -> String {
    format!("CMD {}", docker(&["image", "inspect", "-f", "{{json .Config.Cmd}}", image]))
}

/// Removes an image from the engine, with all its names.
fn forget(id: &str) {
    let names = docker(&["image", "inspect", "-f", "{{join .RepoTags \" \"}} {{join .RepoDigests \" \"}}", id]);
    names.split_whitespace().for_each(|name| drop(Command::new("docker").args(["rmi", name]).output()));
    assert!(!Command::new("docker").args(["image", "inspect", id]).output().unwrap().status.success(), "{id} is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_pulled_by_its_digest_with_a_password_and_another_one_is_refused() {
    if !engine() {
        return;
    }
    let Some(registry) = Registry::start().await else { return };
    let place = Place::new();
    let (first, second) = (own_image("v1"), own_image("v2"));
    let (name, one) = registry.push(&first, "latest");
    let (_, two) = registry.push(&second, "latest");
    assert_ne!(one, two);
    forget(&first);
    forget(&second);
    let with = |password: &str| {
        let password = SecretRef::Command(vec!["echo".into(), password.into()]);
        let registry = Some(RegistryLogin { username: "robot".into(), password });
        DockerDeploy::new(DockerDeployConfig { registry, ..place.config() }).unwrap()
    };
    let (cx, target) = (&place.cx, &place.target);

    let anonymous = DockerDeploy::new(place.config()).unwrap();
    let error = anonymous.stage(cx, target, &named(&name, "latest", &one, "v1")).await.expect_err("no password");
    assert!(error.get("image").is_some_and(|i| i.contains(&name)), "{error:?}");
    let error = with("wrong-password").stage(cx, target, &named(&name, "latest", &one, "v1")).await.expect_err("wrong");
    assert!(!format!("{error:?}").contains("wrong-password"), "{error:?}");

    // The tag means the second one by now; the digest says which one is wanted.
    let deployer = with("only-for-tests");
    assert!(deployer.stage(cx, target, &named(&name, "latest", &one, "v1")).await.unwrap().changed);
    deployer.activate(cx, target, &named(&name, "latest", &one, "v1")).await.unwrap();
    assert_eq!(ask(place.port).as_deref(), Some("v1"));

    // A digest that the registry does not have: the tag is looked at, means another image, and is not taken for it.
    let unknown = format!("sha256:{}", "1".repeat(64));
    let error = deployer.stage(cx, target, &named(&name, "latest", &unknown, "v3")).await.expect_err("unknown");
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    let error = deployer.stage(cx, target, &named(&name, "no-such-tag", &unknown, "v3")).await.expect_err("unknown");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    // The id of the image, as a builder gives it, instead of the manifest's digest.
    assert!(deployer.stage(cx, target, &named(&name, "latest", &second, "v2")).await.unwrap().changed);
    let state = deployer.probe(cx, target).await.unwrap();
    assert_eq!((state.current.as_deref(), state.staged), (Some("v1"), vec!["v1".to_owned(), "v2".to_owned()]));
    deployer.activate(cx, target, &named(&name, "latest", &second, "v2")).await.unwrap();
    assert_eq!(ask(place.port).as_deref(), Some("v2"));

    // What is not kept is gone from the engine, image and all.
    let none = DockerDeploy::new(DockerDeployConfig { keep: 0, ..deployer.config().clone() }).unwrap();
    none.activate(cx, target, &named(&name, "latest", &second, "v2")).await.unwrap();
    assert_eq!(none.probe(cx, target).await.unwrap().staged, ["v2"]);
    let gone = !Command::new("docker").args(["image", "inspect", &first]).output().unwrap().status.success();
    assert!(gone, "the first image is still there");
    tokio::time::timeout(Duration::from_secs(60), none.deactivate(cx, target)).await.unwrap().unwrap();
}
