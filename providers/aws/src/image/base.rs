//! What an image starts from, and the key of all that goes into it.

use aws_sdk_ec2::types::Image;
use serde_json::json;
use towpath_core::{ArtifactKind, Base, Context, Error, ErrorKind, ImageDefinition, Result, digest_json};

use super::AwsImageBuilder;
use crate::PROVIDER;
use crate::ami;
use crate::client::Ec2;
use crate::user_data::{Resolved, UserData};

/// Part of every key: another way of baking gives other images.
const FORM: u32 = 1;

/// Everything that a build starts with.
pub(super) struct Source {
    /// The base as it was named.
    pub(super) named: String,
    pub(super) base: Image,
    pub(super) user_data: Resolved,
    /// The content key.
    pub(super) key: String,
}

fn unsupported(operation: &'static str, image: &ImageDefinition, message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Unsupported, PROVIDER, operation, message).with("image", &image.name)
}

/// How the base is named; refuses what can't be one.
pub(super) fn name(operation: &'static str, image: &ImageDefinition, region: &str) -> Result<String> {
    match &image.base {
        Base::Image(name) => Ok(name.clone()),
        Base::Artifact(artifact) if artifact.kind == ArtifactKind::Ami => match artifact.id.split_once(':') {
            None => Ok(artifact.id.clone()),
            Some((its, id)) if its == region => Ok(id.to_owned()),
            Some((its, _)) => {
                let message = format!("the base is an AMI of the region {its}: build there, or copy it here first");
                Err(Error::new(ErrorKind::InvalidInput, PROVIDER, operation, message).with("base", &artifact.id))
            }
        },
        Base::Artifact(artifact) => {
            Err(unsupported(operation, image, "the base must be an `ami`").with("base", &artifact.name))
        }
        Base::Host(host) => {
            Err(unsupported(operation, image, "it bakes AMIs, not hosts: name an AMI as the base")
                .with("base", &host.name))
        }
    }
}

impl Source {
    pub(super) async fn of(
        cx: &Context,
        builder: &AwsImageBuilder,
        ec2: &Ec2,
        operation: &'static str,
        image: &ImageDefinition,
    ) -> Result<Self> {
        let named = name(operation, image, &ec2.region)?;
        let base = ami::resolve(cx, &builder.clients, ec2, operation, &named).await?;
        let user_data = UserData::resolve(cx, operation, builder.config.instance.user_data.as_ref()).await?;
        let mut configure = Vec::new();
        for configurator in &image.configure {
            configure.push(configurator.digest(cx).await?);
        }
        let mut tests = Vec::new();
        for configurator in &builder.tests {
            tests.push(configurator.digest(cx).await?);
        }
        let key = digest_json(&json!({
            "form": FORM,
            "name": image.name,
            "labels": image.labels,
            "base": ami::id(&base),
            "configure": configure,
            "tests": tests,
            "config": builder.config.content(&user_data.digest),
        }));
        Ok(Self { named, base, user_data, key })
    }
}
