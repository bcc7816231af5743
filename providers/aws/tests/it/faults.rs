//! What goes wrong with instances: capacity, quotas, throttling, credentials, lost answers.

use std::time::Duration;

use towpath_aws::{AwsEnvironment, AwsEnvironmentConfig, ClientConfig, HostGroup, InstanceConfig};
use towpath_core::{Context, Error, ErrorKind, Provisioner, Retry};

use crate::simulator::{BASE, Simulator};
use crate::support::{client, fast, unique};

fn provider(simulator: &Simulator, count: u32, subnets: &[&str]) -> AwsEnvironment {
    let subnets = subnets.iter().map(|s| (*s).to_owned()).collect();
    let instance = InstanceConfig { subnets, ..InstanceConfig::default() };
    let config = AwsEnvironmentConfig { wait: fast(), ..AwsEnvironmentConfig::default() }
        .client(client(&simulator.url()))
        .group("web", HostGroup::new(BASE).count(count).instance(instance));
    AwsEnvironment::new(config).unwrap()
}

fn cx() -> Context {
    Context::builder().environment(unique("faults")).build()
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_that_take_their_time_are_waited_for() {
    let simulator = Simulator::start();
    let (provider, cx) = (provider(&simulator, 2, &[]), cx());
    let applied = provider.apply(&cx).await.unwrap();
    assert_eq!((applied.changed, applied.environment.inventory.hosts.len()), (2, 2));
    assert!(simulator.world().things.values().filter(|t| t.state == "running").count() == 2);
    assert_eq!(provider.apply(&cx).await.unwrap().changed, 0);
    assert_eq!(provider.destroy(&cx).await.unwrap().changed, 2);
    assert!(simulator.living().is_empty(), "it came back only when they were gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_makes_no_second_instance() {
    let simulator = Simulator::start();
    simulator.loses_the_answer("RunInstances", 1);
    let applied = provider(&simulator, 1, &[]).apply(&cx()).await.unwrap();
    assert_eq!(applied.changed, 1);
    assert_eq!((simulator.count("RunInstances"), simulator.living().len()), (2, 1), "asked twice, made once");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_after_all_answers_were_lost_finds_what_was_made() {
    let simulator = Simulator::start();
    simulator.loses_the_answer("RunInstances", 3);
    let (provider, cx) = (provider(&simulator, 1, &[]), cx());
    let error = provider.apply(&cx).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unreachable, Retry::Later), "{error:?}");
    assert_eq!(simulator.living().len(), 1);
    let applied = provider.apply(&cx).await.unwrap();
    assert_eq!((applied.environment.inventory.hosts.len(), simulator.living().len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_whose_token_is_spent_is_made_anew() {
    let simulator = Simulator::start();
    let (provider, cx) = (provider(&simulator, 1, &[]), cx());
    provider.apply(&cx).await.unwrap();
    provider.destroy(&cx).await.unwrap();
    // After an hour AWS no longer shows it, and still knows its token.
    for thing in simulator.world().things.values_mut().filter(|t| t.state == "terminated") {
        thing.tags.clear();
    }
    let applied = provider.apply(&cx).await.unwrap();
    assert_eq!((applied.changed, simulator.living().len()), (1, 1));
    assert_eq!(provider.apply(&cx).await.unwrap().changed, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_capacity_the_next_subnet_is_tried() {
    let simulator = Simulator::start();
    // The SDK itself tries again, since AWS says that with the status 500.
    simulator.fails("RunInstances", 1, 400, "InsufficientInstanceCapacity");
    let (provider, cx) = (provider(&simulator, 1, &["subnet-0a", "subnet-0b"]), cx());
    provider.apply(&cx).await.unwrap();
    let id = simulator.living()[0].clone();
    assert_eq!(simulator.world().things[&id].fields["SubnetId"], "subnet-0b");
    // One more subnet to try moves nobody; one that is no longer named does.
    let more = self::provider(&simulator, 1, &["subnet-0a", "subnet-0b", "subnet-0c"]);
    assert!(more.plan(&cx).await.unwrap().is_empty());
    let plan = self::provider(&simulator, 1, &["subnet-0a"]).plan(&cx).await.unwrap();
    assert_eq!(plan.changes[0].reason.as_deref(), Some("changed: subnets"), "{plan:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_without_an_answer_does_not_end_a_wait() {
    let simulator = Simulator::start();
    // After the first look, with which an apply begins; more often than the SDK itself asks.
    simulator.fails_after("DescribeInstances", 1, 5, 503, "RequestLimitExceeded");
    let applied = provider(&simulator, 1, &[]).apply(&cx()).await.unwrap();
    assert_eq!(applied.environment.inventory.hosts.len(), 1);
    let simulator = Simulator::start();
    simulator.fails_after("DescribeInstances", 1, 99, 503, "RequestLimitExceeded");
    let cx = cx();
    let error = provider(&simulator, 1, &[]).apply(&cx).await.unwrap_err();
    assert_eq!((error.kind(), error.get("code")), (ErrorKind::Timeout, Some("RequestLimitExceeded")), "{error:?}");
}

/// The first failure of a host, as its caller sees it.
async fn fails_with(prepare: impl FnOnce(&Simulator)) -> Error {
    let simulator = Simulator::start();
    prepare(&simulator);
    let error = provider(&simulator, 1, &[]).apply(&cx()).await.unwrap_err();
    assert_eq!(error.get("region"), Some("us-east-1"), "{error:?}");
    assert!(error.get("resource").is_some() && error.operation() == "apply", "{error:?}");
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_has_a_kind_and_says_what_to_do() {
    use ErrorKind as K;
    let cases = [
        ("InsufficientInstanceCapacity", 400, K::Conflict, Retry::Later, "another instance type"),
        ("VcpuLimitExceeded", 400, K::Unsupported, Retry::Never, "Service Quotas"),
        ("InstanceLimitExceeded", 400, K::Unsupported, Retry::Never, "Service Quotas"),
        ("ExpiredToken", 400, K::Denied, Retry::Never, "aws sso login"),
        ("RequestExpired", 400, K::Denied, Retry::Never, "aws sso login"),
        ("AuthFailure", 401, K::Denied, Retry::Never, "clock"),
        ("UnauthorizedOperation", 403, K::Denied, Retry::Never, "IAM"),
        ("RequestLimitExceeded", 503, K::Timeout, Retry::Later, "throttles"),
        ("InvalidSubnetID.NotFound", 400, K::NotFound, Retry::Never, "client.region"),
        ("InvalidParameterValue", 400, K::InvalidInput, Retry::Never, "mend the config"),
        ("Unsupported", 400, K::InvalidInput, Retry::Never, "instance type"),
        ("InternalError", 500, K::Unreachable, Retry::Later, "later"),
        ("SomethingNew", 400, K::ToolFailed, Retry::Never, "its own words"),
    ];
    for (code, status, kind, retry, says) in cases {
        let error = fails_with(|s| s.fails("RunInstances", 99, status, code)).await;
        assert_eq!((error.kind(), error.retry()), (kind, retry), "{code}: {error:?}");
        assert_eq!((error.get("code"), error.get("host")), (Some(code), Some("web-1")), "{error:?}");
        assert!(error.report().contains(says) && error.report().contains("AWS's words"), "{code}: {error:?}");
        assert!(error.message().starts_with("RunInstances failed"), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttle_that_ends_is_not_noticed() {
    let simulator = Simulator::start();
    simulator.fails("RunInstances", 2, 503, "RequestLimitExceeded");
    provider(&simulator, 1, &[]).apply(&cx()).await.unwrap();
    assert_eq!((simulator.count("RunInstances"), simulator.living().len()), (3, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_instead_of_an_answer_is_said_to_be_one() {
    let error = fails_with(|s| s.answers_a_page("DescribeImages", 99)).await;
    assert_eq!((error.kind(), error.get("status")), (ErrorKind::Protocol, Some("500")), "{error:?}");
    assert!(error.message().contains("client.endpoint_url"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_dies_at_once_says_why() {
    let error = fails_with(|s| s.new_instance_dies("Server.InsufficientInstanceCapacity")).await;
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Conflict, Retry::Later), "{error:?}");
    assert!(error.report().contains("its words"), "{error:?}");
    let error = fails_with(|s| s.new_instance_dies("Client.InvalidSnapshot.NotFound")).await;
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_while_waiting_leaves_what_the_next_apply_goes_on_with() {
    let simulator = Simulator::start();
    let provider = provider(&simulator, 1, &[]);
    let (cx, cancel) = cx().child();
    let stop = async {
        while simulator.count("RunInstances") == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        cancel.cancel();
    };
    let (applied, ()) = tokio::join!(provider.apply(&cx), stop);
    assert_eq!(applied.unwrap_err().kind(), ErrorKind::Cancelled);
    let again = Context::builder().environment(cx.environment()).build();
    let applied = provider.apply(&again).await.unwrap();
    assert_eq!((applied.changed, simulator.living().len()), (0, 1), "the same one");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_said_with_the_place() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let client = ClientConfig { max_attempts: Some(1), ..client(&format!("http://127.0.0.1:{port}")) };
    let config = AwsEnvironmentConfig::default().client(client).group("web", HostGroup::new(BASE));
    let error = AwsEnvironment::new(config).unwrap().plan(&cx()).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unreachable, Retry::Later), "{error:?}");
    assert!(error.message().contains("client.endpoint_url"), "{error:?}");
}
