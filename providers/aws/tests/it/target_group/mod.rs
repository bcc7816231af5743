//! Target groups as a balancer: against a simulator with real connections, and against moto.

mod simulator;

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use towpath_aws::{AwsTargetGroup, AwsTargetGroupConfig};
use towpath_core::testkit::balancer::{BalancerFixture, Opened};
use towpath_core::{Backend, BackendMode, Balancer as _, Context, ErrorKind};

use crate::support::{client, fast, moto};
use simulator::{ARN, Simulator, server};

fn config(simulator: &Simulator) -> AwsTargetGroupConfig {
    AwsTargetGroupConfig { wait: fast(), ..AwsTargetGroupConfig::new("web") }.client(client(&simulator.url()))
}

fn balancer(config: AwsTargetGroupConfig) -> AwsTargetGroup {
    AwsTargetGroup::new(config).unwrap()
}

fn backend(name: &str, address: &str, port: u16) -> Backend {
    Backend { name: name.into(), address: address.into(), port }
}

fn open(port: u16) -> Option<Opened> {
    let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line).ok()?;
    (!line.is_empty()).then(|| (line.trim_end().to_owned(), Box::new(stream) as _))
}

async fn fixture() -> Option<BalancerFixture> {
    let simulator = Simulator::start("ip");
    let port = simulator.port;
    Some(BalancerFixture {
        provider: Arc::new(balancer(config(&simulator).target("web-1", "127.0.0.1").target("web-2", "127.0.0.2"))),
        backends: [
            backend("web-1", "127.0.0.1", server("127.0.0.1", "web-1")),
            backend("web-2", "127.0.0.2", server("127.0.0.2", "web-2")),
        ],
        open: Box::new(move |()| {
            Box::pin(async move { tokio::task::spawn_blocking(move || open(port)).await.unwrap() })
        }),
        cx: Context::new(),
        keep: Box::new(simulator),
    })
}

mod behaviour {
    towpath_core::balancer_behaviour!(super::fixture);
}

/// The names of hosts are those of their instances; what was drained keeps its place, for another process, too.
#[tokio::test(flavor = "multi_thread")]
async fn instances_are_found_by_their_names() {
    let simulator = Simulator::start("instance");
    for (id, name, address) in [("i-0aa", "web-1", "127.0.0.1"), ("i-0bb", "web-2", "127.0.0.2")] {
        simulator.world().instances.insert(id.into(), (name.into(), address.into()));
    }
    let (cx, one) = (Context::new(), balancer(config(&simulator)));
    let names = async |b: &AwsTargetGroup| -> Vec<(String, String, BackendMode)> {
        let all = b.backends(&cx).await.unwrap();
        all.into_iter().map(|b| (b.backend.name, b.backend.address, b.mode)).collect()
    };
    one.add(&cx, &backend("web-1", "web-1.example", 8080)).await.unwrap();
    one.add(&cx, &backend("web-2", "web-2.example", 8080)).await.unwrap();
    let keys: Vec<(String, u16)> = simulator.world().targets.keys().cloned().collect();
    assert_eq!(keys, [("i-0aa".to_owned(), 8080), ("i-0bb".to_owned(), 8080)]);
    one.drain(&cx, "web-1").await.unwrap();
    assert_eq!(one.wait_idle(&cx, "web-1", Duration::from_secs(5)).await.unwrap(), 0);
    assert_eq!(simulator.world().targets.len(), 1, "it has left the group");
    assert_eq!(simulator.world().tags.get("towpath:drained/web-1").map(String::as_str), Some("i-0aa 8080"));
    let other = balancer(config(&simulator));
    let (a, b) = ("127.0.0.1".to_owned(), "127.0.0.2".to_owned());
    assert_eq!(
        names(&other).await,
        [("web-1".into(), a.clone(), BackendMode::Draining), ("web-2".into(), b.clone(), BackendMode::Serving)]
    );
    other.add(&cx, &backend("web-1", &a, 8080)).await.unwrap();
    assert_eq!(
        names(&one).await,
        [("web-1".into(), a, BackendMode::Serving), ("web-2".into(), b, BackendMode::Serving)]
    );
    assert!(simulator.world().tags.is_empty());
    // Another port is another target: the old one leaves.
    one.add(&cx, &backend("web-1", "", 9090)).await.unwrap();
    let keys: Vec<(String, u16)> = simulator.world().targets.keys().cloned().collect();
    assert_eq!(keys, [("i-0aa".to_owned(), 9090), ("i-0bb".to_owned(), 8080)]);
}

