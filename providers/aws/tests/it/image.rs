//! AMIs in moto's EC2, from base to launch template, without an instance that is entered: that is the facade's test.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{Filter, ImageAttributeName, Tag};
use towpath_aws::{AwsImageConfig, LaunchTemplateConfig, TestCommand};
use towpath_core::testkit::Moto;
use towpath_core::{Artifact, ArtifactKind, Base, Context, ErrorKind, Host, ImageBuilder};

use crate::support::{SECRET, Seen, api, api_in, builder, image, moto, some_ami, unique};

/// Own instances that are not terminated, own key pairs and groups of a build, by the image's name.
async fn temporary(endpoint: &str, image: &str) -> Vec<String> {
    let api = api(endpoint);
    let tag = Filter::builder().name("tag:towpath:image").values(image).build();
    let instances = api.describe_instances().filters(tag).send().await.unwrap();
    let living = |i: &&aws_sdk_ec2::types::Instance| {
        i.state().and_then(|s| s.name()).is_some_and(|n| n.as_str() != "terminated")
    };
    let all = instances.reservations().iter().flat_map(|r| r.instances());
    let mut left: Vec<String> = all.filter(living).map(|i| i.instance_id().unwrap().to_owned()).collect();
    let is_own = |tags: &[Tag]| tags.iter().any(|t| t.key() == Some("towpath:image") && t.value() == Some(image));
    let keys = api.describe_key_pairs().send().await.unwrap();
    left.extend(keys.key_pairs().iter().filter(|k| is_own(k.tags())).map(|k| k.key_name().unwrap().to_owned()));
    let groups = api.describe_security_groups().send().await.unwrap();
    left.extend(groups.security_groups().iter().filter(|g| is_own(g.tags())).map(|g| g.group_id().unwrap().to_owned()));
    left
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ami_is_copied_shared_tagged_and_removed_with_its_snapshots() {
    let Some(moto) = moto().await else { return };
    let endpoint = moto.endpoint();
    let base = some_ami(&endpoint).await;
    let template =
        LaunchTemplateConfig { instance_type: Some("t3.large".into()), ..LaunchTemplateConfig::new(unique("web")) };
    let config = AwsImageConfig {
        copy_to: vec!["eu-west-1".into()],
        share_with: vec!["111122223333".into()],
        tags: BTreeMap::from([("team".into(), "towing".into())]),
        description: Some("the web server".into()),
        launch_template: Some(template.clone()),
        ..AwsImageConfig::default()
    };
    let builder = builder(&endpoint, config.clone());
    let seen = Seen::default();
    let (cx, name) = (seen.context().build(), unique("web"));
    let web = image(&name, &base);
    let built = builder.build(&cx, &web).await.unwrap();
    let artifact = &built.artifacts[0];
    assert_eq!((artifact.kind, artifact.provenance.base.as_str()), (ArtifactKind::Ami, base.as_str()));
    let labels = &artifact.provenance.labels;
    assert_eq!((labels["region"].as_str(), labels["commit"].as_str()), ("us-east-1", "c0ffee"));
    assert_eq!(temporary(&endpoint, &name).await, Vec::<String>::new());

    let mut snapshots = Vec::new();
    for (region, id) in [("us-east-1", &artifact.id), ("eu-west-1", &labels["copy:eu-west-1"])] {
        let api = api_in(&endpoint, region);
        let found = api.describe_images().image_ids(id).send().await.unwrap();
        let ami = &found.images()[0];
        let tags: BTreeMap<&str, &str> = ami.tags().iter().map(|t| (t.key().unwrap(), t.value().unwrap())).collect();
        assert_eq!((tags["towpath:state"], tags["team"], tags["commit"]), ("ready", "towing", "c0ffee"), "{region}");
        assert_eq!(tags["towpath:content-key"], artifact.provenance.content_key);
        assert_eq!((tags["towpath:base"], tags["towpath:image"]), (base.as_str(), name.as_str()));
        assert!(ami.name().unwrap().starts_with(&name), "{ami:?}");
        let permission = api.describe_image_attribute().image_id(id).attribute(ImageAttributeName::LaunchPermission);
        let permission = permission.send().await.unwrap();
        assert_eq!(permission.launch_permissions()[0].user_id(), Some("111122223333"), "{region}");
        let snapshot = ami.block_device_mappings()[0].ebs().unwrap().snapshot_id().unwrap();
        snapshots.push((region, snapshot.to_owned()));
    }
    let versions = api(&endpoint).describe_launch_template_versions().launch_template_name(&template.name).send();
    let versions = versions.await.unwrap();
    assert_eq!(
        versions.launch_template_versions()[0].launch_template_data().unwrap().image_id(),
        Some(artifact.id.as_str())
    );

    // Nothing to do the second time; more to do for a config that wants more.
    let again = builder.build(&cx, &web).await.unwrap();
    assert_eq!((again.changed, &again.artifacts), (0, &built.artifacts));
    assert!(builder.plan(&cx, &web).await.unwrap().is_empty());
    let mut more = config;
    more.copy_to.push("eu-central-1".into());
    more.share_with.push("444455556666".into());
    let more = crate::support::builder(&endpoint, more);
    let plan = format!("{}", more.plan(&cx, &web).await.unwrap());
    assert!(plan.contains("copy in eu-central-1") && plan.contains("with 444455556666"), "{plan}");
    let wider = more.build(&cx, &web).await.unwrap();
    assert_eq!((wider.changed, &wider.artifacts[0].id), (0, &artifact.id));
    assert!(more.plan(&cx, &web).await.unwrap().is_empty());
    assert!(!seen.text().contains(SECRET));

    // All of it goes, the snapshots too.
    assert!(more.remove(&cx, &wider.artifacts[0]).await.unwrap());
    assert_eq!(more.probe(&cx, &wider.artifacts[0]).await.unwrap(), None);
    for (region, snapshot) in snapshots {
        let found = api_in(&endpoint, region).describe_snapshots().snapshot_ids(&snapshot).send().await;
        assert!(found.is_err(), "{snapshot} is still in {region}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_cannot_do_is_refused_by_name_before_anything_is_made() {
    let Some(moto) = moto().await else { return };
    let endpoint = moto.endpoint();
    let (cx, base) = (Context::new(), some_ami(&endpoint).await);
    let plain = builder(&endpoint, AwsImageConfig::default());
    let tested =
        builder(&endpoint, AwsImageConfig { test: vec![TestCommand::new("true")], ..AwsImageConfig::default() });
    let name = unique("refused");
    let mut host = image(&name, &base);
    host.base = Base::Host(Box::new(Host { name: "web".into(), ..Host::default() }));
    let mut docker = image(&name, &base);
    docker.base = Base::Artifact(Box::new(Artifact {
        name: "web".into(),
        kind: ArtifactKind::DockerImage,
        id: "web:1".into(),
        digest: String::new(),
        provenance: Default::default(),
    }));
    let mut label = image(&name, &base);
    label.labels.insert("towpath:state".into(), "ready".into());
    let cases = [
        (&plain, host, ErrorKind::Unsupported, "not hosts"),
        (&plain, docker, ErrorKind::Unsupported, "must be an `ami`"),
        (&plain, label, ErrorKind::InvalidInput, "are taken"),
        (&plain, image(&name, "debian"), ErrorKind::InvalidInput, "names no AMI"),
        (&plain, image(&name, "ami-0badc0de"), ErrorKind::NotFound, "no such AMI"),
        (&tested, image(&name, &base), ErrorKind::InvalidInput, "`ssh_from`"),
    ];
    for (builder, image, kind, says) in cases {
        let error = builder.build(&cx, &image).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(error.message().contains(says), "{says}: {error:?}");
    }
    assert_eq!(temporary(&endpoint, &name).await, Vec::<String>::new());
}

/// An artifact of a build elsewhere, by its `region:id`, is a base and can be looked at.
#[tokio::test(flavor = "multi_thread")]
async fn an_ami_is_a_base_of_another() {
    let Some(moto) = tokio::task::spawn_blocking(Moto::shared).await.unwrap() else { return };
    let endpoint = moto.endpoint();
    let cx = Context::new();
    let builder = builder(&endpoint, AwsImageConfig::default());
    let first = builder.build(&cx, &image(&unique("first"), &some_ami(&endpoint).await)).await.unwrap();
    let mut artifact = first.artifacts[0].clone();
    artifact.id = format!("us-east-1:{}", artifact.id);
    assert!(builder.probe(&cx, &artifact).await.unwrap().is_some());
    let mut second = image(&unique("second"), "");
    second.base = Base::Artifact(Box::new(artifact.clone()));
    let built = builder.build(&cx, &second).await.unwrap();
    assert_eq!(built.artifacts[0].provenance.labels["base-ami"], first.artifacts[0].id);
    artifact.id = artifact.id.replace("us-east-1", "eu-west-1");
    second.base = Base::Artifact(Box::new(artifact));
    let error = builder.build(&cx, &second).await.unwrap_err();
    assert!(error.message().contains("eu-west-1"), "{error:?}");
    for done in [&first, &built] {
        assert!(builder.remove(&cx, &done.artifacts[0]).await.unwrap());
    }
}
