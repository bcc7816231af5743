//! Pulling, from a registry of this test's own: one image, served as the distribution protocol says.
//!
//! Source: OCI Distribution Specification, "Pull".

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use sha2::{Digest as _, Sha256};
use towpath_core::{
    Base, Certainty, Context, ErrorKind, Faults, ImageBuilder as _, Journal, MemoryStore, Provisioner as _, RunId,
};
use towpath_docker::{ContainerSpec, DockerEnvironment, DockerEnvironmentConfig, DockerImageConfig, Pull};

use crate::environment::environment;
use crate::image::{builder, image};
use crate::{docker, engine, unique, until};

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// What is served, by path: type and bytes.
type Served = HashMap<String, (&'static str, Vec<u8>)>;

fn answer(stream: TcpStream, served: &Served, stuck: Option<&AtomicUsize>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut to = stream;
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        let mut line = String::new();
        while reader.read_line(&mut line)? > 2 {
            line.clear();
        }
        let mut words = first.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        match served.get(path) {
            Some((kind, bytes)) => {
                let length = if *kind == STUCK { 1 << 30 } else { bytes.len() };
                write!(
                    to,
                    "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nDocker-Content-Digest: {}\r\n\r\n",
                    length,
                    digest(bytes)
                )?;
                if method == "GET" && *kind == STUCK {
                    let stuck = stuck.expect("only then something is stuck");
                    stuck.store(WAITS, Ordering::SeqCst);
                    // Slowly, until the engine closes the connection.
                    while to.write_all(b"x").is_ok() {
                        std::thread::sleep(std::time::Duration::from_millis(100));
                    }
                    stuck.store(GAVE_UP, Ordering::SeqCst);
                    return Ok(());
                }
                if method == "GET" {
                    to.write_all(bytes)?;
                }
            }
            None => write!(to, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?,
        }
    }
}

/// What is served so slowly that it never comes to its end.
const STUCK: &str = "stuck";
const WAITS: usize = 1;
const GAVE_UP: usize = 2;

/// A registry with one image, of one file. Gives where it listens.
fn registry(name: &str, tag: &str) -> String {
    registry_with(name, tag, None)
}

/// With `stuck` the image's file never comes; it is set once the engine waits no longer for it.
fn registry_with(name: &str, tag: &str, stuck: Option<Arc<AtomicUsize>>) -> String {
    let mut layer = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(6);
    header.set_mode(0o644);
    layer.append_data(&mut header, "from-registry", name.as_bytes().get(..6).unwrap()).unwrap();
    let layer = layer.into_inner().unwrap();
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {"Cmd": ["/none"]},
        "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
    });
    let config = config.to_string().into_bytes();
    let of = |kind: &str, bytes: &[u8]| json!({"mediaType": kind, "size": bytes.len(), "digest": digest(bytes)});
    let kind = "application/vnd.docker.distribution.manifest.v2+json";
    let manifest = json!({
        "schemaVersion": 2, "mediaType": kind,
        "config": of("application/vnd.docker.container.image.v1+json", &config),
        "layers": [of("application/vnd.docker.image.rootfs.diff.tar", &layer)],
    });
    let manifest = manifest.to_string().into_bytes();
    let mut served = Served::new();
    served.insert("/v2/".into(), ("application/json", b"{}".to_vec()));
    for reference in [tag.to_owned(), digest(&manifest)] {
        served.insert(format!("/v2/{name}/manifests/{reference}"), (kind, manifest.clone()));
    }
    let file = if stuck.is_some() { STUCK } else { "application/octet-stream" };
    for (kind, blob) in [("application/octet-stream", config), (file, layer)] {
        served.insert(format!("/v2/{name}/blobs/{}", digest(&blob)), (kind, blob));
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let served = Arc::new(served);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let served = Arc::clone(&served);
            let stuck = stuck.clone();
            std::thread::spawn(move || drop(answer(stream, &served, stuck.as_deref())));
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_the_engine_lacks_is_pulled() {
    if !engine() {
        return;
    }
    let (cx, name) = (Context::new(), unique("pulled"));
    let reference = format!("{}/{name}:1", registry(&name, "1"));
    let builder = builder(DockerImageConfig::default());
    let mut definition = image(&name, Vec::new());
    definition.base = Base::Image(reference.clone());
    let plan = builder.plan(&cx, &definition).await.unwrap();
    assert_eq!(plan.changes[0].certainty, Certainty::CannotKnow, "{plan:?}");
    let made = builder.build(&cx, &definition).await.unwrap();
    assert_eq!(made.changed, 1);
    assert_eq!(made.artifacts[0].provenance.base, reference);
    assert!(builder.remove(&cx, &made.artifacts[0]).await.unwrap());
    docker(&["rmi", &reference]);

    // An environment pulls, too. The image holds no program, which the engine says.
    let cx = environment("pulled");
    let mut config = DockerEnvironmentConfig::default().container("web", ContainerSpec::new(&reference));
    let provider = DockerEnvironment::new(config.clone()).unwrap();
    let plan = provider.plan(&cx).await.unwrap();
    assert!(plan.warnings.iter().any(|w| w.contains(&reference)), "{plan:?}");
    let error = provider.apply(&cx).await.expect_err("no program");
    assert!(error.report().contains("/none"), "{error:?}");
    assert!(provider.destroy(&cx).await.unwrap().changed > 0);
    docker(&["rmi", &reference]);
    config.pull = Pull::Never;
    let error = DockerEnvironment::new(config).unwrap().plan(&cx).await.expect_err("it may not pull");
    assert_eq!(error.get("image"), Some(reference.as_str()), "{error:?}");
}

/// A run in which finished effects are not done again.
pub(crate) fn in_a_run() -> Context {
    let run = RunId::new();
    let journal = Journal::in_store(Arc::new(MemoryStore::new()), run.clone(), None, &[], Faults::none());
    Context::builder().environment(unique("run")).journal(run, journal).build().for_step("image")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pulled_and_pruned_since_is_pulled_again() {
    if !engine() {
        return;
    }
    let (cx, name) = (in_a_run(), unique("pruned"));
    let reference = format!("{}/{name}:1", registry(&name, "1"));
    let builder = builder(DockerImageConfig::default());
    let mut definition = image(&name, Vec::new());
    definition.base = Base::Image(reference.clone());
    let mut last = None;
    // Each time the run goes on, the journal says that it was pulled.
    for _ in 0..3 {
        let made = builder.build(&cx, &definition).await.unwrap().artifacts.remove(0);
        docker(&["image", "inspect", &made.id]);
        docker(&["rmi", "-f", &made.id]);
        docker(&["rmi", &reference]);
        last = Some(made);
    }
    assert!(!builder.remove(&Context::new(), &last.unwrap()).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_pull_is_ended_by_the_engine_as_the_error_says() {
    if !engine() {
        return;
    }
    let (cx, name, stuck) = (Context::new(), unique("stuck"), Arc::new(AtomicUsize::new(0)));
    let reference = format!("{}/{name}:1", registry_with(&name, "1", Some(Arc::clone(&stuck))));
    let mut definition = image(&name, Vec::new());
    definition.base = Base::Image(reference.clone());
    let (child, token) = cx.child();
    let building = tokio::spawn(async move { builder(DockerImageConfig::default()).build(&child, &definition).await });
    until("the engine waits for the file", || stuck.load(Ordering::SeqCst) == WAITS).await;
    token.cancel();
    let error = building.await.unwrap().expect_err("cancelled");
    assert_eq!((error.kind(), error.get("image")), (ErrorKind::Cancelled, Some(reference.as_str())), "{error:?}");
    assert!(error.message().contains("end the pull") && !error.message().contains("nothing is running"), "{error:?}");
    until("the engine has ended the pull", || stuck.load(Ordering::SeqCst) == GAVE_UP).await;
}