/// A process that dies between its note and taking the target out, or between bringing it back and the end of the note, leaves one that serves,
/// and is told as such: nobody changes it while it does.
#[tokio::test(flavor = "multi_thread")]
async fn a_note_alone_takes_nothing_out_of_service() {
    let simulator = Simulator::start("ip");
    let (cx, balancer) = (Context::new(), balancer(config(&simulator).target("web-1", "127.0.0.1")));
    let one = backend("web-1", "127.0.0.1", 8080);
    balancer.add(&cx, &one).await.unwrap();
    simulator.world().tags.insert("towpath:drained/web-1".into(), "127.0.0.1 8080".into());
    let mode = async || balancer.backends(&cx).await.unwrap()[0].mode;
    assert_eq!(mode().await, BackendMode::Serving);
    balancer.drain(&cx, "web-1").await.unwrap();
    assert_eq!(mode().await, BackendMode::Draining);
    balancer.add(&cx, &one).await.unwrap();
    assert_eq!((mode().await, simulator.world().tags.len()), (BackendMode::Serving, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_mean_nothing_or_several_are_said() {
    let simulator = Simulator::start("instance");
    for id in ["i-0aa", "i-0bb"] {
        simulator.world().instances.insert(id.into(), ("twin".into(), "127.0.0.1".into()));
    }
    let (cx, balancer) = (Context::new(), balancer(config(&simulator)));
    let error = balancer.add(&cx, &backend("twin", "", 80)).await.unwrap_err();
    assert_eq!((error.kind(), error.get("instances")), (ErrorKind::Conflict, Some("i-0aa i-0bb")), "{error:?}");
    let error = balancer.add(&cx, &backend("web-9", "", 80)).await.unwrap_err();
    assert_eq!((error.kind(), error.get("backend")), (ErrorKind::NotFound, Some("web-9")), "{error:?}");
    assert_eq!(simulator.count("RegisterTargets"), 0);
    let error = balancer.add(&cx, &backend("first", "i-0aa", 80)).await.unwrap_err();
    assert!(error.report().contains("called `twin`"), "{error:?}");
    assert_eq!(simulator.count("RegisterTargets"), 0);
    for id in ["i-0aa", "i-0bb"] {
        simulator.world().targets.insert((id.into(), 80), Default::default());
    }
    let error = balancer.backends(&cx).await.unwrap_err();
    assert_eq!((error.kind(), error.get("targets")), (ErrorKind::Conflict, Some("i-0aa i-0bb")), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_never_gets_healthy_says_why() {
    let simulator = Simulator::start("ip");
    simulator.world().become_ = "unhealthy".into();
    let mut config = config(&simulator).target("web-1", "127.0.0.1");
    config.wait.timeout_s = Some(1);
    let error = balancer(config).add(&Context::new(), &backend("web-1", "127.0.0.1", 80)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    let text = error.report();
    assert!(text.contains("codes: [500]") && text.contains("backend=web-1"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_that_are_not_there_or_not_for_hosts() {
    let simulator = Simulator::start("lambda");
    let cx = Context::new();
    let error = balancer(config(&simulator)).backends(&cx).await.unwrap_err();
    assert_eq!((error.kind(), error.get("kind")), (ErrorKind::Unsupported, Some("lambda")), "{error:?}");
    let other = AwsTargetGroupConfig { target_group: "wbe".into(), ..config(&simulator) };
    let error = balancer(other).backends(&cx).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    simulator.world().kind = "ip".into();
    let by_arn = AwsTargetGroupConfig { target_group: ARN.into(), ..config(&simulator) };
    let found = balancer(by_arn).preflight(&cx).await.unwrap();
    assert!(found.ok[0].ends_with("0 targets, connections of drained ones end after at most 60 s"), "{found:?}");
}

#[test]
fn settings_that_make_no_sense() {
    let of = |group: &str| AwsTargetGroupConfig::new(group);
    for (config, words) in [
        (of(""), "1 to 32"),
        (of("a b"), "1 to 32"),
        (of("arn:aws:elasticloadbalancing:x:1:loadbalancer/app/web/1"), "not the ARN of a target group"),
        (of("web").target("a", "web-1"), "neither"),
        (of("web").target("a", "i-0aa").target("b", "i-0aa"), "twice"),
    ] {
        let error = AwsTargetGroup::new(config).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.message().contains(words), "{words:?} is missing: {error}");
    }
}

/// The same API as moto reads and writes it. It forgets at once what is deregistered.
#[tokio::test(flavor = "multi_thread")]
async fn against_moto_targets_come_and_go() {
    let Some(moto) = moto().await else { return };
    let name = format!("tg-{}", std::process::id());
    moto.ask(&format!(
        "elb = boto3.client('elbv2', region_name='us-east-1', endpoint_url='{}', aws_access_key_id='x', aws_secret_access_key='x')\n\
         vpc = ec2().describe_vpcs()['Vpcs'][0]['VpcId']\n\
         elb.create_target_group(Name='{name}', Protocol='HTTP', Port=80, VpcId=vpc, TargetType='ip')",
        moto.endpoint()
    ));
    let config =
        AwsTargetGroupConfig { wait: fast(), ..AwsTargetGroupConfig::new(&name) }.client(client(&moto.endpoint()));
    let balancer = balancer(config.target("web-1", "10.0.0.1").target("web-2", "10.0.0.2"));
    let cx = Context::new();
    let modes = async || -> Vec<BackendMode> { balancer.backends(&cx).await.unwrap().iter().map(|b| b.mode).collect() };
    let found = balancer.preflight(&cx).await.unwrap();
    assert_eq!(found.warnings, ["no load balancer sends requests to the target group"]);
    for (name, address) in [("web-1", "10.0.0.1"), ("web-2", "10.0.0.2")] {
        balancer.add(&cx, &backend(name, address, 8080)).await.unwrap();
    }
    balancer.drain(&cx, "web-2").await.unwrap();
    assert_eq!(modes().await, [BackendMode::Serving, BackendMode::Draining]);
    assert_eq!(balancer.wait_idle(&cx, "web-2", Duration::from_secs(5)).await.unwrap(), 0);
    balancer.add(&cx, &backend("web-2", "10.0.0.2", 8080)).await.unwrap();
    assert_eq!(modes().await, [BackendMode::Serving; 2]);
    balancer.remove(&cx, "web-1").await.unwrap();
    balancer.remove(&cx, "web-1").await.unwrap();
    assert_eq!(modes().await, [BackendMode::Serving]);
}
