use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_sdk_ec2::config::{BehaviorVersion, Credentials, Region};
use tokio::sync::OnceCell;
use towpath_aws::{AwsImageBuilder, AwsImageConfig, ClientConfig, CredentialsConfig, Patience};
use towpath_core::testkit::Moto;
use towpath_core::testkit::reference::Nowhere;
use towpath_core::{ArtifactKind, Base, Context, ContextBuilder, Event, ImageDefinition, SecretRef};

/// What the tests' secret key is.
pub(crate) const SECRET: &str = "a-secret-key-of-the-tests";

/// A name that no other test has.
pub(crate) fn unique(what: &str) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("{what}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) async fn moto() -> Option<Arc<Moto>> {
    tokio::task::spawn_blocking(Moto::shared).await.unwrap()
}

/// A client that goes there.
pub(crate) fn client(endpoint: &str) -> ClientConfig {
    let echo = |text: &str| SecretRef::Command(vec!["echo".into(), text.into()]);
    ClientConfig {
        region: Some("us-east-1".into()),
        endpoint_url: Some(endpoint.into()),
        credentials: Some(CredentialsConfig {
            access_key_id: echo("AKIATESTTESTTEST"),
            secret_access_key: echo(SECRET),
            session_token: None,
        }),
        max_attempts: Some(3),
        ..ClientConfig::default()
    }
}

pub(crate) fn fast() -> Patience {
    Patience { timeout_s: Some(30), poll_ms: Some(20) }
}

/// The SDK itself, for looking behind towpath's back.
pub(crate) fn api_in(endpoint: &str, region: &str) -> aws_sdk_ec2::Client {
    let http = aws_smithy_http_client::Builder::new().build_http();
    let config = aws_sdk_ec2::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http)
        .region(Region::new(region.to_owned()))
        .endpoint_url(endpoint)
        .credentials_provider(Credentials::new("x", "x", None, None, "test"))
        .build();
    aws_sdk_ec2::Client::from_conf(config)
}

pub(crate) fn api(endpoint: &str) -> aws_sdk_ec2::Client {
    api_in(endpoint, "us-east-1")
}

/// Some AMI that moto has.
pub(crate) async fn some_ami(endpoint: &str) -> String {
    // Every moto has the same ones; listing its 1300 takes a second.
    static AMI: OnceCell<String> = OnceCell::const_new();
    let look = || async {
        let found = api(endpoint).describe_images().send().await.unwrap();
        found.images()[0].image_id().unwrap().to_owned()
    };
    AMI.get_or_init(look).await.clone()
}

pub(crate) fn image(name: &str, base: &str) -> ImageDefinition {
    ImageDefinition {
        name: name.into(),
        base: Base::Image(base.into()),
        configure: Vec::new(),
        artifacts: vec![ArtifactKind::Ami],
        // Nobody connects: images without configurators need it not.
        connector: Arc::new(Nowhere),
        labels: BTreeMap::from([("commit".to_owned(), "c0ffee".to_owned())]),
    }
}

pub(crate) fn builder(endpoint: &str, config: AwsImageConfig) -> AwsImageBuilder {
    AwsImageBuilder::new(AwsImageConfig { client: client(endpoint), wait: fast(), ..config }).unwrap()
}

/// A listener that keeps everything.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Vec<Event>>>);

impl Seen {
    pub(crate) fn context(&self) -> ContextBuilder {
        let seen = Arc::clone(&self.0);
        Context::builder().listener(Arc::new(move |event: &Event| seen.lock().unwrap().push(event.clone())))
    }

    /// Everything as one text.
    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap().iter().map(|e| format!("{e:?}\n")).collect()
    }
}
