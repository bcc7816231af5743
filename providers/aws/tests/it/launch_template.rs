//! Launch templates in moto's EC2.

use towpath_aws::{AwsLaunchTemplates, LaunchTemplateConfig};
use towpath_core::{Context, ErrorKind};

use crate::support::{api, client, moto, unique};

#[tokio::test(flavor = "multi_thread")]
async fn a_new_ami_is_a_new_default_version_once() {
    let Some(moto) = moto().await else { return };
    let endpoint = moto.endpoint();
    let templates = AwsLaunchTemplates::new(client(&endpoint)).unwrap();
    let cx = Context::new();
    let template =
        LaunchTemplateConfig { instance_type: Some("t3.small".into()), ..LaunchTemplateConfig::new(unique("lt")) };
    let first = templates.publish(&cx, &template, "ami-00000001").await.unwrap();
    assert_eq!((first.version, first.is_default, first.changed), (1, true, true));
    let again = templates.publish(&cx, &template, "ami-00000001").await.unwrap();
    assert_eq!((again.version, again.changed), (1, false));
    let second = templates.publish(&cx, &template, "ami-00000002").await.unwrap();
    assert_eq!((second.version, second.is_default, &second.id), (2, true, &first.id));
    // Not the default: it is there, and nobody starts from it yet.
    let quiet = LaunchTemplateConfig { make_default: false, ..template.clone() };
    let third = templates.publish(&cx, &quiet, "ami-00000003").await.unwrap();
    assert_eq!((third.version, third.is_default, third.changed), (3, false, true));
    assert!(!templates.publish(&cx, &quiet, "ami-00000003").await.unwrap().changed);
    // Back to the first, as after a bad release: no new version is needed.
    let back = templates.publish(&cx, &template, "ami-00000001").await.unwrap();
    assert_eq!((back.version, back.is_default, back.changed), (1, true, true));
    let found = api(&endpoint).describe_launch_templates().launch_template_names(&template.name).send().await.unwrap();
    let there = &found.launch_templates()[0];
    assert_eq!((there.default_version_number(), there.latest_version_number()), (Some(1), Some(3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_none_is_refused() {
    let templates = AwsLaunchTemplates::new(client("http://127.0.0.1:1")).unwrap();
    let error = templates.publish(&Context::new(), &LaunchTemplateConfig::new("a b"), "ami-1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
}
