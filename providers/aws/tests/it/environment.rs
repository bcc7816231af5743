//! Environments in moto's EC2.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{HttpTokensState, InstanceAttributeName};
use serde_json::json;
use towpath_aws::{Address, AwsEnvironment, AwsEnvironmentConfig, HostGroup, InstanceConfig, RootVolume, UserData};
use towpath_core::{Action, Certainty, ConnectionSpec, Context, ErrorKind, Plan, Provisioner, SecretRef};

use crate::support::{SECRET, Seen, api, client, fast, moto, some_ami, unique};

fn config(endpoint: &str) -> AwsEnvironmentConfig {
    AwsEnvironmentConfig { wait: fast(), ..AwsEnvironmentConfig::default() }.client(client(endpoint))
}

fn changes(plan: &Plan) -> Vec<(&str, Action, Option<&str>)> {
    let will = plan.changes.iter().filter(|c| c.certainty == Certainty::Will);
    will.map(|c| (c.target.as_str(), c.action, c.reason.as_deref())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_can_be_reached_and_instances_are_as_the_config_says() {
    let Some(moto) = moto().await else { return };
    let endpoint = moto.endpoint();
    let ami = some_ami(&endpoint).await;
    let instance = InstanceConfig {
        instance_type: "t3.small".into(),
        user_data: Some(UserData::Secret(SecretRef::Command(vec!["echo".into(), "a token for the agent".into()]))),
        root_volume: Some(RootVolume { size_gib: Some(11), ..RootVolume::default() }),
        ..InstanceConfig::default()
    };
    let connection = ConnectionSpec { kind: "ssh".into(), user: Some("admin".into()), ..ConnectionSpec::default() };
    let mut group = HostGroup::new(&ami).count(2).instance(instance).connection(connection);
    group.wait_for_status = true;
    group.address = Address::Private;
    group.labels.insert("role".into(), "web".into());
    group.vars.insert("port".into(), 8080.into());
    group.tags.insert("team".into(), "towing".into());
    let provider = AwsEnvironment::new(config(&endpoint).group("web", group)).unwrap();
    let seen = Seen::default();
    let cx = seen.context().environment(unique("hosts")).build();
    let applied = provider.apply(&cx).await.unwrap();
    assert_eq!(applied.changed, 2);
    let inventory = &applied.environment.inventory;
    assert_eq!(inventory.groups["web"].hosts, ["web-1", "web-2"]);
    let host = inventory.host("web-1").unwrap();
    assert_eq!(host.connection.user.as_deref(), Some("admin"));
    assert_eq!(host.connection.address.as_deref(), host.vars["aws_private_ip"].as_str());
    assert_eq!((&host.labels["role"], &host.vars["port"]), (&"web".to_owned(), &json!(8080)));
    let id = applied.environment.outputs["instances"]["web-1"]["instance_id"].as_str().unwrap();
    assert_eq!(host.vars["aws_instance_id"], id);

    let api = api(&endpoint);
    let found = api.describe_instances().instance_ids(id).send().await.unwrap();
    let there = &found.reservations()[0].instances()[0];
    assert_eq!(there.instance_type().unwrap().as_str(), "t3.small");
    assert_eq!(there.metadata_options().unwrap().http_tokens(), Some(&HttpTokensState::Required), "IMDSv2 only");
    let tags: BTreeMap<&str, &str> = there.tags().iter().map(|t| (t.key().unwrap(), t.value().unwrap())).collect();
    assert_eq!((tags["Name"], tags["team"], tags["towpath:host"]), ("web-1", "towing", "web-1"));
    assert_eq!((tags["towpath:environment"], tags["towpath:owner"]), (cx.environment(), "towpath"));
    let volume = there.block_device_mappings()[0].ebs().unwrap().volume_id().unwrap();
    let volumes = api.describe_volumes().volume_ids(volume).send().await.unwrap();
    assert_eq!(volumes.volumes()[0].size(), Some(11));
    let data = api.describe_instance_attribute().instance_id(id).attribute(InstanceAttributeName::UserData);
    let data = data.send().await.unwrap().user_data.unwrap().value.unwrap();
    assert_eq!(data, "YSB0b2tlbiBmb3IgdGhlIGFnZW50", "what it gets is the secret itself");

    // Neither the secret nor its base64 form is in an event or in the environment.
    let text = format!("{}{:?}", seen.text(), applied);
    for secret in ["a token for the agent", "YSB0b2tlbiBmb3IgdGhlIGFnZW50", SECRET] {
        assert!(!text.contains(secret), "{text}");
    }
    assert_eq!(provider.destroy(&cx).await.unwrap().changed, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_has_changed_is_done() {
    let Some(moto) = moto().await else { return };
    let endpoint = moto.endpoint();
    let ami = some_ami(&endpoint).await;
    let cx = Context::builder().environment(unique("changes")).build();
    let make = |group: HostGroup| AwsEnvironment::new(config(&endpoint).group("web", group)).unwrap();
    let group = HostGroup::new(&ami).count(3);
    let first = make(group.clone()).apply(&cx).await.unwrap();
    let id = |applied: &towpath_core::Applied, n: usize| applied.environment.resources[n].id.clone();

    // A tag is changed in place.
    let mut tagged = group.clone();
    tagged.tags.insert("team".into(), "barge".into());
    let plan = make(tagged.clone()).plan(&cx).await.unwrap();
    assert_eq!(changes(&plan), ["web-1", "web-2", "web-3"].map(|h| (h, Action::Update, None)));
    let applied = make(tagged.clone()).apply(&cx).await.unwrap();
    assert_eq!((applied.changed, id(&applied, 0)), (3, id(&first, 0)));

    // Fewer hosts: the last one goes.
    let fewer = HostGroup { count: 2, ..tagged.clone() };
    let plan = make(fewer.clone()).plan(&cx).await.unwrap();
    assert_eq!(changes(&plan), [("web-3", Action::Delete, Some("the config has no such host"))]);
    assert_eq!(make(fewer.clone()).apply(&cx).await.unwrap().environment.inventory.hosts.len(), 2);

    // Another type and other user data: named, but not told.
    let mut other = fewer.clone();
    other.instance.instance_type = "t3.large".into();
    other.instance.user_data = Some(UserData::Text("#!/bin/sh\necho hidden".into()));
    let plan = make(other.clone()).plan(&cx).await.unwrap();
    let why = Some("changed: type, user_data");
    assert_eq!(changes(&plan), [("web-1", Action::Replace, why), ("web-2", Action::Replace, why)]);
    assert!(!format!("{plan:?}").contains("hidden"), "{plan:?}");
    let replaced = make(other.clone()).apply(&cx).await.unwrap();
    assert!(replaced.changed == 2 && id(&replaced, 0) != id(&first, 0));
    assert!(make(other.clone()).plan(&cx).await.unwrap().is_empty());

    // A stopped one is started again, the same one.
    api(&endpoint).stop_instances().instance_ids(id(&replaced, 1)).send().await.unwrap();
    let plan = make(other.clone()).plan(&cx).await.unwrap();
    assert_eq!(changes(&plan), [("web-2", Action::Update, Some("it is stopped, and is started"))]);
    let started = make(other.clone()).apply(&cx).await.unwrap();
    assert_eq!((started.changed, id(&started, 1)), (1, id(&replaced, 1)));

    // Another owner's environment of the same name is another one.
    let foreign =
        AwsEnvironmentConfig { owner: Some("somebody".into()), ..config(&endpoint).group("web", other.clone()) };
    let foreign = AwsEnvironment::new(foreign).unwrap();
    assert_eq!(foreign.destroy(&cx).await.unwrap().changed, 0);
    assert_eq!(make(other).destroy(&cx).await.unwrap().changed, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ami_is_found_by_its_name_and_by_a_parameter() {
    let Some(moto) = moto().await else { return };
    let endpoint = moto.endpoint();
    let cx = Context::builder().environment(unique("names")).build();
    let image = api(&endpoint).describe_images().image_ids(some_ami(&endpoint).await).send().await.unwrap();
    let (owner, name) = (image.images()[0].owner_id().unwrap(), image.images()[0].name().unwrap());
    let parameter = "ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64";
    for ami in [format!("{owner}/{name}"), parameter.to_owned()] {
        let provider = AwsEnvironment::new(config(&endpoint).group("web", HostGroup::new(&ami))).unwrap();
        let plan = provider.plan(&cx).await.unwrap();
        let id = plan.changes[0].after.as_ref().unwrap()["ami"].as_str().unwrap().to_owned();
        assert!(id.starts_with("ami-"), "{ami}: {plan:?}");
    }
    for (ami, what) in [
        ("self/no-such-*", "no AMI of this owner"),
        ("ssm:/no/such", "no such parameter"),
        ("ami-00000000", "no such AMI"),
    ] {
        let provider = AwsEnvironment::new(config(&endpoint).group("web", HostGroup::new(ami))).unwrap();
        let error = provider.plan(&cx).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
        assert!(error.report().contains(what) && error.get("region") == Some("us-east-1"), "{error:?}");
        assert_eq!(error.get("group"), Some("web"), "{error:?}");
    }
}

#[test]
fn a_wrong_config_is_refused_by_name() {
    let ami = "ami-0abc";
    let group = |change: fn(&mut HostGroup)| {
        let mut group = HostGroup::new(ami);
        change(&mut group);
        AwsEnvironmentConfig::default().group("web", group)
    };
    for (config, names) in [
        (AwsEnvironmentConfig::default(), "`groups`"),
        (AwsEnvironmentConfig::default().group("a b", HostGroup::new(ami)), "`groups`"),
        (group(|g| g.count = 0), "`groups.web.count`"),
        (group(|g| g.ami = "debian".into()), "`groups.web.ami`"),
        (group(|g| g.instance.instance_type = "large".into()), "`groups.web.instance.instance_type`"),
        (group(|g| g.instance.subnets = vec!["eu-west-1a".into()]), "`groups.web.instance.subnets`"),
        (group(|g| g.instance.security_groups = vec!["default".into()]), "`groups.web.instance.security_groups`"),
        (group(|g| g.instance.public_ip = Some(true)), "`groups.web.instance.public_ip`"),
        (group(|g| drop(g.tags.insert("towpath:host".into(), "x".into()))), "`groups.web.tags`"),
    ] {
        let error = AwsEnvironment::new(config).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
        assert!(error.message().contains(names), "{names}: {error:?}");
    }
}
