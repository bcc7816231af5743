use serde_json::json;
use towpath_core::testkit::{HttpReply, HttpServer};
use towpath_core::{Deployer as _, ErrorKind, GroupJob, Secret, SecretRef};
use towpath_strider::{Live, Strider, StriderConfig};

use crate::simulator::USER;
use crate::support::{PROJECT, Seen, World, context, group, release};

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_is_not_there_starts_nothing() {
    let Some(world) = World::new(&[("test", "true")]).await else { return };
    let strider = world.strider(|c| c.branch("mastre"));
    let error = strider.start(&world.cx, &group(), &release("v1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(
        error.message().contains("no branch `mastre`") && error.message().contains("it has: master, release-*"),
        "{error}"
    );
    assert_eq!(world.requests("POST", "/start"), 0);
    assert_eq!(strider.preflight(&world.cx).await.unwrap_err().kind(), ErrorKind::NotFound);
    let per_version = world.strider(|c| c.branch("{version}"));
    assert_eq!(per_version.start(&world.cx, &group(), &release("v1")).await.unwrap_err().kind(), ErrorKind::NotFound);
    let strange = release("a~b");
    assert_eq!(per_version.start(&world.cx, &group(), &strange).await.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_branches_can_not_be_seen_there_is_a_warning() {
    let Some(world) = World::new(&[("test", "true")]).await else { return };
    world.knobs(json!({ "not_admin": true }));
    let strider = world.strider(|mut c| {
        c.start_deadline_s = 1;
        c.branch("mastre")
    });
    let job = world.start(&strider, "v1").await;
    assert!(world.seen.warnings().iter().any(|w| w.contains("may not see the branches")));
    // Then only the deadline tells.
    assert_eq!(strider.follow(&world.cx, &job).await.unwrap_err().kind(), ErrorKind::Timeout);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_version_of_the_same_branch_is_refused() {
    let Some(world) = World::new(&[("test", "true")]).await else { return };
    let strider = world.strider(|c| c);
    for version in ["v1", "v2"] {
        let job = world.start(&strider, version).await;
        strider.follow(&world.cx, &job).await.unwrap();
    }
    let error = strider.start(&world.cx, &group(), &release("v1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.message().contains("earlier_version: run_head"), "{error}");
    assert_eq!(world.requests("POST", "/start"), 2);
    let moved = world.strider(|mut c| {
        c.earlier_version = towpath_strider::EarlierVersion::RunHead;
        c
    });
    world.start(&moved, "v1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_a_refusal() {
    let Some(world) = World::new(&[("test", "true")]).await else { return };
    let cx = towpath_core::Context::builder().secret("password", Secret::new("wrong-horse-battery")).build();
    let strider = world.strider(|c| c);
    for error in [
        strider.preflight(&cx).await.unwrap_err(),
        strider.start(&cx, &group(), &release("v1")).await.unwrap_err(),
        strider.probe_group(&cx, &group()).await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.get("user")), (ErrorKind::Denied, Some(USER)), "{error:?}");
        assert!(!error.report().contains("wrong-horse"));
    }
}

/// What the real server does with strangers.
#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_to_the_login_is_not_followed() {
    let server = HttpServer::start(|request| {
        assert!(!request.head.contains("/login"), "followed: {}", request.head);
        HttpReply::Raw(
            b"HTTP/1.1 302 Found\r\nlocation: /login?ember=true\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                .to_vec(),
        )
    });
    let strider =
        Strider::new(StriderConfig::new(server.url(), USER, SecretRef::Given("password".into()), PROJECT)).unwrap();
    let error = strider.start(&context(&Seen::default()), &group(), &release("v1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
    assert!(error.message().contains("redirects to its login"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_an_error_with_the_address() {
    // Bound, and nobody accepts: a closed port.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let strider = Strider::new(StriderConfig::new(&url, USER, SecretRef::Given("password".into()), PROJECT)).unwrap();
    let error = strider.probe_group(&context(&Seen::default()), &group()).await.unwrap_err();
    assert_eq!((error.kind(), error.get("server")), (ErrorKind::Unreachable, Some(url.as_str())), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_that_is_not_there_is_named() {
    let Some(world) = World::new(&[]).await else { return };
    let strider = world.strider(|mut c| {
        c.project = "acme/shop".into();
        c
    });
    let error = strider.start(&world.cx, &group(), &release("v1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    assert!(error.message().contains("acme/shop"), "{error}");
}

/// The server never answers a request for such an id: none is made.
#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_job_id_is_refused_before_it_is_asked_for() {
    let Some(world) = World::new(&[("test", "true")]).await else { return };
    let strider = world.strider(|c| c);
    let good = world.start(&strider, "v1").await;
    strider.follow(&world.cx, &good).await.unwrap();
    let before = world.log().len();
    for id in ["latest", "", "5F0C1A2B3C4D5E6F70819293", "../../session"] {
        let job = GroupJob { id: id.into(), detail: good.detail.clone() };
        assert_eq!(strider.follow(&world.cx, &job).await.unwrap_err().kind(), ErrorKind::InvalidInput, "{id}");
        assert_eq!(strider.cancel(&world.cx, &job).await.unwrap_err().kind(), ErrorKind::InvalidInput, "{id}");
    }
    let other = world.strider(|mut c| {
        c.project = "acme/shop".into();
        c
    });
    assert_eq!(other.follow(&world.cx, &good).await.unwrap_err().kind(), ErrorKind::InvalidInput, "of another project");
    assert_eq!(world.log().len(), before, "nobody was asked");
    let unknown = GroupJob { id: "0".repeat(24), detail: good.detail };
    for live in [Live::Polling, Live::SocketIo] {
        assert_eq!(world.live(live).follow(&world.cx, &unknown).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
    assert_eq!(strider.cancel(&world.cx, &unknown).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_wrong_config_is_refused_with_the_reason() {
    let config = || StriderConfig::new("https://ci.example.com", "ops@x", SecretRef::Env("X".into()), PROJECT);
    for (change, why) in [
        (
            Box::new(|c: &mut StriderConfig| c.url = "http://ci.example.com".into()) as Box<dyn Fn(&mut StriderConfig)>,
            "allow_http",
        ),
        (Box::new(|c| c.project = "web".into()), "organisation/repository"),
        (Box::new(|c| c.branch = "x-{verison}".into()), "placeholder"),
        (Box::new(|c| c.branch = "a b".into()), "can't be the name"),
        (Box::new(|c| c.timeout_s = 0), "`timeout_s` must be 1"),
        (Box::new(|c| c.poll_ms = 1), "`poll_ms` must be 50"),
        (Box::new(|c| c.user = "a:b".into()), "`user` must be"),
        (Box::new(|c| c.ca_file = Some("/nowhere/ca.pem".into())), "`ca_file` can't be read"),
    ] {
        let mut wrong = config();
        change(&mut wrong);
        let error = Strider::new(wrong).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.message().contains(why), "{why}: {error}");
    }
    let typo = json!({ "url": "https://x", "user": "o", "password": {"env": "X"}, "project": "a/b", "brnach": "x" });
    assert!(serde_json::from_value::<StriderConfig>(typo).unwrap_err().to_string().contains("brnach"));
    let whole = serde_json::to_value(config()).unwrap();
    assert_eq!(serde_json::from_value::<StriderConfig>(whole).unwrap(), config());
}
