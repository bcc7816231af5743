//! Content keys: what decides what an image is.

use serde_json::json;
use towpath_core::{Context, ImageDefinition, Result, digest_json};

use super::DockerImageConfig;
use super::base::Known;

/// Part of every key: another way of baking gives other images.
const FORM: u32 = 1;

/// The keys on the way from a base to an image. Each holds all before it, so that what follows a change is done again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chain {
    /// After each configurator; or one, of a Dockerfile.
    pub(super) layers: Vec<String>,
    /// Of the finished image: its content key.
    pub(super) image: String,
}

impl Chain {
    /// The keys of an image that configurators make.
    ///
    /// Its name is in the keys of layers, since playbooks see it as the host's name; the keys of an image without
    /// configurators depend on no name.
    pub(super) async fn of_configurators(
        cx: &Context,
        config: &DockerImageConfig,
        image: &ImageDefinition,
        base: &Known,
    ) -> Result<Self> {
        let mut last = digest_json(&json!({"form": FORM, "base": base.id}));
        if !image.configure.is_empty() {
            last = digest_json(&json!({"after": last, "host": image.name, "groups": config.groups}));
        }
        let mut layers = Vec::new();
        for configurator in &image.configure {
            let digest = configurator.digest(cx).await?;
            last = digest_json(&json!({"after": last, "configurator": digest}));
            layers.push(last.clone());
        }
        Ok(Self { image: finished(&last, config), layers })
    }

    /// The keys of an image that a Dockerfile makes; `digest` is that of all that it is built with.
    pub(super) fn of_dockerfile(config: &DockerImageConfig, digest: &str) -> Self {
        let last = digest_json(&json!({"form": FORM, "dockerfile": digest}));
        Self { image: finished(&last, config), layers: vec![last] }
    }
}

fn finished(last: &str, config: &DockerImageConfig) -> String {
    digest_json(&json!({"after": last, "config": config.content()}))
}
