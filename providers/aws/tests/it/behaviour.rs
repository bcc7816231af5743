//! The behaviour suites that every provider runs, against moto.

use std::sync::Arc;

use towpath_aws::{AwsEnvironment, AwsEnvironmentConfig, AwsImageConfig, HostGroup};
use towpath_core::testkit::image_builder::ImageBuilderFixture;
use towpath_core::testkit::provisioner::ProvisionerFixture;
use towpath_core::{Context, Environment};

use crate::support::{api, builder, client, fast, image, moto, some_ami, unique};

async fn provisioner_fixture() -> Option<ProvisionerFixture> {
    let moto = moto().await?;
    let endpoint = moto.endpoint();
    let config = AwsEnvironmentConfig { wait: fast(), ..AwsEnvironmentConfig::default() }
        .client(client(&endpoint))
        .group("web", HostGroup::new(some_ami(&endpoint).await).count(2))
        .group("db", HostGroup::new(some_ami(&endpoint).await));
    let disturb = move |environment: Environment| {
        let endpoint = endpoint.clone();
        Box::pin(async move {
            let id = environment.resources[0].id.clone();
            api(&endpoint).terminate_instances().instance_ids(id).send().await.unwrap();
        }) as _
    };
    Some(ProvisionerFixture {
        provider: Arc::new(AwsEnvironment::new(config).unwrap()),
        cx: Context::builder().environment(unique("behaviour")).build(),
        disturb: Box::new(disturb),
        keep: Box::new(moto),
    })
}

mod provisioner {
    towpath_core::provisioner_behaviour!(super::provisioner_fixture);
}

async fn image_builder_fixture() -> Option<ImageBuilderFixture> {
    let moto = moto().await?;
    let endpoint = moto.endpoint();
    let base = some_ami(&endpoint).await;
    Some(ImageBuilderFixture {
        provider: Arc::new(builder(&endpoint, AwsImageConfig::default())),
        image: image(&unique("web"), &base),
        other: image(&unique("db"), &base),
        cx: Context::new(),
        // AMIs and snapshots can't be changed.
        corrupt: None,
        keep: Box::new(moto),
    })
}

mod image_builder {
    towpath_core::image_builder_behaviour!(super::image_builder_fixture);
}
